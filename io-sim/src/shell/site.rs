//! A member's machine: a whole server, with the production shell's own code, until power goes or
//! it is asked to end.
//!
//! ```text
//!   Ground (outlives power): disk, boots      Server::run: services, peers, HTTP
//!        |                                        |
//!        `---> State, Replica ---> four loops, each a task that rests between its turns
//! ```
//!
//! How long a loop rests is drawn: a disk's loops now and then for long, as disks do.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use quorate_core::config::Peer;
use quorate_core::error::StorageFault;
use quorate_core::ids::{ClusterId, MemberId};
use quorate_core::schema::stored_mark;
use quorate_core::storage::StateRead;
use quorate_core::{Config, Replica, State};
use quorate_io_tokio::cli::{self, Called, Outcome, Settings};
use quorate_io_tokio::clock::Clock;
use quorate_io_tokio::disk::StateWrite as _;
use quorate_io_tokio::driver::{self, Fatal, Looped, Next, Parts};
use quorate_io_tokio::logging::Listener;
use quorate_io_tokio::metrics::Metrics;
use quorate_io_tokio::server::{End, Ended, Member, Ports, Server};
use quorate_io_tokio::tls::Keyring;
use quorate_io_tokio::tokens::Tokens;
use quorate_io_tokio::transport::peers::{Chunks, Identity, Images, Peers};
use quorate_io_tokio::transport::{Dialer, Entrance, IoThreads, Kind};
use quorate_proto::peer::{ImageChunk, ImageHeader};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::sleep;

use super::disk::Disk;
use super::plan::{MEMBERS, Plan};
use super::wires::{CLIENT_PORT, Links, PEER_PORT, listen, url};
use crate::world::luck::{Luck, Purpose};

/// The signal that asks a server to end.
const TERMINATE: i32 = 15;
/// Milliseconds a machine's loop rests between two turns.
const MACHINE_RESTS_MS: u64 = 2;
/// Milliseconds a disk's loop rests between two turns: even odds for each.
const DISK_RESTS_MS: [u64; 8] = [2, 2, 2, 2, 3, 3, 5, 12];
/// One in so many of these rests is a stall ...
const STALL_ODDS: u64 = 3_000;
/// ... of so many milliseconds.
const STALL_MS: (u64, u64) = (200, 1_500);

/// The cluster all members are of.
pub(super) const CLUSTER: ClusterId = ClusterId(0xc);

/// The id of the member at a place.
pub(super) const fn member_id(place: u64) -> MemberId {
    MemberId(0xa + place)
}

/// What of a member outlives its power.
pub(super) struct Ground {
    place: u64,
    plan: Rc<Plan>,
    keyring: Arc<Keyring>,
    disk: Disk,
    boots: Cell<u64>,
    luck: RefCell<Luck>,
    /// Asks the present run to end.
    end: RefCell<watch::Sender<bool>>,
}

impl Ground {
    pub(super) fn new(place: u64, plan: &Rc<Plan>, keyring: &Arc<Keyring>) -> Self {
        Self {
            place,
            plan: Rc::clone(plan),
            keyring: Arc::clone(keyring),
            disk: Disk::default(),
            boots: Cell::new(0),
            luck: RefCell::new(Luck::new(plan.seed, Purpose::Disk, place)),
            end: RefCell::new(watch::channel(false).0),
        }
    }

    /// Asks the server that runs here to end, as a signal does.
    pub(super) fn ask_to_end(&self) {
        self.end.borrow().send_replace(true);
    }

    fn settings(&self) -> Result<Settings, String> {
        let own = |port| url(self.plan.is_secure, self.place, port);
        let mut words = vec![
            format!("--name=m{}", self.place),
            format!("--listen-client-urls={}", own(CLIENT_PORT)),
            format!("--advertise-client-urls={}", own(CLIENT_PORT)),
            format!("--listen-peer-urls={}", own(PEER_PORT)),
            // Clients that vanish are missed soon.
            "--grpc-keepalive-interval=2s".to_owned(),
            "--grpc-keepalive-timeout=2s".to_owned(),
        ];
        if self.plan.is_secure {
            let flags = ["cert-file", "key-file", "peer-cert-file", "peer-key-file"];
            // The keyring is there already.
            words.extend(flags.map(|flag| format!("--{flag}=unread")));
        }
        let Ok(Outcome::Run { flags, .. }) = cli::parse(&words, []) else {
            return Err("the flags are none".to_owned());
        };
        cli::understand(&flags, Called::Etcd).map_err(|error| error.text)
    }

    fn config(&self, settings: &Settings) -> Config {
        let peer = |place| Peer {
            id: member_id(place),
            name: format!("m{place}"),
            peer_urls: vec![url(self.plan.is_secure, place, PEER_PORT)],
        };
        Config {
            member: member_id(self.place),
            cluster: CLUSTER,
            name: settings.name.clone(),
            client_urls: settings.advertise_client.iter().map(ToString::to_string).collect(),
            bootstrap: (0..MEMBERS).map(peer).collect(),
            seed: self.plan.seed,
            boot: self.boots.replace(self.boots.get() + 1),
            ..Config::default()
        }
    }
}

/// Serves on this host until power goes; ends by itself only if asked to, or for a reason.
pub(super) async fn serve(ground: Rc<Ground>) -> turmoil::Result {
    ground.disk.lose_power(&mut ground.luck.borrow_mut());
    let (end, mut ends) = watch::channel(false);
    ground.end.replace(end);
    let settings = ground.settings()?;
    let keyring = ground.plan.is_secure.then(|| Arc::clone(&ground.keyring));
    let bind = async |kind, port| {
        let entrance = Entrance::new(kind, keyring.is_none(), keyring.clone());
        listen(port).await.map(|bound| bound.with_entrance(entrance))
    };
    let client = bind(Kind::Client, CLIENT_PORT).await?;
    let ports = Ports::of(vec![client], vec![bind(Kind::Peer, PEER_PORT).await?]);
    let metrics = Arc::new(Metrics::new(settings.quota_backend_bytes));
    let dialer = Dialer::new(Arc::clone(&ground.keyring)).by(Arc::new(Links));
    let member = open(&ground, &settings, &metrics, &dialer).map_err(|fault| fault.what)?;
    let threads = IoThreads::here();
    let server = Server {
        settings: &settings,
        metrics,
        tokens: Tokens::Simple,
        spans: None,
        dialer,
        peer_threads: &threads,
        io_threads: &threads,
    };
    let signal = async {
        // The sender is there as long as the ground is.
        let _ = ends.wait_for(|is_over| *is_over).await;
        TERMINATE
    };
    match server.run(member, ports, signal).await {
        End::Signal(_) => Ok(()),
        End::Member(Ended::Removed) => Err("a member was removed".into()),
        End::Member(Ended::Fatal(why)) => Err(why.into()),
    }
}

/// Opens the machines on what the disk holds, and sets the loops going.
fn open(
    ground: &Ground,
    settings: &Settings,
    metrics: &Arc<Metrics>,
    dialer: &Dialer,
) -> Result<Member, StorageFault> {
    let (clock, config) = (Clock::start(), ground.config(settings));
    let image = ground.disk.image();
    let stored = stored_mark(image.as_ref())?;
    let state = State::open(&config, image, clock.now())?;
    let log = ground.disk.load(&stored)?;
    let replica = Replica::open(&config, stored, log, clock.now())?;

    let own = Identity { cluster: CLUSTER, member: config.member };
    let peers = Peers::new(own, Arc::clone(metrics), dialer.clone(), Handle::current());
    let peers = Arc::new(peers);
    peers.set_members(config.bootstrap.iter().map(|peer| (peer.id, peer.peer_urls.clone())));
    let apply_max = settings.patience.apply;
    let (core, loops, fatal) = driver::prepare(Parts {
        replica,
        state,
        log: Box::new(ground.disk.clone()),
        store: Box::new(ground.disk.clone()),
        incoming: Arc::new(ground.disk.clone()),
        transport: peers.clone(),
        observer: Arc::new(Listener::new(config.member, Arc::clone(metrics), apply_max)),
        scrub_interval: settings.scrub_interval,
        clock,
    })?
    .step_by_step();
    for (number, looped) in (0..).zip(loops) {
        let place = (config.boot * MEMBERS + ground.place) * 4 + number;
        tokio::spawn(take_turns(looped, Luck::new(config.seed, Purpose::Step, place)));
    }
    let inbound = peers.attach(Arc::new(core.clone()), Arc::new(NoImages));
    let ended = Box::pin(async move {
        match fatal.await {
            Fatal::Removed => Ended::Removed,
            other => Ended::Fatal(other.to_string()),
        }
    });
    Ok(Member { core, peers, inbound, ended, stop: Box::new(|| {}) })
}

/// Gives a loop its turns until it wants no more.
async fn take_turns(mut looped: Box<dyn Looped>, mut luck: Luck) {
    let is_on_disk = ["log", "store"].contains(&looped.name());
    loop {
        let wish = match looped.step() {
            Next::Turn => Duration::ZERO,
            Next::Rest(rest) => rest,
            Next::End => return,
        };
        let rest_ms = match is_on_disk {
            true if luck.below(STALL_ODDS) == 0 => luck.between(STALL_MS.0, STALL_MS.1),
            true => *luck.pick(&DISK_RESTS_MS),
            false => MACHINE_RESTS_MS,
        };
        sleep(wish + Duration::from_millis(rest_ms)).await;
    }
}

/// No member falls so far behind here that it needs an image.
struct NoImages;

impl Images for NoImages {
    fn chunks(&self, _: ImageHeader, _: Arc<dyn StateRead>) -> Chunks {
        Box::new(std::iter::empty())
    }

    fn receive(&self, _: MemberId, _: &mut dyn Iterator<Item = ImageChunk>) -> Result<(), String> {
        Err("nobody sends images here".to_owned())
    }
}
