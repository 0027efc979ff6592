//! Keys of the table `key`.

use alloc::format;

use bytes::Bytes;

use crate::error::StorageFault;

/// One change: its main revision, and its place within it. Ordered as history is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RevisionKey {
    /// Rises by one with each mutation of the store; never negative at rest.
    pub main: i64,
    /// Counts the changes of one mutation from 0; never negative at rest.
    pub sub: i64,
}

/// The key of a row: a revision, and whether the row says that its key was deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RowKey {
    /// The change.
    pub at: RevisionKey,
    /// Whether it is a deletion.
    pub is_tombstone: bool,
}

const SEPARATOR: u8 = b'_';
const TOMBSTONE: u8 = b't';

impl RevisionKey {
    /// Bytes of an encoded revision.
    pub const LEN: usize = 17;

    /// Before all changes of a main revision.
    pub const fn first_of(main: i64) -> Self {
        Self { main, sub: 0 }
    }

    /// After all changes of a main revision.
    pub const fn last_of(main: i64) -> Self {
        Self { main, sub: i64::MAX }
    }

    /// The least revision after this one.
    pub const fn next(self) -> Self {
        match self.sub.checked_add(1) {
            Some(sub) => Self { main: self.main, sub },
            None => Self { main: self.main.saturating_add(1), sub: 0 },
        }
    }

    /// Main, `_`, sub; the numbers big endian.
    pub fn to_array(self) -> [u8; Self::LEN] {
        let mut row = [SEPARATOR; Self::LEN];
        row[..8].copy_from_slice(&self.main.to_be_bytes());
        row[9..].copy_from_slice(&self.sub.to_be_bytes());
        row
    }

    /// The same in a buffer of its own.
    pub fn encode(self) -> Bytes {
        Bytes::copy_from_slice(&self.to_array())
    }
}

impl RowKey {
    /// The row's key: a revision, and `t` after it for deletions.
    pub fn encode(self) -> Bytes {
        let mut row = [TOMBSTONE; RevisionKey::LEN + 1];
        row[..RevisionKey::LEN].copy_from_slice(&self.at.to_array());
        let len = RevisionKey::LEN + usize::from(self.is_tombstone);
        Bytes::copy_from_slice(&row[..len])
    }

    /// Reads a row's key.
    pub fn parse(row: &[u8]) -> Result<Self, StorageFault> {
        let fault = || StorageFault::new(format!("not the key of a record: {row:02x?}"));
        let (at, mark) = row.split_at_checked(RevisionKey::LEN).ok_or_else(fault)?;
        let is_tombstone = match mark {
            [] => false,
            [TOMBSTONE] => true,
            _ => return Err(fault()),
        };
        let number = |bytes: &[u8]| {
            let bytes = <[u8; 8]>::try_from(bytes).map_err(|_| fault())?;
            let number = i64::from_be_bytes(bytes);
            if number < 0 { Err(fault()) } else { Ok(number) }
        };
        if at[8] != SEPARATOR {
            return Err(fault());
        }
        let at = RevisionKey { main: number(&at[..8])?, sub: number(&at[9..])? };
        Ok(Self { at, is_tombstone })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_put_has_17_bytes_and_a_tombstone_18() {
        let at = RevisionKey { main: 0x0102, sub: 3 };
        let put = RowKey { at, is_tombstone: false };
        let tombstone = RowKey { at, is_tombstone: true };
        assert_eq!(put.encode().as_ref(), b"\0\0\0\0\0\0\x01\x02_\0\0\0\0\0\0\0\x03");
        assert_eq!(tombstone.encode().as_ref(), b"\0\0\0\0\0\0\x01\x02_\0\0\0\0\0\0\0\x03t");
        assert_eq!(RowKey::parse(&put.encode()), Ok(put));
        assert_eq!(RowKey::parse(&tombstone.encode()), Ok(tombstone));
    }

    #[test]
    fn what_is_no_revision_is_a_fault() {
        let rows: [&[u8]; 6] = [
            b"",
            b"\0\0\0\0\0\0\x01\x02_\0\0\0\0\0\0\0",
            b"\0\0\0\0\0\0\x01\x02-\0\0\0\0\0\0\0\x03",
            b"\0\0\0\0\0\0\x01\x02_\0\0\0\0\0\0\0\x03x",
            b"\0\0\0\0\0\0\x01\x02_\0\0\0\0\0\0\0\x03tt",
            b"\xff\0\0\0\0\0\x01\x02_\0\0\0\0\0\0\0\x03",
        ];
        for row in rows {
            let fault = RowKey::parse(row).unwrap_err();
            assert_eq!(fault.what, format!("not the key of a record: {row:02x?}"));
        }
    }

    #[test]
    fn the_next_revision_carries_over() {
        assert_eq!(RevisionKey { main: 4, sub: 1 }.next(), RevisionKey { main: 4, sub: 2 });
        assert_eq!(RevisionKey::last_of(4).next(), RevisionKey { main: 5, sub: 0 });
    }
}
