//! Closed loops over a few keys, one workload after the other: reads first, so that they see what
//! was filled in and nothing else.

use std::sync::Arc;

use bytes::Bytes;
use quorate_io_tokio::bench::watch::{EVENTS, Fan, Watched};
use quorate_io_tokio::bench::work::{Grant, KeepAlive, Lines, Script, Update, is_read};
use quorate_io_tokio::bench::{Keys, Load, Stint, Tally, Target, drive};

use super::Stage;
use crate::Outcome;
use crate::cli::Flavour;
use crate::data::{self, Fill};
use crate::figure::Metric;
use crate::measure::{SETTLED_AFTER, window};
use crate::row::Row;
use crate::servers::Group;
use crate::sizes::{RANGE_KEYS, Sizes, VALUE_BYTES};

/// Connections of the largest crowd.
const CROWD_CONNECTIONS: usize = 100;
/// Those of watchers, and the writers beside them.
const WATCH_CONNECTIONS: usize = 4;
const WATCH_WRITERS: usize = 16;
/// Watches of keys of their own on one stream.
const STREAM_WATCHES: usize = 100;
/// How long leases live that do not end meanwhile, in seconds.
const TTL_SECONDS: i64 = 600;
/// Reads for each write of W11.
const READS_PER_WRITE: f64 = 4.0;
/// How many clients the curve of latency over load has, at its points.
const CURVE_CLIENTS: [usize; 6] = [1, 4, 16, 64, 256, 1_000];

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Put,
    Get,
    Serializable,
    Range,
    Update,
    Mixed,
    PrefixWatch,
    KeyWatch,
    Grant,
    KeepAlive,
}

/// What is asked, by how many at a time.
#[derive(Clone, Copy, Debug)]
struct Case {
    row: Row,
    kind: Kind,
    clients: usize,
}

const fn of(row: Row, kind: Kind, clients: usize) -> Case {
    Case { row, kind, clients }
}

const CASES: [Case; 14] = [
    of(Row::W4, Kind::Get, 1),
    of(Row::W4, Kind::Get, 64),
    of(Row::W4, Kind::Get, 1_000),
    of(Row::W5, Kind::Serializable, 1_000),
    of(Row::W6, Kind::Range, 64),
    of(Row::W1, Kind::Put, 1),
    of(Row::W2, Kind::Put, 64),
    of(Row::W3, Kind::Put, 1_000),
    of(Row::W10, Kind::Update, 64),
    of(Row::W11, Kind::Mixed, 256),
    of(Row::W12, Kind::PrefixWatch, WATCH_WRITERS),
    of(Row::W12, Kind::KeyWatch, WATCH_WRITERS),
    of(Row::W13, Kind::Grant, 64),
    of(Row::W13, Kind::KeepAlive, 64),
];

/// Plays every workload that is wanted.
pub(super) fn play(stage: &mut Stage<'_>) -> Outcome<()> {
    let cases = CASES.into_iter().filter(|case| stage.args.wants(case.row)).collect();
    play_cases(stage, cases)
}

/// Plays puts and reads by ever more clients.
pub(super) fn play_load(stage: &mut Stage<'_>) -> Outcome<()> {
    let of_kind = |kind| CURVE_CLIENTS.map(|clients| of(Row::Load, kind, clients));
    play_cases(stage, [of_kind(Kind::Get), of_kind(Kind::Put)].concat())
}

fn play_cases(stage: &mut Stage<'_>, cases: Vec<Case>) -> Outcome<()> {
    let (group, sizes) = (stage.start()?, stage.sizes());
    std::thread::sleep(SETTLED_AFTER);
    stage.note_rss(Row::W15, "idle", &group)?;
    if cases.is_empty() {
        return Ok(());
    }
    Fill::all(data::keys(sizes.keys), VALUE_BYTES).run(&group)?;
    for case in cases {
        if case.is_for(stage.flavour()) {
            case.measure(stage, &group)?;
        }
    }
    stage.note_rss(Row::W15, "after all workloads", &group)
}

impl Case {
    fn name(self, sizes: &Sizes) -> String {
        let clients = self.clients;
        match self.kind {
            Kind::Put => format!("put/{clients}"),
            Kind::Get => format!("get/{clients}"),
            Kind::Serializable => format!("serializable/{clients}"),
            Kind::Range => format!("range{RANGE_KEYS}/{clients}"),
            Kind::Update => format!("txn/{clients}"),
            Kind::Mixed => format!("mixed/{clients}"),
            Kind::PrefixWatch => format!("{} watchers of a prefix", sizes.prefix_watchers),
            Kind::KeyWatch => format!("{} watchers of their own keys", sizes.key_watchers),
            Kind::Grant => format!("grant+attach/{clients}"),
            Kind::KeepAlive => format!("{} kept alive/{clients}", sizes.kept_leases),
        }
    }

    /// Whether a server that stores nothing can answer it, if it is one.
    fn is_for(self, flavour: Flavour) -> bool {
        let wants_state =
            matches!(self.kind, Kind::PrefixWatch | Kind::KeyWatch | Kind::Grant | Kind::KeepAlive);
        !flavour.is_floor() || !wants_state
    }

    fn load(self, group: &Group, threads: usize) -> Load {
        let connections = match (self.kind, self.clients) {
            (Kind::PrefixWatch | Kind::KeyWatch, _) => WATCH_CONNECTIONS,
            (_, 1_000..) => CROWD_CONNECTIONS,
            (_, clients) => data::connection_count(clients, group.client_addrs.len()),
        };
        Load::new(self.clients, connections, threads)
    }

    fn measure(self, stage: &mut Stage<'_>, group: &Group) -> Outcome<()> {
        let (sizes, load) = (stage.sizes(), self.load(group, stage.args.threads));
        let name = self.name(&sizes);
        stage.say(&name);
        let target = group.target()?;
        let seen = window(group, stage.timing(), |stint| self.drive(&target, &load, stint, &sizes));
        let seen = seen.map_err(|error| format!("{} {name}: {error}", stage.flavour().name()))?;
        let track = if self.is_watch() { EVENTS } else { 0 };
        stage.note_window(self.row, &name, &seen, &seen.tracks[track])?;
        let resident = crate::measure::mib(group.rss_kib()?);
        stage.note(self.row, &name, Metric::RssMib, resident);
        Ok(())
    }

    const fn is_watch(self) -> bool {
        matches!(self.kind, Kind::PrefixWatch | Kind::KeyWatch)
    }

    fn drive(
        self,
        target: &Arc<Target>,
        load: &Load,
        stint: &Arc<Stint>,
        sizes: &Sizes,
    ) -> Result<Vec<Tally>, String> {
        let (keys, value) = (data::keys(sizes.keys), data::value(0, VALUE_BYTES));
        let ask = |lines: Arc<Lines>| {
            drive(target, load, stint, move |line, _| Script::new(line, &lines))
        };
        match self.kind {
            Kind::Put => ask(data::puts(keys, VALUE_BYTES)),
            Kind::Get => ask(Arc::new(move |turn| (0, data::get(keys.at(turn), false)))),
            Kind::Serializable => ask(Arc::new(move |turn| (0, data::get(keys.at(turn), true)))),
            Kind::Range => ask(data::ranges(keys, RANGE_KEYS)),
            Kind::Mixed => ask(Arc::new(move |turn| {
                let (key, is_read) = (keys.at(turn), is_read(turn, READS_PER_WRITE));
                (0, if is_read { data::get(key, false) } else { data::put(key, &value) })
            })),
            Kind::Update => drive(target, load, stint, move |line, number| {
                Update::new(line, format!("own/{number:06}").into(), value.clone())
            }),
            Kind::Grant => drive(target, load, stint, move |line, _| {
                Grant::new(line, value.clone(), TTL_SECONDS)
            }),
            Kind::KeepAlive => {
                let each = sizes.kept_leases.div_ceil(self.clients);
                drive(target, load, stint, move |line, _| KeepAlive::new(line, each, TTL_SECONDS))
            }
            Kind::PrefixWatch => prefix_fan(sizes.prefix_watchers).drive(target, load, stint),
            Kind::KeyWatch => key_fan(sizes.key_watchers).drive(target, load, stint),
        }
    }
}

/// Watchers of one prefix, each on a stream of its own; each writer has a key of its own.
fn prefix_fan(watchers: usize) -> Fan {
    let range = (Bytes::from_static(b"watched/"), Bytes::from_static(b"watched0"));
    Fan {
        streams: watchers,
        watches: 1,
        watched: Watched::Range(range.0, range.1),
        keys: Keys::numbered("watched/", WATCH_WRITERS as u64),
        prev_kv: false,
        value_bytes: VALUE_BYTES,
        is_closed: true,
    }
}

/// Watchers of one key each, many on a stream.
fn key_fan(watchers: usize) -> Fan {
    Fan {
        streams: watchers.div_ceil(STREAM_WATCHES),
        watches: STREAM_WATCHES.min(watchers),
        watched: Watched::Each,
        keys: Keys::numbered("own-watched/", watchers as u64),
        prev_kv: false,
        value_bytes: VALUE_BYTES,
        is_closed: true,
    }
}
