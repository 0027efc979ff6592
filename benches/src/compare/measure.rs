//! What a run cost, from outside: `/proc/<pid>` of the servers, clocks of the clients.

use std::time::{Duration, Instant};

use crate::Outcome;
use crate::cli::Flavour;
use crate::load::{self, Plan, Window};
use crate::servers::Group;
use crate::workload::{Kind, Workload};

/// How long after its start an empty server's memory is read.
pub(crate) const IDLE_AFTER: Duration = Duration::from_secs(2);

/// One workload on one server in one round.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    pub(crate) flavour: Flavour,
    pub(crate) workload: String,
    pub(crate) round: u32,
    pub(crate) ops: u64,
    pub(crate) seconds: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    pub(crate) cpu_seconds: f64,
    pub(crate) rss_kib: u64,
}

/// Resident memory of all members of one group in one round.
#[derive(Clone, Debug)]
pub(crate) struct Memory {
    pub(crate) flavour: Flavour,
    pub(crate) round: u32,
    pub(crate) idle_kib: u64,
    pub(crate) loaded_kib: u64,
}

/// Runs one workload and reads what the servers spent while the window was open.
pub(crate) fn measure(group: &Group, workload: Workload, plan: &Plan) -> Outcome<Sample> {
    let window = Window::ahead(plan);
    let (tally, cpu_seconds) = std::thread::scope(|scope| {
        let load = scope.spawn(|| match workload.kind {
            Kind::Watch => crate::fanout::drive(&group.client_addrs, workload.clients, window),
            _ => load::drive(&group.client_addrs, workload, plan, window),
        });
        let before = cpu_seconds_at(group, window.start)?;
        let after = cpu_seconds_at(group, window.end)?;
        let tally = load.join().map_err(|_| "the load generator panicked")??;
        Outcome::Ok((tally, after - before))
    })
    .map_err(|error| format!("{} {}: {error}", group.flavour.name(), workload.name()))?;
    if tally.ops() == 0 {
        let (server, load) = (group.flavour.name(), workload.name());
        return Err(format!("{server} finished no {load} within the window").into());
    }
    let micros_at = |quantile| tally.latency_nanos.value_at_quantile(quantile) as f64 / 1e3;
    Ok(Sample {
        flavour: group.flavour,
        workload: workload.name(),
        round: 0,
        ops: tally.ops(),
        seconds: plan.measured.as_secs_f64(),
        p50_us: micros_at(0.5),
        p99_us: micros_at(0.99),
        cpu_seconds,
        rss_kib: group.rss_kib()?,
    })
}

fn cpu_seconds_at(group: &Group, instant: Instant) -> Outcome<f64> {
    std::thread::sleep(instant.saturating_duration_since(Instant::now()));
    group.cpu_seconds()
}

/// User and system time of a process and all its threads, in clock ticks, from `/proc/<pid>/stat`.
pub(crate) fn parse_cpu_ticks(stat: &str) -> Option<u64> {
    // The command name may hold blanks and parentheses; fields are counted from its end.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

/// Resident memory in KiB from `/proc/<pid>/status`.
pub(crate) fn parse_rss_kib(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAT: &str = "1234 (a (odd) name) S 1 1234 1234 0 -1 4194560 9811 0 12 0 431 69 0 0 \
                        20 0 14 0 8812 1271152640 6853 18446744073709551615 1 1 0 0 0 0";

    #[test]
    fn cpu_ticks_are_user_plus_system() {
        assert_eq!(parse_cpu_ticks(STAT), Some(431 + 69));
        assert_eq!(parse_cpu_ticks("1234 (short) S 1"), None);
        assert_eq!(parse_cpu_ticks(""), None);
    }

    #[test]
    fn resident_memory_is_read_in_kib() {
        let status = "Name:\tetcd\nVmPeak:\t  99999 kB\nVmRSS:\t   27412 kB\nThreads:\t14\n";
        assert_eq!(parse_rss_kib(status), Some(27_412));
        assert_eq!(parse_rss_kib("Name:\tzombie\nState:\tZ\n"), None);
    }

    #[test]
    fn our_own_process_can_be_read() {
        let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        assert!(parse_cpu_ticks(&stat).is_some());
        assert!(parse_rss_kib(&status).unwrap() > 100);
    }
}
