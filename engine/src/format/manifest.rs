//! The manifest: who a directory belongs to. One lies in each directory of a log, so that any one of them leads to the rest.
//!
//! Its body is the one place that uses `bincode`, and only to write: version 2.0.1, fixed-width little-endian, with a size limit, under
//! our own header and checksum. docs/FORMAT.md spells the bytes out, so that the crate can be replaced.

use super::{FORMAT_VERSION, checksum::crc32, fields::Fields};
use crate::error::{Error, ErrorKind, Result};

const MAGIC: &[u8; 8] = b"FCHANMAN";
const HEADER_LEN: usize = 24;
const HEADER_LEN_FIELD: u16 = 24;
/// The most that a manifest may hold: thousands of directories.
pub(crate) const MANIFEST_BYTES_MAX: usize = 1 << 20;

/// The identity of a log and of one of its directories.
#[derive(Clone, Debug, PartialEq, Eq, bincode::Encode)]
pub(crate) struct Manifest {
    /// Drawn when the log was made; the same in all its directories.
    pub(crate) log_id: [u8; 16],
    /// Wall clock of that moment, in milliseconds since 1970.
    pub(crate) created_ms: u64,
    /// Which of `data_dirs` this directory is; `None` for a home that holds checkpoints and no segments.
    pub(crate) directory: Option<u32>,
    /// The directory of lock and checkpoints, as it was named at the last open.
    pub(crate) home: String,
    /// The directories of segments, in their order. Their number and order are identity; the paths are a hint for tools.
    pub(crate) data_dirs: Vec<String>,
}

fn configuration() -> impl bincode::config::Config {
    bincode::config::standard()
        .with_little_endian()
        .with_fixed_int_encoding()
        .with_limit::<MANIFEST_BYTES_MAX>()
}

/// The manifest as bytes.
///
/// # Errors
/// `InvalidOptions` if the paths are too long for one.
pub(crate) fn manifest_to_bytes(manifest: &Manifest) -> Result<Vec<u8>> {
    let body = bincode::encode_to_vec(manifest, configuration()).map_err(|error| {
        Error::new(
            ErrorKind::InvalidOptions,
            format!("the directory paths do not fit into a manifest: {error}"),
        )
    })?;
    let body_len = u32::try_from(body.len()).unwrap_or(u32::MAX);
    let mut out = Vec::with_capacity(HEADER_LEN + body.len());
    out.extend_from_slice(MAGIC);
    out.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
    out.extend_from_slice(&HEADER_LEN_FIELD.to_le_bytes());
    out.extend_from_slice(&0u32.to_le_bytes()); // flags: none defined
    out.extend_from_slice(&body_len.to_le_bytes());
    let crc = crc32(&[&out, &body]);
    out.extend_from_slice(&crc.to_le_bytes());
    out.extend_from_slice(&body);
    Ok(out)
}

/// Reads a manifest.
///
/// # Errors
/// `Corrupt` if it is none or damaged, `NewerFormat` if a later release made it.
pub(crate) fn manifest_from_bytes(bytes: &[u8]) -> Result<Manifest> {
    let mut fields = Fields::new(bytes);
    if fields.bytes(MAGIC.len()) != Some(MAGIC) {
        return Err(Error::corrupt("the manifest has no magic"));
    }
    let mut head =
        || Some((fields.u16()?, fields.u16()?, fields.u32()?, fields.u32()?, fields.u32()?));
    let (version, header_len, flags, body_len, crc) =
        head().ok_or_else(|| Error::corrupt("the manifest is shorter than its header"))?;
    let body = fields.rest();
    let sealed = bytes.get(..HEADER_LEN - 4).unwrap_or_default();
    if body.len() != body_len as usize || crc32(&[sealed, body]) != crc {
        return Err(Error::corrupt("the checksum or the length of the manifest is wrong"));
    }
    if version != FORMAT_VERSION || usize::from(header_len) != HEADER_LEN || flags != 0 {
        return Err(Error::new(
            ErrorKind::NewerFormat,
            "the manifest was written by a newer release",
        ));
    }
    read_body(body).ok_or_else(|| Error::corrupt("the manifest is not as long as its fields"))
}

/// Reads what bincode wrote. By hand: bincode makes room for as many bytes as a length says before it looks whether they are there.
fn read_body(body: &[u8]) -> Option<Manifest> {
    let mut fields = Fields::new(body);
    let log_id = fields.bytes(16)?.try_into().ok()?;
    let created_ms = fields.u64()?;
    let directory = match fields.u8()? {
        0 => None,
        1 => Some(fields.u32()?),
        _ => return None,
    };
    let home = read_text(&mut fields)?;
    let count = fields.u64()?;
    let data_dirs = (0..count).map(|_| read_text(&mut fields)).collect::<Option<_>>()?;
    fields.is_empty().then_some(Manifest { log_id, created_ms, directory, home, data_dirs })
}

fn read_text(fields: &mut Fields<'_>) -> Option<String> {
    let len = usize::try_from(fields.u64()?).ok()?;
    String::from_utf8(fields.bytes(len)?.to_vec()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_is_read_back_and_every_flip_and_cut_is_seen() {
        let manifest = Manifest {
            log_id: [7; 16],
            created_ms: 1_795_000_000_000,
            directory: Some(1),
            home: "/data/checkpoint".into(),
            data_dirs: vec!["/data1".into(), "/data2".into()],
        };
        let bytes = manifest_to_bytes(&manifest).unwrap();
        assert_eq!(manifest_from_bytes(&bytes).unwrap(), manifest);
        for at in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 0x04;
            assert!(manifest_from_bytes(&flipped).is_err(), "byte {at}");
            assert!(manifest_from_bytes(&bytes[..at]).is_err(), "cut at {at}");
        }
    }

    /// A length that says more than there is made bincode take a megabyte for a manifest of 77 bytes. Found by fuzzing.
    #[test]
    fn a_length_beyond_the_end_is_damage_and_costs_nothing() {
        let manifest = Manifest {
            log_id: [7; 16],
            created_ms: 1,
            directory: None,
            home: "/x".into(),
            data_dirs: vec!["/y".into()],
        };
        let whole = manifest_to_bytes(&manifest).unwrap();
        // The length of the home, the number of directories, the length of the first.
        for at in [25, 35, 43].map(|at| HEADER_LEN + at) {
            for number in [3, 1 << 15, 1 << 40, u64::MAX] {
                let mut bytes = whole.clone();
                bytes[at..at + 8].copy_from_slice(&number.to_le_bytes());
                let crc = crc32(&[&bytes[..HEADER_LEN - 4], &bytes[HEADER_LEN..]]);
                bytes[HEADER_LEN - 4..HEADER_LEN].copy_from_slice(&crc.to_le_bytes());
                assert_eq!(manifest_from_bytes(&bytes).unwrap_err().kind(), &ErrorKind::Corrupt);
            }
        }
    }
}
