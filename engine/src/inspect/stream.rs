//! Rows of a live log, each once and in order: when a segment goes away under the reader, it goes on in the next one.

use super::{
    Inspector,
    position::{Position, Selection},
    rows::{EventInfo, EventRow, FrameInfo, FrameRow, Hole},
    view::{TRIES, View},
    walk::{Follow, Walked, walk},
};
use crate::{
    error::{Error, ErrorKind, Result},
    format::{Kind, PutBody},
    ids::{EventSeq, Lsn, SegmentId},
    log::{Frame, Segments},
};
use std::ops::ControlFlow::{self, Break, Continue};

/// Which events are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// Those that are owed, in the order in which they will be taken.
    Pending,
    /// Taken ones too, as far as their segments are kept.
    Any,
}

impl Inspector {
    /// Shows the frames from `from` to `to`, both included, oldest first, and the damage between them; after `Break` no more.
    ///
    /// # Errors
    /// `NewerFormat`, `Io`. Damage is a row, not an error.
    pub fn frames(
        &self,
        from: Position,
        to: Position,
        mut row: impl FnMut(FrameRow) -> ControlFlow<()>,
    ) -> Result<()> {
        self.stream(from, to, Lsn::default(), &mut |seen| {
            Ok(match seen {
                Seen::Frame(frame, vouched) => row(FrameRow::Frame(FrameInfo::new(frame, vouched))),
                Seen::Hole(hole) => row(FrameRow::Hole(hole.clone())),
            })
        })
    }

    /// Shows the events from `from` to `to`, both included, oldest first, and the damage that holds some; after `Break` no more.
    /// What is owed is what was owed when the inspector was opened.
    ///
    /// # Errors
    /// `NotAChannel` for a bare log, which has none; `NewerFormat`, `Io`. Damage is a row, not an error.
    pub fn events(
        &self,
        which: Which,
        from: Position,
        to: Position,
        mut row: impl FnMut(EventRow) -> ControlFlow<()>,
    ) -> Result<()> {
        let Some(fold) = &self.now.fold else {
            let what = "this is a bare log: it has records (`frames`), and no events";
            return Err(Error::new(ErrorKind::NotAChannel, what).in_file(&self.places.home));
        };
        let segments = &self.view.segments;
        let head = segments.of_item(fold.state.head()).map(|segment| segment.header.first_lsn);
        let at_least = match which {
            Which::Pending if fold.state.owed() == 0 => return Ok(()),
            Which::Pending => head.unwrap_or_default(),
            Which::Any => Lsn::default(),
        };
        let selection = self.selection(from, to);
        self.stream(from, to, at_least, &mut |seen| match seen {
            Seen::Frame(frame, _) if frame.header.kind == Kind::PUT => {
                let mut events = Events { fold, run: None, which, selection };
                events.of_frame(frame, &mut row)
            }
            Seen::Frame(..) => Ok(Continue(())),
            Seen::Hole(hole) => {
                let owed = hole.events.map_or(0, |(first, end)| fold.owed_between(first, end));
                let concerns = owed > 0 || which == Which::Any;
                Ok(if concerns { row(EventRow::Hole(hole.clone(), owed)) } else { Continue(()) })
            }
        })
    }

    fn selection(&self, from: Position, to: Position) -> Selection {
        let oldest = self.view.segments.oldest().map(|segment| segment.header.first_lsn);
        Selection {
            from,
            to,
            oldest: oldest.unwrap_or_default(),
            newest: self.now.end,
            checkpoint: self.now.image_lsn,
        }
    }

    fn stream(
        &self,
        from: Position,
        to: Position,
        at_least: Lsn,
        show: &mut Show<'_>,
    ) -> Result<()> {
        let mut view = self.view.clone();
        let mut stream = Stream {
            selection: self.selection(from, to),
            next: start_of(&view.segments, from, self).max(at_least),
            image: None,
            show,
        };
        let mut tries = 0;
        loop {
            let before = stream.next;
            let stretch = self.stretch_from(&view, before);
            let Some(stretch) = stretch else { return Ok(()) };
            match walk(&*self.vfs, &view.segments, stretch, &mut stream)? {
                Walked::End(_) | Walked::Enough => return Ok(()),
                Walked::StartOver => view = View::read(&*self.vfs, &self.places)?,
            }
            tries = if stream.next > before { 0 } else { tries + 1 };
            if tries == TRIES {
                let what = "the log changes faster than it can be read";
                return Err(Error::new(ErrorKind::Io, what).in_file(&self.places.home));
            }
        }
    }
}

/// The LSN to begin with; the selection does the rest.
fn start_of(segments: &Segments, from: Position, inspector: &Inspector) -> Lsn {
    let first = |segment: Option<&crate::log::Segment>| {
        segment.map_or(Lsn::default(), |segment| segment.header.first_lsn)
    };
    match from {
        Position::Oldest => Lsn::default(),
        Position::Newest => inspector.now.end,
        Position::Checkpoint => inspector.now.image_lsn.next(),
        Position::Place(place) => first(segments.get(place.segment)),
        Position::Lsn(lsn) => lsn,
        Position::Seq(seq) => first(segments.of_item(seq)),
    }
}

/// What a stream comes across.
enum Seen<'a> {
    /// A frame or an image, and whether something vouches for it.
    Frame(&'a Frame, bool),
    Hole(&'a Hole),
}

type Show<'a> = dyn FnMut(Seen<'_>) -> Result<ControlFlow<()>> + 'a;

struct Stream<'a> {
    selection: Selection,
    /// The next LSN to show.
    next: Lsn,
    /// The last segment whose image was shown.
    image: Option<SegmentId>,
    show: &'a mut Show<'a>,
}

impl Stream<'_> {
    fn show(&mut self, frame: &Frame, vouched: bool) -> Result<ControlFlow<()>> {
        if self.selection.is_behind(&frame.header, frame.ptr) {
            return Ok(Break(()));
        }
        if self.selection.is_before(&frame.header, frame.ptr) {
            return Ok(Continue(()));
        }
        (self.show)(Seen::Frame(frame, vouched))
    }
}

impl Follow for Stream<'_> {
    fn frame(&mut self, frame: &Frame, vouched: bool) -> Result<ControlFlow<()>> {
        if frame.header.lsn < self.next {
            return Ok(Continue(()));
        }
        self.next = frame.header.lsn.next();
        self.show(frame, vouched)
    }

    fn image(&mut self, image: &Frame) -> Result<ControlFlow<()>> {
        let segment = image.ptr.segment;
        if self.image.is_some_and(|last| last >= segment) || image.header.lsn.next() < self.next {
            return Ok(Continue(()));
        }
        self.image = Some(segment);
        self.show(image, true)
    }

    fn hole(&mut self, hole: &Hole) -> Result<ControlFlow<()>> {
        let (first, end) = hole.lsns;
        let shown = end < self.next || (end == self.next && first < end);
        // Damage before the first frame that is wanted says nothing about those that are.
        let elsewhere = first == end && !hole.is_image();
        if shown || elsewhere || !self.selection.has_hole(hole) {
            return Ok(Continue(()));
        }
        self.next = self.next.max(end);
        (self.show)(Seen::Hole(hole))
    }
}

/// The events of one frame after the other.
struct Events<'a> {
    fold: &'a super::fold::Fold,
    /// The run of owed events that was looked up last.
    run: Option<(EventSeq, EventSeq)>,
    which: Which,
    selection: Selection,
}

impl Events<'_> {
    fn of_frame(
        &mut self,
        frame: &Frame,
        row: &mut impl FnMut(EventRow) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>> {
        let Ok(put) = PutBody::decode(frame.body.clone()) else { return Ok(Continue(())) };
        let mut seq = frame.header.first_item;
        for payload in put.events(frame.header.item_count) {
            // Sound checksum, broken structure: `verify` names it; here nothing of it can be shown.
            let Ok(payload) = payload else { break };
            let owed = self.is_owed(seq);
            if (owed || self.which == Which::Any) && self.selection.has_event(seq) {
                let info = EventInfo {
                    seq,
                    lsn: frame.header.lsn,
                    ptr: frame.ptr,
                    committed_ms: frame.header.time_ms,
                    owed,
                    payload,
                };
                if row(EventRow::Event(info)).is_break() {
                    return Ok(Break(()));
                }
            }
            seq = seq.next();
        }
        Ok(Continue(()))
    }

    fn is_owed(&mut self, seq: EventSeq) -> bool {
        if self.run.is_none_or(|(_, end)| end <= seq) {
            self.run = self.fold.state.owed_run(seq);
        }
        self.run.is_some_and(|(first, end)| first <= seq && seq < end)
    }
}
