//! A world in which one's own locks are no obstacle: who holds the directories opens the channel in them, and lets nobody in between.

use crate::io::{File, Filling, Holder, LockAttempt, Medium, Vfs, delegate_vfs};
use std::{io, path::Path, sync::Arc, thread::JoinHandle, time::Duration};

/// Another world, whose locks are held already.
pub(super) struct Held(pub(super) Arc<dyn Vfs>);

impl Vfs for Held {
    delegate_vfs!(
        0: create_dir holder sync_dir list create reserve retire open replace remove free_bytes
            medium wall_ms monotonic random spawn
    );

    fn lock(&self, _dir: &Path) -> io::Result<LockAttempt> {
        Ok(LockAttempt::Taken(Box::new(())))
    }
}
