//! Crash cycles: a process with the real log and store is killed again and again, the power is cut,
//! and what it was told is safe is there when it starts again; nothing else is.
//!
//! ```text
//! QUORATE_CRASH_CYCLES=10000   how many, instead of a few
//! QUORATE_CRASH_SEED=7         of the first cycle: each draws from a seed of its own
//! ```
//!
//! A cycle opens what the one before it left, in one folder for a while, then in a fresh one. The
//! process dies at a change of its disk that was drawn, at times while it opens; then what was not
//! synced is lost, torn or kept, as drawn (`platter`).
#![allow(clippy::unwrap_used, reason = "in tests an unwrap is an assertion")]

mod crash;
mod platter;

use std::io::{BufRead, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use crash::model::Model;
use crash::story::{SIGN, Word};
use platter::{Illness, Loss, Luck, Moment, Platter, Synced};
use quorate_core::storage::Table;
use quorate_io_tokio::disk::store::Store;

/// Set for the process under test: its folder, its seed, the size of its log's segments.
const LIFE_ENV: &str = "QUORATE_CRASH_LIFE";
/// How often a process is looked after until it has made all changes it may. A machine that stands
/// still for a while counts for one look.
const LOOKS_MAX: u32 = 2_400;
const LOOK_PAUSE: Duration = Duration::from_millis(50);
/// Changes after which a process may die while it opens: about so many does it take.
const OPENING_CHANGES: u64 = 20;
/// The same in a fresh folder.
const CREATION_CHANGES: u64 = 500;
/// The same once it has opened.
const LIFE_CHANGES: u64 = 400;
const LIFE_FOLDER_SYNCS: u64 = 12;
/// Cycles in one folder.
const CYCLES_PER_FOLDER: u64 = 40;
/// Changes before the end that a loss may reach back to.
const REACH: u64 = 120;

/// What a number of cycles came to.
#[derive(Debug, Default)]
struct Tally {
    cycles: u64,
    /// Died before they had opened.
    opening: u64,
    /// By what was lost: nothing, all, the end, scattered parts.
    losses: [u64; 4],
    /// Garbage in the log's last write that was refused, which is allowed.
    refused: u64,
    words: u64,
    changes: u64,
    folders: u64,
}

/// Cycles on one disk.
struct Cycles {
    platter: Platter,
    root: tempfile::TempDir,
    model: Model,
    folder: PathBuf,
    segment_bytes: u64,
    has_garbage: bool,
    /// Whether processes die where names are about to be synced, half of them without a power cut.
    is_about_names: bool,
    tally: Tally,
}

impl Cycles {
    fn begin() -> Option<Self> {
        let root = tempfile::tempdir().unwrap();
        let platter = Platter::mount(root.path())?;
        let (model, tally) = (Model::default(), Tally::default());
        let folder = PathBuf::new();
        let (segment_bytes, has_garbage, is_about_names) = (0, false, false);
        Some(Self {
            platter,
            root,
            model,
            folder,
            segment_bytes,
            has_garbage,
            is_about_names,
            tally,
        })
    }

    fn go_elsewhere(&mut self, luck: &mut Luck) {
        if self.tally.folders > 0 {
            std::fs::remove_dir_all(&self.folder).unwrap();
        }
        self.tally.folders += 1;
        self.folder = self.root.path().join(self.tally.folders.to_string());
        self.segment_bytes = 16_384 << luck.below(5);
        self.model = Model::default();
        self.has_garbage = false;
    }

    /// One life, its end and what is left; an error if something was lost or made up.
    fn cycle(&mut self, seed: u64) -> Result<(), String> {
        let mut luck = Luck::new(seed);
        if self.tally.cycles.is_multiple_of(CYCLES_PER_FOLDER) {
            self.go_elsewhere(&mut luck);
        }
        self.tally.cycles += 1;
        let before = self.platter.changes();
        if luck.one_in(4) && !self.is_about_names {
            let is_fresh = !self.folder.exists();
            let changes = if is_fresh { CREATION_CHANGES } else { OPENING_CHANGES };
            self.platter.stand_still_at(Moment::Change(1 + luck.below(changes)));
        }
        let moment = match luck.below(3) {
            _ if self.is_about_names => Moment::FolderSync(1 + luck.below(LIFE_FOLDER_SYNCS)),
            0 => Moment::FolderSync(1 + luck.below(LIFE_FOLDER_SYNCS)),
            _ => Moment::Change(1 + luck.below(LIFE_CHANGES)),
        };
        let (words, has_ended) = self.live(seed, moment);
        let changes = self.platter.changes();
        self.tally.changes += changes - before;
        self.model.start();
        for word in words {
            self.tally.words += 1;
            match self.model.hear(word) {
                Err(why) if self.has_garbage && why.contains("log segment") => {
                    self.tally.refused += 1;
                    self.go_elsewhere(&mut luck);
                    return Ok(());
                }
                outcome => outcome?,
            }
        }
        if has_ended {
            return Err("it ended, and said nothing".into());
        }
        self.tally.opening += u64::from(!self.model.has_opened);
        self.has_garbage &= !self.model.has_opened;
        let loss = self.draw_loss(changes, &mut luck);
        self.platter.cut(loss, &mut luck);
        Ok(())
    }

    /// Runs a process until its disk stands still, at the latest at that moment after it has
    /// opened, and kills it; what it said, and whether it has ended by itself.
    fn live(&self, seed: u64, moment: Moment) -> (Vec<Word>, bool) {
        let mut child = start(&self.folder, seed, self.segment_bytes);
        let out = BufReader::new(child.stdout.take().unwrap());
        let go_ahead = child.stdin.take().unwrap();
        std::thread::scope(|scope| {
            let listening = scope.spawn(|| self.listen(out, go_ahead, moment));
            let mut looks = 0;
            let mut has_ended = false;
            while !has_ended && !self.platter.wait_for_standstill(LOOK_PAUSE) {
                has_ended = child.try_wait().unwrap().is_some();
                looks += 1;
                if looks == LOOKS_MAX {
                    break;
                }
            }
            // Dead before the disk answers again: what is under way never comes back to it.
            child.kill().unwrap();
            self.platter.go_on();
            child.wait().unwrap();
            let words = listening.join().unwrap();
            assert!(looks < LOOKS_MAX, "it lives for ever: seed {seed}, {:?}", words.last());
            (words, has_ended)
        })
    }

    /// Hears all words; whoever has opened waits until its changes are counted.
    fn listen(&self, out: impl BufRead, mut go_ahead: ChildStdin, moment: Moment) -> Vec<Word> {
        let lines = out.lines().map_while(Result::ok);
        let words = lines.filter_map(|line| serde_json::from_str(line.strip_prefix(SIGN)?).ok());
        let count = |word: &Word| {
            if matches!(word, Word::Found(_)) {
                self.platter.stand_still_at(moment);
                go_ahead.write_all(b"\n").unwrap();
            }
        };
        words.inspect(count).collect()
    }

    fn draw_loss(&mut self, changes: u64, luck: &mut Luck) -> Loss {
        let (kind, loss) = match luck.below(10) {
            1..=5 if self.is_about_names => (0, Loss::None),
            0 | 1 => (0, Loss::None),
            2 => (1, Loss::All),
            3 | 4 => (2, Loss::After(changes - luck.below(REACH.min(changes) + 1))),
            _ => {
                let unit = if luck.one_in(2) { 512 } else { 4096 };
                let has_garbage = luck.one_in(8);
                (3, Loss::Scattered { unit, has_garbage })
            }
        };
        self.tally.losses[kind] += 1;
        self.has_garbage |= matches!(loss, Loss::Scattered { has_garbage: true, .. });
        loss
    }
}

fn start(folder: &Path, seed: u64, segment_bytes: u64) -> Child {
    let life = format!("{seed} {segment_bytes} {}", folder.display());
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "the_process_under_test", "--nocapture", "--test-threads=1"]);
    command.env(LIFE_ENV, life).stdin(Stdio::piped()).stdout(Stdio::piped());
    command.spawn().unwrap()
}

/// Does nothing, unless it is started by the others.
#[test]
fn the_process_under_test() {
    let Ok(life) = std::env::var(LIFE_ENV) else { return };
    let mut parts = life.splitn(3, ' ');
    let mut number = || parts.next().unwrap().parse().unwrap();
    let (seed, segment_bytes) = (number(), number());
    crash::member::live(Path::new(parts.next().unwrap()), seed, segment_bytes);
}

fn number_from(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |value| value.parse().unwrap())
}

#[test]
fn what_was_said_to_be_safe_is_there_after_every_crash() {
    let Some(mut cycles) = Cycles::begin() else { return };
    let count = number_from("QUORATE_CRASH_CYCLES", 60);
    let first = number_from("QUORATE_CRASH_SEED", 1);
    let begun = Instant::now();
    for seed in first..first + count {
        if let Err(why) = cycles.cycle(seed) {
            panic!("cycle of seed {seed}, of those from {first} on: {why}\n{:?}", cycles.tally);
        }
        if cycles.tally.cycles.is_multiple_of(500) {
            eprintln!("{:?} {:?}", begun.elapsed(), cycles.tally);
        }
    }
    println!("{:?} {:?}", begun.elapsed(), cycles.tally);
}

/// A process dies after it gave a file another name, and before that was synced; the next one takes
/// the new name as it finds it, and removes what it no longer needs; then the power is cut.
#[test]
fn what_new_names_replaced_stays_until_they_are_synced() {
    let Some(mut cycles) = Cycles::begin() else { return };
    cycles.is_about_names = true;
    let first = number_from("QUORATE_CRASH_SEED", 1);
    for seed in first..first + number_from("QUORATE_CRASH_CYCLES", 40) {
        if let Err(why) = cycles.cycle(seed) {
            panic!("cycle of seed {seed}, of those from {first} on: {why}\n{:?}", cycles.tally);
        }
    }
}

/// fjall removes what new names replaced when it opens: by then they must be there for good. It
/// syncs no folder of a table by itself.
#[test]
fn a_store_syncs_the_names_it_finds_when_it_opens() {
    let root = tempfile::tempdir().unwrap();
    let Some(platter) = Platter::mount(root.path()) else { return };
    let folder = root.path().join("store");
    drop(Store::open(&folder).unwrap());
    platter.stand_still_at(Moment::FolderSync(Table::ALL.len() as u64));
    std::thread::scope(|scope| {
        let opening = scope.spawn(|| Store::open(&folder).map(drop));
        let is_reached = platter.wait_for_standstill(Duration::from_secs(20));
        platter.go_on();
        // What stood still has failed by now.
        let _ = opening.join().unwrap();
        assert!(is_reached, "the folder of each table is synced");
    });
}

#[test]
fn a_disk_that_lies_is_found_out() {
    for lie in [Synced::File, Synced::Folder] {
        let Some(mut cycles) = Cycles::begin() else { return };
        cycles.platter.ail(Illness { lies_about: Some(lie), ..Illness::default() });
        let found = (1..=300).find_map(|seed| cycles.cycle(seed).err().map(|why| (seed, why)));
        let (seed, why) = found.expect("cycles that lose something");
        println!("{lie:?}: cycle {seed}: {why:.200}");
    }
}
