//! Frames and records: how one thing is written down in a segment.
//!
//! ```text
//! | length: 8 bytes, little endian          | record                          | padding |
//! | top byte: 0x80 + padding, or 0          | 08 kind 10 crc [1a len data]    | zeros   |
//! ```
//!
//! `crc` is the CRC-32C of all data written so far in the chain, this record's included. It does
//! not cover the length, the kind and the padding, so these are held against what else is known:
//! the length must agree with the length inside the record, the padding must be zero, and the
//! data must have the shape its kind demands.

use bytes::Bytes;
use prost::encoding::{decode_varint, encode_varint, encoded_len_varint};

/// Bytes of the length in front of each record.
pub(super) const HEADER_BYTES: u64 = 8;
/// Disks write this much or nothing.
pub(super) const SECTOR_BYTES: u64 = 512;
/// The longest a record can be without its data: kind, checksum, length.
const PREFIX_BYTES_MAX: usize = 16;

/// What a record holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// `etcdserverpb.Metadata`: whose log this is.
    Metadata = 1,
    /// `raftpb.Entry`.
    Entry = 2,
    /// `raftpb.HardState`.
    HardState = 3,
    /// The chain's checksum so far; starts each segment.
    Crc = 4,
    /// `walpb.Snapshot`: everything up to here is in the store.
    Marker = 5,
}

impl Kind {
    fn parse(number: u64) -> Option<Self> {
        let all = [Self::Metadata, Self::Entry, Self::HardState, Self::Crc, Self::Marker];
        all.into_iter().find(|kind| *kind as u64 == number)
    }

    /// Protobuf keys its data may contain.
    const fn keys(self) -> &'static [u64] {
        match self {
            Self::Metadata => &[0x08, 0x10],
            Self::Entry => &[0x08, 0x10, 0x18, 0x22],
            Self::HardState => &[0x08, 0x10, 0x18],
            Self::Crc => &[],
            Self::Marker => &[0x08, 0x10, 0x1a],
        }
    }
}

/// A record as read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) kind: Kind,
    pub(super) crc: u32,
    pub(super) data: Bytes,
}

/// How long a frame's parts are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lengths {
    pub(super) record: u64,
    pub(super) padding: u64,
}

impl Lengths {
    /// Of a record of that many bytes.
    pub(super) const fn of(record: u64) -> Self {
        Self { record, padding: (8 - record % 8) % 8 }
    }

    /// Reads a header; `None` if no frame of that length has it.
    pub(super) fn parse(header: [u8; 8]) -> Option<Self> {
        let field = u64::from_le_bytes(header);
        let lengths = Self::of(field & 0x00ff_ffff_ffff_ffff);
        (lengths.header() == header).then_some(lengths)
    }

    /// The header that announces them.
    pub(super) const fn header(self) -> [u8; 8] {
        let top = if self.padding == 0 { 0 } else { (0x80 | self.padding) << 56 };
        (self.record | top).to_le_bytes()
    }

    /// Bytes after the header.
    pub(super) const fn body(self) -> u64 {
        self.record + self.padding
    }
}

/// Bytes a frame takes whose record carries `data_bytes`.
pub(super) fn frame_bytes_max(data_bytes: usize) -> u64 {
    HEADER_BYTES + data_bytes as u64 + PREFIX_BYTES_MAX as u64 + 8
}

/// Appends one frame to `out`.
pub(super) fn encode(out: &mut Vec<u8>, kind: Kind, crc: u32, data: &[u8]) {
    let mut length = 2 + 1 + encoded_len_varint(crc.into());
    if kind != Kind::Crc {
        length += 1 + encoded_len_varint(data.len() as u64) + data.len();
    }
    let lengths = Lengths::of(length as u64);
    out.extend_from_slice(&lengths.header());
    out.extend_from_slice(&[0x08, kind as u8, 0x10]);
    encode_varint(crc.into(), out);
    if kind != Kind::Crc {
        out.push(0x1a);
        encode_varint(data.len() as u64, out);
        out.extend_from_slice(data);
    }
    out.resize(out.len() + lengths.padding as usize, 0);
}

/// Reads a frame's body: the record, then padding that must be zero.
pub(super) fn parse(body: &Bytes, lengths: Lengths) -> Result<Record, &'static str> {
    let end = lengths.record as usize;
    if body[end..].iter().any(|byte| *byte != 0) {
        return Err("padding that is not zero");
    }
    let prefix = Prefix::parse(&body[..end]).ok_or("a record that cannot be read")?;
    if prefix.record_bytes() != lengths.record {
        return Err("two lengths of one record that disagree");
    }
    let kind = Kind::parse(prefix.kind).ok_or("a record of unknown kind")?;
    if prefix.data_bytes.is_none() != (kind == Kind::Crc) {
        return Err("a record whose data does not fit its kind");
    }
    let record = Record { kind, crc: prefix.crc, data: body.slice(prefix.bytes..end) };
    has_shape(kind, &record.data).then_some(record).ok_or("data that does not fit its kind")
}

/// What stands in front of a record's data.
struct Prefix {
    kind: u64,
    crc: u32,
    data_bytes: Option<u64>,
    bytes: usize,
}

impl Prefix {
    fn parse(record: &[u8]) -> Option<Self> {
        let mut rest = record;
        let kind = field(&mut rest, 0x08)?;
        let crc = u32::try_from(field(&mut rest, 0x10)?).ok()?;
        let data_bytes = if rest.is_empty() { None } else { Some(field(&mut rest, 0x1a)?) };
        Some(Self { kind, crc, data_bytes, bytes: record.len() - rest.len() })
    }

    fn record_bytes(&self) -> u64 {
        (self.bytes as u64).saturating_add(self.data_bytes.unwrap_or(0))
    }
}

fn field(rest: &mut &[u8], key: u8) -> Option<u64> {
    let (first, after) = rest.split_first()?;
    *rest = after;
    if *first == key { decode_varint(rest).ok() } else { None }
}

/// Whether a frame that did not parse looks like one whose writing was interrupted: whole
/// sectors of it are zero, and what is there agrees with the frame's length. `at` is the offset
/// of the body in its file.
pub(super) fn is_torn(body: &[u8], lengths: Lengths, at: u64) -> bool {
    let first = ((SECTOR_BYTES - at % SECTOR_BYTES) as usize).min(body.len());
    let (head, tail) = body.split_at(first);
    let is_zero = |sector: &[u8]| sector.iter().all(|byte| *byte == 0);
    let mut sectors = tail.chunks(SECTOR_BYTES as usize);
    if is_zero(head) {
        return true;
    }
    if head.len() < PREFIX_BYTES_MAX {
        return sectors.next().is_some_and(is_zero);
    }
    agrees(body, lengths) && sectors.any(is_zero)
}

/// Whether the beginning of a record is consistent with its frame's length. Too little of it to
/// tell counts as consistent.
pub(super) fn agrees(start: &[u8], lengths: Lengths) -> bool {
    start.len() < PREFIX_BYTES_MAX
        || Prefix::parse(start).is_some_and(|prefix| prefix.record_bytes() == lengths.record)
}

/// Whether `data` consists of fields that `kind` has. An entry without data must be a normal one:
/// this is what tells it from a hard state.
fn has_shape(kind: Kind, mut data: &[u8]) -> bool {
    let (mut first, mut has_data) = (0, false);
    while !data.is_empty() {
        let (Ok(key), Ok(number)) = (decode_varint(&mut data), decode_varint(&mut data)) else {
            return false;
        };
        if !kind.keys().contains(&key) {
            return false;
        }
        if key == 0x08 {
            first = number;
        }
        if key & 7 == 2 {
            let Some(after) = usize::try_from(number).ok().and_then(|n| data.get(n..)) else {
                return false;
            };
            (data, has_data) = (after, true);
        }
    }
    kind != Kind::Entry || (first <= 2 && (has_data || first == 0))
}
