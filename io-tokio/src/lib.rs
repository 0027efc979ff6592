//! The production shell.

pub mod bootstrap;
pub mod cli;
pub mod driver;
pub mod grpc;
pub mod http;
pub mod logging;
pub mod metrics;
pub mod server;
pub mod transport;
pub mod version;
