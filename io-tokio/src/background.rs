//! Work that gives way to the threads that serve.

use std::io;
use std::thread::{Builder, JoinHandle};

/// Threads of a smaller niceness come before the one that calls this, and before those it starts.
/// Where that may not be asked for, it is not.
pub(crate) fn give_way(niceness: i32) {
    let _ = rustix::process::nice(niceness);
}

/// Does work on a thread of its own that gives way.
///
/// # Errors
/// Of the system, when there is no thread to be had.
pub(crate) fn start<T: Send + 'static>(
    name: &str,
    niceness: i32,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<JoinHandle<T>> {
    Builder::new().name(name.to_owned()).spawn(move || {
        give_way(niceness);
        work()
    })
}
