//! The directories of a log: locked, ours, and all there.
//!
//! A directory that is absent or somebody else's always refuses the open (rules N2, @F): a disk that is not mounted must never look
//! like an empty log.

use super::names::{self, Name};
use crate::{
    error::{Error, ErrorKind, Result},
    format::{Manifest, checkpoint_from_bytes, manifest_from_bytes, manifest_to_bytes},
    ids::SegmentId,
    io::{LockAttempt, Medium, Vfs, read_all},
    options::{OnDamage, Purpose},
};
use std::{
    any::Any,
    collections::{BTreeMap, BTreeSet},
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

const MANIFEST_FILE_BYTES_MAX: u64 = 2 << 20;
const CHECKPOINT_BYTES_MAX: u64 = 1 << 30;
/// The last so many are used; the segments that they lead to are there.
const CHECKPOINTS_KEPT: usize = 2;

/// All directories of one log, held until this is dropped.
pub(crate) struct Directories {
    pub(crate) vfs: Arc<dyn Vfs>,
    /// Lock and checkpoints lie here.
    pub(crate) home: PathBuf,
    /// Segments lie here.
    pub(crate) data: Vec<PathBuf>,
    pub(crate) log_id: [u8; 16],
    /// What the operator should know about them.
    pub(crate) warnings: Vec<String>,
    _locks: Vec<Box<dyn Any + Send + Sync>>,
}

impl Directories {
    /// Locks and checks `home` and `data` (empty: segments lie in `home`), makes them if the log is new, and makes durable what their
    /// listings show. A manifest that is there and damaged is made again where damage is gone around, and the others leave no doubt. One
    /// that names the places from where the log was moved is written anew, but for a repair, which changes no sound file.
    ///
    /// # Errors
    /// `Locked`; `NotAChannel` if one is Flume's, missing, or another log's; `Corrupt` for a damaged manifest; `NewerFormat`; `Io`.
    pub(crate) fn claim(
        vfs: Arc<dyn Vfs>,
        home: &Path,
        data: &[PathBuf],
        on_damage: OnDamage,
        purpose: Purpose,
    ) -> Result<Self> {
        let data = if data.is_empty() { vec![home.to_path_buf()] } else { data.to_vec() };
        if data.iter().collect::<BTreeSet<_>>().len() < data.len() {
            return Err(Error::new(
                ErrorKind::InvalidOptions,
                format!("a data directory is named twice: {data:?}"),
            ));
        }
        let all = with_home(home, &data);
        for dir in &all {
            refuse_flume(&*vfs, dir)?;
        }
        let mut locks = Vec::new();
        for dir in &all {
            // Who wrote the manifest had made the directory durable before.
            if vfs.open(&dir.join(names::MANIFEST)).is_err() {
                vfs.create_dir(dir)
                    .map_err(|error| Error::io("cannot make the directory", dir, error))?;
            }
            locks.push(lock_and_sync(&*vfs, dir)?);
        }
        sync_quarantine(&*vfs, home)?;
        let identity = Identity { vfs: &*vfs, home, data: &data, all: &all, on_damage, purpose };
        let mut warnings = Vec::new();
        let log_id = identity.settle(&mut warnings)?;
        for dir in &all {
            match vfs
                .medium(dir)
                .map_err(|error| Error::io("cannot look at the file system", dir, error))?
            {
                Medium::Disk => {}
                Medium::Network(name) => {
                    warnings.push(format!(
                        "{} is on {name}: locks and syncs of network file systems may mean \
                         less than they say",
                        dir.display()
                    ));
                }
                Medium::Memory(name) => {
                    warnings.push(format!(
                        "{} is on {name}: nothing in it survives a restart of the machine",
                        dir.display()
                    ));
                }
            }
        }
        Ok(Self { vfs, home: home.to_path_buf(), data, log_id, warnings, _locks: locks })
    }

    /// Locks `home` and `data` as they are, damaged manifests and all, and writes nothing: to take a repair back, or to settle a damage.
    /// A directory that `may_lack` a manifest may have none; any other one without is not ours, or not there.
    ///
    /// # Errors
    /// `Locked`; `NotAChannel` if one is missing, or another log's; `NewerFormat`; `Io`.
    pub(crate) fn hold(
        vfs: Arc<dyn Vfs>,
        home: &Path,
        data: &[PathBuf],
        may_lack: &dyn Fn(&Path) -> bool,
    ) -> Result<Self> {
        let mut locks = Vec::new();
        let mut log_id = None;
        for dir in &with_home(home, data) {
            let refuse =
                |what: &str| Err(Error::new(ErrorKind::NotAChannel, what.to_owned()).in_file(dir));
            match read_manifest(&*vfs, dir) {
                Ok(Some(other)) if *log_id.get_or_insert(other.log_id) != other.log_id => {
                    return refuse("this directory belongs to another log than those before it");
                }
                Ok(None) if !may_lack(&dir.join(names::MANIFEST)) => {
                    return refuse("there is no manifest here: is its disk mounted?");
                }
                Err(error) if error.kind() != &ErrorKind::Corrupt => return Err(error),
                _ => {}
            }
            locks.push(lock_and_sync(&*vfs, dir)?);
        }
        sync_quarantine(&*vfs, home)?;
        let log_id = log_id.unwrap_or_default();
        let (home, data, warnings) = (home.to_path_buf(), data.to_vec(), Vec::new());
        Ok(Self { vfs, home, data, log_id, warnings, _locks: locks })
    }
}

/// All directories, each once.
fn with_home(home: &Path, data: &[PathBuf]) -> Vec<PathBuf> {
    let mut all = data.to_vec();
    if !all.iter().any(|dir| dir == home) {
        all.push(home.to_path_buf());
    }
    all
}

/// The lock comes before anything is built on what the listing shows, manifests included.
fn lock_and_sync(vfs: &dyn Vfs, dir: &Path) -> Result<Box<dyn Any + Send + Sync>> {
    let lock = lock(vfs, dir)?;
    vfs.sync_dir(dir).map_err(|error| Error::io("cannot sync the directory", dir, error))?;
    Ok(lock)
}

/// A record that a killed predecessor gave its name could vanish at the next power cut, when the log counts on it.
fn sync_quarantine(vfs: &dyn Vfs, home: &Path) -> Result<()> {
    let dir = home.join(names::QUARANTINE);
    match vfs.list(&dir).and_then(|_| vfs.sync_dir(&dir)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(Error::io("cannot sync the quarantine", &dir, error))
        }
        _ => Ok(()),
    }
}

/// Refuses a directory that Apache Flume made.
///
/// # Errors
/// `NotAChannel`, `Io`; a directory that is not there is none of these.
pub(crate) fn refuse_flume(vfs: &dyn Vfs, dir: &Path) -> Result<()> {
    match vfs.list(dir) {
        Ok(names) if names::is_flume(&names) => Err(Error::new(
            ErrorKind::NotAChannel,
            "this is a directory of Apache Flume's file channel, whose format this release does not read; nothing in it was touched. \
             Drain it with Flume, or name another directory",
        )
        .in_file(dir)),
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(Error::io("cannot list the directory", dir, error)),
    }
}

fn lock(vfs: &dyn Vfs, dir: &Path) -> Result<Box<dyn Any + Send + Sync>> {
    match vfs
        .lock(dir)
        .map_err(|error| Error::io("cannot make the lock file in_use.lock", dir, error))?
    {
        LockAttempt::Taken(lock) => Ok(lock),
        LockAttempt::Held { pid } => {
            let holder =
                pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"));
            let what = format!(
                "{holder} holds the lock in_use.lock; stop it, or look inside with `fchannel inspect`, which needs no lock"
            );
            Err(Error::new(ErrorKind::Locked { pid }, what).in_file(dir))
        }
    }
}

/// The manifest of `dir`; `None` if there is none.
///
/// # Errors
/// `Corrupt`, `NewerFormat`, `Io`.
pub(crate) fn read_manifest(vfs: &dyn Vfs, dir: &Path) -> Result<Option<Manifest>> {
    let path = dir.join(names::MANIFEST);
    match read_all(vfs, &path, MANIFEST_FILE_BYTES_MAX) {
        Ok(bytes) => manifest_from_bytes(&bytes).map(Some).map_err(|error| error.in_file(&path)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::io("cannot read the manifest", &path, error)),
    }
}

pub(crate) fn is_absent(vfs: &dyn Vfs, path: &Path) -> bool {
    vfs.open(path).is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
}

/// What the manifests say, against what the options say.
struct Identity<'a> {
    vfs: &'a dyn Vfs,
    home: &'a Path,
    data: &'a [PathBuf],
    all: &'a [PathBuf],
    on_damage: OnDamage,
    purpose: Purpose,
}

/// What a directory says of itself.
enum Found {
    Nothing,
    Manifest(Manifest),
    /// It is there, and cannot be read.
    Damaged(Error),
}

impl Found {
    fn manifest(&self) -> Option<&Manifest> {
        match self {
            Self::Manifest(manifest) => Some(manifest),
            Self::Nothing | Self::Damaged(_) => None,
        }
    }
}

impl Identity<'_> {
    /// Checks that every directory is present and ours, and writes the manifests that are missing or outdated: the home's last, so that
    /// each directory that a home names has one.
    fn settle(&self, warnings: &mut Vec<String>) -> Result<[u8; 16]> {
        let found: Vec<Found> = self.all.iter().map(|dir| self.find(dir)).collect::<Result<_>>()?;
        let of = |dir: &Path| {
            self.all.iter().position(|other| other == dir).and_then(|at| found.get(at))
        };
        let known_of = |dir: &Path| of(dir).and_then(Found::manifest);
        let Some(any) = known_of(self.home).or_else(|| {
            found.iter().filter_map(Found::manifest).max_by_key(|manifest| manifest.data_dirs.len())
        }) else {
            self.refuse_files_without_manifest(&found)?;
            self.copy_damaged_aside(&found, warnings)?;
            let log_id =
                (u128::from(self.vfs.random()) << 64 | u128::from(self.vfs.random())).to_le_bytes();
            let created_ms = self.vfs.wall_ms();
            if self.all.len() > 1 {
                // The home before all others, as one that nobody has joined yet: so a directory that has a manifest, where the home has
                // none, has lost its home.
                self.replace(self.home, &self.manifest_of(self.home, log_id, created_ms, &[]))?;
            }
            return self.write(log_id, created_ms, &found);
        };
        for (dir, found) in self.all.iter().zip(&found) {
            if found.manifest().is_some_and(|manifest| manifest.log_id != any.log_id) {
                let what =
                    format!("this directory belongs to another log than {}", self.home.display());
                return Err(Error::new(ErrorKind::NotAChannel, what).in_file(dir));
            }
        }
        // A home that holds no segments can be made again.
        let home_holds_segments = self.data.iter().any(|dir| dir == self.home);
        let is_segment = |name: &Name| matches!(name, Name::Segment(_));
        let any_segment = || self.holder_of(self.data, is_segment).map(|holder| holder.is_some());
        let complete = known_of(self.home).is_some() || home_holds_segments || any_segment()?;
        for (index, named) in any.data_dirs.iter().enumerate().filter(|_| complete) {
            let here = self.data.get(index);
            let ours = here.is_some_and(|dir| match of(dir) {
                Some(Found::Manifest(manifest)) => manifest.directory == u32::try_from(index).ok(),
                // It is the directory that the others name: its own word is not needed.
                Some(Found::Damaged(_)) => dir.to_string_lossy() == named.as_str(),
                Some(Found::Nothing) | None => false,
            });
            if !ours {
                let what = format!(
                    "data directory {index} of this log is missing: it was {named}, and {} is not it. Is its disk mounted, and are the \
                     directories in their old order?",
                    here.map_or_else(|| "nothing".to_owned(), |dir| dir.display().to_string()),
                );
                return Err(Error::new(ErrorKind::NotAChannel, what)
                    .in_file(here.map_or(self.home, PathBuf::as_path)));
            }
        }
        self.copy_damaged_aside(&found, warnings)?;
        self.write(any.log_id, any.created_ms, &found)
    }

    fn find(&self, dir: &Path) -> Result<Found> {
        match read_manifest(self.vfs, dir) {
            Ok(manifest) => Ok(manifest.map_or(Found::Nothing, Found::Manifest)),
            Err(error)
                if error.kind() == &ErrorKind::Corrupt && self.on_damage != OnDamage::Refuse =>
            {
                Ok(Found::Damaged(error))
            }
            Err(error) => Err(error),
        }
    }

    /// Keeps what is left of damaged manifests under another name. They stay in their places until they are written over: a directory
    /// without one is nobody's.
    fn copy_damaged_aside(&self, found: &[Found], warnings: &mut Vec<String>) -> Result<()> {
        for (dir, found) in self.all.iter().zip(found) {
            let Found::Damaged(error) = found else { continue };
            let path = dir.join(names::MANIFEST);
            // What an earlier damage left stays. Sought in a listing: a file that cannot be opened may be there or not.
            let names = self
                .vfs
                .list(dir)
                .map_err(|error| Error::io("cannot list the directory", dir, error))?;
            let aside = (0..)
                .map(|number| names::damaged(names::MANIFEST, number))
                .find(|aside| !names.contains(aside))
                .map_or_else(PathBuf::new, |aside| dir.join(aside));
            read_all(self.vfs, &path, MANIFEST_FILE_BYTES_MAX)
                .and_then(|bytes| self.vfs.replace(&aside, &bytes))
                .map_err(|error| Error::io("cannot copy the damaged manifest", &path, error))?;
            warnings.push(format!(
                "{error}; it was made again, and what was left of it is {}",
                aside.display()
            ));
        }
        Ok(())
    }

    /// The first directory of `dirs` in which a file has a name for which `is_sought` holds.
    fn holder_of(
        &self,
        dirs: &[PathBuf],
        is_sought: impl Fn(&Name) -> bool,
    ) -> Result<Option<PathBuf>> {
        for dir in dirs {
            let names = self
                .vfs
                .list(dir)
                .map_err(|error| Error::io("cannot list the directory", dir, error))?;
            if names.iter().any(|name| is_sought(&Name::parse(name))) {
                return Ok(Some(dir.clone()));
            }
        }
        Ok(None)
    }

    /// With no manifest to read, segments are somebody's, and so are checkpoints and spares, to which segments belong that may come back:
    /// a new identity, written before it is seen that these are missing, would make them strangers. But where one directory is all there
    /// is, and its manifest is there and damaged, there is no doubt whose, as long as nothing tells of others.
    fn refuse_files_without_manifest(&self, found: &[Found]) -> Result<()> {
        if let [Found::Damaged(error)] = found {
            return match self.trace_of_others()? {
                None => Ok(()),
                Some(trace) => Err(Error::corrupt(format!(
                    "{}, and {trace}: other directories seem to belong to this one, and only its manifest could name them; use one \
                     whose manifest can be read",
                    error.what()
                ))
                .in_file(&self.home.join(names::MANIFEST))),
            };
        }
        let damaged = found.iter().find_map(|found| match found {
            Found::Damaged(error) => Some(error.clone()),
            Found::Nothing | Found::Manifest(_) => None,
        });
        if let Some(error) = damaged {
            return Err(error);
        }
        let is_of_a_log =
            |name: &Name| matches!(name, Name::Segment(_) | Name::Checkpoint(_) | Name::Spare(_));
        let Some(dir) = self.holder_of(self.all, is_of_a_log)? else { return Ok(()) };
        let what = "there are segments, checkpoints or spares but no manifest: the directory's identity is lost, and is not written \
                    anew";
        Err(Error::new(ErrorKind::NotAChannel, what).in_file(&dir))
    }

    /// What shows that the one directory that was named is not all of its log: segments take turns between directories, and lie apart
    /// from the checkpoints.
    fn trace_of_others(&self) -> Result<Option<String>> {
        let names = self
            .vfs
            .list(self.home)
            .map_err(|error| Error::io("cannot list the directory", self.home, error))?;
        let (mut segments, mut checkpoints) = (BTreeSet::new(), BTreeMap::new());
        for name in names {
            match Name::parse(&name) {
                Name::Segment(id) => drop(segments.insert(id)),
                Name::Checkpoint(generation) => drop(checkpoints.insert(generation, name)),
                _ => {}
            }
        }
        // What an older one leads to, which could not be removed, was given back.
        let newest = checkpoints.values().rev().take(CHECKPOINTS_KEPT);
        let mut needed: BTreeSet<SegmentId> =
            newest.filter_map(|name| self.segment_of_checkpoint(name)).collect();
        let next_to = segments.iter().zip(segments.iter().skip(1));
        needed.extend(next_to.map(|(before, _)| before.next()));
        if let Some(missing) = needed.difference(&segments).next() {
            return Ok(Some(format!("segment {missing} is not here")));
        }
        // An agent names its directories, and a bare log has no checkpoints. Who repairs may stand in any one of them.
        let lies_apart =
            self.purpose == Purpose::Repair && checkpoints.is_empty() && !segments.is_empty();
        Ok(lies_apart.then(|| "there is no checkpoint here".to_owned()))
    }

    /// The segment to which checkpoint `name` leads, if it can be read.
    fn segment_of_checkpoint(&self, name: &str) -> Option<SegmentId> {
        let bytes = read_all(self.vfs, &self.home.join(name), CHECKPOINT_BYTES_MAX).ok()?;
        Some(checkpoint_from_bytes(&bytes).ok()?.1.next_frame.segment)
    }

    fn write(&self, log_id: [u8; 16], created_ms: u64, found: &[Found]) -> Result<[u8; 16]> {
        let (homes, others): (Vec<_>, Vec<_>) =
            self.all.iter().zip(found).partition(|(dir, _)| *dir == self.home);
        for (dir, old) in others.into_iter().chain(homes) {
            let manifest = self.manifest_of(dir, log_id, created_ms, self.data);
            let is_right = match self.purpose {
                Purpose::Use => old.manifest() == Some(&manifest),
                Purpose::Repair => old.manifest().is_some(),
            };
            if !is_right {
                self.replace(dir, &manifest)?;
            }
        }
        Ok(log_id)
    }

    fn manifest_of(
        &self,
        dir: &Path,
        log_id: [u8; 16],
        created_ms: u64,
        data: &[PathBuf],
    ) -> Manifest {
        let text = |path: &Path| path.to_string_lossy().into_owned();
        let directory = self.data.iter().position(|data| data == dir);
        Manifest {
            log_id,
            created_ms,
            directory: directory.and_then(|index| u32::try_from(index).ok()),
            home: text(self.home),
            data_dirs: data.iter().map(|dir| text(dir)).collect(),
        }
    }

    fn replace(&self, dir: &Path, manifest: &Manifest) -> Result<()> {
        let path = dir.join(names::MANIFEST);
        let bytes = manifest_to_bytes(manifest)?;
        self.vfs
            .replace(&path, &bytes)
            .map_err(|error| Error::io("cannot write the manifest", &path, error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::StdVfs;

    fn claim(home: &Path, data: &[&Path]) -> Result<Directories> {
        let data: Vec<PathBuf> = data.iter().map(|dir| dir.to_path_buf()).collect();
        Directories::claim(
            Arc::new(StdVfs::default()),
            home,
            &data,
            OnDamage::Quarantine,
            Purpose::Use,
        )
    }

    #[test]
    fn a_directory_may_join_and_none_may_leave_or_change_places() {
        let root = tempfile::tempdir().unwrap();
        let (home, one, two) =
            (root.path().join("home"), root.path().join("one"), root.path().join("two"));
        let id = claim(&home, &[&one]).unwrap().log_id;
        assert_eq!(claim(&home, &[&one, &two]).unwrap().log_id, id, "a second directory joins");
        let missing = claim(&home, &[&one]).err().unwrap();
        assert_eq!(missing.kind(), &ErrorKind::NotAChannel);
        assert!(missing.to_string().contains("data directory 1"), "{missing}");
        assert!(claim(&home, &[&two, &one]).is_err(), "places exchanged");
        assert!(claim(&home, &[&one, &two]).is_ok());
    }

    #[test]
    fn an_unmounted_disk_is_not_an_empty_log() {
        let root = tempfile::tempdir().unwrap();
        let (home, one, two) =
            (root.path().join("home"), root.path().join("one"), root.path().join("two"));
        claim(&home, &[&one, &two]).unwrap();
        std::fs::rename(&two, root.path().join("elsewhere")).unwrap();
        std::fs::create_dir(&two).unwrap();
        assert_eq!(claim(&home, &[&one, &two]).err().unwrap().kind(), &ErrorKind::NotAChannel);
    }

    #[test]
    fn a_crash_while_the_first_manifests_are_written_is_completed() {
        let root = tempfile::tempdir().unwrap();
        let (home, one, two) =
            (root.path().join("home"), root.path().join("one"), root.path().join("two"));
        let id = claim(&home, &[&one, &two]).unwrap().log_id;
        std::fs::remove_file(home.join(names::MANIFEST)).unwrap();
        std::fs::remove_file(two.join(names::MANIFEST)).unwrap();
        assert_eq!(claim(&home, &[&one, &two]).unwrap().log_id, id);
    }

    #[test]
    fn the_home_holds_nothing_that_cannot_be_made_again() {
        let root = tempfile::tempdir().unwrap();
        let (home, one) = (root.path().join("home"), root.path().join("one"));
        let id = claim(&home, &[&one]).unwrap().log_id;
        std::fs::remove_dir_all(&home).unwrap();
        assert_eq!(claim(&home, &[&one]).unwrap().log_id, id);
    }

    #[test]
    fn a_damaged_manifest_is_made_again_where_there_is_no_doubt() {
        let root = tempfile::tempdir().unwrap();
        let (home, one, two) =
            (root.path().join("home"), root.path().join("one"), root.path().join("two"));
        let id = claim(&home, &[&one, &two]).unwrap().log_id;
        std::fs::write(two.join("seg-1"), b"x").unwrap();
        for dir in [&home, &one, &two] {
            std::fs::write(dir.join(names::MANIFEST), b"not one").unwrap();
            let again = claim(&home, &[&one, &two]).unwrap();
            assert_eq!(again.log_id, id);
            assert_eq!(again.warnings.len(), 1, "{:?}", again.warnings);
            assert_eq!(std::fs::read(dir.join("manifest.damage-0")).unwrap(), b"not one");
        }
        std::fs::write(one.join(names::MANIFEST), b"not one").unwrap();
        let exchanged = claim(&home, &[&two, &one]).err().unwrap();
        assert_eq!(exchanged.kind(), &ErrorKind::NotAChannel);
        for dir in [&home, &one, &two] {
            std::fs::write(dir.join(names::MANIFEST), b"not one").unwrap();
        }
        let nobody = claim(&home, &[&one, &two]).err().unwrap();
        assert_eq!(nobody.kind(), &ErrorKind::Corrupt, "nobody is left to say whose they are");
    }

    #[test]
    fn a_directory_of_flume_is_refused_untouched() {
        let root = tempfile::tempdir().unwrap();
        std::fs::write(root.path().join("log-1"), b"x").unwrap();
        std::fs::write(root.path().join("log-1.meta"), b"x").unwrap();
        let error = claim(root.path(), &[]).err().unwrap();
        assert_eq!(error.kind(), &ErrorKind::NotAChannel);
        assert!(error.to_string().contains("Flume"), "{error}");
        assert_eq!(
            std::fs::read_dir(root.path()).unwrap().count(),
            2,
            "not even a lock file was made"
        );
    }

    #[test]
    fn another_logs_directory_is_refused() {
        let root = tempfile::tempdir().unwrap();
        let (home, one, other) =
            (root.path().join("home"), root.path().join("one"), root.path().join("other"));
        claim(&home, &[&one]).unwrap();
        let error = claim(&other, &[&one]).map(|_| ());
        assert!(
            error.is_ok(),
            "a new home for the same data is fine: it holds no identity of its own"
        );
        claim(&root.path().join("third"), &[]).unwrap();
        assert!(claim(&root.path().join("third"), &[&one]).is_err());
    }
}
