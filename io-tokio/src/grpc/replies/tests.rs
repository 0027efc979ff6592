use futures_util::FutureExt as _;
use http_body_util::{BodyExt as _, Full};
use quorate_proto::etcdserverpb as pb;

use super::*;

fn request(bytes: usize) -> pb::PutRequest {
    pb::PutRequest { value: vec![7; bytes].into(), ..<_>::default() }
}

fn http<T>(answer: tonic::Response<T>) -> Response<Body> {
    let (_, _, extensions) = answer.into_parts();
    let mut http = Response::new(Body::empty());
    *http.extensions_mut() = extensions;
    http
}

#[tokio::test]
async fn pieces_are_one_message_in_slices() {
    let replies = Replies::default();
    let mut room = replies.room(false).unwrap();
    let mut pieces = Pieces::default();
    let part = request(3 * SLICE_BYTES);
    assert!(room.grow(part.encoded_len()).await);
    pieces.push(part.encode_to_vec());
    let first = pb::PutRequest { lease: 5, ..<_>::default() };
    let answer = pieces.answer(&first, room, pb::PutRequest::default()).unwrap();
    let mut body = dress(http(answer)).into_body();
    let mut bytes = Vec::new();
    let trailers = loop {
        match body.frame().await.unwrap().unwrap().into_data() {
            Ok(data) => {
                assert!(data.len() <= SLICE_BYTES);
                bytes.extend(data);
            }
            Err(frame) => break frame.into_trailers().unwrap(),
        }
    };
    assert_eq!(trailers["grpc-status"], "0");
    assert!(body.frame().await.is_none());
    assert_eq!(bytes[0], 0);
    assert_eq!(bytes[1..5], ((bytes.len() - PREFIX_BYTES) as u32).to_be_bytes());
    let message = pb::PutRequest::decode(&bytes[PREFIX_BYTES..]).unwrap();
    assert_eq!(message, pb::PutRequest { lease: 5, ..part });
    assert!(replies.0.budget.available_permits() < REPLY_BYTES_MAX);
    drop(body);
    assert_eq!(replies.0.budget.available_permits(), REPLY_BYTES_MAX);
}

#[tokio::test]
async fn only_the_first_in_line_waits_for_room() {
    let replies = Replies::default();
    let mut all = replies.room(false).unwrap();
    assert!(all.grow(REPLY_BYTES_MAX).await);
    assert!(all.grow(1).await, "who has all needs no more");
    assert!(!replies.room(false).unwrap().grow(1).await);
    let mut first = Box::pin(replies.in_turn(async || Ok(replies.room(true)?.grow(9).await)));
    assert!(first.as_mut().now_or_never().is_none());
    let mut second = Box::pin(replies.in_turn(async || Ok(2)));
    assert!(second.as_mut().now_or_never().is_none());
    all.shrink_to(REPLY_BYTES_MAX - 9);
    assert!(first.await.unwrap());
    assert_eq!(second.await.unwrap(), 2);
}

/// Who left the line has no place in it.
#[tokio::test]
async fn a_full_line_refuses() {
    let replies = Replies::default();
    let turn = replies.0.line.lock().await;
    let mut waiting: Vec<_> =
        (0..RANGES_WAITING_MAX).map(|_| Box::pin(replies.in_turn(async || Ok(())))).collect();
    assert!(waiting.iter_mut().all(|one| one.as_mut().now_or_never().is_none()));
    let refused = replies.in_turn(async || Ok(())).await.unwrap_err();
    assert_eq!(refused.message(), "etcdserver: too many requests");
    waiting.pop();
    assert!(replies.in_turn(async || Ok(())).now_or_never().is_none());
    drop((waiting, turn));
    replies.in_turn(async || Ok(())).await.unwrap();
}

/// A stream waits for room while it is being sent itself.
#[tokio::test]
async fn who_waits_within_an_answer_may_give_up_others() {
    let replies = Replies::default();
    let within = replies.clone();
    let frames = futures_util::stream::once(async move {
        within.give_up_stalled();
        Ok::<_, Status>(Frame::data(Bytes::from_static(b"x")))
    });
    let mut body = replies.send(Body::new(http_body_util::StreamBody::new(frames)));
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "x");
}

#[tokio::test]
async fn what_nobody_takes_is_given_up_when_others_wait() {
    let replies = Replies::default();
    let body = || Body::new(Full::new(Bytes::from(vec![1; 2 * SLICE_BYTES])));
    let (mut stalled, mut taken) = (replies.send(body()), replies.send(body()));
    stalled.frame().await.unwrap().unwrap();
    for rest in lock(&replies.0.sending).open.values().filter_map(Weak::upgrade) {
        let long_ago = STALL_MAX + Duration::from_secs(1);
        lock(&rest).moved = Instant::now().checked_sub(long_ago).unwrap();
    }
    taken.frame().await.unwrap().unwrap();
    replies.give_up_stalled();
    assert_eq!(stalled.frame().await.unwrap().unwrap_err().code(), tonic::Code::Unavailable);
    taken.frame().await.unwrap().unwrap();
    assert!(taken.frame().await.is_none());
    drop((stalled, taken));
    assert!(lock(&replies.0.sending).open.is_empty());
}

#[tokio::test]
async fn readers_come_in_the_order_in_which_they_ask() {
    let replies = Replies::default();
    let mut reading = Vec::new();
    for _ in 0..READERS_MAX {
        reading.push(replies.reader().await);
    }
    let mut waiting = pin!(replies.reader());
    assert!(waiting.as_mut().now_or_never().is_none());
    drop(reading.pop());
    assert!(replies.reader().now_or_never().is_none(), "a newcomer overtakes");
    assert!(waiting.as_mut().now_or_never().is_some());
}
