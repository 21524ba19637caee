//! Which events are owed, which are leased, and what a restart begins with.

mod checkpoint;
mod leases;
mod recover;
mod state;

pub(crate) use checkpoint::{Checkpoints, read_checkpoints};
pub(crate) use leases::{Lease, Queue};
pub(crate) use recover::open;
pub(crate) use state::{Change, State};

pub use leases::{Record, TakeLimit};
