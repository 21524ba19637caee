//! A disk that can crash: the weakest one that the contract of `fchannel::io` allows.
//!
//! - A write is in the page cache until a sync. A power cut leaves each 512-byte sector that was written since with its durable bytes or
//!   with those of any write to it, by chance. A kill of the process keeps the page cache, and nothing in it becomes durable by that.
//! - A failed sync forgets: the pages count as clean and are on the medium or not. A second sync succeeds and proves nothing.
//! - A name is durable when the call that made it returns, or after `sync_dir`. A crash inside a call stops between its steps: a power
//!   cut then keeps any prefix of what was done to a directory and not synced.
//! - Each change of the disk is an operation with a number. The world can end, or an error come, at the Nth one.
//!
//! There are no threads here, and the clock and all chance come from a seed.

use fchannel::io::{File, LockAttempt, Medium, Sync, Vfs};
use std::{
    any::Any,
    collections::{BTreeMap, BTreeSet},
    io::{self, IoSlice},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard},
    thread::JoinHandle,
    time::Duration,
};

const SECTOR: usize = 512;

/// Reproducible chance.
#[derive(Clone)]
pub(crate) struct Rng(pub(crate) u64);

impl Rng {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    pub(crate) fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

/// What happens at an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nothing works any more from there on.
    Crash,
    /// That one fails with an I/O error.
    Error,
}

#[derive(Default)]
struct Node {
    /// What a reader sees.
    current: Vec<u8>,
    durable: Vec<u8>,
    /// All contents of the sectors written since their last sync.
    dirty: BTreeMap<usize, Vec<Vec<u8>>>,
    /// Of these, the ones that the page cache has forgotten to be dirty.
    forgotten: BTreeSet<usize>,
}

impl Node {
    fn write(&mut self, offset: usize, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let end = offset + bytes.len();
        if self.current.len() < end {
            self.current.resize(end, 0);
        }
        self.current[offset..end].copy_from_slice(bytes);
        for sector in offset / SECTOR..=(end - 1) / SECTOR {
            let stop = self.current.len().min((sector + 1) * SECTOR);
            let content = self.current[sector * SECTOR..stop].to_vec();
            self.dirty.entry(sector).or_default().push(content);
            self.forgotten.remove(&sector);
        }
    }

    fn keep(&mut self, sector: usize, content: &[u8]) {
        let end = sector * SECTOR + content.len();
        if self.durable.len() < end {
            self.durable.resize(end, 0);
        }
        self.durable[sector * SECTOR..end].copy_from_slice(content);
    }

    fn sync(&mut self) {
        for (sector, contents) in std::mem::take(&mut self.dirty) {
            if self.forgotten.contains(&sector) {
                self.dirty.insert(sector, contents);
            } else if let Some(last) = contents.last() {
                self.keep(sector, last);
            }
        }
    }

    fn fail_sync(&mut self) {
        self.forgotten.extend(self.dirty.keys());
    }

    fn power_cut(&mut self, rng: &mut Rng) {
        let kept_percent = [0, 50, 90, 100][rng.below(4) as usize];
        let whole_len = self.current.len();
        for (sector, contents) in std::mem::take(&mut self.dirty) {
            if rng.chance(kept_percent) {
                let which = if rng.chance(80) {
                    contents.len() - 1
                } else {
                    rng.below(contents.len() as u64) as usize
                };
                self.keep(sector, &contents[which]);
            }
        }
        // The size may be on the medium without the bytes.
        if rng.chance(30) {
            let len = self.durable.len().max(whole_len);
            self.durable.resize(len, 0);
        }
        self.forgotten.clear();
        self.current = self.durable.clone();
    }
}

#[derive(Clone)]
enum Change {
    Name(PathBuf, usize),
    Rename(PathBuf, PathBuf),
    Remove(PathBuf),
}

impl Change {
    fn apply(&self, names: &mut BTreeMap<PathBuf, usize>) {
        match self {
            Self::Name(path, node) => drop(names.insert(path.clone(), *node)),
            Self::Rename(from, to) => {
                if let Some(node) = names.remove(from) {
                    names.insert(to.clone(), node);
                }
            }
            Self::Remove(path) => drop(names.remove(path)),
        }
    }

    fn dir(&self) -> PathBuf {
        let (Self::Name(path, _) | Self::Rename(path, _) | Self::Remove(path)) = self;
        path.parent().unwrap().to_path_buf()
    }
}

pub(crate) struct World {
    rng: Rng,
    nodes: Vec<Node>,
    names: BTreeMap<PathBuf, usize>,
    durable_names: BTreeMap<PathBuf, usize>,
    pending: BTreeMap<PathBuf, Vec<Change>>,
    dirs: BTreeSet<PathBuf>,
    locked: BTreeSet<PathBuf>,
    /// Handles of earlier boots are dead.
    boot: u32,
    dead: bool,
    pub(crate) operations: u64,
    pub(crate) fault: Option<(u64, Fault)>,
    /// New files and larger ones cannot be had.
    pub(crate) full: bool,
    /// No file grows beyond this: a write that would is cut there, and fails.
    pub(crate) file_bytes_max: Option<usize>,
    pub(crate) clock_ms: u64,
    /// Numbers to give instead of random ones: 0x1111111111111111, 0x2222222222222222 and so on.
    pub(crate) counting: Option<u64>,
    /// Planted bugs, to see that the tests can fail.
    pub(crate) sync_is_a_lie: bool,
}

/// The world as the engine sees it.
#[derive(Clone)]
pub(crate) struct SimVfs(Arc<Mutex<World>>);

struct SimFile {
    world: SimVfs,
    node: usize,
    boot: u32,
}

fn dead() -> io::Error {
    io::Error::other("the world has ended")
}

fn broken() -> io::Error {
    io::Error::from_raw_os_error(5)
}

impl World {
    fn alive(&self) -> io::Result<()> {
        if self.dead { Err(dead()) } else { Ok(()) }
    }

    /// Counts an operation; what shall happen at it.
    fn operation(&mut self) -> io::Result<Option<Fault>> {
        self.alive()?;
        self.operations += 1;
        let fault = self.fault.filter(|(at, _)| *at == self.operations).map(|(_, fault)| fault);
        self.dead = fault == Some(Fault::Crash);
        Ok(fault)
    }

    fn new_node(&mut self) -> usize {
        self.nodes.push(Node::default());
        self.nodes.len() - 1
    }

    fn change(&mut self, change: Change) {
        change.apply(&mut self.names);
        self.pending.entry(change.dir()).or_default().push(change);
    }

    fn sync_names(&mut self, dir: &Path) {
        for change in self.pending.remove(dir).unwrap_or_default() {
            change.apply(&mut self.durable_names);
        }
    }

    /// Makes `path` from `made` (a new temporary file, or a donor) with `bytes` at its start, and stops where `fault` says.
    fn make(
        &mut self,
        path: &Path,
        made: &Path,
        fresh: bool,
        bytes: &[u8],
        fault: Option<Fault>,
    ) -> io::Result<usize> {
        let last_step = match fault {
            None => 5,
            Some(_) => self.rng.below(5),
        };
        let failed = if fault == Some(Fault::Crash) { dead() } else { broken() };
        if last_step == 0 {
            return Err(failed);
        }
        let node = if fresh {
            let node = self.new_node();
            self.change(Change::Name(made.to_path_buf(), node));
            node
        } else {
            *self.names.get(made).ok_or(io::ErrorKind::NotFound)?
        };
        self.nodes[node].write(0, bytes);
        if last_step == 1 {
            if fresh && fault == Some(Fault::Error) {
                self.change(Change::Remove(made.to_path_buf()));
            }
            return Err(failed);
        }
        self.nodes[node].sync();
        if last_step == 2 {
            return Err(failed);
        }
        self.change(Change::Rename(made.to_path_buf(), path.to_path_buf()));
        if last_step == 3 {
            return Err(failed);
        }
        self.sync_names(path.parent().unwrap());
        if last_step == 4 { Err(failed) } else { Ok(node) }
    }

    /// A change of one name, and stops where `fault` says.
    fn change_name(&mut self, change: Change, fault: Option<Fault>) -> io::Result<()> {
        let last_step = if fault.is_none() { 3 } else { self.rng.below(3) };
        let dir = change.dir();
        if last_step > 0 {
            self.change(change);
        }
        if last_step > 1 {
            self.sync_names(&dir);
        }
        match fault {
            None => Ok(()),
            Some(Fault::Crash) => Err(dead()),
            Some(Fault::Error) => Err(broken()),
        }
    }
}

fn temporary(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap().to_os_string();
    name.push(".tmp");
    path.with_file_name(name)
}

impl SimVfs {
    pub(crate) fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(World {
            rng: Rng(seed),
            nodes: Vec::new(),
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            pending: BTreeMap::new(),
            dirs: BTreeSet::new(),
            locked: BTreeSet::new(),
            boot: 0,
            dead: false,
            operations: 0,
            fault: None,
            full: false,
            file_bytes_max: None,
            clock_ms: 1_795_000_000_000,
            sync_is_a_lie: false,
            counting: None,
        })))
    }

    pub(crate) fn world(&self) -> MutexGuard<'_, World> {
        self.0.lock().unwrap()
    }

    pub(crate) fn is_dead(&self) -> bool {
        self.world().dead
    }

    /// The process is gone: page cache and names stay as they are.
    pub(crate) fn kill(&self) {
        let mut world = self.world();
        world.dead = false;
        world.boot += 1;
        world.locked.clear();
        world.fault = None;
    }

    /// As [`kill`](Self::kill), if the world has not ended; a fault that is planned still comes.
    pub(crate) fn kill_quietly(&self) {
        if !self.is_dead() {
            let fault = self.world().fault;
            self.kill();
            self.world().fault = fault;
        }
    }

    /// The machine is gone, with what was not durable.
    pub(crate) fn power_cut(&self) {
        self.kill();
        let mut guard = self.world();
        let world = &mut *guard;
        for (_, changes) in std::mem::take(&mut world.pending) {
            let kept = world.rng.below(changes.len() as u64 + 1) as usize;
            for change in &changes[..kept] {
                change.apply(&mut world.durable_names);
            }
        }
        world.names = world.durable_names.clone();
        for node in &mut world.nodes {
            node.power_cut(&mut world.rng);
        }
    }

    /// A file's bytes as a reader sees them.
    pub(crate) fn content(&self, path: &Path) -> Option<Vec<u8>> {
        let world = self.world();
        Some(world.nodes[*world.names.get(path)?].current.clone())
    }

    /// Puts bytes on the medium, as damage or a tool would.
    pub(crate) fn set_content(&self, path: &Path, bytes: Vec<u8>) {
        let mut world = self.world();
        let node = world.new_node();
        world.nodes[node] = Node { durable: bytes.clone(), current: bytes, ..Node::default() };
        world.names.insert(path.to_path_buf(), node);
        world.durable_names.insert(path.to_path_buf(), node);
    }

    /// Removes a file behind the engine's back.
    pub(crate) fn delete(&self, path: &Path) {
        let mut world = self.world();
        world.names.remove(path);
        world.durable_names.remove(path);
    }

    pub(crate) fn paths(&self) -> Vec<PathBuf> {
        self.world().names.keys().cloned().collect()
    }

    /// Another disk with the same content, all of it durable.
    pub(crate) fn copy(&self) -> Self {
        let copy = Self::new(self.world().rng.0);
        copy.world().dirs = self.world().dirs.clone();
        for path in self.paths() {
            copy.set_content(&path, self.content(&path).unwrap());
        }
        copy
    }
}

impl File for SimFile {
    fn len(&self) -> io::Result<u64> {
        let world = self.world.world();
        world.alive()?;
        Ok(world.nodes[self.node].current.len() as u64)
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        let world = self.world.world();
        world.alive()?;
        let content = &world.nodes[self.node].current;
        let from = content.len().min(offset as usize);
        let len = buf.len().min(content.len() - from);
        buf[..len].copy_from_slice(&content[from..from + len]);
        Ok(len)
    }

    fn write_at(&self, offset: u64, bufs: &[IoSlice<'_>], sync: Sync) -> io::Result<()> {
        let mut guard = self.world.world();
        let world = &mut *guard;
        assert_eq!(self.boot, world.boot, "a handle of a process that is gone");
        let fault = world.operation()?;
        let bytes = bufs.iter().flat_map(|buf| buf.iter().copied()).collect::<Vec<u8>>();
        let written = match fault {
            None => bytes.len(),
            Some(_) if world.rng.chance(50) => bytes.len(),
            Some(_) => world.rng.below(bytes.len() as u64 + 1) as usize,
        };
        let lie = world.sync_is_a_lie;
        let room =
            world.file_bytes_max.map_or(usize::MAX, |end| end.saturating_sub(offset as usize));
        let node = &mut world.nodes[self.node];
        if room < written {
            node.write(offset as usize, &bytes[..room]);
            return Err(io::ErrorKind::StorageFull.into());
        }
        node.write(offset as usize, &bytes[..written]);
        match (fault, sync) {
            (None, Sync::Data) if !lie => node.sync(),
            (None, _) => {}
            (Some(Fault::Crash), _) => return Err(dead()),
            (Some(Fault::Error), _) => {
                node.fail_sync();
                return Err(broken());
            }
        }
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut world = self.world.world();
        let fault = world.operation()?;
        let lie = world.sync_is_a_lie;
        let node = &mut world.nodes[self.node];
        match fault {
            None if lie => Ok(()),
            None => {
                node.sync();
                Ok(())
            }
            Some(Fault::Crash) => Err(dead()),
            Some(Fault::Error) => {
                node.fail_sync();
                Err(broken())
            }
        }
    }
}

struct Lock(SimVfs, PathBuf, u32);

impl Drop for Lock {
    fn drop(&mut self) {
        let mut world = self.0.world();
        if world.boot == self.2 {
            world.locked.remove(&self.1);
        }
    }
}

impl Vfs for SimVfs {
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        self.world().alive()?;
        self.world().dirs.extend(dir.ancestors().map(Path::to_path_buf));
        Ok(())
    }

    fn lock(&self, dir: &Path) -> io::Result<LockAttempt> {
        let mut world = self.world();
        world.alive()?;
        if !world.locked.insert(dir.to_path_buf()) {
            return Ok(LockAttempt::Held { pid: None });
        }
        let lock: Box<dyn Any + Send + std::marker::Sync> =
            Box::new(Lock(self.clone(), dir.to_path_buf(), world.boot));
        Ok(LockAttempt::Taken(lock))
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut world = self.world();
        match world.operation()? {
            None => world.sync_names(dir),
            Some(Fault::Crash) => return Err(dead()),
            Some(Fault::Error) => return Err(broken()),
        }
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let world = self.world();
        world.alive()?;
        if !world.dirs.contains(dir) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let here = world.names.keys().filter(|path| path.parent() == Some(dir));
        Ok(here.map(|path| path.file_name().unwrap().to_string_lossy().into_owned()).collect())
    }

    fn create(&self, path: &Path, head: &[u8], donor: Option<&Path>) -> io::Result<Arc<dyn File>> {
        let mut world = self.world();
        let fault = world.operation()?;
        if world.full && donor.is_none() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let made = donor.map_or_else(|| temporary(path), Path::to_path_buf);
        let node = world.make(path, &made, donor.is_none(), head, fault)?;
        Ok(Arc::new(SimFile { world: self.clone(), node, boot: world.boot }))
    }

    fn reserve(&self, path: &Path, size_bytes: u64) -> io::Result<()> {
        let mut world = self.world();
        let fault = world.operation()?;
        if world.full {
            return Err(io::ErrorKind::StorageFull.into());
        }
        world.make(path, &temporary(path), true, &vec![0; size_bytes as usize], fault).map(drop)
    }

    fn retire(&self, path: &Path, spare: &Path) -> io::Result<()> {
        let mut world = self.world();
        let fault = world.operation()?;
        assert!(
            world.names.contains_key(path) && !world.names.contains_key(spare),
            "retire {path:?} to {spare:?}"
        );
        world.change_name(Change::Rename(path.to_path_buf(), spare.to_path_buf()), fault)
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let world = self.world();
        world.alive()?;
        let node = *world.names.get(path).ok_or(io::ErrorKind::NotFound)?;
        Ok(Arc::new(SimFile { world: self.clone(), node, boot: world.boot }))
    }

    fn replace(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut world = self.world();
        let fault = world.operation()?;
        if world.full {
            return Err(io::ErrorKind::StorageFull.into());
        }
        world.make(path, &temporary(path), true, bytes, fault).map(drop)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut world = self.world();
        let fault = world.operation()?;
        if !world.names.contains_key(path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        world.change_name(Change::Remove(path.to_path_buf()), fault)
    }

    fn free_bytes(&self, _dir: &Path) -> io::Result<u64> {
        Ok(if self.world().full { 0 } else { u64::MAX })
    }

    fn medium(&self, _dir: &Path) -> io::Result<Medium> {
        Ok(Medium::Disk)
    }

    fn wall_ms(&self) -> u64 {
        self.world().clock_ms
    }

    fn monotonic(&self) -> Duration {
        Duration::from_millis(self.world().clock_ms)
    }

    fn random(&self) -> u64 {
        let mut world = self.world();
        match &mut world.counting {
            Some(count) => {
                *count += 1;
                *count * 0x1111_1111_1111_1111
            }
            None => world.rng.next(),
        }
    }

    fn spawn(
        &self,
        _name: &str,
        _body: Box<dyn FnOnce() + Send>,
    ) -> io::Result<Option<JoinHandle<()>>> {
        Ok(None)
    }
}
