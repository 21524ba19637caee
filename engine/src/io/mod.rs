//! What is durable, and the only way to files, time, chance and threads.
//!
//! Everything above sees the disk through [`Vfs`] and [`File`], directory syncs and listings included, so that a simulated disk sees
//! everything that a real one would. The traits speak in `std::io` errors; who calls knows what it was doing and says so.
//!
//! What a crash may do, method by method, is written at each. The assumptions about the medium are those of docs/FORMAT.md: a sync
//! that returns success has reached the medium; a 512-byte sector is written whole or not at all; bytes nobody writes do not change
//! without a checksum noticing.

mod delegate;
mod durable;
#[cfg(feature = "sim")]
pub mod sim;
mod std;
mod sys;

#[doc(hidden)]
pub use self::delegate::delegate_vfs;
pub use self::std::StdVfs;

use ::std::{
    any::Any,
    io::{self, IoSlice},
    path::Path,
    sync::Arc,
    thread::JoinHandle,
    time::Duration,
};

/// Whether a write is durable when it returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sync {
    /// In the page cache: survives the process, not a power cut.
    No,
    /// On the medium, with the size of the file.
    Data,
}

/// An open file. All calls block, and none returns before the kernel is done with the buffers.
#[expect(clippy::len_without_is_empty, reason = "nobody asks whether a file is empty")]
pub trait File: Send + ::std::marker::Sync {
    /// Its size in bytes.
    ///
    /// # Errors
    /// Whatever the operating system says.
    fn len(&self) -> io::Result<u64>;

    /// Reads up to `buf.len()` bytes at `offset`; fewer only at the end of the file.
    ///
    /// # Errors
    /// An I/O error: what lies there is unknown.
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize>;

    /// Writes all of `bufs` at `offset`, beyond the end too. After a crash each sector holds its old or its new bytes, in any
    /// combination, unless `sync` or a later [`sync`](Self::sync) succeeded.
    ///
    /// # Errors
    /// `StorageFull` or `QuotaExceeded`: there was no room for all of it. Some of it may be there; what was written before is as it was.
    /// Only the write answers so, never its sync. After any other error, a failed sync included, the bytes may be durable or not: the
    /// file is suspect for good.
    fn write_at(&self, offset: u64, bufs: &[IoSlice<'_>], sync: Sync) -> io::Result<()>;

    /// Makes all that was written before this call durable.
    ///
    /// # Errors
    /// As [`write_at`](Self::write_at). A second try proves nothing: the kernel reports a lost page once.
    fn sync(&self) -> io::Result<()>;
}

/// The write found room: its sync must not look like a write that found none, behind which a log may go on.
fn not_for_want_of_room(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            io::Error::other(format!("its sync: {error}"))
        }
        _ => error,
    }
}

/// What happened to a request for a directory lock.
pub enum LockAttempt {
    /// Ours until the value is dropped.
    Taken(Box<dyn Any + Send + ::std::marker::Sync>),
    /// Somebody else's; the pid as far as the lock file tells.
    Held {
        /// The holder.
        pid: Option<u32>,
    },
}

/// Who holds the lock of a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holder {
    /// Nobody: no process has the log open.
    Nobody,
    /// A process; its pid as far as the lock file tells.
    Process {
        /// The holder.
        pid: Option<u32>,
    },
    /// This world does not say.
    Unknown,
}

/// What a directory lies on, as far as it matters to a durable log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Medium {
    /// A local disk, as far as can be told.
    Disk,
    /// A network file system: locks and syncs may mean less than they say.
    Network(&'static str),
    /// Memory: nothing survives a restart of the machine.
    Memory(&'static str),
}

/// A file of zeros that is being made, by [`Vfs::reserve`]: writes them up to so many bytes, and answers whether the file is complete, and
/// durable with its name. Dropped before, it leaves nothing behind.
///
/// # Errors
/// After an error it is to be dropped. `StorageFull` leaves nothing behind.
pub type Filling = Box<dyn FnMut(u64) -> io::Result<bool> + Send>;

/// A file system, a clock, a source of chance and of threads.
pub trait Vfs: Send + ::std::marker::Sync {
    /// Makes `dir` and its missing parents, durably. So it does with those that are there: a killed predecessor may have made them, and not
    /// synced that.
    ///
    /// # Errors
    /// Whatever the operating system says.
    fn create_dir(&self, dir: &Path) -> io::Result<()>;

    /// Locks `dir` against other processes through a lock file in it. The lock goes with the process.
    ///
    /// # Errors
    /// If the lock file cannot be made; a lock held by somebody else is not an error.
    fn lock(&self, dir: &Path) -> io::Result<LockAttempt>;

    /// Who holds the lock of `dir`. Takes no lock and makes no file, so that asking never disturbs an agent that is starting.
    ///
    /// # Errors
    /// If the lock file is there and cannot be asked.
    fn holder(&self, _dir: &Path) -> io::Result<Holder> {
        Ok(Holder::Unknown)
    }

    /// Makes the entries of `dir` durable as they are now. Only recovery calls this: what a killed predecessor renamed without a sync
    /// shows in a listing and may vanish at the next power cut (rule N1).
    ///
    /// # Errors
    /// Whatever the operating system says.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;

    /// The names of the entries of `dir`, in no order.
    ///
    /// # Errors
    /// `NotFound` if there is no such directory.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;

    /// Makes the file `path` whose first bytes are `head`, durable with its name on return. After a crash the name leads to all of
    /// `head`, or to what it led to before. `donor` is a spare whose blocks are used; its old bytes follow `head`.
    ///
    /// # Errors
    /// `StorageFull` leaves nothing behind. After another error `path` may exist or not.
    fn create(&self, path: &Path, head: &[u8], donor: Option<&Path>) -> io::Result<Arc<dyn File>>;

    /// Begins to make `path` a file of `size_bytes` zeros: a donor whose blocks are written.
    ///
    /// # Errors
    /// As those of [`Filling`].
    fn reserve(&self, path: &Path, size_bytes: u64) -> io::Result<Filling>;

    /// Renames `path` to `spare`, durable on return.
    ///
    /// # Errors
    /// Whatever the operating system says.
    fn retire(&self, path: &Path, spare: &Path) -> io::Result<()>;

    /// Opens `path` to read.
    ///
    /// # Errors
    /// `NotFound` if there is no such file.
    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>>;

    /// Makes `bytes` the content of `path`, durable on return. After a crash it holds all of the old bytes or all of the new ones.
    ///
    /// # Errors
    /// The old content stays, unless the last step, the sync of the directory, failed: then it may be either.
    fn replace(&self, path: &Path, bytes: &[u8]) -> io::Result<()>;

    /// Removes the file, or the empty directory, `path`; durable on return.
    ///
    /// # Errors
    /// Whatever the operating system says.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Bytes that this user may still write below `dir`.
    ///
    /// # Errors
    /// Whatever the operating system says.
    fn free_bytes(&self, dir: &Path) -> io::Result<u64>;

    /// What `dir` lies on.
    ///
    /// # Errors
    /// Whatever the operating system says.
    fn medium(&self, dir: &Path) -> io::Result<Medium>;

    /// Milliseconds since 1970: for people. It may jump.
    fn wall_ms(&self) -> u64;

    /// Time since some start: for intervals. It never goes back.
    fn monotonic(&self) -> Duration;

    /// A number that nobody can guess and that no other call has given.
    fn random(&self) -> u64;

    /// Runs `body` on a thread. `None`: this world has no threads, and who opened the log leads its groups and ticks its clock by hand
    /// ([`Channel::lead_once`](crate::Channel::lead_once), [`Channel::tick`](crate::Channel::tick)).
    ///
    /// # Errors
    /// If no thread can be had.
    fn spawn(
        &self,
        name: &str,
        body: Box<dyn FnOnce() + Send>,
    ) -> io::Result<Option<JoinHandle<()>>>;
}

/// All of a small file.
///
/// # Errors
/// As [`Vfs::open`] and [`File::read_at`]; `InvalidData` if the file is larger than `bytes_max`.
pub(crate) fn read_all(vfs: &dyn Vfs, path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
    let file = vfs.open(path)?;
    let len = file.len()?;
    if len > bytes_max {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("{len} bytes, more than the {bytes_max} allowed"),
        ));
    }
    let mut bytes = vec![0; usize::try_from(len).unwrap_or(usize::MAX)];
    let read = read_exact_or_end(&*file, 0, &mut bytes)?;
    bytes.truncate(read);
    Ok(bytes)
}

/// Fills `buf` from `offset`, as far as the file goes.
///
/// # Errors
/// As [`File::read_at`].
pub(crate) fn read_exact_or_end(file: &dyn File, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = buf.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read_at(offset + filled as u64, rest)? {
            0 => break,
            read => filled += read,
        }
    }
    Ok(filled)
}
