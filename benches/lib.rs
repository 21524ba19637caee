//! Shared pieces of the benchmarks: the raw floor of a disk, a disk of memory, and honest spreads.

pub mod memory;

pub use fchannel_agent::bench::{floor, noise, spread};

/// The size of an event in every benchmark, in bytes.
pub const EVENT_BYTES: usize = 500;
