//! In which order a file is made, named and removed, so that it is durable or was never there: written once, for every disk.
//!
//! A disk does single [`Steps`], none of which promises anything about a crash. The order of them is the promise of [`Vfs`](super::Vfs):
//! the bytes are on the medium before they get their name (else the name leads to half of them), and the directory is synced before
//! anybody builds on the name (else a power cut takes it back). The simulated disk crashes between any two steps.

use super::Filling;
use std::{
    ffi::OsString,
    io,
    path::{Path, PathBuf},
};

static ZEROS: [u8; 1 << 16] = [0; 1 << 16];
/// Zeros begin to go to the disk in pieces of this size.
const WRITE_OUT_BYTES: u64 = 1 << 20;

/// What a disk does in one step.
pub(super) trait Steps {
    /// A file that is being made.
    type Made;

    /// Makes `path` an empty file.
    fn make(&self, path: &Path) -> io::Result<Self::Made>;

    /// Opens `path`, which is there, to write.
    fn edit(&self, path: &Path) -> io::Result<Self::Made>;

    /// Writes all of `bytes` at `offset`.
    fn fill(&self, file: &Self::Made, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Begins to write to the disk what was written at `offset`, and waits for nothing: no promise, only less to do for a later sync.
    fn begin_write_out(&self, _file: &Self::Made, _offset: u64, _bytes: u64) {}

    /// Makes what was written durable, and the size.
    fn sync_made(&self, file: &Self::Made) -> io::Result<()>;

    /// Gives `from` the name `to`, which loses what it led to.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Takes the name `path` away.
    fn unlink(&self, path: &Path) -> io::Result<()>;

    /// Makes the entries of the directory in which `path` lies durable.
    fn sync_parent(&self, path: &Path) -> io::Result<()>;
}

/// See [`Vfs::create`](super::Vfs::create).
pub(super) fn create<S: Steps + Clone>(
    disk: &S,
    path: &Path,
    head: &[u8],
    donor: Option<&Path>,
) -> io::Result<S::Made> {
    let Some(donor) = donor else {
        return make_and_name(disk, path, |file| disk.fill(file, 0, head));
    };
    let file = disk.edit(donor)?;
    disk.fill(&file, 0, head)?;
    disk.sync_made(&file)?;
    disk.rename(donor, path)?;
    sync_parent_of_named(disk, path)?;
    Ok(file)
}

/// See [`Vfs::reserve`](super::Vfs::reserve).
pub(super) fn reserve<S>(disk: &S, path: &Path, size_bytes: u64) -> io::Result<Filling>
where
    S: Steps<Made: Send> + Clone + Send + 'static,
{
    let mut made = Unnamed::new(disk, path);
    let file = disk.make(&made.temporary)?;
    let mut filled = 0;
    Ok(Box::new(move |bytes| {
        let until = bytes.min(size_bytes);
        while filled < until {
            let piece = ZEROS.len().min(usize::try_from(until - filled).unwrap_or(usize::MAX));
            made.disk.fill(&file, filled, ZEROS.get(..piece).unwrap_or(&ZEROS))?;
            let begun = filled / WRITE_OUT_BYTES * WRITE_OUT_BYTES;
            filled += piece as u64;
            // Bit by bit: a sync of all of it would hold up those of everybody else.
            if filled >= begun + WRITE_OUT_BYTES {
                made.disk.begin_write_out(&file, begun, WRITE_OUT_BYTES);
            }
        }
        if filled == size_bytes && !made.is_named {
            made.name(&file)?;
        }
        Ok(made.is_named)
    }))
}

/// See [`Vfs::retire`](super::Vfs::retire).
pub(super) fn retire<S: Steps>(disk: &S, path: &Path, spare: &Path) -> io::Result<()> {
    disk.rename(path, spare)?;
    disk.sync_parent(path)
}

/// See [`Vfs::replace`](super::Vfs::replace).
pub(super) fn replace<S: Steps + Clone>(disk: &S, path: &Path, bytes: &[u8]) -> io::Result<()> {
    make_and_name(disk, path, |file| disk.fill(file, 0, bytes)).map(drop)
}

/// See [`Vfs::remove`](super::Vfs::remove).
pub(super) fn remove<S: Steps>(disk: &S, path: &Path) -> io::Result<()> {
    disk.unlink(path)?;
    disk.sync_parent(path)
}

/// See [`Vfs::create_dir`](super::Vfs::create_dir): what is there already, how a directory is made, and how its name becomes durable.
pub(super) fn create_dir(
    dir: &Path,
    is_there: &dyn Fn(&Path) -> bool,
    make: &dyn Fn(&Path) -> io::Result<()>,
    sync_parent: &dyn Fn(&Path) -> io::Result<()>,
) -> io::Result<()> {
    let named = |path: &&Path| path.file_name().is_some();
    let paths: Vec<&Path> = dir.ancestors().filter(named).collect();
    for path in paths.into_iter().rev() {
        let was_there = is_there(path);
        if !was_there {
            match make(path) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                _ => {}
            }
        }
        match sync_parent(path) {
            // Where we may not even look nobody of ours made anything; some file systems sync no directories.
            Err(error)
                if was_there
                    && matches!(
                        error.kind(),
                        io::ErrorKind::PermissionDenied | io::ErrorKind::InvalidInput
                    ) => {}
            answer => answer?,
        }
    }
    Ok(())
}

/// A new file with what `fill` writes, under a temporary name until all of it is durable.
fn make_and_name<S: Steps + Clone>(
    disk: &S,
    path: &Path,
    fill: impl FnOnce(&S::Made) -> io::Result<()>,
) -> io::Result<S::Made> {
    let mut made = Unnamed::new(disk, path);
    let file = disk.make(&made.temporary)?;
    fill(&file)?;
    made.name(&file)?;
    Ok(file)
}

/// The temporary name of a file that is being made. Dropped before the file has its own, it takes the file with it; what cannot be
/// deleted either, recovery tries again.
struct Unnamed<S: Steps> {
    disk: S,
    path: PathBuf,
    temporary: PathBuf,
    is_named: bool,
}

impl<S: Steps + Clone> Unnamed<S> {
    fn new(disk: &S, path: &Path) -> Self {
        let (path, temporary) = (path.to_path_buf(), temporary(path));
        Self { disk: disk.clone(), path, temporary, is_named: false }
    }

    /// Gives `file` its own name, durable with what was written.
    fn name(&mut self, file: &S::Made) -> io::Result<()> {
        self.disk.sync_made(file)?;
        self.disk.rename(&self.temporary, &self.path)?;
        self.is_named = true;
        sync_parent_of_named(&self.disk, &self.path)
    }
}

impl<S: Steps> Drop for Unnamed<S> {
    fn drop(&mut self) {
        if !self.is_named {
            drop(self.disk.unlink(&self.temporary));
        }
    }
}

/// Syncs the parent of a file that has its name already: no error of this says that nothing is left behind.
fn sync_parent_of_named<S: Steps>(disk: &S, path: &Path) -> io::Result<()> {
    disk.sync_parent(path).map_err(|error| io::Error::other(format!("its directory: {error}")))
}

/// `seg-3` is made as `seg-3.tmp`: recovery deletes what a crash leaves under such a name.
fn temporary(path: &Path) -> PathBuf {
    let mut name = path.file_name().map_or_else(OsString::new, OsString::from);
    name.push(".tmp");
    path.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{cell::RefCell, collections::BTreeSet};

    /// A process had made the directory and was killed before it synced that. The next one found it there, made a channel in it, answered
    /// commits, and a power cut took all of it.
    #[test]
    fn a_directory_that_is_there_is_made_durable_all_the_same() {
        let there = RefCell::new(BTreeSet::from(["/var", "/var/lib"].map(PathBuf::from)));
        let synced = RefCell::new(Vec::new());
        create_dir(
            Path::new("/var/lib/agent/channel"),
            &|path| there.borrow().contains(path),
            &|path| {
                there.borrow_mut().insert(path.to_path_buf());
                Ok(())
            },
            &|path| {
                assert!(there.borrow().contains(path), "what is synced is there");
                synced.borrow_mut().push(path.to_string_lossy().into_owned());
                if path == Path::new("/var") {
                    return Err(io::ErrorKind::PermissionDenied.into());
                }
                Ok(())
            },
        )
        .unwrap();
        let all = ["/var", "/var/lib", "/var/lib/agent", "/var/lib/agent/channel"];
        assert_eq!(synced.into_inner(), all);
    }
}
