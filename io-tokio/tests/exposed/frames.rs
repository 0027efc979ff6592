//! HTTP/2 by hand: what no well-meaning client sends.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const CONTINUATION: u8 = 9;

pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

/// A frame's bytes.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a short payload").to_be_bytes();
    let mut bytes = length[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// The head of a call of `KV.Range`, without a table.
pub(crate) fn head_of_a_call() -> Vec<u8> {
    let mut block = vec![0x83, 0x86];
    let mut add = |name: &[u8], value: &[u8]| {
        block.extend(name);
        block.push(u8::try_from(value.len()).expect("a short value"));
        block.extend(value);
    };
    add(&[0x04], b"/etcdserverpb.KV/Range");
    add(&[0x01], b"localhost");
    add(&[0x0f, 0x10], b"application/grpc");
    add(b"\x00\x02te", b"trailers");
    block
}

/// A head that a table of the largest allowed size makes a thousand times larger than it is.
pub(crate) fn bomb() -> Vec<u8> {
    let mut block = head_of_a_call();
    // Into the table: a name of one letter, a value of 4,000 bytes (127 + 3,873).
    block.extend(b"\x40\x01x\x7f\xa1\x1e");
    block.extend([b'x'; 4_000]);
    // Out of the table.
    block.extend([0xbe; 12_000]);
    block
}

/// A connection on which anything may be said.
pub(crate) struct Raw(TcpStream);

impl Raw {
    /// Connects and says these first words.
    pub(crate) fn say(server: SocketAddr, words: &[u8]) -> Self {
        let mut raw = Self(TcpStream::connect(server).expect("the server listens"));
        raw.write(words);
        raw
    }

    /// A connection that speaks HTTP/2, with windows of this size for what the server sends.
    pub(crate) fn http2(server: SocketAddr, window: u32) -> Self {
        let mut setting = vec![0, 4];
        setting.extend(window.to_be_bytes());
        Self::say(server, &[PREFACE, &frame(SETTINGS, 0, 0, &setting)].concat())
    }

    /// Says more; false when the server has hung up, or takes no more for a while.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> bool {
        let wait = Some(Duration::from_secs(2));
        self.0.set_write_timeout(wait).expect("a time above zero");
        self.0.write_all(bytes).is_ok()
    }

    /// Reads what is there, so that the server can go on writing.
    pub(crate) fn skim(&mut self) {
        let wait = Some(Duration::from_millis(1));
        self.0.set_read_timeout(wait).expect("a time above zero");
        let mut bytes = [0; 64 << 10];
        while matches!(self.0.read(&mut bytes), Ok(read) if read > 0) {}
    }

    /// Whether the server hangs up within this time.
    pub(crate) fn is_left_within(&mut self, within: Duration) -> bool {
        let deadline = Instant::now() + within;
        let mut bytes = [0; 64 << 10];
        while Instant::now() < deadline {
            let wait = Some(Duration::from_millis(100));
            self.0.set_read_timeout(wait).expect("a time above zero");
            match self.0.read(&mut bytes) {
                Ok(0) => return true,
                Ok(_) => {}
                Err(error) => match error.kind() {
                    ErrorKind::WouldBlock | ErrorKind::TimedOut => {}
                    _ => return true,
                },
            }
        }
        false
    }
}
