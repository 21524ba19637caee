//! A world whose directories have the same bytes in each run.

use fchannel::io::{File, Filling, Holder, LockAttempt, Medium, StdVfs, Vfs, delegate_vfs};
use std::{
    io,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

/// Real files, and a clock and chance that repeat. It has no threads, so that nothing happens at its own time.
#[derive(Default)]
pub(crate) struct Repeating {
    files: StdVfs,
    calls: AtomicU64,
}

impl Repeating {
    fn next(&self) -> u64 {
        self.calls.fetch_add(1, Ordering::Relaxed) + 1
    }
}

impl Vfs for Repeating {
    delegate_vfs!(
        files: create_dir lock holder sync_dir list create reserve retire open replace remove free_bytes
            medium
    );

    fn wall_ms(&self) -> u64 {
        1_795_162_442_000 + self.next()
    }
    fn monotonic(&self) -> Duration {
        Duration::ZERO
    }
    fn random(&self) -> u64 {
        self.next().wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }
    fn spawn(
        &self,
        _name: &str,
        _body: Box<dyn FnOnce() + Send>,
    ) -> io::Result<Option<JoinHandle<()>>> {
        Ok(None)
    }
}
