//! The header of a segment made again from its frames: one bad sector at the start of a file must not take the file with it.
//!
//! Frames carry their segment's salt, and the image frame at the head says where the segment begins. Old frames of a donor carry other
//! salts and lower LSNs.

use super::segments::{Segment, Segments};
use crate::{
    error::Result,
    format::{FRAME_ALIGN, FRAME_HEADER_LEN, FrameHeader, Kind, SEGMENT_HEADER_LEN, SegmentHeader},
    ids::{Lsn, SegmentId},
    io::{File, Vfs, read_exact_or_end},
};
use std::{cmp::Reverse, path::Path};

const CHUNK_BYTES: usize = 1 << 20;
/// A file holds frames of its own segment and of a few donors.
const SALTS_MAX: usize = 64;

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
    // Epoch and cut are lost. Nothing that counts in an older segment lies at or above the first LSN of this one, so that may always be
    // declared void; and what a segment behind this one declared void since lies above all that counts here, or in this one's epoch too.
    let cut = after.map_or(first_lsn, |after| after.cut_lsn.next()).min(first_lsn).previous();
    let epoch = match (after, before) {
        (Some(after), _) => after.epoch,
        (None, Some(before)) => before.epoch.saturating_add(1),
        (None, None) => 1,
    };
    let (salt, first_item) = (first.salt, first.first_item);
    let header = SegmentHeader { id, salt, first_lsn, cut_lsn: cut, first_item, epoch };
    Ok(Some((Segment { path: path.to_path_buf(), header }, offset)))
}

/// The first sound frame header of this segment among those that `belong`: the image at its head; else of the salt that reaches the highest
/// LSN, since a donor's frames are older than the segment that was written over it.
fn first_frame(
    file: &dyn File,
    belongs: impl Fn(&FrameHeader) -> bool,
) -> std::io::Result<Option<(u64, FrameHeader)>> {
    // By salt: where its first frame lies, that, and its highest LSN.
    let mut found: Vec<(u64, FrameHeader, Lsn)> = Vec::new();
    let mut at = SEGMENT_HEADER_LEN as u64;
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        let read = read_exact_or_end(file, at, &mut chunk)?;
        let Some(last) = read.checked_sub(FRAME_HEADER_LEN) else { break };
        for step in (0..=last).step_by(FRAME_ALIGN) {
            let bytes = chunk.get(step..).and_then(|rest| rest.first_chunk::<FRAME_HEADER_LEN>());
            let Some(bytes) = bytes else { break };
            let salt = u64::from_le_bytes(bytes[..8].try_into().unwrap_or_default());
            // No segment has the salt zero, and most of what is not written is zeros.
            if salt == 0 {
                continue;
            }
            let Ok(header) = FrameHeader::decode(bytes, salt) else { continue };
            if !belongs(&header) {
                continue;
            }
            let offset = at + step as u64;
            if header.kind == Kind::IMAGE && offset == SEGMENT_HEADER_LEN as u64 {
                return Ok(Some((offset, header)));
            }
            if let Some((.., highest)) = found.iter_mut().find(|(_, first, _)| first.salt == salt) {
                *highest = header.lsn.max(*highest);
            } else if found.len() < SALTS_MAX {
                // Bounded: somebody who puts frames as events could make up as many as there is room for.
                found.push((offset, header, header.lsn));
            }
        }
        at += (last / FRAME_ALIGN * FRAME_ALIGN + FRAME_ALIGN) as u64;
    }
    let own = found.into_iter().max_by_key(|(offset, _, highest)| (*highest, Reverse(*offset)));
    Ok(own.map(|(offset, first, _)| (offset, first)))
}
