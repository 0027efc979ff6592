//! The simulated shell of Quorate: the same core in a seeded, faulty world.

pub mod world;
