//! The next segment's blocks, written ahead while the present one fills.
//!
//! A group that overwrites written blocks leaves its sync no metadata to write (docs/decisions/0012). Where takers keep up, spent segments
//! are such blocks, and small groups bring some along themselves (decision 0004). Where takers do not keep up with large groups, a thread
//! writes zeros into a spare, in step with the load: as much of the spare is there as of the present segment is full. Nothing waits for
//! it, and nothing is lost where it is late or fails: the next segment grows then.

use super::{Log, segments::directory_of, tracing_display, writer::FILLED_GROUP_BYTES_MAX};
use crate::{
    error::{Error, ErrorKind, Result},
    sync::{Condvar, Mutex},
};
use std::time::Duration;

/// So much of a segment fills before the next one is prepared: a spent one may come in time.
const START_SHARE: u64 = 8;
/// The thread is told whenever so much of a segment has filled.
const STEP_SHARE: u64 = 256;
/// What fills a segment more slowly needs no help: two megabytes a second, with segments of the default size.
const SEGMENT_TIME_MAX: Duration = Duration::from_mins(2);
/// A prepared segment must leave room for so many more.
const ROOM_FACTOR: u64 = 4;

/// How the leader tells the thread how far it has come.
#[derive(Default)]
pub(crate) struct Preparer {
    state: Mutex<State>,
    told: Condvar,
}

#[derive(Default)]
struct State {
    /// A segment is to be prepared.
    wanted: bool,
    /// Bytes of it that may be written by now.
    allowed: u64,
    end: bool,
}

/// What the writer knows of the segment that it fills.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Progress {
    /// Where the thread is told next, if it is to be.
    next_at: u64,
    began: Duration,
    /// What was written into it since the last step, and how many groups that were.
    bytes: u64,
    groups: u64,
}

impl Progress {
    /// Of a segment that begins now, and may become `bytes_max` long.
    pub(crate) fn begin(bytes_max: u64, now: Duration) -> Self {
        Self { next_at: bytes_max / START_SHARE, began: now, bytes: 0, groups: 0 }
    }

    /// A group of `bytes` ends at `offset` of its segment: tells the thread if that is a step.
    pub(crate) fn add(&mut self, log: &Log, bytes: u64, offset: u64, now: Duration) {
        self.bytes += bytes;
        self.groups += 1;
        if offset < self.next_at {
            return;
        }
        let bytes_max = log.options.segment_bytes_max;
        self.next_at = offset + bytes_max / STEP_SHARE;
        // Of this step alone: what helps itself now needs no thread.
        let group_bytes = self.bytes / self.groups;
        (self.bytes, self.groups) = (0, 0);
        if now.saturating_sub(self.began) > SEGMENT_TIME_MAX
            || group_bytes <= FILLED_GROUP_BYTES_MAX
        {
            return;
        }
        // Ahead of the log by what it had filled when this began.
        let allowed = (offset + bytes_max / START_SHARE).min(bytes_max);
        log.preparer.allow(allowed);
    }
}

impl Preparer {
    fn allow(&self, bytes: u64) {
        let mut state = self.state.lock();
        state.wanted = true;
        state.allowed = bytes;
        drop(state);
        self.told.notify_one();
    }

    /// Waits until a segment is wanted; false if the thread shall end.
    fn wait(&self) -> bool {
        let mut state = self.state.lock();
        while !state.wanted && !state.end {
            self.told.wait(&mut state);
        }
        state.wanted = false;
        !state.end
    }

    /// Waits until more than `done` bytes may be written; false if the thread shall end.
    fn pace(&self, done: u64) -> bool {
        let mut state = self.state.lock();
        while state.allowed <= done && !state.end {
            self.told.wait(&mut state);
        }
        !state.end
    }

    /// True if one was wanted since the last time: for a world without threads.
    fn is_wanted(&self) -> bool {
        std::mem::take(&mut self.state.lock().wanted)
    }

    pub(crate) fn end(&self) {
        self.state.lock().end = true;
        self.told.notify_one();
    }
}

impl Log {
    /// The body of the thread that prepares segments.
    pub(crate) fn prepare_segments(&self) {
        while self.preparer.wait() {
            let made = self.prepare_segment(&mut |done| self.preparer.pace(done));
            if let Err(error) = made {
                // The next segment grows, as they all would without this.
                crate::trace::error!(error = tracing_display(&error), "cannot prepare a segment");
            }
        }
    }

    /// Prepares a segment if one is wanted, at once: for a world without threads.
    ///
    /// # Errors
    /// `Io`.
    pub(crate) fn prepare_if_wanted(&self) -> Result<()> {
        if self.preparer.is_wanted() { self.prepare_segment(&mut |_| true) } else { Ok(()) }
    }

    /// Writes a spare for the segment after the present one, unless there is one, or the disk is short of room.
    fn prepare_segment(&self, pace: &mut dyn FnMut(u64) -> bool) -> Result<()> {
        let next = { self.end.lock().segment.next() };
        let dir = directory_of(&self.dirs, next);
        let home = self.dirs.data.get(dir).unwrap_or(&self.dirs.home);
        let bytes = self.options.segment_bytes_max;
        let wanted = self.options.free_space_min_bytes.saturating_add(bytes * ROOM_FACTOR);
        if self.dirs.vfs.free_bytes(home).is_ok_and(|free| free < wanted) {
            return Ok(());
        }
        let path = {
            let mut spares = self.spares.lock();
            if spares.has_next_segment(dir, bytes) || spares.wants_reserve(dir) {
                return Ok(());
            }
            spares.next_name(&self.dirs, dir)
        };
        let Some(path) = path else { return Ok(()) };
        // A spent segment that comes meanwhile serves as well.
        let mut pace = |done| pace(done) && !self.spares.lock().has_next_segment(dir, bytes);
        match self.dirs.vfs.reserve(&path, bytes, &mut pace) {
            Ok(true) => {
                self.spares.lock().keep(dir, path, bytes);
                self.give_up_small_spares(dir).map(drop)
            }
            Ok(false) => Ok(()),
            Err(error) => match Error::io("cannot prepare a segment", &path, error) {
                full if full.kind() == &ErrorKind::DiskFull => Ok(()),
                error => Err(error),
            },
        }
    }
}
