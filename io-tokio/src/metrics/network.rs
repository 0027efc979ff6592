//! The other members, as far as the wires to them tell.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use quorate_core::ids::MemberId;

use super::timing::{Scale, Timing};
use super::{Count, Labels, Shelf};

/// A heartbeat that was not answered for so long counts as lost.
const LOST_AFTER: Duration = Duration::from_secs(10);

/// See the module.
#[derive(Debug)]
pub struct Network {
    sent: Family<Labels, Count>,
    received: Family<Labels, Count>,
    send_failures: Family<Labels, Count>,
    active: Family<Labels, Gauge>,
    known: Family<Labels, Gauge>,
    disconnected: Family<Labels, Count>,
    round_trips: Family<Labels, Timing, fn() -> Timing>,
    images_sent: Transfers,
    images_received: Transfers,
    links: Mutex<BTreeMap<MemberId, Arc<Link>>>,
    since: Instant,
}

/// What is known of the way to one member.
#[derive(Debug)]
struct Link {
    streams: AtomicUsize,
    /// When the oldest unanswered heartbeat left, in nanoseconds; 0 if none did.
    asked: AtomicU64,
    round_trip: Timing,
}

/// Images on their way in one direction.
#[derive(Debug)]
struct Transfers {
    label: &'static str,
    successes: Family<Labels, Count>,
    failures: Family<Labels, Count>,
    under_way: Family<Labels, Gauge>,
    took: Family<Labels, Timing, fn() -> Timing>,
}

impl Network {
    pub(super) fn new(on: &mut Shelf) -> Self {
        let round_trips: Family<Labels, Timing, fn() -> Timing> =
            Family::new_with_constructor(|| Timing::new(Scale::Doubling(0.0001, 16)));
        Self {
            sent: on.family("etcd_network_peer_sent_bytes_total", "Bytes sent to peers"),
            received: on.family("etcd_network_peer_received_bytes_total", "Bytes from peers"),
            send_failures: on
                .family("etcd_network_peer_sent_failures_total", "Messages to peers lost"),
            active: on.family("etcd_network_active_peers", "Peers with a stream to them"),
            known: on.family("etcd_network_known_peers", "Peers"),
            disconnected: on
                .family("etcd_network_disconnected_peers_total", "Peers whose last stream broke"),
            round_trips: on.put(
                "etcd_network_peer_round_trip_time_seconds",
                "From a heartbeat to its answer",
                round_trips,
            ),
            images_sent: Transfers::new(on, "To", ["send", "sent"]),
            images_received: Transfers::new(on, "From", ["receive", "received"]),
            links: Mutex::default(),
            since: Instant::now(),
        }
    }

    /// Bytes sent to that member.
    pub fn sent(&self, to: MemberId) -> Count {
        self.sent.get_or_create_owned(&one("To", to))
    }

    /// Bytes received from that member.
    pub fn received(&self, from: MemberId) -> Count {
        self.received.get_or_create_owned(&one("From", from))
    }

    /// Messages to that member that were lost.
    pub fn send_failures(&self, to: MemberId) -> Count {
        self.send_failures.get_or_create_owned(&one("To", to))
    }

    fn link(&self, to: MemberId) -> Arc<Link> {
        let mut links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        let link = links.entry(to).or_insert_with(|| {
            let round_trip = self.round_trips.get_or_create_owned(&one("To", to));
            let (streams, asked) = (AtomicUsize::new(0), AtomicU64::new(0));
            Arc::new(Link { streams, asked, round_trip })
        });
        Arc::clone(link)
    }

    /// These are the others now.
    pub fn set_known(&self, local: MemberId, others: impl Iterator<Item = MemberId>) {
        self.known.clear();
        for remote in others {
            self.known.get_or_create(&both(local, remote)).set(1);
        }
    }

    /// A stream to that member is open.
    pub fn connected(&self, local: MemberId, remote: MemberId) {
        if self.link(remote).streams.fetch_add(1, Ordering::Relaxed) == 0 {
            self.active.get_or_create(&both(local, remote)).set(1);
        }
    }

    /// And is not any more.
    pub fn disconnected(&self, local: MemberId, remote: MemberId) {
        if self.link(remote).streams.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.active.get_or_create(&both(local, remote)).set(0);
            self.disconnected.get_or_create(&both(local, remote)).add(1);
        }
    }

    /// A heartbeat leaves for that member.
    pub fn asked(&self, to: MemberId) {
        let link = self.link(to);
        let (now, before) = (self.nanos(), link.asked.load(Ordering::Relaxed));
        let is_lost = before > 0 && now.saturating_sub(before) > LOST_AFTER.as_nanos() as u64;
        if before == 0 || is_lost {
            link.asked.store(now, Ordering::Relaxed);
        }
    }

    /// Its answer is here.
    pub fn answered(&self, from: MemberId) {
        let link = self.link(from);
        let asked = link.asked.swap(0, Ordering::Relaxed);
        if asked > 0 {
            let took = self.nanos().saturating_sub(asked);
            link.round_trip.observe(Duration::from_nanos(took));
        }
    }

    /// Nanoseconds since the start, and one.
    fn nanos(&self) -> u64 {
        u64::try_from(self.since.elapsed().as_nanos()).unwrap_or(u64::MAX).saturating_add(1)
    }

    /// An image leaves for that member.
    pub fn image_to(&self, to: MemberId) -> Transfer {
        self.images_sent.begin(to)
    }

    /// An image arrives from that member.
    pub fn image_from(&self, from: MemberId) -> Transfer {
        self.images_received.begin(from)
    }
}

/// An image on its way. Failed, unless somebody says it did not.
#[derive(Debug)]
pub struct Transfer {
    under_way: Gauge,
    success: Count,
    failure: Count,
    took: Timing,
    since: Instant,
    is_done: bool,
}

impl Transfer {
    /// It is there.
    pub fn done(mut self) {
        self.is_done = true;
    }
}

impl Drop for Transfer {
    fn drop(&mut self) {
        self.under_way.dec();
        match self.is_done {
            true => {
                self.success.add(1);
                self.took.observe(self.since.elapsed());
            }
            false => self.failure.add(1),
        }
    }
}

impl Transfers {
    fn new(on: &mut Shelf, label: &'static str, [verb, done]: [&str; 2]) -> Self {
        let name = |rest: &str| format!("etcd_network_snapshot_{verb}_{rest}");
        let took: Family<Labels, Timing, fn() -> Timing> =
            Family::new_with_constructor(|| Timing::new(Scale::Doubling(0.1, 10)));
        Self {
            label,
            successes: on.family(&name("success"), &format!("Images {done}")),
            failures: on.family(&name("failures"), &format!("Images not {done}")),
            under_way: on.family(&name("inflights_total"), "Images under way"),
            took: on.put(&name("total_duration_seconds"), "How long images took", took),
        }
    }

    fn begin(&self, other: MemberId) -> Transfer {
        let labels = one(self.label, other);
        let under_way = self.under_way.get_or_create_owned(&labels);
        under_way.inc();
        Transfer {
            under_way,
            success: self.successes.get_or_create_owned(&labels),
            failure: self.failures.get_or_create_owned(&labels),
            took: self.took.get_or_create_owned(&labels),
            since: Instant::now(),
            is_done: false,
        }
    }
}

fn one(label: &'static str, member: MemberId) -> Labels {
    vec![(label, member.to_string())]
}

fn both(local: MemberId, remote: MemberId) -> Labels {
    vec![("Local", local.to_string()), ("Remote", remote.to_string())]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Metrics;
    use crate::metrics::tests::{lines, view};

    const LOCAL: MemberId = MemberId(0xa);
    const OTHER: MemberId = MemberId(0xb);

    #[test]
    fn a_peer_is_active_while_any_stream_to_it_is() {
        let metrics = Metrics::new(0);
        let active = || {
            let text = metrics.text(&view());
            let last = |name| lines(&text, name).last().map(|line| (*line).to_owned());
            (last("etcd_network_active_peers"), last("etcd_network_disconnected_peers_total"))
        };
        let labels = "{Local=\"a\",Remote=\"b\"}";
        metrics.network.connected(LOCAL, OTHER);
        metrics.network.connected(LOCAL, OTHER);
        metrics.network.disconnected(LOCAL, OTHER);
        assert_eq!(active().0, Some(format!("etcd_network_active_peers{labels} 1")));
        metrics.network.disconnected(LOCAL, OTHER);
        let expected = [
            Some(format!("etcd_network_active_peers{labels} 0")),
            Some(format!("etcd_network_disconnected_peers_total{labels} 1")),
        ];
        assert_eq!(<[_; 2]>::from(active()), expected);
    }

    #[test]
    fn a_round_trip_is_from_the_first_heartbeat_to_the_first_answer() {
        let metrics = Metrics::new(0);
        metrics.network.answered(OTHER);
        metrics.network.asked(OTHER);
        metrics.network.asked(OTHER);
        metrics.network.answered(OTHER);
        metrics.network.answered(OTHER);
        let text = metrics.text(&view());
        assert!(text.contains("etcd_network_peer_round_trip_time_seconds_count{To=\"b\"} 1"));
    }

    #[test]
    fn an_image_that_nobody_calls_done_failed() {
        let metrics = Metrics::new(0);
        metrics.network.image_to(OTHER).done();
        drop(metrics.network.image_to(OTHER));
        let under_way = metrics.network.image_from(OTHER);
        let text = metrics.text(&view());
        for expected in [
            "etcd_network_snapshot_send_success{To=\"b\"} 1",
            "etcd_network_snapshot_send_failures{To=\"b\"} 1",
            "etcd_network_snapshot_send_inflights_total{To=\"b\"} 0",
            "etcd_network_snapshot_send_total_duration_seconds_count{To=\"b\"} 1",
            "etcd_network_snapshot_receive_inflights_total{From=\"b\"} 1",
        ] {
            assert!(text.contains(expected), "{expected}");
        }
        drop(under_way);
    }
}
