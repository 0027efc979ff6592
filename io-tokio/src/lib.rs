//! The production shell.

pub mod channels;
pub mod clock;
pub mod disk;
pub mod driver;
