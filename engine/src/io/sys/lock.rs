//! Open-file-description locks: the kind of lock that a JVM sees.

use std::{io, os::fd::AsRawFd};

/// Locks the whole file against other open file descriptions; false if another holds it.
///
/// `flock` does not exclude Java's `FileChannel.tryLock`, which is a POSIX record lock; an OFD lock does, and unlike a POSIX lock it
/// does not vanish when another descriptor of the file is closed.
pub(in crate::io) fn try_lock_open_file_description(file: &impl AsRawFd) -> io::Result<bool> {
    // SAFETY: `flock` is a plain structure of integers; zero is a valid value for each of them.
    let mut range: libc::flock = unsafe { std::mem::zeroed() };
    range.l_type = libc::c_short::try_from(libc::F_WRLCK).unwrap_or_default();
    range.l_whence = libc::c_short::try_from(libc::SEEK_SET).unwrap_or_default();
    // SAFETY: the descriptor is open for as long as `file` is borrowed; the kernel only reads `range`, which outlives the call.
    let answer = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_SETLK, &raw const range) };
    if answer == 0 {
        return Ok(true);
    }
    let error = io::Error::last_os_error();
    match error.raw_os_error() {
        Some(libc::EAGAIN | libc::EACCES) => Ok(false),
        _ => Err(error),
    }
}
