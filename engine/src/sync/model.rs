//! The locks of a model checker, in the dress of `parking_lot`: only under `--cfg fchannel_loom`.
//!
//! Time stands still there. A deadline that has passed when the wait begins is over at once; one that has not never comes, so that whatever
//! must happen has to happen without it.

use std::{
    ops::{Deref, DerefMut},
    sync::PoisonError,
    time::Instant,
};

/// As `parking_lot::Mutex`.
#[derive(Debug, Default)]
pub(crate) struct Mutex<T>(loom::sync::Mutex<T>);

impl<T> Mutex<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(loom::sync::Mutex::new(value))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        MutexGuard(Some(self.0.lock().unwrap_or_else(PoisonError::into_inner)))
    }
}

/// Empty only while its thread waits.
pub(crate) struct MutexGuard<'a, T>(Option<loom::sync::MutexGuard<'a, T>>);

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.0.as_ref().expect("a guard is empty only while its thread waits")
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.0.as_mut().expect("a guard is empty only while its thread waits")
    }
}

/// How a wait with a deadline ended.
pub(crate) struct WaitTimeoutResult(bool);

impl WaitTimeoutResult {
    pub(crate) fn timed_out(&self) -> bool {
        self.0
    }
}

/// As `parking_lot::Condvar`.
#[derive(Debug, Default)]
pub(crate) struct Condvar(loom::sync::Condvar);

impl Condvar {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn notify_one(&self) {
        self.0.notify_one();
    }

    pub(crate) fn notify_all(&self) {
        self.0.notify_all();
    }

    pub(crate) fn wait<T>(&self, guard: &mut MutexGuard<'_, T>) {
        if let Some(inner) = guard.0.take() {
            guard.0 = Some(self.0.wait(inner).unwrap_or_else(PoisonError::into_inner));
        }
    }

    pub(crate) fn wait_until<T>(
        &self,
        guard: &mut MutexGuard<'_, T>,
        deadline: Instant,
    ) -> WaitTimeoutResult {
        let over = deadline <= Instant::now();
        if !over {
            self.wait(guard);
        }
        WaitTimeoutResult(over)
    }
}

/// What the models share.
#[cfg(test)]
pub(crate) mod testing {
    use super::{Condvar, Mutex};
    use std::{
        sync::{
            Arc,
            atomic::{AtomicU64, Ordering::Relaxed},
        },
        task::{Wake, Waker},
        time::{Duration, Instant},
    };

    /// A deadline that never comes.
    pub(crate) fn never() -> Instant {
        Instant::now() + Duration::from_secs(3600)
    }

    /// How often a thread is stopped where it need not be, in one interleaving: most races need two. LOOM_MAX_PREEMPTIONS may say more.
    const PREEMPTIONS: usize = 4;

    /// Runs `model` in all interleavings.
    pub(crate) fn all(model: impl Fn() + Send + Sync + 'static) {
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = builder.preemption_bound.or(Some(PREEMPTIONS));
        let runs = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&runs);
        builder.check(move || {
            counted.fetch_add(1, Relaxed);
            model();
        });
        println!("interleavings: {}", runs.load(Relaxed));
    }

    /// A waker that a thread can wait for.
    #[derive(Default)]
    pub(crate) struct Bell {
        rung: Mutex<bool>,
        changed: Condvar,
    }

    impl Wake for Bell {
        fn wake(self: Arc<Self>) {
            *self.rung.lock() = true;
            self.changed.notify_one();
        }
    }

    impl Bell {
        pub(crate) fn waker(self: &Arc<Self>) -> Waker {
            Waker::from(Arc::clone(self))
        }

        /// Sleeps until it was rung since the last time.
        pub(crate) fn wait(&self) {
            let mut rung = self.rung.lock();
            while !std::mem::take(&mut *rung) {
                self.changed.wait(&mut rung);
            }
        }
    }
}
