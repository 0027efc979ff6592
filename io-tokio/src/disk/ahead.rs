//! An image that is scanned by threads of their own, which read rows before they are asked for.
//!
//! ```text
//!   pieces of the range, by the numbers that keys begin with:  | 0 | 1 | 2 | 3 | 4 | ...
//!   reader 0: piece 0, 2, 4, ... --8 batches of rows--+
//!   reader 1: piece 1, 3, 5, ... --8 batches of rows--+--> whoever scans: 0, 1, 2, ... in order
//! ```
//!
//! For starting: what a start reads, heads or every record of a store without them, takes longer to
//! read (checking, unpacking) than to note. Who starts on it keeps it until something newer is
//! stored. Where there are no threads to be had, it is scanned without them.
//!
//! Deliberately absent: pieces of the same size. Where keys lie close together here and far apart
//! there, one reader works and the others wait, and it takes as long as with one.

use std::io;
use std::ops::ControlFlow;
use std::panic;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, Builder, Scope, ScopedJoinHandle};

use bytes::{Bytes, BytesMut};
use quorate_core::error::StorageFault;
use quorate_core::storage::{RecordsName, StateRead, Table, leading_number};

/// Most readers.
const READERS_MAX: usize = 4;
/// Batches that a reader has read and that are not visited yet.
const BATCHES_MAX: usize = 8;
/// A batch is handed on when it has as many rows, or as many bytes of values.
const BATCH_ROWS: usize = 1_024;
const BATCH_BYTES: usize = 1 << 18;
/// What the keys of a piece differ by in what they begin with, at least: about as many rows of
/// 1 KiB as fit into a reader's batches.
const SPAN_MIN: u64 = 2_048;
/// Most pieces: finding the first row of each takes some microseconds.
const PIECES_MAX: u64 = 8_192;

/// See the module.
pub struct ReadAhead {
    image: Arc<dyn StateRead>,
    readers: usize,
}

impl ReadAhead {
    /// Reads `image` ahead, with a reader for each processor, up to four.
    pub fn new(image: Arc<dyn StateRead>) -> Self {
        let readers = thread::available_parallelism().map_or(1, usize::from).min(READERS_MAX);
        Self { image, readers }
    }
}

impl StateRead for ReadAhead {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, StorageFault> {
        self.image.get(table, key)
    }

    fn scan(
        &self,
        table: Table,
        from: &[u8],
        until: &[u8],
        visit: &mut dyn FnMut(&[u8], &Bytes) -> ControlFlow<()>,
    ) -> Result<(), StorageFault> {
        let range = Range { image: &*self.image, table, from, until };
        let pieces = range.pieces();
        thread::scope(|scope| {
            let readers = (0..self.readers as u64).map(|first| {
                let numbers = (first..pieces.count).step_by(self.readers);
                Reader::start(scope, move |parts| {
                    for number in numbers {
                        if range.read(pieces.bounds(number), &parts).is_break() {
                            return;
                        }
                    }
                })
            });
            match readers.collect::<io::Result<Vec<_>>>() {
                Ok(readers) => visit_all(readers, pieces.count, visit),
                Err(_) => self.image.scan(table, from, until, visit),
            }
        })
    }

    fn remembered(
        &self,
        name: &RecordsName,
        make: &mut dyn FnMut() -> Result<Option<Bytes>, StorageFault>,
    ) -> Result<Option<Bytes>, StorageFault> {
        self.image.remembered(name, make)
    }
}

/// What is scanned.
#[derive(Clone, Copy)]
struct Range<'a> {
    image: &'a dyn StateRead,
    table: Table,
    from: &'a [u8],
    /// Nothing for no end.
    until: &'a [u8],
}

impl<'a> Range<'a> {
    /// Divides it. What cannot be read is one piece: whoever reads it learns why.
    fn pieces(&self) -> Pieces<'a> {
        let (from, until) = (self.from, self.until);
        let whole = Pieces { from, until, first: 0, span: 0, count: 1 };
        let Some((first, last)) = self.ends().ok().flatten() else { return whole };
        let span = SPAN_MIN.max((last - first) / PIECES_MAX + 1);
        Pieces { first, span, count: (last - first) / span + 1, ..whole }
    }

    /// What the first and the last key begin with, if there is any.
    fn ends(&self) -> Result<Option<(u64, u64)>, StorageFault> {
        let Some(first) = self.begins_at(self.from)? else { return Ok(None) };
        // The last one is at or after `low`, and before `high`.
        let (mut low, mut high) = (first, u64::MAX);
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            match self.begins_at(&middle.to_be_bytes())? {
                Some(found) => low = found.max(middle),
                None => high = middle,
            }
        }
        Ok(Some((first, low)))
    }

    /// What the first key at or after `from` begins with.
    fn begins_at(&self, from: &[u8]) -> Result<Option<u64>, StorageFault> {
        if !self.until.is_empty() && from >= self.until {
            return Ok(None);
        }
        let mut found = None;
        self.image.scan(self.table, from, self.until, &mut |key, _| {
            found = Some(leading_number(key));
            ControlFlow::Break(())
        })?;
        Ok(found)
    }

    /// Hands on what is between, and that it was all; not if nobody wants it.
    fn read(&self, (from, until): (Bytes, Bytes), parts: &SyncSender<Part>) -> ControlFlow<()> {
        let mut batch = Batch::default();
        let mut flow = ControlFlow::Continue(());
        let hand_on = |part: Part| match parts.send(part) {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        };
        let scanned = self.image.scan(self.table, &from, &until, &mut |key, value| {
            batch.push(key, value);
            if batch.is_full() {
                flow = hand_on(Part::Rows(std::mem::take(&mut batch)));
            }
            flow
        });
        flow?;
        hand_on(Part::Rows(batch))?;
        hand_on(Part::End(scanned))
    }
}

/// The pieces of a range: it is cut where keys begin with `first + span`, `first + 2 * span`, ...
#[derive(Clone, Copy)]
struct Pieces<'a> {
    from: &'a [u8],
    until: &'a [u8],
    first: u64,
    span: u64,
    count: u64,
}

impl Pieces<'_> {
    /// Where a piece begins and ends.
    fn bounds(&self, piece: u64) -> (Bytes, Bytes) {
        let cut = |piece: u64| {
            let at = (self.first + piece * self.span).to_be_bytes();
            // A last key that is shorter than a number may be followed by the end at once.
            let is_beyond = !self.until.is_empty() && at[..] > *self.until;
            Bytes::copy_from_slice(if is_beyond { self.until } else { &at })
        };
        let from = if piece == 0 { Bytes::copy_from_slice(self.from) } else { cut(piece) };
        let is_last = piece + 1 == self.count;
        let until = if is_last { Bytes::copy_from_slice(self.until) } else { cut(piece + 1) };
        (from, until)
    }
}

/// A thread that reads pieces, and what it has read.
struct Reader<'scope> {
    parts: Receiver<Part>,
    thread: ScopedJoinHandle<'scope, ()>,
}

impl<'scope> Reader<'scope> {
    fn start(
        scope: &'scope Scope<'scope, '_>,
        read: impl FnOnce(SyncSender<Part>) + Send + 'scope,
    ) -> io::Result<Self> {
        let (sender, parts) = sync_channel(BATCHES_MAX);
        let named = Builder::new().name("ahead".to_owned());
        Ok(Self { parts, thread: named.spawn_scoped(scope, move || read(sender))? })
    }
}

/// What a reader hands on.
enum Part {
    Rows(Batch),
    /// The end of a piece.
    End(Result<(), StorageFault>),
}

/// Visits the pieces in order, until somebody has seen enough.
fn visit_all(
    readers: Vec<Reader<'_>>,
    pieces: u64,
    visit: &mut dyn FnMut(&[u8], &Bytes) -> ControlFlow<()>,
) -> Result<(), StorageFault> {
    let (mut parts, threads): (Vec<_>, Vec<_>) =
        readers.into_iter().map(|reader| (reader.parts.into_iter(), reader.thread)).unzip();
    let mut outcome = Ok(());
    'pieces: for turn in (0..parts.len()).cycle().take(pieces as usize) {
        loop {
            match parts[turn].next() {
                Some(Part::Rows(batch)) if batch.visit(visit).is_continue() => {}
                Some(Part::End(Ok(()))) => break,
                Some(Part::End(fault)) => {
                    outcome = fault;
                    break 'pieces;
                }
                // It was seen enough, or the reader is gone.
                _ => break 'pieces,
            }
        }
    }
    // Dropping them ends the readers.
    drop(parts);
    for thread in threads {
        thread.join().unwrap_or_else(|panicked| panic::resume_unwind(panicked));
    }
    outcome
}

/// Rows in order.
#[derive(Default)]
struct Batch {
    /// All keys, one behind the other.
    keys: BytesMut,
    /// Where each key ends, and its value.
    rows: Vec<(usize, Bytes)>,
    value_bytes: usize,
}

impl Batch {
    fn push(&mut self, key: &[u8], value: &Bytes) {
        self.keys.extend_from_slice(key);
        self.rows.push((self.keys.len(), value.clone()));
        self.value_bytes += value.len();
    }

    fn is_full(&self) -> bool {
        self.rows.len() >= BATCH_ROWS || self.value_bytes >= BATCH_BYTES
    }

    fn visit(&self, visit: &mut dyn FnMut(&[u8], &Bytes) -> ControlFlow<()>) -> ControlFlow<()> {
        let mut begin = 0;
        self.rows.iter().try_for_each(|(end, value)| {
            let key = &self.keys[std::mem::replace(&mut begin, *end)..*end];
            visit(key, value)
        })
    }
}

#[cfg(test)]
mod tests {
    use quorate_core::storage::{Rows, Write};

    use super::*;

    const COUNT: u32 = 5_000;

    /// A reader more than there are processors, perhaps.
    fn image() -> ReadAhead {
        let mut rows = Rows::default();
        for table in [Table::Key, Table::Lease] {
            let write = |n: u32| {
                let key = n.to_be_bytes().to_vec().into();
                Write { table, key, value: Some(vec![table as u8; 300].into()) }
            };
            rows.write(&(0..COUNT).map(write).collect::<Vec<_>>());
        }
        ReadAhead { image: Arc::new(rows), readers: 3 }
    }

    /// Keys of a scan that ends after `most` of them.
    fn scan(image: &dyn StateRead, from: u32, until: &[u8], most: usize) -> Vec<u32> {
        let mut seen = Vec::new();
        let scanned = image.scan(Table::Key, &from.to_be_bytes(), until, &mut |key, value| {
            assert_eq!(value[..], [Table::Key as u8; 300]);
            seen.push(u32::from_be_bytes(key.try_into().unwrap()));
            if seen.len() == most { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        scanned.unwrap();
        seen
    }

    #[test]
    fn rows_come_in_order_each_once_and_no_others() {
        let image = image();
        let all = |from, until: u32| scan(&image, from, &until.to_be_bytes(), usize::MAX);
        assert_eq!(scan(&image, 0, &[], usize::MAX), (0..COUNT).collect::<Vec<_>>());
        assert_eq!(all(7, 2_500), (7..2_500).collect::<Vec<_>>());
        assert_eq!(all(9, 9), [0; 0]);
        let key = 4_u32.to_be_bytes();
        assert!(image.get(Table::Key, &key).unwrap().is_some());
    }

    /// Keys that begin with these numbers, as revisions do, and one that is shorter.
    fn numbered(numbers: impl IntoIterator<Item = u64>) -> (ReadAhead, Vec<Bytes>) {
        let key = |number: u64| Bytes::from([&number.to_be_bytes()[..], b"_"].concat());
        let mut keys: Vec<Bytes> = numbers.into_iter().map(key).collect();
        keys.push(Bytes::from_static(&[255]));
        let write = |key: &Bytes| Write {
            table: Table::Key,
            key: key.clone(),
            value: Some(Bytes::from_static(b"value")),
        };
        let mut rows = Rows::default();
        rows.write(&keys.iter().map(write).collect::<Vec<_>>());
        (ReadAhead { image: Arc::new(rows), readers: 3 }, keys)
    }

    fn keys_of(image: &dyn StateRead, from: &[u8], until: &[u8]) -> Vec<Bytes> {
        let mut seen = Vec::new();
        let scanned = image.scan(Table::Key, from, until, &mut |key, _| {
            seen.push(Bytes::copy_from_slice(key));
            ControlFlow::Continue(())
        });
        scanned.unwrap();
        seen
    }

    #[test]
    fn pieces_leave_nothing_out_wherever_keys_lie() {
        let close = 1_000..20_000;
        let scattered = (0..3_000).map(|n: u64| n * n * n * 40_000);
        for numbers in [close.collect(), scattered.collect::<Vec<u64>>(), vec![], vec![9]] {
            let (image, keys) = numbered(numbers);
            assert_eq!(keys_of(&image, &[], &[]), keys);
            let some = &keys[keys.len() / 3..keys.len() - 1];
            let until = keys.last().unwrap();
            if let Some(from) = some.first() {
                assert_eq!(keys_of(&image, from, until), some);
            }
            assert_eq!(keys_of(&image, &[255], &[255, 0]), [until]);
        }
    }

    #[test]
    fn a_range_of_many_numbers_is_many_pieces_that_meet() {
        let (image, _) = numbered((0..10).map(|n| n * SPAN_MIN));
        let until = (9 * SPAN_MIN).to_be_bytes();
        let range = Range { image: &*image.image, table: Table::Key, from: &[0], until: &until };
        let pieces = range.pieces();
        assert_eq!((pieces.count, pieces.first, pieces.span), (9, 0, SPAN_MIN));
        assert_eq!(pieces.bounds(0).0[..], [0]);
        for piece in 1..pieces.count {
            assert_eq!(pieces.bounds(piece - 1).1, pieces.bounds(piece).0);
        }
        assert_eq!(pieces.bounds(8).1[..], until);
    }

    #[test]
    fn whoever_has_seen_enough_sees_no_more() {
        assert_eq!(scan(&image(), 0, &[], 3), [0, 1, 2]);
    }

    #[test]
    fn a_fault_in_the_middle_is_told_after_what_came_before() {
        struct Torn(Rows);

        impl StateRead for Torn {
            fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, StorageFault> {
                self.0.get(table, key)
            }

            fn scan(
                &self,
                table: Table,
                from: &[u8],
                until: &[u8],
                visit: &mut dyn FnMut(&[u8], &Bytes) -> ControlFlow<()>,
            ) -> Result<(), StorageFault> {
                self.0.scan(table, from, until, visit)?;
                Err(StorageFault::new("torn"))
            }
        }

        let mut rows = Rows::default();
        rows.write(&[Write { table: Table::Key, key: "a".into(), value: Some("1".into()) }]);
        let image = ReadAhead { image: Arc::new(Torn(rows)), readers: 2 };
        let mut seen = 0;
        let scanned = image.scan(Table::Key, &[], &[], &mut |_, _| {
            seen += 1;
            ControlFlow::Continue(())
        });
        assert_eq!((scanned.unwrap_err().what.as_str(), seen), ("torn", 1));
    }
}
