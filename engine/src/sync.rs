//! The lock, condition and one-shot types in use, in one place, so that a model checker can replace them.

#[cfg(fchannel_loom)]
mod model;

#[cfg(all(test, fchannel_loom))]
pub(crate) use model::testing;
#[cfg(fchannel_loom)]
pub(crate) use model::{Condvar, Mutex};
#[cfg(not(fchannel_loom))]
pub(crate) use parking_lot::{Condvar, Mutex};

use std::{
    collections::VecDeque,
    future::Future,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Instant,
};

/// A queue of waiters, threads and futures alike, each told once. First come, first told.
///
/// A waiter that was told and goes away without having used it passes the word on, so that no wake-up is lost.
#[derive(Default)]
pub(crate) struct Waiters {
    queue: Mutex<VecDeque<Arc<Waiter>>>,
}

/// One who waits.
#[derive(Default)]
struct Waiter {
    state: Mutex<Told>,
    told: Condvar,
}

#[derive(Default)]
struct Told {
    told: bool,
    waker: Option<Waker>,
}

impl Waiter {
    /// Tells the thread that waits; answers the waker of a future that does.
    #[must_use]
    fn tell(&self) -> Option<Waker> {
        let mut state = self.state.lock();
        state.told = true;
        self.told.notify_one();
        state.waker.take()
    }
}

/// A place in the queue of [`Waiters`]; dropped, it is given up.
pub(crate) struct Place<'a> {
    waiters: &'a Waiters,
    waiter: Arc<Waiter>,
}

impl Waiters {
    /// A place at the end of the queue. Look at the condition *after* this, then wait: what changes in between tells this place.
    pub(crate) fn enter(&self) -> Place<'_> {
        let waiter = Arc::new(Waiter::default());
        self.queue.lock().push_back(Arc::clone(&waiter));
        Place { waiters: self, waiter }
    }

    /// Tells the first `count` waiters.
    pub(crate) fn tell(&self, count: usize) {
        let wakers: Vec<Waker> = {
            let mut queue = self.queue.lock();
            let count = count.min(queue.len());
            // Told under the queue's lock: who leaves it and is not in it any more must find the word, to pass it on.
            queue.drain(..count).filter_map(|waiter| waiter.tell()).collect()
        };
        // Under no lock: a waker may drop the future that it wakes, and with it a place in a queue of these.
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Tells all.
    pub(crate) fn tell_all(&self) {
        self.tell(usize::MAX);
    }

    /// True if nobody waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.queue.lock().is_empty()
    }
}

impl Place<'_> {
    /// Waits on this thread until told or until `deadline`; true if told.
    pub(crate) fn wait_until(&self, deadline: Instant) -> bool {
        let mut state = self.waiter.state.lock();
        while !state.told {
            if self.waiter.told.wait_until(&mut state, deadline).timed_out() {
                return state.told;
            }
        }
        true
    }

    /// Ready once told.
    pub(crate) fn poll_told(&self, cx: &Context<'_>) -> Poll<()> {
        let mut state = self.waiter.state.lock();
        if state.told {
            return Poll::Ready(());
        }
        state.waker = Some(cx.waker().clone());
        Poll::Pending
    }

    /// A future of [`poll_told`](Self::poll_told).
    pub(crate) fn told(&self) -> impl Future<Output = ()> + '_ {
        std::future::poll_fn(|cx| self.poll_told(cx))
    }

    /// Leaves with the word used: it is not passed on.
    pub(crate) fn used(self) {
        self.waiter.state.lock().told = false;
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.waiters.queue.lock().retain(|other| !Arc::ptr_eq(other, &self.waiter));
        if self.waiter.state.lock().told {
            self.waiters.tell(1);
        }
    }
}

#[cfg(all(test, fchannel_loom))]
mod interleavings;

#[cfg(all(test, not(fchannel_loom)))]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_word_not_used_is_passed_on() {
        let waiters = Waiters::default();
        let (first, second) = (waiters.enter(), waiters.enter());
        waiters.tell(1);
        drop(first);
        assert!(second.wait_until(Instant::now()));
        second.used();
        assert!(waiters.is_empty());
    }

    #[test]
    fn a_place_given_up_is_not_told() {
        let waiters = Waiters::default();
        let first = waiters.enter();
        let second = waiters.enter();
        drop(first);
        waiters.tell(1);
        assert!(second.wait_until(Instant::now()));
    }

    #[test]
    fn waiting_ends_at_the_deadline() {
        let waiters = Waiters::default();
        assert!(!waiters.enter().wait_until(Instant::now() + Duration::from_millis(5)));
    }
}
