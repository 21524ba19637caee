//! The verdict table: what a scan may find at the end of the log, and what is true then.
//!
//! One table, three uses: [`judge`] decides by it, recovery and `inspect verify` print it, and docs/RECOVERY.md holds the same rows (a
//! test compares them). A verdict says what is true; what to do about damage is policy.

use std::fmt;

/// A row of the table, by its letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Verdict {
    /// A clean end.
    A,
    /// A torn end.
    B,
    /// A frame that was vouched for is missing in the newest segment.
    C,
    /// Void frames above the cut of a later epoch.
    D,
    /// A frame that was vouched for is missing in an older segment.
    E,
    /// A directory is absent or foreign, or lacks all of its segments.
    F,
    /// Sound frames in an impossible order.
    G,
    /// Damage below the checkpoint.
    H,
    /// The newest checkpoint is invalid.
    I,
    /// A segment header is invalid, or a segment is missing.
    J,
}

/// What follows from a verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Consequence {
    /// The log opens; nothing that was acknowledged is missing.
    Opens,
    /// Acknowledged bytes are damaged: the open goes around them, or is refused, as `on_damage` says; either names the place.
    Damage,
    /// The open is refused whatever the policy.
    Refuses,
    /// Not seen at open: who reads that place goes around it, or fails, as `on_damage` says, and `inspect verify` names it.
    FailsWhenRead,
}

/// A row of the table, for people.
#[derive(Clone, Copy, Debug)]
pub struct VerdictRow {
    /// Which row.
    pub verdict: Verdict,
    /// What the scan finds. `m` is the first LSN that is missing, `V` the highest that was vouched for.
    pub finds: &'static str,
    /// What is true.
    pub truth: &'static str,
    /// What follows.
    pub consequence: Consequence,
}

const fn row(
    verdict: Verdict,
    finds: &'static str,
    truth: &'static str,
    consequence: Consequence,
) -> VerdictRow {
    VerdictRow { verdict, finds, truth, consequence }
}

/// The table of docs/RECOVERY.md.
pub const VERDICTS: [VerdictRow; 10] = [
    row(Verdict::A, "m > V, and nothing of this segment follows", "clean end", Consequence::Opens),
    row(
        Verdict::B,
        "m > V, and other bytes are there: a torn group, old bytes of a donor",
        "the log ends at m - 1; all from m on is void",
        Consequence::Opens,
    ),
    row(
        Verdict::C,
        "m <= V in the newest segment: a frame, a segment header or a checkpoint vouches for m",
        "damage at m",
        Consequence::Damage,
    ),
    row(
        Verdict::D,
        "frames above the cut of a later epoch",
        "void, damaged or not",
        Consequence::Opens,
    ),
    row(Verdict::E, "m <= V in an older segment", "damage at m", Consequence::Damage),
    row(
        Verdict::F,
        "a directory is absent or foreign, or checkpoints or spares are there without any segment",
        "a disk may not be mounted",
        Consequence::Refuses,
    ),
    row(
        Verdict::G,
        "sound frames whose LSNs do not rise one by one",
        "a bug of ours, or bytes put there by somebody",
        Consequence::Damage,
    ),
    row(
        Verdict::H,
        "damage below the checkpoint in a segment that is kept",
        "damage, found by who reads it",
        Consequence::FailsWhenRead,
    ),
    row(
        Verdict::I,
        "the newest checkpoint is invalid",
        "the older one, or an image in the log, serves",
        Consequence::Opens,
    ),
    row(
        Verdict::J,
        "a segment header is invalid or not its name's, or an id is missing",
        "damage",
        Consequence::Damage,
    ),
];

impl Verdict {
    /// Its row in [`VERDICTS`].
    #[must_use]
    pub fn row(self) -> &'static VerdictRow {
        // The array is in the order of the letters: a test holds it to that.
        VERDICTS.iter().find(|row| row.verdict == self).unwrap_or(&VERDICTS[0])
    }

    /// The verdict that is printed as `name`.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        VERDICTS.iter().map(|row| row.verdict).find(|verdict| verdict.to_string() == name)
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "@{self:?}")
    }
}

/// What a scan knows where the run of dense LSNs ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct End {
    /// The first missing LSN is at most the highest one vouched for.
    pub(crate) vouched_for: bool,
    /// It lies in the newest segment.
    pub(crate) in_newest_segment: bool,
    /// Something of this segment follows: a sound header, or the rest of a frame.
    pub(crate) something_follows: bool,
    /// A sound frame lies right there, with an LSN that cannot be.
    pub(crate) impossible_order: bool,
}

/// The verdict on the end of the run. Exactly one row matches each input.
pub(crate) fn judge(end: End) -> Verdict {
    match end {
        End { impossible_order: true, .. } => Verdict::G,
        End { vouched_for: true, in_newest_segment: true, .. } => Verdict::C,
        End { vouched_for: true, in_newest_segment: false, .. } => Verdict::E,
        // The header of its successor vouches for all of an older segment: the run cannot end there unvouched.
        End { vouched_for: false, in_newest_segment: false, .. } => Verdict::G,
        End { something_follows: true, .. } => Verdict::B,
        End { something_follows: false, .. } => Verdict::A,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_end_has_its_verdict() {
        for bits in 0..16u8 {
            let end = End {
                vouched_for: bits & 1 != 0,
                in_newest_segment: bits & 2 != 0,
                something_follows: bits & 4 != 0,
                impossible_order: bits & 8 != 0,
            };
            let consequence = judge(end).row().consequence;
            // The two promises: what was vouched for is never given up silently, and a torn end never stops a start.
            assert!(!end.vouched_for || consequence != Consequence::Opens, "{end:?}");
            let torn = !end.vouched_for && end.in_newest_segment && !end.impossible_order;
            assert_eq!(torn, consequence == Consequence::Opens, "{end:?}");
        }
    }

    #[test]
    fn the_rows_are_in_the_order_of_their_letters() {
        assert!(VERDICTS.windows(2).all(|pair| pair[0].verdict < pair[1].verdict));
        assert!(VERDICTS.iter().all(|row| row.verdict.row().finds == row.finds));
    }

    #[test]
    fn the_document_holds_the_same_table() {
        let document = include_str!("../../../docs/RECOVERY.md");
        for row in VERDICTS {
            let line = format!("| {} | {} | {} |", row.verdict, row.finds, row.truth);
            assert!(document.contains(&line), "docs/RECOVERY.md lacks: {line}");
        }
    }
}
