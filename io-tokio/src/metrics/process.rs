//! What the system knows about this process, read when somebody looks.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;

/// The process's own series. What cannot be read is left out.
#[derive(Debug)]
pub(super) struct Process {
    started_seconds: f64,
}

impl Default for Process {
    fn default() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { started_seconds: since.as_secs_f64() }
    }
}

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut gauge = |name: &str, help: &str, value: Option<f64>| match value {
            Some(value) => print(&mut encoder, (name, help), MetricType::Gauge, value),
            None => Ok(()),
        };
        let (virtual_bytes, resident_bytes) = memory();
        gauge("process_resident_memory_bytes", "Resident memory", resident_bytes)?;
        gauge("process_virtual_memory_bytes", "Virtual memory", virtual_bytes)?;
        gauge("process_virtual_memory_max_bytes", "Most virtual memory", memory_max())?;
        gauge("process_start_time_seconds", "Start", Some(self.started_seconds))?;
        let (open, limit) = (open_files(), files_max());
        for prefix in ["process_open_fds", "os_fd_used"] {
            gauge(prefix, "Open file descriptors", open)?;
        }
        for prefix in ["process_max_fds", "os_fd_limit"] {
            gauge(prefix, "Most open file descriptors", limit)?;
        }
        let (received, sent) = network_bytes();
        for (name, help, value) in [
            ("process_cpu_seconds_total", "Processor time", cpu_seconds()),
            ("process_network_receive_bytes_total", "Bytes this host received", received),
            ("process_network_transmit_bytes_total", "Bytes this host sent", sent),
        ] {
            if let Some(value) = value {
                print(&mut encoder, (name, help), MetricType::Counter, value)?;
            }
        }
        Ok(())
    }
}

fn print(
    encoder: &mut DescriptorEncoder<'_>,
    (name, help): (&str, &str),
    kind: MetricType,
    value: f64,
) -> fmt::Result {
    ConstGauge::new(value).encode(encoder.encode_descriptor(name, help, None, kind)?)
}

/// Virtual and resident bytes.
pub(crate) fn memory() -> (Option<f64>, Option<f64>) {
    let [virtual_bytes, resident, _] = memory_kinds();
    (virtual_bytes, resident)
}

/// Resident bytes that are no file's: those that the system cannot take back when it needs them.
pub(crate) fn own_memory() -> Option<f64> {
    let [_, resident, files] = memory_kinds();
    Some(resident? - files?)
}

/// Virtual, resident, and of the resident those that files have as well.
fn memory_kinds() -> [Option<f64>; 3] {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let page = rustix::param::page_size() as f64;
    let mut pages = text.split_ascii_whitespace().map(|word| word.parse::<f64>().ok());
    std::array::from_fn(|_| pages.next().flatten().map(|pages| pages * page))
}

fn open_files() -> Option<f64> {
    // Reading the directory opens one more.
    let entries = std::fs::read_dir("/proc/self/fd").ok()?.count();
    Some(entries.saturating_sub(1) as f64)
}

/// How many files this process may have open.
pub(crate) fn files_max() -> Option<f64> {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    limit.current.map(|limit| limit as f64)
}

/// All there are, where nothing is the limit.
fn memory_max() -> Option<f64> {
    let limit = rustix::process::getrlimit(rustix::process::Resource::As);
    Some(limit.current.unwrap_or(u64::MAX) as f64)
}

/// Bytes received and sent in the network this process sees.
fn network_bytes() -> (Option<f64>, Option<f64>) {
    let text = std::fs::read_to_string("/proc/self/net/netstat").unwrap_or_default();
    let mut lines = text.lines().filter_map(|line| line.strip_prefix("IpExt: "));
    let (names, values) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
    let find = |wanted: &str| {
        let mut pairs = names.split(' ').zip(values.split(' '));
        pairs.find(|(name, _)| *name == wanted).and_then(|(_, value)| value.parse().ok())
    };
    (find("InOctets"), find("OutOctets"))
}

/// User and system time. The fields are counted from behind the name, which may hold anything.
fn cpu_seconds() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/self/stat").ok()?;
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_ascii_whitespace().collect();
    let user: f64 = fields.get(11)?.parse().ok()?;
    let system: f64 = fields.get(12)?.parse().ok()?;
    Some((user + system) / rustix::param::clock_ticks_per_second() as f64)
}
