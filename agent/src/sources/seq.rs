//! Flume's sequence generator: decimal numbers from 0, for trying out a conf.

use crate::component::{
    BoxFuture, Build, ComponentError, Entry, Key, KeyKind, Parts, Placement, PutBatch, Retry,
    Settings, Source, SourceContext,
};
use fchannel::Event;

pub(crate) static ENTRY: Entry = Entry {
    names: &["seq", "org.apache.flume.source.SequenceGeneratorSource"],
    doc: "Makes events whose bodies are the numbers from 0.",
    keys: &[
        Key::new(
            "batchSize",
            KeyKind::Whole { min: 1, max: i32::MAX as i64, replaced: false },
            "Events in one transaction.",
        )
        .or("1"),
        Key::new(
            "totalEvents",
            KeyKind::Whole { min: 1, max: i64::MAX, replaced: false },
            "Numbers made before it goes quiet.",
        )
        .or("9223372036854775807"),
        Key::new(
            "backoffSleepIncrement",
            KeyKind::Whole { min: 0, max: i64::MAX, replaced: false },
            "Known and not needed: nothing polls.",
        ),
        Key::new(
            "maxBackoffSleep",
            KeyKind::Whole { min: 0, max: i64::MAX, replaced: false },
            "Known and not needed: nothing polls.",
        ),
    ],
    batch_key: Some("batchSize"),
    verify: None,
    build: Build::Source(Placement::Shared, build),
};

struct Seq {
    batch_events: u64,
    total_events: u64,
}

fn build(settings: &Settings, _: &Parts) -> Result<Box<dyn Source>, ComponentError> {
    Ok(Box::new(Seq {
        batch_events: settings.whole("batchSize")?,
        total_events: settings.whole("totalEvents")?,
    }))
}

impl Source for Seq {
    fn run(self: Box<Self>, cx: SourceContext) -> BoxFuture<'static, Result<(), ComponentError>> {
        Box::pin(async move {
            cx.ready();
            let mut next = 0_u64;
            while next < self.total_events && !cx.stop.is_stopped() {
                let end = self.total_events.min(next.saturating_add(self.batch_events));
                let mut batch = PutBatch::of(
                    (next..end).map(|number| Event::of_body(number.to_string())).collect(),
                );
                // The pipeline tries again until it is stopped: no number is skipped.
                if cx.pipeline.put(&mut batch, Retry::UntilStopped).await.is_ok() {
                    next = end;
                }
                // A channel in memory may never make us wait.
                tokio::task::yield_now().await;
            }
            cx.stop.stopped().await;
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Running;

    #[tokio::test]
    async fn test_sequence_generator_source_total_events() {
        for batch in ["1", "3", "100"] {
            let source =
                Running::start(&ENTRY, &[("batchSize", batch), ("totalEvents", "10")]).await;
            let bodies = source.out.wait_for(10).await;
            assert_eq!(bodies, (0..10).map(|number| number.to_string()).collect::<Vec<_>>());
            assert_eq!(source.stop().await.bodies().len(), 10);
        }
    }

    #[tokio::test]
    async fn batches_are_full_but_the_last() {
        let source = Running::start(&ENTRY, &[("batchSize", "4"), ("totalEvents", "10")]).await;
        source.out.wait_for(10).await;
        assert_eq!(source.stop().await.batch_sizes(), [4, 4, 2]);
    }
}
