//! The world.

pub mod observe;
