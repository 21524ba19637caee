//! Where a segment ended torn, if the next one is lost: that one began an epoch, and only its header said what is void before it.
//!
//! Its cut is lost too, but not what led to it. A recovery writes the dense run behind the cut anew, whole: so what of that run is in the
//! older segment is what was in the lost one. What lies behind the end of the run, where nobody vouches for the frame that is missing, it
//! declared void.

use super::{
    Candidate,
    quarantine::Quarantine,
    reader::{Found, SegmentReader},
    scan::{first_sound, sound_behind},
    segments::{Segment, Segments},
};
use crate::{
    error::Result,
    format::{Kind, LogImage, SEGMENT_HEADER_LEN},
    ids::{FramePtr, Lsn, SegmentId},
    io::Vfs,
};
use std::ops::ControlFlow;

impl Segments {
    /// Declares void what lies behind the torn end of a segment whose successor is lost, and may have begun an epoch. `checkpoints` and
    /// the records in `quarantine` tell damage from a torn end, and that the newest segments are lost.
    ///
    /// # Errors
    /// `NewerFormat`, `Io`.
    pub(crate) fn find_torn_ends<'a>(
        &mut self,
        vfs: &dyn Vfs,
        checkpoints: impl Iterator<Item = &'a Candidate>,
        quarantine: &Quarantine,
    ) -> Result<()> {
        let images: Vec<&LogImage> =
            checkpoints.filter_map(|(_, image)| image.as_ref().ok()).collect();
        let leads_behind = |id: SegmentId| images.iter().any(|image| image.next_frame.segment > id);
        let may_be_torn = |segment: &&Segment| {
            let here = &segment.header;
            match self.after(here.id) {
                // Of the epoch behind this one all segments say the same.
                Some(next) => {
                    next.header.id != here.id.next()
                        && next.header.epoch > here.epoch.saturating_add(1)
                }
                None => leads_behind(here.id),
            }
        };
        let mut torn = Vec::new();
        for segment in self.iter().filter(may_be_torn) {
            let id = segment.header.id;
            let here = images.iter().filter(|image| image.next_frame.segment == id);
            let vouched = here.map(|image| image.lsn).max().unwrap_or_default();
            let void_above = self.void_above(id);
            let end = torn_end(vfs, segment, void_above, vouched, quarantine)?;
            torn.extend(end.map(|end| (id, end)));
        }
        for (id, end) in torn {
            self.set_torn(id, end);
        }
        Ok(())
    }
}

/// The last LSN before the torn end of `segment`; `None` if all that counts in it is there. Up to `vouched` all was durable.
fn torn_end(
    vfs: &dyn Vfs,
    segment: &Segment,
    void_above: Option<Lsn>,
    vouched: Lsn,
    quarantine: &Quarantine,
) -> Result<Option<Lsn>> {
    let id = segment.header.id;
    let mut reader = SegmentReader::open(vfs, segment)?;
    let mut next = segment.header.first_lsn;
    let mut vouched = vouched.max(next.previous());
    let mut offset = SEGMENT_HEADER_LEN as u64;
    let mut searched = false;
    while void_above.is_none_or(|cut| next <= cut) {
        let found = reader.frame(offset)?;
        match &found {
            Found::Frame(frame) if frame.header.kind == Kind::IMAGE => {
                offset += frame.header.frame_len();
                continue;
            }
            Found::Frame(frame) if frame.header.lsn == next => {
                vouched = vouched.max(frame.header.durable_lsn);
                offset += frame.header.frame_len();
                next = next.next();
                continue;
            }
            _ => {}
        }
        if !std::mem::replace(&mut searched, true) {
            reader.search(offset, |_, header| {
                vouched = vouched.max(header.durable_lsn);
                ControlFlow::Continue(())
            })?;
        }
        let at = FramePtr { segment: id, offset };
        let goes_on_here = |next: Option<FramePtr>| next.is_some_and(|next| next.segment == id);
        let is_damage = next <= vouched
            // A segment is made with the whole of its image.
            || offset == SEGMENT_HEADER_LEN as u64
            || quarantine.of(at).any(|known| goes_on_here(known.next));
        let behind = match &found {
            _ if !is_damage => None,
            Found::Frame(_) => first_sound(&mut reader, offset, next, void_above)?,
            Found::BrokenBody(header) if header.lsn == next => {
                sound_behind(&mut reader, offset, Some(header), next, void_above)?
            }
            _ => sound_behind(&mut reader, offset, None, next, void_above)?,
        };
        let Some((place, header)) = behind else { return Ok(Some(next.previous())) };
        (offset, next) = (place, header.lsn);
    }
    Ok(None)
}
