//! What bytes mean: pure functions, no I/O, no clock, and no allocation sized by unchecked input.
//!
//! docs/FORMAT.md draws every structure; `tests/golden.rs` holds both to the same bytes.

mod checkpoint;
mod checksum;
mod fields;
mod frame;
mod image;
mod manifest;
mod queue_ops;
mod segment;

pub(crate) use checkpoint::{checkpoint_from_bytes, checkpoint_to_bytes};
pub(crate) use checksum::crc32;
pub(crate) use fields::{Fields, put_bytes};
pub(crate) use frame::{FRAME_ALIGN, FRAME_HEADER_LEN, FrameHeader, Kind, NotAHeader, padded_len};
pub(crate) use image::LogImage;
pub(crate) use manifest::{Manifest, manifest_from_bytes, manifest_to_bytes};
pub(crate) use queue_ops::{
    PUT_PREAMBLE_LEN, PutBody, TakenRange, finish_put_body, put_event_prefix, take_body,
    take_ranges,
};
pub(crate) use segment::{SEGMENT_HEADER_LEN, SegmentHeader};

/// The format that this release writes, and the newest that it reads.
pub const FORMAT_VERSION: u16 = 1;
