//! Reports in etcdutl's output formats.

use serde::Serialize;

use crate::tool::Failure;
use crate::tool::format::{Format, Table};

/// Something to print.
pub(super) trait Report: Serialize {
    /// Columns with their cells.
    fn columns(&self) -> Vec<(&'static str, String)>;

    /// Names with their values.
    fn fields(&self) -> Vec<(&'static str, String)>;
}

/// A report in a format.
pub(super) fn render(report: &impl Report, format: Format) -> Result<String, Failure> {
    let table = || {
        let (header, row) = report.columns().into_iter().unzip();
        Table { header, rows: vec![row] }
    };
    Ok(match format {
        Format::Simple => table().lines(),
        Format::Fields => {
            let line = |(name, value)| format!("\"{name}\" : {value}\n");
            report.fields().into_iter().map(line).collect()
        }
        Format::Json => {
            let json = serde_json::to_string(report);
            format!("{}\n", json.map_err(|error| Failure::new(error.to_string()))?)
        }
        Format::Table => table().draw(),
        Format::Protobuf => return Err(format.unsupported()),
    })
}
