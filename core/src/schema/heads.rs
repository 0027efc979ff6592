//! Rows of the table `heads`: what records say but for their values, many records to a row.
//!
//! | key | value |
//! |---|---|
//! | a revision: no record in the row is older | heads, oldest first |
//! | `ff`, number (8 bytes, big endian) | revisions of records that are gone, oldest first |
//!
//! ```text
//!  head:      main - main before   sub   0                                    key   a deletion
//!             main - main before   sub   version + 1   main - created  lease  key   a put
//!  gone:      main - main before   sub
//! ```
//!
//! Numbers are varints; a key follows its length. The first number of a row counts from the main
//! revision of the row's key, or from 0.
//!
//! Invariant: heads without what is gone are, revision by revision, the records of the table `key`
//! up to the newest head, whatever batch was the last to be stored.

use alloc::format;
use alloc::vec::Vec;

use bytes::Bytes;
use prost::encoding::{decode_varint, encode_varint};

use super::{RevisionKey, RowKey};
use crate::error::StorageFault;
use crate::storage::{Table, Write};

/// Where rows of heads end, and rows of what is gone begin.
pub(crate) const GONE: &[u8] = &[0xff];

/// What a record says but for its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head<'a> {
    /// The change, and whether it deleted the key.
    pub row: RowKey,
    /// Whose change it is.
    pub key: &'a [u8],
    /// Main revision of the first put since the key was absent; 0 for deletions.
    pub create_revision: i64,
    /// Puts since then; 0 for deletions.
    pub version: i64,
    /// The lease the key was attached to; 0 for none.
    pub lease: i64,
}

/// A row of heads in the making.
#[derive(Default)]
pub(crate) struct Sheaf {
    first: Option<RevisionKey>,
    before: i64,
    count: usize,
    bytes: Vec<u8>,
}

impl Sheaf {
    /// A row in the place of the one at `first`.
    pub(crate) fn at(first: RevisionKey) -> Self {
        Self { first: Some(first), before: first.main, ..Self::default() }
    }

    /// Adds a head, newer than all before.
    pub(crate) fn push(&mut self, head: &Head<'_>) {
        if self.first.is_none() {
            *self = Self::at(head.row.at);
        }
        self.count += 1;
        encode_revision(head.row.at, &mut self.before, &mut self.bytes);
        let mut number = |number: i64| encode_varint(number.cast_unsigned(), &mut self.bytes);
        if head.row.is_tombstone {
            number(0);
        } else {
            number(head.version.wrapping_add(1));
            number(head.row.at.main.wrapping_sub(head.create_revision));
            number(head.lease);
        }
        encode_varint(head.key.len() as u64, &mut self.bytes);
        self.bytes.extend_from_slice(head.key);
    }

    /// What is kept of a row, in its place.
    pub(crate) fn kept(
        first: &[u8],
        row: &[u8],
        keep: &mut dyn FnMut(&Head<'_>) -> bool,
    ) -> Result<Self, StorageFault> {
        let mut kept = Self::at(RowKey::parse(first)?.at);
        visit_row(first, row, &mut |head| {
            if keep(head) {
                kept.push(head);
            }
            Ok(())
        })?;
        Ok(kept)
    }

    /// What is kept of it.
    pub(crate) fn retain(&mut self, keep: &mut dyn FnMut(&Head<'_>) -> bool) {
        if let Some(first) = self.first
            && let Ok(kept) = Self::kept(&first.to_array(), &self.bytes, keep)
        {
            *self = kept;
        }
    }

    /// Heads in it.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// Bytes of them.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// The row; without any head, its removal.
    pub(crate) fn into_row(self) -> Write {
        let value = (self.count > 0).then(|| self.bytes.into());
        Write { table: Table::Heads, key: self.first.unwrap_or_default().encode(), value }
    }
}

/// Visits the heads of a row.
pub(crate) fn visit_row(
    first: &[u8],
    heads: &[u8],
    visit: &mut dyn FnMut(&Head<'_>) -> Result<(), StorageFault>,
) -> Result<RevisionKey, StorageFault> {
    let first = RowKey::parse(first)?.at;
    let (mut before, mut rest) = (first.main, heads);
    while !rest.is_empty() {
        let at = decode_revision(&mut before, &mut rest)?;
        let version = decode_number(&mut rest)?.wrapping_sub(1);
        let is_tombstone = version < 0;
        let (create_revision, lease) = match is_tombstone {
            true => (0, 0),
            false => (at.main.wrapping_sub(decode_number(&mut rest)?), decode_number(&mut rest)?),
        };
        let len = usize::try_from(decode_number(&mut rest)?).map_err(|_| undecodable())?;
        let (key, others) = rest.split_at_checked(len).ok_or_else(undecodable)?;
        rest = others;
        let row = RowKey { at, is_tombstone };
        visit(&Head { row, key, create_revision, version: version.max(0), lease })?;
    }
    Ok(first)
}

/// The row with that number that says which records are gone, oldest first.
pub(crate) fn encode_gone(number: u64, gone: impl IntoIterator<Item = RevisionKey>) -> Write {
    let (mut before, mut bytes) = (0, Vec::new());
    for at in gone {
        encode_revision(at, &mut before, &mut bytes);
    }
    Write { table: Table::Heads, key: gone_key(number), value: Some(bytes.into()) }
}

/// The removal of such a row.
pub(crate) fn remove_gone(number: u64) -> Write {
    Write { table: Table::Heads, key: gone_key(number), value: None }
}

/// Reads such a row: its number, and what is gone.
pub(crate) fn load_gone(
    key: &[u8],
    value: &[u8],
    gone: &mut Vec<RevisionKey>,
) -> Result<u64, StorageFault> {
    let number = key.strip_prefix(GONE).and_then(|number| number.try_into().ok());
    let (mut before, mut rest) = (0, value);
    while !rest.is_empty() {
        gone.push(decode_revision(&mut before, &mut rest)?);
    }
    number.map(u64::from_be_bytes).ok_or_else(undecodable)
}

fn gone_key(number: u64) -> Bytes {
    [GONE, &number.to_be_bytes()].concat().into()
}

fn encode_revision(at: RevisionKey, before: &mut i64, bytes: &mut Vec<u8>) {
    let step = at.main.wrapping_sub(core::mem::replace(before, at.main));
    encode_varint(step.cast_unsigned(), bytes);
    encode_varint(at.sub.cast_unsigned(), bytes);
}

fn decode_revision(before: &mut i64, rest: &mut &[u8]) -> Result<RevisionKey, StorageFault> {
    *before = before.wrapping_add(decode_number(rest)?);
    let at = RevisionKey { main: *before, sub: decode_number(rest)? };
    if at < RevisionKey::default() || at.sub < 0 { Err(undecodable()) } else { Ok(at) }
}

fn decode_number(rest: &mut &[u8]) -> Result<i64, StorageFault> {
    decode_varint(rest).map(u64::cast_signed).map_err(|_| undecodable())
}

fn undecodable() -> StorageFault {
    StorageFault::new(format!("a row of {} does not decode", Table::Heads.name()))
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    const fn at(main: i64, sub: i64) -> RevisionKey {
        RevisionKey { main, sub }
    }

    fn put(at: RevisionKey, key: &[u8]) -> Head<'_> {
        let row = RowKey { at, is_tombstone: false };
        Head { row, key, create_revision: at.main - 1, version: 2, lease: 7 }
    }

    fn tombstone(at: RevisionKey, key: &[u8]) -> Head<'_> {
        let row = RowKey { at, is_tombstone: true };
        Head { row, key, create_revision: 0, version: 0, lease: 0 }
    }

    #[test]
    fn heads_come_back_as_they_were() {
        // What only lifts the revision is a record, too: of the empty key, created at 0.
        let lift = Head { create_revision: 0, version: 0, lease: -1, ..put(at(i64::MAX, 0), b"") };
        let heads = [put(at(300, 2), b"foo"), tombstone(at(300, 5), b"bar"), lift];
        let mut sheaf = Sheaf::default();
        heads.iter().for_each(|head| sheaf.push(head));
        assert_eq!((sheaf.count(), sheaf.bytes()), (3, 47));
        let row = sheaf.into_row();
        assert_eq!(row.key, at(300, 2).encode());
        let value = row.value.unwrap();
        assert_eq!(value[..15], *b"\0\x02\x03\x01\x07\x03foo\0\x05\0\x03ba");
        let mut seen = 0;
        let first = visit_row(&row.key, &value, &mut |head| {
            assert_eq!(*head, heads[seen]);
            seen += 1;
            Ok(())
        });
        assert_eq!((first, seen), (Ok(at(300, 2)), 3));
    }

    #[test]
    fn a_row_made_anew_keeps_its_place_and_without_heads_goes() {
        let mut sheaf = Sheaf::at(at(5, 0));
        sheaf.push(&put(at(9, 0), b"k"));
        let row = sheaf.into_row();
        assert_eq!(row.key, at(5, 0).encode());
        assert_eq!(row.value.as_deref(), Some(&b"\x04\0\x03\x01\x07\x01k"[..]));
        assert_eq!(Sheaf::at(at(5, 0)).into_row().value, None);
    }

    #[test]
    fn what_is_gone_is_told_by_number() {
        let gone = [at(2, 0), at(2, 3), at(700, 0)];
        let row = encode_gone(9, gone);
        assert_eq!(row.key[..], *b"\xff\0\0\0\0\0\0\0\x09");
        assert_eq!(row.key, remove_gone(9).key);
        let mut read = Vec::new();
        assert_eq!(load_gone(&row.key, &row.value.unwrap(), &mut read), Ok(9));
        assert_eq!(read, gone);
    }

    #[test]
    fn damage_is_a_fault() {
        let row = at(2, 0).encode();
        let whole = b"\0\0\x02\0\0\x01k";
        assert!(visit_row(&row, whole, &mut |_| Ok(())).is_ok());
        for cut in 1..whole.len() {
            let fault = visit_row(&row, &whole[..cut], &mut |_| Ok(())).unwrap_err();
            assert_eq!(fault.to_string(), "a row of heads does not decode");
        }
        let negative = b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\0\x02\0\0\x01k";
        assert!(visit_row(&at(0, 0).encode(), negative, &mut |_| Ok(())).is_err());
        assert!(visit_row(b"short", whole, &mut |_| Ok(())).is_err());
        assert!(load_gone(b"\xff\0\0", b"", &mut Vec::new()).is_err());
        assert!(load_gone(&gone_key(1), b"\x02", &mut Vec::new()).is_err());
    }
}
