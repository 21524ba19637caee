//! What recovery does with each frame, image and damage that a scan comes across.

use super::{
    Apply, Frame,
    quarantine::{Extent, Quarantine},
    recover::{Beginning, Chosen},
    scan::{Damage, Visit},
};
use crate::{
    error::Result,
    format::LogImage,
    ids::{EventSeq, Lsn},
    options::OnDamage,
};

/// The visitor of recovery: applies frames, and goes on behind damage where that is the policy.
pub(super) struct Recovering<'a> {
    policy: OnDamage,
    quarantine: &'a Quarantine,
    apply: &'a dyn Apply,
    replay: &'a mut dyn FnMut(&Frame) -> Result<()>,
    /// The item that comes next.
    pub(super) next_item: EventSeq,
    /// The last LSN that was applied or passed.
    end: Lsn,
    /// False behind damage: what was passed may have changed the state in ways that are not known.
    exact: bool,
    pub(super) damages: Vec<PassedDamage>,
}

/// Damage that the scan went around.
pub(super) struct PassedDamage {
    pub(super) damage: Damage,
    pub(super) items: (EventSeq, EventSeq),
}

impl<'a> Recovering<'a> {
    pub(super) fn behind(
        chosen: &Chosen,
        policy: OnDamage,
        quarantine: &'a Quarantine,
        apply: &'a dyn Apply,
        replay: &'a mut dyn FnMut(&Frame) -> Result<()>,
    ) -> Self {
        let (next_item, end, exact) = (chosen.next_item, chosen.start.after, chosen.exact);
        Self { policy, quarantine, apply, replay, next_item, end, exact, damages: Vec::new() }
    }
}

impl Visit for Recovering<'_> {
    fn frame(&mut self, frame: &Frame) -> Result<()> {
        self.next_item = frame.header.next_item();
        self.end = frame.header.lsn;
        (self.replay)(frame)
    }

    /// The next segment's image knows what damage before it hid: which events were taken, and the marks.
    fn image(&mut self, image: &Frame) -> Result<()> {
        if self.exact || image.header.lsn != self.end {
            return Ok(());
        }
        let Ok(image) = LogImage::decode(&image.body) else { return Ok(()) };
        if image.lsn == self.end && self.apply.restore(Beginning::Image(&image)).is_ok() {
            self.next_item = image.next_item;
            self.exact = true;
        }
        Ok(())
    }

    fn damage(&mut self, damage: Damage) -> Result<()> {
        let extent = Extent { at: damage.at, next: damage.next, until: damage.until };
        if self.policy == OnDamage::Refuse && self.quarantine.covering(extent).is_none() {
            return Err(damage.error);
        }
        let until = damage.until_item.unwrap_or(self.next_item).max(self.next_item);
        self.apply.pass(until);
        self.end = damage.until.previous();
        self.exact = false;
        self.damages.push(PassedDamage { damage, items: (self.next_item, until) });
        self.next_item = until;
        Ok(())
    }
}
