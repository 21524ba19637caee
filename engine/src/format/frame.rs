//! The frame: one transaction, or one record of a bare log.
//!
//! Header and body have checksums of their own, so that a damaged body still tells which items it held (invariant F5) and a flipped
//! length cannot send a reader to a wild offset.

use super::{checksum::crc32, fields::Fields};
use crate::ids::{BEYOND_ANY_LOG, EventSeq, Lsn};

/// The size of a frame header in bytes.
pub(crate) const FRAME_HEADER_LEN: usize = 64;
const HEADER_LEN_FIELD: u16 = 64;
/// Frames begin at multiples of this many bytes.
pub(crate) const FRAME_ALIGN: usize = 8;

/// What a frame is. Kinds below [`Kind::FIRST_OF_LOG`] belong to the log's owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Kind(pub(crate) u8);

impl Kind {
    /// Events and marks put by one transaction.
    pub(crate) const PUT: Self = Self(1);
    /// Ranges of events taken by one transaction.
    pub(crate) const TAKE: Self = Self(2);
    /// Ranges of events that are lost, because their frames are damaged. Its body is that of a take.
    pub(crate) const GAP: Self = Self(3);
    /// The lowest kind that the log keeps for itself.
    pub(crate) const FIRST_OF_LOG: u8 = 0xf0;
    /// The state before the segment that begins with it. Takes no LSN of its own.
    pub(crate) const IMAGE: Self = Self(0xf0);
    /// Nothing but padding: it vouches for what lies before it.
    pub(crate) const VOUCH: Self = Self(0xf1);
    /// Records of a bare log below an LSN are released.
    pub(crate) const RELEASE: Self = Self(0xf2);

    /// As the tools print it.
    pub(crate) fn name(self) -> String {
        match self {
            Self::PUT => "put".into(),
            Self::TAKE => "take".into(),
            Self::IMAGE => "image".into(),
            Self::VOUCH => "vouch".into(),
            Self::RELEASE => "release".into(),
            Self::GAP => "gap".into(),
            Self(other) => format!("kind-{other}"),
        }
    }
}

/// A frame header, as written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FrameHeader {
    /// The salt of its segment: what carries another one is an old donor's byte string, not a frame (invariant F4).
    pub(crate) salt: u64,
    /// Its place in the order of the log.
    pub(crate) lsn: Lsn,
    /// The highest LSN known durable when this frame was stamped: it vouches for all up to there.
    pub(crate) durable_lsn: Lsn,
    /// The first item (event) in it, or the next one to come if it holds none.
    pub(crate) first_item: EventSeq,
    /// How many items it holds.
    pub(crate) item_count: u32,
    /// Bytes of the body, without padding.
    pub(crate) body_len: u32,
    /// Wall clock of the commit, in milliseconds since 1970: for people.
    pub(crate) time_ms: u64,
    /// What it is.
    pub(crate) kind: Kind,
    /// Checksum of the body.
    pub(crate) body_crc: u32,
}

/// Why bytes are not a frame header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotAHeader {
    /// Another salt, a wrong checksum, too few bytes: nothing that this segment's writer made.
    Invalid,
    /// Made by this segment's writer with a feature that this release does not know.
    Newer,
}

impl FrameHeader {
    /// The header as bytes.
    pub(crate) fn encode(&self) -> [u8; FRAME_HEADER_LEN] {
        let mut out = Vec::with_capacity(FRAME_HEADER_LEN);
        out.extend_from_slice(&self.salt.to_le_bytes());
        out.extend_from_slice(&self.lsn.get().to_le_bytes());
        out.extend_from_slice(&self.durable_lsn.get().to_le_bytes());
        out.extend_from_slice(&self.first_item.get().to_le_bytes());
        out.extend_from_slice(&self.item_count.to_le_bytes());
        out.extend_from_slice(&self.body_len.to_le_bytes());
        out.extend_from_slice(&self.time_ms.to_le_bytes());
        out.push(self.kind.0);
        out.push(0); // flags: none defined
        out.extend_from_slice(&HEADER_LEN_FIELD.to_le_bytes());
        out.extend_from_slice(&self.body_crc.to_le_bytes());
        out.extend_from_slice(&0u32.to_le_bytes()); // reserved
        let crc = crc32(&[&out]);
        out.extend_from_slice(&crc.to_le_bytes());
        out.try_into().expect("the fields of a frame header add up to its length")
    }

    /// Reads the header of a frame of the segment with `salt`.
    ///
    /// # Errors
    /// Says why it is none.
    pub(crate) fn decode(bytes: &[u8; FRAME_HEADER_LEN], salt: u64) -> Result<Self, NotAHeader> {
        let (sealed, crc) = bytes.split_at(FRAME_HEADER_LEN - 4);
        let mut fields = Fields::new(bytes);
        if fields.u64() != Some(salt) || Fields::new(crc).u32() != Some(crc32(&[sealed])) {
            return Err(NotAHeader::Invalid);
        }
        let header = Self::decode_sealed(fields, salt).ok_or(NotAHeader::Newer)?;
        let numbers = [header.lsn.get(), header.durable_lsn.get(), header.first_item.get()];
        match numbers.iter().all(|number| *number < BEYOND_ANY_LOG) {
            true => Ok(header),
            false => Err(NotAHeader::Invalid),
        }
    }

    /// Reads a header whose checksum may be wrong: a guess, for salvage alone.
    pub(crate) fn decode_unsealed(bytes: &[u8; FRAME_HEADER_LEN]) -> Option<Self> {
        let mut fields = Fields::new(bytes);
        let salt = fields.u64()?;
        Self::decode_sealed(fields, salt)
    }

    /// The fields behind the salt; `None` for a flag or length that this release does not know.
    fn decode_sealed(mut fields: Fields<'_>, salt: u64) -> Option<Self> {
        let header = Self {
            salt,
            lsn: Lsn::new(fields.u64()?),
            durable_lsn: Lsn::new(fields.u64()?),
            first_item: EventSeq::new(fields.u64()?),
            item_count: fields.u32()?,
            body_len: fields.u32()?,
            time_ms: fields.u64()?,
            kind: Kind(fields.u8()?),
            body_crc: 0,
        };
        let flags = fields.u8()?;
        let header_len = fields.u16()?;
        let body_crc = fields.u32()?;
        (flags == 0 && usize::from(header_len) == FRAME_HEADER_LEN)
            .then_some(Self { body_crc, ..header })
    }

    /// Bytes from this header to the next one.
    pub(crate) fn frame_len(&self) -> u64 {
        padded_len(FRAME_HEADER_LEN as u64 + u64::from(self.body_len))
    }

    /// The first item behind those in this frame.
    pub(crate) fn next_item(&self) -> EventSeq {
        EventSeq::new(self.first_item.get().saturating_add(u64::from(self.item_count)))
    }
}

/// `len` rounded up to the alignment of frames.
pub(crate) fn padded_len(len: u64) -> u64 {
    len.next_multiple_of(FRAME_ALIGN as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn header() -> FrameHeader {
        FrameHeader {
            salt: 0x0102_0304_0506_0708,
            lsn: Lsn::new(9),
            durable_lsn: Lsn::new(8),
            first_item: EventSeq::new(100),
            item_count: 3,
            body_len: 21,
            time_ms: 1_795_000_000_000,
            kind: Kind::PUT,
            body_crc: 0xdead_beef,
        }
    }

    #[test]
    fn a_header_is_read_back_and_knows_its_length() {
        let decoded = FrameHeader::decode(&header().encode(), header().salt).unwrap();
        assert_eq!(decoded, header());
        assert_eq!(decoded.frame_len(), 88);
        assert_eq!(decoded.next_item(), EventSeq::new(103));
    }

    #[test]
    fn every_flipped_bit_is_seen() {
        for bit in 0..FRAME_HEADER_LEN * 8 {
            let mut bytes = header().encode();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(
                FrameHeader::decode(&bytes, header().salt),
                Err(NotAHeader::Invalid),
                "bit {bit}"
            );
        }
        assert_eq!(
            FrameHeader::decode(&header().encode(), 1),
            Err(NotAHeader::Invalid),
            "another segment's salt"
        );
    }

    #[test]
    fn an_unknown_flag_is_a_newer_format_not_damage() {
        let mut bytes = header().encode();
        bytes[49] = 1;
        let crc = crc32(&[&bytes[..60]]);
        bytes[60..].copy_from_slice(&crc.to_le_bytes());
        assert_eq!(FrameHeader::decode(&bytes, header().salt), Err(NotAHeader::Newer));
    }

    proptest! {
        #[test]
        fn no_bytes_make_decode_panic(bytes: [u8; 32], more: [u8; 32]) {
            let mut all = [0; FRAME_HEADER_LEN];
            all[..32].copy_from_slice(&bytes);
            all[32..].copy_from_slice(&more);
            let salt = u64::from_le_bytes(bytes[..8].try_into().unwrap());
            prop_assert!(FrameHeader::decode(&all, salt).is_err());
        }
    }
}
