//! Once faults are over inside a quorum, the cluster works again (oracle 9, second half).
//!
//! ```text
//!   Healed ---- 10 election timeouts ----> one leader, known to all of the quorum
//!                                     ...  every client is served at least once
//!   Finished: all of the quorum at the same entry with the same digest
//! ```
//!
//! That open watches caught up is asked by the world's own finale, which knows who still reads.
//! A call still open when the run ends proves nothing.

use std::collections::{BTreeMap, BTreeSet};

use quorate_core::Role;
use quorate_core::ids::MemberId;
use quorate_core::time::{Duration, Time};
use quorate_io_sim::world::observe::{
    CallId, ClientId, Observer, Outcome, Seen, Stop, Verdict, Violation,
};

const NAME: &str = "liveness";
/// Fewer calls may be given up by chance, and any number that were waited for no longer than five
/// election timeouts together: some clients wait for a second, and the way to a leader and back
/// may take as long, several times in a row while one link is slow.
const GIVEN_UP_MIN: u32 = 3;

/// How fast the cluster under test is.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Its election timeout.
    pub election_timeout: Duration,
    /// How much its clocks may drift, in parts in a million.
    pub drift_ppm: u64,
}

impl Pace {
    /// The shortest lease, in seconds: one and a half election timeouts, rounded up.
    pub fn lease_ttl_min(&self) -> u64 {
        let least = (self.election_timeout.as_millis() * 3).div_ceil(2_000);
        u64::try_from(least).unwrap_or(u64::MAX)
    }
}

impl Default for Pace {
    fn default() -> Self {
        Self { election_timeout: Duration::from_secs(1), drift_ppm: 0 }
    }
}

/// The oracle. See the module.
#[derive(Debug, Default)]
pub struct Liveness {
    pace: Pace,
    roles: BTreeMap<MemberId, Role>,
    /// Where each member is, with its digest if it was told since it got there.
    applied: BTreeMap<MemberId, (u64, Option<u64>)>,
    healed: Option<Healed>,
    /// Calls after the quorum had to work: what each client gave up of those to its members, and
    /// those clients that were answered, by whomever.
    given_up: BTreeMap<ClientId, GivenUp>,
    served: BTreeSet<ClientId>,
    /// Calls made after that instant, when, and whether to the quorum.
    late_calls: BTreeMap<CallId, (Time, bool)>,
}

/// Calls of one client that had no answer.
#[derive(Debug)]
struct GivenUp {
    /// When the first was given up.
    since: Time,
    calls: u32,
    /// How long it waited for all of them together.
    waited: Duration,
}

#[derive(Debug)]
struct Healed {
    quorum: Vec<MemberId>,
    deadline: Time,
    is_led: bool,
}

impl Liveness {
    /// An oracle for a cluster of that pace.
    pub fn new(pace: Pace) -> Self {
        Self { pace, ..Self::default() }
    }

    fn note(&mut self, at: Time, seen: &Seen) {
        match seen {
            Seen::Role { member, role } => {
                self.roles.insert(*member, *role);
            }
            Seen::Stopped { member, why } => {
                self.roles.remove(member);
                if let (Some(healed), Stop::Removed) = (&mut self.healed, why) {
                    healed.quorum.retain(|other| other != member);
                }
            }
            Seen::Applied { member, index, digest } => {
                self.applied.insert(*member, (index.0, Some(*digest)));
            }
            Seen::Installed { member, mark } => {
                self.applied.insert(*member, (mark.index.0, None));
            }
            Seen::Healed { quorum } => {
                let deadline = at + self.pace.election_timeout * 10;
                self.healed = Some(Healed { quorum: quorum.clone(), deadline, is_led: false });
            }
            Seen::Called { call, member, .. } => {
                let Some(healed) = self.healed.as_ref().filter(|it| at > it.deadline) else {
                    return;
                };
                // Those outside the quorum may be gone for good.
                self.late_calls.insert(*call, (at, healed.quorum.contains(member)));
            }
            Seen::Returned { client, call, outcome } => {
                let Some((called, is_due)) = self.late_calls.remove(call) else { return };
                if *outcome != Outcome::Unknown {
                    self.served.insert(*client);
                }
                if *outcome != Outcome::Unknown || !is_due {
                    return;
                }
                let first = GivenUp { since: at, calls: 0, waited: Duration::ZERO };
                let given_up = self.given_up.entry(*client).or_insert(first);
                given_up.calls += 1;
                given_up.waited += at.since(called);
            }
            _ => {}
        }
    }

    /// The leader all of the quorum follow in one term, if there is one.
    fn leader(&self, quorum: &[MemberId]) -> Option<MemberId> {
        let first = self.roles.get(quorum.first()?)?;
        let leader = first.leader?;
        let follows = |member: &MemberId| {
            let role = self.roles.get(member);
            role.is_some_and(|role| role.leader == Some(leader) && role.term == first.term)
        };
        quorum.iter().all(follows).then_some(leader)
    }

    /// Remembers the first instant of one leader; objects when the deadline passes without one.
    fn check_leader(&mut self, at: Time) -> Result<(), String> {
        let Some(healed) = &self.healed else { return Ok(()) };
        if healed.is_led {
            return Ok(());
        }
        let is_led = self.leader(&healed.quorum).is_some();
        if !is_led && at > healed.deadline {
            let views: Vec<String> = healed.quorum.iter().map(|id| self.view_of(*id)).collect();
            return Err(format!(
                "no leader 10 election timeouts after healing: {}",
                views.join(", ")
            ));
        }
        if let Some(healed) = &mut self.healed {
            healed.is_led = is_led;
        }
        Ok(())
    }

    fn view_of(&self, member: MemberId) -> String {
        match self.roles.get(&member) {
            Some(Role { term, leader: Some(leader), .. }) => {
                format!("{member} follows {leader} in term {term}")
            }
            Some(Role { term, leader: None, .. }) => format!("{member} has none in term {term}"),
            None => format!("{member} is silent"),
        }
    }

    fn check_end(&self, at: Time, quorum: &[MemberId]) -> Result<(), String> {
        let unserved = |client: &ClientId| !self.served.contains(client);
        // Whoever gives up asks another member next, which may be one that is gone for good: only
        // then comes a call that must be served.
        let election = self.pace.election_timeout;
        let has_waited = |it: &GivenUp| {
            it.since + election * 10 < at && it.calls >= GIVEN_UP_MIN && it.waited > election * 5
        };
        let waited = self.given_up.iter().filter(|(_, given_up)| has_waited(given_up));
        if let Some(client) = waited.map(|(client, _)| client).find(|it| unserved(it)) {
            return Err(format!("client {} was never served after healing", client.0));
        }
        let states: Vec<_> = quorum.iter().map(|id| (id, self.applied.get(id))).collect();
        let differ = |a: Option<&(u64, Option<u64>)>, b: Option<&(u64, Option<u64>)>| {
            let (Some((a, a_digest)), Some((b, b_digest))) = (a, b) else { return false };
            a != b || a_digest.is_some() && b_digest.is_some() && a_digest != b_digest
        };
        match states.windows(2).find(|pair| differ(pair[0].1, pair[1].1)) {
            Some(pair) => {
                let told = |(id, state): (&MemberId, Option<&(u64, Option<u64>)>)| {
                    let (index, digest) = state.copied().unwrap_or_default();
                    format!("{id} at {index} with {:016x}", digest.unwrap_or_default())
                };
                Err(format!("members differ at the end: {}, {}", told(pair[0]), told(pair[1])))
            }
            None => Ok(()),
        }
    }
}

impl Observer for Liveness {
    fn observe(&mut self, at: Time, seen: &Seen) -> Result<(), Violation> {
        self.note(at, seen);
        let judged = match seen {
            Seen::Finished { quorum } => self.check_end(at, quorum),
            _ => self.check_leader(at),
        };
        judged.map_err(|what| Violation { verdict: Verdict::Liveness, oracle: NAME, what })
    }
}

#[cfg(test)]
mod tests;
