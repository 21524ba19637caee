//! The bytes of a file, by sector: what a reader sees, what is on the medium, and what may get there.

use super::{Tally, Trouble, rng::Rng};
use std::collections::{BTreeMap, BTreeSet};

pub(super) const SECTOR: usize = 512;

#[derive(Clone, Default)]
pub(super) struct Node {
    /// What a reader sees.
    pub(super) current: Vec<u8>,
    /// What is on the medium.
    pub(super) durable: Vec<u8>,
    /// The sectors written since their last sync, with what stood in the page cache before each further write.
    dirty: BTreeMap<usize, Vec<Vec<u8>>>,
    /// Of these, the ones that a failed sync has forgotten to be dirty.
    forgotten: BTreeSet<usize>,
}

impl Node {
    /// A file all of which is durable.
    pub(super) fn of(bytes: Vec<u8>) -> Self {
        Self { durable: bytes.clone(), current: bytes, ..Self::default() }
    }

    fn sector(bytes: &[u8], sector: usize) -> &[u8] {
        let stop = bytes.len().min((sector + 1) * SECTOR);
        bytes.get(sector * SECTOR..stop).unwrap_or_default()
    }

    pub(super) fn write(&mut self, offset: usize, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let end = offset + bytes.len();
        for sector in offset / SECTOR..=(end - 1) / SECTOR {
            // A first write needs no copy of what was there: that is `durable`.
            let before = &self.current;
            self.dirty
                .entry(sector)
                .and_modify(|versions| versions.push(Self::sector(before, sector).to_vec()))
                .or_default();
            self.forgotten.remove(&sector);
        }
        if self.current.len() < end {
            self.current.resize(end, 0);
        }
        self.current[offset..end].copy_from_slice(bytes);
    }

    fn keep(&mut self, sector: usize, content: &[u8]) {
        let end = sector * SECTOR + content.len();
        if self.durable.len() < end {
            self.durable.resize(end, 0);
        }
        self.durable[sector * SECTOR..end].copy_from_slice(content);
    }

    pub(super) fn sync(&mut self) {
        for (sector, versions) in std::mem::take(&mut self.dirty) {
            if self.forgotten.contains(&sector) {
                self.dirty.insert(sector, versions);
            } else {
                let content = Self::sector(&self.current, sector).to_vec();
                self.keep(sector, &content);
            }
        }
        if self.forgotten.is_empty() && self.durable.len() < self.current.len() {
            self.durable.resize(self.current.len(), 0);
        }
    }

    /// The kernel says "error" once, and takes the pages for clean from then on.
    pub(super) fn fail_sync(&mut self) {
        self.forgotten.extend(self.dirty.keys());
    }

    /// Pages that count as clean may leave the page cache at any time: then readers see what the medium has.
    pub(super) fn evict(&mut self, rng: &mut Rng, tally: &mut Tally) {
        for sector in std::mem::take(&mut self.forgotten) {
            if rng.chance(50) {
                self.forgotten.insert(sector);
                continue;
            }
            tally.count(Trouble::PageEvicted);
            self.dirty.remove(&sector);
            let old = Self::sector(&self.durable, sector).to_vec();
            let stop = self.current.len().min((sector + 1) * SECTOR);
            if let Some(place) = self.current.get_mut(sector * SECTOR..stop) {
                place.fill(0);
                let len = old.len().min(place.len());
                place[..len].copy_from_slice(&old[..len]);
            }
        }
    }

    pub(super) fn power_cut(&mut self, rng: &mut Rng, tally: &mut Tally) {
        let kept_percent = [0, 50, 90, 100][rng.index(4)];
        let whole_len = self.current.len();
        for (sector, versions) in std::mem::take(&mut self.dirty) {
            if !rng.chance(kept_percent) {
                tally.count(Trouble::SectorLost);
            } else if !versions.is_empty() && rng.chance(20) {
                tally.count(Trouble::SectorOld);
                self.keep(sector, &versions[rng.index(versions.len())]);
            } else {
                tally.count(Trouble::SectorKept);
                let content = Self::sector(&self.current, sector).to_vec();
                self.keep(sector, &content);
            }
        }
        if self.durable.len() < whole_len && rng.chance(30) {
            tally.count(Trouble::SizeAhead);
            self.durable.resize(whole_len, 0);
        }
        self.forgotten.clear();
        self.current.clone_from(&self.durable);
    }

    /// The medium changes behind everybody's back.
    pub(super) fn rot(&mut self, change: impl Fn(&mut Vec<u8>)) {
        change(&mut self.current);
        change(&mut self.durable);
    }
}
