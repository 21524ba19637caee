//! What befell the engine, counted: a fault that no history provokes proves nothing.

use std::{collections::BTreeMap, fmt};

macro_rules! troubles {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// A kind of trouble.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Trouble {
            $($(#[$doc])* $name,)*
        }

        impl Trouble {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// In words.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }
        }
    };
}

troubles! {
    /// The process ended; the page cache stays.
    Kill = "kill",
    /// The machine ended.
    PowerCut = "power cut",
    /// A sector written and not synced is not on the medium.
    SectorLost = "unsynced sector lost",
    /// A sector written and not synced is on the medium.
    SectorKept = "unsynced sector kept",
    /// Of several writes to a sector an early one is on the medium.
    SectorOld = "unsynced sector with an earlier write",
    /// A file has its new size and not its new bytes.
    SizeAhead = "size kept without bytes",
    /// A change of a directory that was not synced is gone.
    EntryLost = "unsynced directory entry lost",
    /// A change of a directory that was not synced is there.
    EntryKept = "unsynced directory entry kept",
    /// A write ended in its midst, by a crash or an error.
    ShortWrite = "short write",
    /// A write failed.
    WriteError = "write error",
    /// A sync failed, and what it was to write counts as clean.
    SyncError = "sync error, forgotten",
    /// A page that a failed sync left behind fell out of the page cache.
    PageEvicted = "page lost after a sync error",
    /// A read, a listing or an open for reading failed.
    ReadError = "read error",
    /// A file could not be made, renamed or removed.
    NameError = "name error",
    /// A directory could not be synced.
    DirSyncError = "directory sync error",
    /// "No space", where there was some: a quota, a thin disk.
    NoSpace = "no space, out of the blue",
    /// The capacity was reached.
    DiskFull = "disk full",
    /// An operation that took long.
    Slow = "slow operation",
    /// The wall clock went back.
    ClockBack = "wall clock went back",
    /// A bit on the medium changed.
    BitFlip = "bit flipped",
    /// A block of the medium cannot be trusted any more.
    BlockLost = "block lost",
    /// A file was cut.
    FileCut = "file cut",
    /// A file was removed.
    FileRemoved = "file removed",
    /// A directory is empty, as if its disk were not mounted.
    DirAbsent = "directory absent",
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// What the disk was asked when the world ended.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// What the engine was doing, as far as the test says: see [`SimVfs::set_phase`](super::SimVfs::set_phase).
    pub phase: &'static str,
    /// The step.
    pub step: &'static str,
    /// The kind of file, by the first word of its name.
    pub what: String,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} {}", self.phase, self.step, self.what)
    }
}

/// How often each trouble came, and where the world ended.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// By kind.
    pub troubles: BTreeMap<Trouble, u64>,
    /// By place.
    pub ends: BTreeMap<Place, u64>,
    /// Changes of the disk.
    pub operations: u64,
}

impl Tally {
    /// Counts one.
    pub fn count(&mut self, trouble: Trouble) {
        *self.troubles.entry(trouble).or_default() += 1;
    }

    /// Counts what `other` counted.
    pub fn add(&mut self, other: &Self) {
        for (trouble, count) in &other.troubles {
            *self.troubles.entry(*trouble).or_default() += count;
        }
        for (place, count) in &other.ends {
            *self.ends.entry(place.clone()).or_default() += count;
        }
        self.operations += other.operations;
    }
}
