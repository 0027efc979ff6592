//! How the rows of the table are measured: scenes, each on a server of its own.
//!
//! ```text
//! scene: round 1: quorate, etcd, floor, door    round 2: ...    next scene
//!           └ empty directory, start, fill, measure ── figures ──> table, CSV, plots
//! ```
//!
//! | Scene | Rows |
//! |---|---|
//! | basic | W1 to W6, W10 to W12, of W13 what is not about ends, idle memory |
//! | load | the curve of latency over load |
//! | pages, lists | W7, W8 |
//! | many, most | W9; memory of W15 and start of W16, with a million keys and with ten |
//! | expiry, upkeep | the rest of W13, W14 |
//! | watches, versions | the rest of W15 and of W16 |
//! | slow | a disk of one in three members that takes its time |

mod basic;
mod expiry;
mod lists;
mod many;
mod pages;
mod slow;
mod upkeep;
mod versions;
mod watches;

use std::time::Duration;

use indicatif::ProgressBar;
use quorate_io_tokio::bench::Tally;

use crate::Outcome;
use crate::cli::{Args, Flavour};
use crate::figure::{Figure, Metric};
use crate::measure::{Seen, mib};
use crate::row::Row;
use crate::servers::{Group, Program};
use crate::sizes::Sizes;

/// What is measured on one server, from its start to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scene {
    Basic,
    Load,
    Pages,
    Lists,
    Many,
    Expiry,
    Upkeep,
    Watches,
    Versions,
    Slow,
    Most,
}

impl Scene {
    /// All of them, the shortest first.
    pub(crate) const ALL: [Self; 11] = [
        Self::Basic,
        Self::Load,
        Self::Pages,
        Self::Lists,
        Self::Many,
        Self::Expiry,
        Self::Upkeep,
        Self::Watches,
        Self::Versions,
        Self::Slow,
        Self::Most,
    ];

    const fn rows(self) -> &'static [Row] {
        use Row::{
            Load, Slow, W1, W2, W3, W4, W5, W6, W7, W8, W9, W10, W11, W12, W13, W14, W15, W16,
        };
        match self {
            Self::Basic => &[W1, W2, W3, W4, W5, W6, W10, W11, W12, W13, W15],
            Self::Load => &[Load],
            Self::Pages => &[W7],
            Self::Lists => &[W8],
            Self::Many => &[W9, W15, W16],
            Self::Expiry => &[W13],
            Self::Upkeep => &[W14],
            Self::Watches => &[W15],
            Self::Versions => &[W16],
            Self::Slow => &[Slow],
            Self::Most => &[W15, W16],
        }
    }

    /// Whether once is enough if nobody says: filling takes longer than measuring.
    pub(crate) const fn is_long(self) -> bool {
        !matches!(self, Self::Basic | Self::Load | Self::Pages)
    }

    /// Whether it is asked for, of a group of so many.
    pub(crate) fn is_wanted(self, args: &Args, members: u8) -> bool {
        let is_possible = match self {
            Self::Most => members == 1 && args.sizes().most_keys.is_some(),
            // Several members of one machine start and fill one disk together: that says nothing.
            Self::Versions => members == 1,
            // With one of them slow, a quorum is not.
            Self::Slow => members > 2,
            // A first look has no time for curves.
            Self::Load => !args.quick || args.rows.contains(&Row::Load),
            _ => true,
        };
        is_possible && self.rows().iter().any(|row| args.wants(*row))
    }

    /// Whether that server can be asked.
    pub(crate) const fn is_for(self, flavour: Flavour) -> bool {
        match self {
            Self::Basic | Self::Load => true,
            // What it must reach is not a ratio, and it would take an etcd very long.
            Self::Most => matches!(flavour, Flavour::Quorate),
            // etcd maps its file into memory, which these disks cannot.
            Self::Slow => matches!(flavour, Flavour::Quorate),
            _ => !flavour.is_floor(),
        }
    }

    /// Plays it.
    pub(crate) fn play(self, stage: &mut Stage<'_>) -> Outcome<()> {
        match self {
            Self::Basic => basic::play(stage),
            Self::Load => basic::play_load(stage),
            Self::Pages => pages::play(stage),
            Self::Lists => lists::play(stage),
            Self::Many => many::play(stage),
            Self::Most => many::play_most(stage),
            Self::Expiry => expiry::play(stage),
            Self::Upkeep => upkeep::play(stage),
            Self::Watches => watches::play(stage),
            Self::Versions => versions::play(stage),
            Self::Slow => slow::play(stage),
        }
    }
}

/// One scene of one server in one round.
pub(crate) struct Stage<'a> {
    pub(crate) args: &'a Args,
    pub(crate) program: &'a Program,
    pub(crate) members: u8,
    pub(crate) round: u32,
    pub(crate) figures: &'a mut Vec<Figure>,
    pub(crate) bar: &'a ProgressBar,
}

impl Stage<'_> {
    fn sizes(&self) -> Sizes {
        self.args.sizes()
    }

    fn flavour(&self) -> Flavour {
        self.program.flavour
    }

    fn start(&self) -> Outcome<Group> {
        self.say("starts");
        Group::start(self.program, self.members, &self.args.out_dir())
    }

    fn say(&self, what: &str) {
        let (name, round) = (self.flavour().name(), self.round);
        self.bar.set_message(format!("round {round} {name} {what}"));
    }

    fn timing(&self) -> (Duration, Duration) {
        (self.sizes().warm, self.sizes().measured)
    }

    fn note(&mut self, row: Row, case: &str, metric: Metric, value: f64) {
        if !self.args.wants(row) {
            return;
        }
        self.figures.push(Figure {
            members: self.members,
            round: self.round,
            flavour: self.program.flavour,
            row,
            case: case.to_owned(),
            metric,
            value,
        });
    }

    /// All about a window in which these operations were what counts.
    fn note_window(&mut self, row: Row, case: &str, seen: &Seen, tally: &Tally) -> Outcome<()> {
        if tally.ops() == 0 {
            let server = self.flavour().name();
            return Err(format!("{server} finished no {case} within the window").into());
        }
        let thousands = tally.ops() as f64 / 1_000.0;
        self.note(row, case, Metric::Cpu, seen.cpu_seconds / thousands);
        self.note(row, case, Metric::Rate, tally.ops() as f64 / seen.seconds);
        self.note(row, case, Metric::P50, tally.micros_at(0.5));
        let tail = if row == Row::W12 { Metric::Lag99 } else { Metric::P99 };
        self.note(row, case, tail, tally.micros_at(0.99));
        self.note(row, case, Metric::P999, tally.micros_at(0.999));
        Ok(())
    }

    fn note_rss(&mut self, row: Row, case: &str, group: &Group) -> Outcome<()> {
        let resident = mib(group.rss_kib()?);
        self.note(row, case, Metric::RssMib, resident);
        Ok(())
    }
}
