//! A sink with its taker: takes, delivers, commits.

use super::build::Recipe;
use crate::component::{
    BoxFuture, ComponentError, Process, Sink, SinkError, Status, Stop, Taken, Taker,
};
use std::{sync::Arc, time::Duration};
use tokio::time::Instant;

/// When and how a sink ends.
#[derive(Clone)]
pub(super) struct End {
    pub(super) stop: Stop,
    /// How long a delivery that is in flight may go on after the order to stop. Then it is rolled back.
    pub(super) finish: Duration,
}

impl End {
    async fn overdue(&self) {
        self.stop.stopped().await;
        tokio::time::sleep(self.finish).await;
    }
}

/// A sink and its view of the channel.
pub(super) struct Member {
    name: Arc<str>,
    recipe: Recipe,
    sink: Box<dyn Sink>,
    taker: Box<dyn Taker>,
    failures: u32,
}

/// After the nth failure in a row a sink rests n times this long, as in Flume.
const PAUSE_STEP: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(5);

impl Process for Member {
    fn process(&mut self) -> BoxFuture<'_, Result<Status, SinkError>> {
        Box::pin(async {
            let taken = self.taker.take(self.sink.take_limit()).await;
            let Some(taken) = taken.map_err(|error| SinkError(error.0))? else {
                return Ok(Status::Idle);
            };
            self.sink.deliver(taken.batch()).await?;
            Taken::commit(taken).await.map_err(|error| SinkError(error.0))?;
            Ok(Status::Ready)
        })
    }
}

/// What a member does next.
enum Step {
    Stop,
    Deadline,
    Events,
}

impl Member {
    pub(super) fn new(recipe: Recipe, sink: Box<dyn Sink>, taker: Box<dyn Taker>) -> Self {
        Self { name: Arc::clone(recipe.name()), recipe, sink, taker, failures: 0 }
    }

    /// Runs until the order to stop.
    ///
    /// # Errors
    /// The sink does not start.
    pub(super) async fn run(&mut self, end: &End) -> Result<(), ComponentError> {
        tokio::select! {
            started = self.sink.start() => started?,
            () = end.overdue() => return Ok(()),
        }
        tracing::info!(sink = %self.name, "sink started");
        loop {
            let result = match self.next_step(&end.stop).await {
                Step::Stop => break,
                Step::Deadline => tokio::select! {
                    result = self.sink.on_deadline() => result,
                    () = end.overdue() => break,
                },
                // Cancelled, the transaction rolls back.
                Step::Events => tokio::select! {
                    result = self.process() => result.map(|_| ()),
                    () = end.overdue() => {
                        tracing::warn!(sink = %self.name, "delivery cut off by the stop, its events will come again");
                        break;
                    }
                },
            };
            if !self.after(result, &end.stop).await {
                break;
            }
        }
        tokio::select! {
            () = self.sink.stop() => {}
            () = end.overdue() => {}
        }
        Ok(())
    }

    async fn next_step(&mut self, stop: &Stop) -> Step {
        let deadline = self.sink.deadline().map(Instant::from_std);
        let reached = async {
            match deadline {
                Some(deadline) => tokio::time::sleep_until(deadline).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = stop.stopped() => Step::Stop,
            () = reached => Step::Deadline,
            () = self.taker.ready() => Step::Events,
        }
    }

    /// Logs and rests after a failure; false if the order to stop came.
    async fn after(&mut self, result: Result<(), SinkError>, stop: &Stop) -> bool {
        let Err(error) = result else {
            if self.failures > 0 {
                tracing::info!(sink = %self.name, failures = self.failures, "sink delivers again");
            }
            self.failures = 0;
            return true;
        };
        self.failures = self.failures.saturating_add(1);
        // 1, 2, 4, 8...: neither silent nor a flood.
        if self.failures.is_power_of_two() {
            let error = self.recipe.mask(&error.0);
            tracing::error!(sink = %self.name, failures = self.failures, error, "delivery failed, its events will come again");
        }
        stop.pause(PAUSE_STEP.saturating_mul(self.failures).min(PAUSE_MAX)).await
    }
}
