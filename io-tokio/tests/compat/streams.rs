//! The watch streams of one server: what was sent, and all that came back, sorted by what has an
//! order.
//!
//! etcd keeps three orders on a stream and no other: answers to requests among themselves, the
//! responses of one watch, and progress behind the events it speaks of.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use prost::Message as _;
use quorate_proto::etcdserverpb as pb;
use quorate_proto::etcdserverpb::watch_client::WatchClient;
use quorate_proto::etcdserverpb::watch_request::RequestUnion;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;

use super::compare::level_header;

/// A watch of a stream: its id, and how many watches had that id before.
pub(crate) type WatchName = (i64, usize);

/// Less than any server keeps for a stream whose client is slow.
const FLOOD_BYTES: usize = 256 << 10;

/// What came back on one stream.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Heard {
    /// Answers to creates and cancels.
    pub(crate) answers: Vec<pb::WatchResponse>,
    /// What each watch was told after its creation.
    pub(crate) watches: BTreeMap<WatchName, Vec<pb::WatchResponse>>,
    /// Progress of the whole stream.
    pub(crate) progress: Vec<pb::WatchResponse>,
    /// How the stream ended, if it did.
    pub(crate) end: Option<(tonic::Code, String)>,
    /// Creations by id.
    created: BTreeMap<i64, usize>,
}

impl Heard {
    fn take_in(&mut self, mut response: pb::WatchResponse) {
        response.header.iter_mut().for_each(level_header);
        let id = response.watch_id;
        let is_answer = response.created || (response.canceled && response.compact_revision == 0);
        if is_answer {
            if response.created && !response.canceled {
                *self.created.entry(id).or_default() += 1;
            }
            self.answers.push(response);
        } else if id == -1 && response.events.is_empty() && !response.canceled {
            self.progress.push(response);
        } else {
            let before = self.created.get(&id).copied().unwrap_or_default();
            self.watches.entry((id, before)).or_default().push(response);
        }
    }

    /// Ids in use, as far as the answers tell.
    pub(crate) fn live(&self) -> Vec<i64> {
        let mut live = Vec::new();
        for answer in &self.answers {
            match (answer.created, answer.canceled) {
                (true, false) => live.push(answer.watch_id),
                (false, true) => live.retain(|id| *id != answer.watch_id),
                _ => {}
            }
        }
        live
    }

    /// The watch created last, if the last answer is about a creation that went well.
    pub(crate) fn newest(&self) -> Option<WatchName> {
        let answer = self.answers.last().filter(|answer| answer.created && !answer.canceled)?;
        let id = answer.watch_id;
        Some((id, self.created.get(&id).copied().unwrap_or_default()))
    }

    /// Takes out progress that `judge` was never told, so many times at most.
    pub(crate) fn forgive_late_progress(&mut self, judge: &Self, times_max: usize) {
        let mut expected = judge.progress.iter().peekable();
        let mut left = times_max;
        self.progress.retain(|told| {
            let is_expected = expected.next_if(|next| *next == told).is_some();
            let is_kept = is_expected || left == 0;
            left -= usize::from(!is_kept);
            is_kept
        });
    }

    /// Whether so much was told that a watch may have fallen behind meanwhile, and be told the
    /// rest from history.
    pub(crate) fn is_flooded(&self) -> bool {
        let told = self.watches.values().flatten();
        told.map(pb::WatchResponse::encoded_len).sum::<usize>() >= FLOOD_BYTES
    }

    /// How many events there were.
    pub(crate) fn events(&self) -> usize {
        self.watches.values().flatten().map(|response| response.events.len()).sum()
    }

    /// Whether a watch with this id was told of a change at `revision`.
    pub(crate) fn has_event(&self, id: i64, revision: i64) -> bool {
        let mut told = self.watches.range((id, 0)..=(id, usize::MAX)).flat_map(|(_, told)| told);
        told.any(|response| response.events.iter().any(|event| at(event) == revision))
    }
}

/// The revision of an event.
pub(crate) fn at(event: &quorate_proto::mvccpb::Event) -> i64 {
    event.kv.as_ref().map_or(0, |kv| kv.mod_revision)
}

/// One open stream.
struct Stream {
    requests: mpsc::Sender<pb::WatchRequest>,
    heard: Arc<Mutex<Heard>>,
    listening: AbortHandle,
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

/// All streams of one server, by the script's numbers.
#[derive(Default)]
pub(crate) struct Streams {
    open: BTreeMap<u64, Stream>,
}

impl Streams {
    pub(crate) fn open(&mut self, number: u64, channel: Channel) {
        let (requests, outgoing) = mpsc::channel(16);
        let heard = Arc::new(Mutex::new(Heard::default()));
        let ear = Arc::clone(&heard);
        let listening = tokio::spawn(async move {
            let end = listen(channel, outgoing, &ear).await.err();
            let end = end.unwrap_or_else(|| tonic::Status::ok("the stream ended"));
            lock(&ear).end = Some((end.code(), end.message().to_string()));
        });
        let listening = listening.abort_handle();
        self.open.insert(number, Stream { requests, heard, listening });
    }

    pub(crate) async fn send(&self, number: u64, request_union: Option<RequestUnion>) {
        if let Some(stream) = self.open.get(&number) {
            // If the stream has ended, what was heard says so.
            let _ = stream.requests.send(pb::WatchRequest { request_union }).await;
        }
    }

    pub(crate) fn close(&mut self, number: u64) {
        self.open.remove(&number);
    }

    pub(crate) fn numbers(&self) -> Vec<u64> {
        self.open.keys().copied().collect()
    }

    /// All that was heard on a stream until now.
    pub(crate) fn heard(&self, number: u64) -> Heard {
        self.open.get(&number).map(|stream| lock(&stream.heard).clone()).unwrap_or_default()
    }

    /// A look at what was heard, without copying it.
    pub(crate) fn look<T>(&self, number: u64, look: impl FnOnce(&Heard) -> T) -> Option<T> {
        self.open.get(&number).map(|stream| look(&lock(&stream.heard)))
    }
}

fn lock(heard: &Mutex<Heard>) -> std::sync::MutexGuard<'_, Heard> {
    heard.lock().expect("nobody panics while holding it")
}

async fn listen(
    channel: Channel,
    outgoing: mpsc::Receiver<pb::WatchRequest>,
    heard: &Mutex<Heard>,
) -> Result<(), tonic::Status> {
    let mut client = WatchClient::new(channel).max_decoding_message_size(usize::MAX);
    let mut answers = client.watch(ReceiverStream::new(outgoing)).await?.into_inner();
    while let Some(answer) = answers.message().await? {
        lock(heard).take_in(answer);
    }
    Ok(())
}
