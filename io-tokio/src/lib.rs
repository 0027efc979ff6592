//! The production shell: the same core with real sockets, a real disk and a real clock.
//!
//! ```text
//!   transport/  ports, connections, streams between members; tls/ what they show and believe
//!       |  grpc/  gateway/  http/   bytes become messages; no rule of behaviour here
//!       v
//!   driver.rs   the loops: replica, log, state, store
//!       |
//!       v
//!   disk/       the log in etcd's format, the store in fjall, images
//! ```
//!
//! On top of them: [`console`], a page for people. Beside them: [`bolt`], etcd's files; [`ctl`],
//! the client; [`utl`], what is done to files while no member runs; [`mod@bench`], load on servers;
//! [`client`] and [`srv`], how servers are spoken with and found; [`relay`] and [`proxy`], ports
//! that lead to them.
//!
//! [`server`] wires it together; [`cli`] declares every flag once.

mod background;
pub mod bench;
pub mod bolt;
pub mod bootstrap;
pub mod channels;
pub mod cli;
pub mod client;
pub mod clock;
pub mod console;
pub mod ctl;
pub mod disk;
pub mod driver;
pub mod gateway;
pub mod grpc;
pub mod http;
pub mod logging;
pub mod member;
mod memory;
pub mod metrics;
pub mod proxy;
pub mod relay;
pub mod server;
pub mod spans;
pub mod srv;
pub mod tls;
pub mod tokens;
mod tool;
pub mod transport;
pub mod utl;
pub mod version;
