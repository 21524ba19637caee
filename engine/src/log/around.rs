//! Who reads goes on behind damage: how far it goes, what was in it, and its record.

use super::{
    Cursor, Found, Log, Neighbourhood, Quarantined, SegmentReader, Verdict, neighbourhood, recover,
    scan, tracing_display,
};
use crate::{
    error::{Error, Result},
    ids::{EventSeq, FramePtr, Lsn, SegmentId},
    options::OnDamage,
};

impl Log {
    /// Sets aside the damaged frame at `ptr`: `lsn`, if that is known, which held events from `first` on, if any that matters.
    ///
    /// # Errors
    /// `Io`: then the damage stays in the way.
    pub(crate) fn set_frame_aside(
        &self,
        ptr: FramePtr,
        lsn: Option<Lsn>,
        first: Option<EventSeq>,
        error: &Error,
    ) -> Result<()> {
        let mut cursor = Cursor::at(ptr);
        (cursor.expected, cursor.next_item) = (lsn, first);
        let end = *self.end.lock();
        self.set_aside(&cursor, end, error).map(drop)
    }

    /// Where the log goes on behind the damage at `cursor`, if all of that is set aside already. Not where the record says: what is there
    /// now counts.
    pub(super) fn behind_known(
        &self,
        cursor: &Cursor,
        end: FramePtr,
        error: &Error,
    ) -> Result<Option<FramePtr>> {
        if self.quarantine.lock().of(cursor.next).next().is_none() {
            return Ok(None);
        }
        let (damage, _) = self.damage_at(cursor, end, error)?;
        let mut extent = damage.extent();
        if damage.next != Some(end) {
            // What lies behind tells, also where it tells that no frame is missing.
            extent.until = damage.lsns.1;
        }
        let known = self.quarantine.lock().covering(extent).is_some();
        Ok(damage.next.filter(|_| known))
    }

    /// Sets aside the damage at `cursor`, below `end`.
    ///
    /// # Errors
    /// `DiskFull`, `Io`: then the damage stays in the way.
    pub(super) fn set_aside(
        &self,
        cursor: &Cursor,
        end: FramePtr,
        error: &Error,
    ) -> Result<Quarantined> {
        let (damage, until) = self.damage_at(cursor, end, error)?;
        let damage = self.quarantine.lock().add_or_remember(&*self.dirs.vfs, damage, until)?;
        crate::trace::error!(
            quarantine = damage.id,
            place = tracing_display(&damage.at),
            lsns = tracing_display(&format!("{}..{}", damage.lsns.0, damage.lsns.1)),
            events = tracing_display(&format!("{}..{}", damage.events.0, damage.events.1)),
            error = tracing_display(error),
            "damage is set aside, its events are lost, and the log goes on behind it"
        );
        Ok(damage)
    }

    /// The damage at `cursor`, below `end`, and where its bytes end.
    fn damage_at(
        &self,
        cursor: &Cursor,
        end: FramePtr,
        error: &Error,
    ) -> Result<(Quarantined, Option<u64>)> {
        let vfs = &*self.dirs.vfs;
        let at = cursor.next;
        let mut missing = cursor.expected.unwrap_or_default();
        let here = neighbourhood(&self.segments.lock(), at.segment);
        let (mut found, mut held) = (None, None);
        let mut path = error.file().map(std::path::Path::to_path_buf).unwrap_or_default();
        let mut successor = self.segments.lock().after(at.segment).cloned();
        if let Some(Neighbourhood { segment, next, void_above }) = here {
            let mut reader = SegmentReader::open(vfs, &segment)?;
            reader.limit_to(end);
            let (mut broken, mut from) = (None, None);
            match reader.frame(at.offset)? {
                Found::BrokenBody(header) => broken = Some(header),
                // A sound one, and not the one that belongs here: it may be the next.
                Found::Frame(frame) if cursor.expected.is_some_and(|it| it != frame.header.lsn) => {
                    from = Some(at.offset);
                }
                _ => {}
            }
            held = broken.map(|header| header.first_item);
            missing = cursor.expected.or(broken.map(|header| header.lsn)).unwrap_or_default();
            let behind = match from {
                Some(from) => scan::first_sound(&mut reader, from, missing, void_above)?,
                None => {
                    let broken = broken.as_ref();
                    scan::sound_behind(&mut reader, at.offset, broken, missing, void_above)?
                }
            };
            found = behind.map(|(offset, header)| {
                (FramePtr { segment: at.segment, offset }, header.lsn, header.first_item)
            });
            path = segment.path;
            successor = next;
        }
        let until = found.map(|(next, ..)| next.offset);
        let found = found.or(successor.map(|next| {
            let header = next.header;
            (recover::first_frame_of(header.id), header.first_lsn, header.first_item)
        }));
        let first = cursor.next_item.or(held).or(found.map(|(.., item)| item)).unwrap_or_default();
        let items = (first, found.map_or(first, |(.., item)| item.max(first)));
        let damage = Quarantined {
            id: 0,
            found_ms: vfs.wall_ms(),
            verdict: Verdict::H,
            file: path,
            at,
            next: Some(found.map_or(end, |(next, ..)| next)),
            lsns: (missing, found.map_or(missing, |(_, lsn, _)| lsn.max(missing))),
            events: self.apply.owed_of(items),
            what: error.what().to_owned(),
            bytes: 0,
        };
        Ok((damage, until))
    }

    /// All damage that was set aside and is not settled.
    pub(crate) fn quarantined(&self) -> Vec<Quarantined> {
        let quarantine = self.quarantine.lock();
        quarantine.records().iter().chain(quarantine.unrecorded()).cloned().collect()
    }

    /// Records damage for which the disk had no room; segments below `keep` go, or are gone. Not being able to is no reason to stop.
    pub(super) fn record_the_rest(&self, keep: SegmentId) {
        if let Err(error) = self.quarantine.lock().record_the_rest(&*self.dirs.vfs, keep) {
            crate::trace::error!(error = tracing_display(&error), "a damage cannot be recorded");
        }
    }

    /// The end of the events, `seq` among them, that a damage held which was set aside, settled or not. `None` if there is none.
    pub(crate) fn set_aside_until(&self, seq: EventSeq) -> Option<EventSeq> {
        let quarantine = self.quarantine.lock();
        let all = quarantine.records().iter().chain(quarantine.settled());
        all.filter(|damage| damage.events.0 <= seq)
            .map(|damage| damage.events.1)
            .find(|end| seq < *end)
    }

    /// Settles damage `id`.
    ///
    /// # Errors
    /// `InvalidOptions` if there is no such damage; `Io`.
    pub(crate) fn settle(&self, id: u64) -> Result<()> {
        self.quarantine.lock().settle(&*self.dirs.vfs, id)
    }

    /// True if damage is gone around, not an error for ever.
    pub(crate) fn goes_on_behind_damage(&self) -> bool {
        self.options.on_damage == OnDamage::Quarantine
    }
}
