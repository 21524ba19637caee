//! Put and take transactions. Dropping one is a rollback.

use super::{Shared, capacity::Decision};
use crate::{
    error::{CommitError, Error, ErrorKind, Result},
    format::{Kind, PUT_PREAMBLE_LEN, finish_put_body, put_event_prefix, take_body},
    ids::Lsn,
    log::{Committed, Hold, Request, Ticket},
    queue::{Lease, Record, TakeLimit},
};
use bytes::Bytes;
use std::{
    collections::BTreeMap,
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

/// All marks of a channel together, keys and values.
pub(crate) const MARKS_BYTES_MAX: usize = 1 << 20;

/// Room for events in a channel, held until it is used by [`PutTransaction::submit`] or dropped.
#[must_use = "room that is dropped goes to the next who waits"]
pub struct Room {
    shared: Arc<Shared>,
    events: u64,
    /// By how much the marks that are committed with it may grow.
    marks_bytes: usize,
}

impl Room {
    pub(super) fn new(shared: Arc<Shared>, events: u64) -> Self {
        Self { shared, events, marks_bytes: 0 }
    }

    /// For how many events.
    #[must_use]
    pub fn events(&self) -> u64 {
        self.events
    }

    fn shrink_to(&mut self, events: u64) {
        self.shared.owner.capacity.give_back(self.events.saturating_sub(events));
        self.events = self.events.min(events);
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        if self.events > 0 {
            self.shared.owner.capacity.give_back(self.events);
        }
        if self.marks_bytes > 0 {
            *self.shared.marks_in_flight.lock() -= self.marks_bytes;
        }
    }
}

impl Hold for Room {
    fn settle(mut self: Box<Self>) {
        // The events are in the channel now: the credits come back when they are taken.
        self.events = 0;
    }
}

impl fmt::Debug for Room {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Room").field("events", &self.events).finish_non_exhaustive()
    }
}

/// Why a blocking put commit did not answer "done".
#[derive(Debug)]
#[non_exhaustive]
pub enum PutError {
    /// No room within `keep_alive_ms`. Here is the transaction: commit it again, or drop it.
    Full(PutTransaction),
    /// See [`CommitError`].
    Commit(CommitError),
}

impl fmt::Display for PutError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full(transaction) => {
                let (capacity, used) = transaction.shared.owner.capacity.level();
                write!(
                    f,
                    "not committed: no room for {} events within keep_alive_ms ({used} of {capacity} are used)",
                    transaction.events
                )
            }
            Self::Commit(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for PutError {}

/// Events on their way in: a buffer until it is committed. Nothing of it is on disk or visible before, and nothing of it is left if it
/// is dropped.
#[must_use = "dropping a transaction is a rollback"]
pub struct PutTransaction {
    shared: Arc<Shared>,
    /// Room for the header, the preamble, then the events: the frame, as it will be written.
    buffer: Vec<u8>,
    events: u32,
    marks: Vec<(Bytes, Bytes)>,
}

impl PutTransaction {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, buffer: Vec::new(), events: 0, marks: Vec::new() }
    }

    /// Adds an event.
    ///
    /// # Errors
    /// `TooLarge` over `transaction_events_max` or `transaction_bytes_max`; the transaction stays as it was.
    pub fn push(&mut self, payload: &[u8]) -> Result<()> {
        self.push_with(|buffer| buffer.extend_from_slice(payload))
    }

    /// Adds an event that `write` appends to the frame in place: it must only append.
    ///
    /// # Errors
    /// As [`push`](Self::push).
    ///
    /// # Panics
    /// If `write` shortened the buffer.
    pub fn push_with(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> Result<()> {
        if self.events >= self.shared.options.transaction_events_max {
            let max = self.shared.options.transaction_events_max;
            return Err(Error::new(
                ErrorKind::TooLarge,
                format!("the transaction holds {max} events, its transaction_events_max"),
            ));
        }
        if self.buffer.is_empty() {
            self.buffer = self.shared.log.take_buffer();
            self.buffer.resize(Request::HEADER_ROOM + PUT_PREAMBLE_LEN, 0);
        }
        let before = self.buffer.len();
        // Half an event must not stay if `write` unwinds.
        let mut unfinished = Unfinished { buffer: &mut self.buffer, len: before };
        unfinished.buffer.extend_from_slice(&put_event_prefix(0));
        write(unfinished.buffer);
        unfinished.len = unfinished.buffer.len();
        drop(unfinished);
        let payload =
            self.buffer.len().checked_sub(before + 4).expect("an event's writer only appends");
        let body = (self.buffer.len() - Request::HEADER_ROOM - PUT_PREAMBLE_LEN) as u64;
        let max = self.shared.options.transaction_bytes_max;
        if body > max {
            self.buffer.truncate(before);
            let what = format!(
                "with this event of {payload} bytes the transaction passes transaction_bytes_max ({max})"
            );
            return Err(Error::new(ErrorKind::TooLarge, what));
        }
        let prefix = put_event_prefix(
            u32::try_from(payload).expect("transaction_bytes_max is at most 1 GiB"),
        );
        if let Some(place) = self.buffer.get_mut(before..before + 4) {
            place.copy_from_slice(&prefix);
        }
        self.events += 1;
        Ok(())
    }

    /// Sets a mark, atomically with the commit; an empty value removes it. The last value of a key wins.
    ///
    /// # Errors
    /// `TooLarge` if the marks of the channel would pass 1 MiB; the transaction stays as it was.
    pub fn set_mark(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        self.marks.push((Bytes::copy_from_slice(key), Bytes::copy_from_slice(value)));
        self.marks_growth(0).map(drop).inspect_err(|_| drop(self.marks.pop()))
    }

    /// By how much the channel's marks grow with these, if they stay small, and `in_flight` with them. Checked again at the commit: others
    /// may have set some meanwhile.
    fn marks_growth(&self, in_flight: usize) -> Result<usize> {
        let new: BTreeMap<&Bytes, &Bytes> =
            self.marks.iter().map(|(key, value)| (key, value)).collect();
        let (kept, replaced) = self.shared.owner.queue.with_state(|state| {
            let replaced = new.keys().filter_map(|key| Some(key.len() + state.mark(key)?.len()));
            (state.marks_bytes(), replaced.sum::<usize>())
        });
        let added: usize = self.marks.iter().map(|(key, value)| key.len() + value.len()).sum();
        let growth = added.saturating_sub(replaced);
        if growth > 0 && kept + in_flight + growth > MARKS_BYTES_MAX {
            let what = format!("with these marks the channel's marks pass {MARKS_BYTES_MAX} bytes");
            return Err(Error::new(ErrorKind::TooLarge, what));
        }
        Ok(growth)
    }

    /// Holds room for the growth of the marks until they are applied: commits that wait together must stay small together.
    fn reserve_marks(&self, room: &mut Room) -> Result<()> {
        if !self.marks.is_empty() {
            let mut in_flight = self.shared.marks_in_flight.lock();
            room.marks_bytes = self.marks_growth(*in_flight)?;
            *in_flight += room.marks_bytes;
        }
        Ok(())
    }

    fn check(&self) -> Result<()> {
        self.shared.check_open()?;
        if self.marks.is_empty() { Ok(()) } else { self.marks_growth(0).map(drop) }
    }

    /// How many events it holds.
    #[must_use]
    pub fn len(&self) -> u32 {
        self.events
    }

    /// True if it holds no event.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.events == 0
    }

    /// Waits for room, up to `keep_alive_ms`, then until the commit is durable. This thread may lead a group of commits meanwhile. An
    /// empty transaction writes nothing.
    ///
    /// # Errors
    /// See [`PutError`].
    pub fn commit(self) -> Result<Committed, PutError> {
        self.check().map_err(|error| PutError::Commit(CommitError::NotCommitted(error)))?;
        let deadline = Instant::now() + Duration::from_millis(self.shared.options.keep_alive_ms);
        let asked = self.shared.owner.capacity.ask(u64::from(self.events));
        let mut room = match asked.wait_until(deadline) {
            Some(Decision::Granted) => Room::new(Arc::clone(&self.shared), u64::from(self.events)),
            Some(Decision::Closed) => {
                return Err(PutError::Commit(CommitError::NotCommitted(
                    self.shared.closed_error(),
                )));
            }
            Some(Decision::Never) | None => return Err(PutError::Full(self)),
        };
        self.reserve_marks(&mut room)
            .map_err(|error| PutError::Commit(CommitError::NotCommitted(error)))?;
        match self.into_request(room) {
            Ok((shared, request)) => {
                let slot = shared.log.submit(request);
                shared.log.wait(&slot).map_err(PutError::Commit)
            }
            Err(nothing) => Ok(nothing),
        }
    }

    /// Queues the commit with room that is already held, and returns at once: its place in the order is fixed then. Needs no runtime
    /// and never leads a group.
    ///
    /// # Errors
    /// `Full` if the room is for fewer events; `Closed`, `Poisoned`. Nothing is committed then.
    pub fn submit(self, mut room: Room) -> Result<Ticket, CommitError> {
        self.check().map_err(CommitError::NotCommitted)?;
        let events = u64::from(self.events);
        if room.events < events || !Arc::ptr_eq(&room.shared, &self.shared) {
            let what = format!(
                "the room is for {} events of its channel, the transaction has {events}",
                room.events
            );
            return Err(CommitError::NotCommitted(Error::new(ErrorKind::Full, what)));
        }
        room.shrink_to(events);
        self.reserve_marks(&mut room).map_err(CommitError::NotCommitted)?;
        Ok(match self.into_request(room) {
            Ok((shared, request)) => shared.log.submit_ticket(request),
            Err(nothing) => Ticket::answered(nothing),
        })
    }

    /// The frame of this transaction; what an empty one achieves.
    fn into_request(mut self, room: Room) -> Result<(Arc<Shared>, Request), Committed> {
        if self.events == 0 && self.marks.is_empty() {
            return Err(NOTHING);
        }
        if self.buffer.is_empty() {
            self.buffer.resize(Request::HEADER_ROOM + PUT_PREAMBLE_LEN, 0);
        }
        finish_put_body(&mut self.buffer, Request::HEADER_ROOM, &self.marks);
        let request =
            Request::new(Kind::PUT, self.events, self.buffer).refusable().holding(Box::new(room));
        Ok((self.shared, request))
    }
}

/// Cuts a buffer back to `len` when it goes.
struct Unfinished<'a> {
    buffer: &'a mut Vec<u8>,
    len: usize,
}

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        self.buffer.truncate(self.len);
    }
}

/// What the commit of an empty transaction achieves.
const NOTHING: Committed = Committed { lsn: Lsn::new(0), first: None, events: 0, durable: true };

impl fmt::Debug for PutTransaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PutTransaction").field("events", &self.events).finish_non_exhaustive()
    }
}

/// Leased events: invisible to other takers, gone for good once committed, back at their places when this is dropped.
#[must_use = "dropping a transaction is a rollback"]
pub struct TakeTransaction {
    leased: Leased,
}

/// A lease that goes back when it is dropped.
struct Leased {
    shared: Arc<Shared>,
    lease: Lease,
}

impl Drop for Leased {
    fn drop(&mut self) {
        let lease = std::mem::take(&mut self.lease);
        if !lease.records.is_empty() {
            self.shared.owner.queue.release(lease);
            self.shared.owner.ready.tell(1);
        }
    }
}

impl Hold for Leased {
    fn settle(mut self: Box<Self>) {
        let lease = std::mem::take(&mut self.lease);
        let owner = &self.shared.owner;
        owner.queue.settle(&lease);
        // Who looked between the take's application and this saw fewer events than there are.
        if !owner.ready.is_empty() && owner.queue.available() > 0 {
            owner.ready.tell(1);
        }
    }
}

impl TakeTransaction {
    pub(super) fn begin(shared: Arc<Shared>, limit: TakeLimit) -> Result<Self> {
        let mut transaction = Self { leased: Leased { shared, lease: Lease::default() } };
        transaction.extend(limit)?;
        Ok(transaction)
    }

    /// The events, in order. None if the channel was empty.
    #[must_use]
    pub fn records(&self) -> &[Record] {
        &self.leased.lease.records
    }

    /// Leases more into this transaction, until it holds what `limit` allows; answers how many were added.
    ///
    /// # Errors
    /// `Corrupt` or `Io` if the next event cannot be read; `DiskFull` if the disk is full and the reserve for takes used up; `Closed`,
    /// `Poisoned`. The transaction stays as it was.
    pub fn extend(&mut self, limit: TakeLimit) -> Result<usize> {
        let shared = &self.leased.shared;
        shared.check_open()?;
        shared.log.check_room_for_takes()?;
        let before = self.leased.lease.records.len();
        let limit =
            TakeLimit { events: limit.events.min(shared.options.transaction_events_max), ..limit };
        let leased = shared.owner.queue.lease(&shared.log, limit, &mut self.leased.lease);
        let given_up = shared.give_up(self.leased.lease.take_lost());
        if let Err(error) = leased.and(given_up) {
            drop(self.split_off(before));
            return Err(error);
        }
        // A wake-up goes to one taker for each put: who leaves something tells the next.
        if !shared.owner.ready.is_empty() && shared.owner.queue.available() > 0 {
            shared.owner.ready.tell(1);
        }
        Ok(self.leased.lease.records.len() - before)
    }

    /// The records from `at` on become a transaction of their own: commit one part, roll back the other.
    pub fn split_off(&mut self, at: usize) -> Self {
        let lease = self.leased.lease.split_off(at);
        Self { leased: Leased { shared: Arc::clone(&self.leased.shared), lease } }
    }

    /// Gives the events up for good; durable on return. This thread may lead a group of commits meanwhile.
    ///
    /// # Errors
    /// `NotCommitted`: the events are back in the channel. `Unknown`: the next open decides.
    pub fn commit(self) -> Result<Committed, CommitError> {
        let Some((shared, request)) = self.into_request()? else { return Ok(NOTHING) };
        let slot = shared.log.submit(request);
        shared.log.wait(&slot)
    }

    /// Queues the commit and returns at once. Never leads a group.
    ///
    /// # Errors
    /// As [`commit`](Self::commit), but only what is known at once.
    pub fn submit(self) -> Result<Ticket, CommitError> {
        Ok(match self.into_request()? {
            Some((shared, request)) => shared.log.submit_ticket(request),
            None => Ticket::answered(NOTHING),
        })
    }

    fn into_request(self) -> Result<Option<(Arc<Shared>, Request)>, CommitError> {
        let leased = self.leased;
        if leased.lease.records.is_empty() {
            return Ok(None);
        }
        leased.shared.check_open().map_err(CommitError::NotCommitted)?;
        let shared = Arc::clone(&leased.shared);
        let mut buffer = vec![0; Request::HEADER_ROOM];
        take_body(&leased.lease.ranges(), &mut buffer);
        Ok(Some((shared, Request::new(Kind::TAKE, 0, buffer).holding(Box::new(leased)))))
    }
}

impl fmt::Debug for TakeTransaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TakeTransaction")
            .field("events", &self.records().len())
            .finish_non_exhaustive()
    }
}
