//! Opening a queue: newest image, the frames behind it, a cross-check, a checkpoint.

use super::{
    checkpoint::{Checkpoints, read_checkpoints},
    leases::Queue,
};
use crate::{
    error::Result,
    io::Vfs,
    log::{Apply, Directories, Listing, Log, Quarantine, RecoveryReport},
    options::{LogOptions, OnDamage, Options, Purpose},
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
    purpose: Purpose,
) -> Result<(Arc<Log>, Checkpoints, RecoveryReport)> {
    let dirs = Directories::claim(vfs, home, &options.data_dirs, options.on_damage, purpose)?;
    let mut warnings = Vec::new();
    let mut warn = |warning| warnings.push(warning);
    let mut quarantine = Quarantine::read(&*dirs.vfs, &dirs.home, &mut warn)?;
    if purpose == Purpose::Use {
        quarantine.remove_temporary(&*dirs.vfs, &mut warn);
    }
    let go_on = options.on_damage == OnDamage::Quarantine;
    let mut listing =
        Listing::read(&dirs, &|damage| go_on || quarantine.covering(damage).is_some())?;
    let candidates = read_checkpoints(&*dirs.vfs, std::mem::take(&mut listing.checkpoints));
    let mut checkpoints = Checkpoints::new(home, &candidates);
    let candidates = candidates.into_iter().map(|(_, candidate)| candidate).collect();
    let (log, mut report) = crate::log::open(
        dirs,
        listing,
        quarantine,
        LogOptions { purpose, ..options.log_options() },
        candidates,
        owner,
        &mut |frame| queue.apply(frame).map(drop),
    )?;
    report.warnings.extend(warnings);
    if purpose == Purpose::Repair {
        return Ok((log, checkpoints, report));
    }
    // A restart must not depend on the next checkpoint: short lives would pile up segments (rule S3). But a disk that takes no checkpoint
    // is no reason not to open, as long as the log is well.
    if let Err(error) = log.durable_image().and_then(|image| checkpoints.publish(&log, image)) {
        if log.poisoned().is_some() {
            return Err(error);
        }
        report.warnings.push(format!("the first checkpoint could not be made: {error}"));
    }
    Ok((log, checkpoints, report))
}
