//! Watches under load: how long they take to begin, and how late events are.

mod fan;
mod stream;
mod unsynced;

pub use fan::{EVENTS, Fan, MADE, PUTS, Watched};
pub use stream::{Watching, watch_of};
pub use unsynced::Unsynced;
