//! A courtesy to old clients: a request's `:authority` that is a whole URL, or a path.
//!
//! etcd's Go client up to 3.4 names the server `http://127.0.0.1:2379` where only
//! `127.0.0.1:2379` may stand, whenever it asks one particular endpoint: `etcdctl endpoint
//! status` does; and a socket by its path. Go's servers take it, HTTP/2 here resets the stream. So
//! what offends is replaced on its way in, by what is coded in as many bits: nothing moves, and
//! both sides' header tables keep their sizes.
//!
//! ```text
//! | preface | SETTINGS ... | HEADERS: ... :authority = http://127.0.0.1:2379 ... | DATA ...
//!                                                   = httpB--127.0.0.1:2379
//!                                        /run/q.sock  = -run-q.sock
//! ```
//!
//! Invariants
//! - Only blocks of headers are held back, whole frames of at most [`BLOCK_BYTES_MAX`]; all else
//!   passes as it comes.
//! - A connection whose first block is sound is never looked at again.
//!
//! Deliberately absent: decoding of headers; blocks in several frames beyond the first.

use std::ops::Range;

use bytes::BytesMut;

use super::pings::{FRAME_HEAD_BYTES, HEADERS, PREFACE_BYTES};

/// The largest frame a client may send before it is allowed more.
const BLOCK_BYTES_MAX: usize = 16 << 10;
/// Flags of such frames: padding and priority come before the block.
const PADDED: u8 = 0x08;
const PRIORITY: u8 = 0x20;
/// `:authority` in HPACK's static table.
const AUTHORITY: usize = 1;

/// HPACK's Huffman code, as far as hosts and paths go: how many bits, the first code of so many and
/// the last.
const CODES: [(usize, u32, u32); 4] =
    [(5, 0x00, 0x09), (6, 0x14, 0x2d), (7, 0x5c, 0x7b), (8, 0xf8, 0xfd)];
const SLASH: (usize, u32) = (6, 0x18);
const COLON: (usize, u32) = (7, 0x5c);
/// What makes a slash a dash, and a colon a B.
const TO_DASH: u32 = 0x18 ^ 0x16;
const TO_LETTER: u32 = 0x5c ^ 0x5d;

/// Mends authorities in what is read.
#[derive(Debug)]
pub(super) struct Mender {
    stage: Stage,
    /// Read, and not yet decided about.
    held: BytesMut,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// That many bytes are nobody's business.
    Passing(usize),
    /// A frame begins.
    AtFrame,
    /// There is nothing to mend on this connection.
    Over,
}

impl Default for Mender {
    /// Mends from the very beginning of a connection.
    fn default() -> Self {
        Self { stage: Stage::Passing(PREFACE_BYTES), held: BytesMut::new() }
    }
}

impl Mender {
    /// Whether what is read from now on may be handed on as it is.
    pub(super) fn is_over(&self) -> bool {
        self.stage == Stage::Over
    }

    /// Takes what was read; returns what is to be handed on, as far as that can be decided.
    pub(super) fn mend(&mut self, read: &[u8]) -> BytesMut {
        self.held.extend_from_slice(read);
        let mut ready = BytesMut::new();
        while !self.held.is_empty() {
            match self.stage {
                Stage::Passing(left) => {
                    let passed = left.min(self.held.len());
                    ready.unsplit(self.held.split_to(passed));
                    let left = left - passed;
                    self.stage = if left == 0 { Stage::AtFrame } else { Stage::Passing(left) };
                }
                Stage::AtFrame => {
                    let Some(stage) = look(&mut self.held) else { break };
                    self.stage = stage;
                }
                Stage::Over => ready.unsplit(self.held.split()),
            }
        }
        ready
    }

    /// There is no more to read: what is held is handed on.
    pub(super) fn finish(&mut self) -> BytesMut {
        self.stage = Stage::Over;
        self.held.split()
    }
}

/// What to do with the frame at the beginning of `held`; nothing if too little of it is there.
fn look(held: &mut BytesMut) -> Option<Stage> {
    let &[a, b, c, kind, ..] = held.get(..FRAME_HEAD_BYTES)? else { return None };
    let bytes = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
    if kind != HEADERS {
        return Some(Stage::Passing(FRAME_HEAD_BYTES + bytes));
    }
    if bytes > BLOCK_BYTES_MAX {
        return Some(Stage::Over);
    }
    let frame = held.get_mut(..FRAME_HEAD_BYTES + bytes)?;
    Some(if mend(frame) { Stage::Passing(frame.len()) } else { Stage::Over })
}

/// Mends a frame of headers; false if there was nothing to mend.
fn mend(frame: &mut [u8]) -> bool {
    let flags = frame[4];
    let padding = usize::from(flags & PADDED != 0);
    let priority = if flags & PRIORITY == 0 { 0 } else { 5 };
    let Some(block) = frame.get_mut(FRAME_HEAD_BYTES + padding + priority..) else { return false };
    let Some(value) = (Block { bytes: block, at: 0 }).authority() else { return false };
    mend_value(&mut block[value])
}

/// Replaces slashes, and a colon before one; false if there was nothing to replace.
fn mend_value(value: &mut [u8]) -> bool {
    let (mut at, mut colon_at, mut is_mended) = (0, None, false);
    while let Some(code) = code_at(value, at) {
        if code == SLASH {
            flip(value, at + SLASH.0, TO_DASH);
            if let Some(colon_at) = colon_at {
                flip(value, colon_at + COLON.0, TO_LETTER);
            }
            is_mended = true;
        }
        colon_at = (code == COLON).then_some(at);
        at += code.0;
    }
    is_mended
}

/// The code that begins at this bit.
fn code_at(value: &[u8], at: usize) -> Option<(usize, u32)> {
    CODES.into_iter().find_map(|(count, first, last)| {
        let bit = |at: usize| Some(u32::from(value.get(at / 8)? >> (7 - at % 8) & 1));
        let code = (at..at + count).try_fold(0, |code, at| Some(code << 1 | bit(at)?))?;
        (first..=last).contains(&code).then_some((count, code))
    })
}

/// Flips bits of a code that ends before this bit.
fn flip(value: &mut [u8], end: usize, mask: u32) {
    for bit in (0..u32::BITS as usize).filter(|bit| mask >> bit & 1 == 1) {
        let at = end - 1 - bit;
        value[at / 8] ^= 1 << (7 - at % 8);
    }
}

/// A block of headers, walked through without decoding its strings.
struct Block<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Block<'_> {
    /// Where the value of `:authority` stands, if it is written out in Huffman's code.
    fn authority(mut self) -> Option<Range<usize>> {
        loop {
            let first = *self.bytes.get(self.at)?;
            let name = match first {
                0x80.. => {
                    self.number(7)?;
                    continue;
                }
                0x40.. => self.number(6)?,
                0x20.. => {
                    self.number(5)?;
                    continue;
                }
                _ => self.number(4)?,
            };
            if name == 0 {
                self.text()?;
            }
            let (value, is_huffman) = self.text()?;
            if name == AUTHORITY {
                return is_huffman.then_some(value);
            }
        }
    }

    /// A number that begins in the low bits of a byte.
    fn number(&mut self, bits: u32) -> Option<usize> {
        let max = (1 << bits) - 1;
        let mut number = usize::from(*self.bytes.get(self.at)?) & max;
        self.at += 1;
        if number < max {
            return Some(number);
        }
        for shift in [0, 7, 14] {
            let byte = usize::from(*self.bytes.get(self.at)?);
            self.at += 1;
            number += (byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(number);
            }
        }
        None
    }

    /// A string: where it stands, and whether it is in Huffman's code.
    fn text(&mut self) -> Option<(Range<usize>, bool)> {
        let is_huffman = *self.bytes.get(self.at)? >= 0x80;
        let length = self.number(7)?;
        let range = self.at..self.at + length;
        self.bytes.get(range.clone())?;
        self.at = range.end;
        Some((range, is_huffman))
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use tokio::io::{AsyncRead, AsyncReadExt as _, ReadBuf};

    use super::super::intake::Intake;
    use super::*;

    const DATA: u8 = 0;
    const PLAIN: &[u8] = b"\x08\x9d\x5c\x0b\x81\x70\xdc\x13\x2e\xbf";
    const HTTP: &[u8] = b"\x9d\x29\xae\xe3\x0c\x04\x4e\xae\x05\xc0\xb8\x6e\x09\x97\x5f";
    const HTTP_MENDED: &[u8] = b"\x9d\x29\xae\xea\xcb\x04\x4e\xae\x05\xc0\xb8\x6e\x09\x97\x5f";
    const HTTPS: &[u8] = b"\x9d\x29\xad\x17\x18\x60\x22\x75\x70\x2e\x05\xc3\x70\x4c\xba\xff";
    const HTTPS_MENDED: &[u8] = b"\x9d\x29\xad\x17\x56\x58\x22\x75\x70\x2e\x05\xc3\x70\x4c\xba\xff";

    const PATH: &[u8] = b"\x62\xcb\x6a\x63\xb2\xe8\x39\x3a\xff";
    const PATH_MENDED: &[u8] = b"\x5a\xcb\x6a\x5b\xb2\xe8\x39\x3a\xff";

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let head = [length[1], length[2], length[3], kind, flags, 0, 0, 0, 1];
        [&head, payload].concat()
    }

    /// POST, http, a path, the authority, and something indexed.
    fn block(authority: &[u8]) -> Vec<u8> {
        let size = 0x80 | u8::try_from(authority.len()).unwrap();
        [b"\x83\x86\x44\x02/a\x41", &[size][..], authority, b"\xc1"].concat()
    }

    /// Gives its bytes in pieces of at most that many.
    struct Pieces(Vec<u8>, usize);

    impl AsyncRead for Pieces {
        fn poll_read(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            buffer: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            let given = self.1.min(self.0.len()).min(buffer.remaining());
            buffer.put_slice(&self.0[..given]);
            self.0.drain(..given);
            Poll::Ready(Ok(()))
        }
    }

    /// What is read of these frames after a preface, whatever pieces they come in.
    async fn read(frames: &[Vec<u8>]) -> Vec<u8> {
        let sent = [vec![b'P'; PREFACE_BYTES], frames.concat()].concat();
        let mut seen = Vec::new();
        for size in [1, 7, sent.len()] {
            let before = std::mem::take(&mut seen);
            let (head, rest) = sent.split_at(size.min(3));
            let pieces = Pieces(rest.to_vec(), size);
            let mut mended = Intake::new(pieces, head.into()).for_http2(None);
            mended.read_to_end(&mut seen).await.unwrap();
            assert!(before.is_empty() || before == seen);
        }
        seen.split_off(PREFACE_BYTES)
    }

    #[tokio::test]
    async fn urls_and_paths_become_authorities() {
        for (sent, expected) in
            [(HTTP, HTTP_MENDED), (HTTPS, HTTPS_MENDED), (PATH, PATH_MENDED), (PLAIN, PLAIN)]
        {
            let frames = |authority: &[u8]| {
                let padded = [&[2], &block(authority)[..], &[0, 0]].concat();
                [
                    frame(4, 0, &[0; 6]),
                    frame(HEADERS, 4, &block(authority)),
                    frame(HEADERS, 4 | PADDED, &padded),
                    frame(HEADERS, 4 | PRIORITY, &[&[0; 5], &block(authority)[..]].concat()),
                    frame(8, 0, &[0; 4]),
                ]
            };
            assert_eq!(read(&frames(sent)).await, frames(expected).concat());
        }
    }

    #[tokio::test]
    async fn nothing_else_is_touched() {
        let data = frame(DATA, 0, &[&block(HTTP)[..], HTTP].concat());
        let sound = frame(HEADERS, 4, &block(PLAIN));
        let cut = frame(HEADERS, 4, &block(HTTP)[..15]);
        let huge = frame(HEADERS, 0, &[&block(HTTP)[..], &[0; BLOCK_BYTES_MAX]].concat());
        for frames in [
            [data.clone(), sound.clone(), data.clone()],
            [sound.clone(), frame(HEADERS, 4, &block(HTTP)), data.clone()],
            [cut, data.clone(), sound],
            [huge, data.clone(), data],
        ] {
            assert_eq!(read(&frames).await, frames.concat());
        }
        let begun = frame(HEADERS, 4, &block(HTTP))[..20].to_vec();
        assert_eq!(read(std::slice::from_ref(&begun)).await, begun);
    }
}
