//! Names: which file each leads to, now and after a power cut.

use super::{Tally, Trouble, rng::Rng};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

pub(super) type NodeId = u64;

#[derive(Clone)]
enum Change {
    Link(PathBuf, NodeId),
    Move { from: PathBuf, to: PathBuf, node: NodeId },
    Unlink(PathBuf, NodeId),
}

impl Change {
    fn apply(&self, names: &mut BTreeMap<PathBuf, NodeId>) {
        match self {
            Self::Link(path, node) => {
                names.insert(path.clone(), *node);
            }
            Self::Move { from, to, node } => {
                if names.get(from) == Some(node) {
                    names.remove(from);
                }
                names.insert(to.clone(), *node);
            }
            Self::Unlink(path, node) => {
                if names.get(path) == Some(node) {
                    names.remove(path);
                }
            }
        }
    }
}

/// The entries of all directories.
#[derive(Default)]
pub(super) struct Entries {
    pub(super) now: BTreeMap<PathBuf, NodeId>,
    pub(super) durable: BTreeMap<PathBuf, NodeId>,
    /// What was done to each directory since its last sync.
    pending: BTreeMap<PathBuf, Vec<Change>>,
}

fn parent(path: &Path) -> PathBuf {
    path.parent().map_or_else(PathBuf::new, Path::to_path_buf)
}

impl Entries {
    pub(super) fn link(&mut self, path: &Path, node: NodeId) {
        self.change(parent(path), Change::Link(path.to_path_buf(), node));
    }

    /// False if `from` is not there.
    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> bool {
        let Some(node) = self.now.get(from).copied() else { return false };
        let change = Change::Move { from: from.to_path_buf(), to: to.to_path_buf(), node };
        self.change(parent(to), change);
        true
    }

    /// False if `path` is not there.
    pub(super) fn unlink(&mut self, path: &Path) -> bool {
        let Some(node) = self.now.get(path).copied() else { return false };
        self.change(parent(path), Change::Unlink(path.to_path_buf(), node));
        true
    }

    fn change(&mut self, dir: PathBuf, change: Change) {
        change.apply(&mut self.now);
        self.pending.entry(dir).or_default().push(change);
    }

    pub(super) fn sync(&mut self, dir: &Path) {
        for change in self.pending.remove(dir).unwrap_or_default() {
            change.apply(&mut self.durable);
        }
    }

    /// Of what was not synced each change is there or not: a prefix, as a journal keeps them, or any of them.
    pub(super) fn power_cut(&mut self, rng: &mut Rng, tally: &mut Tally) {
        for (_, changes) in std::mem::take(&mut self.pending) {
            let prefix = rng.chance(50).then(|| rng.index(changes.len() + 1));
            for (at, change) in changes.iter().enumerate() {
                if prefix.map_or_else(|| rng.chance(50), |len| at < len) {
                    tally.count(Trouble::EntryKept);
                    change.apply(&mut self.durable);
                } else {
                    tally.count(Trouble::EntryLost);
                }
            }
        }
        self.now.clone_from(&self.durable);
    }

    /// Sets a name behind everybody's back.
    pub(super) fn set(&mut self, path: &Path, node: Option<NodeId>) {
        for names in [&mut self.now, &mut self.durable] {
            match node {
                Some(node) => names.insert(path.to_path_buf(), node),
                None => names.remove(path),
            };
        }
    }

    pub(super) fn leads_to(&self, node: NodeId) -> bool {
        let pending = self.pending.values().flatten().any(|change| match change {
            Change::Link(_, other) | Change::Move { node: other, .. } => *other == node,
            Change::Unlink(..) => false,
        });
        pending
            || [&self.now, &self.durable].iter().any(|names| names.values().any(|id| *id == node))
    }
}
