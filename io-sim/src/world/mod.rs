//! The world.

pub mod clock;
pub mod disk;
pub mod luck;
pub mod observe;
pub mod queue;
pub mod table;
