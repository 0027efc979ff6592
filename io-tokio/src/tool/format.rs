//! Output formats, tables and sizes.

use super::Failure;

/// How an answer is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// For people.
    Simple,
    /// `"Name" : value`, one a line.
    Fields,
    /// One line of JSON.
    Json,
    /// A table drawn with lines.
    Table,
    /// The answer's bytes.
    Protobuf,
}

impl Format {
    /// Reads a format's name.
    pub(crate) fn parse(word: &str) -> Result<Self, Failure> {
        Ok(match word {
            "simple" => Self::Simple,
            "fields" => Self::Fields,
            "json" => Self::Json,
            "table" => Self::Table,
            "protobuf" => Self::Protobuf,
            _ => return Err(Failure::feature("unsupported output format")),
        })
    }

    /// What is told about an answer that does not have this format.
    pub(crate) fn unsupported(self) -> Failure {
        let name = match self {
            Self::Simple => "simple",
            Self::Fields => "fields",
            Self::Json => "json",
            Self::Table => "table",
            Self::Protobuf => "protobuf",
        };
        Failure::feature(format!("{name} not supported as output format"))
    }
}

/// Rows below a header: headers in the middle, cells to the right.
pub(crate) struct Table {
    /// One name for each column.
    pub(crate) header: Vec<&'static str>,
    /// As many cells in each row.
    pub(crate) rows: Vec<Vec<String>>,
}

impl Table {
    /// Draws it.
    pub(crate) fn draw(&self) -> String {
        let names: Vec<String> =
            self.header.iter().map(|name| name.to_uppercase().replace('_', " ")).collect();
        let widths: Vec<usize> = (0..names.len())
            .map(|column| {
                let cells = self.rows.iter().map(|row| width(&row[column]));
                cells.chain([width(&names[column])]).max().unwrap_or(0)
            })
            .collect();
        let rule = |left: &str, middle: &str, right: &str| {
            let parts: Vec<String> = widths.iter().map(|width| "─".repeat(width + 2)).collect();
            format!("{left}{}{right}\n", parts.join(middle))
        };
        let row = |cells: Vec<String>| format!("│ {} │\n", cells.join(" │ "));
        let header = names.iter().zip(&widths).map(|(name, width)| format!("{name:^width$}"));
        let mut drawn = rule("┌", "┬", "┐") + &row(header.collect());
        if !self.rows.is_empty() {
            drawn += &rule("├", "┼", "┤");
        }
        for cells in &self.rows {
            let cells = cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:>width$}"));
            drawn += &row(cells.collect());
        }
        drawn + &rule("└", "┴", "┘")
    }

    /// Its rows, each a line.
    pub(crate) fn lines(&self) -> String {
        self.rows.iter().map(|row| row.join(", ") + "\n").collect()
    }
}

fn width(text: &str) -> usize {
    text.chars().count()
}

/// A size as people read it, in steps of a thousand: `156 kB`, `1.2 GB`.
pub(crate) fn show_bytes(bytes: u64) -> String {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_as_wide_as_their_widest_cells() {
        let rows = vec![
            vec!["12345".to_owned(), "x".to_owned()],
            vec!["7".to_owned(), "änderung".to_owned()],
        ];
        assert_eq!(
            Table { header: vec!["a", "long_name"], rows }.draw(),
            "┌───────┬───────────┐\n\
             │   A   │ LONG NAME │\n\
             ├───────┼───────────┤\n\
             │ 12345 │         x │\n\
             │     7 │  änderung │\n\
             └───────┴───────────┘\n"
        );
    }

    #[test]
    fn sizes_are_rounded_as_go_rounds_them() {
        for (bytes, text) in [
            (0, "0 B"),
            (9, "9 B"),
            (10, "10 B"),
            (999, "999 B"),
            (1_000, "1.0 kB"),
            (1_949, "1.9 kB"),
            (9_960, "10 kB"),
            (20_480, "20 kB"),
            (155_648, "156 kB"),
            (2_147_483_648, "2.1 GB"),
        ] {
            assert_eq!(show_bytes(bytes), text);
        }
    }
}
