//! Quorate's pure core.
#![no_std]

extern crate alloc;

pub mod config;
pub mod draw;
pub mod error;
pub mod event;
pub mod ids;
pub mod input;
pub mod limits;
pub mod machine;
pub mod mvcc;
pub mod output;
pub mod peer;
pub mod schema;
pub mod stage;
pub mod storage;
pub mod time;
pub mod txn;
pub mod view;

pub use config::Config;
pub use input::{ReplicaInput, Request, Role, StateInput};
pub use machine::Machine;
pub use output::{ReplicaOutput, Response, StateOutput};
pub use view::View;
