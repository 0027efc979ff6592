use tokio::io::{AsyncWriteExt, DuplexStream, duplex};
use tokio::time::Instant;

use super::*;

/// The preface of HTTP/2, and settings of none.
const HELLO: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
/// The head of stream 1, which does not end with its frame; then a ping, which may not come before
/// that end.
const BROKEN_RULE: &[u8] = b"\0\0\x01\x01\0\0\0\0\x01\x83\0\0\x08\x06\0\0\0\0\0whatever";
const PING: &[u8] = b"\0\0\x08\x06\0\0\0\0\0whatever";

impl Asked for () {
    async fn answer(&self, _: Request<Incoming>) -> Response<Full<Bytes>> {
        Response::default()
    }
}

/// How long a connection lasted whose client said this and stayed. Time stands still meanwhile,
/// but for what is waited for.
async fn last(said: &[u8], http2: Http2) -> Duration {
    let since = Instant::now();
    let (_client, _stop, serving) = begin(said, http2).await;
    let _ = serving.await;
    since.elapsed()
}

async fn begin(
    said: &[u8],
    http2: Http2,
) -> (DuplexStream, watch::Sender<bool>, impl Future<Output = bool>) {
    let port = Arc::new(Port {
        grpc: None::<NoGrpc>,
        gateway: None,
        console: None,
        access: None,
        pages: Some(()),
        http2,
        traffic: Traffic::default(),
    });
    let (mut client, io) = duplex(1 << 16);
    client.write_all(HELLO).await.unwrap();
    client.write_all(said).await.unwrap();
    let (stop, stopped) = watch::channel(false);
    (client, stop, async { serve(io, port, stopped).await.is_ok() })
}

#[tokio::test(start_paused = true)]
async fn who_breaks_a_rule_is_kept_from_coming_again_at_once() {
    assert_eq!(last(BROKEN_RULE, Http2::with_streams(8)).await, PENANCE);
}

#[tokio::test(start_paused = true)]
async fn who_pings_without_end_is_kept_from_coming_again_at_once() {
    let http2 =
        Http2 { keepalive_min_time: Some(Duration::from_secs(5)), ..Http2::with_streams(8) };
    assert!(last(&PING.repeat(100), http2).await >= PENANCE);
}

#[tokio::test(start_paused = true)]
async fn who_leaves_is_let_go_at_once() {
    let since = Instant::now();
    let (client, _stop, serving) = begin(b"", Http2::with_streams(8)).await;
    drop(client);
    let _ = serving.await;
    assert_eq!(since.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_stops_does_not_wait_for_penitents() {
    let since = Instant::now();
    let (_client, stop, serving) = begin(BROKEN_RULE, Http2::with_streams(8)).await;
    let stopping = async {
        tokio::time::sleep(PENANCE / 2).await;
        stop.send_replace(true);
    };
    tokio::join!(serving, stopping);
    assert_eq!(since.elapsed(), PENANCE / 2);
}
