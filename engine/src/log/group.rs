//! Group commit: who waits, who leads, and who is told what.
//!
//! A frame is queued when it is submitted. One thread at a time *leads*: it takes all frames that wait, writes and syncs them as one
//! group, applies them in order and answers their tickets. While it is at it the next group gathers by itself.
//!
//! A thread that blocks on its commit may lead; a future never does, since it would hold a runtime worker for a whole sync. The log's
//! own committer thread leads when tickets wait and no thread blocks on one.
//!
//! Invariants, all under the one lock: `led` is true exactly while a leader is at work or was called and is on its way; frames wait
//! only while `led`, except between `submit` and the `wait` of a thread that is about to lead.

mod ticket;

pub(crate) use ticket::Slot;
pub use ticket::Ticket;

use super::cohort::Cohort;
use crate::{
    error::{CommitError, Error, ErrorKind},
    format::{FRAME_HEADER_LEN, Kind, crc32, padded_len},
    ids::{EventSeq, Lsn},
    sync::{Condvar, Mutex},
};
use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

/// What a commit achieved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Committed {
    /// The LSN of the transaction's frame, which is also its id. Zero for an empty transaction: nothing was written.
    pub lsn: Lsn,
    /// The sequence of the first event put, if any was.
    pub first: Option<EventSeq>,
    /// How many events were put.
    pub events: u32,
    /// False under [`Durability::Interval`](crate::Durability::Interval), and for takes under
    /// [`TakeSync::WithNextPut`](crate::TakeSync::WithNextPut): a power cut may still take it back.
    pub durable: bool,
}

/// Something to hold until a frame is applied: dropped instead of settled, it undoes itself.
pub(crate) trait Hold: Send {
    /// The frame is applied.
    fn settle(self: Box<Self>);
}

/// A frame to be committed.
pub(crate) struct Request {
    kind: Kind,
    item_count: u32,
    /// Room for the header, the body, padding.
    buffer: Vec<u8>,
    body_len: u32,
    body_crc: u32,
    /// Puts are refused when the disk runs full; takes only when the reserve is used up.
    pub(crate) refusable: bool,
    hold: Option<Box<dyn Hold>>,
}

impl Request {
    /// Bytes to leave free at the front of a buffer, for the header.
    pub(crate) const HEADER_ROOM: usize = FRAME_HEADER_LEN;

    /// A frame of `kind` whose body stands in `buffer` behind [`Self::HEADER_ROOM`] bytes. The checksum is computed here, by the
    /// committer, under no lock.
    ///
    /// # Panics
    /// If the buffer is shorter than the room, or the body 4 GiB long: both are excluded by the callers' own limits.
    pub(crate) fn new(kind: Kind, item_count: u32, mut buffer: Vec<u8>) -> Self {
        let body = buffer
            .get(Self::HEADER_ROOM..)
            .expect("a frame's buffer begins with room for its header");
        let body_len = u32::try_from(body.len()).expect("a frame's body is shorter than 4 GiB");
        let body_crc = crc32(&[body]);
        let padded =
            usize::try_from(padded_len(buffer.len() as u64)).expect("a frame fits into memory");
        buffer.resize(padded, 0);
        // It may have served a larger frame, and memory is counted by the lengths of frames.
        buffer.shrink_to(padded.saturating_mul(2));
        Self { kind, item_count, buffer, body_len, body_crc, refusable: false, hold: None }
    }

    pub(crate) fn refusable(mut self) -> Self {
        self.refusable = true;
        self
    }

    pub(crate) fn holding(mut self, hold: Box<dyn Hold>) -> Self {
        self.hold = Some(hold);
        self
    }

    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    pub(crate) fn item_count(&self) -> u32 {
        self.item_count
    }

    pub(crate) fn body_len(&self) -> u32 {
        self.body_len
    }

    pub(crate) fn body_crc(&self) -> u32 {
        self.body_crc
    }

    pub(crate) fn buffer(&self) -> &[u8] {
        &self.buffer
    }

    pub(crate) fn buffer_mut(&mut self) -> &mut Vec<u8> {
        &mut self.buffer
    }
}

/// A frame in the hands of a leader, with its ticket's slot.
pub(crate) struct Waiting {
    pub(crate) request: Request,
    slot: Arc<Slot>,
}

/// Frames that a leader has taken. Those it drops unanswered get "unknown": it failed or unwound half-way.
pub(crate) struct InFlight {
    frames: VecDeque<Waiting>,
    poison: Error,
}

impl InFlight {
    /// A frame of the log's own, which nobody waits for.
    pub(crate) fn of(request: Request) -> Self {
        let poison = Error::new(ErrorKind::Poisoned, "nobody waits for this frame");
        Self { frames: VecDeque::from([Waiting { request, slot: Arc::default() }]), poison }
    }

    pub(crate) fn frames(&self) -> &VecDeque<Waiting> {
        &self.frames
    }

    pub(crate) fn frames_mut(&mut self) -> &mut VecDeque<Waiting> {
        &mut self.frames
    }

    fn bytes(&self) -> usize {
        self.frames.iter().map(|waiting| waiting.request.buffer().len()).sum()
    }

    /// What the frames get that are not answered.
    pub(crate) fn fail_with(&mut self, error: &Error) {
        self.poison = error.clone();
    }

    /// Answers the first frame: it is applied.
    pub(crate) fn settle_first(&mut self, committed: Committed) {
        // It stays in flight meanwhile: should this unwind, it is answered all the same.
        if let Some(hold) = self.frames.front_mut().and_then(|first| first.request.hold.take()) {
            hold.settle();
        }
        if let Some(waiting) = self.frames.pop_front() {
            waiting.slot.answer(Ok(committed));
        }
    }

    /// Answers all frames for which `which` holds: nothing of them was written.
    pub(crate) fn refuse(&mut self, error: &Error, which: impl Fn(&Request) -> bool) {
        for waiting in std::mem::take(&mut self.frames) {
            if which(&waiting.request) {
                drop(waiting.request);
                waiting.slot.answer(Err(CommitError::NotCommitted(error.clone())));
            } else {
                self.frames.push_back(waiting);
            }
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        for waiting in self.frames.drain(..) {
            drop(waiting.request);
            waiting.slot.answer(Err(CommitError::Unknown(self.poison.clone())));
        }
    }
}

/// The queue of a log's commits.
#[derive(Default)]
pub(crate) struct Group {
    state: Mutex<GroupState>,
    committer: Condvar,
    idle: Condvar,
    gathered: Condvar,
}

#[derive(Default)]
struct GroupState {
    waiting: VecDeque<Waiting>,
    led: bool,
    /// There is a thread that leads when it is called.
    has_committer: bool,
    committer_called: bool,
    /// No more frames.
    stopped: Option<Error>,
    committer_shall_end: bool,
    /// Threads that want to lead without a frame of their own.
    exclusive: usize,
    /// Whom the next group waits for.
    cohort: Cohort,
    /// While a leader waits for them: how many frames it has in flight.
    gathering: Option<usize>,
    /// Groups that were taken, and whether nothing vouches for the last of them yet.
    groups: u64,
    unvouched: bool,
}

impl GroupState {
    /// True if no leader is to wait for others.
    fn breaks_off(&self) -> bool {
        self.exclusive > 0 || self.stopped.is_some()
    }
}

/// What the committer thread does besides leading.
pub(crate) trait Chores {
    /// Leads, having been called to.
    fn lead(&self);
    /// Makes durable what is written: every `sync_interval`, if there is one.
    fn sync(&self);
    /// Vouches for the last group, after a time without another one.
    fn vouch(&self);
}

/// The most that one group takes: larger groups only make their members wait longer.
const GROUP_BYTES_MAX: usize = 8 << 20;
/// A leader that waits lets others have its processor for so long before it sleeps, as RocksDB's writers do: to be woken takes longer than
/// most waits. Measured: two committers of single events get 1.33 times the commits of one, 1.16 asleep; at no more processor time.
const SPIN_MAX: Duration = Duration::from_micros(100);

/// Removes the first ones, as many as stay within `bytes_max` together.
fn take_within(waiting: &mut VecDeque<Waiting>, bytes_max: usize) -> VecDeque<Waiting> {
    let mut bytes = 0;
    let fits = |waiting: &&Waiting| {
        bytes += waiting.request.buffer().len();
        bytes <= bytes_max
    };
    let count = waiting.iter().take_while(fits).count();
    waiting.drain(..count).collect()
}

impl Group {
    /// Queues a frame. The caller waits for it by [`wait`](Self::wait), or calls the committer.
    pub(crate) fn submit(&self, request: Request) -> Arc<Slot> {
        let mut state = self.state.lock();
        if let Some(error) = &state.stopped {
            let error = error.clone();
            drop(state);
            return Slot::answered(Err(CommitError::NotCommitted(error)));
        }
        let slot = Arc::new(Slot::default());
        state.waiting.push_back(Waiting { request, slot: Arc::clone(&slot) });
        if state
            .gathering
            .is_some_and(|in_flight| state.cohort.has_enough(in_flight + state.waiting.len()))
        {
            self.gathered.notify_one();
        }
        slot
    }

    /// Has the committer thread lead, unless somebody does.
    pub(crate) fn call_committer(&self) {
        let mut state = self.state.lock();
        if !state.led && state.has_committer && !state.waiting.is_empty() {
            state.led = true;
            state.committer_called = true;
            self.committer.notify_one();
        }
    }

    /// Waits for the answer in `slot`; leads by `lead` if nobody does, or when called to.
    pub(crate) fn wait(&self, slot: &Slot, lead: impl Fn()) -> Result<Committed, CommitError> {
        loop {
            let mut group = self.state.lock();
            let mut state = slot.state.lock();
            if let Some(answer) = &state.answer {
                return answer.clone();
            }
            // A frame that waits no more and is not answered yet is in the hands of who stops the log: leading would turn round and round.
            if !group.led && !group.waiting.is_empty() {
                group.led = true;
                drop((state, group));
                lead();
                continue;
            }
            // Marked as blocked under the group's lock: a leader that hands over sees it.
            state.blocked = true;
            drop(group);
            while state.answer.is_none() && !state.called_to_lead {
                slot.changed.wait(&mut state);
            }
            state.blocked = false;
            let called = std::mem::take(&mut state.called_to_lead);
            drop(state);
            if called {
                lead();
            }
        }
    }

    /// Takes what waits, up to the bound of a group. Only a leader may.
    pub(crate) fn take(&self, poison: Error) -> InFlight {
        let mut state = self.state.lock();
        // One at least, however large.
        let first = state.waiting.front().map_or(0, |waiting| waiting.request.buffer().len());
        let frames = take_within(&mut state.waiting, GROUP_BYTES_MAX.max(first));
        if !frames.is_empty() {
            state.groups += 1;
            if !std::mem::replace(&mut state.unvouched, true) && state.has_committer {
                // It begins to watch for a pause. Only the first group after one tells it.
                self.committer.notify_one();
            }
        }
        InFlight { frames, poison }
    }

    /// Waits a moment for the committers of the last group, where that is worth it, and adds who came to those in flight. Only a leader
    /// may, once for each group.
    pub(crate) fn gather(&self, flight: &mut InFlight) {
        let mut state = self.state.lock();
        // Where there are no threads nobody else could come; in a model of threads time stands still. Nor is there a wait for whom the
        // group would have no room, or where somebody has better to do.
        let bytes = flight.bytes();
        let alone = !state.has_committer || cfg!(fchannel_loom);
        if alone || state.breaks_off() || bytes > GROUP_BYTES_MAX / 2 {
            return;
        }
        // Whose frame has no room in this group leads the next one, with all behind it.
        let next = state.waiting.front().map_or(0, |waiting| waiting.request.buffer().len());
        if bytes + next > GROUP_BYTES_MAX {
            return;
        }
        let in_flight = flight.frames.len();
        let there = in_flight + state.waiting.len();
        let Some(patience) = state.cohort.begin_wait(there) else { return };
        let begun = Instant::now();
        state.gathering = Some(in_flight);
        while !state.cohort.has_enough(in_flight + state.waiting.len()) && !state.breaks_off() {
            let waited = begun.elapsed();
            if waited < patience.min(SPIN_MAX) {
                drop(state);
                std::thread::yield_now();
                state = self.state.lock();
            } else if waited >= patience
                || self.gathered.wait_until(&mut state, begun + patience).timed_out()
            {
                break;
            }
        }
        state.gathering = None;
        if !state.breaks_off() {
            let there = in_flight + state.waiting.len();
            state.cohort.end_wait(there);
        }
        flight.frames.append(&mut take_within(&mut state.waiting, GROUP_BYTES_MAX - bytes));
    }

    /// A group of so many commits is synced, which took so long; none of them is answered yet.
    pub(crate) fn synced(&self, commits: usize, took: Duration) {
        let mut state = self.state.lock();
        let waiting = state.waiting.len();
        state.cohort.synced(commits, waiting, took);
    }

    /// Ends a lead: calls the next leader if frames wait, preferring a thread that blocks on one of them. True if the present leader
    /// must go on, since no more frames come and nobody else is there to finish those that wait.
    #[must_use]
    pub(crate) fn hand_over(&self) -> bool {
        let mut state = self.state.lock();
        if state.exclusive > 0 {
            state.led = false;
            self.idle.notify_all();
            return false;
        }
        for waiting in &state.waiting {
            let mut slot = waiting.slot.state.lock();
            if slot.blocked {
                slot.called_to_lead = true;
                waiting.slot.changed.notify_one();
                return false;
            }
        }
        if !state.waiting.is_empty() && state.has_committer {
            state.committer_called = true;
            self.committer.notify_one();
            return false;
        }
        if !state.waiting.is_empty() && state.stopped.is_some() {
            return true;
        }
        state.led = false;
        self.idle.notify_all();
        false
    }

    /// True if frames wait for a leader.
    pub(crate) fn frames_wait(&self) -> bool {
        !self.state.lock().waiting.is_empty()
    }

    /// Becomes the leader, waiting for the present one to end. For syncs and rotations that no commit asks for.
    pub(crate) fn lead_exclusively(&self) {
        let lead = self.lead_unless(|_| false);
        assert!(lead, "nothing but leading ends this wait");
    }

    /// As [`lead_exclusively`](Self::lead_exclusively), for threads that shall end with the log: false if it ends. The present leader
    /// may be the one who waits for their end.
    pub(crate) fn lead_unless_ending(&self) -> bool {
        self.lead_unless(|state| state.committer_shall_end)
    }

    fn lead_unless(&self, give_up: impl Fn(&GroupState) -> bool) -> bool {
        let mut state = self.state.lock();
        state.exclusive += 1;
        self.gathered.notify_one();
        // A committer that was called and has not begun is no leader to wait for: it may be this very thread, about to sync by time.
        while state.led && !give_up(&state) && !std::mem::take(&mut state.committer_called) {
            self.idle.wait(&mut state);
        }
        state.exclusive -= 1;
        let lead = !give_up(&state) || !state.led;
        state.led |= lead;
        lead
    }

    /// Becomes the leader if nobody is and frames wait.
    pub(crate) fn try_lead(&self) -> bool {
        let mut state = self.state.lock();
        let lead = !state.led && !state.waiting.is_empty();
        state.led |= lead;
        lead
    }

    /// Takes no more frames; those that wait are answered "not committed".
    pub(crate) fn stop(&self, error: &Error) {
        let mut state = self.state.lock();
        if state.stopped.is_none() || error.kind() == &ErrorKind::Poisoned {
            state.stopped = Some(error.clone());
        }
        self.gathered.notify_one();
        let waiting = if error.kind() == &ErrorKind::Poisoned {
            std::mem::take(&mut state.waiting)
        } else {
            VecDeque::new()
        };
        drop(state);
        for Waiting { request, slot } in waiting {
            drop(request);
            slot.answer(Err(CommitError::NotCommitted(error.clone())));
        }
    }

    /// The body of the committer thread: leads when called, syncs every `sync_interval` if there is one, and has the last group vouched
    /// for when none has followed it for `idle`.
    pub(crate) fn committer(
        &self,
        chores: &dyn Chores,
        sync_interval: Option<Duration>,
        idle: Duration,
    ) {
        let mut next_sync = sync_interval.map(|interval| Instant::now() + interval);
        let mut watch: Option<(u64, Instant)> = None;
        loop {
            let mut state = self.state.lock();
            let mut vouch = false;
            loop {
                let now = Instant::now();
                watch = match watch {
                    _ if !state.unvouched => None,
                    Some((groups, until)) if groups == state.groups => {
                        vouch = until <= now;
                        Some((groups, until))
                    }
                    _ => Some((state.groups, now + idle)),
                };
                let sync_is_due = next_sync.is_some_and(|due| due <= now);
                if state.committer_called || state.committer_shall_end || sync_is_due || vouch {
                    break;
                }
                match next_sync.into_iter().chain(watch.map(|(_, until)| until)).min() {
                    None => self.committer.wait(&mut state),
                    Some(deadline) => {
                        let _timed_out = self.committer.wait_until(&mut state, deadline);
                    }
                }
            }
            let called = std::mem::take(&mut state.committer_called);
            if state.committer_shall_end && !called {
                // Said under the lock: who leads now sees that it has nobody to hand over to.
                state.has_committer = false;
                return;
            }
            vouch &= !called;
            state.unvouched &= !vouch;
            drop(state);
            if called {
                chores.lead();
            } else if vouch {
                chores.vouch();
            }
            if let Some(deadline) = next_sync.filter(|deadline| *deadline <= Instant::now()) {
                chores.sync();
                next_sync = sync_interval.map(|interval| deadline.max(Instant::now()) + interval);
            }
        }
    }

    pub(crate) fn set_has_committer(&self) {
        self.state.lock().has_committer = true;
    }

    /// Lets the committer thread end once it is not called.
    pub(crate) fn end_committer(&self) {
        self.state.lock().committer_shall_end = true;
        self.committer.notify_one();
        self.idle.notify_all();
    }
}

#[cfg(all(test, not(fchannel_loom)))]
mod gathering;
#[cfg(all(test, fchannel_loom))]
mod interleavings;
