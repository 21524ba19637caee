//! What a disk promises: how long an append, and an overwrite, take until they are durable.

use super::{Answer, at_thousandths, micros_since, noise};
use fchannel::{
    CommitCalls,
    io::{StdVfs, Sync, Vfs},
};
use std::{
    fs::File,
    io::IoSlice,
    os::unix::fs::FileExt,
    path::Path,
    time::{Duration, Instant},
};

/// A block.
const BLOCK_BYTES: usize = 4096;
/// Blocks of the file that is written over.
const BLOCKS: u64 = 4096;
/// A large write.
const LARGE_BYTES: usize = 1 << 20;

/// How long single commits took.
#[derive(Clone, Copy, Debug)]
pub struct Latency {
    /// Half stayed below, in microseconds.
    pub p50_us: u32,
    /// 99 of 100 stayed below.
    pub p99_us: u32,
    /// The slowest.
    pub max_us: u32,
    /// How many there were.
    pub count: usize,
}

/// What a directory's disk gives.
#[derive(Clone, Copy, Debug)]
pub struct Disk {
    /// A block appended to a file, and `fdatasync`.
    pub append: Latency,
    /// A block written over a written one, and `fdatasync`: no metadata.
    pub overwrite: Latency,
    /// The same by one call of `io_uring`, where the kernel gives one: what `commitCalls = ioUring` does.
    pub io_uring: Option<Latency>,
    /// Written and synced in large pieces: bytes a second.
    pub bytes_per_second: f64,
}

impl Latency {
    pub(super) fn of(mut all: Vec<u32>) -> Self {
        all.sort_unstable();
        Self {
            p50_us: at_thousandths(&all, 500),
            p99_us: at_thousandths(&all, 990),
            max_us: all.last().copied().unwrap_or_default(),
            count: all.len(),
        }
    }

    /// Commits a second at the median.
    #[must_use]
    pub fn commits_per_second(&self) -> f64 {
        1e6 / f64::from(self.p50_us.max(1))
    }
}

/// Measures the disk of `dir` for three times `time`, in files of its own, which are gone afterwards.
///
/// # Errors
/// Whatever the operating system says.
pub fn measure(dir: &Path, time: Duration) -> Answer<Disk> {
    let path = dir.join("fchannel-bench-disk");
    let disk = measure_in(&path, time);
    // What cannot be made need not be removed.
    let removed = std::fs::remove_file(&path);
    let disk = disk?;
    removed?;
    Ok(disk)
}

fn measure_in(path: &Path, time: Duration) -> Answer<Disk> {
    let block = noise(3, BLOCK_BYTES);
    let file = File::create(path)?;
    let mut at = 0;
    let append = timed(time, || {
        file.write_all_at(&block, at)?;
        at += block.len() as u64;
        Ok(file.sync_data()?)
    })?;
    let large = noise(5, LARGE_BYTES);
    let started = Instant::now();
    let (mut written, mut at) = (0u64, 0);
    while started.elapsed() < time {
        file.write_all_at(&large, at % (256 << 20))?;
        file.sync_data()?;
        at += large.len() as u64;
        written += large.len() as u64;
    }
    let bytes_per_second = super::real(written) / started.elapsed().as_secs_f64();
    file.set_len(0)?;
    let (overwrite, io_uring) = overwrites(path, &block, time)?;
    Ok(Disk {
        append: Latency::of(append),
        overwrite: Latency::of(overwrite),
        io_uring: io_uring.map(Latency::of),
        bytes_per_second,
    })
}

/// A block over written ones, by two calls and by one, in turns.
fn overwrites(path: &Path, block: &[u8], time: Duration) -> Answer<(Vec<u32>, Option<Vec<u32>>)> {
    const TURNS: u32 = 5;
    let zeros = vec![0; block.len() * usize::try_from(BLOCKS).unwrap_or_default()];
    let open = |calls| StdVfs::new(calls).create(path, &zeros, None);
    let mut ways = vec![(CommitCalls::WriteThenSync, Vec::new())];
    if StdVfs::probe_io_uring().is_ok() {
        ways.push((CommitCalls::IoUring, Vec::new()));
    }
    for _ in 0..TURNS {
        for (calls, latencies) in &mut ways {
            let file = open(*calls)?;
            let mut number = 0;
            latencies.extend(timed(time / TURNS, || {
                let at = number % BLOCKS * block.len() as u64;
                number += 1;
                Ok(file.write_at(at, &[IoSlice::new(block)], Sync::Data)?)
            })?);
        }
    }
    let mut latencies = ways.into_iter().map(|(_, latencies)| latencies);
    Ok((latencies.next().unwrap_or_default(), latencies.next()))
}

fn timed(time: Duration, mut commit: impl FnMut() -> Answer<()>) -> Answer<Vec<u32>> {
    let mut all = Vec::new();
    let started = Instant::now();
    while started.elapsed() < time {
        let begun = Instant::now();
        commit()?;
        all.push(micros_since(begun));
    }
    Ok(all)
}
