//! Checkpoint files: two generations, the newest valid one wins. They save time; losing all of them loses nothing.

use super::state::State;
use crate::{
    error::{Error, ErrorKind, Result},
    format::{LogImage, checkpoint_from_bytes, checkpoint_to_bytes},
    ids::SegmentId,
    io::{Vfs, read_all},
    log::{Candidate, Log, names},
};
use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
};

/// An image is bounded by the marks, 1 MiB, and by what is leased out of order: 32 bytes an event at the worst.
const CHECKPOINT_BYTES_MAX: u64 = 1 << 30;

/// The checkpoints of a log.
pub(crate) struct Checkpoints {
    home: PathBuf,
    generation: u64,
    /// The valid ones, newest first, at most two of interest.
    kept: Vec<Kept>,
    /// Files to remove with the next publication: invalid, or older than two valid ones.
    spent: Vec<PathBuf>,
}

struct Kept {
    path: PathBuf,
    image: LogImage,
}

/// Generation, path and content of each checkpoint file, newest first; what is wrong with one is in its candidate.
pub(crate) fn read_checkpoints(
    vfs: &dyn Vfs,
    files: BTreeMap<u64, PathBuf>,
) -> Vec<(u64, Candidate)> {
    let read = |(generation, path): (u64, PathBuf)| {
        let bytes = match read_all(vfs, &path, CHECKPOINT_BYTES_MAX) {
            // Replaced by a newer one under a reader without the lock.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            // One that cannot be read is as good as damaged: an older one, or an image in the log, serves (@I).
            Err(error) => Err(Error::corrupt(format!("the checkpoint cannot be read: {error}"))),
            Ok(bytes) => Ok(bytes),
        };
        let image =
            bytes.and_then(|bytes| checkpoint_from_bytes(&bytes)).and_then(|(inside, image)| {
                if inside == generation {
                    Ok(image)
                } else {
                    Err(Error::corrupt(format!("the checkpoint says it is number {inside}")))
                }
            });
        let image = image.map_err(|error| error.in_file(&path));
        Some((generation, (path, image)))
    };
    files.into_iter().rev().filter_map(read).collect()
}

impl Checkpoints {
    /// What `candidates`, newest first, say of the past.
    pub(crate) fn new(home: &Path, candidates: &[(u64, Candidate)]) -> Self {
        let mut checkpoints =
            Self { home: home.to_path_buf(), generation: 0, kept: Vec::new(), spent: Vec::new() };
        for (generation, (path, image)) in candidates {
            checkpoints.generation = checkpoints.generation.max(*generation);
            match image {
                Ok(image) => {
                    checkpoints.kept.push(Kept { path: path.clone(), image: image.clone() })
                }
                Err(_) => checkpoints.spent.push(path.clone()),
            }
        }
        checkpoints.spend_old();
        checkpoints
    }

    fn spend_old(&mut self) {
        self.spent.extend(self.kept.drain(self.kept.len().min(2)..).map(|kept| kept.path));
    }

    /// The LSN of the newest one.
    pub(crate) fn newest_lsn(&self) -> Option<crate::ids::Lsn> {
        self.kept.first().map(|newest| newest.image.lsn)
    }

    /// Writes `image`, all of which is durable (rule K1), as the newest checkpoint; removes those before the last two; gives back the
    /// segments that nothing needs any more.
    ///
    /// # Errors
    /// `DiskFull` or `Io` while writing it: the ones before stay. An error in giving back segments poisons the log.
    pub(crate) fn publish(&mut self, log: &Log, image: LogImage) -> Result<()> {
        let vfs = &*log.dirs().vfs;
        let generation = self.generation + 1;
        let path = self.home.join(names::checkpoint(generation));
        let bytes = checkpoint_to_bytes(generation, &image);
        let write = || {
            vfs.replace(&path, &bytes)
                .map_err(|error| Error::io("cannot write the checkpoint", &path, error))
        };
        match write() {
            Err(error) if error.kind() == &ErrorKind::DiskFull => {
                // Written over the older one, or over what a crash left of one: that needs no room, of which others would leave none. The
                // newest stays what it is.
                let Some(donor) = self.donor(vfs, bytes.len() as u64) else { return Err(error) };
                let made = vfs.create(&path, &bytes, Some(&donor));
                if let Err(error) = made {
                    self.spent.push(donor);
                    return Err(Error::io("cannot write the checkpoint", &path, error));
                }
            }
            answer => answer?,
        }
        crate::trace::debug!(
            generation = generation,
            lsn = image.lsn.get(),
            bytes = bytes.len(),
            "checkpoint"
        );
        self.generation = generation;
        self.kept.insert(0, Kept { path, image });
        self.spend_old();
        let removed = self.remove_spent(vfs);
        if let Some(keep) = self.first_segment_needed(log)? {
            log.retain_from(keep)?;
        }
        removed
    }

    /// A file to write so many bytes over: one that is spent, else the older of two. It is none of them any more.
    fn donor(&mut self, vfs: &dyn Vfs, bytes: u64) -> Option<PathBuf> {
        const BLOCK: u64 = 4096;
        let has_room = |path: &Path| {
            let len = vfs.open(path).and_then(|file| file.len());
            len.is_ok_and(|len| len.next_multiple_of(BLOCK) >= bytes)
        };
        if let Some(at) = self.spent.iter().position(|path| has_room(path)) {
            return Some(self.spent.swap_remove(at));
        }
        self.kept.get(1).filter(|older| has_room(&older.path))?;
        Some(self.kept.remove(1).path)
    }

    /// Removes what is spent: all that can be, whatever becomes of one.
    fn remove_spent(&mut self, vfs: &dyn Vfs) -> Result<()> {
        let mut failed = Ok(());
        for path in std::mem::take(&mut self.spent) {
            match vfs.remove(&path) {
                // One that is gone already is what we want. A directory with something in it is somebody's, whatever its name.
                Err(error)
                    if !matches!(
                        error.kind(),
                        io::ErrorKind::NotFound | io::ErrorKind::DirectoryNotEmpty
                    ) =>
                {
                    failed = Err(Error::io("cannot remove an old checkpoint", &path, error));
                    self.spent.push(path);
                }
                _ => {}
            }
        }
        failed
    }

    /// Rule S1: a segment is needed while it holds a frame newer than the *older* checkpoint, or an event that the *newest published*
    /// state owes. Judged by the present state, `Interval` would lose events: the take that freed them may not survive.
    fn first_segment_needed(&self, log: &Log) -> Result<Option<SegmentId>> {
        let (Some(newest), Some(older)) = (self.kept.first(), self.kept.get(1)) else {
            return Ok(None);
        };
        let state = State::from_image(&newest.image.owner)?;
        let frames = log
            .segment_of_lsn(older.image.lsn.next())
            .map(|segment| segment.min(older.image.next_frame.segment));
        let events = if state.owed() > 0 { log.segment_of_item(state.head()) } else { frames };
        Ok(frames.zip(events).map(|(frames, events)| frames.min(events)))
    }
}
