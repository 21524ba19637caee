//! What the proofs share: the process that is killed, the language in which it tells what was acknowledged, and the record that its
//! parent keeps.

pub mod chance;
pub mod full;
mod life;
mod log;
mod look;
pub mod record;
pub mod role;
pub mod words;

/// The result of a step of a proof.
pub type Answer<T> = Result<T, Box<dyn std::error::Error>>;
