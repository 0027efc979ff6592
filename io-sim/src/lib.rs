//! The simulated shell of Quorate: the same core in a seeded, faulty world.
//!
//! - [`world`]: our own event queue; nearly all seeds run here;
//! - `on_madsim`: the same members on madsim's executor, time and network, and a cluster for the
//!   tests of others. Only there under `--cfg madsim`;
//! - `shell`: whole servers, with the production shell's own code, on turmoil's hosts and links.
//!   Only there with the feature of that name.

#[cfg(madsim)]
pub mod on_madsim;
#[cfg(feature = "shell")]
pub mod shell;
pub mod world;

#[cfg(all(feature = "on-madsim", not(madsim)))]
compile_error!("on_madsim needs madsim's own cfg: RUSTFLAGS=\"--cfg madsim\" cargo ...");
