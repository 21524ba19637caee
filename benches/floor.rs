//! The raw floor: what the disk gives to one thread that appends the same bytes and syncs, with nothing around it.
//!
//! Like for like: the file is kept for the whole run and grows as a segment does, to 256 MiB, before a new one is begun. A fresh small
//! file is cheaper to append to than any log can be (its extents still fit into its inode), and no log begins anew every second.

use std::{
    fs::File,
    io::{self, Write},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// Where a segment ends by default.
const FILE_BYTES_MAX: u64 = 256 << 20;

/// A file that is appended to.
#[derive(Debug)]
pub struct Floor {
    path: PathBuf,
    file: File,
    len: u64,
}

impl Floor {
    /// A new file of this name in `dir`.
    ///
    /// # Errors
    /// Whatever the operating system says.
    pub fn new(dir: &Path, name: &str) -> io::Result<Self> {
        let path = dir.join(name);
        Ok(Self { file: File::create(&path)?, path, len: 0 })
    }

    /// Commits a second of one thread: append `bytes`, `fdatasync`, for `time`.
    ///
    /// # Errors
    /// Whatever the operating system says.
    pub fn commits_per_second(&mut self, bytes: &[u8], time: Duration) -> io::Result<f64> {
        let mut commits = 0u32;
        let started = Instant::now();
        while started.elapsed() < time {
            self.file.write_all(bytes)?;
            self.file.sync_data()?;
            self.len += bytes.len() as u64;
            commits += 1;
            if self.len >= FILE_BYTES_MAX {
                std::fs::remove_file(&self.path)?;
                (self.file, self.len) = (File::create(&self.path)?, 0);
            }
        }
        Ok(f64::from(commits) / started.elapsed().as_secs_f64())
    }
}
