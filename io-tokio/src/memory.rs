//! A limit for the memory of this process: what it has resident and no file does.
//!
//! ```text
//!   used:  0 -- served -- 3/4 -- one after the other -- 7/8 -- no large answers -- limit
//! ```
//!
//! One after the other goes what stays (puts, grants), which the core admits; and large answers,
//! which the front does: those, and new watch streams, are refused in the end. What gives memory
//! back, and what keeps alive what there is, goes on. Where memory is short somebody has to go on
//! as well: much of it is given back only by work, so that writes are never refused for good.
//! Large answers and parts of messages have an eighth each at most, and the log in memory a
//! sixteenth, so that what is under way has an end.
//!
//! Deliberately absent: data that is larger than the limit. It is served, and may be deleted.

use std::time::Duration;

use quorate_core::{Memory, StateInput};
use tracing::{info, warn};

use crate::driver::Core;
use crate::metrics::own_memory;

/// Caches and the program alone take a good part of this.
pub(crate) const LIMIT_MIN: u64 = 512 << 20;
/// How often it is looked at: clients send some tens of megabytes meanwhile, and what was let in
/// before goes on growing.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// What may be taken for one purpose: a part of the limit, and no more than is of use.
pub(crate) fn share(limit: Option<u64>, part: u64, most: u64) -> u64 {
    limit.map_or(most, |limit| most.min(limit / part))
}

/// What is left of so much.
fn left(used: u64, limit: u64) -> Memory {
    match used {
        _ if used >= limit - limit / 8 => Memory::Out,
        _ if used >= limit - limit / 4 => Memory::Short,
        _ => Memory::Enough,
    }
}

/// Looks for ever, and tells the core.
pub(crate) async fn watch(limit: Option<u64>, core: &Core) {
    let Some(limit) = limit else { return std::future::pending().await };
    let mut told = Memory::default();
    loop {
        let used = own_memory().unwrap_or_default() as u64;
        let left = left(used, limit);
        if left != told {
            core.tell_state(StateInput::Memory(left));
            match left {
                Memory::Enough => info!(used, limit, "there is memory again"),
                Memory::Short => warn!(used, limit, "memory is short; what needs it takes turns"),
                Memory::Out => warn!(used, limit, "memory is out; large reads are refused"),
            }
            told = left;
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_a_part_and_no_more_than_is_of_use() {
        assert_eq!(share(None, 8, 100), 100);
        assert_eq!(share(Some(400), 8, 100), 50);
        assert_eq!(share(Some(4_000), 8, 100), 100);
    }

    #[test]
    fn memory_is_short_from_three_quarters_on_and_out_from_seven_eighths_on() {
        let found = [599, 600, 699, 700, 900].map(|used| left(used, 800));
        let [enough, short, out] = [Memory::Enough, Memory::Short, Memory::Out];
        assert_eq!(found, [enough, short, short, out, out]);
    }
}
