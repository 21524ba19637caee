//! What is to go wrong, and when; and what did.

use std::collections::BTreeMap;

/// Something that goes wrong once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    /// A sync of a file fails with EIO and forgets: what it should have written counts as clean, and some of it is lost.
    Sync,
    /// A sync of a directory fails with EIO; what it should have written stays unsynced.
    SyncDir,
    /// A write fails with EIO; some of it may be there.
    Write,
    /// A read fails with EIO.
    Read,
}

/// Syncs that answer "done" and do nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Lies {
    /// None.
    #[default]
    None,
    /// Those of files.
    Files,
    /// Those of directories.
    Directories,
}

#[derive(Default)]
pub(super) struct Faults {
    planned: Option<(Fault, u64)>,
    come: bool,
    pub(super) lies: Lies,
    pub(super) troubles: Troubles,
}

/// How often each fault came up.
#[derive(Clone, Debug, Default)]
pub(crate) struct Troubles {
    pub(crate) failed: BTreeMap<Fault, u64>,
    /// Syncs that said "done" and did nothing.
    pub(crate) lies: u64,
    /// Calls that found no room.
    pub(crate) no_room: u64,
}

impl Troubles {
    pub(crate) fn add(&mut self, other: &Self) {
        for (fault, count) in &other.failed {
            *self.failed.entry(*fault).or_default() += count;
        }
        self.lies += other.lies;
        self.no_room += other.no_room;
    }
}

impl Faults {
    /// Nothing is planned any more.
    pub(super) fn clear(&mut self) {
        (self.planned, self.come, self.lies) = (None, false, Lies::None);
    }

    pub(super) fn plan(&mut self, fault: Fault, nth: u64) {
        (self.planned, self.come) = (Some((fault, nth)), false);
    }

    pub(super) fn has_come(&self) -> bool {
        self.come
    }

    /// Somebody does what `fault` is about: whether it fails.
    pub(super) fn comes(&mut self, fault: Fault) -> bool {
        match &mut self.planned {
            Some((planned, left)) if *planned == fault => {
                *left = left.saturating_sub(1);
                let comes = *left == 0;
                if comes {
                    (self.planned, self.come) = (None, true);
                    *self.troubles.failed.entry(fault).or_default() += 1;
                }
                comes
            }
            _ => false,
        }
    }
}
