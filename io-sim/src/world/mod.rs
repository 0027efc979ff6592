//! The world.

pub mod clock;
pub mod disk;
pub mod luck;
pub mod network;
pub mod observe;
pub mod plan;
pub mod queue;
pub mod table;
mod words;
