//! Recent frames in memory: takers that keep up never read the disk.

use super::Frame;
use crate::ids::FramePtr;
use std::collections::VecDeque;

/// The newest frames, up to a number of bytes.
pub(crate) struct Tail {
    /// In the order of their places, which is the order of the log.
    frames: VecDeque<Frame>,
    bytes: u64,
    bytes_max: u64,
}

impl Tail {
    pub(crate) fn new(bytes_max: u64) -> Self {
        Self { frames: VecDeque::new(), bytes: 0, bytes_max }
    }

    /// Adds the newest frame, and drops the oldest ones that no longer fit.
    pub(crate) fn push(&mut self, frame: Frame) {
        self.bytes += frame.header.frame_len();
        self.frames.push_back(frame);
        while self.bytes > self.bytes_max {
            let Some(oldest) = self.frames.pop_front() else { break };
            self.bytes -= oldest.header.frame_len();
        }
    }

    /// The frame at `ptr`, if it is here.
    pub(crate) fn get(&self, ptr: FramePtr) -> Option<Frame> {
        let at = self.frames.binary_search_by_key(&ptr, |frame| frame.ptr).ok()?;
        self.frames.get(at).cloned()
    }
}
