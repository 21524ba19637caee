//! In which order a file is made, named and removed, so that it is durable or was never there: written once, for every disk.
//!
//! A disk does single [`Steps`], none of which promises anything about a crash. The order of them is the promise of [`Vfs`](super::Vfs):
//! the bytes are on the medium before they get their name (else the name leads to half of them), and the directory is synced before
//! anybody builds on the name (else a power cut takes it back). The simulated disk crashes between any two steps.

use std::{
    ffi::OsString,
    io,
    path::{Path, PathBuf},
};

static ZEROS: [u8; 1 << 16] = [0; 1 << 16];
/// A reserve goes to the disk in pieces of this size.
const RESERVE_PIECE_BYTES: u64 = 1 << 20;

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
pub(super) fn create<S: Steps>(
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
pub(super) fn reserve<S: Steps>(
    disk: &S,
    path: &Path,
    size_bytes: u64,
    pace: &mut dyn FnMut(u64) -> bool,
) -> io::Result<bool> {
    let mut go_on = true;
    let zeros = |file: &S::Made| {
        let mut filled = 0;
        while filled < size_bytes {
            let piece = ZEROS.len().min(usize::try_from(size_bytes - filled).unwrap_or(usize::MAX));
            disk.fill(file, filled, ZEROS.get(..piece).unwrap_or(&ZEROS))?;
            filled += piece as u64;
            // Bit by bit: a sync of all of it would hold up those of everybody else.
            if filled % RESERVE_PIECE_BYTES == 0 && filled < size_bytes {
                disk.begin_write_out(file, filled - RESERVE_PIECE_BYTES, RESERVE_PIECE_BYTES);
                go_on = pace(filled);
                if !go_on {
                    return Err(io::ErrorKind::Interrupted.into());
                }
            }
        }
        Ok(())
    };
    match make_and_name(disk, path, zeros) {
        Err(_) if !go_on => Ok(false),
        answer => answer.map(|_| true),
    }
}

/// See [`Vfs::retire`](super::Vfs::retire).
pub(super) fn retire<S: Steps>(disk: &S, path: &Path, spare: &Path) -> io::Result<()> {
    disk.rename(path, spare)?;
    disk.sync_parent(path)
}

/// See [`Vfs::replace`](super::Vfs::replace).
pub(super) fn replace<S: Steps>(disk: &S, path: &Path, bytes: &[u8]) -> io::Result<()> {
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
fn make_and_name<S: Steps>(
    disk: &S,
    path: &Path,
    fill: impl FnOnce(&S::Made) -> io::Result<()>,
) -> io::Result<S::Made> {
    let made = temporary(path);
    let fill_and_name = || -> io::Result<S::Made> {
        let file = disk.make(&made)?;
        fill(&file)?;
        disk.sync_made(&file)?;
        disk.rename(&made, path)?;
        Ok(file)
    };
    // What cannot be deleted either has a temporary name: recovery tries again.
    let file = fill_and_name().inspect_err(|_| drop(disk.unlink(&made)))?;
    sync_parent_of_named(disk, path)?;
    Ok(file)
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
