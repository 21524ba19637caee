//! One ordered, durable sequence of frames, and the state that is their fold.
//!
//! This room knows kinds and item counts, not what they mean: that is the owner's business, behind [`Apply`]. The queue is one owner,
//! the bare [`Wal`](crate::Wal) another.

mod around;
mod aside;
mod cohort;
mod dirs;
mod group;
pub(crate) mod names;
mod prepare;
mod quarantine;
mod reader;
mod recover;
mod recovering;
mod retention;
mod salvage;
mod scan;
mod segments;
mod spares;
mod tail;
mod threads;
mod torn;
mod verdict;
mod wal;
mod writer;

pub use group::{Committed, Ticket};
pub use quarantine::Quarantined;
pub use recover::{ImageSource, RecoveryReport};
pub use verdict::{Consequence, VERDICTS, Verdict, VerdictRow};
pub use wal::{Wal, WalRecord};

pub(crate) use dirs::{Directories, is_absent, read_manifest, refuse_flume};
pub(crate) use group::{Hold, Request, Slot};
pub(crate) use quarantine::{Extent, Quarantine};
pub(crate) use reader::{Cursor, Found, Neighbourhood, SegmentReader, Step, next_frame};
pub(crate) use recover::{Beginning, Candidate, choose_image, first_frame_of, image_of, open};
pub(crate) use scan::{Damage, Scan, Start, Visit, scan};
pub(crate) use segments::{Hole, Listing, Segment, Segments, read_segment_header, start_of};
pub(crate) use wal::BARE_IMAGE_BYTES;

use crate::{
    error::{CommitError, Error, ErrorKind, Result},
    format::{FrameHeader, LogImage, SEGMENT_HEADER_LEN, SegmentHeader},
    ids::{EventSeq, FramePtr, Lsn, SegmentId},
    options::{Durability, LogOptions, OnDamage},
    stats::{Counters, LogStats},
    sync::Mutex,
};
use bytes::Bytes;
use group::Group;
use prepare::Preparer;
use segments::{directory_holding, directory_of};
use spares::{Spares, len_of, remove_if_there, reserve_bytes};
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

/// A log that takes nothing for so long has its last group vouched for: from then on damage to that is told from a torn end.
const IDLE_TIME: Duration = Duration::from_millis(50);
/// Takes that found no room are tried again where so much is free beyond the head of a new segment.
const TAKES_ROOM_BYTES: u64 = 1 << 20;

/// A frame at its place.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    pub(crate) header: FrameHeader,
    pub(crate) ptr: FramePtr,
    pub(crate) body: Bytes,
}

/// The owner of a log: the one door through which state changes.
pub(crate) trait Apply: Send + std::marker::Sync {
    /// Begins with a state. Answers the LSN behind which it wants the frames.
    fn restore(&self, beginning: Beginning<'_>) -> Result<Lsn>;
    /// Frames are missing that held the items up to `until`. Only recovery says so.
    fn pass(&self, until: EventSeq);
    /// Changes the state: called once for each frame, in the order of LSNs, after it is durable (under `Interval`: written).
    fn apply(&self, frame: &Frame) -> Result<()>;
    /// All that was durable is replayed, and nothing is written yet: says what the state needs and is gone, given the oldest segment and
    /// the frames that follow (rule S4).
    fn missing_before(
        &self,
        oldest: &SegmentHeader,
        held_back: &[Frame],
    ) -> Result<Option<Missing>>;
    /// Of these items, from the first to the last one that is owed: who reads comes across damage that held others too.
    fn owed_of(&self, items: (EventSeq, EventSeq)) -> (EventSeq, EventSeq) {
        items
    }
    /// The state now, as bytes: what a new segment begins with.
    fn image(&self) -> Vec<u8>;
    /// The log has stopped itself: no frame will come any more, and who waits for one must hear of it.
    fn stopped(&self) {}
    /// The log goes on in the reserve for a full disk: what can be given back should be, soon.
    fn short_of_space(&self) {}
}

/// What lay in segments that are gone.
pub(crate) struct Missing {
    pub(crate) what: String,
    /// The first LSN, as far as it is known, and the first one behind.
    pub(crate) lsns: (Lsn, Lsn),
    /// The first item, and the first one behind.
    pub(crate) items: (EventSeq, EventSeq),
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
    quarantine: Mutex<Quarantine>,
    /// Held by who removes segments: two of them would not keep the order.
    retention: Mutex<()>,
    tail: Mutex<Tail>,
    /// Behind the last frame that may be read.
    end: Mutex<FramePtr>,
    poison: OnceLock<Error>,
    /// The active segment was made over a reserve, since the disk is full: only what drains it may use that up.
    on_reserve: AtomicBool,
    /// The reserve is used up, and the disk is full: takes were refused.
    takes_wait: AtomicBool,
    counters: Counters,
    preparer: Preparer,
    /// The committer, and who prepares segments.
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Log {
    fn new(
        dirs: Directories,
        options: LogOptions,
        apply: Arc<dyn Apply>,
        segments: Segments,
        spares: Spares,
        quarantine: Quarantine,
        writer: Writer,
    ) -> Self {
        let end = FramePtr { segment: writer.header.id, offset: writer.offset };
        let tail = Tail::new(options.tail_cache_bytes);
        let preparer = Preparer::new(options.segment_bytes_max, dirs.vfs.monotonic());
        Self {
            dirs,
            options,
            apply,
            group: Group::default(),
            writer: Mutex::new(writer),
            segments: Mutex::new(segments),
            spares: Mutex::new(spares),
            quarantine: Mutex::new(quarantine),
            retention: Mutex::new(()),
            tail: Mutex::new(tail),
            end: Mutex::new(end),
            poison: OnceLock::new(),
            on_reserve: AtomicBool::new(false),
            takes_wait: AtomicBool::new(false),
            counters: Counters::default(),
            preparer,
            threads: Mutex::default(),
        }
    }

    /// An empty buffer for a frame, which may have served before.
    pub(crate) fn take_buffer(&self) -> Vec<u8> {
        self.tail.lock().take_buffer()
    }

    /// As after a group of so many commits on a very slow disk: the next leader waits for as many, for so long.
    #[cfg(all(test, not(fchannel_loom)))]
    pub(crate) fn expect_commits(&self, commits: usize, patience: Duration) {
        self.group.expect_commits(commits, patience);
    }

    /// True while a leader waits for others.
    #[cfg(all(test, not(fchannel_loom)))]
    pub(crate) fn gathers(&self) -> bool {
        self.group.gathers()
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
        // Dropped last of all: poisoned, then answered.
        let mut flight = self.group.take(unwound());
        self.poisoned_if_it_unwinds(|| {
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
        });
    }

    /// Stops the log for good; answers the error that it gives from now on.
    pub(crate) fn poison(&self, error: &Error) -> Error {
        let poison = self.poison.get_or_init(|| {
            crate::trace::error!(error = tracing_display(error), "the log has stopped itself");
            error.as_poison()
        });
        self.group.stop(poison);
        self.preparer.give_up();
        self.apply.stopped();
        poison.clone()
    }

    /// A leader that unwinds leaves work half done (invariant L8). Whether the thread panics would be the wrong question: it may be
    /// unwinding for reasons of its own, and commit in a destructor.
    fn poisoned_if_it_unwinds<T>(&self, work: impl FnOnce() -> T) -> T {
        let done = Cell::new(false);
        let _poison = OnDrop(|| {
            if !done.get() {
                self.poison(&unwound());
            }
        });
        let answer = work();
        done.set(true);
        answer
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
            self.poisoned_if_it_unwinds(work)
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
    /// Poisons the log; `Closed` if it ends and somebody else leads, who may be waiting for the end of this very thread.
    pub(crate) fn durable_image(&self) -> Result<LogImage> {
        if !self.group.lead_unless_ending() {
            return Err(closed());
        }
        // Between groups nothing is half applied: state, LSN and place belong together.
        let image = |writer: &mut Writer| {
            writer.sync()?;
            let next_frame = FramePtr { segment: writer.header.id, offset: writer.offset };
            Ok(LogImage {
                lsn: writer.durable_lsn,
                next_item: writer.next_item,
                next_frame,
                owner: self.apply.image(),
            })
        };
        self.as_leader(|| self.with_writer(image))
    }

    /// How long no group must have come before the last one is vouched for. Under `Interval` a vouching frame is a sync that nobody
    /// asked for: it takes its time.
    fn idle_time(&self) -> Duration {
        match self.options.durability {
            Durability::EachCommit => IDLE_TIME,
            Durability::Interval { sync_interval_ms } => {
                Duration::from_millis(sync_interval_ms).max(IDLE_TIME)
            }
        }
    }

    /// Vouches for the last group if none has followed it for a while. For a world without threads.
    ///
    /// # Errors
    /// Poisons the log.
    pub(crate) fn vouch_if_idle(&self) -> Result<()> {
        self.exclusively(|writer| {
            let since = self.dirs.vfs.monotonic().saturating_sub(writer.last_write_at);
            if since < self.idle_time() { Ok(()) } else { writer.vouch_where_there_is_room(self) }
        })
    }

    /// How long unsynced commits may stay so; `None` if there are none by policy.
    pub(crate) fn sync_interval(&self) -> Option<Duration> {
        self.options.unsynced_max_ms().map(Duration::from_millis)
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

    /// The frame at `cursor`, which moves behind it; [`Step::End`] at the end of the log. Behind damage that is set aside already the
    /// cursor goes on without a word.
    ///
    /// # Errors
    /// `Corrupt`: with [`OnDamage::Quarantine`] the damage is set aside by then, and the cursor stands behind it. `Io`.
    pub(crate) fn next(&self, cursor: &mut Cursor) -> Result<Step> {
        if let Some(frame) = self.tail.lock().get(cursor.next) {
            cursor.pass(&frame.header);
            return Ok(Step::Frame(frame));
        }
        let mut looked_again = false;
        loop {
            self.pass_removed(cursor);
            let end = *self.end.lock();
            let step = next_frame(&*self.dirs.vfs, cursor, end, |id| {
                neighbourhood(&self.segments.lock(), id)
            });
            let error = match step {
                Ok(step) => return Ok(step),
                Err(error) => error,
            };
            // A segment that was removed under the cursor held nothing that is owed: the next one does.
            if self.oldest_segment().is_some_and(|oldest| oldest > cursor.next.segment) {
                continue;
            }
            if error.kind() != &ErrorKind::Corrupt {
                return Err(error);
            }
            if let Some(next) = self.behind_known(cursor, end, &error)? {
                cursor.jump(next, None);
            } else if self.options.on_damage == OnDamage::Refuse {
                return Err(error);
            } else if std::mem::replace(&mut looked_again, true) {
                let damage = self.set_aside(cursor, end, &error)?;
                cursor.jump(damage.next.unwrap_or(end), None);
                return Err(error);
            } else {
                // What is given up is read twice.
                cursor.look_again();
            }
        }
    }

    /// The first item that any segment can still hold, and where the frames begin.
    pub(crate) fn oldest_item(&self) -> Option<(EventSeq, FramePtr)> {
        let segments = self.segments.lock();
        let oldest = segments.oldest()?.header;
        Some((oldest.first_item, recover::first_frame_of(oldest.id)))
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
            && let Some(header) = self.header_at(&here.segment, hint.offset)?
            && header.first_item <= seq
            && here.void_above.is_none_or(|cut| header.lsn <= cut)
        {
            return Ok(Cursor::at(hint));
        }
        // A hint may point to a frame that recovery has written anew elsewhere. Then the walk begins at the segment's start.
        let segments = self.segments.lock();
        let oldest = segments.oldest().filter(|_| self.goes_on_behind_damage());
        let segment = segments.of_item(seq).or(oldest).ok_or_else(|| {
            Error::corrupt(format!("the segment of event {seq} is gone, though it is owed"))
        })?;
        Ok(Cursor::at(recover::first_frame_of(segment.header.id)))
    }

    /// The header at `offset` of `segment`; `None` also if the segment is removed meanwhile.
    fn header_at(&self, segment: &Segment, offset: u64) -> Result<Option<FrameHeader>> {
        let header = SegmentReader::open_for_one(&*self.dirs.vfs, segment)
            .and_then(|mut reader| reader.header(offset));
        let removed = || self.segments.lock().get(segment.header.id).is_none();
        header.or_else(|error| if removed() { Ok(None) } else { Err(error) })
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
fn tracing_display<T: std::fmt::Display>(value: &T) -> impl tracing::Value + '_ {
    tracing::field::display(value)
}

#[cfg(not(feature = "tracing"))]
fn tracing_display<T>(value: &T) -> &T {
    value
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
