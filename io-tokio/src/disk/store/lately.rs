//! Records that were read lately. A record never changes, so that one which is here is right
//! wherever it is asked for; fjall needs several times as long to find it in a block it has in
//! memory. And what was put together from records: it lies in one place.
//!
//! Deliberately absent: records that were written lately. Most are never read again, and those of
//! the last moments are read from the core's own memory.

use bytes::Bytes;
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use quorate_core::schema::RevisionKey;
use quorate_core::storage::RecordsName;

/// Bytes of a record's key. A tombstone's has one more.
const KEY_BYTES: usize = RevisionKey::LEN;
/// Memory for all records, and for all that was put together; used as they come.
const MEMORY_BYTES: u64 = 64 << 20;
/// Records this large and larger cost little beside their own bytes.
const RECORD_BYTES_MAX: usize = 16 << 10;
/// What a record takes beside its bytes: its key twice, links, counts, and the allocator's part.
const OVERHEAD_BYTES: usize = 112;
/// Records there may be, roughly.
const RECORDS: usize = (MEMORY_BYTES / 512) as usize;
/// The same of what was put together.
const TOGETHER: usize = (MEMORY_BYTES / (16 << 10)) as usize;

type Key = [u8; KEY_BYTES];

/// See the module.
pub(super) struct Lately {
    records: Cache<Key, Bytes, Weight>,
    together: Cache<RecordsName, Bytes, Weight>,
}

#[derive(Clone)]
struct Weight;

impl<K> Weighter<K, Bytes> for Weight {
    fn weight(&self, _: &K, bytes: &Bytes) -> u64 {
        (bytes.len() + OVERHEAD_BYTES) as u64
    }
}

impl Lately {
    pub(super) fn new() -> Self {
        Self {
            records: Cache::with_weighter(RECORDS, MEMORY_BYTES, Weight),
            together: Cache::with_weighter(TOGETHER, MEMORY_BYTES, Weight),
        }
    }

    /// The record of that key: from here, or as `read` finds it.
    pub(super) fn record<E>(
        &self,
        key: &[u8],
        read: impl FnOnce() -> Result<Option<Bytes>, E>,
    ) -> Result<Option<Bytes>, E> {
        let Ok(key) = Key::try_from(key) else { return read() };
        if let Some(record) = self.records.get(&key) {
            return Ok(Some(record));
        }
        let found = read()?;
        if let Some(record) = found.as_ref().filter(|record| record.len() < RECORD_BYTES_MAX) {
            // fjall's value keeps the block it is part of.
            self.records.insert(key, Bytes::copy_from_slice(record));
        }
        Ok(found)
    }

    /// What was made of the records of that name: from here, or as it is made now.
    pub(super) fn together<E>(
        &self,
        name: &RecordsName,
        make: impl FnOnce() -> Result<Option<Bytes>, E>,
    ) -> Result<Option<Bytes>, E> {
        if let Some(made) = self.together.get(name) {
            return Ok(Some(made));
        }
        let made = make()?;
        made.iter().for_each(|made| self.together.insert(*name, made.clone()));
        Ok(made)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(lately: &Lately, key: &[u8], bytes: usize) -> (usize, bool) {
        let mut is_read = false;
        let found = lately.record(key, || {
            is_read = true;
            Ok::<_, ()>(Some(Bytes::from(vec![1; bytes])))
        });
        (found.unwrap().unwrap().len(), is_read)
    }

    #[test]
    fn a_record_is_read_once() {
        let lately = Lately::new();
        assert_eq!(read(&lately, &[7; KEY_BYTES], 300), (300, true));
        assert_eq!(read(&lately, &[7; KEY_BYTES], 300), (300, false));
        assert_eq!(read(&lately, &[8; KEY_BYTES], 200), (200, true));
    }

    #[test]
    fn what_was_put_together_is_made_once_for_each_name() {
        let (lately, mut makes) = (Lately::new(), 0);
        let mut together = |name: RecordsName, what: Option<&'static str>| {
            let made = lately.together(&name, || {
                makes += 1;
                Ok::<_, ()>(what.map(Bytes::from))
            });
            (made.unwrap(), makes)
        };
        assert_eq!(together([1; 7], Some("one")), (Some("one".into()), 1));
        assert_eq!(together([1; 7], Some("another")), (Some("one".into()), 1));
        assert_eq!(together([2; 7], None), (None, 2));
        assert_eq!(together([2; 7], Some("two")), (Some("two".into()), 3));
        assert_eq!(lately.together(&[3; 7], || Err(())), Err(()));
    }

    #[test]
    fn what_is_large_missing_or_no_record_is_read_again() {
        let lately = Lately::new();
        for key in [&[7; KEY_BYTES][..], &[7; KEY_BYTES + 1], b"name"] {
            assert_eq!(read(&lately, key, RECORD_BYTES_MAX), (RECORD_BYTES_MAX, true));
            assert_eq!(read(&lately, key, RECORD_BYTES_MAX), (RECORD_BYTES_MAX, true));
        }
        assert_eq!(lately.record(&[9; KEY_BYTES], || Ok::<_, ()>(None)), Ok(None));
        assert_eq!(lately.record(&[9; KEY_BYTES], || Err(())), Err(()));
        assert!(read(&lately, &[9; KEY_BYTES], 1).1);
    }

    #[test]
    fn memory_is_bounded() {
        let lately = Lately::new();
        let large = RECORD_BYTES_MAX - 1;
        for number in 0..3 * MEMORY_BYTES / large as u64 {
            let mut key = [0; KEY_BYTES];
            key[..8].copy_from_slice(&number.to_be_bytes());
            read(&lately, &key, large);
        }
        assert!(lately.records.weight() <= MEMORY_BYTES);
        assert!(lately.records.weight() > MEMORY_BYTES / 2);
    }
}
