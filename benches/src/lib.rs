//! Quorate measured.
//!
//! ```text
//! benches/*.rs   parts, under criterion         cargo bench -p quorate-benches
//! src/drift/     those, beside a baseline       cargo run -p quorate-benches --bin drift
//! src/compare/   the whole, beside a real etcd  cargo run --release -p quorate-benches
//! ```
//!
//! Absolute figures depend on the machine and on who shares it; ratios of two servers driven in
//! turn by the same load are what is worth keeping.
