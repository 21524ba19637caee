//! From a conf to a running agent, and back to rest.
//!
//! Built and started: channels, then sinks, then sources. Stopped in reverse: sources end, sinks finish what is in flight or roll it
//! back, channels close. A source on the shared runtime is a task; other sources and all sinks have a thread of their own.

mod build;
mod member;
mod shutdown;
mod supervisor;

use crate::component::{ComponentError, StartError, Stop, StopSender};
use crate::config::AgentConfig;
use build::Built;
use std::{net::SocketAddr, sync::Arc, task::Poll, time::Duration};
use supervisor::Group;
use tokio::{runtime::Handle, time::Instant};

/// How an agent is run.
#[derive(Clone)]
pub struct RunOptions {
    /// How long stopping may take before what is stuck is left behind. Default: 30 s.
    pub grace: Duration,
    /// Stop on SIGTERM and SIGINT; a second one ends the process at once. Default: true.
    pub signals: bool,
    /// Another order to stop, for tests and embedding. Default: none.
    pub stop: Option<Stop>,
    /// Hears each source that listens, with the address it has got. Default: nobody.
    pub on_listening: Option<OnListening>,
}

/// Called with the name of a source and its address.
pub type OnListening = Arc<dyn Fn(&str, SocketAddr) + Send + Sync>;

impl Default for RunOptions {
    fn default() -> Self {
        Self { grace: Duration::from_secs(30), signals: true, stop: None, on_listening: None }
    }
}

/// How an agent ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// The signal that stopped it, if one did.
    pub signal: Option<i32>,
    /// Components that had not ended when the grace was over. Empty: everything was stopped in order.
    pub stuck: Vec<Arc<str>>,
    /// Channels that stopped themselves or did not close in order, and why. What they acknowledged is safe; a restart recovers it.
    pub failed: Vec<String>,
}

/// Runs an agent until it is told to stop.
///
/// # Errors
/// A component that cannot be built, a channel that cannot be opened: it is named, and nothing was started. The kind says whether trying
/// again can help.
pub fn run(config: AgentConfig, options: RunOptions) -> Result<Ended, StartError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("agent")
        .enable_all()
        .build()
        .map_err(|error| ComponentError(format!("cannot start the runtime: {error}")))?;
    let ended = runtime.block_on(run_inside(config, options));
    // A component that is stuck must not keep the process.
    runtime.shutdown_background();
    ended
}

async fn run_inside(config: AgentConfig, options: RunOptions) -> Result<Ended, StartError> {
    let signals =
        options.signals.then(shutdown::Signals::listen).transpose().map_err(ComponentError)?;
    let mut orders = shutdown::Orders::new(signals, options.stop.clone());
    let (stop_sources, sources_stopped) = Stop::new();
    let agent = Arc::clone(&config.name);
    let built = tokio::select! {
        built = build(config, sources_stopped.clone()) => built?,
        // Opening a channel may take its time. It can be broken off like a crash: that is what channels are made for.
        signal = orders.first() => {
            tracing::info!(%agent, signal, "agent stopped while it was opening its channels");
            return Ok(Ended { signal, stuck: Vec::new(), failed: Vec::new() });
        }
    };
    let running = Running::start(built, (stop_sources, sources_stopped), &options)?;
    tracing::info!(%agent, "agent started");
    let (signal, stopped_itself) = tokio::select! {
        signal = orders.first() => (signal, None),
        // Without its channel an agent would only wait. It ends, so that whoever looks after it starts it again.
        why = running.first_failure() => (None, Some(why)),
    };
    if let Some(why) = &stopped_itself {
        tracing::error!(%agent, "{why}; the agent ends, and a restart recovers what was acknowledged");
    }
    orders.exit_at_the_next();
    tracing::info!(%agent, signal, grace_s = options.grace.as_secs(), "agent stopping");
    let mut ended = Ended { signal, ..running.stop(options.grace).await };
    ended.failed.extend(stopped_itself);
    if ended.stuck.is_empty() {
        tracing::info!(%agent, "agent stopped");
    } else {
        tracing::error!(%agent, stuck = ?ended.stuck, "agent stopped, these components did not end in time");
    }
    Ok(ended)
}

/// Builds on a thread of its own: recovering a channel blocks.
async fn build(config: AgentConfig, stop: Stop) -> Result<Built, StartError> {
    let handle = Handle::current();
    let built = tokio::task::spawn_blocking(move || handle.block_on(Built::new(config, &stop)));
    built.await.map_err(|panic| ComponentError(format!("building the agent: {panic}")))?
}

/// A started agent.
struct Running {
    stop_sources: StopSender,
    stop_sinks: StopSender,
    sources: Group,
    sinks: Group,
    channels: Vec<build::BuiltChannel>,
}

impl Running {
    fn start(
        built: Built,
        (stop_sources, sources_stopped): (StopSender, Stop),
        options: &RunOptions,
    ) -> Result<Self, ComponentError> {
        let (stop_sinks, sinks_stopped) = Stop::new();
        let Built { channels, sinks, sources } = built;
        let mut running = Self {
            stop_sources,
            stop_sinks,
            sources: Group::default(),
            sinks: Group::default(),
            channels,
        };
        for sink in sinks {
            // A delivery may go on for a quarter of the grace before it is rolled back.
            let end = member::End { stop: sinks_stopped.clone(), finish: options.grace / 4 };
            running.sinks.spawn_sink(sink, end)?;
        }
        for source in sources {
            running.sources.spawn_source(
                source,
                sources_stopped.clone(),
                options.on_listening.clone(),
            )?;
        }
        Ok(running)
    }

    /// Half of the grace is for the sources, a third for the sinks, the rest for the channels.
    async fn stop(self, grace: Duration) -> Ended {
        let start = Instant::now();
        self.stop_sources.stop();
        for channel in &self.channels {
            channel.channel.stop_waiting();
        }
        let mut stuck = self.sources.ended(start + grace / 2).await;
        self.stop_sinks.stop();
        stuck.extend(self.sinks.ended(start + grace * 5 / 6).await);
        let mut failed = Vec::new();
        for channel in self.channels {
            match tokio::time::timeout_at(start + grace, channel.channel.close()).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    tracing::error!(channel = %channel.name, %error, "channel did not close in order");
                    failed.push(format!("channel {}: {error}", channel.name));
                }
                Err(_) => stuck.push(channel.name),
            }
        }
        Ended { signal: None, stuck, failed }
    }

    /// Resolves when one of the channels has stopped itself.
    async fn first_failure(&self) -> String {
        let mut failures: Vec<_> =
            self.channels.iter().map(|channel| (&channel.name, channel.channel.failed())).collect();
        std::future::poll_fn(|cx| {
            for (name, failure) in &mut failures {
                if let Poll::Ready(why) = failure.as_mut().poll(cx) {
                    return Poll::Ready(format!("channel {name}: {why}"));
                }
            }
            Poll::Pending
        })
        .await
    }
}
