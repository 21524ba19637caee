//! Counters as a plain snapshot. No metrics framework: who embeds the engine has one.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

/// What a log has done since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogStats {
    /// Groups written, each with one sync under `EachCommit`.
    pub groups: u64,
    /// Frames in them: `frames / groups` is how well commits share a sync.
    pub frames: u64,
    /// Bytes in them.
    pub bytes: u64,
    /// Time spent in writing and syncing groups.
    pub write_time: Duration,
    /// The longest of these.
    pub write_time_max: Duration,
    /// Segments on disk.
    pub segments: u64,
}

#[derive(Default)]
pub(crate) struct Counters {
    groups: AtomicU64,
    frames: AtomicU64,
    bytes: AtomicU64,
    write_ns: AtomicU64,
    write_ns_max: AtomicU64,
}

impl Counters {
    pub(crate) fn wrote(&self, frames: u64, bytes: u64, took: Duration) {
        let took_ns = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.groups.fetch_add(1, Relaxed);
        self.frames.fetch_add(frames, Relaxed);
        self.bytes.fetch_add(bytes, Relaxed);
        self.write_ns.fetch_add(took_ns, Relaxed);
        self.write_ns_max.fetch_max(took_ns, Relaxed);
    }

    pub(crate) fn snapshot(&self, segments: u64) -> LogStats {
        LogStats {
            groups: self.groups.load(Relaxed),
            frames: self.frames.load(Relaxed),
            bytes: self.bytes.load(Relaxed),
            write_time: Duration::from_nanos(self.write_ns.load(Relaxed)),
            write_time_max: Duration::from_nanos(self.write_ns_max.load(Relaxed)),
            segments,
        }
    }
}
