//! The only `unsafe` of the engine, a safety note for each block.
#![expect(unsafe_code, reason = "system calls that no safe crate of ours covers")]

pub(super) mod lock;
pub(super) mod uring;
pub(super) mod write_out;
