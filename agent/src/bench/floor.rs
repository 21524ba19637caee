//! The raw floor: what the disk gives to one thread with nothing around it.
//!
//! Like for like: the file is kept for the whole run and grows as a segment does, to 256 MiB, before a new one is begun. A fresh small
//! file is cheaper to append to than any log can be (its extents still fit into its inode), and no log begins anew every second.

use super::micros_since;
use rustix::fs::{Advice, fadvise};
use std::{
    fs::File,
    io::{self, Write},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// Where a segment ends by default.
const FILE_BYTES_MAX: u64 = 256 << 20;
/// A large read.
const READ_BYTES: usize = 1 << 20;

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
        self.measure(bytes, time, &mut Vec::new())
    }

    /// The same; each commit's microseconds go to `latencies_us`.
    ///
    /// # Errors
    /// Whatever the operating system says.
    pub fn measure(
        &mut self,
        bytes: &[u8],
        time: Duration,
        latencies_us: &mut Vec<u32>,
    ) -> io::Result<f64> {
        let mut commits = 0u32;
        let started = Instant::now();
        while started.elapsed() < time {
            let begun = Instant::now();
            self.file.write_all(bytes)?;
            self.file.sync_data()?;
            latencies_us.push(micros_since(begun));
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

/// The files of `dir`, by their names: older segments first.
fn files(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(dir)?.map(|entry| Ok(entry?.path())).collect::<io::Result<_>>()?;
    files.sort();
    Ok(files)
}

/// `None` if the channel has removed it meanwhile.
fn open(path: &Path) -> io::Result<Option<File>> {
    match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        file => file.map(Some),
    }
}

/// Reads the files of a channel as they are, up to about so many bytes, in large pieces, by one thread: bytes a second.
///
/// # Errors
/// Whatever the operating system says.
pub fn read_per_second(dir: &Path, bytes_max: u64) -> io::Result<f64> {
    let mut buffer = vec![0; READ_BYTES];
    let mut bytes = 0u64;
    let started = Instant::now();
    for path in files(dir)? {
        let Some(file) = open(&path)? else { continue };
        let mut offset = 0;
        while bytes < bytes_max {
            match file.read_at(&mut buffer, offset)? as u64 {
                0 => break,
                read => (offset, bytes) = (offset + read, bytes + read),
            }
        }
    }
    Ok(super::real(bytes) / started.elapsed().as_secs_f64())
}

/// Has the operating system forget what it holds of these files in memory.
///
/// # Errors
/// Whatever the operating system says.
pub fn forget(dir: &Path) -> io::Result<()> {
    for path in files(dir)? {
        let Some(file) = open(&path)? else { continue };
        file.sync_data()?;
        fadvise(&file, 0, None, Advice::DontNeed)?;
    }
    Ok(())
}
