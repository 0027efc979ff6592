//! Faults as bars: when each struck, and how long it lasted.

use quorate_io_sim::world::plan::{Fault, Strike};

use super::Bar;

/// Bars of faults that struck, none beyond `end`. Times in microseconds.
pub(super) fn bars(strikes: &[Strike], end: u64) -> Vec<Bar> {
    let bar = |strike: &Strike| {
        let (from, rest) = (strike.at / 1_000, rest_of(&strike.fault) / 1_000);
        let to = from.saturating_add(rest).min(end.max(from));
        Bar { from, to, what: words(&strike.fault) }
    };
    strikes.iter().map(bar).collect()
}

/// How long a fault lasts, in nanoseconds.
fn rest_of(fault: &Fault) -> u64 {
    match *fault {
        Fault::Crash { rest, .. }
        | Fault::CrashLeader { rest, .. }
        | Fault::CrashAll { rest }
        | Fault::Pause { rest, .. }
        | Fault::PauseLeader { rest, .. }
        | Fault::Cut { rest, .. }
        | Fault::IsolateLeader { rest, .. }
        | Fault::Clog { rest, .. }
        | Fault::CutClients { rest, .. }
        | Fault::SlowDisk { rest, .. }
        | Fault::StallDisk { rest, .. }
        | Fault::HangDisk { rest, .. }
        | Fault::FailSync { rest, .. }
        | Fault::LagApply { rest, .. }
        | Fault::StallStore { rest, .. }
        | Fault::Misroute { rest, .. } => rest,
        Fault::Reset { .. } | Fault::TurnClock { .. } | Fault::MoveLeader { .. } => 0,
    }
}

/// What it is and whom it strikes; machines by number from 1, as their lanes are.
fn words(fault: &Fault) -> String {
    let word = fault.word();
    let set = |mask: u64| {
        let members = (0..64).filter(|bit| mask >> bit & 1 == 1);
        let names: Vec<_> = members.map(|bit| format!("m{}", bit + 1)).collect();
        names.join("+")
    };
    match *fault {
        Fault::Crash { node, .. }
        | Fault::Pause { node, .. }
        | Fault::CutClients { node, .. }
        | Fault::SlowDisk { node, .. }
        | Fault::StallDisk { node, .. }
        | Fault::HangDisk { node, .. }
        | Fault::FailSync { node, .. }
        | Fault::LagApply { node, .. }
        | Fault::TurnClock { node, .. }
        | Fault::MoveLeader { node }
        | Fault::StallStore { node, .. } => format!("{word} m{}", node + 1),
        Fault::Clog { from, to, .. } | Fault::Reset { from, to } => {
            format!("{word} m{} to m{}", from + 1, to + 1)
        }
        Fault::Cut { from, to, both, .. } => {
            let way = if both == 1 { "and" } else { "to" };
            format!("{word} {} {way} {}", set(from), set(to))
        }
        Fault::Misroute { from, to, at, .. } => {
            format!("{word} m{} to m{}, arrives at m{}", from + 1, to + 1, at + 1)
        }
        Fault::CrashLeader { .. }
        | Fault::CrashAll { .. }
        | Fault::PauseLeader { .. }
        | Fault::IsolateLeader { .. } => word.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_lasts_as_long_as_its_fault_and_names_machines_as_lanes_do() {
        let cut = Fault::Cut { from: 0b01, to: 0b110, both: 0, rest: 5_000_000 };
        let strikes = [
            Strike { at: 1_000_000, fault: cut },
            Strike { at: 2_000_000, fault: Fault::Reset { from: 0, to: 2 } },
            Strike { at: 3_000_000, fault: Fault::CrashLeader { outputs: 1, rest: u64::MAX } },
        ];
        let bar = |from, to, what: &str| Bar { from, to, what: what.to_string() };
        let expected = [
            bar(1_000, 6_000, "cut m1 to m2+m3"),
            bar(2_000, 2_000, "reset m1 to m3"),
            bar(3_000, 9_000, "crash-leader"),
        ];
        assert_eq!(bars(&strikes, 9_000), expected);
    }
}
