//! A disk that can crash, fail, fill up and rot: the weakest one that the contracts of [`Vfs`](super::Vfs) and [`File`](super::File)
//! allow. For tests; behind the feature `sim`.
//!
//! All chance comes from one seed, there are no threads, and each change of the disk is an *operation* with a number: a test plans a
//! [`Fault`] for the Nth one. What a call of [`Vfs`](super::Vfs) does in several steps (a file is made, filled, synced, named, its
//! directory synced) is as many operations, so that a crash comes between any two of them.
//!
//! | the engine must survive | what happens |
//! |---|---|
//! | a kill | handles and locks are gone; page cache and names stay, and nothing becomes durable by that |
//! | a power cut | each 512-byte sector not synced is as it was or as any write since left it |
//! | | a size may be there without its bytes; each change of a directory not synced is there or not |
//!
//! | and may stop itself after | what happens |
//! |---|---|
//! | a failed sync | the pages count as clean, are on the medium or not, and may fall out of the page cache |
//! | | a second sync succeeds and proves nothing |
//! | a failed or short write | a prefix is written |
//! | "no space", at the capacity or out of the blue | a prefix is written |
//! | a failed make, rename, removal, directory sync | it is done or not |
//!
//! | and must go on after | what happens |
//! |---|---|
//! | a failed read, open, listing | nothing else: the call answers an error |
//! | slow operations, a wall clock that jumps | time passes |
//!
//! | and may only report | what happens |
//! |---|---|
//! | rot: bits, blocks, ends of files, files, directories | what was durable is another: the open or the read is refused |
//!
//! Two assumptions are those of docs/FORMAT.md: a sector is written whole or not at all, and a sync that returned success reached the
//! medium. A third: after a directory sync failed, a later one that succeeds makes all its entries durable, since file systems keep names
//! in a journal that stops at its first error.

#![expect(
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a test's disk: it is small, and a wrong index shall end the test"
)]

mod entries;
mod node;
mod rng;
mod tally;
mod vfs;
mod world;

pub use rng::Rng;
pub use tally::{Place, Tally, Trouble};

use crate::sync::Mutex;
use node::Node;
use std::{
    collections::VecDeque,
    path::{Path, PathBuf},
    sync::Arc,
};
use world::World;

/// What happens at an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The world ends in it: it is done, half done or not done, and nothing works any more.
    Crash,
    /// It fails with an I/O error, done or not.
    Error,
    /// It fails for want of space.
    NoSpace,
}

/// Writes to open files, by number from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Writes {
    /// The last one.
    pub last: u64,
    /// The last one that a sync covers.
    pub durable: u64,
    /// The last one for which something written later may vouch.
    pub vouched: u64,
}

/// A simulated machine: a file system, a clock and chance. Clones share it.
#[derive(Clone)]
pub struct SimVfs {
    world: Arc<Mutex<World>>,
    interrupt: Arc<Mutex<Option<Interrupt>>>,
}

type Interrupt = Box<dyn FnOnce() + Send>;

impl SimVfs {
    /// An empty disk; all chance comes from `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { world: Arc::new(Mutex::new(World::new(seed))), interrupt: Arc::default() }
    }

    /// Plans `fault` for operation number `at`, counted from the first one of this disk. A kill or a power cut clears all plans.
    pub fn plan(&self, at: u64, fault: Fault) {
        self.world.lock().faults.push((at, fault));
    }

    /// Plans an I/O error for look number `at`: a read, a listing, an open for reading.
    pub fn plan_read_error(&self, at: u64) {
        self.world.lock().read_faults.push(at);
    }

    /// Forgets all plans.
    pub fn clear_plans(&self) {
        let mut world = self.world.lock();
        world.faults.clear();
        world.read_faults.clear();
    }

    /// The number of the last operation.
    #[must_use]
    pub fn operations(&self) -> u64 {
        self.world.lock().operations
    }

    /// The number of the last look.
    #[must_use]
    pub fn reads(&self) -> u64 {
        self.world.lock().reads
    }

    /// True once a planned crash has come, or [`halt`](Self::halt).
    #[must_use]
    pub fn is_dead(&self) -> bool {
        self.world.lock().dead
    }

    /// The world ends between two operations: what still holds handles can be dropped, and does nothing any more.
    pub fn halt(&self) {
        self.world.lock().dead = true;
    }

    /// The process is gone, and another may begin.
    pub fn kill(&self) {
        self.world.lock().kill();
    }

    /// As [`kill`](Self::kill), unless the world has ended already; faults that are planned still come.
    pub fn restart(&self) {
        let mut world = self.world.lock();
        if !world.dead {
            let plans = (std::mem::take(&mut world.faults), std::mem::take(&mut world.read_faults));
            world.kill();
            (world.faults, world.read_faults) = plans;
        }
    }

    /// The machine is gone with what was not durable, and another boot begins.
    pub fn power_cut(&self) {
        self.world.lock().power_cut();
    }

    /// Lets the disk hold no more bytes than it does now; `false`: as many as one likes.
    pub fn set_full(&self, full: bool) {
        let mut world = self.world.lock();
        world.capacity_bytes = full.then(|| world.used_bytes());
    }

    /// Lets the disk hold `bytes` more than it does now.
    pub fn set_room(&self, bytes: u64) {
        let mut world = self.world.lock();
        world.capacity_bytes = Some(world.used_bytes() + bytes);
    }

    /// True if the disk has a capacity.
    #[must_use]
    pub fn has_capacity(&self) -> bool {
        self.world.lock().capacity_bytes.is_some()
    }

    /// Lets time pass.
    pub fn advance_ms(&self, ms: u64) {
        self.world.lock().clock_us += ms * 1_000;
    }

    /// From now on operations take time, some much of it, and the wall clock jumps, also back.
    pub fn set_restless(&self) {
        self.world.lock().restless = true;
    }

    /// Gives 0x1111111111111111, 0x2222222222222222 and so on instead of random numbers.
    pub fn count_instead_of_chance(&self) {
        self.world.lock().counting = Some(0);
    }

    /// Breaks the disk: from now on syncs do nothing and succeed. To see that a test can fail.
    pub fn lie_about_syncs(&self) {
        self.world.lock().sync_is_a_lie = true;
    }

    /// Says what the engine is doing, for [`Place`].
    pub fn set_phase(&self, phase: &'static str) {
        self.world.lock().phase = phase;
    }

    /// Runs `interrupt` once, when the next file is about to be replaced: another thread comes in while a checkpoint is written. No lock
    /// of the engine that a commit needs is held then.
    pub fn at_next_replace(&self, interrupt: impl FnOnce() + Send + 'static) {
        *self.interrupt.lock() = Some(Box::new(interrupt));
    }

    /// Forgets what [`at_next_replace`](Self::at_next_replace) said.
    pub fn clear_interrupt(&self) {
        *self.interrupt.lock() = None;
    }

    /// What happened so far.
    #[must_use]
    pub fn tally(&self) -> Tally {
        self.world.lock().tally.clone()
    }

    /// Takes what the engine did that no engine may: a file moved to another disk, a write through a handle of a process that is gone.
    #[must_use]
    pub fn complaints(&self) -> Vec<String> {
        std::mem::take(&mut self.world.lock().complaints)
    }

    /// Keeps the last operations as text from now on.
    pub fn set_trace(&self) {
        self.world.lock().trace = Some(VecDeque::new());
    }

    /// Adds a line to the trace.
    pub fn note(&self, text: impl FnOnce() -> String) {
        self.world.lock().note(text);
    }

    /// The last operations as text.
    #[must_use]
    pub fn trace(&self) -> Vec<String> {
        self.world.lock().trace.iter().flatten().cloned().collect()
    }

    /// A file's bytes as a reader sees them.
    #[must_use]
    pub fn content(&self, path: &Path) -> Option<Vec<u8>> {
        let world = self.world.lock();
        Some(world.nodes.get(world.entries.now.get(path)?)?.current.clone())
    }

    /// Its size in bytes.
    #[must_use]
    pub fn len(&self, path: &Path) -> Option<u64> {
        let world = self.world.lock();
        Some(world.nodes.get(world.entries.now.get(path)?)?.current.len() as u64)
    }

    /// All files.
    #[must_use]
    pub fn paths(&self) -> Vec<PathBuf> {
        self.world.lock().entries.now.keys().cloned().collect()
    }

    /// Puts bytes on the medium, as damage or a tool would.
    pub fn set_content(&self, path: &Path, bytes: Vec<u8>) {
        let mut world = self.world.lock();
        let node = world.add_node(Node::of(bytes));
        world.entries.set(path, Some(node));
    }

    /// Another disk with the same content, all of it durable.
    #[must_use]
    pub fn copy(&self) -> Self {
        let (rng, dirs) = {
            let world = self.world.lock();
            (world.rng.clone(), world.dirs.clone())
        };
        let copy = Self::new(0);
        {
            let mut world = copy.world.lock();
            (world.rng, world.dirs) = (rng, dirs);
        }
        for path in self.paths() {
            copy.set_content(&path, self.content(&path).unwrap_or_default());
        }
        copy
    }
}

/// Rot: what the engine may only report.
impl SimVfs {
    /// Flips a bit of `path`.
    pub fn flip(&self, path: &Path, bit: u64) {
        self.rot(path, Trouble::BitFlip, |bytes| {
            if let Some(byte) = bytes.get_mut((bit / 8) as usize) {
                *byte ^= 1 << (bit % 8);
            }
        });
    }

    /// Overwrites the bytes of `path` in a range with others, as a block that went bad.
    pub fn lose_block(&self, path: &Path, offset: u64, len: u64) {
        let filler = self.world.lock().rng.next() as u8;
        self.rot(path, Trouble::BlockLost, |bytes| {
            let end = bytes.len().min((offset + len) as usize);
            let start = end.min(offset as usize);
            bytes[start..end].fill(filler);
        });
    }

    /// Cuts `path` to `len` bytes.
    pub fn cut(&self, path: &Path, len: u64) {
        self.rot(path, Trouble::FileCut, |bytes| bytes.truncate(len as usize));
    }

    fn rot(&self, path: &Path, trouble: Trouble, change: impl Fn(&mut Vec<u8>)) {
        let mut world = self.world.lock();
        world.tally.count(trouble);
        if let Ok(node) = world.find(path) {
            world.node(node).rot(change);
        }
    }

    /// Removes a file behind the engine's back.
    pub fn delete(&self, path: &Path) {
        let mut world = self.world.lock();
        world.tally.count(Trouble::FileRemoved);
        world.entries.set(path, None);
    }

    /// Empties `dir`, as if its disk were not mounted; answers what [`mount`](Self::mount) brings back.
    pub fn unmount(&self, dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
        self.world.lock().tally.count(Trouble::DirAbsent);
        let here = self.paths().into_iter().filter(|path| path.parent() == Some(dir));
        let files: Vec<_> =
            here.map(|path| (path.clone(), self.content(&path).unwrap_or_default())).collect();
        let mut world = self.world.lock();
        files.iter().for_each(|(path, _)| world.entries.set(path, None));
        files
    }

    /// Undoes [`unmount`](Self::unmount).
    pub fn mount(&self, files: &[(PathBuf, Vec<u8>)]) {
        files.iter().for_each(|(path, bytes)| self.set_content(path, bytes.clone()));
    }

    /// True if a part of the range lies in bytes for which nothing written later can vouch: they were written since the last sync before
    /// the last write. Damage to them looks like a torn end.
    #[must_use]
    pub fn is_unvouched(&self, path: &Path, offset: u64, len: u64) -> bool {
        let world = self.world.lock();
        world.find(path).is_ok_and(|node| world.recent.covers(node, &(offset..offset + len)))
    }

    /// How many bytes [`is_unvouched`](Self::is_unvouched) would be true of, at most: an open writes them anew.
    #[must_use]
    pub fn unvouched_bytes(&self) -> u64 {
        self.world.lock().recent.bytes()
    }

    /// How far the writes to open files got.
    #[must_use]
    pub fn writes(&self) -> Writes {
        self.world.lock().recent.writes()
    }

    /// The file that was written last.
    #[must_use]
    pub fn last_written(&self) -> Option<PathBuf> {
        let world = self.world.lock();
        let last = world.recent.last_node?;
        let found = world.entries.now.iter().find(|(_, node)| **node == last);
        found.map(|(path, _)| path.clone())
    }
}
