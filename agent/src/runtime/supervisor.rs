//! Keeps sources and sinks running: a failure or a panic is logged, and after a pause the component is built anew.

use super::{
    OnListening,
    build::{BuiltSink, BuiltSource, Recipe},
    member::End,
};
use crate::component::{ComponentError, OnReady, Placement, Put, Source, SourceContext, Stop};
use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Duration,
};
use tokio::{runtime::Handle, sync::oneshot, time::Instant};

/// Between a failure and the next try.
const RESTART_PAUSE: Duration = Duration::from_secs(3);

/// Components that are stopped together.
#[derive(Default)]
pub(super) struct Group {
    members: Vec<(Arc<str>, oneshot::Receiver<()>)>,
}

impl Group {
    /// Waits until all have ended; at the deadline, the names of the ones that have not.
    pub(super) async fn ended(self, deadline: Instant) -> Vec<Arc<str>> {
        let mut stuck = Vec::new();
        for (name, ended) in self.members {
            // An answer and a sender that is gone mean the same: it has ended.
            if tokio::time::timeout_at(deadline, ended).await.is_err() {
                stuck.push(name);
            }
        }
        stuck
    }

    /// Runs a sink on a thread of its own.
    pub(super) fn spawn_sink(&mut self, sink: BuiltSink, end: End) -> Result<(), ComponentError> {
        let BuiltSink { recipe, channel, first } = sink;
        let name = Arc::clone(recipe.name());
        let mut first = Some(first);
        let failures = Failures::new("sink", &recipe, &end.stop);
        self.spawn_thread(name, failures, move || {
            let mut member = BuiltSink::member(&recipe, &channel, &mut first)?;
            Handle::current().block_on(member.run(&end))
        })
    }

    /// Runs a source where it wants to be.
    pub(super) fn spawn_source(
        &mut self,
        source: BuiltSource,
        stop: Stop,
        on_listening: Option<OnListening>,
    ) -> Result<(), ComponentError> {
        let name = Arc::clone(source.recipe.name());
        let life = SourceLife {
            cx: SourceContext {
                name: Arc::clone(&name),
                pipeline: Arc::clone(&source.pipeline) as Arc<dyn Put>,
                stop: stop.clone(),
                on_ready: on_ready(&name, on_listening),
            },
            recipe: source.recipe,
            first: Some(source.first),
        };
        match source.placement {
            Placement::Shared => {
                let (ended, wait) = oneshot::channel();
                tokio::spawn(supervise_task(life, ended));
                self.members.push((name, wait));
                Ok(())
            }
            Placement::OwnThread => {
                let mut life = life;
                let failures = Failures::new("source", &life.recipe, &stop);
                self.spawn_thread(name, failures, move || {
                    let source = life.next()?;
                    Handle::current().block_on(source.run(life.cx.clone()))
                })
            }
        }
    }

    /// `live` runs on a new thread, again and again after a pause while it fails.
    fn spawn_thread(
        &mut self,
        name: Arc<str>,
        mut failures: Failures,
        mut live: impl FnMut() -> Result<(), ComponentError> + Send + 'static,
    ) -> Result<(), ComponentError> {
        let (ended, wait) = oneshot::channel::<()>();
        let handle = Handle::current();
        let kind = failures.kind;
        let body = move || {
            let _inside = handle.enter();
            loop {
                let failure = match catch_unwind(AssertUnwindSafe(&mut live)) {
                    Ok(Ok(())) => break,
                    Ok(Err(error)) => error.0,
                    Err(panic) => panic_text(&*panic),
                };
                if !handle.block_on(failures.rest(&failure)) {
                    break;
                }
            }
            drop(ended);
        };
        std::thread::Builder::new()
            .name(name.chars().take(15).collect())
            .spawn(body)
            .map_err(|error| ComponentError(format!("{kind} {name}: no thread for it: {error}")))?;
        self.members.push((name, wait));
        Ok(())
    }
}

fn on_ready(name: &Arc<str>, on_listening: Option<OnListening>) -> OnReady {
    let name = Arc::clone(name);
    Arc::new(move |address| match address {
        Some(address) => {
            tracing::info!(source = %name, %address, "source listening");
            if let Some(hear) = &on_listening {
                hear(&name, address);
            }
        }
        None => tracing::info!(source = %name, "source started"),
    })
}

/// One source over all its lives.
struct SourceLife {
    recipe: Recipe,
    first: Option<Box<dyn Source>>,
    cx: SourceContext,
}

impl SourceLife {
    fn next(&mut self) -> Result<Box<dyn Source>, ComponentError> {
        self.first.take().map_or_else(|| self.recipe.source().map(|(_, source)| source), Ok)
    }
}

async fn supervise_task(mut life: SourceLife, ended: oneshot::Sender<()>) {
    let mut failures = Failures::new("source", &life.recipe, &life.cx.stop);
    loop {
        let failure = match life.next() {
            // A task of its own, so that a panic ends there.
            Ok(source) => match tokio::spawn(source.run(life.cx.clone())).await {
                Ok(Ok(())) => break,
                Ok(Err(error)) => error.0,
                Err(join) => join
                    .try_into_panic()
                    .map_or_else(|join| join.to_string(), |panic| panic_text(&*panic)),
            },
            Err(error) => error.0,
        };
        if !failures.rest(&failure).await {
            break;
        }
    }
    drop(ended);
}

/// The failures of one component.
struct Failures {
    kind: &'static str,
    recipe: Recipe,
    stop: Stop,
    in_a_row: u32,
    last: Instant,
}

/// A component that ran for so long has recovered from what it failed of before.
const RECOVERED_AFTER: Duration = Duration::from_secs(60);

impl Failures {
    fn new(kind: &'static str, recipe: &Recipe, stop: &Stop) -> Self {
        let (recipe, stop) = (recipe.clone(), stop.clone());
        Self { kind, recipe, stop, in_a_row: 0, last: Instant::now() }
    }

    /// Says what failed and pauses; false if the order to stop came.
    async fn rest(&mut self, error: &str) -> bool {
        if self.last.elapsed() > RECOVERED_AFTER {
            self.in_a_row = 0;
        }
        self.in_a_row = self.in_a_row.saturating_add(1);
        // 1, 2, 4, 8...: neither silent nor a flood.
        if self.in_a_row.is_power_of_two() {
            let error = self.recipe.mask(error);
            tracing::error!(kind = self.kind, component = %self.recipe.name(), failures = self.in_a_row, error,
                restart_in_s = RESTART_PAUSE.as_secs(), "component failed");
        }
        let go_on = self.stop.pause(RESTART_PAUSE).await;
        self.last = Instant::now();
        go_on
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    format!("panicked: {}", text.unwrap_or_else(|| "no message".to_owned()))
}
