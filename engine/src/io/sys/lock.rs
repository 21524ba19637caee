//! Open-file-description locks: the kind of lock that a JVM sees.

use std::{
    io,
    os::fd::{AsRawFd, RawFd},
};

/// Locks the whole file against other open file descriptions; false if another holds it.
///
/// `flock` does not exclude Java's `FileChannel.tryLock`, which is a POSIX record lock; an OFD lock does, and unlike a POSIX lock it
/// does not vanish when another descriptor of the file is closed.
pub(in crate::io) fn try_lock_open_file_description(file: &impl AsRawFd) -> io::Result<bool> {
    match fcntl(file.as_raw_fd(), libc::F_OFD_SETLK) {
        Ok(_) => Ok(true),
        Err(error) if matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::EACCES)) => {
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

/// True if another open file description holds such a lock. Asks, and takes none.
pub(in crate::io) fn is_locked(file: &impl AsRawFd) -> io::Result<bool> {
    let in_the_way = fcntl(file.as_raw_fd(), libc::F_OFD_GETLK)?;
    Ok(libc::c_int::from(in_the_way.l_type) != libc::F_UNLCK)
}

/// One lock call about the whole file.
fn fcntl(fd: RawFd, command: libc::c_int) -> io::Result<libc::flock> {
    // SAFETY: `flock` is a plain structure of integers; zero is a valid value for each of them.
    let mut range: libc::flock = unsafe { std::mem::zeroed() };
    range.l_type = libc::c_short::try_from(libc::F_WRLCK).unwrap_or_default();
    range.l_whence = libc::c_short::try_from(libc::SEEK_SET).unwrap_or_default();
    // SAFETY: the callers borrow an open file for the call; `range` outlives it, and the kernel writes no more than a `flock` to it.
    let answer = unsafe { libc::fcntl(fd, command, &raw mut range) };
    if answer == 0 { Ok(range) } else { Err(io::Error::last_os_error()) }
}
