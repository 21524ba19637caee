//! The one thread of a channel: checkpoints by time and by log bytes, and the reserve.

use super::Shared;
use crate::{
    error::{ErrorKind, Result},
    sync::{Condvar, Mutex},
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// On a full disk: what is drained is given back soon, and the reserve is made anew as soon as there is room.
const SHORT_OF_SPACE_INTERVAL: Duration = Duration::from_secs(1);

/// How the thread is told.
#[derive(Default)]
pub(crate) struct Signal {
    state: Mutex<SignalState>,
    told: Condvar,
    /// Log bytes applied since the last checkpoint.
    bytes: AtomicU64,
}

#[derive(Default)]
struct SignalState {
    checkpoint: bool,
    end: bool,
}

impl Signal {
    /// Counts a frame; calls for a checkpoint when `bytes_max` is reached.
    pub(crate) fn count(&self, bytes: u64, bytes_max: u64) {
        let before = self.bytes.fetch_add(bytes, Ordering::Relaxed);
        if before < bytes_max && before + bytes >= bytes_max {
            self.call();
        }
    }

    /// Calls for a checkpoint.
    pub(crate) fn call(&self) {
        self.state.lock().checkpoint = true;
        self.told.notify_one();
    }

    pub(crate) fn reset(&self) {
        self.bytes.store(0, Ordering::Relaxed);
    }

    pub(crate) fn is_due(&self, bytes_max: u64) -> bool {
        self.bytes.load(Ordering::Relaxed) >= bytes_max
    }

    pub(crate) fn end(&self) {
        self.state.lock().end = true;
        self.told.notify_one();
    }

    /// Waits until a checkpoint is due; false if the thread shall end.
    fn wait(&self, interval: Duration) -> bool {
        let deadline = Instant::now() + interval;
        let mut state = self.state.lock();
        while !state.end && !state.checkpoint {
            if self.told.wait_until(&mut state, deadline).timed_out() {
                break;
            }
        }
        state.checkpoint = false;
        !state.end
    }
}

/// The body of the thread.
pub(crate) fn run(shared: &Arc<Shared>) {
    report(shared.log.make_reserves(), "the reserve for a full disk");
    let interval = Duration::from_millis(shared.options.checkpoint_interval_ms);
    let interval = || {
        if shared.log.is_short_of_space() {
            interval.min(SHORT_OF_SPACE_INTERVAL)
        } else {
            interval
        }
    };
    while shared.signal.wait(interval()) {
        report(shared.checkpoint().map(drop), "a checkpoint");
        report(shared.log.make_reserves(), "the reserve for a full disk");
    }
}

/// A checkpoint that fails is tried again at the next interval; only restarts get longer meanwhile. Errors of the log itself have
/// poisoned it, and every call says so. A log that ends while this thread waits for it is none.
fn report(answer: Result<()>, what: &'static str) {
    if let Err(error) = answer
        && error.kind() != &ErrorKind::Closed
    {
        let error = error.to_string();
        crate::trace::error!(what = what, error = error.as_str(), "cannot make");
    }
}
