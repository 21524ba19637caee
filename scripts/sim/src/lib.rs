//! Seeded histories of the engine on a simulated disk, held against a model.
//!
//! A seed makes a history: transactions, checkpoints, reopens, and what befalls the disk meanwhile. It is run, and after each open what
//! the log holds is compared with what it may hold. A history that fails is made small, and printed with the command that replays it.
//!
//! `history` is what happens, as data; `model` says what must be there; `queue` and `wal` drive the two owners of a log; `run` runs one
//! seed and shrinks; `cli` runs many and prints the tables.
#![expect(
    clippy::cast_possible_truncation,
    reason = "sizes of events and numbers of steps are small"
)]

mod cli;
mod history;
mod model;
mod panics;
mod places;
mod queue;
mod run;
mod seen;
mod wal;

pub use cli::{Order, run};
