//! The network: what becomes of a message on its way.
//!
//! Links are directed. Members have one link to each other; each client has a link to each
//! member and one back: a request may arrive and its answer be lost.
//!
//! Invariants:
//! - messages of one class keep their order on a link, unless reordering is injected;
//! - what is under way when a connection breaks is lost, and what is sent after it is not;
//! - a link holds a bounded number of messages; more are lost.

use super::luck::{Luck, Purpose};
use super::plan::Weather;

const MICROSECOND: u64 = 1_000;
/// Messages under way on one link; more are lost.
const UNDER_WAY_MAX: u32 = 4_096;
/// What a message takes beyond the base, in hundredths of it: even odds for each row.
const JITTER_PERCENT: [u64; 16] = [0, 0, 0, 1, 2, 3, 5, 8, 12, 20, 30, 45, 60, 100, 200, 500];

/// A place messages come from and go to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// A member, by number.
    Member(usize),
    /// A client, by number.
    Client(usize),
}

struct Link {
    luck: Luck,
    base_ns: u64,
    /// The latest arrival by class.
    last: [u64; 3],
    cut_until: u64,
    clogged_until: u64,
    /// Where everything arrives instead, and until when.
    misrouted: Option<(usize, u64)>,
    under_way: u32,
    connection: u32,
}

/// What becomes of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It never arrives.
    Lost,
    /// It arrives.
    Arrives {
        /// When.
        at: u64,
        /// And once more, then.
        again: Option<u64>,
        /// Over which connection: see [`Network::arrive`].
        connection: u32,
        /// At this member, and not where it was sent.
        astray: Option<usize>,
    },
}

/// Numbers of what happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Messages sent.
    pub sent: u64,
    /// Of them, lost.
    pub lost: u64,
    /// Arriving twice.
    pub duplicated: u64,
    /// Overtaking others.
    pub reordered: u64,
    /// Taking a hundred times as long.
    pub slowed: u64,
    /// Arriving at another member.
    pub astray: u64,
    /// Connections broken.
    pub resets: u64,
}

/// See the module.
pub struct Network {
    members: usize,
    links: Vec<Link>,
    weather: Weather,
    /// What happened so far.
    pub counts: Counts,
}

impl Network {
    /// A network between `members` and `clients`.
    pub fn new(seed: u64, members: usize, clients: usize, weather: Weather) -> Self {
        let total = members * members + 2 * members * clients;
        let mut topology = Luck::new(seed, Purpose::Topology, 0);
        let link = |place: usize| {
            let base = if place < members * members { weather.peer_us } else { weather.client_us };
            Link {
                luck: Luck::new(seed, Purpose::Link, place as u64),
                base_ns: base * MICROSECOND * topology.between(50, 200) / 100 + MICROSECOND,
                last: [0; 3],
                cut_until: 0,
                clogged_until: 0,
                misrouted: None,
                under_way: 0,
                connection: 0,
            }
        };
        let links = (0..total).map(link).collect();
        Self { members, links, weather, counts: Counts::default() }
    }

    fn place(&self, from: Place, to: Place) -> usize {
        let m = self.members;
        match (from, to) {
            (Place::Member(a), Place::Member(b)) => a * m + b,
            (Place::Client(c), Place::Member(b)) => m * m + 2 * c * m + b,
            (Place::Member(a), Place::Client(c)) => m * m + (2 * c + 1) * m + a,
            (Place::Client(_), Place::Client(_)) => 0,
        }
    }

    /// Puts a message of a class (0, 1 or 2) on its way.
    pub fn send(&mut self, now: u64, from: Place, to: Place, class: usize) -> Fate {
        let weather = self.weather;
        let place = self.place(from, to);
        let link = &mut self.links[place];
        let counts = &mut self.counts;
        counts.sent += 1;
        let (neighbour, drop) = match (from, to) {
            (Place::Client(_), _) => (None, weather.request_lost),
            (_, Place::Client(_)) => (None, weather.reply_lost),
            (_, Place::Member(to)) => (Some((to + 1) % self.members), weather.drop),
        };
        let between = neighbour.is_some();
        if link.luck.hits(weather.reset as u32) {
            counts.resets += 1;
            link.reset();
        }
        let is_full = link.under_way >= UNDER_WAY_MAX;
        if link.cut_until > now || is_full || link.luck.hits(drop as u32) {
            counts.lost += 1;
            return Fate::Lost;
        }
        let mut rest = link.base_ns + link.base_ns * link.luck.pick(&JITTER_PERCENT) / 100;
        if link.luck.hits(weather.slow as u32) {
            counts.slowed += 1;
            rest *= 100;
        }
        let mut at = now.max(link.clogged_until) + rest;
        if between && link.luck.hits(weather.reorder as u32) {
            counts.reordered += 1;
        } else {
            at = at.max(link.last[class] + 1);
            link.last[class] = at;
        }
        let again = (between && link.luck.hits(weather.duplicate as u32)).then(|| {
            counts.duplicated += 1;
            at + link.luck.below(100 * link.base_ns)
        });
        let is_hit = between && link.luck.hits(weather.misdeliver as u32);
        let misrouted = link.misrouted.filter(|(_, until)| now < *until).map(|(at, _)| at);
        let astray = misrouted.or(neighbour.filter(|_| is_hit));
        counts.astray += u64::from(astray.is_some());
        link.under_way += 1 + u32::from(again.is_some());
        Fate::Arrives { at, again, connection: link.connection, astray }
    }

    /// A message sent over `connection` gets here. False if that connection broke meanwhile.
    pub fn arrive(&mut self, from: Place, to: Place, connection: u32) -> bool {
        let place = self.place(from, to);
        let link = &mut self.links[place];
        if link.connection != connection {
            self.counts.lost += 1;
            return false;
        }
        link.under_way -= 1;
        true
    }

    /// Whether nothing sent now would get through.
    pub fn is_cut(&self, now: u64, from: Place, to: Place) -> bool {
        self.links[self.place(from, to)].cut_until > now
    }

    /// Nothing sent before `until` gets through.
    pub fn cut(&mut self, from: Place, to: Place, until: u64) {
        let place = self.place(from, to);
        let link = &mut self.links[place];
        link.cut_until = link.cut_until.max(until);
    }

    /// Everything sent before `until` arrives at the member `at`.
    pub fn misroute(&mut self, from: Place, to: Place, at: usize, until: u64) {
        let place = self.place(from, to);
        self.links[place].misrouted = Some((at, until));
    }

    /// Nothing sent from now on arrives before `until`.
    pub fn clog(&mut self, from: Place, to: Place, until: u64) {
        let place = self.place(from, to);
        let link = &mut self.links[place];
        link.clogged_until = link.clogged_until.max(until);
    }

    /// Loses everything under way and begins anew.
    pub fn reset(&mut self, from: Place, to: Place) {
        let place = self.place(from, to);
        self.counts.resets += 1;
        self.links[place].reset();
    }

    /// Ends all cuts and clogs on a link and begins anew: nothing waits behind what is still late.
    pub fn heal(&mut self, from: Place, to: Place) {
        let place = self.place(from, to);
        let link = &mut self.links[place];
        (link.cut_until, link.clogged_until, link.misrouted) = (0, 0, None);
        link.reset();
    }

    /// From now on nothing is lost, doubled or late by chance.
    pub fn calm_down(&mut self) {
        let Weather { peer_us, client_us, .. } = self.weather;
        self.weather = Weather { peer_us, client_us, ..Weather::default() };
    }
}

impl Link {
    fn reset(&mut self) {
        self.connection += 1;
        self.under_way = 0;
        self.last = [0; 3];
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::luck::per_mille;

    const A: Place = Place::Member(0);
    const B: Place = Place::Member(1);
    const C: Place = Place::Client(0);

    fn network(weather: Weather) -> Network {
        Network::new(1, 3, 2, Weather { peer_us: 100, client_us: 100, ..weather })
    }

    fn arrival(fate: Fate) -> u64 {
        match fate {
            Fate::Arrives { at, .. } => at,
            Fate::Lost => panic!("lost"),
        }
    }

    #[test]
    fn order_holds_within_a_class_and_reordering_breaks_it() {
        let mut calm = network(Weather::default());
        let at: Vec<_> = (0..500).map(|n| arrival(calm.send(n, A, B, 1))).collect();
        assert!(at.is_sorted());
        let mut wild = network(Weather { reorder: per_mille(300).into(), ..Weather::default() });
        let at: Vec<_> = (0..500).map(|n| arrival(wild.send(n, A, B, 1))).collect();
        assert!(!at.is_sorted());
        assert!(wild.counts.reordered > 100);
    }

    #[test]
    fn a_cut_is_one_way_and_ends() {
        let mut network = network(Weather::default());
        network.cut(A, B, 1_000);
        assert_eq!(network.send(999, A, B, 0), Fate::Lost);
        arrival(network.send(999, B, A, 0));
        arrival(network.send(1_000, A, B, 0));
        network.cut(C, B, 5_000);
        network.heal(C, B);
        arrival(network.send(1_000, C, B, 0));
    }

    #[test]
    fn a_wrong_address_is_wrong_for_a_while() {
        let mut network = network(Weather::default());
        network.misroute(A, B, 2, 1_000);
        let Fate::Arrives { astray, .. } = network.send(999, A, B, 0) else { panic!() };
        assert_eq!(astray, Some(2));
        let Fate::Arrives { astray, .. } = network.send(1_000, A, B, 0) else { panic!() };
        assert_eq!(astray, None);
    }

    #[test]
    fn a_reset_loses_what_is_under_way_and_nothing_later() {
        let mut network = network(Weather::default());
        let Fate::Arrives { connection: old, .. } = network.send(0, A, B, 0) else { panic!() };
        network.reset(A, B);
        let Fate::Arrives { connection: new, .. } = network.send(1, A, B, 0) else { panic!() };
        assert!(!network.arrive(A, B, old));
        assert!(network.arrive(A, B, new));
    }

    #[test]
    fn each_kind_of_bad_luck_strikes() {
        let often = u64::from(per_mille(200));
        let mut network = network(Weather {
            drop: often,
            duplicate: often,
            slow: often,
            misdeliver: often,
            reset: often,
            reply_lost: often,
            ..Weather::default()
        });
        for n in 0..1_000 {
            network.send(n, A, B, 1);
        }
        let Counts { lost, duplicated, slowed, astray, resets, .. } = network.counts;
        for count in [lost, duplicated, slowed, astray, resets] {
            assert!((100..300).contains(&count), "{:?}", network.counts);
        }
        let lost = (0..1_000).filter(|&n| network.send(n, B, C, 0) == Fate::Lost).count();
        assert!((100..300).contains(&lost));
        assert_ne!(network.send(0, C, B, 0), Fate::Lost);
    }

    #[test]
    fn a_clogged_link_fills_up() {
        let mut network = network(Weather::default());
        network.clog(A, B, 1_000_000_000);
        for n in 0..u64::from(UNDER_WAY_MAX) {
            assert!(arrival(network.send(n, A, B, 1)) > 1_000_000_000);
        }
        assert_eq!(network.send(9_999, A, B, 1), Fate::Lost);
    }
}
