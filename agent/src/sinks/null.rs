//! Flume's null sink: takes events and forgets them.

use crate::component::{
    Batch, BoxFuture, Build, ComponentError, Entry, Key, KeyKind, Parts, Settings, Sink, SinkError,
    TakeLimit,
};
use std::sync::Arc;

pub(crate) static ENTRY: Entry = Entry {
    names: &["null", "org.apache.flume.sink.NullSink"],
    doc: "Discards events.",
    keys: &[
        Key::new(
            "batchSize",
            KeyKind::Whole { min: 1, max: i32::MAX as i64, replaced: false },
            "Events in one transaction.",
        )
        .or("100"),
        Key::new(
            "logEveryNEvents",
            KeyKind::Whole { min: 1, max: i32::MAX as i64, replaced: false },
            "A line is logged each time so many more events were discarded.",
        )
        .or("10000"),
    ],
    batch_key: Some("batchSize"),
    verify: None,
    build: Build::Sink(build),
};

struct Null {
    name: Arc<str>,
    batch_events: usize,
    log_every: u64,
    events: u64,
}

fn build(settings: &Settings, _: &Parts) -> Result<Box<dyn Sink>, ComponentError> {
    Ok(Box::new(Null {
        name: Arc::clone(settings.name()),
        batch_events: usize::try_from(settings.whole("batchSize")?).unwrap_or(usize::MAX),
        log_every: settings.whole("logEveryNEvents")?.max(1),
        events: 0,
    }))
}

impl Sink for Null {
    fn take_limit(&self) -> TakeLimit {
        TakeLimit { events: self.batch_events, bytes: usize::MAX }
    }

    fn deliver<'a>(&'a mut self, batch: Batch<'a>) -> BoxFuture<'a, Result<(), SinkError>> {
        let before = self.events;
        self.events += batch.events.len() as u64;
        if before / self.log_every != self.events / self.log_every {
            tracing::info!(sink = %self.name, events = self.events, "events discarded so far");
        }
        Box::pin(std::future::ready(Ok(())))
    }
}
