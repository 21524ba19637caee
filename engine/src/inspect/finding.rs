//! What `verify` tells about.

use crate::{
    error::Error,
    ids::{FramePtr, Lsn, SegmentId},
    log::{Extent, Quarantine, Verdict, start_of},
};
use std::{fmt, path::PathBuf};

/// How bad a [`Finding`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// As it should be after a crash, say: nothing is lost.
    Info,
    /// Something is damaged that was there twice: nothing is lost yet.
    Warn,
    /// What was durable is damaged or missing.
    Error,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        })
    }
}

/// One thing that is not as it was written, or that an operator should know.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Finding {
    /// `FC20xx` is about a file, `FC21xx` about a frame, `FC23xx` about a transaction, `FC24xx` about a checkpoint.
    pub code: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// The frame it is about.
    pub at: Option<FramePtr>,
    /// The segment it is about as a whole.
    pub segment: Option<SegmentId>,
    /// The LSN it is about.
    pub lsn: Option<Lsn>,
    /// The file or directory it is about.
    pub file: Option<PathBuf>,
    /// What was found.
    pub what: String,
    /// What is at stake.
    pub stake: String,
    /// The row of [`VERDICTS`](crate::VERDICTS) that says what a restart makes of it.
    pub verdict: Option<Verdict>,
    /// How much of the log it takes, if that is more than what lies at its place.
    extent: Option<Extent>,
}

impl Finding {
    pub(super) fn new(
        code: &'static str,
        severity: Severity,
        verdict: Option<Verdict>,
        what: impl Into<String>,
    ) -> Self {
        Self {
            code,
            severity,
            at: None,
            segment: None,
            lsn: None,
            file: None,
            what: what.into(),
            stake: String::new(),
            verdict,
            extent: None,
        }
    }

    pub(super) fn at(mut self, at: FramePtr) -> Self {
        self.at = Some(at);
        self
    }

    pub(super) fn of_segment(mut self, segment: SegmentId) -> Self {
        self.segment = Some(segment);
        self
    }

    pub(super) fn taking(mut self, extent: Extent) -> Self {
        self.extent = Some(extent);
        self
    }

    pub(super) fn of_lsn(mut self, lsn: Lsn) -> Self {
        self.lsn = Some(lsn);
        self
    }

    pub(super) fn in_file(mut self, file: impl Into<PathBuf>) -> Self {
        self.file = Some(file.into());
        self
    }

    pub(super) fn stake(mut self, stake: impl Into<String>) -> Self {
        self.stake = stake.into();
        self
    }

    /// Damage that was set aside stops nobody any more, and is told for information.
    pub(super) fn judged(mut self, quarantine: &Quarantine) -> Self {
        let known = match self.extent {
            Some(extent) => quarantine.covering(extent),
            None => {
                let places = [self.at, self.segment.map(start_of)].into_iter().flatten();
                places.flat_map(|at| quarantine.of(at)).next()
            }
        };
        if let Some(known) = known.filter(|_| self.severity > Severity::Info) {
            self.severity = Severity::Info;
            self.what = format!("{} (set aside as damage {})", self.what, known.id);
        }
        self
    }

    /// What the log's own reading says about a file that it cannot use.
    pub(super) fn of_file(error: &Error) -> Self {
        let code = if error.what().contains("is missing") { "FC2010" } else { "FC2001" };
        let finding =
            Self::new(code, Severity::Error, Some(Verdict::J), strip_letter(error.what())).stake(
                "what cannot be read in it; an agent goes on around it, unless onDamage is refuse",
            );
        match error.file() {
            Some(file) => finding.in_file(file),
            None => finding,
        }
    }

    /// Where it is, as every command prints and takes it: a place in a segment, else an LSN, else a file.
    #[must_use]
    pub fn position(&self) -> String {
        match (self.at, self.lsn, &self.file) {
            (Some(at), ..) => at.to_string(),
            (None, _, Some(file)) => file
                .file_name()
                .map_or_else(|| file.display().to_string(), |name| name.display().to_string()),
            (None, Some(lsn), None) => format!("lsn:{lsn}"),
            (None, None, None) => "-".to_owned(),
        }
    }
}

/// Errors of the log carry the letter of their verdict; a finding has it in a field.
fn strip_letter(what: &str) -> &str {
    match what.split_once(": ") {
        Some((letter, rest)) if letter.starts_with('@') => rest,
        _ => what,
    }
}
