//! Mistakes that can be built in on purpose, to prove that somebody finds them.
//!
//! ```text
//!   if planted!("torn-tail-accepted") { the mistake } else { the right code }
//! ```
//!
//! In an ordinary build the macro is `false` and this module is not there. In a build with
//! `--cfg planted` all mistakes are, and at most one of them is on: whichever the process chose.
//! The names, and what each stands for, are in `sim-tests/src/planted/list.rs`.

use core::sync::atomic::{AtomicU64, Ordering};

/// The number of the mistake that is on; 0 is none.
static CHOSEN: AtomicU64 = AtomicU64::new(0);

/// Turns the mistake of this name on, and any other off.
pub fn choose(name: &str) {
    CHOSEN.store(number(name), Ordering::Relaxed);
}

/// Whether the mistake of this number is on.
#[must_use]
pub fn is_chosen(number: u64) -> bool {
    CHOSEN.load(Ordering::Relaxed) == number
}

/// A name's number (FNV-1a).
#[must_use]
pub const fn number(name: &str) -> u64 {
    let (bytes, mut hash, mut n) = (name.as_bytes(), 0xcbf2_9ce4_8422_2325_u64, 0);
    while n < bytes.len() {
        hash = (hash ^ bytes[n] as u64).wrapping_mul(0x0100_0000_01b3);
        n += 1;
    }
    hash
}
