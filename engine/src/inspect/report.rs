//! What a verification gathers: findings, counts, and how far it is.

use super::{
    Inspector,
    finding::{Finding, Severity},
    rows::Hole,
    verify::{Progress, Verification},
};
use crate::{
    ids::{FramePtr, SegmentId},
    log::{Quarantine, Quarantined, Segment, Segments},
};
use std::collections::BTreeMap;

/// Bytes passed, over the segments of a stretch.
pub(super) struct Meter<'a> {
    sizes: BTreeMap<SegmentId, u64>,
    segment: SegmentId,
    /// Bytes of the segments before, less what the first one holds before the start.
    before: u64,
    skipped: u64,
    total: u64,
    progress: &'a mut dyn FnMut(Progress),
}

impl<'a> Meter<'a> {
    pub(super) fn new(
        inspector: &Inspector,
        segments: &Segments,
        start: FramePtr,
        progress: &'a mut dyn FnMut(Progress),
    ) -> Self {
        let end = inspector.now.stopped_at;
        let size = |segment: &Segment| {
            let len = inspector.vfs.open(&segment.path).and_then(|file| file.len());
            // The blocks made for the newest segment are not read; a file that is gone is noticed by the walk.
            if segment.header.id == end.segment { end.offset } else { len.unwrap_or_default() }
        };
        let sizes: BTreeMap<SegmentId, u64> = segments
            .from(start.segment)
            .map(|segment| (segment.header.id, size(segment)))
            .collect();
        let total = sizes.values().sum::<u64>().saturating_sub(start.offset);
        Self { sizes, segment: start.segment, before: 0, skipped: start.offset, total, progress }
    }

    /// A frame of `len` bytes at `at` was passed.
    pub(super) fn pass(&mut self, at: FramePtr, len: u64) {
        // Not one by one: where segments are missing, the ids between are anybody's number.
        if self.segment < at.segment {
            self.before +=
                self.sizes.range(self.segment..at.segment).map(|(_, size)| size).sum::<u64>();
            self.segment = at.segment;
        }
        let done = (self.before + at.offset + len).saturating_sub(self.skipped);
        (self.progress)(Progress { done_bytes: done.min(self.total), total_bytes: self.total });
    }
}

/// What a verification has found so far.
pub(super) struct Report<'a> {
    quarantine: &'a Quarantine,
    findings: Vec<Finding>,
    findings_max: usize,
    left_out: u64,
    worst: Option<Severity>,
    pub(super) frames: u64,
    pub(super) events: u64,
    pub(super) bytes: u64,
    pub(super) owed_lost: u64,
}

impl<'a> Report<'a> {
    pub(super) fn new(findings_max: usize, inspector: &'a Inspector) -> Self {
        let mut report = Self {
            quarantine: &inspector.quarantine,
            findings: Vec::new(),
            findings_max,
            left_out: 0,
            worst: None,
            frames: 0,
            events: 0,
            bytes: 0,
            owed_lost: 0,
        };
        for finding in &inspector.findings {
            report.add(finding.clone());
        }
        report
    }

    /// The record that says that these frames were lost with the segment behind them.
    pub(super) fn lost_behind(&self, hole: &Hole) -> Option<&'a Quarantined> {
        self.quarantine.lost_behind(hole.at.segment, hole.lsns)
    }

    /// Adds a finding. What is said twice about a file is told once, by who makes more of it.
    pub(super) fn add(&mut self, finding: Finding) {
        let finding = finding.judged(self.quarantine);
        let about_file = finding.code.starts_with("FC20") || finding.code.starts_with("FC24");
        let said = |other: &&mut Finding| other.code == finding.code && other.file == finding.file;
        if about_file
            && finding.file.is_some()
            && let Some(before) = self.findings.iter_mut().find(said)
        {
            if finding.severity > before.severity {
                self.worst = self.worst.max(Some(finding.severity));
                *before = finding;
            }
            return;
        }
        self.worst = self.worst.max(Some(finding.severity));
        if self.findings.len() < self.findings_max {
            self.findings.push(finding);
        } else {
            self.left_out += 1;
        }
    }

    /// What is said of it all.
    pub(super) fn finish(self, inspector: &Inspector) -> Verification {
        let fold = inspector.now.fold.as_ref();
        Verification {
            segments: inspector.view.segments.len() as u64,
            frames: self.frames,
            events: self.events,
            bytes: self.bytes,
            owed: fold.map(|fold| fold.state.owed()),
            owed_lost: self.owed_lost,
            exact: fold.is_none_or(|fold| fold.exact),
            findings: self.findings,
            findings_left_out: self.left_out,
            worst: self.worst,
        }
    }
}
