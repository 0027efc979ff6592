//! `top`: a cluster, live.
//!
//! ```text
//!  cluster cdf818194e3a8c32  members 3/3  leader m1  revision 1042  watches 12  leases 3
//!  NAME  ROLE      TERM  INDEX  LAG  DB     WRITES/S  READS/S  SYNC    SLOW  WATCHES
//!  m1    leader       2   2071    0  41 kB     120.0     80.5  1.9ms      0       12
//!  m2    follower     2   2071    0  41 kB     120.0      0.0  2.1ms      0        0
//!  m3    down: connection refused
//! ```
//!
//! | Column | Comes of |
//! |---|---|
//! | lag | entries that the cluster has, and that this member has not applied yet |
//! | writes | those this member applied since the last look, per second: alike on all in time |
//! | reads | those this member answered since the last look, per second |
//! | sync | how long the log took to be on disk, on average since the last look |
//! | slow | syncs of the log beyond 128 ms since its start; of etcd also slow applies and reads |
//! | watches | watches that this member serves |
//!
//! Everything comes from `Status` and from the page of metrics: a member does nothing for it that
//! it does not do for others.

mod sample;
mod screen;
mod table;

use std::ffi::OsString;
use std::io::IsTerminal as _;
use std::time::Duration;

use clap::Args;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyModifiers};
use tokio::sync::mpsc;

use super::{Session, signals};
use crate::channels::TOOL_INPUTS_MAX;
use crate::tool::flags::duration;
use crate::tool::{self, Failure};
use sample::{Sample, Source};
use screen::Screen;

/// How to show it.
#[derive(Args, Debug)]
pub(super) struct Words {
    /// how often to look
    #[arg(long, default_value = "2s", value_parser = duration)]
    interval: Duration,
    /// look once, and print what there is as text
    #[arg(long)]
    once: bool,
    #[arg(value_name = "")]
    words: Vec<OsString>,
}

/// Does it, until somebody has seen enough.
pub(super) async fn top(words: Words, session: &Session) -> Result<(), Failure> {
    if !words.words.is_empty() {
        return Err(Failure::words("top command accepts no arguments"));
    }
    let source = Source::new(session).await?;
    let first = source.look().await?;
    if words.once {
        tokio::time::sleep(words.interval).await;
        let second = source.look().await?;
        let text = table::summary(&second) + "\n" + &table::table(&first, &second).draw();
        return tool::print(text.as_bytes());
    }
    if !std::io::stdout().is_terminal() {
        return Err(Failure::words("standard output is no terminal: use --once"));
    }
    show(first, &source, words.interval).await
}

async fn show(first: Sample, source: &Source<'_>, interval: Duration) -> Result<(), Failure> {
    let mut ended = signals::ended()?;
    let (typed, mut keys) = mpsc::channel(TOOL_INPUTS_MAX);
    // It reads for ever, and ends with the process.
    std::thread::spawn(move || {
        while let Ok(event) = event::read() {
            if typed.blocking_send(event).is_err() {
                return;
            }
        }
    });
    let mut terminal = ratatui::try_init().map_err(|error| Failure::new(error.to_string()))?;
    let mut screen = Screen::new(first);
    let ran = async {
        loop {
            let drawn = terminal.draw(|frame| screen.draw(frame));
            drawn.map_err(|error| Failure::new(error.to_string()))?;
            tokio::select! {
                biased;
                () = ended.wait() => return Ok(()),
                event = keys.recv() => {
                    if event.is_none_or(|event| is_enough(&event)) {
                        return Ok(());
                    }
                }
                sample = async {
                    tokio::time::sleep(interval).await;
                    source.look().await
                } => screen.take(sample),
            }
        }
    };
    let ran = ran.await;
    ratatui::restore();
    ran
}

fn is_enough(event: &Event) -> bool {
    let Event::Key(key) = event else { return false };
    let is_interrupt =
        key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL);
    is_interrupt || matches!(key.code, KeyCode::Char('q') | KeyCode::Esc)
}

#[cfg(test)]
mod tests;
