use super::*;
use std::time::Duration;

use quorate_core::ids::{LogIndex, MemberId, Term};
use quorate_core::view::Facts;

pub(super) fn view() -> View {
    crate::grpc::reads::view_of(Facts {
        member: MemberId(0x8e9e_05c5_2164_694d),
        applied: LogIndex(7),
        committed: LogIndex(9),
        role: Role { term: Term(2), leader: Some(MemberId(1)), is_leader: false },
        cluster_version: "3.7.0".into(),
        ..Facts::default()
    })
}

/// The lines of one series, without help.
pub(super) fn lines<'a>(text: &'a str, name: &str) -> Vec<&'a str> {
    let is_of = |line: &&str| {
        line.strip_prefix(name).is_some_and(|rest| rest.starts_with([' ', '{']))
            || line.strip_prefix("# TYPE ").is_some_and(|rest| {
                rest.strip_prefix(name).is_some_and(|rest| rest.starts_with(' '))
            })
    };
    text.lines().filter(is_of).collect()
}

#[test]
fn names_are_etcds_letter_by_letter() {
    let metrics = Metrics::new(2 << 30);
    metrics.ranges.add(3);
    metrics.health_failures.add(1);
    metrics.network.sent(MemberId(0xab)).add(10);
    let text = metrics.text(&view());
    for (name, expected) in [
        (
            "etcd_mvcc_range_total",
            &["# TYPE etcd_mvcc_range_total counter", "etcd_mvcc_range_total 3"][..],
        ),
        (
            "etcd_server_health_failures",
            &["# TYPE etcd_server_health_failures counter", "etcd_server_health_failures 1"],
        ),
        (
            "etcd_server_proposals_applied_total",
            &[
                "# TYPE etcd_server_proposals_applied_total gauge",
                "etcd_server_proposals_applied_total 7",
            ],
        ),
        (
            "etcd_server_has_leader",
            &["# TYPE etcd_server_has_leader gauge", "etcd_server_has_leader 1"],
        ),
        (
            "etcd_network_peer_sent_bytes_total",
            &[
                "# TYPE etcd_network_peer_sent_bytes_total counter",
                "etcd_network_peer_sent_bytes_total{To=\"ab\"} 10",
            ],
        ),
        (
            "etcd_server_id",
            &["# TYPE etcd_server_id gauge", "etcd_server_id{server_id=\"8e9e05c52164694d\"} 1"],
        ),
        (
            "etcd_cluster_version",
            &[
                "# TYPE etcd_cluster_version gauge",
                "etcd_cluster_version{cluster_version=\"3.7\"} 1",
            ],
        ),
        (
            "etcd_server_version",
            &[
                "# TYPE etcd_server_version gauge",
                "etcd_server_version{server_version=\"3.7.1\"} 1",
            ],
        ),
        (
            "etcd_server_leader_changes_seen_total",
            &[
                "# TYPE etcd_server_leader_changes_seen_total counter",
                "etcd_server_leader_changes_seen_total 1",
            ],
        ),
    ] {
        assert_eq!(lines(&text, name), expected);
    }
    assert!(!text.contains("_total_total") && !text.contains("# EOF"));
}

#[test]
fn a_leader_is_counted_when_it_is_new() {
    let metrics = Metrics::new(0);
    let role = |term, leader| Role { term: Term(term), leader, is_leader: false };
    for (term, leader, seen) in [
        (1, None, 0),
        (2, Some(MemberId(1)), 1),
        (2, Some(MemberId(1)), 1),
        (2, None, 1),
        (3, Some(MemberId(1)), 2),
    ] {
        metrics.observe_role(role(term, leader));
        assert_eq!(metrics.leader_changes.get(), seen);
    }
}

#[test]
fn a_histogram_has_etcds_buckets() {
    let metrics = Metrics::new(0);
    metrics.disk.wal_fsync.observe(Duration::from_millis(3));
    let text = metrics.text(&view());
    let name = "etcd_disk_wal_fsync_duration_seconds";
    let buckets: Vec<&str> =
        text.lines().filter(|line| line.starts_with(&format!("{name}_bucket"))).collect();
    assert_eq!(buckets.len(), 15);
    assert_eq!(buckets[0], format!("{name}_bucket{{le=\"0.001\"}} 0"));
    assert_eq!(buckets[2], format!("{name}_bucket{{le=\"0.004\"}} 1"));
    assert_eq!(buckets[14], format!("{name}_bucket{{le=\"+Inf\"}} 1"));
    assert!(text.contains(&format!("{name}_count 1\n")));
}

#[test]
fn every_call_has_its_series_before_it_is_made() {
    let metrics = Metrics::new(0);
    let put = Calls::find("/etcdserverpb.KV/Put").unwrap();
    metrics.calls.start(put);
    metrics.calls.end(put, tonic::Code::InvalidArgument, Duration::ZERO);
    let text = metrics.text(&view());
    let started = lines(&text, "grpc_server_started_total");
    assert_eq!(started.len(), 1 + METHODS.len());
    assert!(started.contains(
        &"grpc_server_started_total{grpc_type=\"unary\",grpc_service=\"etcdserverpb.KV\",\
          grpc_method=\"Put\"} 1"
    ));
    assert!(text.contains(
        "grpc_server_handled_total{grpc_type=\"unary\",grpc_service=\"etcdserverpb.KV\",\
         grpc_method=\"Put\",grpc_code=\"InvalidArgument\"} 1\n"
    ));
    assert_eq!(Calls::find("/etcdserverpb.KV/Nope"), None);
    assert_eq!(Calls::find("nope"), None);
}

#[test]
fn the_process_tells_about_itself() {
    let text = Metrics::new(0).text(&view());
    let resident = lines(&text, "process_resident_memory_bytes");
    let bytes: f64 = resident[1].rsplit(' ').next().unwrap().parse().unwrap();
    assert!(bytes > 1e6, "{bytes}");
    for name in ["process_open_fds", "process_max_fds", "process_cpu_seconds_total", "os_fd_used"] {
        assert_eq!(lines(&text, name).len(), 2, "{name}");
    }
}
