//! Sorted byte strings, packed end to end: one allocation for a node's keys.
//!
//! What all of them begin with is compared once, and of the rest first what fits into a number. A
//! search looks at few lines of memory: those of numbers, and in most cases a single string.
//!
//! ```text
//!   bytes     /registry/pods/a1/registry/pods/b/registry/pods/b2
//!   ends                      ^               ^                ^
//!   openings                 a1               b               b2     behind what they share
//! ```

use alloc::vec::Vec;

use crate::storage::leading_number;

/// The strings. See the module.
#[derive(Clone, Debug, Default)]
pub(super) struct Keys {
    bytes: Vec<u8>,
    ends: Vec<u32>,
    /// How many bytes all begin with; never too many.
    shared: usize,
    openings: Vec<u64>,
}

/// Spare room kept when a node grows, in keys.
const SPARE_KEYS: usize = 8;

impl Keys {
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(super) fn bytes_len(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn get(&self, place: usize) -> &[u8] {
        &self.bytes[self.start(place)..self.ends[place] as usize]
    }

    fn start(&self, place: usize) -> usize {
        place.checked_sub(1).map_or(0, |before| self.ends[before] as usize)
    }

    /// Where `key` is, or where it belongs.
    pub(super) fn search(&self, key: &[u8]) -> Result<usize, usize> {
        self.search_between(0, self.len(), key)
    }

    /// The same of a key that is not before the one at `from`, and probably near it.
    pub(super) fn search_from(&self, from: usize, key: &[u8]) -> Result<usize, usize> {
        let near = self.len().min(from + 2);
        match self.search_between(from, near, key) {
            Err(place) if place == near => self.search_between(near, self.len(), key),
            found => found,
        }
    }

    fn search_between(&self, from: usize, until: usize, key: &[u8]) -> Result<usize, usize> {
        let begun = key.len().min(self.shared);
        match key[..begun].cmp(&self.bytes[..self.shared]) {
            core::cmp::Ordering::Less => return Err(from),
            core::cmp::Ordering::Greater => return Err(until),
            core::cmp::Ordering::Equal => {}
        }
        let opening = leading_number(&key[begun..]);
        let near = &self.openings[from..until];
        let mut low = from + near.partition_point(|other| *other < opening);
        let mut high = low;
        while high < until && self.openings[high] == opening {
            high += 1;
        }
        while low < high {
            let middle = usize::midpoint(low, high);
            match self.get(middle).cmp(key) {
                core::cmp::Ordering::Less => low = middle + 1,
                core::cmp::Ordering::Greater => high = middle,
                core::cmp::Ordering::Equal => return Ok(middle),
            }
        }
        Err(low)
    }

    /// How many are less than `key`.
    pub(super) fn count_below(&self, key: &[u8]) -> usize {
        self.search(key).unwrap_or_else(|place| place)
    }

    /// How many are not greater than `key`.
    pub(super) fn count_up_to(&self, key: &[u8]) -> usize {
        self.search(key).map_or_else(|place| place, |place| place + 1)
    }

    pub(super) fn insert(&mut self, place: usize, key: &[u8]) {
        let start = self.start(place);
        if self.bytes.capacity() - self.bytes.len() < key.len() {
            self.bytes.reserve_exact(key.len() * SPARE_KEYS.min(1 + self.len()));
        }
        if self.ends.len() == self.ends.capacity() {
            self.ends.reserve_exact(SPARE_KEYS);
            self.openings.reserve_exact(SPARE_KEYS);
        }
        let old_len = self.bytes.len();
        self.bytes.extend_from_slice(key);
        self.bytes.copy_within(start..old_len, start + key.len());
        self.bytes[start..start + key.len()].copy_from_slice(key);
        let len = to_u32(key.len());
        self.ends.insert(place, to_u32(start));
        self.ends[place..].iter_mut().for_each(|end| *end += len);
        self.note(place);
    }

    pub(super) fn push(&mut self, key: &[u8]) {
        self.bytes.extend_from_slice(key);
        self.ends.push(to_u32(self.bytes.len()));
        self.note(self.ends.len() - 1);
    }

    /// Notes how the new key at `place` opens.
    fn note(&mut self, place: usize) {
        let (first, last) = (self.get(0), self.get(self.len() - 1));
        let is_edge = place == 0 || place == self.len() - 1;
        // Between two keys there is none that begins otherwise.
        if is_edge && shared(first, last) != self.shared {
            return self.note_all();
        }
        self.openings.insert(place, self.opening(place));
    }

    /// Notes anew what all share, and how each opens.
    fn note_all(&mut self) {
        self.shared = match self.len().checked_sub(1) {
            Some(last) => shared(self.get(0), self.get(last)),
            None => 0,
        };
        let mut openings = core::mem::take(&mut self.openings);
        openings.clear();
        openings.reserve_exact(self.ends.capacity());
        openings.extend((0..self.len()).map(|place| self.opening(place)));
        self.openings = openings;
    }

    /// What a key goes on with, behind what all share: ordered as the keys are, as far as it goes.
    fn opening(&self, place: usize) -> u64 {
        leading_number(&self.get(place)[self.shared..])
    }

    pub(super) fn remove(&mut self, place: usize) {
        let (start, end) = (self.start(place), self.ends[place]);
        self.bytes.drain(start..end as usize);
        self.ends.remove(place);
        self.openings.remove(place);
        if self.len() == 0 {
            self.shared = 0;
        }
        let len = end - to_u32(start);
        self.ends[place..].iter_mut().for_each(|end| *end -= len);
    }

    /// A copy of those at `places`, with room for no more.
    pub(super) fn slice(&self, places: core::ops::Range<usize>) -> Self {
        let (start, end) = (self.start(places.start), self.start(places.end));
        let ends = &self.ends[places];
        let mut slice = Self {
            bytes: self.bytes[start..end].to_vec(),
            ends: ends.iter().map(|end| end - to_u32(start)).collect(),
            ..Self::default()
        };
        slice.note_all();
        slice
    }

    pub(super) fn append(&mut self, other: &Self) {
        let base = to_u32(self.bytes.len());
        self.bytes.extend_from_slice(&other.bytes);
        self.ends.extend(other.ends.iter().map(|end| base + end));
        self.note_all();
    }
}

/// How many bytes both begin with.
pub(in crate::mvcc) fn shared(left: &[u8], right: &[u8]) -> usize {
    left.iter().zip(right).take_while(|(left, right)| left == right).count()
}

/// The shortest string above `left` and not above `right`; `left` is less than `right`.
pub(super) fn separator<'a>(left: &[u8], right: &'a [u8]) -> &'a [u8] {
    let shared = shared(left, right);
    &right[..right.len().min(shared + 1)]
}

fn to_u32(len: usize) -> u32 {
    u32::try_from(len).expect("a node holds a few keys, each no longer than a request")
}

#[cfg(test)]
mod tests {
    use super::*;

    use alloc::format;
    use alloc::string::String;

    fn all(keys: &Keys) -> Vec<&[u8]> {
        (0..keys.len()).map(|place| keys.get(place)).collect()
    }

    #[test]
    fn keys_stay_sorted_and_whole() {
        let mut keys = Keys::default();
        for key in ["m", "", "zz", "abc", "n"] {
            let place = keys.search(key.as_bytes()).unwrap_err();
            keys.insert(place, key.as_bytes());
        }
        assert_eq!(all(&keys), [b"" as &[u8], b"abc", b"m", b"n", b"zz"]);
        assert_eq!(keys.search(b"n"), Ok(3));
        for (from, key) in (0..=3).flat_map(|from| ["n", "mm", "zz", "zzz"].map(|key| (from, key)))
        {
            assert_eq!(
                keys.search_from(from, key.as_bytes()),
                keys.search(key.as_bytes()),
                "{key}"
            );
        }
        assert_eq!((keys.count_below(b"m"), keys.count_up_to(b"m")), (2, 3));
        assert_eq!((keys.count_below(b"mm"), keys.count_up_to(b"mm")), (3, 3));
        let mut tail = keys.slice(3..5);
        assert_eq!(all(&tail), [b"n" as &[u8], b"zz"]);
        tail.append(&keys.slice(0..2));
        assert_eq!(all(&tail), [b"n" as &[u8], b"zz", b"", b"abc"]);
        keys.remove(1);
        keys.remove(0);
        keys.push(b"zzz");
        assert_eq!(all(&keys), [b"m" as &[u8], b"n", b"zz", b"zzz"]);
        assert_eq!(keys.bytes_len(), 7);
    }

    #[test]
    fn keys_are_found_whatever_they_share() {
        let words =
            ["", "a", "a\0", "a\0\0", "ab", "abcdefgh", "abcdefgh\0", "abcdefghi", "b", "\u{ff}"];
        let prefixes = ["", "/registry/pods/", "/registry/pods/default/very-long-names/"];
        for (prefix, skip) in
            prefixes.iter().flat_map(|prefix| (0..words.len()).map(move |n| (prefix, n)))
        {
            let mut keys = Keys::default();
            let mut model: Vec<Vec<u8>> = Vec::new();
            for n in 0..words.len() {
                let key =
                    [prefix.as_bytes(), words[(n * 7 + skip) % words.len()].as_bytes()].concat();
                let place = model.binary_search(&key).unwrap_err();
                assert_eq!(keys.search(&key), Err(place), "{key:?} is not there yet");
                keys.insert(place, &key);
                model.insert(place, key);
                if n % 4 == 3 {
                    keys.remove(n / 2);
                    model.remove(n / 2);
                }
                assert_eq!(all(&keys), model);
                let asked = ["", "/", "/registry/pods", "/registry/q", "0"].map(String::from);
                let near = words.map(|word| format!("{prefix}{word}"));
                for key in asked.iter().chain(&near).map(String::as_bytes) {
                    let found = model.binary_search_by(|other| other[..].cmp(key));
                    assert_eq!(keys.search(key), found, "{key:?} among {model:?}");
                }
            }
            let cut = keys.slice(2..model.len() - 1);
            assert_eq!(cut.search(&model[3]), Ok(1));
        }
    }

    #[test]
    fn separators_are_short() {
        assert_eq!(separator(b"abcx", b"abdyyy"), b"abd");
        assert_eq!(separator(b"ab", b"abc"), b"abc");
        assert_eq!(separator(b"", b"x"), b"x");
    }
}
