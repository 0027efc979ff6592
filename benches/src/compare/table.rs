//! Medians over rounds, ratios between servers, musts met and missed, as text and CSV.

use std::fmt::Write;

use clap::ValueEnum as _;

use crate::cli::Flavour;
use crate::figure::{Figure, Metric};
use crate::row::{Must, Row};

/// Medians of one figure; absent where a server was not asked.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Line {
    pub(crate) members: u8,
    pub(crate) row: Row,
    pub(crate) case: String,
    pub(crate) metric: Metric,
    pub(crate) quorate: Option<f64>,
    pub(crate) etcd: Option<f64>,
    pub(crate) floor: Option<f64>,
    pub(crate) door: Option<f64>,
}

impl Line {
    fn of(first: &Figure, figures: &[Figure]) -> Self {
        let median_for = |flavour: Flavour| {
            let is_meant = |it: &&Figure| is_same(it, first) && it.flavour == flavour;
            median(figures.iter().filter(is_meant).map(|it| it.value).collect())
        };
        Self {
            members: first.members,
            row: first.row,
            case: first.case.clone(),
            metric: first.metric,
            quorate: median_for(Flavour::Quorate),
            etcd: median_for(Flavour::Etcd),
            floor: median_for(Flavour::Floor),
            door: median_for(Flavour::Door),
        }
    }

    /// Quorate's figure over etcd's.
    pub(crate) fn to_etcd(&self) -> Option<f64> {
        ratio(self.quorate, self.etcd)
    }

    /// Quorate's figure over that of the same front door with nothing behind it.
    fn to_door(&self) -> Option<f64> {
        ratio(self.quorate, self.door)
    }

    /// What it must reach.
    pub(crate) fn must(&self) -> Option<Must> {
        self.row.must(self.metric, &self.case)
    }

    /// Whether it does, if it must and that is known.
    pub(crate) fn is_met(&self) -> Option<bool> {
        self.must()?.is_met(self.quorate, self.to_etcd())
    }
}

/// Whether two figures are of the same thing.
fn is_same(one: &Figure, other: &Figure) -> bool {
    (one.members, one.row, one.metric) == (other.members, other.row, other.metric)
        && one.case == other.case
}

fn ratio(ours: Option<f64>, theirs: Option<f64>) -> Option<f64> {
    match (ours?, theirs?) {
        (_, 0.0) => None,
        (ours, theirs) => Some(ours / theirs),
    }
}

pub(crate) fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        len if len % 2 == 1 => Some(values[middle]),
        _ => Some(f64::midpoint(values[middle - 1], values[middle])),
    }
}

/// One line for each thing measured, ordered by row, within it as it was measured.
pub(crate) fn summarize(figures: &[Figure]) -> Vec<Line> {
    let is_first = |at: usize| !figures[..at].iter().any(|it| is_same(it, &figures[at]));
    let firsts = figures.iter().enumerate().filter(|(at, _)| is_first(*at));
    let mut lines: Vec<Line> = firsts.map(|(_, first)| Line::of(first, figures)).collect();
    // Cases stay together, in the order in which they first came.
    let order: Vec<String> = lines.iter().map(|line| line.case.clone()).collect();
    let place = |case: &String| order.iter().position(|it| it == case);
    lines.sort_by_key(|line| (line.members, line.row, place(&line.case), line.metric));
    lines
}

/// The table, for people.
pub(crate) fn to_text(lines: &[Line], heading: &str) -> String {
    let mut text = heading.to_owned();
    let (mut members, mut row) = (0, None);
    for line in lines {
        if line.members != members {
            members = line.members;
            row = None;
            // Writing to a string cannot fail, here and below.
            let _ = writeln!(text, "\n{members} member(s)");
        }
        if row != Some(line.row) {
            row = Some(line.row);
            push_row_head(&mut text, line.row);
        }
        push_line(&mut text, line);
    }
    text + &verdict(lines)
}

fn push_row_head(text: &mut String, row: Row) {
    let title = format!("{}  {}", row.name(), row.title());
    let [a, b, c, d, e, f, g] = ["quorate", "etcd", "floor", "door", "q/etcd", "q/door", "must"];
    let _ = writeln!(text, "\n{title:58} {a:>10} {b:>10} {c:>10} {d:>10} {e:>8} {f:>8}  {g}");
}

fn push_line(text: &mut String, line: &Line) {
    let must = line.must().map_or_else(String::new, |must| {
        let word = match line.is_met() {
            Some(true) => "met",
            Some(false) => "MISSED",
            None => "not measured",
        };
        format!("{:9} {word}", must.tell())
    });
    let written = format!(
        "  {:33} {:22} {:>10} {:>10} {:>10} {:>10} {:>8} {:>8}  {must}",
        line.case,
        line.metric.title(),
        figure(line.quorate),
        figure(line.etcd),
        figure(line.floor),
        figure(line.door),
        times(line.to_etcd()),
        times(line.to_door()),
    );
    let _ = writeln!(text, "{}", written.trim_end());
}

/// How many musts are met, and which are not.
fn verdict(lines: &[Line]) -> String {
    let judged: Vec<(&Line, bool)> =
        lines.iter().filter_map(|line| Some((line, line.is_met()?))).collect();
    let met = judged.iter().filter(|(_, is_met)| *is_met).count();
    let mut text = format!("\n{met} of {} bounds are met\n", judged.len());
    for (line, _) in judged.iter().filter(|(_, is_met)| !is_met) {
        let (row, metric) = (line.row.name(), line.metric.title());
        let _ =
            writeln!(text, "missed: {row}, {} member(s), {}: {metric}", line.members, line.case);
    }
    text
}

fn figure(value: Option<f64>) -> String {
    match value {
        None => "-".into(),
        Some(value) if value.abs() >= 1000.0 => format!("{value:.0}"),
        Some(value) if value.abs() >= 1.0 => format!("{value:.1}"),
        Some(value) => format!("{value:.4}"),
    }
}

fn times(ratio: Option<f64>) -> String {
    ratio.map_or_else(|| "-".into(), |ratio| format!("{ratio:.2}x"))
}

const COLUMNS: &str = "members,row,case,round,server,metric,value";

/// Every figure of every round, one line each.
pub(crate) fn to_csv(figures: &[Figure]) -> String {
    let mut csv = format!("{COLUMNS}\n");
    for it in figures {
        let (row, server, metric) = (it.row.name(), it.flavour.name(), it.metric.name());
        // Names of cases have commas.
        let case = it.case.replace('"', "");
        let (members, round, value) = (it.members, it.round, it.value);
        let _ = writeln!(csv, "{members},{row},\"{case}\",{round},{server},{metric},{value:.4}");
    }
    csv
}

/// What [`to_csv`] wrote; or the line that is none of its.
pub(crate) fn from_csv(csv: &str) -> Result<Vec<Figure>, String> {
    let lines = csv.strip_prefix(COLUMNS).ok_or_else(|| format!("it does not begin {COLUMNS}"))?;
    let filled = lines.lines().filter(|line| !line.is_empty());
    filled.map(|line| parse_figure(line).ok_or_else(|| line.to_owned())).collect()
}

fn parse_figure(line: &str) -> Option<Figure> {
    let mut parts = line.splitn(3, '"');
    let (head, case, tail) = (parts.next()?, parts.next()?, parts.next()?);
    let (members, row) = head.strip_suffix(',')?.split_once(',')?;
    let mut tail = tail.strip_prefix(',')?.split(',');
    let figure = Figure {
        members: members.parse().ok()?,
        row: Row::from_str(row, true).ok()?,
        case: case.to_owned(),
        round: tail.next()?.parse().ok()?,
        flavour: Flavour::from_str(tail.next()?, true).ok()?,
        metric: Metric::from_str(tail.next()?, false).ok()?,
        value: tail.next()?.parse().ok()?,
    };
    tail.next().is_none().then_some(figure)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figure(flavour: Flavour, round: u32, metric: Metric, value: f64) -> Figure {
        let (row, case) = (Row::W2, "put/64".to_owned());
        Figure { members: 1, round, flavour, row, case, metric, value }
    }

    fn figures() -> Vec<Figure> {
        vec![
            figure(Flavour::Quorate, 1, Metric::Rate, 20_000.0),
            figure(Flavour::Quorate, 1, Metric::Cpu, 0.04),
            figure(Flavour::Quorate, 2, Metric::Rate, 30_000.0),
            figure(Flavour::Quorate, 3, Metric::Rate, 25_000.0),
            figure(Flavour::Etcd, 1, Metric::Rate, 20_000.0),
            figure(Flavour::Etcd, 1, Metric::Cpu, 0.2),
        ]
    }

    #[test]
    fn medians_of_odd_even_and_none() {
        assert_eq!(median(vec![9.0, 1.0, 5.0]), Some(5.0));
        assert_eq!(median(vec![4.0, 1.0]), Some(2.5));
        assert_eq!(median(Vec::new()), None);
    }

    #[test]
    fn ratios_are_of_medians_and_absent_without_both_sides() {
        let lines = summarize(&figures());
        let metrics: Vec<Metric> = lines.iter().map(|line| line.metric).collect();
        assert_eq!(metrics, [Metric::Cpu, Metric::Rate]);
        assert!((lines[0].to_etcd().unwrap() - 0.2).abs() < 1e-9);
        assert_eq!(lines[1].quorate, Some(25_000.0));
        assert_eq!((lines[1].door, lines[1].to_door()), (None, None));
        assert_eq!((lines[0].is_met(), lines[1].is_met()), (Some(true), Some(false)));
    }

    #[test]
    fn the_table_says_what_must_be_and_what_is_missed() {
        let text = to_text(&summarize(&figures()), "");
        let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
        let lines: Vec<String> = text.lines().map(words).collect();
        for line in [
            "W2 put, 64 clients quorate etcd floor door q/etcd q/door must",
            "put/64 server CPU s per 1,000 0.0400 0.2000 - - 0.20x - <= 0.4x met",
            "put/64 operations/s 25000 20000 - - 1.25x - >= 1.5x MISSED",
            "1 of 2 bounds are met",
            "missed: W2, 1 member(s), put/64: operations/s",
        ] {
            assert!(lines.contains(&line.to_owned()), "{line} in {text}");
        }
    }

    #[test]
    fn csv_has_one_line_for_each_figure() {
        let csv = to_csv(&figures());
        assert_eq!(csv.lines().nth(1), Some("1,W2,\"put/64\",1,quorate,ops_per_s,20000.0000"));
        assert_eq!(csv.lines().count(), 7);
    }

    #[test]
    fn csv_is_read_again_and_other_lines_are_not() {
        let csv = to_csv(&figures());
        assert_eq!(to_csv(&from_csv(&csv).unwrap()), csv);
        assert_eq!(from_csv(COLUMNS).unwrap().len(), 0);
        assert!(from_csv("members,row\n").is_err());
        for line in [
            "1,W2,put/64,1,quorate,ops_per_s,2.0",
            "1,W99,\"put/64\",1,quorate,ops_per_s,2.0",
            "1,W2,\"put/64\",1,nobody,ops_per_s,2.0",
            "1,W2,\"put/64\",1,quorate,nothing,2.0",
            "1,W2,\"put/64\",1,quorate,ops_per_s,2.0,more",
        ] {
            let told = from_csv(&format!("{COLUMNS}\n{line}\n")).unwrap_err();
            assert_eq!(told, line);
        }
    }
}
