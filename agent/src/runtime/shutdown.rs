//! Orders to stop from outside.

use crate::component::Stop;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// SIGTERM and SIGINT.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

const SIGINT: i32 = 2;
const SIGTERM: i32 = 15;

/// How long the last line of the log may take.
const LAST_WORD_MAX: Duration = Duration::from_millis(200);

impl Signals {
    /// From here on these signals no longer end the process.
    pub(super) fn listen() -> Result<Self, String> {
        let listen =
            |kind| signal(kind).map_err(|error| format!("cannot listen to signals: {error}"));
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) -> i32 {
        tokio::select! {
            _ = self.terminate.recv() => SIGTERM,
            _ = self.interrupt.recv() => SIGINT,
        }
    }

    /// A second signal does not wait for anything: what was not committed comes again after the next start.
    async fn exit_at_the_next(mut self) {
        let signal = self.next().await;
        tracing::error!(signal, "second signal, ending at once");
        // Whoever reads the log may be what is stuck: it must not keep the process.
        crate::log::flush(LAST_WORD_MAX);
        std::process::exit(128 + signal);
    }
}

/// All ways to be told to stop.
pub(super) struct Orders {
    signals: Option<Signals>,
    stop: Option<Stop>,
}

impl Orders {
    pub(super) fn new(signals: Option<Signals>, stop: Option<Stop>) -> Self {
        Self { signals, stop }
    }

    /// Resolves at the first order, with the signal if it was one. Cancel-safe.
    pub(super) async fn first(&mut self) -> Option<i32> {
        let Self { signals, stop } = self;
        let signal = async {
            match signals {
                Some(signals) => signals.next().await,
                None => std::future::pending().await,
            }
        };
        let ordered = async {
            match stop {
                Some(stop) => stop.stopped().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            signal = signal => Some(signal),
            () = ordered => None,
        }
    }

    /// From here on a signal ends the process at once.
    pub(super) fn exit_at_the_next(self) {
        if let Some(signals) = self.signals {
            tokio::spawn(signals.exit_at_the_next());
        }
    }
}
