//! The production shell.

pub mod disk;
