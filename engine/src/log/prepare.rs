//! The next segment's blocks, written ahead while the present one fills.
//!
//! A group that overwrites written blocks leaves its sync no metadata to write (docs/decisions/0012). Where takers keep up, spent segments
//! are such blocks, and small groups bring some along themselves (decision 0004). Where takers do not keep up with large groups, a thread
//! writes zeros into a spare, in step with the load: as much of the spare is there as of the present segment is full. Nothing waits for
//! it, and nothing is lost where it is late or fails: the next segment grows then. What is begun goes as soon as the room may be needed
//! elsewhere, and when the load has ended.

use super::{
    Log, segments::directory_of, spares::NEXT_SEGMENTS, tracing_display,
    writer::FILLED_GROUP_BYTES_MAX,
};
use crate::{
    error::{Error, ErrorKind, Result},
    io::Filling,
    sync::{Condvar, Mutex},
};
use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

/// So much of a segment fills before the next one is prepared: a spent one may come in time.
const START_SHARE: u64 = 8;
/// The thread is told whenever so much of a segment has filled.
const STEP_SHARE: u64 = 256;
/// A load that brings less in such a time needs no help, or has ended: two megabytes a second, with segments of the default size, for one
/// to be begun.
const PAUSE_MAX: Duration = Duration::from_mins(2);
/// A prepared segment must leave room for so many more.
const ROOM_FACTOR: u64 = 4;
/// Between two pieces of this size the thread looks whether it may go on.
const PIECE_BYTES: u64 = 1 << 20;
/// What is allowed ends with a block of this size: none is written twice.
const BLOCK_BYTES: u64 = 4096;

/// How far the leader has come, and who prepares segments for it.
pub(crate) struct Preparer {
    progress: Mutex<Progress>,
    told: Condvar,
    /// What is begun. Held by who goes on with it.
    begun: Mutex<Option<Begun>>,
}

/// The spare that is being made.
struct Begun {
    dir: usize,
    path: PathBuf,
    fill: Filling,
    filled: u64,
}

/// How far the segment has filled, and the next one may.
#[derive(Debug)]
struct Progress {
    bytes_max: u64,
    /// At this offset the thread is told next.
    next_at: u64,
    /// When that was last, or when the segment began.
    told_at: Duration,
    /// What was written since the last step, and how many groups that were.
    bytes: u64,
    groups: u64,
    /// So much of the next segment may be there by now; `None`: none is wanted.
    allowed: Option<u64>,
    end: bool,
}

/// What is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Due {
    /// So much of it shall be there.
    Bytes(u64),
    /// What is begun shall go.
    Nothing,
}

impl Progress {
    fn new(bytes_max: u64, now: Duration) -> Self {
        let (bytes, groups, allowed) = (0, 0, None);
        let mut progress =
            Self { bytes_max, next_at: 0, told_at: now, bytes, groups, allowed, end: false };
        progress.begin(now);
        progress
    }

    /// A segment begins. What there is of the next one stays as it is until this one has come as far.
    fn begin(&mut self, now: Duration) {
        (self.next_at, self.told_at) = (self.bytes_max / START_SHARE, now);
        (self.bytes, self.groups) = (0, 0);
        self.allowed = self.allowed.map(|_| 0);
    }

    /// A group of `bytes` ends at `offset` of the segment; true if the thread is to be told.
    fn add(&mut self, bytes: u64, offset: u64, now: Duration) -> bool {
        self.bytes += bytes;
        self.groups += 1;
        if offset < self.next_at {
            return false;
        }
        self.next_at = offset + self.bytes_max / STEP_SHARE;
        // Of this step alone: what helps itself now needs no thread.
        let group_bytes = self.bytes / self.groups;
        (self.bytes, self.groups) = (0, 0);
        if self.is_over(now) || group_bytes <= FILLED_GROUP_BYTES_MAX {
            return false;
        }
        self.told_at = now;
        // Ahead of the log by what it had filled when this began.
        let allowed = (offset + self.bytes_max / START_SHARE).next_multiple_of(BLOCK_BYTES);
        self.allowed = Some(allowed.min(self.bytes_max));
        true
    }

    /// No next segment, as long as this one fills.
    fn give_up(&mut self) {
        (self.next_at, self.allowed) = (u64::MAX, None);
    }

    /// The load has ended, or was none.
    fn is_over(&self, now: Duration) -> bool {
        now.saturating_sub(self.told_at) > PAUSE_MAX
    }

    /// What is due of the next segment, of which so many bytes are there, if it is begun.
    fn due(&self, begun: Option<u64>, now: Duration) -> Option<Due> {
        match self.allowed.filter(|_| !self.end && !self.is_over(now)) {
            Some(allowed) => (allowed > begun.unwrap_or(0)).then_some(Due::Bytes(allowed)),
            None => begun.map(|_| Due::Nothing),
        }
    }
}

impl Preparer {
    pub(crate) fn new(bytes_max: u64, now: Duration) -> Self {
        let progress = Mutex::new(Progress::new(bytes_max, now));
        Self { progress, told: Condvar::default(), begun: Mutex::default() }
    }

    /// A group of `bytes` was written, up to `offset` of the present segment.
    pub(crate) fn wrote(&self, bytes: u64, offset: u64, now: Duration) {
        if self.progress.lock().add(bytes, offset, now) {
            self.told.notify_one();
        }
    }

    /// The present segment is another one.
    pub(crate) fn rotated(&self, now: Duration) {
        self.progress.lock().begin(now);
    }

    /// The disk is full, or nothing is to be prepared behind this segment: what is begun goes.
    pub(crate) fn give_up(&self) {
        self.progress.lock().give_up();
        self.told.notify_one();
    }

    pub(crate) fn end(&self) {
        self.progress.lock().end = true;
        self.told.notify_one();
    }

    fn filled(&self) -> Option<u64> {
        self.begun.lock().as_ref().map(|begun| begun.filled)
    }

    /// Waits until something is due; false if the thread shall end.
    fn wait(&self, now: impl Fn() -> Duration) -> bool {
        let filled = self.filled();
        let mut progress = self.progress.lock();
        while !progress.end && progress.due(filled, now()).is_none() {
            if filled.is_none() {
                self.told.wait(&mut progress);
            } else {
                // Nobody tells that the load has ended.
                self.told.wait_until(&mut progress, Instant::now() + PAUSE_MAX);
            }
        }
        !progress.end
    }
}

impl Log {
    /// The body of the thread that prepares segments.
    pub(crate) fn prepare_segments(&self) {
        while self.preparer.wait(|| self.dirs.vfs.monotonic()) {
            if let Err(error) = self.prepare() {
                // The next segment grows, as they all would without this.
                crate::trace::error!(error = tracing_display(&error), "cannot prepare a segment");
            }
        }
    }

    /// Does what is due of the next segment.
    ///
    /// # Errors
    /// `Io`, once for each segment: then there is none.
    pub(crate) fn prepare(&self) -> Result<()> {
        let mut begun = self.preparer.begun.lock();
        loop {
            let (filled, now) =
                (begun.as_ref().map(|begun| begun.filled), self.dirs.vfs.monotonic());
            let due = self.preparer.progress.lock().due(filled, now);
            let answer = match due {
                None => return Ok(()),
                Some(Due::Bytes(bytes)) => self.prepare_up_to(bytes, &mut begun),
                Some(Due::Nothing) => {
                    *begun = None;
                    continue;
                }
            };
            if !matches!(answer, Ok(true)) {
                *begun = None;
                self.preparer.give_up();
            }
            answer?;
        }
    }

    /// Writes a piece of the next segment, which may be `bytes` long by now. False: it is complete, or there shall be none.
    fn prepare_up_to(&self, bytes: u64, slot: &mut Option<Begun>) -> Result<bool> {
        let next = { self.end.lock().segment.next() };
        let dir = directory_of(&self.dirs, next);
        // One that came too late for its segment is none for a segment elsewhere.
        slot.take_if(|begun| begun.dir != dir);
        let Some(path) = self.path_to_prepare(dir, slot.as_ref()) else { return Ok(false) };
        let size_bytes = self.options.segment_bytes_max;
        let vfs = &self.dirs.vfs;
        let mut fill_more = || {
            let begun = match slot {
                Some(begun) => begun,
                None => {
                    let fill = vfs.reserve(&path, size_bytes)?;
                    slot.insert(Begun { dir, path: path.clone(), fill, filled: 0 })
                }
            };
            begun.filled = bytes.min(begun.filled + PIECE_BYTES);
            (begun.fill)(begun.filled)
        };
        match fill_more().map_err(|error| Error::io("cannot prepare a segment", &path, error)) {
            Ok(true) => {
                self.spares.lock().keep(dir, path, size_bytes);
                self.give_up_small_spares(dir)
            }
            Ok(false) => Ok(true),
            Err(full) if full.kind() == &ErrorKind::DiskFull => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Where the next segment is prepared, or would be; `None`: there is one, or no room for one.
    fn path_to_prepare(&self, dir: usize, begun: Option<&Begun>) -> Option<PathBuf> {
        let home = self.dirs.data.get(dir).unwrap_or(&self.dirs.home);
        let bytes = self.options.segment_bytes_max;
        let filled = begun.map_or(0, |begun| begun.filled);
        let room = self.dirs.vfs.free_bytes(home).unwrap_or(u64::MAX).saturating_add(filled);
        let wanted = self.options.free_space_min_bytes.saturating_add(bytes * ROOM_FACTOR);
        let mut spares = self.spares.lock();
        // A spent segment that comes meanwhile serves as well. But what is begun is made whole: while the next segment fills it stands in
        // for the spent one that is still to come, and then spent ones come in time, as often as segments fill.
        let enough = if begun.is_some() { NEXT_SEGMENTS } else { 1 };
        let is_enough = spares.next_segments(dir, bytes) >= enough;
        if room < wanted || is_enough || spares.wants_reserve(dir) {
            return None;
        }
        match begun {
            Some(begun) => Some(begun.path.clone()),
            None => spares.next_name(&self.dirs, dir),
        }
    }
}

#[cfg(all(test, fchannel_loom))]
mod interleavings;

#[cfg(test)]
mod tests {
    use super::*;

    const SEGMENT: u64 = 256 << 20;
    const LARGE: u64 = 1 << 20;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// A segment that fills by groups of `group` bytes up to a share of itself, at `now`.
    fn fill(progress: &mut Progress, group: u64, from: u64, until: u64, now: u64) {
        for offset in (from + group..=until).step_by(usize::try_from(group).unwrap()) {
            progress.add(group, offset, seconds(now));
        }
    }

    #[test]
    fn one_is_begun_after_an_eighth_and_stays_an_eighth_ahead() {
        let mut progress = Progress::new(SEGMENT, seconds(0));
        fill(&mut progress, LARGE, 0, SEGMENT / 8 - LARGE, 1);
        assert_eq!(progress.due(None, seconds(1)), None);
        fill(&mut progress, LARGE, SEGMENT / 8 - LARGE, SEGMENT / 8, 1);
        assert_eq!(progress.due(None, seconds(1)), Some(Due::Bytes(SEGMENT / 4)));
        assert_eq!(progress.due(Some(SEGMENT / 4), seconds(1)), None);
        fill(&mut progress, LARGE, SEGMENT / 8, SEGMENT, 2);
        assert_eq!(progress.due(Some(SEGMENT / 4), seconds(2)), Some(Due::Bytes(SEGMENT)));
    }

    /// What the segment before allowed let a thread that was late go on at full speed, or begin at once.
    #[test]
    fn a_rotation_begins_anew() {
        let mut progress = Progress::new(SEGMENT, seconds(0));
        fill(&mut progress, LARGE, 0, SEGMENT, 1);
        progress.begin(seconds(2));
        assert_eq!(progress.due(None, seconds(2)), None);
        assert_eq!(progress.due(Some(SEGMENT / 2), seconds(2)), None, "it stays, and waits");
        fill(&mut progress, LARGE, 0, SEGMENT / 4, 3);
        assert_eq!(progress.due(Some(SEGMENT / 2), seconds(3)), None);
        fill(&mut progress, LARGE, SEGMENT / 4, SEGMENT / 2, 3);
        let allowed = SEGMENT / 2 + SEGMENT / 8;
        assert_eq!(progress.due(Some(SEGMENT / 2), seconds(3)), Some(Due::Bytes(allowed)));
    }

    #[test]
    fn it_is_given_up_when_the_load_has_ended() {
        let mut progress = Progress::new(SEGMENT, seconds(0));
        fill(&mut progress, LARGE, 0, SEGMENT / 2, 100);
        assert_eq!(progress.due(Some(SEGMENT), seconds(220)), None);
        assert_eq!(progress.due(Some(SEGMENT), seconds(221)), Some(Due::Nothing));
        fill(&mut progress, LARGE, SEGMENT / 2, SEGMENT, 221);
        assert_eq!(progress.due(None, seconds(221)), None, "not for this segment");
    }

    #[test]
    fn what_fills_slowly_or_by_small_groups_gets_none() {
        let mut slow = Progress::new(SEGMENT, seconds(0));
        fill(&mut slow, LARGE, 0, SEGMENT, 121);
        assert_eq!(slow.due(None, seconds(121)), None);
        let mut small = Progress::new(SEGMENT, seconds(0));
        fill(&mut small, FILLED_GROUP_BYTES_MAX, 0, SEGMENT, 1);
        assert_eq!(small.due(None, seconds(1)), None);
    }

    #[test]
    fn given_up_is_until_the_next_rotation() {
        let mut progress = Progress::new(SEGMENT, seconds(0));
        fill(&mut progress, LARGE, 0, SEGMENT / 2, 1);
        progress.give_up();
        assert_eq!(progress.due(Some(LARGE), seconds(1)), Some(Due::Nothing));
        fill(&mut progress, LARGE, SEGMENT / 2, SEGMENT, 1);
        assert_eq!(progress.due(None, seconds(1)), None);
        progress.begin(seconds(2));
        assert_eq!(progress.due(Some(LARGE), seconds(2)), Some(Due::Nothing), "not forgotten");
        fill(&mut progress, LARGE, 0, SEGMENT / 8, 2);
        assert_eq!(progress.due(None, seconds(2)), Some(Due::Bytes(SEGMENT / 4)));
    }
}
