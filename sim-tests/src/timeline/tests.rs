//! Pictures of told lines, and of a real run.

use quorate_io_sim::world::{Shape, Wanted};

use super::*;
use crate::failure::{Found, check};
use crate::scenario::Members;

fn line(at: u64, node: Option<usize>, text: &str) -> Line {
    Line { at: at * 1_000, node, text: text.to_string() }
}

#[test]
fn a_message_is_an_arrow_from_where_it_left_to_where_it_arrived() {
    let lines = [
        line(0, Some(0), "= start as 1"),
        line(0, Some(1), "= start as 7"),
        line(5, Some(0), ">7 MsgVote t2 i3"),
        line(6, Some(0), ">7 MsgVote t2 i3"),
        line(9, Some(1), "<1 MsgVote t2 i3"),
        line(9, Some(1), "<3 MsgVote t2 i3"),
    ];
    let what = "MsgVote t2 i3".to_string();
    let arrow = |sent, arrived| Arrow { from: 0, to: Some(1), sent, arrived, what: what.clone() };
    assert_eq!(read::read(&lines).arrows, [arrow(5, Some(9)), arrow(6, None)]);
}

#[test]
fn a_batch_is_on_disk_when_it_or_a_later_one_is_and_a_crash_loses_it() {
    let lines = [
        line(0, Some(0), "= start as 1"),
        line(1, Some(0), ">write 1 -"),
        line(2, Some(0), ">sync 2 4..5@2"),
        line(3, Some(0), ">sync 3 6@2"),
        line(4, Some(0), "<persisted 2"),
        line(5, Some(0), "= stop Crash"),
        line(6, Some(0), "= start as 1"),
        line(7, Some(0), ">sync 1 6@3"),
        line(8, Some(0), "<persisted 1"),
    ];
    let picture = read::read(&lines);
    let ends = picture.machines[0].writes.iter().map(|write| (write.to, write.is_lost));
    let [early, late] = [(Some(4), false), (Some(8), false)];
    assert_eq!(ends.collect::<Vec<_>>(), [early, early, (Some(5), true), late]);
    assert_eq!(picture.machines[0].lives.len(), 3);
    assert_eq!(picture.machines[0].names, [(0, 1)]);
}

#[test]
fn a_clock_is_off_by_what_it_gains_and_by_how_long_it_stood_still() {
    let lines = [
        line(10, Some(0), "= clock 5000010000 +500"),
        line(1_000_010, Some(0), "= clock 6000510000 -20"),
        line(2_000_010, Some(0), "= clock 6900490000 -20"),
    ];
    let clock = &read::read(&lines).machines[0].clock;
    assert_eq!(clock, &[(10, 0, 500), (1_000_010, 500, -20), (2_000_010, -99_520, -20)]);
}

#[test]
fn a_watch_stream_lasts_until_it_is_closed_or_its_member_stops() {
    let lines = [
        line(1, Some(0), "<stream 4 opened"),
        line(2, Some(0), "<stream 4 Some(CreateRequest(..))"),
        line(3, Some(1), "<stream 4 opened"),
        line(4, Some(0), ">stream 4 revision: 7"),
        line(5, Some(0), "<stream 4 +1"),
        line(6, Some(0), "<stream 4 closed"),
        line(7, Some(1), "= stop Crash"),
    ];
    let stream = |machine, from, to, frames: &[(u64, &str)]| {
        let frames = frames.iter().map(|(at, what)| (*at, (*what).to_string())).collect();
        Stream { number: 4, machine, from, to: Some(to), frames }
    };
    let said = [(2, "< Some(CreateRequest(..))"), (4, "> revision: 7")];
    let (first, second) = (stream(0, 1, 6, &said), stream(1, 3, 7, &[]));
    assert_eq!(read::read(&lines).streams, [first, second]);
}

#[test]
fn a_call_knows_what_was_learned_and_at_which_revision() {
    let lines = [
        line(1, None, "c2 #9 Put(PutRequest { .. })"),
        line(
            4,
            None,
            "c2 #9 = Response(Put(PutResponse { header: { member_id: 2, revision: 12, ra..",
        ),
        line(5, None, "! heal"),
    ];
    let picture = read::read(&lines);
    let call = &picture.clients[2][0];
    assert_eq!((call.from, call.to, call.revision), (1, Some(4), Some(12)));
    assert_eq!(picture.healed, Some(5));
}

/// What a script element of the page holds.
fn data_of(page: &str) -> serde_json::Value {
    let start = page.find("const picture = ").expect("the page has its data") + 16;
    let end = start + page[start..].find(";\n").expect("and it ends");
    serde_json::from_str(&page[start..end].replace("<\\/", "</")).expect("as JSON")
}

#[test]
fn a_real_run_has_leaders_arrows_writes_and_answers() {
    let plan = Plan::draw(3, Shape { seconds: 5, ..Shape::R3 });
    let wanted = Wanted { lines: usize::MAX, ..Wanted::default() };
    let (report, failure) = check::<Members>(&plan, true, wanted.lines);
    assert!(failure.is_none(), "{failure:?}");
    let found = Found::Wrong;
    let text = "an objection with </script> in it".to_string();
    let told = Failure { seed: 3, found, oracle: "linear", text: text.clone() };
    let page = draw(&plan, &report.recording.lines, report.ended_at, Some(&told));
    assert!(page.len() < 5_000_000, "{}", page.len());
    let data = data_of(&page);
    assert_eq!(data["objection"], text);
    let count = |list: &serde_json::Value, is_it: &dyn Fn(&serde_json::Value) -> bool| {
        list.as_array().map_or(0, |items| items.iter().filter(|item| is_it(item)).count())
    };
    let leads = |machine: &serde_json::Value| count(&machine["roles"], &|role| role[3] == true);
    let machines = data["machines"].as_array().expect("lanes");
    assert!(machines.len() >= 3);
    assert!(machines.iter().map(leads).sum::<usize>() > 0, "somebody led");
    assert!(count(&data["arrows"], &|arrow| arrow["arrived"].is_u64()) > 100);
    assert!(count(&machines[0]["writes"], &|write| write["to"].is_u64()) > 10);
    let clients = data["clients"].as_array().expect("clients");
    let answers = |calls: &serde_json::Value| count(calls, &|call| call["revision"].is_u64());
    assert!(clients.iter().map(answers).sum::<usize>() > 50);
    assert_eq!(count(&data["faults"], &|_| true), plan.strikes.len());
    assert!(machines.iter().all(|machine| count(&machine["clock"], &|_| true) > 0));
    let frames = |stream: &serde_json::Value| count(&stream["frames"], &|_| true);
    assert!(count(&data["streams"], &|stream| frames(stream) > 1) > 0);
}
