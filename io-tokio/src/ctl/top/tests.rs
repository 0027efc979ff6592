use std::time::{Duration, Instant};

use quorate_proto::etcdserverpb::{Member, ResponseHeader, StatusResponse};
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::KeyEvent;

use super::sample::{Said, Seen};
use super::*;
use crate::ctl::metrics::Page;

fn said(id: u64, applied: u64, page: &str) -> Result<Said, String> {
    let header = Some(ResponseHeader { member_id: id, revision: 40, ..Default::default() });
    let status = StatusResponse {
        header,
        db_size: 20_480,
        leader: 1,
        raft_index: 100,
        raft_term: 2,
        raft_applied_index: applied,
        ..Default::default()
    };
    Ok(Said { status, page: Some(Page::parse(page)) })
}

fn seen(id: u64, name: &str, said: Result<Said, String>) -> Seen {
    Seen { member: Member { id, name: name.to_owned(), ..Default::default() }, said }
}

fn page(puts: u32, syncs: u32) -> String {
    format!(
        "etcd_mvcc_put_total {puts}\netcd_mvcc_range_total 5\n\
         etcd_debugging_mvcc_watcher_total 3\n\
         etcd_disk_wal_fsync_duration_seconds_bucket{{le=\"0.128\"}} 7\n\
         etcd_disk_wal_fsync_duration_seconds_bucket{{le=\"+Inf\"}} {syncs}\n\
         etcd_disk_wal_fsync_duration_seconds_sum {}\n\
         etcd_disk_wal_fsync_duration_seconds_count {syncs}\n",
        f64::from(syncs) / 500.0
    )
}

fn samples() -> [Sample; 2] {
    let at = Instant::now();
    let sample = |after: u64, puts, syncs| Sample {
        at: at + Duration::from_secs(after),
        cluster: 0xabc,
        leases: Some(4),
        members: vec![
            seen(1, "one", said(1, 100, &page(puts, syncs))),
            seen(2, "two", said(2, 90, "")),
            seen(3, "three", Err("no answer".to_owned())),
        ],
    };
    [sample(0, 10, 7), sample(2, 50, 9)]
}

#[test]
fn lag_and_rates_come_of_two_looks() {
    let [before, now] = samples();
    assert_eq!(
        table::summary(&now),
        "cluster abc  members 2/3  leader one  revision 40  watches 3  leases 4"
    );
    let rows = table::table(&before, &now).rows;
    let cells = |row: usize| rows[row].join(" | ");
    assert_eq!(cells(0), "one | 1 | leader | 2 | 100 | 0 | 20 kB | 20.0 | 0.0 | 2ms | 2 | 3");
    assert_eq!(cells(1), "two | 2 | follower | 2 | 100 | 10 | 20 kB | 0.0 | 0.0 | - | 0 | 0");
    assert_eq!(cells(2), "three | 3 | no answer | - | - | - | - | - | - | - | - | -");
}

#[test]
fn a_screen_shows_members_rates_and_trouble() {
    let [before, now] = samples();
    let mut screen = Screen::new(before);
    screen.take(Ok(now));
    let mut terminal = Terminal::new(TestBackend::new(100, 10)).unwrap();
    terminal.draw(|frame| screen.draw(frame)).unwrap();
    let shown = |terminal: &Terminal<TestBackend>| terminal.backend().to_string();
    let text = shown(&terminal);
    for part in
        ["members 2/3", "NAME", "WRITES/S", "leader", "no answer", " 20 writes/s ", "q: quit"]
    {
        assert!(text.contains(part), "{part} in\n{text}");
    }
    screen.take(Err(Failure::new("nobody answers")));
    terminal.draw(|frame| screen.draw(frame)).unwrap();
    let text = shown(&terminal);
    assert!(text.contains("nobody answers") && text.contains("members 2/3"), "{text}");
}

#[test]
fn what_every_member_applied_was_written_once() {
    let [mut before, mut now] = samples();
    for (sample, puts) in [(&mut before, 10), (&mut now, 50)] {
        sample.members[1] = seen(2, "two", said(2, 90, &page(puts, 7)));
    }
    let mut screen = Screen::new(before);
    screen.take(Ok(now));
    let mut terminal = Terminal::new(TestBackend::new(100, 10)).unwrap();
    terminal.draw(|frame| screen.draw(frame)).unwrap();
    let text = terminal.backend().to_string();
    assert!(text.contains(" 20 writes/s "), "{text}");
}

#[test]
fn q_escape_and_interrupts_are_enough() {
    let key = |code, modifiers| Event::Key(KeyEvent::new(code, modifiers));
    assert!(is_enough(&key(KeyCode::Char('q'), KeyModifiers::NONE)));
    assert!(is_enough(&key(KeyCode::Esc, KeyModifiers::NONE)));
    assert!(is_enough(&key(KeyCode::Char('c'), KeyModifiers::CONTROL)));
    assert!(!is_enough(&key(KeyCode::Char('c'), KeyModifiers::NONE)));
    assert!(!is_enough(&Event::FocusGained));
}
