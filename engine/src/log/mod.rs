//! One ordered, durable sequence of frames, and the state that is their fold.
//!
//! This room knows kinds and item counts, not what they mean: that is the owner's business, behind [`Apply`]. The queue is one owner,
//! the bare [`Wal`](crate::Wal) another.

mod dirs;
mod group;
pub(crate) mod names;
mod reader;
mod recover;
mod scan;
mod segments;
mod tail;
mod verdict;
mod wal;
mod writer;

pub use group::{Committed, Ticket};
pub use recover::{ImageSource, RecoveryReport};
pub use verdict::{Consequence, VERDICTS, Verdict, VerdictRow};
pub use wal::{Wal, WalRecord};

pub(crate) use dirs::{Directories, read_manifest, refuse_flume};
pub(crate) use group::{Hold, Request, Slot};
pub(crate) use reader::{Cursor, Found, Neighbourhood, SegmentReader, Step, next_frame};
pub(crate) use recover::{Candidate, choose_image, image_of, open};
pub(crate) use scan::{Damage, Scan, Start, Visit, scan};
pub(crate) use segments::{Listing, Segment, Segments, read_segment_header};

use crate::{
    error::{CommitError, Error, ErrorKind, Result},
    format::{FrameHeader, LogImage, SEGMENT_HEADER_LEN, SegmentHeader},
    ids::{EventSeq, FramePtr, Lsn, SegmentId},
    options::{Durability, LogOptions},
    stats::{Counters, LogStats},
    sync::Mutex,
};
use bytes::Bytes;
use group::Group;
use segments::{RESERVE_BYTES, Spares, directory_holding};
use std::{
    cell::Cell,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};
use tail::Tail;
use writer::Writer;

/// A frame at its place.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    pub(crate) header: FrameHeader,
    pub(crate) ptr: FramePtr,
    pub(crate) body: Bytes,
}

/// The owner of a log: the one door through which state changes.
pub(crate) trait Apply: Send + std::marker::Sync {
    /// Begins with the state of `image`, or with none. Answers the LSN behind which it wants the frames.
    fn restore(&self, image: Option<&LogImage>) -> Result<Lsn>;
    /// Changes the state: called once for each frame, in the order of LSNs, after it is durable (under `Interval`: written).
    fn apply(&self, frame: &Frame) -> Result<()>;
    /// All that was durable is replayed, and nothing is written yet: says whether what the state needs is still there, given the oldest
    /// segment and the frames that follow.
    fn check(&self, oldest: &SegmentHeader, held_back: &[Frame]) -> Result<()>;
    /// The state now, as bytes: what a new segment begins with.
    fn image(&self) -> Vec<u8>;
    /// The log has stopped itself: no frame will come any more, and who waits for one must hear of it.
    fn stopped(&self) {}
    /// The log goes on in the reserve for a full disk: what can be given back should be, soon.
    fn short_of_space(&self) {}
}

/// An open log.
pub(crate) struct Log {
    dirs: Directories,
    options: LogOptions,
    apply: Arc<dyn Apply>,
    group: Group,
    writer: Mutex<Writer>,
    segments: Mutex<Segments>,
    spares: Mutex<Spares>,
    /// Held by who removes segments: two of them would not keep the order.
    retention: Mutex<()>,
    tail: Mutex<Tail>,
    /// Behind the last frame that may be read.
    end: Mutex<FramePtr>,
    poison: OnceLock<Error>,
    /// The active segment was made over a reserve, since the disk is full: only what drains it may use that up.
    on_reserve: AtomicBool,
    counters: Counters,
    committer: Mutex<Option<JoinHandle<()>>>,
}

impl Log {
    fn new(
        dirs: Directories,
        options: LogOptions,
        apply: Arc<dyn Apply>,
        segments: Segments,
        spares: Spares,
        writer: Writer,
    ) -> Self {
        let end = FramePtr { segment: writer.header.id, offset: writer.offset };
        let tail = Tail::new(options.tail_cache_bytes);
        Self {
            dirs,
            options,
            apply,
            group: Group::default(),
            writer: Mutex::new(writer),
            segments: Mutex::new(segments),
            spares: Mutex::new(spares),
            retention: Mutex::new(()),
            tail: Mutex::new(tail),
            end: Mutex::new(end),
            poison: OnceLock::new(),
            on_reserve: AtomicBool::new(false),
            counters: Counters::default(),
            committer: Mutex::new(None),
        }
    }

    /// Starts the thread that leads for futures, where there are threads.
    ///
    /// # Errors
    /// `Io` if none can be had.
    pub(crate) fn start_committer(self: &Arc<Self>) -> Result<()> {
        let log = Arc::clone(self);
        let body = Box::new(move || {
            log.group.committer(|| log.lead(), log.sync_interval(), || log.sync_by_time());
        });
        let handle = self.dirs.vfs.spawn("fchannel-commit", body).map_err(|error| {
            Error::io("cannot start the committer thread", &self.dirs.home, error)
        })?;
        if handle.is_some() {
            self.group.set_has_committer();
        }
        *self.committer.lock() = handle;
        Ok(())
    }

    /// Queues a frame whose caller will block in [`wait`](Self::wait).
    pub(crate) fn submit(&self, request: Request) -> Arc<Slot> {
        self.group.submit(request)
    }

    /// Queues a frame for a ticket: the committer thread leads it, unless somebody does.
    pub(crate) fn submit_ticket(self: &Arc<Self>, request: Request) -> Ticket {
        let slot = self.group.submit(request);
        self.group.call_committer();
        Ticket::new(slot, Arc::clone(self))
    }

    /// Waits for an answer, leading meanwhile if nobody does.
    pub(crate) fn wait(&self, slot: &Slot) -> Result<Committed, CommitError> {
        self.group.wait(slot, || self.lead())
    }

    /// Leads one group if frames wait and nobody leads; true if it did. For a world without threads.
    pub(crate) fn lead_once(&self) -> bool {
        let lead = self.group.try_lead();
        if lead {
            self.lead();
        }
        lead
    }

    /// Leads one group, or all that is left when nobody else can. Whoever calls this is the leader, and is none when it returns, even
    /// by unwinding.
    fn lead(&self) {
        let go_on = Cell::new(true);
        while go_on.get() {
            let _hand_over = OnDrop(|| go_on.set(self.group.hand_over()));
            self.lead_group();
        }
    }

    /// The frames of one group, by the leader.
    fn lead_group(&self) {
        // Dropped last to first: poisoned, then answered.
        let mut flight = self.group.take(unwound());
        let _poison = OnDrop(|| self.poison_if_unwinding());
        if flight.frames().is_empty() {
            return;
        }
        if let Some(poison) = self.poison.get() {
            return flight.refuse(poison, |_| true);
        }
        let answer = self.writer.lock().commit(self, &mut flight);
        if let Err(error) = answer {
            flight.fail_with(&self.poison(&error));
        }
    }

    /// Stops the log for good; answers the error that it gives from now on.
    pub(crate) fn poison(&self, error: &Error) -> Error {
        let poison = self.poison.get_or_init(|| {
            crate::trace::error!(error = tracing_display(error), "the log has stopped itself");
            error.as_poison()
        });
        self.group.stop(poison);
        self.apply.stopped();
        poison.clone()
    }

    /// A leader that unwinds leaves work half done (invariant L8).
    fn poison_if_unwinding(&self) {
        if std::thread::panicking() {
            self.poison(&unwound());
        }
    }

    /// Why the log stopped itself, if it did.
    pub(crate) fn poisoned(&self) -> Option<&Error> {
        self.poison.get()
    }

    /// Does something as the leader, without a frame of one's own.
    fn leading<T>(&self, work: impl FnOnce() -> T) -> T {
        self.group.lead_exclusively();
        self.as_leader(work)
    }

    /// Does something by the leader, and hands over.
    fn as_leader<T>(&self, work: impl FnOnce() -> T) -> T {
        let go_on = Cell::new(false);
        let answer = {
            let _hand_over = OnDrop(|| go_on.set(self.group.hand_over()));
            let _poison = OnDrop(|| self.poison_if_unwinding());
            work()
        };
        if go_on.get() {
            self.lead();
        }
        answer
    }

    /// Does something with the writer, while nobody else leads. An error poisons.
    fn exclusively<T>(&self, work: impl FnOnce(&mut Writer) -> Result<T>) -> Result<T> {
        self.leading(|| self.with_writer(work))
    }

    /// Does something with the writer, by the leader. An error poisons.
    fn with_writer<T>(&self, work: impl FnOnce(&mut Writer) -> Result<T>) -> Result<T> {
        if let Some(poison) = self.poison.get() {
            return Err(poison.clone());
        }
        let answer = work(&mut self.writer.lock());
        answer.map_err(|error| self.poison(&error))
    }

    /// Makes all that is written durable, and answers the last LSN that is.
    ///
    /// # Errors
    /// Poisons the log.
    pub(crate) fn sync(&self) -> Result<Lsn> {
        self.exclusively(|writer| {
            writer.sync()?;
            Ok(writer.durable_lsn)
        })
    }

    /// The image of the owner's state as of now, after a sync of all that is in it (rule K1).
    ///
    /// # Errors
    /// Poisons the log.
    pub(crate) fn durable_image(&self) -> Result<LogImage> {
        // Between groups nothing is half applied: state, LSN and place belong together.
        self.exclusively(|writer| {
            writer.sync()?;
            let next_frame = FramePtr { segment: writer.header.id, offset: writer.offset };
            Ok(LogImage {
                lsn: writer.durable_lsn,
                next_item: writer.next_item,
                next_frame,
                owner: self.apply.image(),
            })
        })
    }

    /// What the committer thread does every interval. A failed sync has poisoned the log: every later call says so.
    fn sync_by_time(&self) {
        if self.group.lead_unless_ending() {
            drop(self.as_leader(|| self.with_writer(Writer::sync)));
        }
    }

    /// How long unsynced commits may stay so; `None` if there are none by policy.
    pub(crate) fn sync_interval(&self) -> Option<Duration> {
        match self.options.durability {
            Durability::EachCommit => None,
            Durability::Interval { sync_interval_ms } => {
                Some(Duration::from_millis(sync_interval_ms))
            }
        }
    }

    /// Removes all segments below `keep`, oldest first, each durably before the next (rules S1, L5). The newest always stays.
    ///
    /// # Errors
    /// Poisons the log: a directory whose sync failed may show anything after a crash.
    pub(crate) fn retain_from(&self, keep: SegmentId) -> Result<u64> {
        let _one_at_a_time = self.retention.lock();
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
        let mut spares = self.spares.lock();
        let spare = directory_holding(&self.dirs, segment)
            .and_then(|dir| Some((dir, spares.next_name(&self.dirs, dir)?)));
        let removed = match spare {
            Some((dir, spare)) => {
                self.dirs.vfs.retire(&segment.path, &spare).map(|()| spares.keep(dir, spare))
            }
            None => self.dirs.vfs.remove(&segment.path),
        };
        removed.map_err(|error| Error::io("cannot remove a spent segment", &segment.path, error))
    }

    /// Makes the reserves that an open, and takes, need on a full disk. A disk that is full already is no error.
    ///
    /// # Errors
    /// `Io`.
    pub(crate) fn make_reserves(&self) -> Result<()> {
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
        let Some(path) = path else { return Ok(false) };
        let bytes = RESERVE_BYTES.min(self.options.segment_bytes_max);
        // On a disk that is nearly full the reserve would take the room of the takes that are to drain it.
        let wanted = bytes.saturating_mul(2).max(self.options.free_space_min_bytes);
        let home = self.dirs.data.get(dir).unwrap_or(&self.dirs.home);
        if self.dirs.vfs.free_bytes(home).is_ok_and(|free| free < wanted) {
            return Ok(false);
        }
        let made = self.dirs.vfs.reserve(&path, bytes);
        match made.map_err(|error| Error::io("cannot make the reserve", &path, error)) {
            Ok(()) => {
                self.spares.lock().keep(dir, path);
                Ok(true)
            }
            Err(error) if error.kind() == &ErrorKind::DiskFull => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Whether the active segment was made over a reserve, and its directory has no other.
    pub(crate) fn is_on_reserve(&self) -> bool {
        self.on_reserve.load(Ordering::Acquire)
    }

    /// Notes what the active segment was made of.
    fn set_on_reserve(&self, on_reserve: bool) {
        self.on_reserve.store(on_reserve, Ordering::Release);
        if on_reserve {
            self.apply.short_of_space();
        }
    }

    /// The frame at `ptr`: from memory if it is recent, else from its segment.
    ///
    /// # Errors
    /// `Corrupt` if no sound frame is there, `Io`.
    pub(crate) fn read(&self, ptr: FramePtr) -> Result<Frame> {
        if let Some(frame) = self.tail.lock().get(ptr) {
            return Ok(frame);
        }
        let segment = self.segments.lock().get(ptr.segment).cloned();
        let segment = segment.ok_or_else(|| {
            Error::corrupt(format!("segment {} is gone, though events in it are owed", ptr.segment))
        })?;
        match SegmentReader::open_for_one(&*self.dirs.vfs, &segment)?.frame(ptr.offset)? {
            Found::Frame(frame) => Ok(frame),
            _ => Err(Error::corrupt("@H: a frame that was durable is damaged")
                .in_file(&segment.path)
                .at(ptr.offset)),
        }
    }

    /// The frame at `cursor`, which moves behind it; [`Step::End`] at the end of the log.
    ///
    /// # Errors
    /// `Corrupt`, `Io`.
    pub(crate) fn next(&self, cursor: &mut Cursor) -> Result<Step> {
        if let Some(frame) = self.tail.lock().get(cursor.next) {
            cursor.pass(&frame.header);
            return Ok(Step::Frame(frame));
        }
        loop {
            self.pass_removed(cursor);
            let end = *self.end.lock();
            let step = next_frame(&*self.dirs.vfs, cursor, end, |id| {
                neighbourhood(&self.segments.lock(), id)
            });
            // A segment that was removed under the cursor held nothing that is owed: the next one does.
            let removed = self.oldest_segment().is_some_and(|oldest| oldest > cursor.next.segment);
            if step.is_ok() || !removed {
                return step;
            }
        }
    }

    /// A cursor behind the last event of a segment that is gone stands at the first one that is not.
    fn pass_removed(&self, cursor: &mut Cursor) {
        let segments = self.segments.lock();
        if let Some(oldest) =
            segments.oldest().filter(|oldest| oldest.header.id > cursor.next.segment)
        {
            *cursor = Cursor::at(FramePtr {
                segment: oldest.header.id,
                offset: SEGMENT_HEADER_LEN as u64,
            });
        }
    }

    /// A cursor at the first frame that may hold item `seq`, beginning at `hint` if that is one.
    ///
    /// # Errors
    /// `Corrupt`, `Io`.
    pub(crate) fn cursor_for(&self, seq: EventSeq, hint: FramePtr) -> Result<Cursor> {
        let here = neighbourhood(&self.segments.lock(), hint.segment);
        if let Some(here) = here
            && let Some(header) =
                SegmentReader::open_for_one(&*self.dirs.vfs, &here.segment)?.header(hint.offset)?
            && header.first_item <= seq
            && here.void_above.is_none_or(|cut| header.lsn <= cut)
        {
            return Ok(Cursor::at(hint));
        }
        // A hint may point to a frame that recovery has written anew elsewhere. Then the walk begins at the segment's start.
        let segment = self.segments.lock().of_item(seq).map(|segment| segment.header.id);
        let segment = segment.ok_or_else(|| {
            Error::corrupt(format!("the segment of event {seq} is gone, though it is owed"))
        })?;
        Ok(Cursor::at(FramePtr { segment, offset: SEGMENT_HEADER_LEN as u64 }))
    }

    /// The segment that item `seq` lies in.
    pub(crate) fn segment_of_item(&self, seq: EventSeq) -> Option<SegmentId> {
        self.segments.lock().of_item(seq).map(|segment| segment.header.id)
    }

    /// The segment that `lsn` lies in, or will.
    pub(crate) fn segment_of_lsn(&self, lsn: Lsn) -> Option<SegmentId> {
        self.segments.lock().of_lsn(lsn).map(|segment| segment.header.id)
    }

    /// The oldest segment there is.
    pub(crate) fn oldest_segment(&self) -> Option<SegmentId> {
        self.segments.lock().oldest().map(|segment| segment.header.id)
    }

    fn set_end(&self, end: FramePtr) {
        *self.end.lock() = end;
    }

    pub(crate) fn stats(&self) -> LogStats {
        self.counters.snapshot(self.segments.lock().len() as u64)
    }

    pub(crate) fn dirs(&self) -> &Directories {
        &self.dirs
    }

    /// Takes no more frames, finishes those that wait, vouches for them. What is called afterwards answers `Closed`.
    ///
    /// # Errors
    /// The error that poisoned the log, now or before.
    pub(crate) fn finish(&self) -> Result<()> {
        self.group.stop(&closed());
        self.leading(|| {
            while self.group.frames_wait() {
                self.lead_group();
            }
            self.with_writer(|writer| writer.vouch(self))
        })
    }

    /// Ends the committer thread. Frames that wait are finished first, unless the log is poisoned.
    pub(crate) fn end_committer(&self) {
        self.group.stop(&closed());
        self.group.end_committer();
        let handle = self.committer.lock().take();
        // The last owner may go away in a callback of that very thread, which then ends by itself.
        if let Some(handle) =
            handle.filter(|handle| handle.thread().id() != std::thread::current().id())
            && handle.join().is_err()
        {
            self.poison(&Error::new(
                ErrorKind::Poisoned,
                "the committer thread panicked: this is a bug",
            ));
        }
        // Where there was no such thread, or a frame came while it ended. Who leads now goes on by itself.
        while self.lead_once() {}
    }
}

/// What the frames of a leader get that unwound.
fn unwound() -> Error {
    Error::new(
        ErrorKind::Poisoned,
        "a thread panicked while it led a group of commits: this is a bug",
    )
}

fn closed() -> Error {
    Error::new(ErrorKind::Closed, "the log is closed")
}

#[cfg(feature = "tracing")]
fn tracing_display(error: &Error) -> impl tracing::Value + '_ {
    tracing::field::display(error)
}

#[cfg(not(feature = "tracing"))]
fn tracing_display(error: &Error) -> &Error {
    error
}

/// A segment, its successor, and what is void in it.
pub(crate) fn neighbourhood(segments: &Segments, id: SegmentId) -> Option<Neighbourhood> {
    let segment = segments.get(id)?.clone();
    Some(Neighbourhood {
        segment,
        next: segments.after(id).cloned(),
        void_above: segments.void_above(id),
    })
}

/// Runs when it goes out of scope, by unwinding too.
struct OnDrop<F: FnMut()>(F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}
