//! Locks and elections on the client port, in front of a scripted member.
#![allow(clippy::unwrap_used)]

mod front_fake;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use front_fake::{Call, Fake, Served, leading, loopback, serve, view_of};
use quorate_core::error::Refusal;
use quorate_core::ids::{LeaseId, StreamId};
use quorate_core::mvcc::Mvcc;
use quorate_core::storage::Rows;
use quorate_core::{Request, Response, View};
use quorate_io_tokio::http::Surface;
use quorate_proto::etcdserverpb as pb;
use quorate_proto::etcdserverpb::response_op::Response as OpResponse;
use quorate_proto::etcdserverpb::watch_request::RequestUnion;
use quorate_proto::mvccpb::{Event, KeyValue, event::EventType};
use quorate_proto::v3electionpb as epb;
use quorate_proto::v3electionpb::election_client::ElectionClient;
use quorate_proto::v3lockpb as lpb;
use quorate_proto::v3lockpb::lock_client::LockClient;
use tokio::sync::{mpsc, oneshot};
use tonic::transport::Channel;
use tonic::{Code, Status};

fn served(fake: &Fake) -> Served {
    serve(loopback(), fake.services(), fake.pages(Surface::Client))
}

async fn dial(served: &Served) -> Channel {
    Channel::from_shared(served.url()).unwrap().connect().await.unwrap()
}

type Locking = tokio::task::JoinHandle<Result<lpb::LockResponse, Status>>;

async fn lock(served: &Served, lease: i64) -> Locking {
    let mut client = LockClient::new(dial(served).await);
    let request = lpb::LockRequest { name: "n".into(), lease };
    tokio::spawn(async move { Ok(client.lock(request).await?.into_inner()) })
}

/// What a key's place in line looks like in the store: created at revision 2 and on, in order.
fn view_with(keys: &[&'static str]) -> View {
    let mut store = Mvcc::open(Arc::new(Rows::default())).unwrap();
    for key in keys {
        let mut writer = store.writer();
        writer.put(&Bytes::from_static(key.as_bytes()), &Bytes::new(), LeaseId(1));
        drop(writer.finish());
    }
    View::new(store.view(), leading())
}

type Way<T> = oneshot::Sender<Result<T, Refusal>>;

async fn next_txn(fake: &mut Fake) -> (pb::TxnRequest, Way<Response>) {
    let call = tokio::time::timeout(Duration::from_secs(5), fake.calls.recv()).await;
    let Ok(Some(Call::Request(Request::Txn(txn), answer))) = call else { panic!("{call:?}") };
    (txn, answer)
}

async fn next_read(fake: &mut Fake) -> Way<()> {
    let Some(Call::Read(answer)) = fake.calls.recv().await else { panic!() };
    answer
}

/// The stream a watch was opened on, what is watched, and where its frames go.
async fn next_watch(
    fake: &mut Fake,
) -> (StreamId, pb::WatchCreateRequest, mpsc::Sender<pb::WatchResponse>) {
    let Some(Call::Open(stream, _, frames)) = fake.calls.recv().await else { panic!() };
    let Some(Call::Watch(on, message)) = fake.calls.recv().await else { panic!() };
    assert_eq!(on, stream);
    let Some(RequestUnion::CreateRequest(create)) = message.request_union else { panic!() };
    (stream, create, frames)
}

fn header(revision: i64) -> Option<pb::ResponseHeader> {
    Some(pb::ResponseHeader { revision, ..pb::ResponseHeader::default() })
}

/// The answer to whoever entered the line at a revision, behind what was created at another.
fn entered(at: i64, oldest: i64) -> Response {
    let put = OpResponse::ResponsePut(pb::PutResponse::default());
    let kvs = vec![KeyValue { create_revision: oldest, ..KeyValue::default() }];
    let range = OpResponse::ResponseRange(pb::RangeResponse { kvs, ..Default::default() });
    let responses = [put, range].map(|it| pb::ResponseOp { response: Some(it) });
    let (header, responses) = (header(at), responses.to_vec());
    Response::Txn(pb::TxnResponse { header, succeeded: true, responses })
}

/// Asserts that a transaction takes back the key created at a revision.
fn assert_takes_back(txn: &pb::TxnRequest, key: &'static str, rev: i64) {
    use pb::compare::TargetUnion::CreateRevision;
    use pb::request_op::Request::RequestDeleteRange;
    let guard = &txn.compare[0];
    assert_eq!((&guard.key[..], &guard.target_union), (key.as_bytes(), &Some(CreateRevision(rev))));
    let Some(RequestDeleteRange(delete)) = &txn.success[0].request else { panic!("{txn:?}") };
    assert_eq!((&delete.key[..], delete.range_end.len()), (key.as_bytes(), 0));
}

fn put_event(value: &'static str, mod_revision: i64) -> Event {
    let (key, value) = ("n/a".into(), value.into());
    let kv = KeyValue { key, value, mod_revision, create_revision: 2, ..KeyValue::default() };
    Event { kv: Some(kv), ..Event::default() }
}

fn delete_event() -> Event {
    Event { r#type: EventType::Delete.into(), ..put_event("", 9) }
}

/// A lock on the way, which waits for the key before its own.
async fn waiting(
    fake: &mut Fake,
    served: &Served,
) -> (Locking, StreamId, mpsc::Sender<pb::WatchResponse>) {
    fake.published.store(view_with(&["n/5", "n/7"]).into());
    let call = lock(served, 7).await;
    next_txn(fake).await.1.send(Ok(entered(3, 2))).unwrap();
    next_read(fake).await.send(Ok(())).unwrap();
    let (stream, create, frames) = next_watch(fake).await;
    assert_eq!((&create.key[..], create.start_revision), (b"n/5".as_slice(), 4));
    frames.send(pb::WatchResponse { created: true, ..Default::default() }).await.unwrap();
    (call, stream, frames)
}

#[tokio::test]
async fn a_lock_is_granted_or_not_when_the_one_before_it_is_gone() {
    let mut fake = Fake::new(leading());
    let served = served(&fake);
    let gone = pb::WatchResponse { events: vec![delete_event()], ..Default::default() };

    let (call, stream, frames) = waiting(&mut fake, &served).await;
    frames.send(gone.clone()).await.unwrap();
    // The key created at 2 is not among these any more.
    fake.published.store(view_with(&["other", "n/7"]).into());
    next_read(&mut fake).await.send(Ok(())).unwrap();
    let held = call.await.unwrap().unwrap();
    assert_eq!((&held.key[..], held.header.unwrap().revision), (b"n/7".as_slice(), 3));
    let Some(Call::Close(closed)) = fake.calls.recv().await else { panic!() };
    assert_eq!(closed, stream);

    let (call, _, frames) = waiting(&mut fake, &served).await;
    frames.send(gone).await.unwrap();
    fake.published.store(view_with(&["other"]).into());
    next_read(&mut fake).await.send(Ok(())).unwrap();
    let status = call.await.unwrap().unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::Unknown, "mutex: session is expired"));
}

#[tokio::test]
async fn a_client_that_leaves_while_waiting_has_its_key_taken_back() {
    let mut fake = Fake::new(leading());
    let served = served(&fake);
    let (call, stream, _frames) = waiting(&mut fake, &served).await;
    call.abort();
    let (txn, answer) = next_txn(&mut fake).await;
    assert_takes_back(&txn, "n/7", 3);
    answer.send(Err(Refusal::NoLeader)).unwrap();
    let Some(Call::Close(closed)) = fake.calls.recv().await else { panic!() };
    assert_eq!(closed, stream);
}

#[tokio::test]
async fn a_client_that_leaves_while_its_key_is_on_its_way_has_it_taken_back() {
    let mut fake = Fake::new(leading());
    let served = served(&fake);
    let call = lock(&served, 7).await;
    let (_, answer) = next_txn(&mut fake).await;
    call.abort();
    tokio::time::sleep(Duration::from_millis(50)).await;
    // Only now is it known that there is something to take back.
    answer.send(Ok(entered(3, 2))).unwrap();
    let (txn, _answer) = next_txn(&mut fake).await;
    assert_takes_back(&txn, "n/7", 3);
}

#[tokio::test]
async fn what_a_recipe_is_refused_is_told_in_words_only() {
    let mut fake = Fake::new(leading());
    let served = served(&fake);
    for refusal in [Refusal::LeaseNotFound, Refusal::LeaderChanged, Refusal::PermissionDenied] {
        let call = lock(&served, 7).await;
        next_txn(&mut fake).await.1.send(Err(refusal)).unwrap();
        let status = call.await.unwrap().unwrap_err();
        let (_, text) = quorate_io_tokio::grpc::status::code_and_text(refusal);
        assert_eq!((status.code(), status.message()), (Code::Unknown, text));
    }
    let mut client = ElectionClient::new(dial(&served).await);
    let missing = (Code::Unknown, "\"leader\" field must be provided");
    let status = client.resign(epb::ResignRequest::default()).await.unwrap_err();
    assert_eq!((status.code(), status.message()), missing);
    let status = client.proclaim(epb::ProclaimRequest::default()).await.unwrap_err();
    assert_eq!((status.code(), status.message()), missing);
}

#[tokio::test]
async fn the_gate_stands_before_locks_and_elections() {
    let mut facts = leading();
    facts.role.leader = None;
    let fake = Fake::new(facts);
    let served = served(&fake);
    let mut request = tonic::Request::new(lpb::LockRequest::default());
    request.metadata_mut().insert("hasleader", "true".parse().unwrap());
    let status = LockClient::new(dial(&served).await).lock(request).await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::Unavailable, "etcdserver: no leader"));

    let mut request = tonic::Request::new(epb::LeaderRequest { name: "n".into() });
    request.metadata_mut().insert("hasleader", "true".parse().unwrap());
    fake.publish(leading()).await;
    let mut client = ElectionClient::new(dial(&served).await);
    let mut news = client.observe(request).await.unwrap().into_inner();
    let mut facts = leading();
    facts.role.leader = None;
    fake.publish(facts).await;
    let status = news.message().await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::Unavailable, "etcdserver: no leader"));
}

#[tokio::test]
async fn an_observer_outlives_what_time_heals_and_is_counted() {
    let mut fake = Fake::new(leading());
    let metrics = fake.metrics.clone();
    fake.published.store(view_with(&["n/a"]).into());
    let served = served(&fake);
    let mut client = ElectionClient::new(dial(&served).await);
    let request = epb::LeaderRequest { name: "n".into() };
    let mut news = client.observe(request).await.unwrap().into_inner();
    next_read(&mut fake).await.send(Err(Refusal::LeaderChanged)).unwrap();
    next_read(&mut fake).await.send(Ok(())).unwrap();
    let first = news.message().await.unwrap().unwrap();
    assert_eq!((first.header.unwrap().revision, &first.kv.unwrap().key[..]), (2, &b"n/a"[..]));
    let (_, create, frames) = next_watch(&mut fake).await;
    assert_eq!((&create.key[..], create.start_revision), (&b"n/a"[..], 3));
    let events = vec![put_event("x", 3), put_event("y", 5), delete_event(), put_event("z", 10)];
    frames
        .send(pb::WatchResponse { header: header(12), events, ..Default::default() })
        .await
        .unwrap();
    for (value, revision) in [("x", 3), ("y", 5)] {
        let next = news.message().await.unwrap().unwrap();
        let kv = next.kv.unwrap();
        assert_eq!((next.header.unwrap().revision, &kv.value[..]), (12, value.as_bytes()));
        assert_eq!(kv.mod_revision, revision);
    }
    // Its key ended: it looks again.
    next_read(&mut fake).await.send(Err(Refusal::PermissionDenied)).unwrap();
    let status = news.message().await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::Unknown, "etcdserver: permission denied"));
    let text = metrics.text(&view_of(leading()));
    let labels = "grpc_type=\"server_stream\",grpc_service=\"v3electionpb.Election\",\
                  grpc_method=\"Observe\"";
    for line in [
        format!("grpc_server_msg_sent_total{{{labels}}} 3\n"),
        format!("grpc_server_msg_received_total{{{labels}}} 1\n"),
        format!("grpc_server_handled_total{{{labels},grpc_code=\"Unknown\"}} 1\n"),
    ] {
        assert!(text.contains(&line), "{line}");
    }
}
