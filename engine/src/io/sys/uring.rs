//! A write and the sync behind it in one call to the kernel.

use crate::io::not_for_want_of_room;
use io_uring::{IoUring, Probe, opcode, squeue, types};
use std::{
    io::{self, IoSlice},
    os::fd::AsRawFd,
};

/// The file of a ring, registered with it.
const FILE: types::Fixed = types::Fixed(0);
const WRITE: u64 = 1;
const SYNC: u64 = 2;
/// A `writev` takes no more buffers.
const BUFFERS_MAX: usize = 1024;

/// A ring with one registered file.
pub(in crate::io) struct Ring {
    ring: IoUring,
    /// The kernel has refused something: what lies in the queue must never get to it.
    refused: bool,
}

impl Ring {
    /// A ring for `file`.
    ///
    /// # Errors
    /// If the kernel has none, or forbids it, as containers often do.
    pub(in crate::io) fn for_file(file: &impl AsRawFd) -> io::Result<Self> {
        let ring = IoUring::new(2)?;
        // Kernels that cannot be asked are older than chains that hold.
        let mut probe = Probe::new();
        ring.submitter().register_probe(&mut probe)?;
        if ![opcode::Writev::CODE, opcode::Fsync::CODE].iter().all(|code| probe.is_supported(*code))
        {
            return Err(io::ErrorKind::Unsupported.into());
        }
        ring.submitter().register_files(&[file.as_raw_fd()])?;
        Ok(Self { ring, refused: false })
    }

    /// Writes `bufs` at `offset`, then syncs the data of the file, in one call. Returns when the kernel is done with the buffers. False if
    /// it has not come to that, though nothing failed: then it is to be done by other calls, from the start.
    ///
    /// # Errors
    /// As [`File::write_at`](crate::io::File::write_at).
    pub(in crate::io) fn write_and_sync(
        &mut self,
        offset: u64,
        bufs: &[IoSlice<'_>],
    ) -> io::Result<bool> {
        let bytes: usize = bufs.iter().map(|buf| buf.len()).sum();
        let (Ok(count), Ok(bytes)) = (u32::try_from(bufs.len()), i32::try_from(bytes)) else {
            return Ok(false);
        };
        if self.refused || bufs.len() > BUFFERS_MAX {
            return Ok(false);
        }
        let write = opcode::Writev::new(FILE, bufs.as_ptr().cast(), count)
            .offset(offset)
            .build()
            .flags(squeue::Flags::IO_LINK)
            .user_data(WRITE);
        let sync = opcode::Fsync::new(FILE).flags(types::FsyncFlags::DATASYNC).build();
        let Some(results) = self.run([write, sync.user_data(SYNC)]) else {
            return Ok(false);
        };
        results.verdict(bytes)
    }

    /// Has the kernel do both, one after the other, and waits for both. None if it took neither.
    fn run(&mut self, both: [squeue::Entry; 2]) -> Option<Results> {
        // SAFETY: what the write reads, an array of `iovec` by the promise of `IoSlice` and what it points to, is borrowed by the caller
        // until this function returns. That is not before both are back, if the kernel took one of them; if it took none it never will,
        // since a ring that has refused is not entered again.
        // (A queue that has no room for both takes neither.)
        unsafe { self.ring.submission().push_multiple(&both) }.ok()?;
        let chained = loop {
            match self.ring.submit_and_wait(both.len()) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(taken) if taken > 0 => break taken == both.len(),
                _ => {
                    self.refused = true;
                    return None;
                }
            }
        };
        let (mut write, mut sync) = (None, None);
        loop {
            for completion in self.ring.completion() {
                let result = match completion.result() {
                    error if error < 0 => Err(io::Error::from_raw_os_error(-error)),
                    result => Ok(result),
                };
                match completion.user_data() {
                    WRITE => write = Some(result),
                    _ => sync = Some(result),
                }
            }
            match (write, sync) {
                (Some(write), Some(sync)) => return Some(Results { write, sync, chained }),
                missing => (write, sync) = missing,
            }
            if self.ring.submit_and_wait(1).is_err() {
                // A signal, or no memory for the moment.
                std::thread::yield_now();
            }
        }
    }
}

struct Results {
    /// The bytes written.
    write: io::Result<i32>,
    sync: io::Result<i32>,
    /// The sync began after the write.
    chained: bool,
}

impl Results {
    /// True if all `bytes` are durable, false if it is to be done again by other calls.
    ///
    /// # Errors
    /// That of the sync before that of the write: a sync that failed is never told twice, and must not be taken for want of room.
    fn verdict(self, bytes: i32) -> io::Result<bool> {
        let synced = match self.sync {
            Ok(_) => true,
            // A write that is not whole breaks the chain; a signal came before it began.
            Err(error) if error.raw_os_error() == Some(libc::ECANCELED) => false,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => false,
            Err(error) => return Err(not_for_want_of_room(error)),
        };
        match self.write {
            Ok(written) => Ok(synced && self.chained && written == bytes),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(false),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(
        write: Result<i32, i32>,
        sync: Result<i32, i32>,
        chained: bool,
    ) -> Result<bool, io::ErrorKind> {
        let of = |result: Result<i32, i32>| result.map_err(io::Error::from_raw_os_error);
        let results = Results { write: of(write), sync: of(sync), chained };
        results.verdict(100).map_err(|error| error.kind())
    }

    #[test]
    fn only_a_whole_write_with_a_sync_behind_it_is_durable() {
        use io::ErrorKind::{Other, StorageFull};
        assert_eq!(verdict(Ok(100), Ok(0), true), Ok(true));
        assert_eq!(verdict(Ok(100), Ok(0), false), Ok(false), "the sync may have come first");
        assert_eq!(verdict(Ok(60), Err(libc::ECANCELED), true), Ok(false));
        assert_eq!(verdict(Ok(60), Ok(0), true), Ok(false));
        assert_eq!(verdict(Err(libc::EINTR), Err(libc::ECANCELED), true), Ok(false));
        assert_eq!(verdict(Ok(100), Err(libc::EINTR), true), Ok(false));
        assert_eq!(verdict(Err(libc::ENOSPC), Err(libc::ECANCELED), true), Err(StorageFull));
        assert_eq!(verdict(Ok(100), Err(libc::ENOSPC), true), Err(Other), "no want of room");
        // The one entry that the kernel took of two was told of a lost page: nobody else will be.
        let lost = verdict(Err(libc::ENOSPC), Err(libc::EIO), false);
        assert!(lost.is_err_and(|kind| kind != StorageFull));
    }
}
