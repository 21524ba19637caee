//! Write-out without waiting: what a later sync then finds done.

use std::os::fd::AsRawFd;

/// Begins to write the dirty pages of this range to the disk, and does not wait for them. No promise of anything: an error shows at the
/// sync that is to follow.
pub(in crate::io) fn begin(file: &impl AsRawFd, offset: u64, bytes: u64) {
    let (Ok(offset), Ok(bytes)) = (libc::off64_t::try_from(offset), libc::off64_t::try_from(bytes))
    else {
        return;
    };
    // SAFETY: the caller borrows an open file for the call, which touches no memory of ours.
    unsafe { libc::sync_file_range(file.as_raw_fd(), offset, bytes, libc::SYNC_FILE_RANGE_WRITE) };
}
