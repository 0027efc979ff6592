//! One run of a plan: hosts, links, faults, clients, and what came of it.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use quorate_core::time::Time;
use quorate_io_tokio::cli::LogLevel;
use quorate_io_tokio::logging;
use quorate_io_tokio::tls::Keyring;
use quorate_io_tokio::transport::Dialer;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use turmoil::Sim;

use super::clients::{audit, follow, keep, write};
use super::course::{Changes, Course};
use super::plan::{
    CLIENTS, DESERTERS, Fault, HEALS_AT_MS, KEEPERS, MEMBERS, Party, Plan, Strike, WATCHERS,
    WRITERS,
};
use super::site::{Ground, serve};
use super::wires::{Links, client_address, member_address};
use super::witness::Witness;
use crate::world::observe::{Observer, Verdict, Violation};

/// No run takes longer: by then everything due was done or missed.
const LASTS_MAX: Duration = Duration::from_secs(240);
/// Hosts run for so long before the next one does, and messages arrive no finer.
const TICK: Duration = Duration::from_millis(3);
/// Segments that wait for a reader on one connection.
const SEGMENTS_MAX: usize = 64;

/// What came of a run.
#[derive(Debug)]
pub struct Report {
    /// What was wrong, if anything.
    pub violation: Option<Violation>,
    /// A line for everything that happened, in order.
    pub lines: Vec<String>,
    /// What really happened to the keys.
    pub changes: Vec<Changes>,
    /// How often what was seen.
    pub counts: BTreeMap<&'static str, u64>,
    /// How long it took in the simulation.
    pub lasted: Duration,
}

/// Has members' logs written to the standard error stream, from warnings on.
///
/// # Errors
/// Where they cannot be written.
pub fn show_logs() -> io::Result<()> {
    logging::start_plain(LogLevel::Warn)
}

/// Runs a plan. Once a process: what answers for the system's entropy cannot be begun again.
///
/// # Errors
/// What keeps a run from beginning.
pub fn run(plan: Plan, observer: Box<dyn Observer>) -> Result<Report, String> {
    mad_turmoil::rand::set_rng(StdRng::seed_from_u64(plan.seed));
    let _clocks = mad_turmoil::time::SimClocksGuard::init();
    let keyring = super::keys::keyring(plan.is_secure)?;
    let witness = Witness::new(observer);
    witness.note(Time::ZERO, &plan.to_string());
    let trial = Trial::new(plan, &keyring, witness);
    let (violation, lasted) = trial.run();
    let Course { witness, changes, .. } = &*trial.course;
    Ok(Report {
        violation,
        lines: witness.take_lines(),
        changes: changes.take(),
        counts: witness.counts(),
        lasted,
    })
}

struct Trial {
    plan: Rc<Plan>,
    course: Rc<Course>,
    grounds: Vec<Rc<Ground>>,
}

impl Trial {
    fn new(plan: Plan, keyring: &Arc<Keyring>, witness: Witness) -> Self {
        let plan = Rc::new(plan);
        let ground = |place| Rc::new(Ground::new(place, &plan, keyring));
        let grounds = (0..MEMBERS).map(ground).collect();
        let course = Rc::new(Course {
            plan: Rc::clone(&plan),
            witness,
            dialer: Dialer::new(Arc::clone(keyring)).by(Arc::new(Links)),
            at_work: Cell::new(WRITERS + DESERTERS + KEEPERS),
            watching: Cell::new(WATCHERS),
            last_revision: Cell::new(None),
            changes: RefCell::default(),
        });
        Self { plan, course, grounds }
    }

    fn run(&self) -> (Option<Violation>, Duration) {
        let (least, most) = self.plan.latency_ms;
        let mut sim = turmoil::Builder::new()
            .rng_seed(self.plan.seed)
            .tick_duration(TICK)
            .min_message_latency(Duration::from_millis(least))
            .max_message_latency(Duration::from_millis(most))
            .tcp_capacity(SEGMENTS_MAX)
            .simulation_duration(LASTS_MAX)
            .build();
        for (place, ground) in (0..).zip(&self.grounds) {
            let ground = Rc::clone(ground);
            sim.host(member_address(place), move || serve(Rc::clone(&ground)));
        }
        self.add_clients(&mut sim);
        let mut faults = Faults::of(&self.plan);
        let violation = loop {
            faults.strike(&mut sim, self);
            match sim.step() {
                Ok(true) => break None,
                Ok(false) => {}
                Err(error) => break Some(crash(&error.to_string())),
            }
            if let Some(objection) = self.course.witness.objection() {
                break Some(objection);
            }
        };
        (violation.or_else(|| self.course.witness.objection()), sim.elapsed())
    }

    fn add_clients(&self, sim: &mut Sim<'_>) {
        let mut numbers = 0..CLIENTS;
        let mut next = |count| numbers.by_ref().take(count as usize).collect::<Vec<_>>();
        let course = || Rc::clone(&self.course);
        for number in next(WRITERS) {
            sim.client(client_address(number), write(course(), number, false));
        }
        for number in next(DESERTERS) {
            sim.client(client_address(number), write(course(), number, true));
        }
        for (place, number) in next(WATCHERS).into_iter().enumerate() {
            sim.client(client_address(number), follow(course(), number, place == 0));
        }
        for number in next(KEEPERS) {
            sim.client(client_address(number), keep(course(), number));
        }
        for number in next(1) {
            sim.client(client_address(number), audit(course(), number));
        }
    }
}

fn crash(what: &str) -> Violation {
    Violation { verdict: Verdict::Crash, oracle: "panic", what: what.to_owned() }
}

/// The plan's strikes, as far as they are not over.
struct Faults {
    /// When, whether it begins, and what.
    due: Vec<(u64, bool, Fault)>,
    /// Strikes under way that keep a member down.
    down: [u32; MEMBERS as usize],
    is_healed: bool,
}

impl Faults {
    fn of(plan: &Plan) -> Self {
        let both = |strike: &Strike| {
            let Strike { fault, from_ms, until_ms } = *strike;
            [(from_ms, true, fault), (until_ms, false, fault)]
        };
        let mut due: Vec<_> = plan.strikes.iter().flat_map(both).collect();
        // Stable: of what is due at once the first drawn comes first.
        due.sort_by_key(|(at, is_begin, _)| (std::cmp::Reverse(*at), *is_begin));
        Self { due, down: [0; MEMBERS as usize], is_healed: false }
    }

    /// Does what is due by now.
    fn strike(&mut self, sim: &mut Sim<'_>, trial: &Trial) {
        let now_ms = u64::try_from(sim.elapsed().as_millis()).unwrap_or(u64::MAX);
        while let Some((_, begins, fault)) = self.due.pop_if(|(at, ..)| *at <= now_ms) {
            let word = if begins { "begins" } else { "ends" };
            let at = Time::ZERO + sim.elapsed();
            trial.course.witness.note(at, &format!("{fault:?} {word}"));
            if begins {
                trial.course.witness.count(name(fault));
                begin(sim, trial, fault);
            } else {
                end(sim, fault);
            }
            if let Fault::Crash(place) | Fault::Restart(place) = fault {
                let down = &mut self.down[place as usize];
                *down = if begins { *down + 1 } else { down.saturating_sub(1) };
            }
        }
        // One that was asked to end takes its time.
        for (place, down) in (0..).zip(self.down) {
            if down == 0 && !sim.is_host_running(member_address(place)) {
                sim.bounce(member_address(place));
            }
        }
        if now_ms >= HEALS_AT_MS && !std::mem::replace(&mut self.is_healed, true) {
            trial.course.witness.note(Time::ZERO + sim.elapsed(), "healed");
        }
    }
}

const fn name(fault: Fault) -> &'static str {
    match fault {
        Fault::Crash(_) => "crashes",
        Fault::Restart(_) => "restarts",
        Fault::Cut(..) => "cuts",
        Fault::CutOneWay(..) => "cuts one way",
        Fault::Hold(..) => "holds",
        Fault::Isolate(_) => "isolations",
    }
}

fn address(party: Party) -> IpAddr {
    match party {
        Party::Member(place) => member_address(place),
        Party::Client(number) => client_address(number),
    }
}

fn others(place: u64) -> impl Iterator<Item = IpAddr> {
    (0..MEMBERS).filter(move |other| *other != place).map(member_address)
}

fn begin(sim: &mut Sim<'_>, trial: &Trial, fault: Fault) {
    match fault {
        Fault::Crash(place) => sim.crash(member_address(place)),
        Fault::Restart(place) => trial.grounds[place as usize].ask_to_end(),
        Fault::Cut(one, other) => sim.partition(address(one), address(other)),
        Fault::CutOneWay(one, other) => sim.partition_oneway(address(one), address(other)),
        Fault::Hold(one, other) => sim.hold(address(one), address(other)),
        Fault::Isolate(place) => {
            others(place).for_each(|other| sim.partition(member_address(place), other));
        }
    }
}

fn end(sim: &mut Sim<'_>, fault: Fault) {
    match fault {
        Fault::Crash(_) | Fault::Restart(_) => {}
        Fault::Cut(one, other) => sim.repair(address(one), address(other)),
        Fault::CutOneWay(one, other) => sim.repair_oneway(address(one), address(other)),
        Fault::Hold(one, other) => sim.release(address(one), address(other)),
        Fault::Isolate(place) => {
            others(place).for_each(|other| sim.repair(member_address(place), other));
        }
    }
}
