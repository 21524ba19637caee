//! Looking into the directories of a log, live or not: no lock, no write, no sync, and on behind damage.
//!
//! An [`Inspector`] reads what a restart would read, once, when it is opened, and everything it says holds as of that moment
//! ([`Inspector::horizon`]). The walkers use the scan of recovery; what recovery refuses they tell about and pass.

mod finding;
mod fold;
mod places;
mod position;
mod report;
mod rows;
mod salvage;
mod stream;
mod summary;
mod verify;
mod view;
mod walk;

pub use finding::{Finding, Severity};
pub use position::Position;
pub use rows::{
    CheckpointContent, CheckpointInfo, EventInfo, EventRow, FrameInfo, FrameRow, Hole, SegmentInfo,
    StateInfo,
};
pub use salvage::{BodyState, SalvagedEvent, SalvagedFrame};
pub use stream::Which;
pub use summary::{DirectoryInfo, Summary};
pub use verify::{Progress, Verification, Verify};

use crate::{
    error::{Error, ErrorKind, Result},
    ids::{FramePtr, Lsn, SegmentId},
    io::{Holder, StdVfs, Vfs},
    log::{Frame, ImageSource, Quarantine, Quarantined, Verdict},
    queue::State,
};
use bytes::Bytes;
use fold::{Begin, Fold, begin};
use places::Places;
use std::{
    ops::ControlFlow::{self, Continue},
    path::{Path, PathBuf},
    sync::Arc,
};
use view::{TRIES, View};
use walk::{Follow, Stretch, Walked, walk};

/// A read-only look into a [`Channel`](crate::Channel)'s directory, or a bare [`Wal`](crate::Wal)'s, whether or not a process has it
/// open.
///
/// It takes no lock, makes no file and changes none. Memory does not grow with what waits.
///
/// # Examples
/// ```
/// use fchannel::{Channel, EventRow, Inspector, Options, Position, Which};
/// let dir = tempfile::tempdir()?;
/// let channel = Channel::open(dir.path(), Options::default())?;
/// channel.put(b"one")?;
///
/// let inspector = Inspector::open(dir.path())?; // while it is open
/// assert_eq!(inspector.state().map(|state| state.owed), Some(1));
/// inspector.events(Which::Pending, Position::Oldest, Position::Newest, |row| {
///     if let EventRow::Event(event) = row {
///         println!("{} {:?}", event.seq, event.payload);
///     }
///     std::ops::ControlFlow::Continue(())
/// })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Inspector {
    vfs: Arc<dyn Vfs>,
    places: Places,
    view: View,
    holder: Holder,
    now: Now,
    /// What the opening came across.
    findings: Vec<Finding>,
    quarantine: Quarantine,
}

/// The log when the inspector came.
struct Now {
    source: ImageSource,
    /// `None` in a bare log.
    fold: Option<Fold>,
    image_lsn: Lsn,
    /// The last LSN, and the place behind its frame.
    end: Lsn,
    stopped_at: FramePtr,
    vouched: Lsn,
    frames: u64,
    bytes: u64,
    unvouched: u64,
    verdict: Verdict,
}

impl Inspector {
    /// Looks into the log that `dir` belongs to: any one of its directories leads to the others.
    ///
    /// # Errors
    /// `NotAChannel` if nothing of ours is there, or it is Flume's; `NewerFormat`; `Io`. Damage is no error.
    pub fn open(dir: impl AsRef<Path>) -> Result<Self> {
        Self::open_on(Arc::new(StdVfs::default()), dir.as_ref())
    }

    /// As [`open`](Self::open), in another world.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_on(vfs: Arc<dyn Vfs>, dir: &Path) -> Result<Self> {
        let mut findings = Vec::new();
        let places = places::find(&*vfs, dir, &mut findings)?;
        // Not to know who holds the lock is no reason not to look.
        let holder = vfs.holder(&places.home).unwrap_or(Holder::Unknown);
        let quarantine = Quarantine::read(&*vfs, &places.home, &mut |warning| {
            findings.push(
                Finding::new("FC2005", Severity::Warn, None, warning)
                    .in_file(&places.home)
                    .stake("what it says of a damage that was set aside"),
            );
        })?;
        for _ in 0..TRIES {
            let view = View::read(&*vfs, &places)?;
            if let Some((now, passed_over)) = Now::read(&*vfs, &view, quarantine.last_lost())? {
                findings.extend(view.problems.iter().cloned());
                findings.extend(passed_over);
                let findings =
                    findings.into_iter().map(|finding| finding.judged(&quarantine)).collect();
                return Ok(Self { vfs, places, view, holder, now, findings, quarantine });
            }
        }
        let what = "the log changes faster than it can be read";
        Err(Error::new(ErrorKind::Io, what).in_file(&places.home))
    }

    /// Up to where all answers hold: the last frame, and the place behind it.
    #[must_use]
    pub fn horizon(&self) -> (Lsn, FramePtr) {
        (self.now.end, self.now.stopped_at)
    }

    /// Who had the log open.
    #[must_use]
    pub fn holder(&self) -> Holder {
        self.holder
    }

    /// The state at the horizon; `None` in a bare log.
    #[must_use]
    pub fn state(&self) -> Option<StateInfo> {
        self.now.fold.as_ref().map(Fold::info)
    }

    /// The state after frame `lsn`, or after the last one below it. `None` in a bare log, or if the log no longer reaches back that far.
    ///
    /// # Errors
    /// `NewerFormat`, `Io`.
    pub fn state_at(&self, lsn: Lsn) -> Result<Option<StateInfo>> {
        let until = lsn.min(self.now.end);
        for _ in 0..TRIES {
            let view = View::read(&*self.vfs, &self.places)?;
            let Some(Begin { fold: Some(fold), start, .. }) = begin(&*self.vfs, &view, until)?
            else {
                return Ok(None);
            };
            if start.after > until {
                return Ok(None);
            }
            let mut folding = Folding { fold: Some(fold), unvouched: 0 };
            let stretch = Stretch { start, until, image: self.now.image_lsn };
            if !matches!(
                walk(&*self.vfs, &view.segments, stretch, &mut folding)?,
                Walked::StartOver
            ) {
                return Ok(folding.fold.as_ref().map(Fold::info));
            }
        }
        let what = "the log changes faster than it can be read";
        Err(Error::new(ErrorKind::Io, what).in_file(&self.places.home))
    }

    /// From frame `lsn` to the horizon.
    fn stretch_from(&self, view: &View, lsn: Lsn) -> Option<Stretch> {
        let Now { vouched, end, image_lsn, .. } = self.now;
        Stretch::from(&view.segments, lsn, vouched, end, image_lsn)
    }

    /// The directory of checkpoints, and those of segments that are there.
    #[must_use]
    pub fn directories(&self) -> (&Path, &[PathBuf]) {
        (&self.places.home, &self.places.data)
    }

    /// As [`directories`](Self::directories), for who means to change what lies in them.
    ///
    /// # Errors
    /// `NotAChannel` if one is absent, or some were moved or copied and others are found at their old places only: those may be the
    /// original's.
    pub fn directories_to_change(&self) -> Result<(&Path, &[PathBuf])> {
        self.places.whole()?;
        Ok(self.directories())
    }

    /// The damage that was set aside and is not settled, oldest first.
    #[must_use]
    pub fn quarantined(&self) -> &[Quarantined] {
        self.quarantine.records()
    }

    /// The damage that was settled, oldest first, as long as its records are there.
    #[must_use]
    pub fn settled(&self) -> &[Quarantined] {
        self.quarantine.settled()
    }

    /// The raw bytes of `damage`: those that were copied aside, or all of a segment that could not be read. Empty if nothing was left.
    /// [`salvage`](Self::salvage) finds what can be read in them.
    ///
    /// # Errors
    /// `Io`.
    pub fn quarantined_bytes(&self, damage: &Quarantined) -> Result<Bytes> {
        self.quarantine.raw_bytes(&*self.vfs, &self.places.data, damage).map(Bytes::from)
    }

    /// What the opening came across: absent directories, files that cannot be used. [`verify`](Self::verify) looks at everything.
    #[must_use]
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }
}

impl std::fmt::Debug for Inspector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inspector").field("dir", &self.places.home).finish_non_exhaustive()
    }
}

impl Now {
    /// Reads what a restart would read. `None` if a segment went away meanwhile.
    fn read(
        vfs: &dyn Vfs,
        view: &View,
        last_lost: Option<SegmentId>,
    ) -> Result<Option<(Self, Vec<Finding>)>> {
        let Some(begin) = begin(vfs, view, Lsn::new(u64::MAX))? else {
            return Ok(Some(Self::without_segments(view, last_lost)));
        };
        let mut folding = Folding { fold: begin.fold, unvouched: 0 };
        let image = begin.start.image_lsn;
        let stretch = Stretch { start: begin.start, until: Lsn::new(u64::MAX), image };
        let Walked::End(scan) = walk(vfs, &view.segments, stretch, &mut folding)? else {
            return Ok(None);
        };
        let now = Self {
            source: begin.source,
            fold: folding.fold,
            image_lsn: begin.start.image_lsn,
            end: scan.end,
            stopped_at: scan.stopped_at,
            vouched: scan.vouched,
            frames: scan.frames + scan.held_back.len() as u64,
            bytes: scan.bytes,
            unvouched: folding.unvouched,
            verdict: scan.verdict,
        };
        Ok(Some((now, begin.passed_over)))
    }

    /// A log that has not begun; or its data directories are not what they were, and only checkpoints tell what it held.
    fn without_segments(view: &View, last_lost: Option<SegmentId>) -> (Self, Vec<Finding>) {
        let zero = Lsn::default();
        let mut fold = Fold::new(State::default(), zero, true);
        let newest = view.checkpoints.first().map(|(_, candidate)| candidate);
        let what_is_left = match (newest, &view.spare) {
            (Some((path, _)), _) => Some((
                path,
                "there are checkpoints but no segments: the data directories are empty",
            )),
            (None, Some(path)) if last_lost.is_none() => {
                Some((path, "there are spares but no segments: the segments are gone"))
            }
            _ => None,
        };
        // Segments in which nothing can be read are there, and are told as what they are.
        let is_there = view.problems.iter().any(|problem| problem.segment.is_some());
        let told = what_is_left.filter(|_| !is_there).map(|(path, what)| {
            Finding::new("FC2003", Severity::Error, Some(Verdict::F), what)
                .in_file(path)
                .stake("all events: are the disks of the data directories mounted?")
        });
        if let Some((_, image)) = newest {
            let state = image.as_ref().ok().and_then(|image| State::from_image(&image.owner).ok());
            fold = Fold::new(state.unwrap_or_default(), zero, false);
        }
        let now = Self {
            source: ImageSource::Nothing,
            fold: Some(fold),
            image_lsn: zero,
            end: zero,
            stopped_at: FramePtr { segment: SegmentId::new(0), offset: 0 },
            vouched: zero,
            frames: 0,
            bytes: 0,
            unvouched: 0,
            verdict: Verdict::A,
        };
        (now, told.into_iter().collect())
    }
}

/// Folds what it is shown; what cannot be folded makes the state inexact.
struct Folding {
    fold: Option<Fold>,
    unvouched: u64,
}

impl Follow for Folding {
    fn frame(&mut self, frame: &Frame, vouched: bool) -> Result<ControlFlow<()>> {
        self.unvouched += u64::from(!vouched);
        if let Some(fold) = &mut self.fold {
            // The contradiction is told by `verify`; here the state says that it is not exact.
            let _contradiction = fold.apply(frame).is_err();
        }
        Ok(Continue(()))
    }

    fn image(&mut self, image: &Frame) -> Result<ControlFlow<()>> {
        if let Some(fold) = &mut self.fold {
            fold.mend(image);
        }
        Ok(Continue(()))
    }

    fn hole(&mut self, hole: &Hole) -> Result<ControlFlow<()>> {
        if let Some(fold) = &mut self.fold {
            fold.pass(hole);
        }
        Ok(Continue(()))
    }
}
