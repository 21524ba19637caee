//! Recent frames in memory: takers that keep up never read the disk. The buffers of those that leave serve again.

use super::Frame;
use crate::ids::FramePtr;
use bytes::Bytes;
use std::collections::VecDeque;

/// Smaller buffers come from the allocator as cheaply. Larger ones it gives back to the kernel, whose fresh pages then cost a fault each:
/// measured, 11 of them for a commit of 54 KB, and a sixth of its processor's time.
const REUSED_BYTES_MIN: usize = 16 << 10;

/// The newest frames, up to a number of bytes.
pub(crate) struct Tail {
    /// In the order of their places, which is the order of the log.
    frames: VecDeque<Frame>,
    bytes: u64,
    bytes_max: u64,
    /// Empty, and nobody reads what was in them.
    buffers: Vec<Vec<u8>>,
    /// Their capacities: at most a quarter of `bytes_max`.
    buffers_bytes: u64,
    /// How long the last frame with items was: as long, probably, as the next one.
    last_len: u64,
}

impl Tail {
    pub(crate) fn new(bytes_max: u64) -> Self {
        Self {
            frames: VecDeque::new(),
            bytes: 0,
            bytes_max,
            buffers: Vec::new(),
            buffers_bytes: 0,
            last_len: 0,
        }
    }

    /// Adds the newest frame, and drops the oldest ones that no longer fit.
    pub(crate) fn push(&mut self, frame: Frame) {
        let len = frame.header.frame_len();
        if frame.header.item_count > 0 {
            self.last_len = len;
            // One by one: among large frames a small one costs little, and where all are small none is kept for long.
            if len < REUSED_BYTES_MIN as u64
                && let Some(buffer) = self.buffers.pop()
            {
                self.buffers_bytes -= buffer.capacity() as u64;
            }
        }
        self.bytes += len;
        self.frames.push_back(frame);
        while self.bytes > self.bytes_max {
            let Some(oldest) = self.frames.pop_front() else { break };
            self.bytes -= oldest.header.frame_len();
            self.keep_buffer(oldest.body);
        }
    }

    /// The frame at `ptr`, if it is here.
    pub(crate) fn get(&self, ptr: FramePtr) -> Option<Frame> {
        let at = self.frames.binary_search_by_key(&ptr, |frame| frame.ptr).ok()?;
        self.frames.get(at).cloned()
    }

    /// An empty buffer for a frame: one that served before, where frames are so large that this is worth it.
    pub(crate) fn take_buffer(&mut self) -> Vec<u8> {
        if self.last_len < REUSED_BYTES_MIN as u64 {
            return Vec::new();
        }
        let Some(buffer) = self.buffers.pop() else { return Vec::new() };
        self.buffers_bytes -= buffer.capacity() as u64;
        buffer
    }

    fn keep_buffer(&mut self, body: Bytes) {
        if self.last_len < REUSED_BYTES_MIN as u64 || body.len() < REUSED_BYTES_MIN / 2 {
            return;
        }
        // A taker may have events of it still: then it goes when they go.
        let Ok(mut body) = body.try_into_mut() else { return };
        // Else it would be moved to the front of its buffer.
        body.clear();
        let buffer = Vec::from(body);
        let bytes = buffer.capacity() as u64;
        if self.buffers_bytes + bytes <= self.bytes_max / 4 {
            self.buffers_bytes += bytes;
            self.buffers.push(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        format::{FRAME_HEADER_LEN, FrameHeader, Kind},
        ids::{EventSeq, Lsn, SegmentId},
    };

    const LEN: u32 = 40_000;

    fn frame(lsn: u64, mut buffer: Vec<u8>, body_len: u32) -> Frame {
        buffer.resize(FRAME_HEADER_LEN + body_len as usize, 7);
        let header = FrameHeader {
            salt: 1,
            lsn: Lsn::new(lsn),
            durable_lsn: Lsn::new(lsn - 1),
            first_item: EventSeq::new(lsn),
            item_count: 1,
            body_len,
            time_ms: 0,
            kind: Kind::PUT,
            body_crc: 0,
        };
        let ptr = FramePtr { segment: SegmentId::new(1), offset: lsn * 100_000 };
        Frame { header, ptr, body: Bytes::from(buffer).slice(FRAME_HEADER_LEN..) }
    }

    #[test]
    fn the_buffer_of_a_frame_that_left_serves_again() {
        let mut tail = Tail::new(8 * u64::from(LEN));
        for lsn in 1..=50 {
            let buffer = tail.take_buffer();
            assert!(buffer.is_empty());
            // Eight frames stay; from the tenth on there is the buffer of the one that left.
            assert_eq!(buffer.capacity() > 0, lsn > 9, "{lsn}");
            let frame = frame(lsn, buffer, LEN - 1000);
            let (ptr, body) = (frame.ptr, frame.body.clone());
            tail.push(frame);
            assert_eq!(tail.get(ptr).unwrap().body, body);
        }
    }

    #[test]
    fn the_kept_buffers_are_bounded() {
        let mut tail = Tail::new(8 * u64::from(LEN));
        for lsn in 1..=50 {
            tail.push(frame(lsn, Vec::new(), LEN - 1000));
        }
        assert_eq!(tail.buffers.len(), 2);
        assert!(tail.buffers_bytes <= tail.bytes_max / 4);
    }

    #[test]
    fn a_buffer_that_is_read_is_not_written() {
        let mut tail = Tail::new(8 * u64::from(LEN));
        let first = frame(1, Vec::new(), LEN - 1000);
        let (read, other) = (first.body.slice(100..200), frame(2, Vec::new(), LEN - 1000));
        let place_of = |frame: &Frame| frame.body.as_ptr() as usize;
        let (first_place, other_place) = (place_of(&first), place_of(&other));
        tail.push(first);
        tail.push(other);
        for lsn in 3..=10 {
            tail.push(frame(lsn, Vec::new(), LEN - 1000));
        }
        // The first two have left, and there is room for both.
        assert_eq!((tail.buffers.len(), tail.frames.len()), (1, 8));
        let buffer = tail.take_buffer();
        let header = FRAME_HEADER_LEN;
        assert_eq!(buffer.as_ptr() as usize + header, other_place, "that of nobody's frame");
        drop(frame(11, buffer, LEN - 1000));
        for lsn in 12..=30 {
            let buffer = tail.take_buffer();
            let frame = frame(lsn, buffer, LEN - 1000);
            assert_ne!(place_of(&frame), first_place);
            tail.push(frame);
        }
        assert_eq!(read, vec![7; 100]);
    }

    #[test]
    fn small_frames_keep_no_large_buffers() {
        let mut tail = Tail::new(8 * u64::from(LEN));
        for lsn in 1..=20 {
            tail.push(frame(lsn, Vec::new(), LEN - 1000));
        }
        assert!(tail.buffers_bytes > 0);
        let kept = tail.buffers.len() as u64;
        tail.push(frame(21, Vec::new(), 500));
        assert_eq!(tail.take_buffer().capacity(), 0, "the next one is small, too");
        assert_eq!(tail.buffers.len() as u64, kept - 1, "a single one among large ones costs one");
        for lsn in 22..=21 + kept {
            tail.push(frame(lsn, Vec::new(), 500));
        }
        assert_eq!((tail.buffers.len(), tail.buffers_bytes), (0, 0), "and they are free again");
    }
}
