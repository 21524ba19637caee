//! The active segment: groups are written to its end, and it is rotated when it is full.
//!
//! Positions, always: `durable_lsn < next_lsn`, and where every commit is synced they are neighbours whenever no group is in flight.

use super::{
    Frame, Log,
    group::{Committed, InFlight, Request},
    segments::directory_of,
    spares::{Blocks, create_segment},
};
use crate::{
    error::{Error, ErrorKind, Result},
    format::{FRAME_HEADER_LEN, FrameHeader, Kind, LogImage, SegmentHeader, crc32, padded_len},
    ids::{EventSeq, FramePtr, Lsn, SegmentId},
    io::{File, Sync},
    options::{Durability, LogOptions, TakeSync},
};
use bytes::Bytes;
use std::{
    io::{self, IoSlice},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

/// Under `Interval`: what is written and not synced stays below this, so that a power cut loses at most as much, and recovery holds at
/// most as much in memory.
const UNSYNCED_BYTES_MAX: u64 = 32 << 20;
/// A vouching frame shares no block of this size with what it vouches for.
const BLOCK_BYTES: u64 = 4096;
/// The last blocks of a disk are for what cannot be done without. Where less than this is free, an idle log writes no vouching frames, no
/// group has zeros behind it, and a log that has no reserves refuses puts.
pub(super) const SPARE_ROOM_BYTES: u64 = 1 << 20;
/// Groups up to this are followed by zeros, up to the next multiple of the fill for their size. Those that come after overwrite blocks
/// that are written already and leave the size of the file alone, so that their sync has no metadata to write: measured, 1.6 times as
/// many small commits a second, and at 50 KB 1.4 times, 1.5 with the larger fill. Larger ones gain nothing from it (docs/decisions/0004).
pub(super) const FILLED_GROUP_BYTES_MAX: u64 = 64 << 10;
/// The fill behind small groups.
const FILL_BYTES: u64 = 256 << 10;
/// The fill behind groups so large that they soon use up the small one.
const LARGE_FILL_BYTES: u64 = 512 << 10;
const LARGE_FILL_FROM_BYTES: u64 = 16 << 10;
static ZEROS: [u8; 256 << 10] = [0; 256 << 10];
/// The largest fill, in pieces of [`ZEROS`].
const FILL_PIECES_MAX: usize = 2;
const _: () = assert!(LARGE_FILL_BYTES <= (FILL_PIECES_MAX * ZEROS.len()) as u64);
/// How long a look at the free space of a disk serves.
const FREE_SPACE_LOOK: Duration = Duration::from_millis(250);

/// The writing end of a log. Whoever leads holds it.
pub(crate) struct Writer {
    pub(crate) header: SegmentHeader,
    pub(crate) path: PathBuf,
    pub(crate) file: Arc<dyn File>,
    /// Where the next frame goes.
    pub(crate) offset: u64,
    /// The size of the file: what lies behind `offset` is zeros, or the old bytes of a donor.
    pub(crate) file_len: u64,
    /// Behind header, image, and what recovery wrote anew: an empty segment ends here.
    pub(crate) head_len: u64,
    pub(crate) next_lsn: Lsn,
    pub(crate) next_item: EventSeq,
    /// The end of the run of LSNs that are durable.
    pub(crate) durable_lsn: Lsn,
    pub(crate) unsynced_bytes: u64,
    pub(crate) last_kind: Kind,
    /// Behind the last frame lie bytes that could be taken for the next one. The next group is written over them; if that goes to another
    /// segment, they must be void.
    pub(crate) left_behind: bool,
    /// When the last group was written.
    pub(crate) last_write_at: Duration,
    /// Free bytes of the active segment's disk, and when they were looked up.
    pub(crate) free_space: Option<(Duration, u64)>,
}

/// What became of a group.
enum Wrote {
    /// It is written, applied and answered.
    All,
    /// The disk has no room for it. Any part of it may be there, none was applied.
    NoRoom(Error),
}

/// Up to `bytes` zeros.
fn zeros(bytes: u64) -> &'static [u8] {
    let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
    ZEROS.get(..bytes).unwrap_or(&ZEROS)
}

/// The first bytes of a segment: its header, and the image of the state before it.
pub(crate) fn segment_head(header: &SegmentHeader, owner: Vec<u8>, time_ms: u64) -> Vec<u8> {
    let lsn = header.first_lsn.previous();
    // Where the frames above it begin goes without saying: behind it.
    let next_frame = FramePtr { segment: SegmentId::new(0), offset: 0 };
    let image = LogImage { lsn, next_item: header.first_item, next_frame, owner }.encode();
    let frame = FrameHeader {
        salt: header.salt,
        lsn,
        durable_lsn: lsn,
        first_item: header.first_item,
        item_count: 0,
        body_len: u32::try_from(image.len()).expect("an image is shorter than 4 GiB"),
        time_ms,
        kind: Kind::IMAGE,
        body_crc: crc32(&[&image]),
    };
    let mut head = header.encode().to_vec();
    append_frame(&mut head, &frame, &image);
    head
}

/// Appends header, body and padding.
pub(crate) fn append_frame(out: &mut Vec<u8>, header: &FrameHeader, body: &[u8]) {
    out.extend_from_slice(&header.encode());
    out.extend_from_slice(body);
    let padded = padded_len(out.len() as u64);
    out.resize(usize::try_from(padded).unwrap_or(usize::MAX), 0);
}

/// Whether the first `count` frames in flight must be durable before they are answered.
fn sync_of(options: &LogOptions, flight: &InFlight, count: usize) -> Sync {
    let mut frames = flight.frames().iter().take(count);
    match (options.durability, options.take_sync) {
        (Durability::Interval { .. }, _) => Sync::No,
        // A gap frame is no take: what it gives up is lost, and must not seem owed again.
        (Durability::EachCommit, TakeSync::WithNextPut { .. })
            if frames.all(|waiting| waiting.request.kind() == Kind::TAKE) =>
        {
            Sync::No
        }
        (Durability::EachCommit, _) => Sync::Data,
    }
}

/// The disk is full, the reserve is used up, and nothing of the frames in flight is there: takes wait for room, as puts do.
fn refuse_until_there_is_room(log: &Log, flight: &mut InFlight, error: &Error) {
    flight.refuse(error, |request| request.refusable);
    if !flight.frames().is_empty() {
        log.set_takes_wait(true);
        flight.refuse(error, |_| true);
        // What is spent by now gives room.
        log.apply.short_of_space();
    }
}

impl Writer {
    /// Writes, syncs and applies all frames in flight, and answers them.
    ///
    /// # Errors
    /// Any error but a refused put poisons the log; the frames still in flight are unknown.
    pub(crate) fn commit(&mut self, log: &Log, flight: &mut InFlight) -> Result<()> {
        // What needs no sync has nothing to share.
        if sync_of(&log.options, flight, usize::MAX) == Sync::Data {
            log.group.gather(flight);
            // The log may have stopped itself meanwhile, and nothing of this group is written yet.
            if let Some(poison) = log.poisoned() {
                flight.refuse(poison, |_| true);
            }
        }
        self.refuse_puts_on_a_full_disk(log, flight);
        while !flight.frames().is_empty() {
            let count = self.fitting(log, flight);
            if count == 0 {
                self.rotate_for(log, flight)?;
                // The next segment may lie on another disk.
                self.refuse_puts_on_a_full_disk(log, flight);
            } else if let Wrote::NoRoom(error) = self.write(log, flight, count)? {
                self.leave_full_segment(log, flight, &error)?;
            }
        }
        Ok(())
    }

    /// How many of the frames fit into the active segment. A frame larger than a segment has an empty one for itself.
    fn fitting(&self, log: &Log, flight: &InFlight) -> usize {
        // A reserve ends with its blocks, which may be long before a segment does: behind them is a full disk.
        let blocks = if log.is_on_reserve() { self.file_len } else { u64::MAX };
        let room = log.options.segment_bytes_max.min(blocks);
        let mut end = self.offset;
        let fits = |waiting: &&super::group::Waiting| {
            let empty = end == self.head_len;
            end += waiting.request.buffer().len() as u64;
            empty || end <= room
        };
        flight.frames().iter().take_while(fits).count()
    }

    fn write(&mut self, log: &Log, flight: &mut InFlight, count: usize) -> Result<Wrote> {
        let time_ms = log.dirs.vfs.wall_ms();
        let sync = sync_of(&log.options, flight, count);
        let mut headers = Vec::with_capacity(count);
        let (mut lsn, mut item) = (self.next_lsn, self.next_item);
        for waiting in flight.frames_mut().iter_mut().take(count) {
            let header = self.stamp(&mut waiting.request, lsn, item, time_ms);
            (lsn, item) = (lsn.next(), header.next_item());
            headers.push(header);
        }
        let buffers = flight.frames().iter().take(count).map(|waiting| waiting.request.buffer());
        let mut slices = Vec::with_capacity(count + FILL_PIECES_MAX);
        slices.extend(buffers.map(IoSlice::new));
        let bytes: u64 = slices.iter().map(|slice| slice.len() as u64).sum();
        let started = log.dirs.vfs.monotonic();
        self.last_write_at = started;
        let fill = self.fill_behind(log, bytes);
        let filled = self.write_with_fill(&mut slices, fill, sync);
        let told = |error| {
            Error::io("cannot write a group of commits", &self.path, error)
                .at(self.offset)
                .of_lsn(self.next_lsn)
        };
        let filled = match filled.map_err(told)? {
            Ok(filled) => filled,
            Err(full) => return Ok(Wrote::NoRoom(told(full))),
        };
        let took = log.dirs.vfs.monotonic().saturating_sub(started);
        log.counters.wrote(count as u64, bytes, took);
        if sync == Sync::Data {
            log.group.synced(count, took);
        }
        drop(slices);
        let durable = sync == Sync::Data;
        if durable {
            // Of all that was written to this file; what lay in the one before was synced when that ended.
            self.durable_lsn = lsn.previous();
            self.unsynced_bytes = 0;
        } else {
            self.unsynced_bytes += bytes;
        }
        self.left_behind = false;
        log.set_takes_wait(false);
        let mut offset = self.offset;
        (self.next_lsn, self.next_item) = (lsn, item);
        self.offset += bytes;
        self.grow_to(self.offset + filled);
        log.preparer.wrote(bytes, self.offset, started);
        if self.unsynced_bytes >= UNSYNCED_BYTES_MAX {
            self.sync()?;
        }
        let durable = durable || self.unsynced_bytes == 0;
        log.set_end(FramePtr { segment: self.header.id, offset: self.offset });
        for header in headers {
            let ptr = FramePtr { segment: self.header.id, offset };
            offset += header.frame_len();
            self.last_kind = header.kind;
            self.apply_first(log, flight, header, ptr, durable)?;
        }
        Ok(Wrote::All)
    }

    /// Goes on behind a segment whose disk has no room for the frames in flight. Some of these may lie at its end, whole even, and a
    /// restart would take them for commits: so the next segment begins an epoch, as a recovery does, whose cut makes them void. Only
    /// then are puts refused. What was acknowledged lies below the cut, and was synced without an error (rules W5, H1).
    fn leave_full_segment(
        &mut self,
        log: &Log,
        flight: &mut InFlight,
        error: &Error,
    ) -> Result<()> {
        log.preparer.give_up();
        // Under `Interval` not all of it is synced yet. An error of this is final.
        self.sync()?;
        let (from, to) = (self.header.id, self.header.id.next());
        let same_disk = directory_of(&log.dirs, from) == directory_of(&log.dirs, to);
        self.left_behind = true;
        let blocks = if same_disk { Blocks::Reserve } else { Blocks::OrReserve };
        match self.rotate(log, blocks) {
            Err(none) if none.kind() == &ErrorKind::DiskFull => {
                // Nor a reserve: no next segment says that they are void, so they must not be there.
                self.wipe(flight)?;
                refuse_until_there_is_room(log, flight, error);
            }
            answer => answer?,
        }
        if log.is_on_reserve() {
            flight.refuse(error, |request| request.refusable);
        }
        Ok(())
    }

    /// Writes zeros over what there is of the frames in flight, durably. Nobody was answered, and the next group would be written there.
    ///
    /// # Errors
    /// Poisons the log.
    fn wipe(&mut self, flight: &InFlight) -> Result<()> {
        let frames = flight.frames().iter().map(|waiting| waiting.request.buffer().len() as u64);
        let end = self.offset + frames.sum::<u64>();
        let wiped = || {
            let len = self.file.len()?;
            let (mut at, end) = (self.offset, end.min(len));
            while at < end {
                let piece = zeros(end - at);
                self.file.write_at(at, &[IoSlice::new(piece)], Sync::No)?;
                at += piece.len() as u64;
            }
            self.file.sync().map(|()| len)
        };
        let len = wiped().map_err(|error| {
            Error::io("cannot wipe out a group that found no room", &self.path, error)
                .at(self.offset)
                .of_lsn(self.next_lsn)
        })?;
        self.grow_to(len);
        Ok(())
    }

    /// Writes a group at the end, with the fill behind it if there is to be one; answers how long that is, or that there was no room.
    /// Where the disk has none for the fill the same bytes are written again without it, which changes nothing of them. `slices` have
    /// the fill behind them afterwards, if it was written.
    ///
    /// # Errors
    /// A write that failed otherwise, and any sync: final, and not tried again (rule W5).
    fn write_with_fill(
        &self,
        slices: &mut Vec<IoSlice<'_>>,
        fill: u64,
        sync: Sync,
    ) -> io::Result<io::Result<u64>> {
        let is_full = |error: &io::Error| {
            matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
        };
        if fill > 0 {
            let group = slices.len();
            let mut left = fill;
            while left > 0 {
                let piece = zeros(left);
                slices.push(IoSlice::new(piece));
                left -= piece.len() as u64;
            }
            let filled = self.file.write_at(self.offset, slices, sync);
            match filled {
                Ok(()) => return Ok(Ok(fill)),
                Err(error) if is_full(&error) => slices.truncate(group),
                Err(error) => return Err(error),
            }
        }
        match self.file.write_at(self.offset, slices, sync) {
            Err(error) if is_full(&error) => Ok(Err(error)),
            answer => answer.map(|()| Ok(0)),
        }
    }

    /// How many zeros to write behind a group of `bytes`: to the end of its page over old blocks, else see [`FILLED_GROUP_BYTES_MAX`].
    fn fill_behind(&self, log: &Log, bytes: u64) -> u64 {
        let end = self.offset + bytes;
        if end <= self.file_len {
            // A page of a spent segment that is not in memory would be read before a part of it can be written: better write all of it.
            let enters_last_page = end.saturating_sub(1) / BLOCK_BYTES * BLOCK_BYTES >= self.offset;
            let page_end = end.next_multiple_of(BLOCK_BYTES).min(self.file_len);
            return if enters_last_page { page_end - end } else { 0 };
        }
        if bytes > FILLED_GROUP_BYTES_MAX {
            return 0;
        }
        let unit = if bytes < LARGE_FILL_FROM_BYTES { FILL_BYTES } else { LARGE_FILL_BYTES };
        let filled = end.next_multiple_of(unit).min(log.options.segment_bytes_max);
        let len = filled.saturating_sub(end);
        if self.free_bytes(log) < bytes + len + SPARE_ROOM_BYTES { 0 } else { len }
    }

    /// Notes that the file is so long now. What it grew by is not free any more.
    fn grow_to(&mut self, len: u64) {
        let grown = len.saturating_sub(self.file_len);
        self.file_len += grown;
        if let Some((_, free)) = &mut self.free_space {
            *free = free.saturating_sub(grown);
        }
    }

    /// What is free on the disk of the active segment, by a look. A disk that does not tell is found out by the write.
    fn free_bytes(&self, log: &Log) -> u64 {
        let dir = self.path.parent().unwrap_or(&log.dirs.home);
        log.dirs.vfs.free_bytes(dir).unwrap_or(u64::MAX)
    }

    fn stamp(
        &self,
        request: &mut Request,
        lsn: Lsn,
        first_item: EventSeq,
        time_ms: u64,
    ) -> FrameHeader {
        let header = FrameHeader {
            salt: self.header.salt,
            lsn,
            durable_lsn: self.durable_lsn,
            first_item,
            item_count: request.item_count(),
            body_len: request.body_len(),
            time_ms,
            kind: request.kind(),
            body_crc: request.body_crc(),
        };
        if let Some(room) = request.buffer_mut().first_chunk_mut::<FRAME_HEADER_LEN>() {
            *room = header.encode();
        }
        header
    }

    /// Applies the first frame in flight, which is durable (or written, under `Interval`), and answers it.
    fn apply_first(
        &mut self,
        log: &Log,
        flight: &mut InFlight,
        header: FrameHeader,
        ptr: FramePtr,
        durable: bool,
    ) -> Result<()> {
        let Some(first) = flight.frames_mut().front_mut() else { return Ok(()) };
        let bytes = Bytes::from(std::mem::take(first.request.buffer_mut()));
        let body = bytes.slice(FRAME_HEADER_LEN..FRAME_HEADER_LEN + header.body_len as usize);
        let frame = Frame { header, ptr, body };
        log.tail.lock().push(frame.clone());
        log.apply.apply(&frame)?;
        let events = header.item_count;
        flight.settle_first(Committed {
            lsn: header.lsn,
            first: (events > 0).then_some(header.first_item),
            events,
            durable,
        });
        Ok(())
    }

    /// Makes all that is written durable.
    ///
    /// # Errors
    /// Poisons the log.
    pub(crate) fn sync(&mut self) -> Result<()> {
        if self.unsynced_bytes > 0 {
            self.file.sync().map_err(|error| {
                Error::io("cannot sync the segment", &self.path, error)
                    .of_lsn(self.next_lsn.previous())
            })?;
            self.unsynced_bytes = 0;
        }
        self.durable_lsn = self.next_lsn.previous();
        Ok(())
    }

    /// A new segment for the frames in flight. On a full disk the puts among them are refused; takes get the reserve.
    fn rotate_for(&mut self, log: &Log, flight: &mut InFlight) -> Result<()> {
        // Before and apart: a sync that fails for want of space is a failed sync (rule W5), and must not be tried again below.
        self.sync()?;
        match self.rotate(log, Blocks::Free) {
            Err(error) if error.kind() == &ErrorKind::DiskFull => {
                log.preparer.give_up();
                flight.refuse(&error, |request| request.refusable);
                if flight.frames().is_empty() {
                    return Ok(());
                }
                match self.rotate(log, Blocks::OrReserve) {
                    Err(error) if error.kind() == &ErrorKind::DiskFull => {
                        refuse_until_there_is_room(log, flight, &error);
                        Ok(())
                    }
                    answer => answer,
                }
            }
            answer => answer,
        }
    }

    /// Closes the active segment and begins the next one. Nothing is in flight, and all that was written is durable (rules H1, L4).
    fn rotate(&mut self, log: &Log, blocks: Blocks) -> Result<()> {
        self.sync()?;
        let mut header = SegmentHeader {
            id: self.header.id.next(),
            salt: log.dirs.vfs.random(),
            first_lsn: self.next_lsn,
            first_item: self.next_item,
            ..self.header
        };
        if self.left_behind {
            // What lies behind the last frame is void. Not before this segment is there: without it the log goes on in the present one.
            header.epoch = header.epoch.saturating_add(1);
            header.cut_lsn = self.durable_lsn;
        }
        let head = segment_head(&header, log.apply.image(), log.dirs.vfs.wall_ms());
        let (segment, file, on_reserve) =
            create_segment(&log.dirs, &mut log.spares.lock(), &header, &head, blocks)?;
        log.set_on_reserve(on_reserve);
        let file_len = file.len().map_err(|error| {
            Error::io("cannot tell the size of the segment", &segment.path, error)
        })?;
        crate::trace::debug!(
            segment = header.id.get(),
            first_lsn = header.first_lsn.get(),
            "rotate"
        );
        self.path.clone_from(&segment.path);
        log.segments.lock().insert(segment);
        log.set_takes_wait(false);
        self.header = header;
        self.left_behind = false;
        self.file = file;
        self.offset = head.len() as u64;
        self.head_len = self.offset;
        self.last_kind = Kind::IMAGE;
        self.file_len = file_len;
        self.free_space = None;
        log.preparer.rotated(log.dirs.vfs.monotonic());
        log.set_end(FramePtr { segment: header.id, offset: self.offset });
        Ok(())
    }

    /// On the reserve, now and then: there may be room for another by now. A bare log has no thread that looks.
    fn look_for_a_reserve(&mut self, log: &Log) {
        let now = log.dirs.vfs.monotonic();
        if self.free_space.is_some_and(|(when, _)| now.saturating_sub(when) < FREE_SPACE_LOOK) {
            return;
        }
        self.free_space = Some((now, 0));
        // Without one puts stay refused, which says enough.
        drop(log.make_reserves());
    }

    fn refuse_puts_on_a_full_disk(&mut self, log: &Log, flight: &mut InFlight) {
        if !flight.frames().iter().any(|waiting| waiting.request.refusable) {
            return;
        }
        if log.is_on_reserve() {
            self.look_for_a_reserve(log);
            if log.spares.lock().wants_reserve(directory_of(&log.dirs, self.header.id)) {
                let what = "the disk was full, and the log goes on in its reserve until there is room for a new one; takes go on";
                let error = Error::new(ErrorKind::DiskFull, what).in_file(&self.path);
                return flight.refuse(&error, |request| request.refusable);
            }
            log.set_on_reserve(false);
            self.free_space = None;
        }
        // Without reserves, takes and the next open have nothing but what is free.
        let here = directory_of(&log.dirs, self.header.id);
        let reserved = !log.spares.lock().wants_reserve(here);
        let least = if reserved { 0 } else { SPARE_ROOM_BYTES };
        let floor = log.options.free_space_min_bytes.max(least);
        if floor == 0 {
            return;
        }
        let now = log.dirs.vfs.monotonic();
        let (when, free) = match self.free_space {
            Some((when, free)) if now.saturating_sub(when) < FREE_SPACE_LOOK => (when, free),
            _ => (now, self.free_bytes(log)),
        };
        let group: u64 =
            flight.frames().iter().map(|waiting| waiting.request.buffer().len() as u64).sum();
        self.free_space = Some((when, free));
        if free < floor.saturating_add(group) {
            self.free_space = None;
            log.preparer.give_up();
            let what = format!(
                "{free} bytes are free, and {} keeps {floor} of them; takes go on",
                if log.options.free_space_min_bytes == floor {
                    "free_space_min_bytes"
                } else {
                    "a log without a reserve"
                }
            );
            let dir = self.path.parent().unwrap_or(&log.dirs.home);
            flight.refuse(&Error::new(ErrorKind::DiskFull, what).in_file(dir), |request| {
                request.refusable
            });
        }
    }

    /// As [`vouch`](Self::vouch), for an idle log: on a full disk it does without, since a failed write would stop the log.
    ///
    /// # Errors
    /// Poisons the log.
    pub(crate) fn vouch_where_there_is_room(&mut self, log: &Log) -> Result<()> {
        if self.free_bytes(log) < SPARE_ROOM_BYTES { Ok(()) } else { self.vouch(log) }
    }

    /// Writes the frames that vouch for everything before them: one that fills the block of the last data, and one in a block of its
    /// own, so that no one bad block takes the last group and its witness.
    ///
    /// # Errors
    /// Poisons the log.
    pub(crate) fn vouch(&mut self, log: &Log) -> Result<()> {
        self.sync()?;
        // Nothing since the last one, or since the segment was made: its header vouches for what lies before it.
        if matches!(self.last_kind, Kind::VOUCH | Kind::IMAGE) {
            return Ok(());
        }
        let left = BLOCK_BYTES - self.offset % BLOCK_BYTES;
        let first = if left < FRAME_HEADER_LEN as u64 { left + BLOCK_BYTES } else { left };
        for len in [first, FRAME_HEADER_LEN as u64] {
            let len = usize::try_from(len).unwrap_or(FRAME_HEADER_LEN);
            let mut flight = InFlight::of(Request::new(Kind::VOUCH, 0, vec![0; len]));
            // On a full disk it can be done without. But what was written of it may be whole, and has an LSN that another frame gets.
            if let Wrote::NoRoom(_) = self.write(log, &mut flight, 1)? {
                self.left_behind = true;
                break;
            }
        }
        self.sync()
    }
}
