//! The clients: tonic's own stubs over connections that the shell's own dialer makes.
//!
//! | Who | Does |
//! |---|---|
//! | `writer` | puts, gets, deletes, transactions; a deserter goes away in the middle of them |
//! | `watcher` | follows all keys over every break; now and then does not read for a while |
//! | `keeper` | keeps a lease with a key alive; a lease that dies too early is an objection |
//! | `auditor` | waits for all to be served after the healing, and looks what is left |
//!
//! Each does until the healing as it likes, and then what is due of it: within a bound.

mod auditor;
mod caller;
mod keeper;
mod watcher;
mod writer;

pub(super) use auditor::audit;
pub(super) use keeper::keep;
pub(super) use watcher::follow;
pub(super) use writer::write;

use bytes::Bytes;

/// What all keys begin with.
const KEYS: &[u8] = b"k/";
/// And what follows all of them.
const KEYS_END: &[u8] = b"k0";

fn key(name: &str) -> Bytes {
    Bytes::from([KEYS, name.as_bytes()].concat())
}
