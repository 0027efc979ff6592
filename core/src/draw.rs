//! Luck, keyed and stateless: the same four numbers always draw the same lot.
//!
//! There is no generator whose state a new draw could shift: a draw added in one place leaves all
//! others as they were, which keeps old seeds meaningful.

/// What a draw is for. Two domains never share a lot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum Domain {
    /// Randomised election timeouts.
    Election = 1,
    /// Lease ids picked by the server.
    Lease = 2,
    /// Spread of progress notifications over watch streams.
    Watch = 3,
    /// Free for shells and simulators: they add their own numbers on top.
    Shell = 1 << 32,
}

/// Draws 64 even bits for (`seed`, `domain`, `node`, `n`).
pub const fn draw(seed: u64, domain: u64, node: u64, n: u64) -> u64 {
    let mut lot = mix(seed ^ 0x9e37_79b9_7f4a_7c15);
    lot = mix(lot ^ domain);
    lot = mix(lot ^ node);
    mix(lot ^ n)
}

/// Draws below `bound` (exclusive, at least 1) by multiplication: no division, negligible bias.
pub const fn draw_below(bound: u64, lot: u64) -> u64 {
    ((lot as u128 * bound as u128) >> 64) as u64
}

/// The finaliser of SplitMix64: a bijection that spreads every input bit over all output bits.
const fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_argument_matters_and_nothing_else() {
        let lot = draw(1, 2, 3, 4);
        assert_eq!(lot, draw(1, 2, 3, 4));
        for other in [draw(2, 2, 3, 4), draw(1, 3, 3, 4), draw(1, 2, 4, 4), draw(1, 2, 3, 5)] {
            assert_ne!(lot, other);
        }
    }

    #[test]
    fn below_stays_below_and_reaches_everything() {
        let mut seen = [false; 7];
        for n in 0..200 {
            seen[draw_below(7, draw(9, 9, 9, n)) as usize] = true;
        }
        assert_eq!(seen, [true; 7]);
    }
}
