//! Places in a log as people write them.

use super::rows::Hole;
use crate::{
    error::{Error, ErrorKind},
    format::FrameHeader,
    ids::{EventSeq, FramePtr, Lsn},
    log::names,
};
use std::str::FromStr;

/// A place to begin or end at. Both ends of a selection belong to it.
///
/// # Examples
/// ```
/// use fchannel::Position;
/// assert!("seg-12@264".parse::<Position>().is_ok());
/// assert!("lsn:9".parse::<Position>().is_ok());
/// assert!("yesterday".parse::<Position>().is_err());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Position {
    /// `oldest`: the first frame that is kept.
    Oldest,
    /// `newest`: the last frame.
    Newest,
    /// `checkpoint`: where the newest valid checkpoint stands. What begins there begins with the frame behind it.
    Checkpoint,
    /// `seg-N@OFFSET`: a place in a segment.
    Place(FramePtr),
    /// `lsn:N`: a frame.
    Lsn(Lsn),
    /// `seq:N`: an event.
    Seq(EventSeq),
}

impl FromStr for Position {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let parsed = match text {
            "oldest" => Some(Self::Oldest),
            "newest" => Some(Self::Newest),
            "checkpoint" => Some(Self::Checkpoint),
            _ => number(text, "lsn:")
                .map(|lsn| Self::Lsn(Lsn::new(lsn)))
                .or_else(|| number(text, "seq:").map(|seq| Self::Seq(EventSeq::new(seq))))
                .or_else(|| names::place(text).map(Self::Place)),
        };
        parsed.ok_or_else(|| {
            let what = format!(
                "`{text}` is no position: oldest, newest, checkpoint, seg-N@OFFSET, lsn:N or seq:N"
            );
            Error::new(ErrorKind::InvalidOptions, what)
        })
    }
}

fn number(text: &str, prefix: &str) -> Option<u64> {
    text.strip_prefix(prefix)?.parse().ok()
}

/// A selection of frames, both ends included.
#[derive(Clone, Copy, Debug)]
pub(super) struct Selection {
    pub(super) from: Position,
    pub(super) to: Position,
    pub(super) oldest: Lsn,
    pub(super) newest: Lsn,
    pub(super) checkpoint: Lsn,
}

impl Selection {
    /// True if the frame lies wholly before the selection.
    pub(super) fn is_before(&self, header: &FrameHeader, ptr: FramePtr) -> bool {
        match self.from {
            Position::Oldest => false,
            Position::Newest => header.lsn < self.newest,
            Position::Checkpoint => header.lsn <= self.checkpoint,
            Position::Place(place) => ptr < place,
            Position::Lsn(lsn) => header.lsn < lsn,
            Position::Seq(seq) => header.next_item() <= seq,
        }
    }

    /// True if it lies wholly behind it.
    pub(super) fn is_behind(&self, header: &FrameHeader, ptr: FramePtr) -> bool {
        match self.to {
            Position::Oldest => header.lsn > self.oldest,
            Position::Newest => header.lsn > self.newest,
            Position::Checkpoint => header.lsn > self.checkpoint,
            Position::Place(place) => ptr > place,
            Position::Lsn(lsn) => header.lsn > lsn,
            Position::Seq(seq) => header.first_item > seq,
        }
    }

    /// True if what is missing in `hole` would lie in it, at least in part.
    pub(super) fn has_hole(&self, hole: &Hole) -> bool {
        let starts_before_end = match self.to {
            Position::Place(place) => hole.at <= place,
            Position::Lsn(lsn) => hole.lsns.0 <= lsn,
            Position::Seq(seq) => hole.events.is_none_or(|(first, _)| first <= seq),
            _ => true,
        };
        let ends_behind_start = match self.from {
            Position::Place(place) => hole.next.is_none_or(|next| next > place),
            Position::Seq(seq) => hole.events.is_none_or(|(_, end)| end > seq),
            _ => true,
        };
        starts_before_end && ends_behind_start
    }

    /// True if event `seq` of a frame in the selection is in it too.
    pub(super) fn has_event(&self, seq: EventSeq) -> bool {
        !matches!(self.from, Position::Seq(from) if seq < from)
            && !matches!(self.to, Position::Seq(to) if seq > to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::SegmentId;

    #[test]
    fn a_position_that_is_printed_is_read_back() {
        let ptr = FramePtr { segment: SegmentId::new(3), offset: 4096 };
        assert_eq!(ptr.to_string().parse::<Position>().unwrap(), Position::Place(ptr));
        assert_eq!("seq:0".parse::<Position>().unwrap(), Position::Seq(EventSeq::new(0)));
        for wrong in ["", "seg-1", "seg-1@", "lsn:", "lsn:-1", "seq: 1", "checkpoint-1@2"] {
            assert!(wrong.parse::<Position>().is_err(), "{wrong}");
        }
    }
}
