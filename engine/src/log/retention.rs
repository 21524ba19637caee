//! Segments that nobody needs any more go, oldest first; what they are made into, and whether there is room: the reserves.

use super::{
    Log, Ordering, Segment, TAKES_ROOM_BYTES, directory_holding, directory_of, len_of,
    remove_if_there, reserve_bytes, writer::segment_head,
};
use crate::{
    error::{Error, ErrorKind, Result},
    ids::SegmentId,
};

impl Log {
    /// Removes all segments below `keep`, oldest first, each durably before the next (rules S1, L5). The newest always stays.
    ///
    /// # Errors
    /// Poisons the log: a directory whose sync failed may show anything after a crash.
    pub(crate) fn retain_from(&self, keep: SegmentId) -> Result<u64> {
        let _one_at_a_time = self.retention.lock();
        let newest = self.segments.lock().newest().map(|segment| segment.header.id);
        self.record_the_rest(newest.map_or(keep, |newest| newest.min(keep)));
        let mut removed = 0;
        loop {
            let oldest = {
                let segments = self.segments.lock();
                let newest = segments.newest().map(|segment| segment.header.id);
                segments
                    .oldest()
                    .filter(|oldest| oldest.header.id < keep && Some(oldest.header.id) != newest)
                    .cloned()
            };
            let Some(oldest) = oldest else { return Ok(removed) };
            // Out of sight first: who still looks for it then knows why it does not find it.
            self.segments.lock().remove(oldest.header.id);
            self.remove(&oldest).map_err(|error| self.poison(&error))?;
            crate::trace::debug!(segment = oldest.header.id.get(), "retain");
            removed += 1;
        }
    }

    fn remove(&self, segment: &Segment) -> Result<()> {
        let vfs = &*self.dirs.vfs;
        let bytes = len_of(vfs, &segment.path);
        let mut spares = self.spares.lock();
        let spare = directory_holding(&self.dirs, segment)
            .and_then(|dir| Some((dir, spares.name_for(&self.dirs, dir, bytes)?)));
        let removed = match spare {
            Some((dir, name)) => {
                vfs.retire(&segment.path, &name).and_then(|()| {
                    spares.keep(dir, name, bytes);
                    // More than one where a crash came between these two.
                    let mut too_many = std::iter::from_fn(|| spares.give_up(dir));
                    too_many.try_for_each(|smaller| remove_if_there(vfs, &smaller))
                })
            }
            None => vfs.remove(&segment.path),
        };
        removed.map_err(|error| Error::io("cannot remove a spent segment", &segment.path, error))
    }

    /// Makes the reserves that an open, and takes, need on a full disk. A disk that is full already is no error.
    ///
    /// # Errors
    /// `Io`.
    pub(crate) fn make_reserves(&self) -> Result<()> {
        self.record_the_rest(self.oldest_segment().unwrap_or_default());
        for dir in 0..self.dirs.data.len() {
            while self.make_reserve(dir)? {}
        }
        Ok(())
    }

    /// Makes one in `dir`; false if it needs none, or there is no room.
    fn make_reserve(&self, dir: usize) -> Result<bool> {
        let path = {
            let mut spares = self.spares.lock();
            if spares.wants_reserve(dir) { spares.next_name(&self.dirs, dir) } else { None }
        };
        let Some(path) = path else { return self.give_up_small_spares(dir) };
        let bytes = reserve_bytes(&self.options);
        // On a disk that is nearly full the reserve would take the room of the takes that are to drain it. The floor of free space does
        // not count: below it the reserve is what is needed.
        let wanted = bytes.saturating_mul(2);
        let home = self.dirs.data.get(dir).unwrap_or(&self.dirs.home);
        if self.dirs.vfs.free_bytes(home).is_ok_and(|free| free < wanted) {
            return Ok(false);
        }
        let made = self.dirs.vfs.reserve(&path, bytes).and_then(|mut fill| fill(bytes));
        match made.map_err(|error| Error::io("cannot make the reserve", &path, error)) {
            Ok(made) => {
                self.spares.lock().keep(dir, path, bytes);
                Ok(made)
            }
            Err(error) if error.kind() == &ErrorKind::DiskFull => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The reserves of `dir` are there: what is beyond them and too small to be one is not needed any more.
    pub(super) fn give_up_small_spares(&self, dir: usize) -> Result<bool> {
        loop {
            let spare = self.spares.lock().give_up(dir);
            let Some(path) = spare else { return Ok(false) };
            remove_if_there(&*self.dirs.vfs, &path)
                .map_err(|error| Error::io("cannot remove a spare too many", &path, error))?;
        }
    }

    /// Whether the active segment was made over a reserve, and its directory has no other.
    pub(crate) fn is_on_reserve(&self) -> bool {
        self.on_reserve.load(Ordering::Acquire)
    }

    /// Notes what the active segment was made of.
    pub(super) fn set_on_reserve(&self, on_reserve: bool) {
        self.on_reserve.store(on_reserve, Ordering::Release);
        if on_reserve {
            self.apply.short_of_space();
        }
    }

    /// Whether the log waits for room, or goes on in a reserve until there is some.
    pub(crate) fn is_short_of_space(&self) -> bool {
        self.is_on_reserve() || self.takes_wait.load(Ordering::Acquire)
    }

    pub(super) fn set_takes_wait(&self, wait: bool) {
        self.takes_wait.store(wait, Ordering::Release);
    }

    /// Says in time that a take cannot be committed now: its events would be delivered for nothing.
    ///
    /// # Errors
    /// `DiskFull` as long as the reserve is used up, and nothing gives room.
    pub(crate) fn check_room_for_takes(&self) -> Result<()> {
        if !self.takes_wait.load(Ordering::Acquire) {
            return Ok(());
        }
        let here = { self.writer.lock().header };
        let dir = directory_of(&self.dirs, here.id.next());
        let home = self.dirs.data.get(dir).unwrap_or(&self.dirs.home);
        let free = self.dirs.vfs.free_bytes(home).unwrap_or(u64::MAX);
        // The head of the next segment, with an image as long as it is now, comes first.
        let head = segment_head(&here, self.apply.image(), 0).len() as u64;
        if free >= TAKES_ROOM_BYTES.saturating_add(head)
            || self.spares.lock().has_one_for_takes(dir)
        {
            return Ok(());
        }
        let what =
            "the disk is full, and the reserve for takes is used up: they wait until there is room";
        Err(Error::new(ErrorKind::DiskFull, what).in_file(home))
    }
}
