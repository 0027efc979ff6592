//! Plain HTTP: health, version, metrics, members.
//!
//! | path | client port | metrics port | peer port |
//! |---|---|---|---|
//! | `/health` | yes | yes | |
//! | `/livez`, `/readyz`, `/livez/<check>`, `/readyz/<check>` | yes | yes | |
//! | `/metrics` | yes | yes | |
//! | `/debug/vars`, `/debug/pprof/...` | yes | | |
//! | `/version` | yes | | yes |
//! | `/members`, `/vitals` | | | yes |
//!
//! Invariants
//! - Bodies and codes are etcd's, byte by byte: probes compare them.
//! - A page reads facts, or asks for one linearizable read; it changes nothing but counters.
//!
//! Deliberately absent: `/debug/requests` and `/debug/events`, which are Go's; the JSON gateway has
//! a room of its own.
//!
//! Answers to: etcd v3.7.1 `server/etcdserver/api/etcdhttp/`

mod access;
mod checks;
mod debug;
mod hosts;
mod pages;
mod profile;
mod vars;
mod vitals;

pub use access::{Access, Listed};
pub use checks::{Check, Health, Probe};
pub use hosts::Hosts;
pub(crate) use hosts::{authority_of, host_of};
pub(crate) use pages::VITALS;
pub use pages::{Pages, Surface};
pub(crate) use vitals::vitals;
