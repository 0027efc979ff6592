//! Names of keys, and which of them an operation takes.
//!
//! ```text
//! bytes 8, number 300   d8 04 00 00 00 00 00 00     as etcd's tool writes it: a varint, then zeros
//! prefix key/           key/0000000300              for people, and in the order of the numbers
//! ```

use bytes::Bytes;

/// So many keys, and an order to take them in.
#[derive(Clone, Debug)]
pub struct Keys {
    naming: Naming,
    count: u64,
    is_sequential: bool,
}

#[derive(Clone, Debug)]
enum Naming {
    /// So many bytes that begin with the number.
    Varint(usize),
    /// The number's digits behind this.
    Numbered(&'static str),
}

impl Keys {
    /// Keys of so many bytes, named as etcd's tool names them.
    ///
    /// # Errors
    /// So few bytes do not hold the last number.
    pub fn varint(bytes: usize, count: u64) -> Result<Self, String> {
        let least = varint(count.saturating_sub(1)).len();
        if bytes < least {
            return Err(format!("{count} keys need at least {least} bytes each, not {bytes}"));
        }
        Ok(Self { naming: Naming::Varint(bytes), count: count.max(1), is_sequential: false })
    }

    /// Keys that begin with this and sort as their numbers do.
    pub const fn numbered(prefix: &'static str, count: u64) -> Self {
        let count = if count == 0 { 1 } else { count };
        Self { naming: Naming::Numbered(prefix), count, is_sequential: false }
    }

    /// The same keys, taken one after the other instead of at random.
    #[must_use]
    pub fn sequential(self, is_sequential: bool) -> Self {
        Self { is_sequential, ..self }
    }

    /// How many there are.
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// The key of a number.
    pub fn name(&self, number: u64) -> Bytes {
        match self.naming {
            Naming::Varint(bytes) => {
                let mut name = varint(number);
                name.resize(bytes, 0);
                name.into()
            }
            Naming::Numbered(prefix) => format!("{prefix}{number:010}").into(),
        }
    }

    /// The number of the key that the operation of this turn takes.
    pub fn number_at(&self, turn: u64) -> u64 {
        (if self.is_sequential { turn } else { spread(turn) }) % self.count
    }

    /// That key.
    pub fn at(&self, turn: u64) -> Bytes {
        self.name(self.number_at(turn))
    }
}

/// A number that has nothing to do with the ones before and after it, the same in every run.
pub const fn spread(turn: u64) -> u64 {
    let mut mixed = turn.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// A number as Go's `binary.PutVarint` has it, which is for numbers with a sign.
fn varint(number: u64) -> Vec<u8> {
    let mut rest = number << 1;
    let mut bytes = Vec::new();
    while rest >= 0x80 {
        bytes.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    bytes.push(rest as u8);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_named_as_etcds_tool_does() {
        let keys = Keys::varint(8, 1_000).unwrap();
        assert_eq!(keys.name(0), &[0; 8][..]);
        assert_eq!(keys.name(300), &[0xd8, 4, 0, 0, 0, 0, 0, 0][..]);
        assert_eq!(Keys::varint(1, 65).unwrap_err(), "65 keys need at least 2 bytes each, not 1");
        assert!(Keys::varint(1, 64).is_ok());
    }

    #[test]
    fn numbered_keys_sort_as_their_numbers() {
        let keys = Keys::numbered("key/", 100_000);
        assert_eq!(keys.name(7), "key/0000000007");
        assert!(keys.name(99) < keys.name(100));
    }

    #[test]
    fn turns_take_all_keys_in_order_or_in_none() {
        let keys = Keys::numbered("k", 10).sequential(true);
        let numbers: Vec<u64> = (8..12).map(|turn| keys.number_at(turn)).collect();
        assert_eq!(numbers, [8, 9, 0, 1]);
        let keys = keys.sequential(false);
        let mut seen = [0; 10];
        (0..10_000).for_each(|turn| seen[keys.number_at(turn) as usize] += 1);
        assert!(seen.iter().all(|count| (850..1_150).contains(count)), "{seen:?}");
    }
}
