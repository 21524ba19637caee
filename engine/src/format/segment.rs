//! The segment header: the first 64 bytes of a segment.

use super::{FORMAT_VERSION, checksum::crc32, fields::Fields};
use crate::{
    error::{Error, ErrorKind, Result},
    ids::{BEYOND_ANY_LOG, EventSeq, Lsn, SegmentId},
};

/// The size of a segment header in bytes.
pub(crate) const SEGMENT_HEADER_LEN: usize = 64;
const HEADER_LEN_FIELD: u16 = 64;
const MAGIC: &[u8; 8] = b"FCHANSEG";

/// What a segment says about itself and about those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    /// The number in its name.
    pub(crate) id: SegmentId,
    /// Drawn anew for each attempt to make a segment: frames with another salt are not of this segment.
    pub(crate) salt: u64,
    /// Every lower LSN was durable when this segment was made, and no frame in it is lower: a voucher, and a lower bound.
    pub(crate) first_lsn: Lsn,
    /// Frames above it in segments of *older* epochs are void.
    pub(crate) cut_lsn: Lsn,
    /// The next item (event) when this segment was made: no item in it is lower.
    pub(crate) first_item: EventSeq,
    /// Counts recoveries, and segments left because their disk was full; the same in all segments made between two of these, as is
    /// `cut_lsn`.
    pub(crate) epoch: u32,
}

impl SegmentHeader {
    /// The header as bytes.
    pub(crate) fn encode(&self) -> [u8; SEGMENT_HEADER_LEN] {
        let mut out = Vec::with_capacity(SEGMENT_HEADER_LEN);
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
        out.extend_from_slice(&HEADER_LEN_FIELD.to_le_bytes());
        out.extend_from_slice(&0u32.to_le_bytes()); // flags: none defined
        out.extend_from_slice(&self.id.get().to_le_bytes());
        out.extend_from_slice(&self.salt.to_le_bytes());
        out.extend_from_slice(&self.first_lsn.get().to_le_bytes());
        out.extend_from_slice(&self.cut_lsn.get().to_le_bytes());
        out.extend_from_slice(&self.first_item.get().to_le_bytes());
        out.extend_from_slice(&self.epoch.to_le_bytes());
        let crc = crc32(&[&out]);
        out.extend_from_slice(&crc.to_le_bytes());
        out.try_into().expect("the fields of a segment header add up to its length")
    }

    /// Reads a segment header.
    ///
    /// # Errors
    /// `Corrupt` if it is none, `NewerFormat` if a later release made it.
    pub(crate) fn decode(bytes: &[u8; SEGMENT_HEADER_LEN]) -> Result<Self> {
        let (sealed, crc) = bytes.split_at(SEGMENT_HEADER_LEN - 4);
        let mut fields = Fields::new(sealed);
        if fields.bytes(MAGIC.len()) != Some(MAGIC) {
            return Err(Error::corrupt("@J: the segment header has no magic"));
        }
        if Fields::new(crc).u32() != Some(crc32(&[sealed])) {
            return Err(Error::corrupt("@J: the checksum of the segment header is wrong"));
        }
        let header = Self::decode_sealed(fields).ok_or_else(|| {
            Error::new(ErrorKind::NewerFormat, "the segment was written by a newer release")
        })?;
        let Self { id, first_lsn, cut_lsn, first_item, .. } = header;
        let numbers = [id.get(), first_lsn.get(), cut_lsn.get(), first_item.get()];
        if numbers.iter().any(|number| *number >= BEYOND_ANY_LOG) {
            return Err(Error::corrupt("@J: the segment header counts further than any log"));
        }
        Ok(header)
    }

    fn decode_sealed(mut fields: Fields<'_>) -> Option<Self> {
        let (version, header_len, flags) = (fields.u16()?, fields.u16()?, fields.u32()?);
        if version != FORMAT_VERSION || usize::from(header_len) != SEGMENT_HEADER_LEN || flags != 0
        {
            return None;
        }
        Some(Self {
            id: SegmentId::new(fields.u64()?),
            salt: fields.u64()?,
            first_lsn: Lsn::new(fields.u64()?),
            cut_lsn: Lsn::new(fields.u64()?),
            first_item: EventSeq::new(fields.u64()?),
            epoch: fields.u32()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> SegmentHeader {
        SegmentHeader {
            id: SegmentId::new(3),
            salt: 7,
            first_lsn: Lsn::new(40),
            cut_lsn: Lsn::new(12),
            first_item: EventSeq::new(900),
            epoch: 2,
        }
    }

    #[test]
    fn a_header_is_read_back() {
        assert_eq!(SegmentHeader::decode(&header().encode()).unwrap(), header());
    }

    #[test]
    fn every_flipped_bit_is_seen() {
        for bit in 0..SEGMENT_HEADER_LEN * 8 {
            let mut bytes = header().encode();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(
                SegmentHeader::decode(&bytes).unwrap_err().kind(),
                &ErrorKind::Corrupt,
                "bit {bit}"
            );
        }
    }
}
