//! The header of a segment made again from its frames: one bad sector at the start of a file must not take the file with it.
//!
//! Frames carry their segment's salt, and the image frame at the head says where the segment begins. Old frames of a donor carry other
//! salts and LSNs that lie below those of the segment before.

use super::segments::{Segment, Segments};
use crate::{
    error::Result,
    format::{FRAME_ALIGN, FRAME_HEADER_LEN, FrameHeader, Kind, SEGMENT_HEADER_LEN, SegmentHeader},
    ids::{Lsn, SegmentId},
    io::{File, Vfs, read_exact_or_end},
};
use std::path::Path;

const CHUNK_BYTES: usize = 1 << 20;

/// The segment `id` in the file at `path`, whose header cannot be read, among the `others`, and the place of the first frame that is left;
/// `None` if no frame in it tells.
///
/// # Errors
/// `Io`.
pub(super) fn salvage(
    vfs: &dyn Vfs,
    path: &Path,
    id: SegmentId,
    others: &Segments,
) -> Result<Option<(Segment, u64)>> {
    let before = others.before(id).map(|segment| segment.header);
    let after = others.after(id).map(|segment| segment.header);
    let lowest = before.map_or(Lsn::new(1), |before| before.first_lsn);
    let highest = after.map(|after| after.first_lsn);
    let belongs = |header: &FrameHeader| {
        let lsn = if header.kind == Kind::IMAGE { header.lsn.next() } else { header.lsn };
        lsn >= lowest && highest.is_none_or(|highest| lsn <= highest)
    };
    let io = |error| crate::error::Error::io("cannot read the segment", path, error);
    let file = vfs.open(path).map_err(io)?;
    let Some((offset, first)) = first_frame(&*file, belongs).map_err(io)? else { return Ok(None) };
    // An image stands at the head of its own segment only; what stands elsewhere is the first frame that is left.
    let is_image = first.kind == Kind::IMAGE && offset == SEGMENT_HEADER_LEN as u64;
    let first_lsn = if is_image { first.lsn.next() } else { first.lsn };
    // As if a recovery had made it. What that declares void, frames above its first LSN in older segments, is void or not there.
    let header = SegmentHeader {
        id,
        salt: first.salt,
        first_lsn,
        cut_lsn: first_lsn.previous(),
        first_item: first.first_item,
        epoch: match (before, after) {
            // The successor is of the same epoch, unless it was the first one of its own: then all below it was its cut.
            (_, Some(after)) if after.cut_lsn.next() == after.first_lsn => {
                after.epoch.saturating_sub(1)
            }
            (_, Some(after)) => after.epoch,
            (Some(before), None) => before.epoch.saturating_add(1),
            (None, None) => 1,
        },
    };
    Ok(Some((Segment { path: path.to_path_buf(), header }, offset)))
}

/// The first sound frame header, by whatever salt it carries, that `belongs`.
fn first_frame(
    file: &dyn File,
    belongs: impl Fn(&FrameHeader) -> bool,
) -> std::io::Result<Option<(u64, FrameHeader)>> {
    let mut at = SEGMENT_HEADER_LEN as u64;
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        let read = read_exact_or_end(file, at, &mut chunk)?;
        let Some(last) = read.checked_sub(FRAME_HEADER_LEN) else { return Ok(None) };
        for step in (0..=last).step_by(FRAME_ALIGN) {
            let bytes = chunk.get(step..).and_then(|rest| rest.first_chunk::<FRAME_HEADER_LEN>());
            let Some(bytes) = bytes else { break };
            let salt = u64::from_le_bytes(bytes[..8].try_into().unwrap_or_default());
            // No segment has the salt zero, and most of what is not written is zeros.
            if salt == 0 {
                continue;
            }
            if let Ok(header) = FrameHeader::decode(bytes, salt)
                && belongs(&header)
            {
                return Ok(Some((at + step as u64, header)));
            }
        }
        at += (last / FRAME_ALIGN * FRAME_ALIGN + FRAME_ALIGN) as u64;
    }
}
