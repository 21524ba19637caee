//! The medium, and the page cache before it: what is durable, and what a power cut may make of the rest.
//!
//! - A write is in the page cache until a sync of its file. A power cut leaves each 512-byte sector that was written since with its
//!   durable bytes, or with those of any write to it; the size is the durable one or any that the file had since.
//! - A name that was made, renamed or removed is durable after a sync of its directory. A power cut keeps a prefix of the changes of each
//!   directory. A sync of the file does nothing for its name, though most file systems are kinder.
//! - A failed sync forgets: part of what it should have written is on the medium, the rest counts as clean and is lost with the power.

use super::Cut;
use fchannel_torture::{Answer, chance::Chance};
use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    fs,
    path::Path,
};

const SECTOR: usize = 512;
const BLOCK: u64 = 4096;

/// The number of a file or directory. The root is 1, and none is used twice.
pub(super) type Node = u64;
pub(super) const ROOT: Node = 1;

/// Everything on the disk, and what is only in the page cache.
pub(super) struct Image {
    nodes: BTreeMap<Node, Content>,
    next: Node,
    /// Counts writes, so that a sync covers those before it and no others.
    version: u64,
    pub(super) capacity: u64,
    /// Calls that found no room.
    pub(super) no_room: u64,
}

enum Content {
    File(File),
    Dir(Dir),
}

#[derive(Default)]
struct File {
    /// What a reader sees.
    bytes: Vec<u8>,
    durable: Vec<u8>,
    /// All contents of the sectors written since their last sync, with their versions.
    dirty: BTreeMap<usize, Vec<(u64, Vec<u8>)>>,
    /// The sizes since the last sync.
    sizes: Vec<(u64, usize)>,
    /// Open handles keep a file that has no name.
    open: u64,
    named: bool,
}

#[derive(Default)]
struct Dir {
    names: BTreeMap<OsString, Node>,
    durable: BTreeMap<OsString, Node>,
    changes: Vec<Change>,
}

enum Change {
    Add(OsString, Node),
    Remove(OsString),
    Rename(OsString, OsString),
}

impl Change {
    fn apply(&self, names: &mut BTreeMap<OsString, Node>) {
        match self {
            Self::Add(name, node) => drop(names.insert(name.clone(), *node)),
            Self::Remove(name) => drop(names.remove(name)),
            Self::Rename(from, to) => {
                if let Some(node) = names.remove(from) {
                    names.insert(to.clone(), node);
                }
            }
        }
    }
}

/// Why something cannot be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    NotThere,
    There,
    NotADirectory,
    IsADirectory,
    NotEmpty,
    Full,
    /// Over a border that a rename cannot pass.
    Elsewhere,
}

/// What an entry of a directory is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stat {
    pub(super) node: Node,
    pub(super) is_dir: bool,
    pub(super) size: u64,
    pub(super) allocated: u64,
}

impl Default for Image {
    fn default() -> Self {
        let nodes = BTreeMap::from([(ROOT, Content::Dir(Dir::default()))]);
        Self { nodes, next: ROOT + 1, version: 0, capacity: u64::MAX, no_room: 0 }
    }
}

impl File {
    fn allocated(&self) -> u64 {
        (self.bytes.len() as u64).next_multiple_of(BLOCK)
    }

    fn resize(&mut self, len: usize, version: u64) {
        let before = self.bytes.len();
        if len == before {
            return;
        }
        self.bytes.resize(len, 0);
        self.sizes.push((version, len));
        // What is cut off is gone; what is added reads as zeros, also over older bytes of the medium.
        let from = before.min(len);
        self.touch(from, before.max(len), version);
    }

    fn write(&mut self, offset: usize, bytes: &[u8], version: u64) {
        let end = offset + bytes.len();
        if self.bytes.len() < end {
            let hole = self.bytes.len();
            self.bytes.resize(end, 0);
            self.sizes.push((version, end));
            self.touch(hole, offset, version);
        }
        if let Some(place) = self.bytes.get_mut(offset..end) {
            place.copy_from_slice(bytes);
        }
        self.touch(offset, end, version);
    }

    /// Notes the sectors of these bytes as written.
    fn touch(&mut self, from: usize, to: usize, version: u64) {
        for sector in from / SECTOR..to.div_ceil(SECTOR) {
            let start = (sector * SECTOR).min(self.bytes.len());
            let stop = ((sector + 1) * SECTOR).min(self.bytes.len());
            let mut content = self.bytes.get(start..stop).unwrap_or_default().to_vec();
            content.resize(SECTOR, 0);
            self.dirty.entry(sector).or_default().push((version, content));
        }
    }

    fn keep(&mut self, sector: usize, content: &[u8]) {
        let (start, end) = (sector * SECTOR, (sector + 1) * SECTOR);
        if self.durable.len() < end {
            self.durable.resize(end, 0);
        }
        if let Some(place) = self.durable.get_mut(start..end) {
            place.copy_from_slice(content);
        }
    }

    /// Makes durable what was written up to `version`. `lose`: of each sector, whether it is forgotten instead.
    fn sync(&mut self, version: u64, mut lose: impl FnMut() -> bool) {
        let before = self.durable.len();
        for (sector, mut contents) in std::mem::take(&mut self.dirty) {
            let later = contents.partition_point(|(at, _)| *at <= version);
            let rest = contents.split_off(later);
            if let Some((_, last)) = contents.last()
                && !lose()
            {
                self.keep(sector, last);
            }
            if !rest.is_empty() {
                self.dirty.insert(sector, rest);
            }
        }
        let later = self.sizes.partition_point(|(at, _)| *at <= version);
        let rest = self.sizes.split_off(later);
        // Whole sectors were kept: the size says how much of the last one counts.
        let size = self.sizes.last().map_or(before, |(_, size)| *size);
        self.durable.resize(size, 0);
        self.sizes = rest;
    }

    fn power_cut(&mut self, chance: &mut Chance, kept_percent: u64, cut: &mut Cut) {
        let durable = self.durable.len();
        let mut sizes: Vec<usize> = self.sizes.iter().map(|(_, size)| *size).collect();
        let size = match (kept_percent, sizes.pop()) {
            (0, _) | (_, None) => durable,
            (100, Some(last)) => last,
            (_, Some(last)) => {
                sizes.extend([durable, last]);
                chance.one_of(&sizes)
            }
        };
        for (sector, contents) in std::mem::take(&mut self.dirty) {
            cut.sectors += 1;
            let newest = contents.len().saturating_sub(1);
            let kept = chance.percent(kept_percent).then(|| {
                if kept_percent == 100 || chance.percent(80) {
                    newest
                } else {
                    usize::try_from(chance.below(contents.len() as u64)).unwrap_or_default()
                }
            });
            cut.lost += u64::from(kept != Some(newest));
            if let Some((_, content)) = kept.and_then(|which| contents.get(which)) {
                self.keep(sector, content);
            }
        }
        self.durable.resize(size, 0);
        self.sizes.clear();
        self.open = 0;
        self.bytes.clone_from(&self.durable);
    }
}

impl Image {
    fn dir(&mut self, node: Node) -> Result<&mut Dir, Refusal> {
        match self.nodes.get_mut(&node) {
            Some(Content::Dir(dir)) => Ok(dir),
            Some(Content::File(_)) => Err(Refusal::NotADirectory),
            None => Err(Refusal::NotThere),
        }
    }

    fn file(&mut self, node: Node) -> Result<&mut File, Refusal> {
        match self.nodes.get_mut(&node) {
            Some(Content::File(file)) => Ok(file),
            Some(Content::Dir(_)) => Err(Refusal::IsADirectory),
            None => Err(Refusal::NotThere),
        }
    }

    pub(super) fn stat(&self, node: Node) -> Result<Stat, Refusal> {
        let stat = Stat { node, is_dir: true, size: 0, allocated: 0 };
        match self.nodes.get(&node) {
            Some(Content::Dir(_)) => Ok(stat),
            Some(Content::File(file)) => {
                let (size, allocated) = (file.bytes.len() as u64, file.allocated());
                Ok(Stat { is_dir: false, size, allocated, ..stat })
            }
            None => Err(Refusal::NotThere),
        }
    }

    pub(super) fn lookup(&mut self, dir: Node, name: &OsStr) -> Result<Stat, Refusal> {
        let node = *self.dir(dir)?.names.get(name).ok_or(Refusal::NotThere)?;
        self.stat(node)
    }

    pub(super) fn list(&mut self, dir: Node) -> Result<Vec<(OsString, Stat)>, Refusal> {
        let names: Vec<(OsString, Node)> =
            self.dir(dir)?.names.iter().map(|(name, node)| (name.clone(), *node)).collect();
        names.into_iter().map(|(name, node)| Ok((name, self.stat(node)?))).collect()
    }

    pub(super) fn make(&mut self, dir: Node, name: &OsStr, is_dir: bool) -> Result<Stat, Refusal> {
        if self.dir(dir)?.names.contains_key(name) {
            return Err(Refusal::There);
        }
        let node = self.next;
        self.next += 1;
        let content = match is_dir {
            true => Content::Dir(Dir::default()),
            false => Content::File(File { named: true, ..File::default() }),
        };
        self.nodes.insert(node, content);
        self.change(dir, Change::Add(name.to_owned(), node))?;
        self.stat(node)
    }

    fn change(&mut self, dir: Node, change: Change) -> Result<(), Refusal> {
        let dir = self.dir(dir)?;
        change.apply(&mut dir.names);
        dir.changes.push(change);
        Ok(())
    }

    pub(super) fn remove(&mut self, dir: Node, name: &OsStr, is_dir: bool) -> Result<(), Refusal> {
        let stat = self.lookup(dir, name)?;
        match (stat.is_dir, is_dir) {
            (true, false) => return Err(Refusal::IsADirectory),
            (false, true) => return Err(Refusal::NotADirectory),
            (true, true) if !self.dir(stat.node)?.names.is_empty() => {
                return Err(Refusal::NotEmpty);
            }
            _ => {}
        }
        self.change(dir, Change::Remove(name.to_owned()))?;
        self.unname(stat.node);
        Ok(())
    }

    fn unname(&mut self, node: Node) {
        if let Ok(file) = self.file(node) {
            file.named = false;
        }
    }

    pub(super) fn rename(
        &mut self,
        dir: Node,
        name: &OsStr,
        new_dir: Node,
        new_name: &OsStr,
    ) -> Result<(), Refusal> {
        if dir != new_dir {
            return Err(Refusal::Elsewhere);
        }
        self.lookup(dir, name)?;
        if let Ok(old) = self.lookup(dir, new_name) {
            self.unname(old.node);
        }
        self.change(dir, Change::Rename(name.to_owned(), new_name.to_owned()))
    }

    /// Bytes that files occupy. One without a name does so while it is open.
    pub(super) fn used(&self) -> u64 {
        let files = self.nodes.values().filter_map(|content| match content {
            Content::File(file) if file.named || file.open > 0 => Some(file.allocated()),
            _ => None,
        });
        files.sum()
    }

    /// How large a file may become.
    fn size_max(&mut self, node: Node) -> Result<u64, Refusal> {
        let free = self.capacity.saturating_sub(self.used());
        Ok(self.file(node)?.allocated().saturating_add(free / BLOCK * BLOCK))
    }

    pub(super) fn read(&mut self, node: Node, offset: u64, len: usize) -> Result<&[u8], Refusal> {
        let bytes = &self.file(node)?.bytes;
        let from = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
        Ok(bytes.get(from..bytes.len().min(from + len)).unwrap_or_default())
    }

    /// Writes as much as there is room for; answers how much that is.
    pub(super) fn write(
        &mut self,
        node: Node,
        offset: u64,
        bytes: &[u8],
    ) -> Result<usize, Refusal> {
        let room = self.size_max(node)?.saturating_sub(offset);
        let fits = bytes.len().min(usize::try_from(room).unwrap_or(usize::MAX));
        if fits < bytes.len() {
            self.no_room += 1;
        }
        if fits == 0 && !bytes.is_empty() {
            return Err(Refusal::Full);
        }
        self.version += 1;
        let version = self.version;
        let offset = usize::try_from(offset).map_err(|_| Refusal::Full)?;
        self.file(node)?.write(offset, bytes.get(..fits).unwrap_or_default(), version);
        Ok(fits)
    }

    pub(super) fn resize(&mut self, node: Node, size: u64) -> Result<(), Refusal> {
        if size > self.size_max(node)?.max(self.stat(node)?.size) {
            self.no_room += 1;
            return Err(Refusal::Full);
        }
        self.version += 1;
        let version = self.version;
        self.file(node)?.resize(usize::try_from(size).map_err(|_| Refusal::Full)?, version);
        Ok(())
    }

    pub(super) fn open(&mut self, node: Node) -> Result<(), Refusal> {
        self.file(node)?.open += 1;
        Ok(())
    }

    pub(super) fn close(&mut self, node: Node) {
        if let Ok(file) = self.file(node) {
            file.open = file.open.saturating_sub(1);
        }
    }

    /// The writes so far: what a sync that begins now covers.
    pub(super) fn now(&self) -> u64 {
        self.version
    }

    pub(super) fn sync(&mut self, node: Node, version: u64) -> Result<(), Refusal> {
        self.file(node)?.sync(version, || false);
        Ok(())
    }

    /// A sync that fails, and forgets what it should have written.
    pub(super) fn fail_sync(&mut self, node: Node, version: u64, chance: &mut Chance) {
        let lost_percent = chance.one_of(&[30, 70, 100]);
        if let Ok(file) = self.file(node) {
            file.sync(version, || chance.percent(lost_percent));
        }
    }

    pub(super) fn sync_dir(&mut self, node: Node) -> Result<(), Refusal> {
        let dir = self.dir(node)?;
        for change in dir.changes.drain(..) {
            change.apply(&mut dir.durable);
        }
        Ok(())
    }

    /// Power was cut: all, some or nothing of what was not durable is lost, by sectors, sizes and names.
    pub(super) fn power_cut(&mut self, chance: &mut Chance) -> Cut {
        let mut cut = Cut::default();
        let kept_percent = chance.one_of(&[0, 0, 50, 90, 100]);
        for content in self.nodes.values_mut() {
            match content {
                Content::File(file) => file.power_cut(chance, kept_percent, &mut cut),
                Content::Dir(dir) => {
                    let changes = std::mem::take(&mut dir.changes);
                    let kept = match kept_percent {
                        0 => 0,
                        100 => changes.len(),
                        _ => usize::try_from(chance.below(changes.len() as u64 + 1))
                            .unwrap_or_default(),
                    };
                    cut.names += changes.len() as u64;
                    cut.names_lost += (changes.len() - kept) as u64;
                    for change in changes.iter().take(kept) {
                        change.apply(&mut dir.durable);
                    }
                    dir.names.clone_from(&dir.durable);
                }
            }
        }
        self.forget_the_nameless();
        cut
    }

    fn forget_the_nameless(&mut self) {
        let mut reachable = vec![ROOT];
        let mut at = 0;
        while let Some(node) = reachable.get(at).copied() {
            at += 1;
            if let Some(Content::Dir(dir)) = self.nodes.get(&node) {
                reachable.extend(dir.names.values());
            }
        }
        reachable.sort_unstable();
        self.nodes.retain(|node, content| {
            let stays = reachable.binary_search(node).is_ok();
            if let Content::File(file) = content {
                file.named = stays;
            }
            stays
        });
    }

    /// Writes all files as they are now below a directory elsewhere.
    pub(super) fn dump(&self, to: &Path) -> Answer<()> {
        let mut dirs = vec![(ROOT, to.to_path_buf())];
        while let Some((node, path)) = dirs.pop() {
            match self.nodes.get(&node) {
                Some(Content::Dir(dir)) => {
                    fs::create_dir_all(&path)?;
                    dirs.extend(dir.names.iter().map(|(name, node)| (*node, path.join(name))));
                }
                Some(Content::File(file)) => fs::write(&path, &file.bytes)?,
                None => {}
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Sole {
        image: Image,
        node: Node,
        chance: Chance,
    }

    impl Sole {
        fn new(seed: u64) -> Self {
            let mut image = Image::default();
            let node = image.make(ROOT, OsStr::new("file"), false).unwrap().node;
            Self { image, node, chance: Chance::new(seed) }
        }

        fn write(&mut self, offset: u64, bytes: &[u8]) {
            assert_eq!(self.image.write(self.node, offset, bytes), Ok(bytes.len()));
        }

        fn sync(&mut self) {
            let now = self.image.now();
            self.image.sync(self.node, now).unwrap();
        }

        /// What is there after a power cut; nothing if the name is gone.
        fn after_a_cut(&mut self) -> Option<Vec<u8>> {
            self.image.power_cut(&mut self.chance);
            let stat = self.image.lookup(ROOT, OsStr::new("file")).ok()?;
            Some(self.image.read(stat.node, 0, usize::MAX >> 1).unwrap().to_vec())
        }
    }

    fn outcomes(make: impl Fn(&mut Sole)) -> Vec<Option<Vec<u8>>> {
        let mut all: Vec<_> = (0..200)
            .map(|seed| {
                let mut sole = Sole::new(seed);
                make(&mut sole);
                sole.after_a_cut()
            })
            .collect();
        all.sort();
        all.dedup();
        all
    }

    #[test]
    fn what_is_synced_with_its_name_stays() {
        let all = outcomes(|sole| {
            sole.write(0, &[7; 1000]);
            sole.sync();
            sole.image.sync_dir(ROOT).unwrap();
        });
        assert_eq!(all, [Some(vec![7; 1000])]);
    }

    #[test]
    fn a_file_that_is_synced_may_lose_its_name() {
        let all = outcomes(|sole| {
            sole.write(0, &[7; 10]);
            sole.sync();
        });
        assert_eq!(all, [None, Some(vec![7; 10])]);
    }

    #[test]
    fn what_is_not_synced_is_kept_by_sectors_and_sizes() {
        let all = outcomes(|sole| {
            sole.write(0, &[1; 1024]);
            sole.sync();
            sole.image.sync_dir(ROOT).unwrap();
            sole.write(0, &[2; 1024]);
            sole.write(1024, &[3; 512]);
        });
        let sectors = |bytes: &[u8]| bytes.chunks(512).map(|sector| sector[0]).collect::<Vec<_>>();
        let all: Vec<_> = all.iter().map(|bytes| sectors(bytes.as_ref().unwrap())).collect();
        for seen in [vec![1, 1], vec![2, 1], vec![1, 2], vec![2, 2], vec![1, 1, 0], vec![2, 2, 3]] {
            assert!(all.contains(&seen), "{seen:?} is not among {all:?}");
        }
    }

    #[test]
    fn a_sync_covers_what_was_written_before_it_began() {
        let all = outcomes(|sole| {
            sole.image.sync_dir(ROOT).unwrap();
            sole.write(0, &[1; 512]);
            let began = sole.image.now();
            sole.write(0, &[2; 512]);
            sole.image.sync(sole.node, began).unwrap();
        });
        assert_eq!(all, [Some(vec![1; 512]), Some(vec![2; 512])]);
    }

    #[test]
    fn a_failed_sync_forgets_for_good() {
        let all = outcomes(|sole| {
            sole.image.sync_dir(ROOT).unwrap();
            sole.write(0, &[1; 512]);
            let now = sole.image.now();
            sole.image.fail_sync(sole.node, now, &mut sole.chance);
            assert_eq!(sole.image.read(sole.node, 0, 512).unwrap(), [1; 512], "the cache has it");
            sole.sync();
        });
        assert_eq!(all, [Some(vec![0; 512]), Some(vec![1; 512])]);
    }

    #[test]
    fn changes_of_names_are_kept_in_their_order() {
        for seed in 0..100 {
            let mut sole = Sole::new(seed);
            let name = |name: &'static str| OsStr::new(name);
            sole.image.sync_dir(ROOT).unwrap();
            sole.image.rename(ROOT, name("file"), ROOT, name("spare")).unwrap();
            sole.image.make(ROOT, name("new"), false).unwrap();
            sole.image.remove(ROOT, name("spare"), false).unwrap();
            sole.image.power_cut(&mut sole.chance);
            let names: Vec<_> =
                sole.image.list(ROOT).unwrap().into_iter().map(|(name, _)| name).collect();
            assert!(
                [&["file"][..], &["spare"], &["new", "spare"], &["new"]]
                    .iter()
                    .any(|all| names == *all),
                "{names:?}"
            );
        }
    }

    #[test]
    fn a_full_disk_takes_what_fits_and_lets_written_blocks_be_written_over() {
        let mut sole = Sole::new(1);
        sole.image.capacity = 8192;
        assert_eq!(sole.image.write(sole.node, 0, &[1; 5000]), Ok(5000));
        assert_eq!(sole.image.write(sole.node, 5000, &[1; 5000]), Ok(3192));
        assert_eq!(sole.image.write(sole.node, 8192, &[1; 1]), Err(Refusal::Full));
        assert_eq!(sole.image.write(sole.node, 100, &[2; 4000]), Ok(4000));
        sole.image.remove(ROOT, OsStr::new("file"), false).unwrap();
        assert_eq!(sole.image.used(), 0);
    }
}
