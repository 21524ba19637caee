//! What stands between a source and its channels: interceptors, selector, one put for each channel, and all retries.
//!
//! Interceptors see a batch once. Then each channel gets its part in transactions that fit it; a channel that has committed is not asked
//! again, so waiting for one that is full doubles nothing in the others. There is no atomic fan-out: under [`Retry::No`] the channels
//! before the one that failed keep the batch, as in Flume.

mod split;

use crate::component::{
    BoxFuture, Channel, Interceptor, Put, PutBatch, PutError, Retry, Selector, Stop, Targets,
};
use bytes::Bytes;
use fchannel::Event;
use split::Split;
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// A channel and its name in the conf.
pub(crate) struct Route {
    pub(crate) name: Arc<str>,
    pub(crate) channel: Arc<dyn Channel>,
}

/// See the module.
pub(crate) struct Pipeline {
    pub(crate) source: Arc<str>,
    pub(crate) interceptors: Vec<Box<dyn Interceptor>>,
    pub(crate) selector: Box<dyn Selector>,
    /// In the order that [`Targets`] means.
    pub(crate) routes: Vec<Route>,
    pub(crate) stop: Stop,
    pub(crate) losses: Losses,
}

/// Events that this pipeline gave up, by reason. Each reason is logged when it first happens, and all again at the end.
pub(crate) struct Losses {
    source: Arc<str>,
    /// The selector named no channel.
    unrouted: AtomicU64,
    /// A required channel can never take them.
    too_large: AtomicU64,
    /// An optional channel did not take them.
    optional: AtomicU64,
}

impl Losses {
    pub(crate) fn new(source: Arc<str>) -> Self {
        Self {
            source,
            unrouted: AtomicU64::new(0),
            too_large: AtomicU64::new(0),
            optional: AtomicU64::new(0),
        }
    }

    /// Adds to `counter`; true when the first events are lost for this reason.
    fn add(counter: &AtomicU64, events: usize) -> bool {
        counter.fetch_add(events as u64, Ordering::Relaxed) == 0 && events > 0
    }
}

impl Drop for Losses {
    fn drop(&mut self) {
        for (count, reason) in [
            (&self.unrouted, "no channel selected"),
            (&self.too_large, "too large for a channel"),
            (&self.optional, "an optional channel failed"),
        ] {
            let events = count.load(Ordering::Relaxed);
            if events > 0 {
                tracing::warn!(source = %self.source, events, reason, "events dropped in all");
            }
        }
    }
}

/// Pauses between tries on a channel that failed. A full one has waited its keep-alive already.
const PAUSE_FULL: Duration = Duration::from_millis(50);
const PAUSE_FAILED_MIN: Duration = Duration::from_millis(500);
const PAUSE_FAILED_MAX: Duration = Duration::from_secs(5);

impl Pipeline {
    fn bits(&self, bits: u64) -> impl Iterator<Item = (usize, &Route)> {
        self.routes.iter().enumerate().filter(move |(index, _)| bits >> index & 1 == 1)
    }

    /// The events of each channel, and which channels are required for one of them.
    fn select(&self, events: Vec<Event>) -> Selected {
        let all =
            u64::MAX.checked_shr(64 - u32::try_from(self.routes.len()).unwrap_or(64)).unwrap_or(0);
        if let Some(targets) = self.selector.constant() {
            let to = (targets.required | targets.optional) & all;
            return Selected {
                parts: self.fan_out(events, to),
                required: targets.required & all,
                optional: targets.optional & all,
            };
        }
        let mut selected = Selected {
            parts: self.routes.iter().map(|_| Vec::new()).collect(),
            required: 0,
            optional: 0,
        };
        let mut unrouted = 0;
        for event in events {
            let Targets { required, optional } = self.selector.select(&event);
            let to = (required | optional) & all;
            selected.required |= required & all;
            if to == 0 {
                unrouted += 1;
            }
            for (index, part) in selected.parts.iter_mut().enumerate() {
                if to >> index & 1 == 1 {
                    part.push(event.clone());
                }
            }
        }
        // The channels that no event requires get the marks all the same.
        selected.optional = all & !selected.required;
        if unrouted > 0 && Losses::add(&self.losses.unrouted, unrouted) {
            tracing::warn!(source = %self.source, events = unrouted, "events dropped: the selector names no channel for them; said once");
        }
        selected
    }

    /// All events to each channel in `to`; the last one gets them without a copy.
    fn fan_out(&self, events: Vec<Event>, to: u64) -> Vec<Vec<Event>> {
        let mut parts: Vec<Vec<Event>> = self.routes.iter().map(|_| Vec::new()).collect();
        let last = 63_u32.checked_sub(to.leading_zeros()).map(|index| index as usize);
        for (index, part) in parts.iter_mut().enumerate() {
            if to >> index & 1 == 1 && Some(index) != last {
                part.clone_from(&events);
            }
        }
        if let Some(part) = last.and_then(|index| parts.get_mut(index)) {
            *part = events;
        }
        parts
    }

    async fn deliver(&self, batch: PutBatch, retry: Retry) -> Result<(), PutError> {
        let PutBatch { mut events, marks } = batch;
        if !events.is_empty() {
            for interceptor in &self.interceptors {
                interceptor.intercept(&mut events);
            }
        }
        if events.is_empty() && marks.is_empty() {
            return Ok(());
        }
        let mut selected = self.select(events);
        for (index, route) in self.bits(selected.required) {
            let part = selected.parts.get_mut(index).map(std::mem::take).unwrap_or_default();
            self.deliver_to(route, part, &marks, retry).await?;
        }
        for (index, route) in self.bits(selected.optional) {
            let part = selected.parts.get_mut(index).map(std::mem::take).unwrap_or_default();
            let events = part.len();
            if let Err(error) = self.deliver_to(route, part, &marks, Retry::No).await
                && Losses::add(&self.losses.optional, events)
            {
                tracing::warn!(source = %self.source, channel = %route.name, events, %error,
                    "an optional channel did not take a batch; said once");
            }
        }
        Ok(())
    }

    /// One channel's part, in as many transactions as it needs; the marks go with the last one.
    async fn deliver_to(
        &self,
        route: &Route,
        events: Vec<Event>,
        marks: &[(Bytes, Bytes)],
        retry: Retry,
    ) -> Result<(), PutError> {
        let marks = if route.channel.keeps_marks() { marks } else { &[] };
        let mut split = Split::new(events, marks, route.channel.limits());
        while let Some(mut part) = split.next() {
            match self.transact(route, &mut part, retry).await {
                Ok(()) => {}
                Err(PutError::TooLarge(_)) if split.cut(&mut part) => {}
                Err(PutError::TooLarge(why)) if retry == Retry::UntilStopped => {
                    self.give_up(route, &part, &why);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// A single event that can never fit would block its source for ever: it is dropped and said aloud, each time. Marks that do not fit
    /// cost doubles after a crash, but no event.
    fn give_up(&self, route: &Route, part: &PutBatch, why: &str) {
        let Some(event) = part.events.first() else {
            tracing::error!(source = %self.source, channel = %route.name, marks = part.marks.len(), reason = why,
                "the channel does not keep these marks: after a crash their events may come twice");
            return;
        };
        Losses::add(&self.losses.too_large, part.events.len());
        tracing::error!(source = %self.source, channel = %route.name, bytes = event.encoded_len(), reason = why,
            "event dropped: the channel can never take one of this size");
    }

    /// One transaction, tried until it is committed, can never be, or the order to stop has come.
    async fn transact(
        &self,
        route: &Route,
        part: &mut PutBatch,
        retry: Retry,
    ) -> Result<(), PutError> {
        let mut tries = 0_u64;
        let mut pause = PAUSE_FAILED_MIN;
        loop {
            let error = match route.channel.put(part).await {
                Ok(()) => {
                    if tries > 0 {
                        tracing::info!(source = %self.source, channel = %route.name, tries, "the channel takes events again");
                    }
                    return Ok(());
                }
                Err(error) => error,
            };
            if retry == Retry::No || matches!(error, PutError::TooLarge(_) | PutError::Stopped) {
                return Err(error);
            }
            if self.stop.is_stopped() {
                return Err(PutError::Stopped);
            }
            tries += 1;
            // 1, 2, 4, 8...: neither silent nor a flood.
            if tries.is_power_of_two() {
                tracing::warn!(source = %self.source, channel = %route.name, tries, %error, "put failed, will try again");
            }
            let this_pause = if matches!(error, PutError::Full(_)) {
                PAUSE_FULL
            } else {
                let longer = (pause * 2).min(PAUSE_FAILED_MAX);
                std::mem::replace(&mut pause, longer)
            };
            if !self.stop.pause(this_pause).await {
                return Err(PutError::Stopped);
            }
        }
    }
}

struct Selected {
    /// One for each route.
    parts: Vec<Vec<Event>>,
    required: u64,
    optional: u64,
}

impl Put for Pipeline {
    fn put<'a>(
        &'a self,
        batch: &'a mut PutBatch,
        retry: Retry,
    ) -> BoxFuture<'a, Result<(), PutError>> {
        Box::pin(self.deliver(std::mem::take(batch), retry))
    }

    /// With a selector that decides by event every channel counts as required.
    fn mark(&self, key: &[u8]) -> Option<Bytes> {
        let required = self.selector.constant().map_or(u64::MAX, |targets| targets.required);
        let mut lowest: Option<Bytes> = None;
        for (_, route) in self.bits(required) {
            let mark = route.channel.mark(key).filter(|_| route.channel.keeps_marks())?;
            lowest = Some(lowest.map_or_else(|| mark.clone(), |lowest| lowest.min(mark.clone())));
        }
        lowest
    }
}

#[cfg(test)]
mod tests;
