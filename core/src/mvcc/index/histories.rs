//! The histories of a leaf, a few to a chunk: who changes one of them copies its chunk, and refers
//! to the others.
//!
//! ```text
//!   keys      a b c d e f g   h i j k l m n   o p
//!   chunks   [. . . . . . .] [. . . . . . .] [. . - - - - -]      -: nothing yet
//! ```
//!
//! Each history refers to its older versions, so that a copy of all of them would touch as many
//! places in memory as the leaf has keys.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::{Index, Range};

use super::history::History;

/// Histories of a chunk: with what counts its references, it fills an allocator's 320 bytes.
const CHUNK: usize = 7;

/// The histories, in order of their keys. See the module.
#[derive(Clone, Debug, Default)]
pub(super) struct Histories {
    chunks: Vec<Arc<[History; CHUNK]>>,
    len: usize,
}

impl Histories {
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &History> {
        self.chunks.iter().flat_map(|chunk| chunk.iter()).take(self.len)
    }

    pub(super) fn get_mut(&mut self, place: usize) -> &mut History {
        &mut Arc::make_mut(&mut self.chunks[place / CHUNK])[place % CHUNK]
    }

    pub(super) fn insert(&mut self, place: usize, history: History) {
        self.push(History::default());
        let mut carried = history;
        let mut at = place % CHUNK;
        for chunk in &mut self.chunks[place / CHUNK..] {
            let chunk = &mut Arc::make_mut(chunk)[core::mem::take(&mut at)..];
            chunk.rotate_right(1);
            core::mem::swap(&mut chunk[0], &mut carried);
        }
    }

    pub(super) fn push(&mut self, history: History) {
        let at = self.len % CHUNK;
        match self.chunks.last_mut() {
            Some(last) if at != 0 => Arc::make_mut(last)[at] = history,
            _ => {
                let mut chunk: [History; CHUNK] = Default::default();
                chunk[0] = history;
                self.chunks.push(Arc::new(chunk));
            }
        }
        self.len += 1;
    }

    pub(super) fn remove(&mut self, place: usize) {
        let mut carried = History::default();
        for number in (place / CHUNK..self.chunks.len()).rev() {
            let at = if number == place / CHUNK { place % CHUNK } else { 0 };
            let chunk = &mut Arc::make_mut(&mut self.chunks[number])[at..];
            core::mem::swap(&mut chunk[0], &mut carried);
            chunk.rotate_left(1);
        }
        self.len -= 1;
        self.chunks.truncate(self.len.div_ceil(CHUNK));
    }

    /// A copy of those at `places`.
    pub(super) fn slice(&self, places: Range<usize>) -> Self {
        let mut slice = Self::default();
        slice.chunks.reserve_exact(places.len().div_ceil(CHUNK));
        places.for_each(|place| slice.push(self[place].clone()));
        slice
    }

    pub(super) fn append(&mut self, other: &Self) {
        other.iter().for_each(|history| self.push(history.clone()));
    }
}

impl Index<usize> for Histories {
    type Output = History;

    fn index(&self, place: usize) -> &History {
        &self.chunks[place / CHUNK][place % CHUNK]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::mvcc::index::Version;
    use crate::schema::RevisionKey;

    fn history(main: i64) -> History {
        History::new(Version::put(RevisionKey::first_of(main), None))
    }

    fn mains(histories: &Histories) -> Vec<i64> {
        assert_eq!(histories.chunks.len(), histories.len().div_ceil(CHUNK));
        let all: Vec<i64> = histories.iter().map(|history| history.newest().at.main).collect();
        let one = |place| histories[place].newest().at.main;
        assert_eq!(all, (0..histories.len()).map(one).collect::<Vec<_>>());
        all
    }

    #[test]
    fn they_are_where_a_vector_has_them_and_copies_stay_as_they_were() {
        let (mut histories, mut model) = (Histories::default(), Vec::new());
        let mut before = Vec::new();
        for n in 0..600_u16 {
            // Somewhere, but the same in each run.
            let place = usize::from(n.wrapping_mul(7_919)) % (model.len() + 1);
            before.push((histories.clone(), model.clone()));
            match n % 5 {
                0 if place < model.len() => {
                    histories.remove(place);
                    model.remove(place);
                }
                1 if place < model.len() => {
                    *histories.get_mut(place) = history(n.into());
                    model[place] = n.into();
                }
                2 => {
                    histories.push(history(n.into()));
                    model.push(i64::from(n));
                }
                _ => {
                    histories.insert(place, history(n.into()));
                    model.insert(place, i64::from(n));
                }
            }
            assert_eq!(mains(&histories), model, "step {n}");
        }
        for (histories, model) in &before {
            assert_eq!(mains(histories), *model);
        }
        for places in [0..0, 3..17, 0..model.len(), model.len() - 1..model.len()] {
            let mut slice = histories.slice(places.clone());
            assert_eq!(mains(&slice), model[places.clone()]);
            slice.append(&histories);
            assert_eq!(mains(&slice), [&model[places], &model].concat());
        }
        (0..model.len()).for_each(|_| histories.remove(0));
        assert_eq!(mains(&histories), Vec::<i64>::new());
    }

    #[test]
    fn a_change_copies_a_chunk_and_shares_the_others() {
        let mut histories = Histories::default();
        (0..50).for_each(|main| histories.push(history(main)));
        let before = histories.clone();
        *histories.get_mut(20) = history(99);
        let shared = before.chunks.iter().zip(&histories.chunks).filter(|(a, b)| Arc::ptr_eq(a, b));
        assert_eq!(shared.count(), before.chunks.len() - 1);
    }
}
