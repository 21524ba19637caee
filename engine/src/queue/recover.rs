//! Opening a queue: newest image, the frames behind it, a cross-check, a checkpoint.

use super::{
    checkpoint::{Checkpoints, read_checkpoints},
    leases::Queue,
};
use crate::{
    error::{Error, Result},
    io::Vfs,
    log::{Apply, Directories, Listing, Log, RecoveryReport},
    options::Options,
};
use std::{path::Path, sync::Arc};

/// Opens the queue in `home`. `owner` stands between log and `queue` from then on.
///
/// # Errors
/// `Locked`, `NotAChannel`, `NewerFormat`, `Corrupt`, `DiskFull`, `Io`.
pub(crate) fn open(
    vfs: Arc<dyn Vfs>,
    home: &Path,
    options: &Options,
    owner: Arc<dyn Apply>,
    queue: &Queue,
) -> Result<(Arc<Log>, Checkpoints, RecoveryReport)> {
    let dirs = Directories::claim(vfs, home, &options.data_dirs)?;
    let mut listing = Listing::read(&dirs)?;
    let candidates = read_checkpoints(&*dirs.vfs, std::mem::take(&mut listing.checkpoints))?;
    let mut checkpoints = Checkpoints::new(home, &candidates);
    let candidates = candidates.into_iter().map(|(_, candidate)| candidate).collect();
    let (log, report) =
        crate::log::open(dirs, listing, options.log_options(), candidates, owner, &mut |frame| {
            queue.apply(frame).map(drop)
        })?;
    check_head(&log, queue)?;
    // A restart must not depend on the next checkpoint: short lives would pile up segments (rule S3). A full disk is no reason not
    // to open.
    match log.durable_image().and_then(|image| checkpoints.publish(&log, image)) {
        Err(error) if error.kind() != &crate::error::ErrorKind::DiskFull => Err(error),
        _ => Ok((log, checkpoints, report)),
    }
}

/// Rule S4: the oldest event owed lies in a segment that is there. Checked after the replay, because a later take may have freed one
/// that is gone.
fn check_head(log: &Log, queue: &Queue) -> Result<()> {
    let (owed, head) = queue.with_state(|state| (state.owed(), state.head()));
    if owed > 0 && log.segment_of_item(head).is_none() {
        return Err(Error::corrupt(format!("@J: event {head} is owed, and its segment is gone"))
            .in_file(&log.dirs().home));
    }
    Ok(())
}
