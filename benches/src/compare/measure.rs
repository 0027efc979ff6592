//! What a run cost, from outside: `/proc/<pid>` of the servers, clocks of the clients.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use quorate_io_tokio::bench::{Stint, Tally, Terms};

use crate::Outcome;
use crate::servers::Group;

/// How long after its start an empty server's memory is read, and after other changes.
pub(crate) const SETTLED_AFTER: Duration = Duration::from_secs(2);
/// How often memory is looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);

/// What a window showed.
pub(crate) struct Seen {
    pub(crate) tracks: Vec<Tally>,
    pub(crate) seconds: f64,
    pub(crate) cpu_seconds: f64,
}

/// Runs a load and reads what the servers spent while its window was open.
pub(crate) fn window(
    group: &Group,
    (warm, measured): (Duration, Duration),
    load: impl FnOnce(&Arc<Stint>) -> Result<Vec<Tally>, String> + Send,
) -> Outcome<Seen> {
    let terms = Terms { warm, lasts: Some(measured), ..Terms::default() };
    let stint = Arc::new(Stint::new(terms));
    std::thread::scope(|scope| {
        let running = scope.spawn(|| load(&stint));
        let begun = loop {
            match stint.begins_at() {
                Some(begun) => break begun,
                // It failed, and says below why.
                None if running.is_finished() => break Instant::now(),
                None => std::thread::sleep(Duration::from_millis(1)),
            }
        };
        let before = cpu_seconds_at(group, begun);
        let after = cpu_seconds_at(group, begun + measured);
        let tracks = running.join().map_err(|_| "the load generator panicked")??;
        tracks.iter().try_for_each(Tally::check)?;
        let cpu_seconds = after? - before?;
        Ok(Seen { tracks, seconds: measured.as_secs_f64(), cpu_seconds })
    })
}

fn cpu_seconds_at(group: &Group, instant: Instant) -> Outcome<f64> {
    std::thread::sleep(instant.saturating_duration_since(Instant::now()));
    group.cpu_seconds()
}

/// Runs `work` while the servers' memory is looked at; also the most of it, in KiB.
pub(crate) fn peak_rss<T: Send>(
    group: &Group,
    work: impl FnOnce() -> Outcome<T> + Send,
) -> Outcome<(T, u64)> {
    let (is_over, peak) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        let looking = scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                if let Ok(kib) = group.rss_kib() {
                    peak.fetch_max(kib, Ordering::Relaxed);
                }
                std::thread::sleep(LOOK_INTERVAL);
            }
        });
        let result = work();
        is_over.store(true, Ordering::Relaxed);
        looking.join().map_err(|_| "looking at memory failed")?;
        Ok((result?, peak.load(Ordering::Relaxed)))
    })
}

pub(crate) fn mib(kib: u64) -> f64 {
    kib as f64 / 1024.0
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
