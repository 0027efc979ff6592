//! One run as a picture: a single page that opens offline in any browser.
//!
//! ```text
//!   lines of the trace --read--> Picture --JSON--> page.html
//!   plan (faults and their lengths) ---^
//! ```
//!
//! One lane per machine (role, term, what is committed and applied, the disk beneath, how far its
//! clock is off), arrows for messages, a lane per client and per watch stream, bars for faults, the
//! objection where it was made, and all lines to search. What would make the page too large is left
//! out from the beginning of the run: the end is what one looks at.

mod faults;
mod read;

use quorate_io_sim::world::Plan;
use quorate_io_sim::world::trace::Line;
use serde::Serialize;

use crate::failure::Failure;

const PAGE: &str = include_str!("timeline/page.html");

/// Where the picture goes in the page.
const PLACE: &str = "/*PICTURE*/null";

/// Characters of lines a page has room for.
const LINES_CHARS_MAX: usize = 2_000_000;
/// Arrows a page has room for: each takes about 60 characters.
const ARROWS_MAX: usize = 30_000;
/// Frames of watch streams a page has room for: each takes up to 150.
const FRAMES_MAX: usize = 5_000;

/// Everything on the page. Times in microseconds.
#[derive(Debug, Default, Serialize)]
struct Picture {
    seed: u64,
    end: u64,
    healed: Option<u64>,
    objection: Option<String>,
    machines: Vec<Machine>,
    clients: Vec<Vec<Call>>,
    streams: Vec<Stream>,
    faults: Vec<Bar>,
    arrows: Vec<Arrow>,
    /// Time, machine, text.
    lines: Vec<(u64, Option<usize>, String)>,
}

/// The lane of one machine.
#[derive(Debug, Default, Serialize)]
struct Machine {
    /// Who it is or was: from when on, under which id.
    names: Vec<(u64, u64)>,
    /// From when on it is up, or why it is not.
    lives: Vec<(u64, Option<String>)>,
    /// From when on: the term, who leads, and whether it is this one.
    roles: Vec<(u64, u64, Option<u64>, bool)>,
    /// How far the log is committed.
    committed: Vec<(u64, u64)>,
    /// How far it is applied.
    applied: Vec<(u64, u64)>,
    /// What the disk had to write.
    writes: Vec<Write>,
    /// From when on: how far the clock is off, in microseconds, and how fast it runs, in parts in
    /// a million. When it was first looked at it was right.
    clock: Vec<(u64, i64, i64)>,
}

/// One batch on its way to the disk, until it is there or lost.
#[derive(Debug, Serialize)]
struct Write {
    from: u64,
    to: Option<u64>,
    what: String,
    is_synced: bool,
    is_lost: bool,
}

/// One call of a client.
#[derive(Debug, Serialize)]
struct Call {
    number: u64,
    from: u64,
    to: Option<u64>,
    asked: String,
    learned: String,
    revision: Option<u64>,
}

/// One watch stream as its member sees it.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Stream {
    number: u64,
    machine: usize,
    from: u64,
    to: Option<u64>,
    /// Time, and what was said: by the client with `<`, to it with `>`.
    frames: Vec<(u64, String)>,
}

/// Something that lasts.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Bar {
    from: u64,
    to: u64,
    what: String,
}

/// A message between machines; without an end it never arrived.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Arrow {
    from: usize,
    to: Option<usize>,
    sent: u64,
    arrived: Option<u64>,
    what: String,
}

/// The page of a run. `lines`: all of its trace. `ended_at` in nanoseconds.
#[must_use]
pub fn draw(plan: &Plan, lines: &[Line], ended_at: u64, failure: Option<&Failure>) -> String {
    let mut picture = read::read(lines);
    picture.seed = plan.seed;
    picture.end = ended_at / 1_000;
    picture.objection = failure.map(|failure| failure.text.clone());
    picture.faults = faults::bars(&plan.strikes, picture.end);
    picture.faults.retain(|bar| bar.from <= picture.end);
    let surplus = picture.arrows.len().saturating_sub(ARROWS_MAX);
    picture.arrows.drain(..surplus);
    drop_early_frames(&mut picture.streams);
    picture.lines = last_lines(lines);
    let data = serde_json::to_string(&picture).expect("plain data is always JSON");
    // Inside a script element only the end of the element needs care.
    PAGE.replace(PLACE, &data.replace("</", "<\\/"))
}

/// Leaves the last frames that fit.
fn drop_early_frames(streams: &mut [Stream]) {
    let mut times: Vec<_> = streams.iter().flat_map(|it| &it.frames).map(|it| it.0).collect();
    times.sort_unstable();
    let Some(last) = times.len().checked_sub(FRAMES_MAX + 1).map(|place| times[place]) else {
        return;
    };
    for stream in streams {
        stream.frames.retain(|(at, _)| *at > last);
    }
}

/// The last lines that fit.
fn last_lines(lines: &[Line]) -> Vec<(u64, Option<usize>, String)> {
    let mut room = LINES_CHARS_MAX;
    let fits = |line: &&Line| {
        let size = line.text.len() + 20;
        let is_room = size <= room;
        room = room.saturating_sub(size);
        is_room
    };
    let mut last: Vec<_> = lines.iter().rev().take_while(fits).collect();
    last.reverse();
    last.iter().map(|line| (line.at / 1_000, line.node, line.text.clone())).collect()
}

#[cfg(test)]
mod tests;
