//! Who watches.

use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use quorate_proto::etcdserverpb as pb;
use quorate_proto::etcdserverpb::watch_client::WatchClient;
use quorate_proto::etcdserverpb::watch_request::RequestUnion;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tokio_stream::wrappers::ReceiverStream;

use super::caller::{ANSWER_MAX, Caller};
use super::{KEYS, KEYS_END};
use crate::shell::course::{Course, DUE, leave};

/// A watcher that hears nothing for so long looks for another member.
const SILENCE_MAX: Duration = Duration::from_secs(5);
/// The longest pause in which a slow watcher does not read, in milliseconds.
const PAUSE_MS_MAX: u64 = 6_000;
/// Messages on their way out.
const REQUESTS_MAX: usize = 4;

/// Watches all keys over every break, until it has seen what is to be seen.
pub(in crate::shell) async fn follow(
    course: Rc<Course>,
    number: u32,
    is_slow: bool,
) -> turmoil::Result {
    let mut watcher = Watcher { caller: Caller::new(&course, number), next: 1, is_slow };
    while !course.is_healed() {
        watcher.watch_once().await;
        sleep(Duration::from_millis(20)).await;
    }
    course.until(|course| course.last_revision.get().is_some()).await;
    let catching_up = async {
        while !watcher.has_seen_all() {
            watcher.watch_once().await;
            sleep(Duration::from_millis(20)).await;
        }
    };
    if timeout(DUE, catching_up).await.is_err() {
        course.witness.miss(format!("watcher {number} waits for revision {}", watcher.next));
    }
    leave(&course.watching);
    Ok(())
}

struct Watcher {
    caller: Caller,
    /// Where the next watch begins.
    next: i64,
    is_slow: bool,
}

impl Watcher {
    fn has_seen_all(&self) -> bool {
        self.caller.course.last_revision.get().is_some_and(|last| last < self.next)
    }

    /// One stream, until it breaks or there is nothing more to see. What it has not told by then
    /// the next one will.
    async fn watch_once(&mut self) {
        let Some((member, channel)) = self.caller.connect().await else { return };
        let (requests, sent) = mpsc::channel(REQUESTS_MAX);
        let (witness, client) = (self.caller.course.witness.clone(), self.caller.id);
        let stream = witness.open_stream(client, member);
        let create = self.create();
        witness.sent(client, stream, &create);
        if requests.try_send(create).is_ok() {
            let mut client_of_watch = WatchClient::new(channel);
            let opening = client_of_watch.watch(ReceiverStream::new(sent));
            if let Ok(Ok(opened)) = timeout(ANSWER_MAX, opening).await {
                self.read(stream, opened.into_inner()).await;
            }
        }
        witness.end_stream(client, stream);
        if self.caller.luck.below(2) == 0 || self.caller.course.is_healed() {
            self.caller.hang_up();
        }
    }

    async fn read(
        &mut self,
        stream: quorate_core::ids::StreamId,
        mut frames: tonic::Streaming<pb::WatchResponse>,
    ) {
        let (witness, client) = (self.caller.course.witness.clone(), self.caller.id);
        while !self.has_seen_all() {
            self.pause().await;
            let Ok(Ok(Some(frame))) = timeout(SILENCE_MAX, frames.message()).await else { return };
            witness.received(client, stream, &frame);
            if frame.canceled {
                return;
            }
            if let Some(last) = frame.events.iter().filter_map(|event| event.kv.as_ref()).last() {
                // The rest of a revision comes again to who leaves between its fragments.
                self.next = last.mod_revision + i64::from(!frame.fragment);
            }
            // Some go in the middle of what there is to hear.
            if !self.caller.course.is_healed() && self.caller.luck.below(60) == 0 {
                return;
            }
        }
    }

    async fn pause(&mut self) {
        if self.is_slow && !self.caller.course.is_healed() && self.caller.luck.below(8) == 0 {
            self.caller.course.witness.count("pauses of watchers");
            let rest_ms = self.caller.luck.below(PAUSE_MS_MAX);
            sleep(Duration::from_millis(rest_ms)).await;
        }
    }

    fn create(&mut self) -> pb::WatchRequest {
        let create = pb::WatchCreateRequest {
            key: Bytes::from_static(KEYS),
            range_end: Bytes::from_static(KEYS_END),
            start_revision: self.next,
            prev_kv: self.caller.luck.below(2) == 0,
            fragment: self.caller.luck.below(2) == 0,
            progress_notify: self.caller.luck.below(2) == 0,
            ..Default::default()
        };
        pb::WatchRequest { request_union: Some(RequestUnion::CreateRequest(create)) }
    }
}
