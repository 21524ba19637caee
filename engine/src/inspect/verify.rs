//! Everything that can be checked without changing anything.

use super::{
    Inspector,
    finding::{Finding, Severity},
    fold::{Begin, Fold, begin, state_of},
    report::{Meter, Report},
    rows::Hole,
    view::{TRIES, View, is_gone},
    walk::{Follow, Stretch, Walked, walk},
};
use crate::{
    error::{Error, ErrorKind, Result},
    format::{Kind, PutBody},
    ids::{FramePtr, Lsn},
    io::Holder,
    log::{Extent, Frame, Quarantined, Segments, Verdict, first_frame_of, image_of},
    queue::State,
};
use std::{
    collections::BTreeMap,
    ops::ControlFlow::{self, Continue},
    path::PathBuf,
};

/// What [`Inspector::verify`] looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verify {
    /// Every frame of every segment, and each checkpoint against the replay up to it. Without it: what a restart would read.
    pub deep: bool,
    /// Findings to keep; the others are counted.
    pub findings_max: usize,
}

impl Default for Verify {
    fn default() -> Self {
        Self { deep: true, findings_max: 1000 }
    }
}

/// How far a verification is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Bytes passed.
    pub done_bytes: u64,
    /// Of so many.
    pub total_bytes: u64,
}

/// What a verification found.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Verification {
    /// Segments looked at.
    pub segments: u64,
    /// Sound frames in them, images not counted.
    pub frames: u64,
    /// Events in these.
    pub events: u64,
    /// Bytes of these frames.
    pub bytes: u64,
    /// Events owed; `None` in a bare log.
    pub owed: Option<u64>,
    /// Of these, the ones in damaged or missing frames.
    pub owed_lost: u64,
    /// False if damaged frames leave open what was taken: then `owed` is an upper bound.
    pub exact: bool,
    /// What was found, in the order of the log.
    pub findings: Vec<Finding>,
    /// Findings beyond [`Verify::findings_max`].
    pub findings_left_out: u64,
    /// The worst of all.
    pub worst: Option<Severity>,
}

impl Inspector {
    /// Checks manifests, segment headers, ids, frames, transactions and checkpoints, and goes on behind damage. `progress` is told about
    /// each frame.
    ///
    /// # Errors
    /// `NewerFormat`, `Io`. Damage is a finding, not an error.
    pub fn verify(
        &self,
        options: Verify,
        mut progress: impl FnMut(Progress),
    ) -> Result<Verification> {
        for _ in 0..TRIES {
            let view = View::read(&*self.vfs, &self.places)?;
            let mut report = Report::new(options.findings_max, self);
            self.verify_files(&view, &mut report);
            let Some((stretch, fold)) = self.stretch_to_verify(&view, options.deep)? else {
                return Ok(report.finish(self));
            };
            let checkpoints = if options.deep { checkpoint_states(&view) } else { BTreeMap::new() };
            let mut verifier = Verifier {
                inspector: self,
                segments: &view.segments,
                meter: Meter::new(self, &view.segments, stretch.start.place, &mut progress),
                fold,
                checkpoints,
                report,
            };
            verifier.compare_checkpoint();
            let walked = walk(&*self.vfs, &view.segments, stretch, &mut verifier)?;
            if !matches!(walked, Walked::StartOver) {
                let mut report = verifier.report;
                if options.deep {
                    self.verify_images(&view, &mut report);
                }
                self.verify_end(&mut report);
                return Ok(report.finish(self));
            }
        }
        let what = "the log changes faster than it can be read";
        Err(Error::new(ErrorKind::Io, what).in_file(&self.places.home))
    }

    fn stretch_to_verify(
        &self,
        view: &View,
        deep: bool,
    ) -> Result<Option<(Stretch, Option<Fold>)>> {
        let Some(Begin { fold, start, .. }) = begin(&*self.vfs, view, Lsn::new(u64::MAX))? else {
            return Ok(None);
        };
        let until = self.now.end;
        if !deep {
            return Ok(Some((Stretch { start, until, image: self.now.image_lsn }, fold)));
        }
        let oldest = view.segments.oldest();
        let stretch = self.stretch_from(view, Lsn::default());
        let (Some(oldest), Some(stretch)) = (oldest, stretch) else { return Ok(None) };
        let lsn = oldest.header.first_lsn.previous();
        let image = image_of(&*self.vfs, oldest);
        let state = image.ok().and_then(|image| State::from_image(&image.owner).ok());
        // Without the image, what follows is checked as far as it goes.
        let first = fold.map(|_| match state {
            Some(state) => Fold::new(state, lsn, true),
            None => {
                let state = State::empty_at(oldest.header.first_item);
                Fold::new(state, lsn, lsn == Lsn::default())
            }
        });
        Ok(Some((stretch, first)))
    }

    fn verify_files(&self, view: &View, report: &mut Report<'_>) {
        for path in &view.temporary {
            report.add(
                Finding::new("FC2004", Severity::Info, None, "a file that a crash left half-made")
                    .in_file(path)
                    .stake("nothing: the next start removes it"),
            );
        }
        for (_, (path, image)) in &view.checkpoints {
            if let Err(error) = image {
                let finding =
                    Finding::new("FC2401", Severity::Warn, Some(Verdict::I), error.what());
                report.add(finding.in_file(path).stake("nothing is lost: a restart reads more"));
            }
        }
        let Some(fold) = &self.now.fold else { return };
        let head = fold.state.head();
        if fold.state.owed() > 0 && view.segments.of_item(head).is_none() {
            let what = format!("event {head} is owed, and its segment is gone");
            let oldest = view.segments.oldest().map(|oldest| oldest.header.id).unwrap_or_default();
            report.add(
                Finding::new("FC2407", Severity::Error, Some(Verdict::J), what)
                    .of_segment(oldest.previous())
                    .taking(Extent::of_files(oldest.previous(), first_frame_of(oldest)))
                    .in_file(&self.places.home)
                    .stake("the owed events of the missing segments"),
            );
        }
    }

    /// An image whose frame has a sound header is passed by the walk, as by a restart.
    fn verify_images(&self, view: &View, report: &mut Report<'_>) {
        for segment in view.segments.iter() {
            if let Err(error) = image_of(&*self.vfs, segment)
                && !is_gone(&error)
            {
                report.add(
                    Finding::new("FC2404", Severity::Warn, Some(Verdict::I), error.what())
                        .at(first_frame_of(segment.header.id))
                        .in_file(&segment.path)
                        .stake("nothing: a checkpoint, or an older image, serves"),
                );
            }
        }
    }

    fn verify_end(&self, report: &mut Report<'_>) {
        let at_rest = self.holder == Holder::Nobody;
        let (end, stopped_at) = self.horizon();
        if at_rest && self.now.verdict == Verdict::B {
            let what =
                format!("a torn end: what lies behind lsn {end} was never acknowledged as durable");
            report.add(
                Finding::new("FC2105", Severity::Info, Some(Verdict::B), what)
                    .at(stopped_at)
                    .of_lsn(end.next())
                    .stake("nothing: this is what a crash leaves"),
            );
        }
        if at_rest && self.now.frames > 0 && !self.view.checkpoints.is_empty() {
            let what = format!(
                "{} frames lie behind the newest checkpoint (normal after a crash)",
                self.now.frames
            );
            report.add(
                Finding::new("FC2402", Severity::Info, None, what)
                    .of_lsn(self.now.image_lsn)
                    .stake("nothing: a restart reads them"),
            );
        }
    }
}

/// The states of the valid checkpoint files by their LSNs.
fn checkpoint_states(view: &View) -> BTreeMap<Lsn, (PathBuf, State)> {
    let state = |(path, image): &(PathBuf, Result<crate::format::LogImage>)| {
        let image = image.as_ref().ok()?;
        Some((image.lsn, (path.clone(), State::from_image(&image.owner).ok()?)))
    };
    view.checkpoints.iter().filter_map(|(_, candidate)| state(candidate)).collect()
}

struct Verifier<'a> {
    inspector: &'a Inspector,
    segments: &'a Segments,
    meter: Meter<'a>,
    /// `None` in a bare log.
    fold: Option<Fold>,
    checkpoints: BTreeMap<Lsn, (PathBuf, State)>,
    report: Report<'a>,
}

impl Verifier<'_> {
    /// A checkpoint whose LSN the fold has reached must say the same.
    fn compare_checkpoint(&mut self) {
        let Some(fold) = self.fold.as_ref().filter(|fold| fold.exact) else { return };
        let Some((path, state)) = self.checkpoints.get(&fold.lsn) else { return };
        if !fold.agrees_with(state) {
            self.report.add(disagreement("the checkpoint", fold, state).in_file(path));
        }
    }

    fn hole_finding(&self, hole: &Hole) -> Finding {
        let (first, end) = hole.lsns;
        let path = self.segments.get(hole.at.segment).map(|segment| segment.path.clone());
        let extent = Extent { at: hole.at, next: hole.next, until: hole.lsns.1 };
        let behind = self.report.lost_behind(hole);
        let extent = behind.map_or(extent, Quarantined::extent);
        if hole.is_image() {
            let what = "the image at the head of the segment is damaged";
            let below = hole.verdict == Verdict::H;
            let severity = if below { Severity::Warn } else { Severity::Error };
            let finding = Finding::new("FC2404", severity, Some(hole.verdict), what);
            return finding.at(hole.at).taking(extent).in_file(path.unwrap_or_default()).stake(
                "nothing is lost; with onDamage = refuse, an agent whose restart comes by here does not open",
            );
        }
        let below = hole.verdict == Verdict::H;
        let next =
            hole.next.map_or_else(String::new, |next| format!("; next good frame at {next}"));
        let (code, what) = match &hole.kind {
            Some(kind) => (
                "FC2101",
                format!("{kind} frame: the checksum of its body is wrong; lsn {first}{next}"),
            ),
            None if hole.verdict == Verdict::G => (
                "FC2104",
                format!("sound frames in an impossible order: lsn {first} belongs here{next}"),
            ),
            None => (
                "FC2103",
                format!("lsn {first} to {} cannot be read: no sound header{next}", end.previous()),
            ),
        };
        Finding::new(code, Severity::Error, Some(hole.verdict), what)
            .at(hole.at)
            .taking(extent)
            .of_lsn(first)
            .in_file(path.unwrap_or_default())
            .stake(self.stake(hole, below))
    }

    fn stake(&self, hole: &Hole, below: bool) -> String {
        let Some(now) = &self.inspector.now.fold else {
            return "the records in it".to_owned();
        };
        let takes_unknown = match hole.kind.as_deref() {
            Some("take") | None if !below => "; events taken there may be delivered again",
            _ => "",
        };
        match hole.events {
            Some((first, end)) if first < end => {
                let (all, owed) = (end.get() - first.get(), now.owed_between(first, end));
                let seqs = match all {
                    1 => format!("1 event: seq {first}"),
                    _ => format!("{all} events: seq {first}-{}", end.previous()),
                };
                format!("{owed} owed of {seqs}{takes_unknown}")
            }
            Some(_) if takes_unknown.is_empty() => "nothing that is owed".to_owned(),
            Some(_) => format!("no event{takes_unknown}"),
            None => format!("which events were in it is not known{takes_unknown}"),
        }
    }
}

fn disagreement(who: &str, fold: &Fold, state: &State) -> Finding {
    let what = format!(
        "{who} says {} events are owed from {} on, the replay up to lsn {} says {} from {} on",
        state.owed(),
        state.head(),
        fold.lsn,
        fold.state.owed(),
        fold.state.head()
    );
    Finding::new("FC2403", Severity::Error, None, what)
        .of_lsn(fold.lsn)
        .stake("a restart trusts it: events may come again, or not at all")
}

impl Follow for Verifier<'_> {
    fn frame(&mut self, frame: &Frame, _vouched: bool) -> Result<ControlFlow<()>> {
        let header = &frame.header;
        self.report.frames += 1;
        self.report.events += u64::from(header.item_count);
        self.report.bytes += header.frame_len();
        self.meter.pass(frame.ptr, header.frame_len());
        let Some(fold) = &mut self.fold else { return Ok(Continue(())) };
        if header.kind == Kind::PUT
            && let Err(error) = check_put(frame)
        {
            let finding = Finding::new("FC2102", Severity::Error, Some(Verdict::G), error.what());
            self.report
                .add(finding.at(frame.ptr).of_lsn(header.lsn).stake("the events of this frame"));
        }
        let was_exact = fold.exact;
        if let Err(error) = fold.apply(frame)
            && was_exact
        {
            let finding = Finding::new("FC2301", Severity::Error, Some(Verdict::G), error.what());
            self.report.add(
                finding
                    .at(frame.ptr)
                    .of_lsn(header.lsn)
                    .stake("no agent opens a log that contradicts itself"),
            );
        }
        self.compare_checkpoint();
        Ok(Continue(()))
    }

    fn image(&mut self, image: &Frame) -> Result<ControlFlow<()>> {
        let Some(fold) = &mut self.fold else { return Ok(Continue(())) };
        let state = state_of(image);
        if let Some(state) = state
            .filter(|state| fold.exact && fold.lsn == image.header.lsn && !fold.agrees_with(state))
        {
            self.report.add(
                disagreement("the image at the head of the segment", fold, &state).at(image.ptr),
            );
        }
        fold.mend(image);
        Ok(Continue(()))
    }

    fn void(&mut self, at: FramePtr, first: Lsn) {
        let what = format!(
            "void frames from lsn {first} on: a restart wrote them anew behind it, or dropped them"
        );
        self.report.add(
            Finding::new("FC2106", Severity::Info, Some(Verdict::D), what)
                .at(at)
                .of_lsn(first)
                .stake("nothing: they were not acknowledged, or lie in a later segment"),
        );
    }

    fn hole(&mut self, hole: &Hole) -> Result<ControlFlow<()>> {
        let finding = self.hole_finding(hole);
        self.report.add(finding);
        if let (Some((first, end)), Some(now)) = (hole.events, &self.inspector.now.fold) {
            self.report.owed_lost += now.owed_between(first, end);
        }
        if let Some(fold) = &mut self.fold {
            fold.pass(hole);
        }
        Ok(Continue(()))
    }
}

/// The structure behind a sound checksum.
fn check_put(frame: &Frame) -> Result<()> {
    let put = PutBody::decode(frame.body.clone())?;
    put.marks()?;
    put.events(frame.header.item_count).try_for_each(|event| event.map(drop))
}
