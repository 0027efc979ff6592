//! On madsim: the same members as tasks of madsim's executor, on its time and its network.
//!
//! ```text
//!   Cluster --nodes--> member: Replica + State, driven by one task, on the world's disk model
//!      ^                 ^ datagrams between members, connections with clients
//!      `--- kill, pause, clog: madsim's own Handle and NetSim, or the cluster's words for them
//!   Client: the shape of `etcd-client`
//! ```
//!
//! For two kinds of readers. Whoever tests a service on madsim gets a real cluster inside that
//! simulation: [`Cluster`] and [`Client`]. And Quorate gets a second scheduler for its own members,
//! which must reach the verdicts of the [`world`](crate::world).
//!
//! Invariants:
//! - all order comes from madsim and its seed, all luck of members and disks from keys: `select!`
//!   is always biased, nothing iterates over a hash map;
//! - members know each other's words only as datagrams: a cut link loses them;
//! - a killed node's disk loses what a disk may lose.
//!
//! Deliberately absent: users, changes of the group, bytes on the wire.

pub mod client;
mod cluster;
mod member;
mod outputs;
mod reads;
mod site;
pub mod trial;
mod wire;

pub use client::Client;
pub use cluster::{Cluster, Options};
