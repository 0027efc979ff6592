//! etcdutl's output formats.

use serde::Serialize;

use super::Failure;

/// How a report is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Simple,
    Fields,
    Json,
    Table,
    Protobuf,
}

impl Format {
    pub(super) fn parse(word: &str) -> Result<Self, Failure> {
        Ok(match word {
            "simple" => Self::Simple,
            "fields" => Self::Fields,
            "json" => Self::Json,
            "table" => Self::Table,
            "protobuf" => Self::Protobuf,
            _ => return Err(Failure { code: 4, text: "unsupported output format".to_owned() }),
        })
    }
}

/// Something to print.
pub(super) trait Report: Serialize {
    /// Columns with their cells.
    fn columns(&self) -> Vec<(&'static str, String)>;

    /// Names with their values.
    fn fields(&self) -> Vec<(&'static str, String)>;
}

/// A report in a format.
pub(super) fn render(report: &impl Report, format: Format) -> Result<String, Failure> {
    Ok(match format {
        Format::Simple => {
            let cells: Vec<String> = report.columns().into_iter().map(|(_, cell)| cell).collect();
            format!("{}\n", cells.join(", "))
        }
        Format::Fields => {
            let line = |(name, value)| format!("\"{name}\" : {value}\n");
            report.fields().into_iter().map(line).collect()
        }
        Format::Json => {
            let json = serde_json::to_string(report);
            format!("{}\n", json.map_err(|error| Failure::new(error.to_string()))?)
        }
        Format::Table => table(&report.columns()),
        Format::Protobuf => {
            let text = "protobuf not supported as output format".to_owned();
            return Err(Failure { code: 4, text });
        }
    })
}

/// One row below its header: headers in the middle, cells to the right.
fn table(columns: &[(&str, String)]) -> String {
    let width = |(name, cell): &(&str, String)| name.len().max(cell.len());
    let rule = |left: &str, middle: &str, right: &str| {
        let parts: Vec<String> =
            columns.iter().map(|column| "─".repeat(width(column) + 2)).collect();
        format!("{left}{}{right}\n", parts.join(middle))
    };
    let row = |cell: &dyn Fn(&(&str, String)) -> String| {
        let cells: Vec<String> =
            columns.iter().map(|column| format!(" {} ", cell(column))).collect();
        format!("│{}│\n", cells.join("│"))
    };
    let header = row(&|column| format!("{:^1$}", column.0.to_uppercase(), width(column)));
    let cells = row(&|column| format!("{:>1$}", column.1, width(column)));
    [rule("┌", "┬", "┐"), header, rule("├", "┼", "┤"), cells, rule("└", "┴", "┘")].concat()
}

/// A size as people read it, in steps of a thousand: `156 kB`, `1.2 GB`.
pub(super) fn show_bytes(bytes: u64) -> String {
    const UNITS: [&str; 7] = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];
    if bytes < 10 {
        return format!("{bytes} B");
    }
    let (mut size, mut unit) = (1_u64, 0);
    while bytes / size >= 1_000 {
        (size, unit) = (size * 1_000, unit + 1);
    }
    // In tenths of the unit, rounded; the tens are all that is shown of larger ones.
    let tenths = (u128::from(bytes) * 10 + u128::from(size) / 2) / u128::from(size);
    match tenths {
        0..100 => format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit]),
        _ => format!("{} {}", round_half_even(tenths), UNITS[unit]),
    }
}

/// Tenths to the nearest whole, as Go's `%.0f` rounds.
const fn round_half_even(tenths: u128) -> u128 {
    let (whole, rest) = (tenths / 10, tenths % 10);
    if rest > 5 || (rest == 5 && whole % 2 == 1) { whole + 1 } else { whole }
}
