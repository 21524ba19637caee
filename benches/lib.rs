//! Shared pieces of the benchmarks: the raw floor of a disk, a disk of memory, and honest spreads.

pub mod floor;
pub mod memory;
pub mod spread;

/// The size of an event in every benchmark, in bytes.
pub const EVENT_BYTES: usize = 500;

/// Bytes that no disk or checksum finds easy: a xorshift sequence from `seed`.
#[must_use]
pub fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    std::iter::repeat_with(&mut next).flatten().take(len).collect()
}
