//! A network of a test's own: places with one address each, and between them nothing but the test.
//!
//! ```text
//!   place 0            place 1            place 2            network namespaces; in each of them
//!   10.77.0.1          10.77.0.2          10.77.0.3          processes, a TCP of their own, and
//!      | net0             | net0             | net0          an interface without a wire
//!      '------------------+--------------------'
//!                         |  packets
//!               the switch: threads of the test; each link loses, delays or cuts as it is told
//! ```
//!
//! - Needs root, `unshare` and `ip`, and a kernel with TUN: no bridge, no firewall, no traffic
//!   control. Without them [`Net::build`] says so.
//! - A place lasts as long as what is in it: one `cat` that ends with its input, so at the latest
//!   with the test, however that ends. Nothing outside is changed; nothing is left behind.
//! - What is delayed is bounded: packets beyond [`DELAYED_MAX`] are lost.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::{self, File};
use std::net::Ipv4Addr;
use std::os::fd::AsFd as _;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use tun_rs::{DeviceBuilder, SyncDevice};

use super::{find_optional_client, wait_for};

/// Most packets on their way.
const DELAYED_MAX: usize = 65_536;
const PACKET_BYTES_MAX: usize = 65_536;
const INTERFACE: &str = "net0";

/// What becomes of packets from one place to another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Link {
    /// None of them arrives.
    pub(crate) is_cut: bool,
    /// So many of a hundred do not.
    pub(crate) loss_percent: u64,
    /// They take at least so long.
    pub(crate) delay: Duration,
    /// And up to so much longer, overtaking each other.
    pub(crate) jitter: Duration,
}

/// See the module.
pub(crate) struct Net {
    places: Vec<Place>,
    switch: Arc<Switch>,
}

/// A namespace, kept by a process that does nothing.
pub(crate) struct Place {
    keeper: Child,
    namespace: File,
}

/// The threads' common knowledge.
struct Switch {
    devices: Vec<SyncDevice>,
    links: Mutex<Vec<Vec<Link>>>,
    delayed: Mutex<BinaryHeap<Reverse<Delayed>>>,
    has_delayed: Condvar,
    drawn: AtomicU64,
    passed: AtomicU64,
    lost: AtomicU64,
}

/// A packet on its way: when it arrives, its number, where.
type Delayed = (Instant, u64, usize, Vec<u8>);

/// The address of a place.
pub(crate) fn address(place: usize) -> Ipv4Addr {
    Ipv4Addr::new(10, 77, 0, u8::try_from(place + 1).expect("few places"))
}

impl Net {
    /// So many places; none where there can be no such thing, which is said loudly.
    pub(crate) fn build(size: usize) -> Option<Self> {
        let say = |why: String| eprintln!("SKIPPED: no network of its own for this test: {why}");
        if !rustix::process::geteuid().is_root() {
            say("not root".into());
            return None;
        }
        find_optional_client("unshare")?;
        find_optional_client("ip")?;
        let made = (0..size).map(Place::make).collect::<Result<Vec<_>, _>>();
        let (places, devices) = made.map_err(say).ok()?.into_iter().unzip();
        let switch = Arc::new(Switch {
            devices,
            links: Mutex::new(vec![vec![Link::default(); size]; size]),
            delayed: Mutex::default(),
            has_delayed: Condvar::new(),
            drawn: AtomicU64::new(0),
            passed: AtomicU64::new(0),
            lost: AtomicU64::new(0),
        });
        for from in 0..size {
            let switch = Arc::clone(&switch);
            thread::spawn(move || switch.take_packets(from));
        }
        let late = Arc::clone(&switch);
        thread::spawn(move || late.deliver_delayed());
        Some(Self { places, switch })
    }

    /// Does something in a place: what is started there, processes and threads, stays there.
    pub(crate) fn within<T: Send>(&self, place: usize, work: impl FnOnce() -> T + Send) -> T {
        self.places[place].within(work)
    }

    /// Makes links of each pair `from`, `to`.
    pub(crate) fn link(&self, pairs: &[(usize, usize)], link: Link) {
        let mut links = self.switch.links.lock().expect("no thread panics holding it");
        pairs.iter().for_each(|(from, to)| links[*from][*to] = link);
    }

    /// Everything arrives at once again.
    pub(crate) fn heal(&self) {
        let mut links = self.switch.links.lock().expect("no thread panics holding it");
        links.iter_mut().flatten().for_each(|link| *link = Link::default());
    }

    /// Packets that arrived, and that were lost on purpose.
    pub(crate) fn counts(&self) -> (u64, u64) {
        (self.switch.passed.load(Ordering::Relaxed), self.switch.lost.load(Ordering::Relaxed))
    }
}

impl Place {
    fn make(number: usize) -> Result<(Self, SyncDevice), String> {
        let mut command = Command::new("unshare");
        command.args(["--net", "cat"]).stdin(Stdio::piped()).stdout(Stdio::null());
        let keeper = command.spawn().map_err(|error| format!("unshare: {error}"))?;
        let link = format!("/proc/{}/ns/net", keeper.id());
        let ours = fs::read_link("/proc/self/ns/net").map_err(|error| error.to_string())?;
        let namespace = File::open(&link).map_err(|error| format!("{link}: {error}"))?;
        let mut place = Self { keeper, namespace };
        let mut has_left = true;
        wait_for(Duration::from_secs(10), "a network namespace", || {
            has_left = !matches!(place.keeper.try_wait(), Ok(None));
            has_left || fs::read_link(&link).is_ok_and(|theirs| theirs != ours)
        });
        if has_left {
            return Err("unshare --net was refused".into());
        }
        place.namespace = File::open(&link).map_err(|error| format!("{link}: {error}"))?;
        let device = place.within(|| plug_in(number))?;
        Ok((place, device))
    }

    fn within<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let enter = || {
            let kind = Some(LinkNameSpaceType::Network);
            move_into_link_name_space(self.namespace.as_fd(), kind).expect("root may enter");
            work()
        };
        // A thread of its own: whoever enters does not come back.
        let name = thread::current().name().unwrap_or("a test").to_owned();
        thread::scope(|scope| {
            let inside = thread::Builder::new().name(name).spawn_scoped(scope, enter);
            let done = inside.expect("a thread").join();
            done.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // Already dead is as good as killed.
        let _ = self.keeper.kill();
        let _ = self.keeper.wait();
    }
}

/// Makes the interface of the place this thread is in.
fn plug_in(number: usize) -> Result<SyncDevice, String> {
    let device = DeviceBuilder::new().name(INTERFACE).mtu(1_400).enable(false).build_sync();
    let device = device.map_err(|error| format!("TUN: {error}"))?;
    let address = format!("{}/24", address(number));
    for arguments in [
        vec!["addr", "add", &address, "dev", INTERFACE],
        vec!["link", "set", INTERFACE, "up"],
        vec!["link", "set", "lo", "up"],
    ] {
        let status = Command::new("ip").args(&arguments).status();
        if !status.as_ref().is_ok_and(|status| status.success()) {
            return Err(format!("ip {arguments:?}: {status:?}"));
        }
    }
    Ok(device)
}

impl Switch {
    /// Reads what a place sends for as long as the test runs.
    fn take_packets(&self, from: usize) {
        let mut packet = vec![0; PACKET_BYTES_MAX];
        while let Ok(size) = self.devices[from].recv(&mut packet) {
            if let Some(to) = receiver(&packet[..size]).filter(|to| *to < self.devices.len()) {
                self.pass(from, to, &packet[..size]);
            }
        }
    }

    fn pass(&self, from: usize, to: usize, packet: &[u8]) {
        let link = self.links.lock().expect("no thread panics holding it")[from][to];
        let number = self.drawn.fetch_add(1, Ordering::Relaxed);
        let luck = quorate_core::draw::draw(1, 0, from as u64, number);
        if link.is_cut || luck % 100 < link.loss_percent {
            self.lost.fetch_add(1, Ordering::Relaxed);
            return;
        }
        if link.delay.is_zero() && link.jitter.is_zero() {
            return self.put_out(to, packet);
        }
        let jitter_us = u64::try_from(link.jitter.as_micros()).unwrap_or(u64::MAX);
        let more = Duration::from_micros((luck >> 32) % (jitter_us + 1));
        let mut delayed = self.delayed.lock().expect("no thread panics holding it");
        if delayed.len() < DELAYED_MAX {
            let at = Instant::now() + link.delay + more;
            delayed.push(Reverse((at, number, to, packet.to_vec())));
            self.has_delayed.notify_one();
        }
    }

    fn deliver_delayed(&self) {
        let mut delayed = self.delayed.lock().expect("no thread panics holding it");
        loop {
            let next = delayed.peek().map(|Reverse((at, ..))| at.duration_since(Instant::now()));
            let patience = next.unwrap_or(Duration::from_secs(1));
            if next.is_none() || !patience.is_zero() {
                let waited = self.has_delayed.wait_timeout(delayed, patience);
                delayed = waited.expect("no thread panics holding it").0;
            } else if let Some(Reverse((_, _, to, packet))) = delayed.pop() {
                self.put_out(to, &packet);
            }
        }
    }

    fn put_out(&self, to: usize, packet: &[u8]) {
        // A full queue at the receiver loses it, as real ones do.
        if self.devices[to].send(packet).is_ok() {
            self.passed.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// The place a packet is for, if it is an IPv4 packet to one of ours.
fn receiver(packet: &[u8]) -> Option<usize> {
    let is_v4 = packet.first()? >> 4 == 4;
    let to: [u8; 4] = packet.get(16..20)?.try_into().ok()?;
    let is_ours = is_v4 && to[..3] == address(0).octets()[..3];
    usize::from(to[3]).checked_sub(1).filter(|_| is_ours)
}
