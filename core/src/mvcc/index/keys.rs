//! Sorted byte strings, packed end to end: one allocation for a node's keys.

use alloc::vec::Vec;

/// The strings. See the module.
#[derive(Clone, Debug, Default)]
pub(super) struct Keys {
    bytes: Vec<u8>,
    ends: Vec<u32>,
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
        let (mut low, mut high) = (from, until);
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
        }
        let old_len = self.bytes.len();
        self.bytes.extend_from_slice(key);
        self.bytes.copy_within(start..old_len, start + key.len());
        self.bytes[start..start + key.len()].copy_from_slice(key);
        let len = to_u32(key.len());
        self.ends.insert(place, to_u32(start));
        self.ends[place..].iter_mut().for_each(|end| *end += len);
    }

    pub(super) fn push(&mut self, key: &[u8]) {
        self.bytes.extend_from_slice(key);
        self.ends.push(to_u32(self.bytes.len()));
    }

    pub(super) fn remove(&mut self, place: usize) {
        let (start, end) = (self.start(place), self.ends[place]);
        self.bytes.drain(start..end as usize);
        self.ends.remove(place);
        let len = end - to_u32(start);
        self.ends[place..].iter_mut().for_each(|end| *end -= len);
    }

    /// A copy of those at `places`, with room for no more.
    pub(super) fn slice(&self, places: core::ops::Range<usize>) -> Self {
        let (start, end) = (self.start(places.start), self.start(places.end));
        let ends = &self.ends[places];
        Self {
            bytes: self.bytes[start..end].to_vec(),
            ends: ends.iter().map(|end| end - to_u32(start)).collect(),
        }
    }

    pub(super) fn append(&mut self, other: &Self) {
        let base = to_u32(self.bytes.len());
        self.bytes.extend_from_slice(&other.bytes);
        self.ends.extend(other.ends.iter().map(|end| base + end));
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
    fn separators_are_short() {
        assert_eq!(separator(b"abcx", b"abdyyy"), b"abd");
        assert_eq!(separator(b"ab", b"abc"), b"abc");
        assert_eq!(separator(b"", b"x"), b"x");
    }
}
