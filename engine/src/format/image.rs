//! The image: the state of the log's owner at one LSN, and where the frames above that LSN begin.
//!
//! It lies in the image frame at the head of each segment and, with a header of its own, in checkpoint files.

use super::fields::Fields;
use crate::{
    error::{Error, Result},
    ids::{EventSeq, FramePtr, Lsn, SegmentId},
};

/// An image, as the log sees it: the owner's bytes are opaque.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LogImage {
    /// The owner's state is the fold of all frames up to this one.
    pub(crate) lsn: Lsn,
    /// The item (event) that comes next.
    pub(crate) next_item: EventSeq,
    /// Where the frames above `lsn` begin. An image frame leaves it at zero: they follow it.
    pub(crate) next_frame: FramePtr,
    /// The owner's state.
    pub(crate) owner: Vec<u8>,
}

impl LogImage {
    /// The image as bytes.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(32 + self.owner.len());
        out.extend_from_slice(&self.lsn.get().to_le_bytes());
        out.extend_from_slice(&self.next_item.get().to_le_bytes());
        out.extend_from_slice(&self.next_frame.segment.get().to_le_bytes());
        out.extend_from_slice(&self.next_frame.offset.to_le_bytes());
        out.extend_from_slice(&self.owner);
        out
    }

    /// Reads an image.
    ///
    /// # Errors
    /// `Corrupt` if it is too short, or counts further than any log.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self> {
        let mut fields = Fields::new(bytes);
        let mut read = || {
            Some(Self {
                lsn: Lsn::new(fields.number()?),
                next_item: EventSeq::new(fields.number()?),
                next_frame: FramePtr {
                    segment: SegmentId::new(fields.number()?),
                    offset: fields.number()?,
                },
                owner: fields.rest().to_vec(),
            })
        };
        read().ok_or_else(|| Error::corrupt("the image is shorter than its first fields"))
    }
}
