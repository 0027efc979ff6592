//! What must stay true of Quorate: the reference model, the oracles, the bugs they must find:
//!
//! - [`model`]: etcd's meaning, as plainly as it can be written;
//! - [`history`]: what clients saw, recorded in the world or from a real cluster;
//! - [`oracle`]: what judges a run or a history;
//! - [`failure`]: how a plan is judged, and what a failure looks like;
//! - [`shrink`]: a failing plan made small;
//! - [`timeline`]: one run as a picture;
//! - `second`: the same plans on madsim, where that is built in;
//! - [`planted`]: real mistakes, rebuilt one at a time, that the simulator must find;
//! - [`scenario`]: which machines are simulated, and in worlds of which shape.

pub mod failure;
pub mod history;
pub mod model;
pub mod oracle;
pub mod planted;
pub mod scenario;
#[cfg(madsim)]
pub mod second;
pub mod shrink;
pub mod timeline;
