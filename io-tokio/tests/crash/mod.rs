//! Crash cycles of the real log and store, and what they may come to.
//!
//! ```text
//!   member.rs   a process of its own: opens, says what it found, then writes until it dies;
//!               says before each step what it will do, and after it that it is done
//!   story.rs    the words it says, and what entries and rows are made of
//!   model.rs    hears them; knows what may be found next time
//! ```

pub(crate) mod member;
pub(crate) mod model;
pub(crate) mod story;
