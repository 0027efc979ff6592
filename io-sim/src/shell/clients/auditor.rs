//! Who looks at the whole after the healing: that all were served, what really happened, and that
//! nothing of a stream is left at any member when its client has gone.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use quorate_io_tokio::cli::Url;
use quorate_proto::etcdserverpb as pb;
use quorate_proto::etcdserverpb::watch_client::WatchClient;
use quorate_proto::etcdserverpb::watch_request::RequestUnion;
use quorate_proto::mvccpb::Event;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tokio_stream::wrappers::ReceiverStream;

use super::caller::{ANSWER_MAX, Caller, get, put};
use super::key;
use crate::shell::course::{Changes, Course, DUE};
use crate::shell::plan::MEMBERS;
use crate::shell::wires::{CLIENT_PORT, url};
use crate::world::observe::Outcome;

/// Larger than a page of metrics.
const PAGE_BYTES_MAX: usize = 4 << 20;
/// What must be zero when all clients have gone.
const GAUGES: [&str; 2] =
    ["etcd_debugging_mvcc_watcher_total", "etcd_debugging_mvcc_watch_stream_total"];
/// Of these counts of calls each has its end.
const CALLS: [&str; 2] = ["grpc_server_started_total", "grpc_server_handled_total"];

/// Audits; the run is over with it.
pub(in crate::shell) async fn audit(course: Rc<Course>, number: u32) -> turmoil::Result {
    let mut auditor = Auditor { caller: Caller::new(&course, number) };
    course.until(Course::is_healed).await;
    course.until(|course| course.at_work.get() == 0).await;
    match auditor.write_last().await {
        Some(revision) => course.last_revision.set(Some(revision)),
        None => {
            course.witness.miss("nobody takes the last write".to_owned());
            return Ok(());
        }
    }
    course.until(|course| course.watching.get() == 0).await;
    if timeout(DUE, auditor.learn_changes()).await.is_err() {
        course.witness.miss("nobody tells all changes".to_owned());
    }
    auditor.caller.hang_up();
    for place in 0..MEMBERS {
        let mut left = String::new();
        let looking = async {
            while let Some(found) = auditor.find_left(place).await {
                left = found;
                sleep(Duration::from_millis(200)).await;
            }
        };
        if timeout(DUE, looking).await.is_err() {
            course.witness.miss(format!("all have gone, and member {place} has: {left}"));
        }
    }
    Ok(())
}

struct Auditor {
    caller: Caller,
}

impl Auditor {
    /// A write after all others; its revision.
    async fn write_last(&mut self) -> Option<i64> {
        let writing = async {
            loop {
                let last = put(key("last"), "last", 0);
                if self.caller.call(last, ANSWER_MAX).await != Outcome::Unknown {
                    let read = self.caller.call(get(key("last")), ANSWER_MAX).await;
                    if let Outcome::Range(pb::RangeResponse { kvs, .. }) = read {
                        return kvs.first().map(|kv| kv.mod_revision);
                    }
                }
                self.caller.hang_up();
                sleep(Duration::from_millis(50)).await;
            }
        };
        timeout(DUE, writing).await.ok().flatten()
    }

    /// Has all changes told up to now.
    async fn learn_changes(&mut self) {
        loop {
            let now = self.caller.call(get(key("last")), ANSWER_MAX).await;
            if let Outcome::Range(pb::RangeResponse { header: Some(header), .. }) = now
                && let Some(changes) = self.read_changes(header.revision).await
            {
                self.caller.course.changes.replace(changes);
                return;
            }
            self.caller.hang_up();
            sleep(Duration::from_millis(50)).await;
        }
    }

    async fn read_changes(&mut self, until: i64) -> Option<Vec<Changes>> {
        let (_, channel) = self.caller.connect().await?;
        let (requests, sent) = mpsc::channel(1);
        let everything = pb::WatchCreateRequest {
            key: Bytes::from_static(&[0]),
            range_end: Bytes::from_static(&[0]),
            start_revision: 1,
            ..Default::default()
        };
        let create = Some(RequestUnion::CreateRequest(everything));
        requests.try_send(pb::WatchRequest { request_union: create }).ok()?;
        let mut client = WatchClient::new(channel);
        let mut frames = client.watch(ReceiverStream::new(sent)).await.ok()?.into_inner();
        let mut changes: BTreeMap<i64, Vec<Event>> = BTreeMap::new();
        while changes.last_key_value().is_none_or(|(last, _)| *last < until) {
            let frame = frames.message().await.ok().flatten()?;
            for event in frame.events {
                let revision = event.kv.as_ref().map_or(0, |kv| kv.mod_revision);
                changes.entry(revision).or_default().push(event);
            }
        }
        let changes = changes.into_iter().take_while(|(revision, _)| *revision <= until);
        Some(changes.map(|(revision, events)| Changes { revision, events }).collect())
    }

    /// What a member still has of streams and calls, if anything.
    async fn find_left(&self, place: u64) -> Option<String> {
        let course = &self.caller.course;
        let url = url(course.plan.is_secure, place, CLIENT_PORT);
        let Ok(url) = Url::parse(&url) else { return Some("no URL".to_owned()) };
        match course.dialer.get(&url, "/metrics", PAGE_BYTES_MAX).await {
            Ok(page) => judge(&String::from_utf8_lossy(page.body())),
            Err(why) => Some(why),
        }
    }
}

/// What a page of metrics says is left.
fn judge(page: &str) -> Option<String> {
    let mut open: BTreeMap<&str, i64> = BTreeMap::new();
    for line in page.lines() {
        let Some((name, value)) = line.rsplit_once(' ') else { continue };
        let value = value.parse::<i64>().unwrap_or_default();
        let (family, labels) = name.split_once('{').unwrap_or((name, ""));
        if GAUGES.contains(&family) && value != 0 {
            return Some(line.to_owned());
        }
        let method = labels.split_once("grpc_method=").map_or("", |(_, rest)| rest);
        let method = method.trim_start_matches('"').split('"').next().unwrap_or_default();
        match CALLS.iter().position(|of| *of == family) {
            Some(0) => *open.entry(method).or_default() += value,
            Some(_) => *open.entry(method).or_default() -= value,
            None => {}
        }
    }
    let left = open.into_iter().find(|(_, count)| *count != 0);
    left.map(|(method, count)| format!("{count} calls of {method}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_tells_what_is_left() {
        let line = |family: &str, method: &str, code: &str, count: u8| {
            let labels = "grpc_type=\"unary\",grpc_service=\"s\",grpc_method=";
            format!("{family}{{{labels}\"{method}\"{code}}} {count}\n")
        };
        let [started, handled] = CALLS;
        let mut page = format!("# HELP\n{} 0\n", GAUGES[0]);
        page += &line(started, "Put", "", 3);
        page += &line(handled, "Put", ",grpc_code=\"OK\"", 2);
        assert_eq!(judge(&page).as_deref(), Some("1 calls of Put"));
        page += &line(handled, "Put", ",grpc_code=\"Canceled\"", 1);
        assert_eq!(judge(&page), None);
        page += &format!("{} 2\n", GAUGES[1]);
        assert_eq!(judge(&page), Some(format!("{} 2", GAUGES[1])));
    }
}
