//! Opening a member: a directory and settings become two machines and their running loops.
//!
//! ```text
//! data directory --lock--> identity --recover--> log, store --open--> Replica, State --> loops
//! ```
//!
//! The first start writes the identity the settings give; every later start takes the identity
//! from the log, whatever `--initial-cluster` says, as etcd does.
//!
//! Answers to: etcd v3.7.1 `server/etcdserver/bootstrap.go`

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use quorate_core::config::Peer;
use quorate_core::error::StorageFault;
use quorate_core::ids::MemberId;
use quorate_core::membership::MemberRecord;
use quorate_core::schema::stored_mark;
use quorate_core::storage::{LogContents, LogRead, SnapshotMark, StateRead};
use quorate_core::time::Time;
use quorate_core::{Config, Replica, State, rows_awaiting_image};
use quorate_proto::peer::{ImageChunk, ImageHeader};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;
use tokio::runtime::Handle;
use tracing::{info, warn};

use crate::bootstrap::{self, Bootstrap, BootstrapError, alone};
use crate::cli::{Settings, Url};
use crate::clock::Clock;
use crate::disk::ahead::ReadAhead;
use crate::disk::image::ImageChunks;
use crate::disk::recovery::Recovered;
use crate::disk::{DataDir, Identity, faults, recovery, wal};
use crate::driver::{self, Core, Fatal, Parts};
use crate::logging::Listener;
use crate::memory;
use crate::metrics::Metrics;
use crate::server::{Ended, Member};
use crate::transport::peers::{self, Chunks, Images, Peers};
use crate::transport::{Dialer, IoThreads};

/// How long the loops may take to stop.
const STOP_MAX: Duration = Duration::from_millis(900);

/// Opens the disk and the two machines and starts their loops.
///
/// # Errors
/// What cannot be used, and what to do about it, in one sentence.
pub fn open(
    settings: &Settings,
    metrics: &Arc<Metrics>,
    peer_threads: &IoThreads,
    dialer: &Dialer,
) -> Result<Member, String> {
    let fault = |fault: StorageFault| fault.what;
    let faults = faults::parse(std::env::var(faults::FAULT_LOG_ENV).ok().as_deref())?;
    let log_settings = wal::Settings { faults, ..wal::Settings::default() };
    let dir = DataDir::open_with_wal(&settings.data_dir, &settings.wal_dir).map_err(fault)?;
    let runtime = peer_threads.next();
    let asked = Asked { runtime, dialer };
    let bootstrap = identify(settings, &dir, &asked)?;
    let identity = Identity { member: bootstrap.member, cluster: bootstrap.cluster };
    let clock = Clock::start();
    let mut known = bootstrap.peers.clone();
    let mut config = configure(settings, bootstrap);
    let opened = open_disk(settings, (&dir, log_settings), (&config, clock.now()));
    let (mut found, state) = opened.map_err(fault)?;
    let mut log = found.log.load(&found.stored).map_err(fault)?;
    if is_blank(&log) && known.is_empty() {
        known = begin_again(settings, identity, &asked)?;
        config.bootstrap.clone_from(&known);
    }
    if settings.is_forced_alone && !is_blank(&log) {
        let plan = alone::plan(&config, (&found.stored, found.image), &log)?;
        warn!(plan = plan.describe(identity.member), "forcing a new cluster");
        plan.carry_out(&mut found.log_writer, &mut log).map_err(fault)?;
    }
    let replica = Replica::open(&config, found.stored, log, clock.now()).map_err(fault)?;

    let own = peers::Identity { cluster: identity.cluster, member: identity.member };
    let peers = Arc::new(Peers::new(own, Arc::clone(metrics), dialer.clone(), runtime.clone()));
    peers.set_members(known.into_iter().map(|peer| (peer.id, peer.peer_urls)));
    let parts = Parts {
        replica,
        state,
        incoming: found.store.incoming(),
        log: Box::new(found.log_writer),
        store: Box::new(found.store),
        transport: peers.clone(),
        observer: Arc::new(Listener::new(
            identity.member,
            Arc::clone(metrics),
            settings.patience.apply,
        )),
        scrub_interval: settings.scrub_interval,
        clock,
    };
    let running = driver::start(parts, runtime).map_err(fault)?;
    let core = running.core.clone();
    let inbound = peers.attach(Arc::new(core.clone()), Arc::new(CoreImages(core.clone())));
    let fatal = running.fatal();
    let ended = Box::pin(async move {
        match fatal.await {
            Fatal::Removed => Ended::Removed,
            other => Ended::Fatal(other.to_string()),
        }
    });
    let stop = Box::new(move || {
        if let Err(name) = running.stop(STOP_MAX) {
            warn!(thread = name, "a loop did not stop in time");
        }
        // The lock is let go of last.
        drop(dir);
    });
    Ok(Member { core, peers, inbound, ended, stop })
}

/// What others are asked by, and where.
struct Asked<'a> {
    dialer: &'a Dialer,
    runtime: &'a Handle,
}

impl Asked<'_> {
    fn bootstrap(&self, settings: &Settings) -> Result<Bootstrap, BootstrapError> {
        self.runtime.block_on(bootstrap::bootstrap(settings, self.dialer))
    }
}

/// Who this member is: by its log if it has one, else by the settings.
fn identify(settings: &Settings, dir: &DataDir, asked: &Asked<'_>) -> Result<Bootstrap, String> {
    if dir.is_initialised() {
        let Identity { member, cluster } =
            recovery::read_identity(dir).map_err(|fault| fault.what)?;
        return Ok(Bootstrap { member, cluster, peers: Vec::new(), is_new: false });
    }
    let bootstrap = interruptible(|| asked.bootstrap(settings))
        .map_err(|error| format!("cannot start the signal handlers: {error}"))?;
    let bootstrap = bootstrap.map_err(|error| error.to_string())?;
    let identity = Identity { member: bootstrap.member, cluster: bootstrap.cluster };
    recovery::create(dir, identity).map_err(|fault| fault.what)?;
    Ok(bootstrap)
}

/// Opens the disk, and the state on it. A store that is damaged is set aside and filled again, by
/// the log or by the leader; not where this member shall go on alone, with what it has.
fn open_disk(
    settings: &Settings,
    (dir, log_settings): (&DataDir, wal::Settings),
    (config, now): (&Config, Time),
) -> Result<(Recovered, State), StorageFault> {
    let identity = Identity { member: config.member, cluster: config.cluster };
    let mark_of = |image: &dyn StateRead| stored_mark(image);
    let open = || {
        let found = recovery::open(dir, Some(identity), &mark_of, log_settings.clone())?;
        let ahead = ReadAhead::new(Arc::clone(&found.image));
        let state = State::open(config, Arc::new(ahead), now);
        // Nothing but the store is read for it.
        let state = state.map_err(|fault| StorageFault { is_damage: true, ..fault })?;
        Ok::<_, StorageFault>((found, state))
    };
    match open() {
        Err(fault) if fault.is_damage && !settings.is_forced_alone => {
            let rows = |mark: &SnapshotMark| rows_awaiting_image(mark, &initial_members(settings));
            recovery::replace_store(dir, fault, &rows).and_then(|()| open())
        }
        opened => opened,
    }
}

/// Whether a log holds nothing yet, not even how the group began.
fn is_blank(log: &LogContents) -> bool {
    *log == LogContents::default()
}

/// A first start that was cut short before its first entry is made good, if the settings are still
/// those it was made with: the group's first members. A member that was to join needs nothing: it
/// waits to be spoken to.
fn begin_again(
    settings: &Settings,
    identity: Identity,
    asked: &Asked<'_>,
) -> Result<Vec<Peer>, String> {
    if !settings.is_new_cluster {
        return Ok(Vec::new());
    }
    let again = asked.bootstrap(settings).map_err(|error| error.to_string())?;
    let is_same = (again.member, again.cluster) == (identity.member, identity.cluster);
    Ok(if is_same { again.peers } else { Vec::new() })
}

/// The members the flags name, by the ids they had if the cluster began with them.
fn initial_members(settings: &Settings) -> Vec<MemberRecord> {
    let record = |(_, urls): &(String, Vec<Url>)| {
        let peer_urls: Vec<String> = urls.iter().map(ToString::to_string).collect();
        let id = bootstrap::member_id(&peer_urls, &settings.token).get();
        MemberRecord { id, peer_urls, ..MemberRecord::default() }
    };
    settings.initial_cluster.iter().map(record).collect()
}

/// Does something that may wait for ever: until it is done, a signal ends the process, which holds
/// nothing yet.
fn interruptible<T>(work: impl FnOnce() -> T) -> io::Result<T> {
    let is_waiting = Arc::new(AtomicBool::new(true));
    for signal in [SIGTERM, SIGINT] {
        flag::register_conditional_default(signal, Arc::clone(&is_waiting))?;
    }
    let done = work();
    is_waiting.store(false, Ordering::SeqCst);
    Ok(done)
}

fn configure(settings: &Settings, bootstrap: Bootstrap) -> Config {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let seed = rand::random();
    info!(seed, "drawn from the system");
    let plain = Config::default();
    Config {
        member: bootstrap.member,
        cluster: bootstrap.cluster,
        name: settings.name.clone(),
        client_urls: settings.advertise_client.iter().map(ToString::to_string).collect(),
        bootstrap: if bootstrap.is_new { bootstrap.peers } else { Vec::new() },
        seed,
        boot: u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX),
        heartbeat_interval: settings.heartbeat_interval,
        election_timeout: settings.election_timeout,
        snapshot_count: settings.snapshot_count,
        snapshot_catchup_entries: settings.snapshot_catchup_entries,
        request_bytes_max: settings.request_bytes_max,
        txn_ops_max: settings.txn_ops_max,
        quota_backend_bytes: settings.quota_backend_bytes,
        auto_compaction: settings.auto_compaction,
        watch_progress_interval: settings.watch_progress_interval,
        learners_max: settings.learners_max,
        token_ttl: settings.token_ttl,
        is_reconfig_strict: settings.is_reconfig_strict,
        log_bytes_max: memory::share(settings.memory_limit, 16, plain.log_bytes_max),
        ..plain
    }
}

/// Images taken apart and put together by the disk.
struct CoreImages(Core);

impl Images for CoreImages {
    fn chunks(&self, header: ImageHeader, image: Arc<dyn StateRead>) -> Chunks {
        Box::new(ImageChunks::new(header, image))
    }

    fn receive(
        &self,
        from: MemberId,
        chunks: &mut dyn Iterator<Item = ImageChunk>,
    ) -> Result<(), String> {
        self.0.receive_image(from, chunks).map_err(|error| error.to_string())
    }
}
