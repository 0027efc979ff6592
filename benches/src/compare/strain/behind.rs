//! A watcher that begins far behind and reads as fast as it can, over and over.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::Bytes;
use quorate_proto::etcdserverpb::watch_client::WatchClient;
use quorate_proto::etcdserverpb::watch_request::RequestUnion;
use quorate_proto::etcdserverpb::{WatchCreateRequest, WatchRequest, WatchResponse};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use super::beside;
use super::puts::{Turns, fill, paced};
use crate::Outcome;
use crate::cli::StrainArgs;
use crate::dial::Connection;
use crate::servers::Group;

/// A watch of everything since the first revision, and its requests' end, which must stay open.
pub(super) struct Watching {
    pub(super) answers: Streaming<WatchResponse>,
    _requests: mpsc::Sender<WatchRequest>,
}

/// Begins a watch of everything since the first revision.
pub(super) async fn watch_all(connection: Connection) -> Outcome<Watching> {
    let create = WatchCreateRequest {
        key: Bytes::from_static(b"\0"),
        range_end: Bytes::from_static(b"\0"),
        start_revision: 1,
        ..WatchCreateRequest::default()
    };
    let (requests, outgoing) = mpsc::channel(1);
    let request_union = Some(RequestUnion::CreateRequest(create));
    requests.send(WatchRequest { request_union }).await?;
    let origin = connection.origin.clone();
    let client = WatchClient::with_origin(connection, origin);
    let mut client = client.max_decoding_message_size(1 << 30);
    let answers = client.watch(ReceiverStream::new(outgoing)).await?.into_inner();
    Ok(Watching { answers, _requests: requests })
}

pub(super) fn run(group: &Group, args: &StrainArgs) -> Outcome<Vec<String>> {
    let addrs = &group.client_addrs;
    fill(addrs, args.revisions)?;
    let events = AtomicU64::new(0);
    let lag = async |is_over: &AtomicBool| {
        let connection = Connection::open(addrs[0]).await?;
        while !is_over.load(Ordering::Relaxed) {
            let mut watching = watch_all(connection.clone()).await?;
            let mut seen = 0;
            while seen < args.revisions && !is_over.load(Ordering::Relaxed) {
                let Some(answer) = watching.answers.message().await? else { break };
                seen += answer.events.len() as u64;
            }
            events.fetch_add(seen, Ordering::Relaxed);
        }
        Ok(())
    };
    let turns = Turns::take(
        args.rounds,
        || paced(addrs, args.window()),
        || beside(lag, || paced(addrs, args.window())),
    )?;
    let seconds = args.window().as_secs_f64() * f64::from(args.rounds);
    let shown = events.load(Ordering::Relaxed) as f64 / seconds;
    let what = format!("{} revisions behind", args.revisions);
    Ok(vec![format!("{}   {shown:.0} events/s shown", turns.tell(&what))])
}
