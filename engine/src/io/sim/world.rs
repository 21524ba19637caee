//! The state of a simulated machine, and what each step does to it.

use super::{
    Fault, Place, Rng, Tally, Trouble, Writes,
    entries::{Entries, NodeId},
    node::{Node, SECTOR},
};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    io,
    ops::Range,
    path::{Path, PathBuf},
};

/// How many of the last steps a trace keeps.
const TRACE_MAX: usize = 400;

/// How much of a step is done.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Extent {
    Nothing,
    Part,
    All,
}

/// What becomes of a step: how much of it is done, and what is answered.
pub(super) struct Outcome {
    pub(super) extent: Extent,
    pub(super) error: Option<io::Error>,
}

impl Outcome {
    fn done(&self) -> bool {
        self.extent != Extent::Nothing
    }

    fn answer<T>(self, value: T) -> io::Result<T> {
        match self.error {
            Some(error) => Err(error),
            None => Ok(value),
        }
    }
}

pub(super) struct World {
    pub(super) rng: Rng,
    pub(super) nodes: BTreeMap<NodeId, Node>,
    next_node: NodeId,
    pub(super) entries: Entries,
    pub(super) dirs: BTreeSet<PathBuf>,
    pub(super) locked: BTreeSet<PathBuf>,
    /// Handles of earlier boots are dead.
    pub(super) boot: u32,
    pub(super) dead: bool,
    /// Changes of the disk so far, and looks at it.
    pub(super) operations: u64,
    pub(super) reads: u64,
    pub(super) faults: Vec<(u64, Fault)>,
    pub(super) read_faults: Vec<u64>,
    pub(super) capacity_bytes: Option<u64>,
    pub(super) clock_us: u64,
    pub(super) wall_ahead_ms: i64,
    pub(super) restless: bool,
    pub(super) counting: Option<u64>,
    pub(super) sync_is_a_lie: bool,
    pub(super) phase: &'static str,
    pub(super) tally: Tally,
    pub(super) complaints: Vec<String>,
    pub(super) trace: Option<VecDeque<String>>,
    pub(super) recent: Recent,
}

/// The bytes for which nothing written later can vouch: what was written since the last sync before the last write.
#[derive(Default)]
pub(super) struct Recent {
    /// Writes to open files so far.
    writes: u64,
    /// The first write since the last sync before the last write, and where these writes went.
    first_write: u64,
    ranges: Vec<(NodeId, Range<u64>)>,
    /// The same for the sync before: what it is again if the last writes are lost.
    before: (u64, Vec<(NodeId, Range<u64>)>),
    synced: bool,
    /// What is being made, without a name yet.
    filling: Vec<(NodeId, Range<u64>)>,
    pub(super) last_node: Option<NodeId>,
}

impl Recent {
    fn wrote(&mut self, node: NodeId, range: Range<u64>) {
        self.writes += 1;
        self.last_node = Some(node);
        if self.synced {
            self.before = (self.first_write, std::mem::take(&mut self.ranges));
            self.first_write = self.writes;
            self.synced = false;
        }
        self.ranges.push((node, range));
    }

    /// A new segment vouches for all that was written before it, not for itself.
    fn named_segment(&mut self, node: NodeId) {
        if self.filling.iter().any(|(id, _)| *id == node) {
            self.first_write = self.writes + 1;
            self.ranges = self.filling.drain(..).filter(|(id, _)| *id == node).collect();
            self.synced = true;
        }
    }

    /// What was not synced when the world ends may be gone, and with it what it said of earlier writes.
    fn end(&mut self) {
        self.filling.clear();
        self.may_be_lost();
    }

    fn may_be_lost(&mut self) {
        if !self.synced {
            self.first_write = self.before.0;
            self.ranges.append(&mut self.before.1);
        }
    }

    pub(super) fn writes(&self) -> Writes {
        let vouched = self.first_write.saturating_sub(1);
        Writes {
            last: self.writes,
            durable: if self.synced { self.writes } else { vouched },
            vouched,
        }
    }

    pub(super) fn bytes(&self) -> u64 {
        self.ranges.iter().map(|(_, range)| range.end - range.start).sum()
    }

    pub(super) fn covers(&self, node: NodeId, range: &Range<u64>) -> bool {
        let touch = |other: &Range<u64>| other.start < range.end && range.start < other.end;
        self.ranges.iter().any(|(id, other)| *id == node && touch(other))
    }
}

fn dead() -> io::Error {
    io::Error::other("the world has ended")
}

fn broken() -> io::Error {
    io::Error::from_raw_os_error(5)
}

fn no_space() -> io::Error {
    io::Error::from_raw_os_error(28)
}

/// `seg` for `seg-3.tmp`; in the quarantine `record` or `copy`; nothing for a directory.
fn stem(step: &str, path: &Path) -> String {
    if step == "make directory" {
        return String::new();
    }
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let stem = name.split(['-', '.']).next().unwrap_or_default();
    match stem.parse::<u64>() {
        Ok(_) if name.contains(".bytes") => "copy".to_owned(),
        Ok(_) => "record".to_owned(),
        Err(_) => stem.to_owned(),
    }
}

fn allocated(bytes: &[u8]) -> u64 {
    bytes.len().next_multiple_of(SECTOR) as u64
}

impl World {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            rng: Rng::new(seed),
            nodes: BTreeMap::new(),
            next_node: 0,
            entries: Entries::default(),
            dirs: BTreeSet::new(),
            locked: BTreeSet::new(),
            boot: 0,
            dead: false,
            operations: 0,
            reads: 0,
            faults: Vec::new(),
            read_faults: Vec::new(),
            capacity_bytes: None,
            clock_us: 1_795_000_000_000_000,
            wall_ahead_ms: 0,
            restless: false,
            counting: None,
            sync_is_a_lie: false,
            phase: "life",
            tally: Tally::default(),
            complaints: Vec::new(),
            trace: None,
            recent: Recent::default(),
        }
    }

    pub(super) fn alive(&self) -> io::Result<()> {
        if self.dead { Err(dead()) } else { Ok(()) }
    }

    pub(super) fn note(&mut self, text: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            if trace.len() == TRACE_MAX {
                trace.pop_front();
            }
            trace.push_back(text());
        }
    }

    pub(super) fn complain(&mut self, what: String) {
        self.complaints.push(what);
    }

    fn time_passes(&mut self) {
        if !self.restless {
            return;
        }
        self.clock_us += self.rng.below(300);
        if self.rng.below(64) == 0 {
            self.tally.count(Trouble::Slow);
            self.clock_us += 1_000 * (50 + self.rng.below(3_000));
        }
        if self.rng.below(256) == 0 {
            let jump_ms = self.rng.below(7_200_000) as i64 - 3_600_000;
            self.wall_ahead_ms += jump_ms;
            if jump_ms < 0 {
                self.tally.count(Trouble::ClockBack);
            }
        }
    }

    /// Counts a change of the disk; what becomes of it.
    pub(super) fn operation(&mut self, step: &'static str, path: &Path) -> io::Result<Outcome> {
        self.alive()?;
        self.operations += 1;
        self.tally.operations += 1;
        self.time_passes();
        let number = self.operations;
        let fault = self.faults.iter().position(|(at, _)| *at == number);
        let fault = fault.map(|at| self.faults.swap_remove(at).1);
        self.note(|| {
            let fault = fault.map_or_else(String::new, |fault| format!("  <- {fault:?}"));
            format!("{number:>5} {step} {}{fault}", path.display())
        });
        let extent = match self.rng.below(3) {
            _ if fault.is_none() => Extent::All,
            0 => Extent::Nothing,
            1 => Extent::Part,
            _ => Extent::All,
        };
        // Where there is no room for a name there is none: a file system undoes that. A write may have begun.
        let is_name = matches!(step, "make" | "rename to" | "unlink" | "make directory");
        let extent = match (fault, is_name) {
            (Some(Fault::NoSpace), true) => Extent::Nothing,
            _ => extent,
        };
        let error = match fault {
            None => None,
            Some(Fault::Crash) => {
                self.dead = true;
                let place = Place { phase: self.phase, step, what: stem(step, path) };
                *self.tally.ends.entry(place).or_default() += 1;
                Some(dead())
            }
            Some(Fault::Error) => {
                self.tally.count(match step {
                    "write" | "fill" => Trouble::WriteError,
                    "sync" => Trouble::SyncError,
                    "sync directory of" => Trouble::DirSyncError,
                    _ => Trouble::NameError,
                });
                Some(broken())
            }
            Some(Fault::NoSpace) => {
                self.tally.count(Trouble::NoSpace);
                Some(no_space())
            }
        };
        Ok(Outcome { extent, error })
    }

    /// Counts a look at the disk, which may fail.
    pub(super) fn look(&mut self) -> io::Result<()> {
        self.alive()?;
        self.reads += 1;
        let number = self.reads;
        if let Some(at) = self.read_faults.iter().position(|at| *at == number) {
            self.read_faults.swap_remove(at);
            self.tally.count(Trouble::ReadError);
            self.note(|| format!("      read {number}  <- Error"));
            return Err(broken());
        }
        Ok(())
    }

    pub(super) fn node(&mut self, id: NodeId) -> &mut Node {
        self.nodes.entry(id).or_default()
    }

    pub(super) fn add_node(&mut self, node: Node) -> NodeId {
        self.next_node += 1;
        self.nodes.insert(self.next_node, node);
        self.next_node
    }

    pub(super) fn find(&self, path: &Path) -> io::Result<NodeId> {
        self.entries.now.get(path).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    pub(super) fn used_bytes(&self) -> u64 {
        self.nodes.values().map(|node| allocated(&node.current)).sum()
    }

    pub(super) fn free_bytes(&self) -> u64 {
        self.capacity_bytes.map_or(u64::MAX, |capacity| capacity.saturating_sub(self.used_bytes()))
    }

    pub(super) fn make(&mut self, path: &Path) -> io::Result<NodeId> {
        let outcome = self.operation("make", path)?;
        let mut node = 0;
        if outcome.done() {
            node = self.add_node(Node::default());
            self.entries.link(path, node);
            self.forget_unreachable();
        }
        outcome.answer(node)
    }

    /// Writes what is done of it; all of `bytes`, unless something happens.
    pub(super) fn put(
        &mut self,
        node: NodeId,
        offset: u64,
        bytes: &[u8],
        outcome: Outcome,
    ) -> io::Result<usize> {
        let mut len = match outcome.extent {
            Extent::All => bytes.len(),
            Extent::Part => self.rng.index(bytes.len() + 1),
            Extent::Nothing => 0,
        };
        let (mut error, at) = (outcome.error, offset as usize);
        let end =
            allocated(&self.node(node).current).max((at + len).next_multiple_of(SECTOR) as u64);
        let more = end - allocated(&self.node(node).current);
        if more > self.free_bytes() {
            self.tally.count(Trouble::DiskFull);
            let room = allocated(&self.node(node).current) + self.free_bytes();
            len = len.min((room as usize).saturating_sub(at));
            error = error.or_else(|| Some(no_space()));
        }
        if len < bytes.len() && len > 0 {
            self.tally.count(Trouble::ShortWrite);
        }
        self.node(node).write(at, &bytes[..len]);
        match error {
            Some(error) if error.raw_os_error() == Some(5) => {
                self.node(node).fail_sync();
                Err(error)
            }
            Some(error) => Err(error),
            None => Ok(len),
        }
    }

    pub(super) fn fill(
        &mut self,
        path: &Path,
        node: NodeId,
        offset: u64,
        bytes: &[u8],
    ) -> io::Result<()> {
        let outcome = self.operation("fill", path)?;
        self.recent.filling.push((node, offset..offset + bytes.len() as u64));
        self.put(node, offset, bytes, outcome).map(drop)
    }

    pub(super) fn write(
        &mut self,
        path: &Path,
        node: NodeId,
        offset: u64,
        bytes: &[u8],
    ) -> io::Result<()> {
        let outcome = self.operation("write", path)?;
        self.recent.wrote(node, offset..offset + bytes.len() as u64);
        self.put(node, offset, bytes, outcome).map(drop).inspect_err(|_| self.recent.may_be_lost())
    }

    /// `made`: a file that has no name yet.
    pub(super) fn sync(&mut self, path: &Path, node: NodeId, made: bool) -> io::Result<()> {
        let outcome = self.operation("sync", path)?;
        if self.sync_is_a_lie {
            return outcome.answer(());
        }
        match &outcome.error {
            Some(_) if !self.dead => {
                self.node(node).fail_sync();
                // It may be written over as well: what finds no room is wiped out.
                self.recent.may_be_lost();
            }
            Some(_) if outcome.extent != Extent::All => {}
            _ => {
                self.node(node).sync();
                self.recent.synced |= !made;
            }
        }
        outcome.answer(())
    }

    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        if from.parent() != to.parent() {
            self.complain(format!(
                "{} was to move to another disk: {}",
                from.display(),
                to.display()
            ));
            return Err(io::ErrorKind::CrossesDevices.into());
        }
        self.find(from)?;
        let outcome = self.operation("rename to", to)?;
        if outcome.done() {
            self.entries.rename(from, to);
            self.forget_unreachable();
        }
        outcome.answer(())
    }

    pub(super) fn unlink(&mut self, path: &Path) -> io::Result<()> {
        self.find(path)?;
        let outcome = self.operation("unlink", path)?;
        if outcome.done() {
            self.entries.unlink(path);
            self.forget_unreachable();
        }
        outcome.answer(())
    }

    /// `what` says for whose sake the directory is synced.
    pub(super) fn sync_dir(&mut self, dir: &Path, what: &Path) -> io::Result<()> {
        if what == Path::new("all") && !self.dirs.contains(dir) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let outcome = self.operation("sync directory of", what)?;
        if outcome.done() {
            self.entries.sync(dir);
            self.forget_unreachable();
        }
        if outcome.error.is_none()
            && stem("", what) == "seg"
            && let Ok(node) = self.find(what)
        {
            self.recent.named_segment(node);
        }
        outcome.answer(())
    }

    pub(super) fn make_dir(&mut self, dir: &Path) -> io::Result<()> {
        self.alive()?;
        if self.dirs.contains(dir) {
            return Ok(());
        }
        let outcome = self.operation("make directory", dir)?;
        if outcome.done() {
            self.dirs.extend(dir.ancestors().map(Path::to_path_buf));
        }
        outcome.answer(())
    }

    /// A file without a name takes no room once nobody writes to it. Handles of this boot may still lead to it: they write nothing.
    fn forget_unreachable(&mut self) {
        let entries = &self.entries;
        let last = self.recent.last_node;
        self.nodes.retain(|id, _| Some(*id) == last || entries.leads_to(*id));
    }

    /// The process is gone: page cache and names stay as they are, but for pages that count as clean.
    pub(super) fn kill(&mut self) {
        self.tally.count(Trouble::Kill);
        self.end();
        let Self { nodes, rng, tally, .. } = self;
        for node in nodes.values_mut() {
            node.evict(rng, tally);
        }
    }

    fn end(&mut self) {
        self.note(|| "      --- the end of the process".to_owned());
        self.dead = false;
        self.boot += 1;
        self.locked.clear();
        self.faults.clear();
        self.read_faults.clear();
        self.recent.end();
    }

    /// The machine is gone, with what was not durable.
    pub(super) fn power_cut(&mut self) {
        self.tally.count(Trouble::PowerCut);
        self.end();
        self.note(|| "      --- a power cut".to_owned());
        let Self { nodes, rng, tally, entries, .. } = self;
        entries.power_cut(rng, tally);
        for node in nodes.values_mut() {
            node.power_cut(rng, tally);
        }
        self.forget_unreachable();
    }
}
