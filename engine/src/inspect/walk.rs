//! The scan of recovery, watched: it goes on behind damage, ends where the reader was when it began, and notices when a segment was
//! taken away under it.

use super::{rows::Hole, view::is_gone};
use crate::{
    error::{Error, ErrorKind, Result},
    format::SEGMENT_HEADER_LEN,
    ids::{EventSeq, FramePtr, Lsn, SegmentId},
    io::Vfs,
    log::{Damage, Frame, Scan, Segments, Start, Visit, read_segment_header, scan},
};
use std::ops::ControlFlow::{self, Continue};

/// Who is shown a walk.
pub(super) trait Follow {
    /// A frame, in the order of the log. `vouched`: something later says that it was durable.
    fn frame(&mut self, frame: &Frame, vouched: bool) -> Result<ControlFlow<()>>;

    /// The image at the head of a segment.
    fn image(&mut self, _image: &Frame) -> Result<ControlFlow<()>> {
        Ok(Continue(()))
    }

    /// From `at` on, what its segment holds is void.
    fn void(&mut self, _at: FramePtr, _first: Lsn) {}

    /// A hole.
    fn hole(&mut self, hole: &Hole) -> Result<ControlFlow<()>>;
}

/// How a walk ended.
pub(super) enum Walked {
    /// At the end of the log.
    End(Scan),
    /// Earlier: who followed has seen enough.
    Enough,
    /// A segment is gone or was written over meanwhile. What was shown is right; the rest must be looked for anew.
    StartOver,
}

/// What of the log a walk shows.
#[derive(Clone, Copy)]
pub(super) struct Stretch {
    pub(super) start: Start,
    /// Nothing above it: what was written after the reader came.
    pub(super) until: Lsn,
    /// The image that a restart begins with: damage below it stops nobody.
    pub(super) image: Lsn,
}

impl Stretch {
    /// From the frame `lsn` on, or from the oldest one there is.
    pub(super) fn from(
        segments: &Segments,
        lsn: Lsn,
        vouched: Lsn,
        until: Lsn,
        image: Lsn,
    ) -> Option<Self> {
        let first = segments.of_lsn(lsn).or_else(|| segments.oldest())?;
        let place = FramePtr { segment: first.header.id, offset: SEGMENT_HEADER_LEN as u64 };
        let after = first.header.first_lsn.max(lsn).previous();
        Some(Self { start: Start { after, place, image_lsn: vouched }, until, image })
    }
}

/// Shows `follow` a stretch of the log, and at last the frames that nothing vouches for.
///
/// # Errors
/// What `follow` says; `NewerFormat`, `Io`.
pub(super) fn walk(
    vfs: &dyn Vfs,
    segments: &Segments,
    stretch: Stretch,
    follow: &mut dyn Follow,
) -> Result<Walked> {
    let first = segments.get(stretch.start.place.segment);
    let next_item = first.map_or(EventSeq::default(), |segment| segment.header.first_item);
    let mut watcher = Watcher { vfs, segments, stretch, next_item, follow, early: None };
    let scanned = scan(vfs, segments, stretch.start, &mut watcher);
    match (watcher.early.take(), scanned) {
        (Some(early), _) => Ok(early),
        (None, Err(error)) if is_gone(&error) => Ok(Walked::StartOver),
        (None, Err(error)) => Err(error),
        (None, Ok(scan)) => {
            for frame in &scan.held_back {
                if frame.header.lsn > stretch.until || follow.frame(frame, false)?.is_break() {
                    return Ok(Walked::Enough);
                }
            }
            Ok(Walked::End(scan))
        }
    }
}

struct Watcher<'a> {
    vfs: &'a dyn Vfs,
    segments: &'a Segments,
    stretch: Stretch,
    /// The item behind the last frame that was shown: where a hole begins.
    next_item: EventSeq,
    follow: &'a mut dyn Follow,
    early: Option<Walked>,
}

impl Watcher<'_> {
    fn go_on(&mut self, flow: ControlFlow<()>) -> Result<()> {
        if flow.is_break() { self.end(Walked::Enough) } else { Ok(()) }
    }

    /// Unwinds the scan. The error is never seen: `early` says what happened.
    fn end(&mut self, how: Walked) -> Result<()> {
        self.early = Some(how);
        Err(Error::new(ErrorKind::Closed, "the walk has ended"))
    }

    /// True if the segment is still the one that was listed.
    fn is_still_there(&self, id: SegmentId) -> bool {
        self.segments.get(id).is_some_and(|segment| {
            read_segment_header(self.vfs, &segment.path)
                .is_ok_and(|header| header == segment.header)
        })
    }
}

impl Visit for Watcher<'_> {
    fn frame(&mut self, frame: &Frame) -> Result<()> {
        if frame.header.lsn > self.stretch.until {
            return self.end(Walked::Enough);
        }
        self.next_item = frame.header.next_item();
        let flow = self.follow.frame(frame, true)?;
        self.go_on(flow)
    }

    fn image(&mut self, image: &Frame) -> Result<()> {
        if image.header.lsn > self.stretch.until {
            return self.end(Walked::Enough);
        }
        let flow = self.follow.image(image)?;
        self.go_on(flow)
    }

    fn void(&mut self, at: FramePtr, first: Lsn) -> Result<()> {
        self.follow.void(at, first);
        Ok(())
    }

    fn damage(&mut self, damage: Damage) -> Result<()> {
        if damage.missing > self.stretch.until {
            return self.end(Walked::Enough);
        }
        if !self.is_still_there(damage.at.segment) {
            return self.end(Walked::StartOver);
        }
        let first = damage.broken.map_or(self.next_item, |header| header.first_item);
        let hole = Hole::new(&damage, first, self.stretch.image);
        self.next_item = hole.events.map_or(self.next_item, |(_, end)| end);
        let flow = self.follow.hole(&hole)?;
        self.go_on(flow)
    }
}
