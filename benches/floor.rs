//! The raw floor: what the disk gives to one thread that appends the same bytes and syncs, with nothing around it.

use std::{
    fs::File,
    io::{self, Write},
    path::Path,
    time::{Duration, Instant},
};

/// Commits a second of one thread: append `bytes`, `fdatasync`, for `time`, to a new file in `dir`.
///
/// # Errors
/// Whatever the operating system says.
pub fn commits_per_second(dir: &Path, bytes: &[u8], time: Duration) -> io::Result<f64> {
    let path = dir.join("floor");
    let mut file = File::create(&path)?;
    let mut commits = 0u32;
    let started = Instant::now();
    while started.elapsed() < time {
        file.write_all(bytes)?;
        file.sync_data()?;
        commits += 1;
    }
    let rate = f64::from(commits) / started.elapsed().as_secs_f64();
    drop(file);
    std::fs::remove_file(&path)?;
    Ok(rate)
}
