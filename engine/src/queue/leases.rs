//! The volatile side of a queue: which owed events are in a taker's hands. Never persisted: after a restart nothing is leased.
//!
//! Two locks, taken in this order: `leases`, which serialises takers and may be held over a read from disk, and `state`, which is
//! never held over I/O. Commits apply under `state` alone, so that a taker reading a cold backlog does not delay them.

use super::state::{Change, State};
use crate::{
    error::{Error, ErrorKind, Result},
    format::{Kind, PutBody, SegmentHeader, TakenRange},
    ids::{EventSeq, FramePtr, Lsn},
    log::{Cursor, Frame, Log, Missing, Step},
    sync::Mutex,
};
use bytes::Bytes;
use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU64, Ordering},
};

/// Bounds of one take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TakeLimit {
    /// Events, at least 1.
    pub events: u32,
    /// Payload bytes; the first event is taken whatever its size.
    pub bytes: u64,
}

impl TakeLimit {
    /// Up to `events`, up to 64 MiB.
    #[must_use]
    pub const fn events(events: u32) -> Self {
        Self { events, bytes: 64 << 20 }
    }
}

/// A leased event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its sequence: the same each time it is offered.
    pub seq: EventSeq,
    /// How often it was leased since the channel was opened, this time included.
    pub attempts: u32,
    /// A slice of the frame it came in.
    pub payload: Bytes,
}

/// Consecutive events of one frame.
#[derive(Clone, Copy, Debug)]
struct Run {
    first: EventSeq,
    count: u32,
    frame: FramePtr,
    attempts: u32,
}

/// Events in a taker's hands. Plain data: who holds it gives it back to [`Queue::release`] or [`Queue::settle`].
#[derive(Debug, Default)]
pub(crate) struct Lease {
    pub(crate) records: Vec<Record>,
    runs: Vec<Run>,
    bytes: u64,
    /// Events on the way that cannot be read: nobody will be offered them. Who leased says so in a gap frame.
    lost: Vec<TakenRange>,
}

impl Lease {
    /// The events that turned out to be lost.
    pub(crate) fn take_lost(&mut self) -> Vec<TakenRange> {
        std::mem::take(&mut self.lost)
    }

    /// What a take frame says: consecutive runs joined.
    pub(crate) fn ranges(&self) -> Vec<TakenRange> {
        let mut ranges: Vec<TakenRange> = Vec::new();
        for run in &self.runs {
            match ranges.last_mut() {
                Some(last) if last.end() == run.first => {
                    last.count += u64::from(run.count);
                    last.last_frame = run.frame;
                }
                _ => ranges.push(TakenRange {
                    first: run.first,
                    count: u64::from(run.count),
                    last_frame: run.frame,
                }),
            }
        }
        ranges
    }

    /// The records from `at` on, as a lease of their own.
    pub(crate) fn split_off(&mut self, at: usize) -> Self {
        let records = self.records.split_off(at.min(self.records.len()));
        let mut left = u32::try_from(self.records.len()).unwrap_or(u32::MAX);
        let mut runs = Vec::new();
        self.runs.retain_mut(|run| {
            let keep = left.min(run.count);
            left -= keep;
            if keep < run.count {
                runs.push(Run {
                    first: run.first.plus(u64::from(keep)),
                    count: run.count - keep,
                    ..*run
                });
                run.count = keep;
            }
            keep > 0
        });
        let bytes = records.iter().map(|record| record.payload.len() as u64).sum();
        self.bytes -= bytes;
        Self { records, runs, bytes, lost: Vec::new() }
    }

    fn has_room(&self, limit: TakeLimit) -> bool {
        self.records.len() < limit.events as usize
    }

    /// Adds the next event of a frame unless it passes the byte limit.
    fn add(
        &mut self,
        limit: TakeLimit,
        seq: EventSeq,
        frame: FramePtr,
        attempts: u32,
        payload: Bytes,
    ) -> bool {
        let bytes = self.bytes + payload.len() as u64;
        if !self.records.is_empty() && bytes > limit.bytes {
            return false;
        }
        self.bytes = bytes;
        match self.runs.last_mut() {
            Some(run)
                if run.frame == frame
                    && run.attempts == attempts
                    && run.first.plus(u64::from(run.count)) == seq =>
            {
                run.count += 1
            }
            _ => self.runs.push(Run { first: seq, count: 1, frame, attempts }),
        }
        self.records.push(Record { seq, attempts, payload });
        true
    }
}

/// A queue: durable state, and leases over it.
#[derive(Default)]
pub(crate) struct Queue {
    leases: Mutex<Leases>,
    state: Mutex<State>,
    /// Events in takers' hands. Beside the locks, because commits count it down.
    leased: AtomicU64,
}

#[derive(Default)]
struct Leases {
    /// The next event that was never leased.
    fresh: EventSeq,
    /// Where it is read from; `None` until a taker comes.
    at: Option<Position>,
    /// Leased once and given back, by first sequence; all below `fresh`.
    released: BTreeMap<EventSeq, Run>,
}

/// A place in the log, inside a put frame or between frames.
struct Position {
    cursor: Cursor,
    open: Option<OpenFrame>,
}

/// A put frame that is being handed out.
struct OpenFrame {
    ptr: FramePtr,
    put: PutBody,
    /// The next event of it, where its length stands, and the event behind its last.
    next: EventSeq,
    at: usize,
    end: EventSeq,
}

impl OpenFrame {
    fn new(frame: &Frame) -> Result<Self> {
        let put = PutBody::decode(frame.body.clone())?;
        let at = put.first_event();
        Ok(Self {
            ptr: frame.ptr,
            put,
            next: frame.header.first_item,
            at,
            end: frame.header.next_item(),
        })
    }

    /// The payload of `seq`, which is in this frame and not behind the reader.
    fn seek(&mut self, seq: EventSeq) -> Result<(Bytes, usize)> {
        while self.next < seq {
            let (_, after) = self.put.event_at(self.at)?;
            self.at = after;
            self.next = self.next.next();
        }
        self.put.event_at(self.at)
    }
}

impl Position {
    /// Opens the frame that holds `seq`, reading forward; or, where it cannot be read and damage is gone around, the one behind it.
    fn frame_of(&mut self, log: &Log, seq: EventSeq) -> Result<Opened<'_>> {
        // Of what is lost in several runs the frame behind it all was opened for the first one.
        if let Some((first, ptr)) = self.open.as_ref().map(|open| (open.next, open.ptr))
            && seq < first
        {
            return lost(log, seq, Some(first), ptr);
        }
        // Taken out, so that a frame that is left behind cannot be mistaken for the one that follows.
        let mut open = self.open.take().filter(|open| seq < open.end);
        let found = loop {
            if let Some(open) = open.take() {
                break open;
            }
            match log.next(&mut self.cursor) {
                Ok(Step::Frame(frame))
                    if frame.header.kind != Kind::PUT || frame.header.next_item() <= seq => {}
                Ok(Step::Frame(frame)) if frame.header.first_item <= seq => {
                    match OpenFrame::new(&frame) {
                        Ok(frame) => open = Some(frame),
                        Err(error) => go_around(log, frame.ptr, seq, error)?,
                    }
                }
                Ok(Step::Frame(frame)) => {
                    let answer = lost(log, seq, Some(frame.header.first_item), frame.ptr)
                        .map_err(|error| error.of_lsn(frame.header.lsn))?;
                    self.open = OpenFrame::new(&frame).ok();
                    return Ok(answer);
                }
                Ok(Step::End) => return lost(log, seq, None, self.cursor.next),
                // The cursor stands behind the damage.
                Err(error) if is_passable(log, &error) => {}
                Err(error) => return Err(error),
            }
        };
        Ok(Opened::Frame(self.open.insert(found)))
    }
}

/// What a taker finds where an event should be.
enum Opened<'a> {
    /// The frame that holds it.
    Frame(&'a mut OpenFrame),
    /// Damage: the events below `until` cannot be read, and the log goes on at `next`. `None`: it ends.
    Lost { until: Option<EventSeq>, next: FramePtr },
}

/// Event `seq` is owed, and the log goes on at `next` with event `first`, if any. Damage that is set aside says why, under either policy:
/// who set it aside may have died before the log said that its events are lost.
///
/// # Errors
/// `Corrupt` if nothing says why, and damage is not gone around.
fn lost<'a>(
    log: &Log,
    seq: EventSeq,
    first: Option<EventSeq>,
    next: FramePtr,
) -> Result<Opened<'a>> {
    let known = log.set_aside_until(seq);
    if log.goes_on_behind_damage() {
        if known.is_none() {
            crate::trace::error!(event = seq.get(), "an event is owed and not in the log: lost");
        }
        return Ok(Opened::Lost { until: first, next });
    }
    match (known, first) {
        (Some(end), _) => Ok(Opened::Lost { until: first.or(Some(end)).min(Some(end)), next }),
        (None, Some(first)) => Err(Error::corrupt(format!(
            "event {seq} is owed, and the log goes on with event {first}"
        ))),
        (None, None) => {
            Err(Error::corrupt(format!("event {seq} is owed, and the log ends before it")))
        }
    }
}

/// True for damage that is gone around.
fn is_passable(log: &Log, error: &Error) -> bool {
    error.kind() == &ErrorKind::Corrupt && log.goes_on_behind_damage()
}

/// Sets aside a frame that was read and makes no sense, where damage is gone around; else answers the error.
fn go_around(log: &Log, frame: FramePtr, first: EventSeq, error: Error) -> Result<()> {
    if is_passable(log, &error) {
        log.set_frame_aside(frame, None, Some(first), &error)
    } else {
        Err(error)
    }
}

impl Queue {
    /// Begins with `state`; nothing is leased.
    pub(crate) fn restore(&self, state: State) {
        *self.leases.lock() = Leases { fresh: state.head(), ..Leases::default() };
        *self.state.lock() = state;
    }

    /// Rule S4: the oldest event owed lies in a segment that is there; else answers what is gone. Asked after the replay, because a
    /// later take may have freed a segment that is gone; it may be among the frames held back, where the checkpoint that alone vouched
    /// for it is damaged.
    ///
    /// # Errors
    /// `Corrupt` if those contradict the state.
    pub(crate) fn missing_before(
        &self,
        oldest: &SegmentHeader,
        held_back: &[Frame],
    ) -> Result<Option<Missing>> {
        let mut state = self.with_state(State::clone);
        for frame in held_back {
            state.apply(frame)?;
        }
        let gone = state.owed() > 0 && state.head() < oldest.first_item;
        Ok(gone.then(|| Missing {
            what: format!("@J: event {} is owed, and its segment is gone", state.head()),
            lsns: (Lsn::default(), oldest.first_lsn),
            items: (state.head(), oldest.first_item),
        }))
    }

    /// See [`State::pass_to`].
    pub(crate) fn pass_to(&self, until: EventSeq) {
        self.state.lock().pass_to(until);
    }

    /// See [`State::apply`].
    pub(crate) fn apply(&self, frame: &Frame) -> Result<Change> {
        self.state.lock().apply(frame)
    }

    /// The state as bytes.
    pub(crate) fn image(&self) -> Vec<u8> {
        self.state.lock().to_image()
    }

    /// Looks at the state.
    pub(crate) fn with_state<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        look(&self.state.lock())
    }

    /// Events owed and not in anybody's hands: a hint, as it may change at once.
    pub(crate) fn available(&self) -> u64 {
        let owed = self.state.lock().owed();
        owed.saturating_sub(self.leased())
    }

    /// Events in takers' hands.
    pub(crate) fn leased(&self) -> u64 {
        self.leased.load(Ordering::Acquire)
    }

    /// Leases what is there, up to `limit`, into `lease`: first what was given back, then what was never leased.
    ///
    /// # Errors
    /// `Corrupt` or `Io` if the next event cannot be read and `lease` got nothing; nothing is leased then. If it got something, the
    /// error comes with the next take.
    pub(crate) fn lease(&self, log: &Log, limit: TakeLimit, lease: &mut Lease) -> Result<()> {
        let before = lease.records.len();
        let mut leases = self.leases.lock();
        let answer = leases
            .again(log, limit, lease)
            .and_then(|()| leases.fresh(log, &self.state, limit, lease));
        let added = lease.records.len() - before;
        self.leased.fetch_add(added as u64, Ordering::AcqRel);
        if added > 0 { Ok(()) } else { answer }
    }

    /// Gives a lease back: its events are offered again, at their own places.
    pub(crate) fn release(&self, lease: Lease) {
        let count = lease.records.len() as u64;
        let mut leases = self.leases.lock();
        leases.released.extend(lease.runs.into_iter().map(|run| (run.first, run)));
        self.leased.fetch_sub(count, Ordering::AcqRel);
    }

    /// Ends a lease whose events are gone for good.
    pub(crate) fn settle(&self, lease: &Lease) {
        self.leased.fetch_sub(lease.records.len() as u64, Ordering::AcqRel);
    }

    /// Reads all owed events, and answers those that cannot be read.
    ///
    /// # Errors
    /// `Io`.
    pub(crate) fn find_lost(&self, log: &Log) -> Result<Vec<TakenRange>> {
        let limit = TakeLimit { events: 1000, bytes: 8 << 20 };
        let (mut next, mut at, mut lost) = (EventSeq::default(), None, Vec::new());
        loop {
            let mut seen = Lease::default();
            fresh_events(log, &self.state, &mut next, &mut at, limit, &mut seen)?;
            lost.append(&mut seen.lost);
            if seen.records.is_empty() {
                return Ok(lost);
            }
        }
    }

    /// Reads owed events from `from` on without leasing them, those in takers' hands too.
    ///
    /// # Errors
    /// `Corrupt`, `Io`.
    pub(crate) fn peek(
        &self,
        log: &Log,
        from: Option<EventSeq>,
        limit: TakeLimit,
    ) -> Result<Vec<Record>> {
        let mut seen = Lease::default();
        let mut at = None;
        let mut next = from.unwrap_or_default();
        fresh_events(log, &self.state, &mut next, &mut at, limit, &mut seen)?;
        for record in &mut seen.records {
            record.attempts = 0;
        }
        Ok(seen.records)
    }
}

impl Leases {
    fn again(&mut self, log: &Log, limit: TakeLimit, lease: &mut Lease) -> Result<()> {
        while lease.has_room(limit) {
            let Some((_, run)) = self.released.pop_first() else { return Ok(()) };
            let mut taken = lease_run(log, run, limit, lease);
            if let Err(error) = &taken
                && is_passable(log, error)
            {
                // Should that fail, the run is back, and the next taker tries again.
                let first = Some(run.first);
                taken = log.set_frame_aside(run.frame, None, first, error).map(|()| {
                    let count = u64::from(run.count);
                    lease.lost.push(TakenRange { first: run.first, count, last_frame: run.frame });
                    run.count
                });
            }
            let count = *taken.as_ref().unwrap_or(&0);
            if count < run.count {
                let first = run.first.plus(u64::from(count));
                self.released.insert(first, Run { first, count: run.count - count, ..run });
                return taken.map(drop);
            }
        }
        Ok(())
    }

    fn fresh(
        &mut self,
        log: &Log,
        state: &Mutex<State>,
        limit: TakeLimit,
        lease: &mut Lease,
    ) -> Result<()> {
        // What was given back goes first, also when it did not fit.
        if self.released.is_empty() {
            fresh_events(log, state, &mut self.fresh, &mut self.at, limit, lease)
        } else {
            Ok(())
        }
    }
}

/// Leases events of a run that was given back; answers how many.
fn lease_run(log: &Log, run: Run, limit: TakeLimit, lease: &mut Lease) -> Result<u32> {
    let frame = log.read(run.frame)?;
    let mut open = OpenFrame::new(&frame)?;
    for done in 0..run.count {
        let seq = run.first.plus(u64::from(done));
        let payload = match open.seek(seq) {
            Ok((payload, _)) => payload,
            // What is leased by now stays so; the error comes with the next take.
            Err(_) if done > 0 => return Ok(done),
            Err(error) => return Err(error),
        };
        if !lease.has_room(limit) || !lease.add(limit, seq, run.frame, run.attempts + 1, payload) {
            return Ok(done);
        }
    }
    Ok(run.count)
}

/// Leases owed events from `next` on, reading forward from `at`, and moves both.
fn fresh_events(
    log: &Log,
    state: &Mutex<State>,
    next: &mut EventSeq,
    at: &mut Option<Position>,
    limit: TakeLimit,
    lease: &mut Lease,
) -> Result<()> {
    while lease.has_room(limit) {
        let (run, hint) = {
            let state = state.lock();
            (state.owed_run(*next), state.head_frame())
        };
        let Some((first, end)) = run else { return Ok(()) };
        let position = match at {
            Some(position) => position,
            None => at.insert(Position { cursor: log.cursor_for(first, hint)?, open: None }),
        };
        let open = match position.frame_of(log, first) {
            Ok(Opened::Frame(open)) => open,
            Ok(Opened::Lost { until, next: goes_on }) => {
                let until = until.unwrap_or(end).min(end);
                lease.lost.push(TakenRange {
                    first,
                    count: until.get() - first.get(),
                    last_frame: goes_on,
                });
                *next = until;
                continue;
            }
            Err(error) => {
                // The next taker walks anew, and gets the same error if nothing has changed.
                *at = None;
                return Err(error);
            }
        };
        let mut seq = first;
        while seq < end.min(open.end) && lease.has_room(limit) {
            let (payload, after) = match open.seek(seq) {
                Ok(found) => found,
                Err(error) => {
                    let frame = open.ptr;
                    position.open = None;
                    go_around(log, frame, seq, error)?;
                    break;
                }
            };
            if !lease.add(limit, seq, open.ptr, 1, payload) {
                return Ok(());
            }
            seq = seq.next();
            (open.next, open.at) = (seq, after);
            *next = seq;
        }
    }
    Ok(())
}
