//! The names of our files: nobody else spells them.

use crate::ids::{BEYOND_ANY_LOG, FramePtr, SegmentId};

/// What a name in one of our directories stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Name {
    Segment(SegmentId),
    /// A retired or reserved file, whose blocks the next segment may use.
    Spare(u64),
    Checkpoint(u64),
    Manifest,
    /// What a crash left of making one of the others.
    Temporary,
    /// Nobody's business of ours: `lost+found`, the lock, a user's note.
    Other,
}

pub(crate) const MANIFEST: &str = "manifest";
/// The directory of what was damaged, beside the checkpoints.
pub(crate) const QUARANTINE: &str = "quarantine";
const DAMAGE_RECORD_SUFFIX: &str = ".damage";
const DAMAGE_BYTES_SUFFIX: &str = ".bytes";
const DAMAGE_SETTLED_SUFFIX: &str = ".settled";
const TEMPORARY_SUFFIX: &str = ".tmp";

pub(crate) fn segment(id: SegmentId) -> String {
    format!("seg-{id}")
}

pub(crate) fn spare(number: u64) -> String {
    format!("spare-{number}")
}

pub(crate) fn checkpoint(generation: u64) -> String {
    format!("checkpoint-{generation}")
}

/// As [`FramePtr`] is printed: the name of a segment and an offset.
pub(crate) fn place(text: &str) -> Option<FramePtr> {
    let (name, offset) = text.split_once('@')?;
    let Name::Segment(segment) = Name::parse(name) else { return None };
    Some(FramePtr { segment, offset: offset.parse().ok()? })
}

pub(crate) fn damage_record(id: u64) -> String {
    format!("{id}{DAMAGE_RECORD_SUFFIX}")
}

pub(crate) fn damage_bytes(id: u64) -> String {
    format!("{id}{DAMAGE_BYTES_SUFFIX}")
}

/// The name of a record that an operator has settled.
pub(crate) fn damage_settled(id: u64) -> String {
    format!("{id}{DAMAGE_SETTLED_SUFFIX}")
}

/// The name that a file gets which cannot be read at all, so that its own is free.
pub(crate) fn damaged(name: &str, damage: u64) -> String {
    format!("{name}{DAMAGE_RECORD_SUFFIX}-{damage}")
}

/// The name that a file had before it got that of a [`damaged`] one.
pub(crate) fn undamaged(name: &str) -> Option<&str> {
    let (name, damage) = name.rsplit_once('-')?;
    number(damage)?;
    name.strip_suffix(DAMAGE_RECORD_SUFFIX)
}

pub(crate) fn is_damage_record(name: &str) -> bool {
    damage_id(name).is_some() && name.ends_with(DAMAGE_RECORD_SUFFIX)
}

pub(crate) fn is_damage_settled(name: &str) -> bool {
    damage_id(name).is_some() && name.ends_with(DAMAGE_SETTLED_SUFFIX)
}

/// What a crash left of making one of the files of the quarantine.
pub(crate) fn is_damage_temporary(name: &str) -> bool {
    name.strip_suffix(TEMPORARY_SUFFIX).and_then(damage_id).is_some()
}

/// The number of a damage in the name of its record or of its bytes.
pub(crate) fn damage_id(name: &str) -> Option<u64> {
    name.strip_suffix(DAMAGE_RECORD_SUFFIX)
        .or_else(|| name.strip_suffix(DAMAGE_SETTLED_SUFFIX))
        .or_else(|| name.strip_suffix(DAMAGE_BYTES_SUFFIX))
        .and_then(number)
}

impl Name {
    pub(crate) fn parse(name: &str) -> Self {
        if let Some(made) = name.strip_suffix(TEMPORARY_SUFFIX) {
            return if Self::parse(made) == Self::Other { Self::Other } else { Self::Temporary };
        }
        if name == MANIFEST {
            return Self::Manifest;
        }
        let Some((kind, number)) =
            name.split_once('-').and_then(|(kind, digits)| Some((kind, number(digits)?)))
        else {
            return Self::Other;
        };
        match kind {
            "seg" => Self::Segment(SegmentId::new(number)),
            "spare" => Self::Spare(number),
            "checkpoint" => Self::Checkpoint(number),
            _ => Self::Other,
        }
    }

    /// True for what shows that a log lies in the directory.
    pub(crate) fn is_content(self) -> bool {
        matches!(self, Self::Segment(_) | Self::Checkpoint(_) | Self::Manifest)
    }
}

/// A number as we print it: `007` is not a name of ours, nor is one that we never come to.
fn number(digits: &str) -> Option<u64> {
    let number: u64 = digits.parse().ok()?;
    (number < BEYOND_ANY_LOG && number.to_string() == digits).then_some(number)
}

/// True if `names` are those of a directory that Apache Flume's file channel wrote.
pub(crate) fn is_flume(names: &[String]) -> bool {
    let has = |name: &str| names.iter().any(|other| other == name);
    let data = names.iter().any(|name| {
        name.strip_prefix("log-").and_then(number).is_some() && has(&format!("{name}.meta"))
    });
    data || (has("checkpoint") && (has("checkpoint.meta") || has("inflighttakes")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        assert_eq!(Name::parse(&segment(SegmentId::new(12))), Name::Segment(SegmentId::new(12)));
        assert_eq!(Name::parse(&spare(3)), Name::Spare(3));
        assert_eq!(Name::parse(&checkpoint(9)), Name::Checkpoint(9));
        assert_eq!(Name::parse(MANIFEST), Name::Manifest);
        assert_eq!(Name::parse("seg-12.tmp"), Name::Temporary);
        for other in [
            "seg-",
            "seg-012",
            "seg-+1",
            "seg-18446744073709551615",
            "checkpoint-9223372036854775808",
            "seg-1.bak",
            "lost+found",
            "notes.tmp",
            "in_use.lock",
            "log-1",
        ] {
            assert_eq!(Name::parse(other), Name::Other, "{other}");
        }
    }

    #[test]
    fn a_directory_of_flume_is_told_by_its_files() {
        let names =
            |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        assert!(is_flume(&names(&["in_use.lock", "log-3", "log-3.meta"])));
        assert!(is_flume(&names(&["checkpoint", "checkpoint.meta"])));
        assert!(!is_flume(&names(&["log-3", "seg-1", "checkpoint-4"])));
    }
}
