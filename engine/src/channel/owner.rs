//! The owner of a channel's log.

use super::{Signal, capacity::Capacity};
use crate::{
    error::{Error, ErrorKind, Result},
    format::{Kind, SegmentHeader},
    ids::{EventSeq, Lsn},
    log::{Apply, BARE_IMAGE_BYTES, Beginning, Frame, Missing},
    queue::{Change, Queue, State},
    sync::Waiters,
};
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

/// Stands between the log and the queue: state, credits and who waits change together.
pub(crate) struct Owner {
    pub(super) queue: Queue,
    pub(super) capacity: Arc<Capacity>,
    pub(super) ready: Waiters,
    pub(super) signal: Arc<Signal>,
    pub(super) checkpoint_log_bytes: u64,
    /// Events that gap frames gave up since the open.
    pub(super) lost: AtomicU64,
}

impl Apply for Owner {
    fn restore(&self, beginning: Beginning<'_>) -> Result<Lsn> {
        let (state, lsn) = match beginning {
            Beginning::Image(image) if image.owner.len() == BARE_IMAGE_BYTES => {
                let what = "this is a bare log, not a channel: open it as a Wal";
                return Err(Error::new(ErrorKind::NotAChannel, what));
            }
            Beginning::Image(image) => (State::from_image(&image.owner)?, image.lsn),
            Beginning::Empty => (State::default(), Lsn::default()),
            Beginning::At(oldest) => {
                (State::behind_what_is_gone(oldest.first_item), oldest.first_lsn.previous())
            }
        };
        self.queue.restore(state);
        Ok(lsn)
    }

    fn pass(&self, until: EventSeq) {
        self.queue.pass_to(until);
    }

    fn apply(&self, frame: &Frame) -> Result<()> {
        match self.queue.apply(frame)? {
            Change::Put(events) if events > 0 => self.ready.tell(1),
            Change::Took(events) => {
                self.capacity.give_back(events);
                if frame.header.kind == Kind::GAP {
                    self.lost.fetch_add(events, Ordering::Relaxed);
                }
            }
            Change::Put(_) | Change::Nothing => {}
        }
        self.signal.count(frame.header.frame_len(), self.checkpoint_log_bytes);
        Ok(())
    }

    fn missing_before(
        &self,
        oldest: &SegmentHeader,
        held_back: &[Frame],
    ) -> Result<Option<Missing>> {
        self.queue.missing_before(oldest, held_back)
    }

    fn owed_of(&self, events: (EventSeq, EventSeq)) -> (EventSeq, EventSeq) {
        self.queue.with_state(|state| state.owed_of(events))
    }

    fn image(&self) -> Vec<u8> {
        self.queue.image()
    }

    fn stopped(&self) {
        self.capacity.close();
        self.ready.tell_all();
    }

    fn short_of_space(&self) {
        self.signal.call();
    }
}
