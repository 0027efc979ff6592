use std::collections::VecDeque;

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

use super::*;

/// A socket that notes each send, and takes only what it has room for.
#[derive(Clone, Default)]
struct Socket(Arc<Mutex<Wire>>);

#[derive(Default)]
struct Wire {
    sends: Vec<Vec<u8>>,
    /// How many bytes the next sends take; unlimited when empty.
    rooms: VecDeque<usize>,
    is_shut: bool,
    is_broken: bool,
    waker: Option<std::task::Waker>,
}

impl Socket {
    fn wire(&self) -> MutexGuard<'_, Wire> {
        self.0.lock().unwrap()
    }

    fn sends(&self) -> Vec<Vec<u8>> {
        self.wire().sends.clone()
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        _: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut wire = self.wire();
        if wire.is_broken {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let room = wire.rooms.pop_front().unwrap_or(usize::MAX);
        if room == 0 {
            wire.waker = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let taken = bytes.len().min(room);
        wire.sends.push(bytes[..taken].to_vec());
        Poll::Ready(Ok(taken))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.wire().is_shut = true;
        Poll::Ready(Ok(()))
    }
}

/// Polls a future as often as it wishes, for some time, and not once more.
async fn for_a_while(running: impl Future<Output = ()>) {
    tokio::select! {
        biased;
        () = tokio::time::sleep(std::time::Duration::from_millis(20)) => {}
        () = running => panic!("it has no end"),
    }
}

#[tokio::test]
async fn what_is_written_around_a_yield_leaves_in_one_send() {
    let socket = Socket::default();
    let (mut port, turns) = deferred(socket.clone(), Traffic::default());
    turns
        .drive(async {
            for answer in [b"A", b"B"] {
                port.write_all(answer).await.unwrap();
                port.flush().await.unwrap();
            }
            assert!(socket.sends().is_empty());
            tokio::task::yield_now().await;
            port.write_all(b"C").await.unwrap();
            port.flush().await.unwrap();
            tokio::task::yield_now().await;
            assert_eq!(socket.sends(), [b"ABC".to_vec()]);
        })
        .await;
}

#[tokio::test]
async fn a_turn_is_asked_for_once_and_then_the_task_sleeps() {
    let socket = Socket::default();
    let (mut port, turns) = deferred(socket.clone(), Traffic::default());
    let mut turns_taken = 0;
    let mut has_written = false;
    let running = turns.drive(poll_fn(|cx| {
        turns_taken += 1;
        if !has_written {
            has_written = true;
            let _ = Pin::new(&mut port).poll_write(cx, b"A").is_ready();
        }
        Poll::<()>::Pending
    }));
    for_a_while(running).await;
    assert_eq!((turns_taken, socket.sends()), (2, vec![b"A".to_vec()]));
}

#[tokio::test]
async fn a_slow_reader_blocks_the_writer_at_the_cap() {
    let socket = Socket::default();
    socket.wire().rooms.extend([10, 0, 0, 0, 0, 0, 0]);
    let (mut port, turns) = deferred(socket.clone(), Traffic::default());
    let chunk = vec![7; BUFFER_BYTES_MAX + 100];
    let mut polls = 0;
    let mut stage = 0;
    let running = turns.drive(poll_fn(|cx| {
        polls += 1;
        if stage == 0 {
            let written = Pin::new(&mut port).poll_write(cx, &chunk);
            assert!(matches!(written, Poll::Ready(Ok(BUFFER_BYTES_MAX))));
            stage = 1;
        }
        // The first send frees ten bytes of the buffer; beyond them there is no room.
        while let Poll::Ready(written) = Pin::new(&mut port).poll_write(cx, &[8; 4]) {
            assert!(written.unwrap() <= 4);
        }
        assert!(Pin::new(&mut port).poll_flush(cx).is_pending());
        assert_eq!(lock(&port.0).out.len(), BUFFER_BYTES_MAX);
        Poll::<()>::Pending
    }));
    for_a_while(running).await;
    assert_eq!(polls, 1, "a blocked connection must not wake itself");
    assert!(socket.wire().waker.is_some());
}

#[tokio::test]
async fn a_freed_socket_resumes_in_order() {
    let (near, mut far) = duplex(1_000);
    let (mut port, turns) = deferred(near, Traffic::default());
    let sent: Vec<u8> = (0..300_000_u32).map(|n| (n % 251) as u8).collect();
    let copy = sent.clone();
    let writing = tokio::spawn(turns.drive(async move {
        port.write_all(&copy).await.unwrap();
        port.shutdown().await.unwrap();
    }));
    let mut received = Vec::new();
    far.read_to_end(&mut received).await.unwrap();
    writing.await.unwrap();
    assert!(received == sent);
}

#[tokio::test]
async fn a_half_closed_peer_still_gets_its_answer() {
    let (near, far): (DuplexStream, DuplexStream) = duplex(64);
    let (port, turns) = deferred(near, Traffic::default());
    let (mut far_read, mut far_write) = tokio::io::split(far);
    far_write.write_all(b"ask").await.unwrap();
    far_write.shutdown().await.unwrap();
    let serving = tokio::spawn(turns.drive(async move {
        let mut port = port;
        let mut asked = Vec::new();
        port.read_to_end(&mut asked).await.unwrap();
        port.write_all(&asked).await.unwrap();
        port.flush().await.unwrap();
        port.shutdown().await.unwrap();
    }));
    let mut answer = Vec::new();
    far_read.read_to_end(&mut answer).await.unwrap();
    serving.await.unwrap();
    assert_eq!(answer, b"ask");
}

/// TLS keeps what its socket did not take until it is flushed.
#[tokio::test]
async fn what_a_socket_keeps_back_is_flushed() {
    let socket = Socket::default();
    let (mut port, turns) = deferred(tokio::io::BufWriter::new(socket.clone()), Traffic::default());
    for_a_while(turns.drive(async move {
        port.write_all(b"kept").await.unwrap();
        std::future::pending().await
    }))
    .await;
    assert_eq!(socket.sends(), [b"kept"]);
}

#[tokio::test]
async fn shutting_down_sends_what_was_collected() {
    let socket = Socket::default();
    socket.wire().rooms.extend([3, 0, 5]);
    let (mut port, turns) = deferred(socket.clone(), Traffic::default());
    let waking = socket.clone();
    let freed = tokio::spawn(async move {
        loop {
            if let Some(waker) = waking.wire().waker.take() {
                waker.wake();
                return;
            }
            tokio::task::yield_now().await;
        }
    });
    turns
        .drive(async {
            port.write_all(b"goodbye!").await.unwrap();
            port.shutdown().await.unwrap();
        })
        .await;
    freed.await.unwrap();
    assert_eq!(socket.sends(), [b"goo".to_vec(), b"dbye!".to_vec()]);
    assert!(socket.wire().is_shut);
}

#[tokio::test]
async fn a_broken_socket_is_reported_to_the_connection() {
    let socket = Socket::default();
    socket.wire().is_broken = true;
    let (mut port, turns) = deferred(socket.clone(), Traffic::default());
    let error = turns
        .drive(async {
            port.write_all(b"A").await.unwrap();
            loop {
                if let Err(error) = port.flush().await {
                    return error;
                }
                tokio::task::yield_now().await;
            }
        })
        .await;
    assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
}

#[tokio::test]
async fn an_idle_connection_holds_no_buffer() {
    let socket = Socket::default();
    let (mut port, turns) = deferred(socket.clone(), Traffic::default());
    turns
        .drive(async {
            port.write_all(&[0; 20_000]).await.unwrap();
            tokio::task::yield_now().await;
            tokio::task::yield_now().await;
            assert_eq!(lock(&port.0).out.capacity(), 0);
        })
        .await;
    assert_eq!(socket.sends().concat().len(), 20_000);
}
