//! Flume's memory channel: a bounded queue that is lost when the process ends.
//!
//! Room is counted twice, as Flume does it: in events (`capacity`) and in slots of 100 bytes of body (`byteCapacity`). Both counters are
//! fair semaphores, so a large batch is not starved by small ones, and a put that is dropped while it waits takes nothing with it.
//! Leased events keep their room until their take commits; a rollback puts them back at their own sequence.

use crate::{
    component::{
        Batch, BoxFuture, Build, Channel, ChannelError, ChannelLevel, ChannelLimits, CommitError,
        ComponentError, Entry, Key, KeyKind, Parts, PutBatch, PutError, Settings, TakeLimit, Taken,
        Taker,
    },
    sync::lock,
};
use fchannel::Event;
use std::{
    collections::VecDeque,
    pin::pin,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::sync::{Notify, Semaphore};

const I32_MAX: i64 = i32::MAX as i64;

pub(crate) static ENTRY: Entry = Entry {
    names: &["memory", "org.apache.flume.channel.MemoryChannel"],
    doc: "Keeps events in memory; they are lost when the agent ends.",
    keys: &[
        Key::new("capacity", KeyKind::Whole { min: 1, max: I32_MAX, replaced: true }, "Events it holds, leased ones included.").or("100"),
        Key::new(
            "transactionCapacity",
            KeyKind::Whole { min: 1, max: I32_MAX, replaced: true },
            "Events in one transaction; not more than `capacity`.",
        )
        .or("100"),
        Key::new(
            "keep-alive",
            KeyKind::Whole { min: 0, max: I32_MAX, replaced: true },
            "Seconds that a put waits for room (Flume waits so long for bytes and again for events).",
        )
        .or("3"),
        Key::new(
            "byteCapacity",
            KeyKind::Whole { min: 0, max: i64::MAX, replaced: true },
            "Bytes of bodies it holds, counted in slots of 100; 0 means no bound. Flume's default is 80 % of the Java heap; there is no heap here, \
             and a fixed number does not change with the machine.",
        )
        .or("268435456"),
        Key::new(
            "byteCapacityBufferPercentage",
            KeyKind::Whole { min: 0, max: 100, replaced: true },
            "Share of `byteCapacity` that is set aside for headers, in percent.",
        )
        .or("20"),
    ],
    batch_key: None,
    build: Build::Channel(build),
};

fn build(settings: &Settings, _: &Parts) -> Result<Arc<dyn Channel>, ComponentError> {
    let capacity = settings.whole("capacity")?;
    let transaction_events_max = settings.whole("transactionCapacity")?;
    if transaction_events_max > capacity {
        return Err(ComponentError(format!(
            "{}: `transactionCapacity` ({transaction_events_max}) is higher than `capacity` ({capacity})",
            settings.name()
        )));
    }
    let slots = slots_of_bytes(
        settings.whole("byteCapacity")?,
        settings.whole("byteCapacityBufferPercentage")?,
    );
    Ok(Arc::new(MemoryChannel(Arc::new(Shared {
        capacity,
        transaction_events_max,
        slots,
        keep_alive: Duration::from_secs(settings.whole("keep-alive")?),
        free_events: semaphore(capacity),
        free_slots: semaphore(slots),
        queue: Mutex::new(Queue::default()),
        arrived: Notify::new(),
    }))))
}

const SLOT_BYTES: u64 = 100;

/// Flume's rule: less than one slot means no bound.
fn slots_of_bytes(bytes: u64, buffer_percentage: u64) -> u64 {
    let usable = u128::from(bytes) * u128::from(100 - buffer_percentage.min(100)) / 100;
    match u64::try_from(usable / u128::from(SLOT_BYTES)) {
        Ok(slots) if slots >= 1 => slots.min(I32_MAX.unsigned_abs()),
        _ => I32_MAX.unsigned_abs(),
    }
}

fn semaphore(permits: u64) -> Semaphore {
    Semaphore::new(usize::try_from(permits).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS))
}

/// Headers cost nothing and an empty body one slot.
fn slots_of(event: &Event) -> u64 {
    (event.body.len() as u64).div_ceil(SLOT_BYTES).max(1)
}

struct MemoryChannel(Arc<Shared>);

struct Shared {
    capacity: u64,
    transaction_events_max: u64,
    slots: u64,
    keep_alive: Duration,
    free_events: Semaphore,
    free_slots: Semaphore,
    queue: Mutex<Queue>,
    /// One waiter is woken for each put, rollback, and take that leaves something.
    arrived: Notify,
}

#[derive(Default)]
struct Queue {
    /// Sorted by `seq`.
    waiting: VecDeque<Queued>,
    next_seq: u64,
    leased: u64,
    closed: bool,
}

struct Queued {
    seq: u64,
    /// Leases so far.
    attempts: u32,
    event: Event,
}

impl Shared {
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
        match tokio::time::timeout(self.keep_alive, room).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(closed()),
            Err(_) => Err(PutError::Full(self.why_full(slots))),
        }
    }

    fn why_full(&self, slots: u64) -> String {
        let waited = self.keep_alive.as_secs();
        if (self.free_slots.available_permits() as u64) < slots {
            return format!(
                "no room for {slots} more slots of {SLOT_BYTES} bytes within {waited} s: the sinks do not keep up with the sources, or \
                 `byteCapacity` ({} slots) is too small",
                self.slots
            );
        }
        format!(
            "no room within {waited} s: the sinks do not keep up with the sources, or `capacity` ({}) is too small",
            self.capacity
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
            queue.waiting.push_back(Queued { seq, attempts: 0, event });
        }
        drop(queue);
        self.arrived.notify_one();
        Ok(())
    }

    fn lease(&self, limit: TakeLimit) -> Vec<Queued> {
        let events_max =
            limit.events.min(usize::try_from(self.transaction_events_max).unwrap_or(usize::MAX));
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

    fn roll_back(&self, leased: Vec<Queued>) {
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

    fn settle(&self, leased: &[Queued]) {
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

impl Channel for MemoryChannel {
    fn put<'a>(&'a self, batch: &'a mut PutBatch) -> BoxFuture<'a, Result<(), PutError>> {
        Box::pin(async move {
            let shared = &self.0;
            let events = batch.events.len() as u64;
            let slots: u64 = batch.events.iter().map(slots_of).sum();
            if events > shared.transaction_events_max {
                return Err(PutError::TooLarge(format!(
                    "a transaction of {events} events is over `transactionCapacity` ({})",
                    shared.transaction_events_max
                )));
            }
            if slots > shared.slots {
                return Err(PutError::TooLarge(format!(
                    "{slots} slots of {SLOT_BYTES} bytes are more than `byteCapacity` allows ({})",
                    shared.slots
                )));
            }
            if events > 0 {
                shared.reserve(events, slots).await?;
                // From here on nothing waits: the put cannot be dropped half done.
                shared.append(&mut batch.events)?;
            }
            batch.marks.clear();
            Ok(())
        })
    }

    fn taker(&self) -> Box<dyn Taker> {
        Box::new(MemoryTaker(Arc::clone(&self.0)))
    }

    fn limits(&self) -> ChannelLimits {
        ChannelLimits {
            capacity_events: Some(self.0.capacity),
            transaction_events_max: Some(self.0.transaction_events_max),
            transaction_bytes_max: None,
        }
    }

    fn level(&self) -> ChannelLevel {
        let queue = lock(&self.0.queue);
        ChannelLevel { events: queue.waiting.len() as u64 + queue.leased, leased: queue.leased }
    }

    fn close(&self) -> BoxFuture<'_, Result<(), ChannelError>> {
        Box::pin(async {
            let left = {
                let mut queue = lock(&self.0.queue);
                queue.closed = true;
                std::mem::take(&mut queue.waiting).len()
            };
            self.0.free_events.close();
            self.0.free_slots.close();
            if left > 0 {
                tracing::warn!(
                    events = left,
                    "a memory channel is closed with events in it: they are lost"
                );
            }
            Ok(())
        })
    }
}

struct MemoryTaker(Arc<Shared>);

impl Taker for MemoryTaker {
    fn ready(&mut self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            loop {
                let mut arrived = pin!(self.0.arrived.notified());
                // Enrolled before looking, so that a put between look and wait is not missed.
                arrived.as_mut().enable();
                if !lock(&self.0.queue).waiting.is_empty() {
                    return;
                }
                arrived.await;
            }
        })
    }

    fn take(
        &mut self,
        limit: TakeLimit,
    ) -> BoxFuture<'_, Result<Option<Box<dyn Taken>>, ChannelError>> {
        Box::pin(async move {
            let leased = self.0.lease(limit);
            if leased.is_empty() {
                return Ok(None);
            }
            let attempt = leased.first().map_or(0, |first| first.attempts);
            // Cheap: headers and bodies are shared.
            let events = leased.iter().map(|queued| queued.event.clone()).collect();
            Ok(Some(Box::new(MemoryTaken { shared: Arc::clone(&self.0), events, leased, attempt })
                as Box<dyn Taken>))
        })
    }
}

struct MemoryTaken {
    shared: Arc<Shared>,
    events: Vec<Event>,
    /// Empty once committed.
    leased: Vec<Queued>,
    attempt: u32,
}

impl Taken for MemoryTaken {
    fn batch(&self) -> Batch<'_> {
        Batch { events: &self.events, ids: None, attempt: self.attempt }
    }

    fn commit(mut self: Box<Self>) -> BoxFuture<'static, Result<(), CommitError>> {
        self.shared.settle(&std::mem::take(&mut self.leased));
        Box::pin(std::future::ready(Ok(())))
    }
}

impl Drop for MemoryTaken {
    fn drop(&mut self) {
        if !self.leased.is_empty() {
            self.shared.roll_back(std::mem::take(&mut self.leased));
        }
    }
}

#[cfg(test)]
mod tests;
