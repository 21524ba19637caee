//! What new segments are made of: spares, which have blocks already, and new files, which need room.
//!
//! Two spares of each directory are its *reserves*: on a full disk takes go on in one, and an open uses the other. A spare is never
//! removed before a better one is there: on a full disk there is nothing to make it of, and what is given back is somebody else's.

use super::{
    dirs::Directories,
    names,
    segments::{Segment, directory_of},
};
use crate::{
    error::{Error, ErrorKind, Result},
    format::SegmentHeader,
    io::{File, Vfs},
    options::LogOptions,
};
use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

/// How many spares a directory holds back for a full disk: one to go on in, and one for an open, which needs a segment too.
const RESERVES: usize = 2;
/// How many spares a directory keeps besides to write the next segments over. Where takers keep up, a spent segment comes when the next
/// one is half full: with one in hand by then, none need be written ahead.
pub(crate) const NEXT_SEGMENTS: usize = 2;
/// The size of a reserve: room for the head that an open needs, and for the takes that drain a full disk.
const RESERVE_BYTES: u64 = 16 << 20;

/// The size of a reserve of a log with these options.
pub(crate) fn reserve_bytes(options: &LogOptions) -> u64 {
    RESERVE_BYTES.min(options.segment_bytes_max)
}

/// The spares of each directory.
pub(crate) struct Spares {
    /// Smallest first.
    by_dir: Vec<Vec<Spare>>,
    next_number: u64,
    /// So large a spare counts as a reserve: a spent segment is seldom as long as it might have been. A smaller one, left by a short life
    /// or by other options, is better than none.
    reserve_bytes_min: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Spare {
    bytes: u64,
    path: PathBuf,
}

/// What a segment may be made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Blocks {
    /// A spare beyond the reserves, else a new file.
    Free,
    /// The same; on a full disk the reserve of those who drain it.
    OrReserve,
    /// The disk is full, and a new file would have no room: a spare, all but the last.
    Reserve,
    /// As [`Free`](Self::Free); on a full disk any spare: for an open.
    OrLast,
}

impl Spares {
    /// Those that a listing shows. Their sizes are looked up: of one that does not tell, nothing is expected.
    pub(crate) fn new(
        vfs: &dyn Vfs,
        listed: Vec<Vec<PathBuf>>,
        highest_number: u64,
        options: &LogOptions,
    ) -> Self {
        let mut spares = Self {
            by_dir: vec![Vec::new(); listed.len()],
            next_number: highest_number + 1,
            reserve_bytes_min: reserve_bytes(options) / 2,
        };
        for (paths, dir) in listed.into_iter().zip(0..) {
            for path in paths {
                let bytes = len_of(vfs, &path);
                spares.keep(dir, path, bytes);
            }
        }
        spares
    }

    /// True if `dir` has less than its reserves.
    pub(crate) fn wants_reserve(&self, dir: usize) -> bool {
        let is_large = |spare: &&Spare| spare.bytes >= self.reserve_bytes_min;
        self.by_dir.get(dir).is_some_and(|spares| spares.iter().filter(is_large).count() < RESERVES)
    }

    /// The next name for a spare in `dir`; to be given to [`keep`](Self::keep) once the file is there.
    pub(crate) fn next_name(&mut self, dirs: &Directories, dir: usize) -> Option<PathBuf> {
        let name = names::spare(self.next_number);
        self.next_number += 1;
        Some(dirs.data.get(dir)?.join(name))
    }

    pub(crate) fn keep(&mut self, dir: usize, path: PathBuf, bytes: u64) {
        if let Some(spares) = self.by_dir.get_mut(dir) {
            let at = spares.partition_point(|spare| spare.bytes < bytes);
            spares.insert(at, Spare { bytes, path });
        }
    }

    /// A spare of `dir` that is one too many: to be removed.
    pub(crate) fn give_up(&mut self, dir: usize) -> Option<PathBuf> {
        let spares = self.by_dir.get_mut(dir)?;
        let at = too_many(spares.iter().map(|spare| spare.bytes), self.reserve_bytes_min)?;
        Some(spares.remove(at).path)
    }

    /// The name under which a spent segment of `dir` is to be kept as a spare; `None` if it would be the one too many.
    pub(crate) fn name_for(
        &mut self,
        dirs: &Directories,
        dir: usize,
        bytes: u64,
    ) -> Option<PathBuf> {
        if self.is_kept(dir, bytes) { self.next_name(dirs, dir) } else { None }
    }

    /// Whether a spare of so many bytes would stay.
    fn is_kept(&self, dir: usize, bytes: u64) -> bool {
        let spares = self.by_dir.get(dir).into_iter().flatten();
        let mut sizes: Vec<u64> = spares.map(|spare| spare.bytes).chain([bytes]).collect();
        sizes.sort_unstable();
        let goes = too_many(sizes.iter().copied(), self.reserve_bytes_min);
        goes.and_then(|goes| sizes.get(goes)) != Some(&bytes)
    }

    /// The spares of `dir` that a segment of such blocks may be made of, if a new file is not to be: the largest first.
    fn on_full_disk(&self, dir: usize, blocks: Blocks) -> Vec<Spare> {
        let kept = match blocks {
            Blocks::Free => return Vec::new(),
            Blocks::Reserve | Blocks::OrReserve => 1,
            Blocks::OrLast => 0,
        };
        let spares = self.by_dir.get(dir).filter(|spares| spares.len() > kept);
        spares.into_iter().flatten().rev().cloned().collect()
    }

    /// True if takes may go on in a reserve of `dir`: in all but the last, which is for an open.
    pub(crate) fn has_one_for_takes(&self, dir: usize) -> bool {
        !self.on_full_disk(dir, Blocks::Reserve).is_empty()
    }

    /// The largest spare of `dir`, if there are the reserves besides: the more blocks a segment is made of, the longer it need not grow.
    /// Else the smallest, which is no reserve.
    fn beyond_reserves(&self, dir: usize) -> Option<Spare> {
        let spares = self.by_dir.get(dir).filter(|spares| spares.len() > RESERVES)?;
        let large = spares.iter().filter(|spare| spare.bytes >= self.reserve_bytes_min).count();
        if large > RESERVES { spares.last() } else { spares.first() }.cloned()
    }

    /// How many segments of `dir`, of `bytes` at most, can be made of old blocks for the most part, beside the reserves.
    pub(crate) fn next_segments(&self, dir: usize, bytes: u64) -> usize {
        let spares = self.by_dir.get(dir).into_iter().flatten();
        let large = spares.filter(|spare| spare.bytes >= self.reserve_bytes_min);
        large.skip(RESERVES).filter(|spare| spare.bytes >= bytes / 2).count()
    }

    fn forget(&mut self, dir: usize, used: &Spare) {
        if let Some(spares) = self.by_dir.get_mut(dir) {
            spares.retain(|spare| spare != used);
        }
    }
}

/// Which of the spares of such sizes, smallest first, is one too many: one that is no reserve, else the smallest beside the reserves.
fn too_many(sizes: impl ExactSizeIterator<Item = u64>, reserve_bytes_min: u64) -> Option<usize> {
    let count = sizes.len();
    let small = sizes.take_while(|bytes| *bytes < reserve_bytes_min).count();
    let goes = if small > 0 { 0 } else { RESERVES };
    (count > RESERVES + NEXT_SEGMENTS).then_some(goes)
}

/// The size of the file at `path`; none if it does not tell.
pub(crate) fn len_of(vfs: &dyn Vfs, path: &Path) -> u64 {
    vfs.open(path).and_then(|file| file.len()).unwrap_or_default()
}

/// Removes the spare at `path`; one that somebody has removed is what we want.
pub(crate) fn remove_if_there(vfs: &dyn Vfs, path: &Path) -> io::Result<()> {
    match vfs.remove(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        answer => answer,
    }
}

/// Makes the segment of `header` in its directory, of such blocks. True: they are a reserve's, since the disk is full.
///
/// # Errors
/// `DiskFull` leaves nothing behind, and all spares in their places: each that might serve was tried. `Io`: the segment may be there
/// or not.
pub(crate) fn create_segment(
    dirs: &Directories,
    spares: &mut Spares,
    header: &SegmentHeader,
    head: &[u8],
    blocks: Blocks,
) -> Result<(Segment, Arc<dyn File>, bool)> {
    let dir = directory_of(dirs, header.id);
    let path = dirs.data.get(dir).unwrap_or(&dirs.home).join(names::segment(header.id));
    let mut full = Error::new(ErrorKind::DiskFull, "the disk is full").in_file(&path);
    let free = match blocks {
        Blocks::Reserve => Vec::new(),
        Blocks::Free | Blocks::OrReserve | Blocks::OrLast => {
            spares.beyond_reserves(dir).into_iter().map(Some).chain([None]).collect()
        }
    };
    let last = spares.on_full_disk(dir, blocks).into_iter().map(|spare| (Some(spare), true));
    for (donor, is_reserve) in free.into_iter().map(|donor| (donor, false)).chain(last) {
        let from = donor.as_ref().map(|spare| spare.path.as_path());
        let made = dirs.vfs.create(&path, head, from);
        if let (Some(spare), Err(error)) = (&donor, &made)
            && error.kind() == io::ErrorKind::NotFound
        {
            // Somebody has removed it, and nothing was done.
            spares.forget(dir, spare);
            continue;
        }
        match made.map_err(|error| Error::io("cannot make the segment", &path, error)) {
            Err(error) if error.kind() == &ErrorKind::DiskFull => full = error,
            answer => {
                // Should this be an error, nobody knows which name it has.
                if let Some(spare) = &donor {
                    spares.forget(dir, spare);
                }
                let on_reserve = is_reserve && spares.wants_reserve(dir);
                return Ok((Segment { path, header: *header }, answer?, on_reserve));
            }
        }
    }
    Err(full)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spares(bytes: &[u64]) -> Spares {
        let mut spares = Spares { by_dir: vec![Vec::new()], next_number: 1, reserve_bytes_min: 8 };
        for (number, bytes) in bytes.iter().enumerate() {
            spares.keep(0, PathBuf::from(number.to_string()), *bytes);
        }
        spares
    }

    /// With the largest spare, whatever was left, one short spare made each rotation use up a reserve, and no segment was written ahead.
    #[test]
    fn a_short_spare_does_not_stand_in_for_a_reserve() {
        let next = |bytes: &[u64]| spares(bytes).beyond_reserves(0).map(|spare| spare.bytes);
        assert_eq!(next(&[16, 16]), None);
        assert_eq!(next(&[16, 16, 256]), Some(256));
        assert_eq!(next(&[1, 16, 16]), Some(1));
        assert_eq!(next(&[1, 256, 256]), Some(1));
        assert_eq!(next(&[1, 16, 16, 256]), Some(256));
        assert_eq!(spares(&[1, 16, 16]).next_segments(0, 256), 0, "one is to be written ahead");
        assert_eq!(spares(&[16, 16, 200]).next_segments(0, 256), 1);
        assert_eq!(spares(&[16, 16, 100, 200, 256]).next_segments(0, 256), 2);
    }

    /// A backlog that drained left spent segments in the places of the reserves, at sixteen times their size.
    #[test]
    fn what_is_kept_are_two_reserves_and_two_next_segments() {
        let kept = |bytes: &[u64]| {
            let mut spares = spares(bytes);
            while spares.give_up(0).is_some() {}
            spares.by_dir[0].iter().map(|spare| spare.bytes).collect::<Vec<_>>()
        };
        assert_eq!(kept(&[16, 16, 256, 256]), [16, 16, 256, 256]);
        assert_eq!(kept(&[16, 16, 256, 256, 256]), [16, 16, 256, 256]);
        assert_eq!(kept(&[1, 16, 16, 256, 256]), [16, 16, 256, 256]);
        assert_eq!(kept(&[1, 2, 16, 256, 256]), [2, 16, 256, 256]);
        assert_eq!(kept(&[16, 16, 16, 200, 256]), [16, 16, 200, 256]);
    }

    #[test]
    fn a_spent_segment_is_kept_unless_it_would_be_the_one_that_goes() {
        let is_kept = |bytes: &[u64], spent: u64| spares(bytes).is_kept(0, spent);
        assert!(is_kept(&[16, 16, 256], 256));
        assert!(is_kept(&[16, 16, 200, 256], 256));
        assert!(is_kept(&[1, 16, 16, 256], 9));
        assert!(!is_kept(&[16, 16, 256, 256], 256));
        assert!(!is_kept(&[16, 16, 256, 256], 100));
        assert!(!is_kept(&[16, 16, 256, 256], 4));
    }
}
