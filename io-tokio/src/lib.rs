//! The production shell.
