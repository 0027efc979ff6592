//! `make-mirror`: keys copied to another cluster, and changed there as they change here.

use std::ffi::OsString;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use quorate_proto::etcdserverpb::request_op::Request;
use quorate_proto::etcdserverpb::{
    DeleteRangeRequest, PutRequest, RangeRequest, RequestOp, TxnRequest, WatchCreateRequest,
    WatchResponse,
};
use quorate_proto::mvccpb::Event;
use quorate_proto::mvccpb::event::EventType;

use super::Session;
use super::changes::{Asking, Changes};
use super::client::{Client, Identity, Line, Repeat};
use super::get::prefix_range;
use super::way::Secure;
use crate::tool::{self, Failure};

/// How many keys are copied at once at first.
const PAGE_KEYS: i64 = 1_000;
/// How often it is told how many keys were copied.
const COUNT_INTERVAL: Duration = Duration::from_secs(30);

/// What to mirror, and where to.
#[derive(Args, Debug)]
pub(super) struct Words {
    /// only keys that begin with this
    #[arg(long, default_value = "")]
    prefix: String,
    /// only changes from this revision on
    #[arg(long, default_value_t = 0)]
    rev: i64,
    /// how many changes are made at once
    #[arg(long, default_value_t = 128)]
    max_txn_ops: u64,
    /// what keys begin with there, in place of --prefix
    #[arg(long, default_value = "")]
    dest_prefix: String,
    /// leave --prefix away there
    #[arg(long)]
    no_dest_prefix: bool,
    /// this client's certificate there, a file
    #[arg(long, default_value = "")]
    dest_cert: String,
    /// this client's private key there, a file
    #[arg(long, default_value = "")]
    dest_key: String,
    /// certificates that servers there are verified with, a file
    #[arg(long, default_value = "")]
    dest_cacert: String,
    /// do not encrypt what goes there
    #[arg(long, default_value_t = true)]
    dest_insecure_transport: bool,
    /// name[:password] to be known by there; asks for the password if there is none
    #[arg(long, default_value = "")]
    dest_user: String,
    /// password there, if --dest-user does not have it
    #[arg(long, default_value = "")]
    dest_password: String,
    #[arg(value_name = "[options] <destination>")]
    words: Vec<OsString>,
}

/// Does it, until something is wrong.
pub(super) async fn mirror(words: Words, session: &Session) -> Result<(), Failure> {
    let [destination] = words.words.as_slice() else {
        return Err(Failure::words("make-mirror takes one destination argument"));
    };
    let destination = destination.to_string_lossy().into_owned();
    let secure = Secure {
        cert: words.dest_cert.clone(),
        key: words.dest_key.clone(),
        cacert: words.dest_cacert.clone(),
        insecure_transport: words.dest_insecure_transport,
        ..Secure::default()
    };
    let identity =
        Identity::asked(&words.dest_user, &words.dest_password, "Destination Password: ")?;
    let reach = &session.globals.reach;
    let way = reach.way_secured(&secure)?;
    let to = Client::open(way, &[destination], identity, reach.limits()).await?;
    let from = session.client().await?;
    if words.no_dest_prefix && !words.dest_prefix.is_empty() {
        return Err(Failure::words(
            "`--dest-prefix` and `--no-dest-prefix` cannot be set at the same time, choose one",
        ));
    }
    let mirror = Mirror { words, from, to, copied: AtomicI64::new(0) };
    tokio::select! {
        biased;
        ended = mirror.run() => ended,
        ended = mirror.count() => ended,
    }
}

struct Mirror {
    words: Words,
    from: Client,
    to: Client,
    copied: AtomicI64,
}

impl Mirror {
    async fn count(&self) -> Result<(), Failure> {
        loop {
            tokio::time::sleep(COUNT_INTERVAL).await;
            tool::print(format!("{}\n", self.copied.load(Ordering::Relaxed)).as_bytes())?;
        }
    }

    async fn run(&self) -> Result<(), Failure> {
        let start_revision = match self.words.rev {
            ..=1 => self.copy_all().await? + 1,
            revision => revision,
        };
        let (key, range_end) = prefix_range(self.words.prefix.clone().into_bytes().into());
        let create = WatchCreateRequest { key, range_end, start_revision, ..Default::default() };
        let mut changes = Changes::new(&self.from, create, Asking::default());
        loop {
            let answer = changes.next().await?;
            if answer.compact_revision != 0 {
                let text = "etcdserver: mvcc: required revision has been compacted";
                return Err(Failure::new(text));
            }
            if answer.canceled {
                return Err(Failure::new(answer.cancel_reason));
            }
            self.follow(&answer).await?;
        }
    }

    /// Copies what is there; as of which revision.
    async fn copy_all(&self) -> Result<i64, Failure> {
        let (mut key, range_end) = prefix_range(self.words.prefix.clone().into_bytes().into());
        let mut revision = 0;
        loop {
            let request = RangeRequest {
                key: key.clone(),
                range_end: range_end.clone(),
                limit: PAGE_KEYS,
                revision,
                ..RangeRequest::default()
            };
            let asked = async |line: Line| line.kv().range(request.clone()).await;
            let page = self.from.call(None, Repeat::IfLost, asked).await?;
            if revision == 0 {
                revision = page.header.as_ref().map_or(0, |header| header.revision);
            }
            for kv in &page.kvs {
                let key = self.renamed(&kv.key);
                let request = PutRequest { key, value: kv.value.clone(), ..PutRequest::default() };
                let asked = async |line: Line| line.kv().put(request.clone()).await;
                self.to.call(None, Repeat::Never, asked).await?;
                self.copied.fetch_add(1, Ordering::Relaxed);
            }
            match page.kvs.last() {
                Some(last) if page.more => key = [&last.key[..], b"\0"].concat().into(),
                _ => return Ok(revision),
            }
        }
    }

    /// Changes of one revision are made together, as far as they may be.
    async fn follow(&self, answer: &WatchResponse) -> Result<(), Failure> {
        let revision = |event: &Event| event.kv.as_ref().map_or(0, |kv| kv.mod_revision);
        let at_once = usize::try_from(self.words.max_txn_ops).unwrap_or(usize::MAX).max(1);
        for events in answer.events.chunk_by(|one, next| revision(one) == revision(next)) {
            for events in events.chunks(at_once) {
                let success = events.iter().map(|event| self.change(event)).collect();
                let request = TxnRequest { success, ..TxnRequest::default() };
                let asked = async |line: Line| line.kv().txn(request.clone()).await;
                self.to.call(None, Repeat::Never, asked).await?;
                let count = i64::try_from(events.len()).unwrap_or(i64::MAX);
                self.copied.fetch_add(count, Ordering::Relaxed);
            }
        }
        Ok(())
    }

    fn change(&self, event: &Event) -> RequestOp {
        let kv = event.kv.clone().unwrap_or_default();
        let key = self.renamed(&kv.key);
        let request = if event.r#type == EventType::Delete as i32 {
            Request::RequestDeleteRange(DeleteRangeRequest { key, ..Default::default() })
        } else {
            Request::RequestPut(PutRequest { key, value: kv.value, ..Default::default() })
        };
        RequestOp { request: Some(request) }
    }

    /// What a key is called there.
    fn renamed(&self, key: &Bytes) -> Bytes {
        let Words { prefix, dest_prefix, no_dest_prefix, .. } = &self.words;
        if dest_prefix.is_empty() && !no_dest_prefix {
            return key.clone();
        }
        let rest = key.strip_prefix(prefix.as_bytes()).unwrap_or(key);
        [dest_prefix.as_bytes(), rest].concat().into()
    }
}
