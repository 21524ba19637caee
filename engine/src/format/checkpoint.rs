//! The checkpoint file: an image in a file of its own.

use super::{FORMAT_VERSION, checksum::crc32, fields::Fields, image::LogImage};
use crate::error::{Error, ErrorKind, Result};

const MAGIC: &[u8; 8] = b"FCHANCKP";
const HEADER_LEN: usize = 32;
const HEADER_LEN_FIELD: u16 = 32;

/// A checkpoint file of `generation`, the number in its name.
///
/// # Panics
/// If the image takes 4 GiB, which the bounds on marks and leases exclude.
pub(crate) fn checkpoint_to_bytes(generation: u64, image: &LogImage) -> Vec<u8> {
    let body = image.encode();
    let mut out = Vec::with_capacity(HEADER_LEN + body.len());
    out.extend_from_slice(MAGIC);
    out.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
    out.extend_from_slice(&HEADER_LEN_FIELD.to_le_bytes());
    out.extend_from_slice(&0u32.to_le_bytes()); // flags: none defined
    out.extend_from_slice(&generation.to_le_bytes());
    out.extend_from_slice(
        &u32::try_from(body.len()).expect("an image is shorter than 4 GiB").to_le_bytes(),
    );
    let crc = crc32(&[&out, &body]);
    out.extend_from_slice(&crc.to_le_bytes());
    out.extend_from_slice(&body);
    out
}

/// Generation and image of a checkpoint file.
///
/// # Errors
/// `Corrupt` if it is none or damaged, `NewerFormat` if a later release made it.
pub(crate) fn checkpoint_from_bytes(bytes: &[u8]) -> Result<(u64, LogImage)> {
    let mut fields = Fields::new(bytes);
    if fields.bytes(MAGIC.len()) != Some(MAGIC) {
        return Err(Error::corrupt("the checkpoint has no magic"));
    }
    let mut head = || {
        Some((
            fields.u16()?,
            fields.u16()?,
            fields.u32()?,
            fields.u64()?,
            fields.u32()?,
            fields.u32()?,
        ))
    };
    let (version, header_len, flags, generation, body_len, crc) =
        head().ok_or_else(|| Error::corrupt("the checkpoint is shorter than its header"))?;
    // On a full disk it was written over an older one, which may have been longer.
    let rest = fields.rest();
    let body = rest.get(..body_len as usize).unwrap_or(rest);
    let sealed = bytes.get(..HEADER_LEN - 4).unwrap_or_default();
    if body.len() != body_len as usize || crc32(&[sealed, body]) != crc {
        return Err(Error::corrupt("the checksum or the length of the checkpoint is wrong"));
    }
    if version != FORMAT_VERSION || usize::from(header_len) != HEADER_LEN || flags != 0 {
        return Err(Error::new(
            ErrorKind::NewerFormat,
            "the checkpoint was written by a newer release",
        ));
    }
    Ok((generation, LogImage::decode(body)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{EventSeq, FramePtr, Lsn, SegmentId};

    fn image() -> LogImage {
        LogImage {
            lsn: Lsn::new(77),
            next_item: EventSeq::new(9),
            next_frame: FramePtr { segment: SegmentId::new(2), offset: 4096 },
            owner: b"state".to_vec(),
        }
    }

    #[test]
    fn a_checkpoint_is_read_back_and_every_flip_and_cut_is_seen() {
        let bytes = checkpoint_to_bytes(5, &image());
        assert_eq!(checkpoint_from_bytes(&bytes).unwrap(), (5, image()));
        for at in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 0x10;
            assert!(checkpoint_from_bytes(&flipped).is_err(), "byte {at}");
            assert!(checkpoint_from_bytes(&bytes[..at]).is_err(), "cut at {at}");
        }
    }
}
