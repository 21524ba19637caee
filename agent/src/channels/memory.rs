//! Flume's memory channel: a bounded queue that is lost when the process ends.

mod store;

use crate::component::{
    Batch, BoxFuture, Build, Channel, ChannelError, ChannelLevel, ChannelLimits, CommitError,
    ComponentError, Entry, Key, KeyKind, Parts, PutBatch, PutError, Settings, StartError,
    TakeLimit, Taken, Taker,
};
use fchannel::Event;
use std::{sync::Arc, time::Duration};
use store::{Limits, Queued, Store, slots_of_bytes};

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
            "Bytes of bodies it holds, counted in slots of 100; 0 means no bound. Flume's default is 80 % of the \
             Java heap (16 MB as it is shipped); there is no heap here, and a fixed number does not change \
             with the machine.",
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
    verify: None,
    build: Build::Channel(build),
};

fn build(settings: &Settings, _: &Parts) -> Result<Arc<dyn Channel>, StartError> {
    let byte_capacity = settings.whole("byteCapacity")?;
    let limits = Limits {
        events: settings.whole("capacity")?,
        transaction_events: settings.whole("transactionCapacity")?,
        slots: slots_of_bytes(byte_capacity, settings.whole("byteCapacityBufferPercentage")?),
        keep_alive: Duration::from_secs(settings.whole("keep-alive")?),
    };
    if limits.transaction_events > limits.events {
        return Err(ComponentError(format!(
            "{}: `transactionCapacity` ({}) is higher than `capacity` ({})",
            settings.name(),
            limits.transaction_events,
            limits.events
        ))
        .into());
    }
    Ok(Arc::new(MemoryChannel(Arc::new(Store::new(limits)))))
}

struct MemoryChannel(Arc<Store>);

impl Channel for MemoryChannel {
    fn put<'a>(&'a self, batch: &'a mut PutBatch) -> BoxFuture<'a, Result<(), PutError>> {
        Box::pin(async move {
            self.0.put(&mut batch.events).await?;
            batch.marks.clear();
            Ok(())
        })
    }

    fn taker(&self) -> Box<dyn Taker> {
        Box::new(MemoryTaker(Arc::clone(&self.0)))
    }

    fn limits(&self) -> ChannelLimits {
        ChannelLimits {
            capacity_events: Some(self.0.limits.events),
            transaction_events_max: Some(self.0.limits.transaction_events),
            // Slots are not bytes: a batch over `byteCapacity` is refused, and the pipeline cuts it.
            transaction_bytes_max: None,
        }
    }

    fn level(&self) -> ChannelLevel {
        self.0.level()
    }

    fn stop_waiting(&self) {
        self.0.stop_waiting();
    }

    fn close(&self) -> BoxFuture<'_, Result<(), ChannelError>> {
        let events = self.0.close();
        if events > 0 {
            tracing::warn!(events, "a memory channel is closed with events in it: they are lost");
        }
        Box::pin(std::future::ready(Ok(())))
    }
}

struct MemoryTaker(Arc<Store>);

impl Taker for MemoryTaker {
    fn ready(&mut self) -> BoxFuture<'_, ()> {
        Box::pin(self.0.ready())
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
            Ok(Some(Box::new(MemoryTaken { store: Arc::clone(&self.0), events, leased, attempt })
                as Box<dyn Taken>))
        })
    }
}

struct MemoryTaken {
    store: Arc<Store>,
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
        self.store.settle(&std::mem::take(&mut self.leased));
        Box::pin(std::future::ready(Ok(())))
    }
}

impl Drop for MemoryTaken {
    fn drop(&mut self) {
        if !self.leased.is_empty() {
            self.store.roll_back(std::mem::take(&mut self.leased));
        }
    }
}

#[cfg(test)]
mod tests;
