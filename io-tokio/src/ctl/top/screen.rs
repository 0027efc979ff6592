//! What stands on the terminal.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout};
use ratatui::style::{Color, Style, Stylize as _};
use ratatui::text::Line;
use ratatui::widgets::{Block, Borders, Cell, Row, Sparkline, Table};

use super::sample::Sample;
use super::table;
use crate::tool::Failure;

/// How many rates of writes are remembered: as many as are columns on a wide terminal.
const HISTORY_MAX: usize = 240;
/// Where roles and rates stand in a row.
const ROLE: usize = 2;
const WRITES: usize = 7;

/// Samples, and what was before.
pub(super) struct Screen {
    before: Sample,
    now: Sample,
    /// Writes per second, newest first.
    history: Vec<u64>,
    /// Why the last look failed.
    trouble: Option<String>,
}

impl Screen {
    pub(super) fn new(first: Sample) -> Self {
        Self { before: first.clone(), now: first, history: Vec::new(), trouble: None }
    }

    /// Takes the next look, or why there is none.
    pub(super) fn take(&mut self, sample: Result<Sample, Failure>) {
        match sample {
            Ok(sample) => {
                self.before = std::mem::replace(&mut self.now, sample);
                self.trouble = None;
                let rows = table::table(&self.before, &self.now).rows;
                let rates = rows.iter().filter_map(|row| row[WRITES].parse::<f64>().ok());
                // Every member applies every write.
                self.history.insert(0, rates.fold(0.0, f64::max) as u64);
                self.history.truncate(HISTORY_MAX);
            }
            Err(failure) => self.trouble = Some(failure.text),
        }
    }

    pub(super) fn draw(&self, frame: &mut Frame<'_>) {
        let shown = table::table(&self.before, &self.now);
        let height = u16::try_from(shown.rows.len()).unwrap_or(u16::MAX).saturating_add(1);
        let [summary, members, writes, footer] = Layout::vertical([
            Constraint::Length(2),
            Constraint::Length(height),
            Constraint::Min(3),
            Constraint::Length(1),
        ])
        .areas(frame.area());
        frame.render_widget(Line::from(table::summary(&self.now)).bold(), summary);
        let widths: Vec<Constraint> = (0..shown.header.len())
            .map(|column| {
                let cells = shown.rows.iter().map(|row| row[column].chars().count());
                let width = cells.chain([shown.header[column].len()]).max().unwrap_or(0);
                Constraint::Length(u16::try_from(width).unwrap_or(u16::MAX))
            })
            .collect();
        let header = shown.header.iter().map(|name| Cell::from(name.to_uppercase()));
        let rows = shown.rows.iter().map(|row| Row::new(row.clone()).style(style(&row[ROLE])));
        let table = Table::new(rows, widths)
            .column_spacing(2)
            .header(Row::new(header).style(Style::new().reversed()));
        frame.render_widget(table, members);
        let newest = self.history.first().copied().unwrap_or(0);
        let block = Block::new().borders(Borders::TOP).title(format!(" {newest} writes/s "));
        frame.render_widget(Sparkline::default().data(&self.history).block(block), writes);
        let words = match &self.trouble {
            Some(trouble) => Line::from(trouble.clone()).red(),
            None => Line::from("q: quit").dim(),
        };
        frame.render_widget(words, footer);
    }
}

fn style(role: &str) -> Style {
    match role {
        "leader" => Style::new().fg(Color::Green),
        "follower" => Style::new(),
        "learner" => Style::new().fg(Color::Cyan),
        _ => Style::new().fg(Color::Red),
    }
}
