use std::time::Duration;

use tonic::Status;

use super::*;
use crate::bench::cli::Output;

fn output(precise: bool, sample: bool) -> Output {
    Output { precise, sample, json: String::new(), svg: String::new() }
}

fn tally() -> Tally {
    let mut tally = Tally::default();
    for millis in 1..=1_000 {
        let since_begin = Duration::from_millis(2 * millis);
        tally.succeed(Duration::from_millis(millis), since_begin);
    }
    tally.fail(&Status::unavailable("etcdserver: request timed out"));
    tally
}

fn with_report<T>(tracks: Vec<(&'static str, Tally)>, look: impl FnOnce(&Report<'_>) -> T) -> T {
    let target = Target::of_ports(&["127.0.0.1:1".parse().unwrap()]).unwrap();
    let load = Load { clients: 4, connections: 2, threads: 8, tracks: tracks.len() };
    let (benchmark, seconds, is_interrupted) = ("put", 2.0, false);
    look(&Report { benchmark, target: &target, load, seconds, is_interrupted, tracks })
}

#[test]
fn text_is_laid_out_as_etcds_tool_has_it() {
    let text =
        with_report(vec![("put", tally())], |report| text::render(report, &output(false, true)));
    assert!(text.starts_with("\nSummary:\n  Total:\t2.0000 secs.\n  Slowest:\t1.00"), "{text}");
    for part in [
        "  Fastest:\t0.0010 secs.\n",
        "  Requests/sec:\t500.0000\n",
        "\nResponse time histogram:\n  0.0010 [1]\t|\n  0.10",
        "∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎",
        "\nLatency distribution:\n  10% in 0.1",
        "  99% in 0.99",
        "\nError distribution:\n  [1]\tetcdserver: request timed out\n",
        "SECOND,MIN-LATENCY-MS,AVG-LATENCY-MS,MAX-LATENCY-MS,AVG-THROUGHPUT\n",
        "\n0,1.000,250.000,499.000,499\n1,500.000,",
    ] {
        assert!(text.contains(part), "{part:?} in {text}");
    }
}

#[test]
fn steps_hold_every_operation() {
    let steps = steps(&tally(), 10);
    assert_eq!(steps.len(), 11);
    assert_eq!(steps.iter().map(|(_, count)| count).sum::<u64>(), 1_000);
    assert!(steps[1..].iter().all(|(_, count)| (95..=105).contains(count)), "{steps:?}");
}

#[test]
fn programs_read_the_same() {
    let tracks = || vec![("read", tally()), ("write", Tally::default())];
    let json = with_report(tracks(), json::render);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["clients"], 4);
    assert_eq!(json["threads"], 2, "no thread is without a connection");
    let read = &json["tracks"][0];
    assert_eq!((&read["name"], &read["operations"]), (&"read".into(), &1_000.into()));
    assert_eq!(read["errors"]["etcdserver: request timed out"], 1);
    let tail = read["latency_seconds"]["percentiles"]["99.9"].as_f64().unwrap();
    assert!((0.998..1.002).contains(&tail), "{tail}");
    assert_eq!(json["tracks"][1]["operations"], 0);
    let text = with_report(tracks(), |report| text::render(report, &output(true, false)));
    assert!(text.contains("read: 1000 operations") && text.contains("write: 0 operations"));
}

#[test]
fn pictures_are_drawn_of_many_operations_of_one_and_of_none() {
    let one = || {
        let mut one = Tally::default();
        one.succeed(Duration::from_micros(70), Duration::ZERO);
        one
    };
    for tracks in [vec![("put", tally())], vec![("put", one())], vec![("put", Tally::default())]] {
        let svg = with_report(tracks, picture::draw).unwrap();
        assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"), "{svg}");
        assert!(svg.contains("quorate bench put: 4 clients, 2 connections"), "{svg}");
    }
    let svg = with_report(vec![("read", tally()), ("write", one())], picture::draw).unwrap();
    assert!(svg.contains("read") && svg.contains("write") && svg.contains("99.9%"), "{svg}");
}
