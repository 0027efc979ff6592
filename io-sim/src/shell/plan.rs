//! What a seed makes of a run: how slow links are, whether TLS is on, and which faults strike when.

use std::fmt;

use crate::world::luck::{Luck, Purpose};

/// Members of the cluster.
pub const MEMBERS: u64 = 3;
/// Clients that write and read, with patience.
pub(super) const WRITERS: u32 = 2;
/// Clients that go away in the middle of a call.
pub(super) const DESERTERS: u32 = 1;
/// Clients that watch; of a stream that one does not read for a while, the others do not notice.
pub(super) const WATCHERS: u32 = 3;
/// Clients that keep leases alive.
pub(super) const KEEPERS: u32 = 2;
/// All of them, and the auditor.
pub(super) const CLIENTS: u32 = WRITERS + DESERTERS + WATCHERS + KEEPERS + 1;

/// Faults strike from then on.
const FAULTS_FROM_MS: u64 = 3_000;
/// And end with this.
pub(super) const HEALS_AT_MS: u64 = 18_000;
/// Latencies of links, least and most: even odds for each row.
const LATENCIES_MS: [(u64, u64); 4] = [(0, 2), (1, 10), (2, 40), (1, 120)];
/// Bytes of a value: even odds for each.
const VALUE_BYTES: [usize; 4] = [16, 16, 1_000, 40_000];

/// A machine of the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Party {
    /// The member at that place.
    Member(u64),
    /// The client of that number.
    Client(u32),
}

/// Something bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A member loses its power, and what it had not synced.
    Crash(u64),
    /// A member is asked to end, as by a signal, and started again.
    Restart(u64),
    /// Nothing passes between two.
    Cut(Party, Party),
    /// Nothing passes from one to the other.
    CutOneWay(Party, Party),
    /// What passes between two waits for the end of the fault.
    Hold(Party, Party),
    /// Nothing passes between a member and the others.
    Isolate(u64),
}

/// A fault from its beginning to its end, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Strike {
    /// What.
    pub fault: Fault,
    /// When it begins.
    pub from_ms: u64,
    /// When it ends.
    pub until_ms: u64,
}

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// What everything is drawn from.
    pub seed: u64,
    /// Least and most milliseconds on a link.
    pub latency_ms: (u64, u64),
    /// Whether all connections are by TLS.
    pub is_secure: bool,
    /// How large values are.
    pub value_bytes: usize,
    /// What happens, in order.
    pub strikes: Vec<Strike>,
}

impl Plan {
    /// The plan of a seed.
    #[must_use]
    pub fn draw(seed: u64) -> Self {
        let mut swarm = Luck::new(seed, Purpose::Swarm, 0);
        let latency_ms = *swarm.pick(&LATENCIES_MS);
        let is_secure = swarm.below(3) == 0;
        let value_bytes = *swarm.pick(&VALUE_BYTES);
        // Of some seeds it is told how the shell fares where nothing is wrong.
        let count = swarm.between(0, 12);
        let families: Vec<u64> = (0..6).filter(|_| swarm.below(2) == 0).collect();
        let mut luck = Luck::new(seed, Purpose::Fault, 0);
        let count = if families.is_empty() { 0 } else { count };
        let mut strikes: Vec<Strike> =
            (0..count).map(|_| draw_strike(*luck.pick(&families), &mut luck)).collect();
        strikes.sort_by_key(|strike| strike.from_ms);
        Self { seed, latency_ms, is_secure, value_bytes, strikes }
    }
}

fn draw_strike(family: u64, luck: &mut Luck) -> Strike {
    let member = luck.below(MEMBERS);
    let (one, other) = draw_pair(luck);
    let fault = match family {
        0 => Fault::Crash(member),
        1 => Fault::Restart(member),
        2 => Fault::Cut(one, other),
        3 => Fault::CutOneWay(one, other),
        4 => Fault::Hold(one, other),
        _ => Fault::Isolate(member),
    };
    let from_ms = luck.between(FAULTS_FROM_MS, HEALS_AT_MS - 1_000);
    let lasts_ms = luck.between(100, 5_000);
    Strike { fault, from_ms, until_ms: (from_ms + lasts_ms).min(HEALS_AT_MS) }
}

/// A member, and another one or a client, either first.
fn draw_pair(luck: &mut Luck) -> (Party, Party) {
    let member = luck.below(MEMBERS);
    let other = match luck.below(2) {
        0 => Party::Member((member + luck.between(1, MEMBERS - 1)) % MEMBERS),
        _ => Party::Client(luck.below(CLIENTS.into()) as u32),
    };
    match luck.below(2) {
        0 => (Party::Member(member), other),
        _ => (other, Party::Member(member)),
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, latency_ms: (least, most), value_bytes, .. } = self;
        let tls = if self.is_secure { "TLS" } else { "plain" };
        write!(f, "seed {seed}: {tls}, links of {least} to {most} ms, values of {value_bytes} B")?;
        for Strike { fault, from_ms, until_ms } in &self.strikes {
            write!(f, "\n  {from_ms} to {until_ms} ms: {fault:?}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_is_drawn_and_ends_with_the_healing() {
        let strikes: Vec<Strike> = (0..300).flat_map(|seed| Plan::draw(seed).strikes).collect();
        let times = |strike: &Strike| strike.from_ms < strike.until_ms;
        assert!(strikes.iter().all(|it| times(it) && it.until_ms <= HEALS_AT_MS));
        let is_drawn = |is: fn(&Fault) -> bool| strikes.iter().any(|strike| is(&strike.fault));
        assert!(is_drawn(|fault| matches!(fault, Fault::Crash(_))));
        assert!(is_drawn(|fault| matches!(fault, Fault::Restart(_))));
        assert!(is_drawn(|fault| matches!(fault, Fault::Cut(..))));
        assert!(is_drawn(|fault| matches!(fault, Fault::CutOneWay(..))));
        assert!(is_drawn(|fault| matches!(fault, Fault::Hold(..))));
        assert!(is_drawn(|fault| matches!(fault, Fault::Isolate(_))));
        assert!((0..30).any(|seed| Plan::draw(seed).is_secure));
    }
}
