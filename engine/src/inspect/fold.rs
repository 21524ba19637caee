//! The state of a queue, as far as it can be told: the fold of recovery, which here goes on behind damage.

use super::{
    finding::{Finding, Severity},
    rows::{Hole, StateInfo},
    view::View,
};
use crate::{
    error::{Error, ErrorKind, Result},
    format::LogImage,
    ids::{EventSeq, Lsn},
    io::Vfs,
    log::{
        BARE_IMAGE_BYTES, Beginning, Extent, Frame, ImageSource, Start, Verdict, choose_image,
        first_frame_of,
    },
    queue::State,
};

/// A state, and the frame after which it holds.
#[derive(Clone)]
pub(super) struct Fold {
    pub(super) state: State,
    pub(super) lsn: Lsn,
    /// False if frames on the way could not be read: then what is owed is an upper bound.
    pub(super) exact: bool,
    /// False if puts on the way could not be read: they may have set marks.
    knows_marks: bool,
}

impl Fold {
    pub(super) fn new(state: State, lsn: Lsn, exact: bool) -> Self {
        Self { state, lsn, exact, knows_marks: exact }
    }

    /// Adds a frame.
    ///
    /// # Errors
    /// `Corrupt` if it contradicts the state, which then leaves it out.
    pub(super) fn apply(&mut self, frame: &Frame) -> Result<()> {
        self.lsn = frame.header.lsn;
        let applied = self.state.apply(frame).map(drop);
        if applied.is_err() {
            (self.exact, self.knows_marks) = (false, false);
            self.state.pass_to(frame.header.next_item());
        }
        applied
    }

    /// Passes frames that cannot be read. What they put is owed; what they took is not known.
    pub(super) fn pass(&mut self, hole: &Hole) {
        self.lsn = self.lsn.max(hole.lsns.1.previous());
        if let Some((_, end)) = hole.events {
            self.state.pass_to(end);
        }
        self.exact &= hole.is_image() || hole.kind.as_deref() == Some("put");
        self.knows_marks &= hole.is_image();
    }

    /// Takes over the state of an image where its own is not exact.
    pub(super) fn mend(&mut self, image: &Frame) {
        if !(self.exact && self.knows_marks)
            && let Some(state) = state_of(image)
        {
            *self = Self::new(state, image.header.lsn, true);
        }
    }

    /// How many of the events from `first` to `end` are owed.
    pub(super) fn owed_between(&self, first: EventSeq, end: EventSeq) -> u64 {
        let (mut owed, mut from) = (0, first);
        while let Some((run, run_end)) = self.state.owed_run(from).filter(|(run, _)| *run < end) {
            owed += run_end.min(end).get() - run.get();
            from = run_end;
        }
        owed
    }

    pub(super) fn info(&self) -> StateInfo {
        StateInfo {
            lsn: self.lsn,
            owed: self.state.owed(),
            head: self.state.head(),
            next_seq: self.state.next_seq(),
            taken: self.state.taken_ranges().collect(),
            marks: self.state.marks().iter().map(|(k, v)| (k.clone(), v.clone())).collect(),
            exact: self.exact,
        }
    }

    /// True if `other` says the same of every event and mark. Where the frames lie is a hint, and may differ.
    pub(super) fn agrees_with(&self, other: &State) -> bool {
        let mine = &self.state;
        mine.next_seq() == other.next_seq()
            && mine.head() == other.head()
            && mine.taken_ranges().eq(other.taken_ranges())
            && (mine.marks() == other.marks() || !self.knows_marks)
    }
}

/// The state in an image frame; `None` for a bare log's.
pub(super) fn state_of(image: &Frame) -> Option<State> {
    let image = LogImage::decode(&image.body).ok()?;
    State::from_image(&image.owner).ok()
}

/// What a reading of the log begins with.
pub(super) struct Begin {
    /// `None` in a bare log.
    pub(super) fold: Option<Fold>,
    pub(super) source: ImageSource,
    pub(super) start: Start,
    /// Images that cannot be used.
    pub(super) passed_over: Vec<Finding>,
}

/// The newest image at or below `ceiling` that can be used, chosen as a restart chooses it. `None` if there are no segments.
///
/// # Errors
/// `NewerFormat`, `Io`.
pub(super) fn begin(vfs: &dyn Vfs, view: &View, ceiling: Lsn) -> Result<Option<Begin>> {
    let Some(oldest) = view.segments.oldest() else { return Ok(None) };
    let candidates = view.checkpoints.iter().map(|(_, candidate)| candidate.clone()).collect();
    let mut fold = None;
    let mut restore = |beginning: Beginning<'_>| {
        let image = match beginning {
            Beginning::Image(image) => Some(image),
            Beginning::Empty => None,
            Beginning::At(oldest) => {
                let after = oldest.first_lsn.previous();
                let state = State::behind_what_is_gone(oldest.first_item);
                fold = Some(Fold::new(state, after, false));
                return Ok(after);
            }
        };
        fold = match image {
            None => Some(Fold::new(State::default(), Lsn::default(), true)),
            Some(image) if image.lsn > ceiling => {
                return Err(Error::new(ErrorKind::InvalidOptions, "newer than what is asked for"));
            }
            Some(image) if image.owner.len() == BARE_IMAGE_BYTES => None,
            Some(image) => {
                let state = State::from_image(&image.owner)?;
                Some(Fold::new(state, image.lsn, true))
            }
        };
        Ok(image.map_or(Lsn::default(), |image| image.lsn))
    };
    let mut passed_over = Vec::new();
    let chosen = choose_image(
        vfs,
        &view.segments,
        false,
        candidates,
        &mut restore,
        &mut |source, error| {
            // That there is none at all has a finding of its own.
            if error.kind() != &ErrorKind::InvalidOptions && *source != ImageSource::Nothing {
                passed_over.push(unusable(source, &error));
            }
        },
        &|_| true,
    )?;
    if !chosen.exact {
        passed_over.push(
            Finding::new(
                "FC2404",
                Severity::Error,
                Some(Verdict::J),
                "no checkpoint and no image can be read, and older segments are gone",
            )
            .in_file(&oldest.path)
            .stake("which events were taken is not known: all that can be read are listed as owed"),
        );
    }
    if let Some(missing) = chosen.missing {
        let what = format!("segment {missing} is missing, to which the newest checkpoint leads");
        // With all before it that are missing too, as recovery records it.
        let first = view.segments.newest().map_or(missing, |newest| newest.header.id.next());
        passed_over.push(
            Finding::new("FC2010", Severity::Error, Some(Verdict::J), what)
                .of_segment(missing)
                .taking(Extent::of_files(first, first_frame_of(missing.next())))
                .stake("what was committed after the checkpoint; how much that is cannot be told"),
        );
    }
    Ok(Some(Begin { fold, source: chosen.source, start: chosen.start, passed_over }))
}

fn unusable(source: &ImageSource, error: &Error) -> Finding {
    let (code, file) = match source {
        ImageSource::Checkpoint(path) => ("FC2401", Some(path.as_path())),
        _ => ("FC2404", error.file()),
    };
    let code = if error.what().contains("which is not there") { "FC2407" } else { code };
    let finding = Finding::new(code, Severity::Warn, Some(Verdict::I), error.what()).stake(
        "nothing is lost: an older one, or an image in the log, serves; a restart reads more",
    );
    match file {
        Some(file) => finding.in_file(file),
        None => finding,
    }
}
