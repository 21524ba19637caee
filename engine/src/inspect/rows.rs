//! What the walkers show, one row at a time.

use crate::{
    error::Result,
    format::{FrameHeader, Kind, PutBody, SEGMENT_HEADER_LEN, take_ranges},
    ids::{EventSeq, FramePtr, Lsn, SegmentId},
    log::{Damage, Frame, Verdict},
};
use bytes::Bytes;
use std::path::PathBuf;

/// A frame: one transaction, or one record of a bare log.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct FrameInfo {
    /// Where it lies.
    pub ptr: FramePtr,
    /// Its place in the order of the log, and the id of its transaction.
    pub lsn: Lsn,
    /// The highest LSN known durable when it was written.
    pub durable_lsn: Lsn,
    /// The first event in it, or the next one to come if it holds none.
    pub first: EventSeq,
    /// How many events it holds.
    pub events: u32,
    /// Its size on disk, header and padding included.
    pub bytes: u64,
    /// Wall clock of the commit, in milliseconds since 1970.
    pub time_ms: u64,
    /// Something later says that it was durable. The last group of a log has nothing later.
    pub vouched: bool,
    /// What it holds, as written.
    pub body: Bytes,
    kind: Kind,
}

impl FrameInfo {
    pub(super) fn new(frame: &Frame, vouched: bool) -> Self {
        let header = &frame.header;
        Self {
            ptr: frame.ptr,
            lsn: header.lsn,
            durable_lsn: header.durable_lsn,
            first: header.first_item,
            events: header.item_count,
            bytes: header.frame_len(),
            time_ms: header.time_ms,
            vouched,
            body: frame.body.clone(),
            kind: header.kind,
        }
    }

    /// `put`, `take`, `image`, `vouch`, `release`, or `kind-N` for a record of a bare log.
    #[must_use]
    pub fn kind(&self) -> String {
        self.kind.name()
    }

    /// The events that a take names, each range as first and end; nothing for other kinds.
    ///
    /// # Errors
    /// `Corrupt` if the body is not that of a take.
    pub fn taken(&self) -> Result<Vec<(EventSeq, EventSeq)>> {
        if self.kind != Kind::TAKE {
            return Ok(Vec::new());
        }
        Ok(take_ranges(&self.body)?.iter().map(|range| (range.first, range.end())).collect())
    }

    /// The marks that a put sets, key and value; an empty value removes. Nothing for other kinds.
    ///
    /// # Errors
    /// `Corrupt` if the body is not that of a put.
    pub fn marks(&self) -> Result<Vec<(Bytes, Bytes)>> {
        if self.kind != Kind::PUT {
            return Ok(Vec::new());
        }
        let put = PutBody::decode(self.body.clone())?;
        let marks = put.marks()?;
        let copy = Bytes::copy_from_slice;
        Ok(marks.into_iter().map(|(key, value)| (copy(key), copy(value))).collect())
    }
}

/// Frames that were durable and cannot be read.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Hole {
    /// Where the first of them was looked for.
    pub at: FramePtr,
    /// The first LSN that is missing, and the first one that is not: equal if only an image is damaged.
    pub lsns: (Lsn, Lsn),
    /// The events put by them, first and end, as far as sound headers around them tell.
    pub events: Option<(EventSeq, EventSeq)>,
    /// Its kind, if it is one frame whose header is sound.
    pub kind: Option<String>,
    /// Size of that frame on disk.
    pub bytes: Option<u64>,
    /// The next sound frame in the same segment.
    pub next: Option<FramePtr>,
    /// What a restart makes of it.
    pub verdict: Verdict,
    /// What is wrong, and who says so.
    pub what: String,
}

impl Hole {
    /// `image_lsn`: the state of a restart holds all up to there.
    pub(super) fn new(damage: &Damage, first: EventSeq, image_lsn: Lsn) -> Self {
        // One frame, and nothing else is missing: its sound header tells all.
        let alone = damage.broken.filter(|header| header.lsn.next() == damage.until);
        let end = alone.map(|header| header.next_item()).or(damage.until_item);
        Self {
            at: damage.at,
            lsns: (damage.missing, damage.until),
            events: end.map(|end| (first, end.max(first))),
            kind: alone.map(|header| header.kind.name()),
            bytes: alone.as_ref().map(FrameHeader::frame_len),
            next: damage.next,
            verdict: if damage.until <= image_lsn.next() { Verdict::H } else { damage.verdict },
            what: damage.what.clone(),
        }
    }

    /// True if it is the image at the head of a segment, and no frame.
    pub(super) fn is_image(&self) -> bool {
        self.lsns.0 == self.lsns.1 && self.at.offset == SEGMENT_HEADER_LEN as u64
    }
}

/// A row of [`Inspector::frames`](super::Inspector::frames).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum FrameRow {
    /// A frame, or the image at the head of a segment.
    Frame(FrameInfo),
    /// Damage.
    Hole(Hole),
}

/// An event of a channel.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct EventInfo {
    /// Its sequence.
    pub seq: EventSeq,
    /// The transaction that put it.
    pub lsn: Lsn,
    /// The frame it lies in.
    pub ptr: FramePtr,
    /// Wall clock of the commit that put it, in milliseconds since 1970.
    pub committed_ms: u64,
    /// No committed transaction has taken it.
    pub owed: bool,
    /// What was put: an [`Event`](crate::Event) if an agent did.
    pub payload: Bytes,
}

/// A row of [`Inspector::events`](super::Inspector::events).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum EventRow {
    /// An event.
    Event(EventInfo),
    /// Damage; of its events, so many are owed and cannot be shown.
    Hole(Hole, u64),
}

/// A segment.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SegmentInfo {
    /// Its number.
    pub id: SegmentId,
    /// Its file.
    pub path: PathBuf,
    /// Its size, that of the blocks made for it included.
    pub size_bytes: u64,
    /// No LSN in it is lower.
    pub first_lsn: Lsn,
    /// No event in it is lower.
    pub first_event: EventSeq,
    /// Counts the restarts of the log.
    pub epoch: u32,
    /// Events put in it.
    pub events: u64,
    /// Of these, those that are owed.
    pub owed: u64,
    /// The newest one: what is committed next goes here.
    pub newest: bool,
    /// A restart with the older checkpoint reads it.
    pub behind_checkpoint: bool,
}

/// A checkpoint file, or the image at the head of a segment.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CheckpointInfo {
    /// Its file.
    pub path: PathBuf,
    /// The number in the name of a checkpoint file; `None` for an image at the head of a segment.
    pub generation: Option<u64>,
    /// What is in it, or why it cannot be used.
    pub content: Result<CheckpointContent>,
}

/// What a checkpoint says.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CheckpointContent {
    /// The state is that after this frame.
    pub lsn: Lsn,
    /// Where the frames above it begin.
    pub next_frame: FramePtr,
    /// The state; `None` in a bare log.
    pub state: Option<StateInfo>,
}

/// The state of a queue after some frame.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StateInfo {
    /// The frame.
    pub lsn: Lsn,
    /// Events owed.
    pub owed: u64,
    /// The oldest of them, or the next event if there is none.
    pub head: EventSeq,
    /// The next event to come.
    pub next_seq: EventSeq,
    /// Ranges above `head` that are taken, each as first and end.
    pub taken: Vec<(EventSeq, EventSeq)>,
    /// The marks.
    pub marks: Vec<(Bytes, Bytes)>,
    /// False if frames on the way could not be read: then what is owed is an upper bound.
    pub exact: bool,
}
