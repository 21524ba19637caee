//! The queue of a memory channel: room, order, leases.
//!
//! Room is counted twice, as Flume does it: in events (`capacity`) and in slots of 100 bytes of body (`byteCapacity`). Both counters are
//! fair semaphores, so a large batch is not starved by small ones, and a put that is dropped while it waits takes nothing with it.
//! Leased events keep their room until their take commits; a rollback puts them back at their own sequence.

use crate::{
    component::{ChannelLevel, PutError, TakeLimit},
    sync::lock,
};
use bytes::Bytes;
use fchannel::Event;
use std::{collections::VecDeque, pin::pin, sync::Mutex, time::Duration};
use tokio::sync::{Notify, Semaphore, watch};

/// What a store may hold.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) events: u64,
    pub(super) transaction_events: u64,
    pub(super) slots: u64,
    /// How long a put waits for room.
    pub(super) keep_alive: Duration,
}

const SLOT_BYTES: u64 = 100;

/// Practically no bound, as in Flume.
pub(super) const SLOTS_MAX: u64 = i32::MAX.unsigned_abs() as u64;

/// Flume's rule: less than one slot means no bound.
pub(super) fn slots_of_bytes(bytes: u64, buffer_percentage: u64) -> u64 {
    let usable = u128::from(bytes) * u128::from(100 - buffer_percentage.min(100)) / 100;
    match u64::try_from(usable / u128::from(SLOT_BYTES)) {
        Ok(slots) if slots >= 1 => slots.min(SLOTS_MAX),
        _ => SLOTS_MAX,
    }
}

fn semaphore(permits: u64) -> Semaphore {
    Semaphore::new(usize::try_from(permits).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS))
}

/// Headers cost nothing and an empty body one slot.
fn slots_of(event: &Event) -> u64 {
    (event.body.len() as u64).div_ceil(SLOT_BYTES).max(1)
}

/// See the module.
pub(super) struct Store {
    pub(super) limits: Limits,
    free_events: Semaphore,
    free_slots: Semaphore,
    queue: Mutex<Queue>,
    /// One waiter is woken for each put, rollback, and take that leaves something.
    arrived: Notify,
    stopping: watch::Sender<bool>,
}

#[derive(Default)]
struct Queue {
    /// Sorted by `seq`.
    waiting: VecDeque<Queued>,
    next_seq: u64,
    leased: u64,
    closed: bool,
}

/// An event and its place.
pub(super) struct Queued {
    seq: u64,
    /// Leases so far.
    pub(super) attempts: u32,
    pub(super) event: Event,
}

impl Store {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            free_events: semaphore(limits.events),
            free_slots: semaphore(limits.slots),
            queue: Mutex::new(Queue::default()),
            arrived: Notify::new(),
            stopping: watch::Sender::new(false),
        }
    }

    /// Appends all events, after waiting for room.
    pub(super) async fn put(&self, events: &mut Vec<Event>) -> Result<(), PutError> {
        let (count, slots) = (events.len() as u64, events.iter().map(slots_of).sum());
        let Limits { transaction_events, slots: slots_max, .. } = self.limits;
        if count > transaction_events {
            return Err(PutError::TooLarge(format!(
                "a transaction of {count} events is over `transactionCapacity` ({transaction_events})"
            )));
        }
        if slots > slots_max {
            return Err(PutError::TooLarge(format!(
                "{slots} slots of {SLOT_BYTES} bytes are more than `byteCapacity` allows ({slots_max})"
            )));
        }
        if count > 0 {
            self.reserve(count, slots).await?;
            // From here on nothing waits: a put cannot be dropped half done.
            self.append(events)?;
        }
        Ok(())
    }

    /// Resolves when there is an event to lease. Cancel-safe.
    pub(super) async fn ready(&self) {
        loop {
            let mut arrived = pin!(self.arrived.notified());
            // Enrolled before looking, so that a put between look and wait is not missed.
            arrived.as_mut().enable();
            if !lock(&self.queue).waiting.is_empty() {
                return;
            }
            arrived.await;
        }
    }

    pub(super) fn level(&self) -> ChannelLevel {
        let queue = lock(&self.queue);
        ChannelLevel { events: queue.waiting.len() as u64 + queue.leased, leased: queue.leased }
    }

    /// A put that finds no room fails at once from here on.
    pub(super) fn stop_waiting(&self) {
        self.stopping.send_replace(true);
    }

    /// Takes nothing any more; how many events are lost.
    pub(super) fn close(&self) -> usize {
        let lost = {
            let mut queue = lock(&self.queue);
            queue.closed = true;
            std::mem::take(&mut queue.waiting).len()
        };
        self.free_events.close();
        self.free_slots.close();
        lost
    }

    /// Waits for room for `events` with `slots`, and takes it.
    async fn reserve(&self, events: u64, slots: u64) -> Result<(), PutError> {
        let room = async {
            // Always in this order: two puts never hold what the other one waits for.
            let slots = self.free_slots.acquire_many(permits(slots)).await?;
            let events = self.free_events.acquire_many(permits(events)).await?;
            slots.forget();
            events.forget();
            Ok::<_, tokio::sync::AcquireError>(())
        };
        let mut stopping = self.stopping.subscribe();
        tokio::select! {
            biased;
            room = room => return room.map_err(|_| closed()),
            () = tokio::time::sleep(self.limits.keep_alive) => {}
            _ = stopping.wait_for(|stopping| *stopping) => {}
        }
        Err(PutError::Full(self.why_full(slots)))
    }

    fn why_full(&self, slots: u64) -> String {
        let waited = self.limits.keep_alive.as_secs();
        if (self.free_slots.available_permits() as u64) < slots {
            return format!(
                "no room for {slots} more slots of {SLOT_BYTES} bytes within {waited} s: the sinks do not keep up with the sources, or \
                 `byteCapacity` ({} slots) is too small",
                self.limits.slots
            );
        }
        format!(
            "no room within {waited} s: the sinks do not keep up with the sources, or `capacity` ({}) is too small",
            self.limits.events
        )
    }

    fn release(&self, events: &[Queued]) {
        let slots: u64 = events.iter().map(|queued| slots_of(&queued.event)).sum();
        self.free_slots.add_permits(usize::try_from(slots).unwrap_or(usize::MAX));
        self.free_events.add_permits(events.len());
    }

    fn append(&self, events: &mut Vec<Event>) -> Result<(), PutError> {
        let mut queue = lock(&self.queue);
        if queue.closed {
            return Err(closed());
        }
        for event in events.drain(..) {
            let seq = queue.next_seq;
            queue.next_seq += 1;
            // It may be a slice of all that its source read at once, and must not hold on to that.
            let event = Event { body: Bytes::copy_from_slice(&event.body), ..event };
            queue.waiting.push_back(Queued { seq, attempts: 0, event });
        }
        drop(queue);
        self.arrived.notify_one();
        Ok(())
    }

    pub(super) fn lease(&self, limit: TakeLimit) -> Vec<Queued> {
        let events_max =
            limit.events.min(usize::try_from(self.limits.transaction_events).unwrap_or(usize::MAX));
        let mut leased = Vec::new();
        let mut bytes = 0_usize;
        let mut queue = lock(&self.queue);
        while leased.len() < events_max {
            let Some(next) = queue.waiting.front() else { break };
            bytes = bytes.saturating_add(next.event.encoded_len());
            if bytes > limit.bytes && !leased.is_empty() {
                break;
            }
            let Some(mut next) = queue.waiting.pop_front() else { break };
            next.attempts = next.attempts.saturating_add(1);
            leased.push(next);
        }
        queue.leased += leased.len() as u64;
        let more = !queue.waiting.is_empty();
        drop(queue);
        if more {
            self.arrived.notify_one();
        }
        leased
    }

    pub(super) fn roll_back(&self, leased: Vec<Queued>) {
        let mut queue = lock(&self.queue);
        queue.leased -= leased.len() as u64;
        // The last one first: each goes to the front, unless another sink rolled back older events before.
        for queued in leased.into_iter().rev() {
            let at = queue.waiting.partition_point(|other| other.seq < queued.seq);
            queue.waiting.insert(at, queued);
        }
        drop(queue);
        self.arrived.notify_one();
    }

    pub(super) fn settle(&self, leased: &[Queued]) {
        lock(&self.queue).leased -= leased.len() as u64;
        self.release(leased);
    }
}

fn permits(count: u64) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

fn closed() -> PutError {
    PutError::Failed("the channel is closed".to_owned())
}
