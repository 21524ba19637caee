//! The frames that wait for a leader, and what it asks about all of them.

use super::Waiting;
use std::collections::VecDeque;

/// Frames in the order in which they came.
#[derive(Default)]
pub(super) struct Waitlist {
    frames: VecDeque<Waiting>,
    bytes: usize,
}

impl Waitlist {
    pub(super) fn push(&mut self, waiting: Waiting) {
        self.bytes += waiting.request.buffer().len();
        self.frames.push_back(waiting);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.frames.len()
    }

    /// Of all frames together.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Waiting> {
        self.frames.iter()
    }

    /// Removes the first ones: as many as stay within `bytes_max`, but one at least.
    pub(super) fn take_group(&mut self, bytes_max: usize) -> VecDeque<Waiting> {
        let mut bytes = 0;
        let fits = |waiting: &&Waiting| {
            let first = bytes == 0;
            bytes += waiting.request.buffer().len();
            first || bytes <= bytes_max
        };
        let count = self.frames.iter().take_while(fits).count();
        let group: VecDeque<Waiting> = self.frames.drain(..count).collect();
        for waiting in &group {
            self.bytes -= waiting.request.buffer().len();
        }
        group
    }

    /// Removes all.
    pub(super) fn take_all(&mut self) -> VecDeque<Waiting> {
        std::mem::take(self).frames
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Request, Slot};
    use super::*;
    use crate::format::Kind;
    use std::sync::Arc;

    fn waiting(len: usize) -> Waiting {
        let request = Request::new(Kind::PUT, 0, vec![0; Request::HEADER_ROOM + len]);
        Waiting { request, slot: Arc::<Slot>::default() }
    }

    #[test]
    fn its_bytes_follow_what_comes_and_goes() {
        let mut list = Waitlist::default();
        for len in [4000, 0, 800, 80] {
            list.push(waiting(len));
        }
        assert_eq!(list.take_group(100).len(), 1, "one at least, however large");
        let left: usize = list.iter().map(|waiting| waiting.request.buffer().len()).sum();
        assert_eq!((list.len(), list.bytes()), (3, left));
        assert_eq!(list.take_group(left - 1).len(), 2);
        assert_eq!(list.take_group(left).len(), 1);
        assert_eq!((list.len(), list.bytes(), list.is_empty()), (0, 0, true));
        list.push(waiting(8));
        assert_eq!(list.take_all().len(), 1);
        assert_eq!((list.len(), list.bytes()), (0, 0));
    }
}
