//! Credits for events: what waits and what is being committed never passes the capacity.
//!
//! Credits are taken at commit: an open transaction holds none. They are granted in the order of asking, by whoever gives some back, so
//! that a large transaction is not overtaken for ever by small ones.

use crate::sync::{Condvar, Mutex};
use std::{
    collections::VecDeque,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Instant,
};

/// The credits of a channel.
pub(crate) struct Capacity(Mutex<Credits>);

struct Credits {
    capacity: u64,
    /// Events waiting, leased or being committed. May exceed `capacity` when that was lowered: then puts wait.
    used: u64,
    /// First come, first granted. An entry is removed when it is granted, or by its owner.
    queue: VecDeque<Arc<Request>>,
    closed: bool,
}

struct Request {
    events: u64,
    state: Mutex<RequestState>,
    decided: Condvar,
}

#[derive(Default)]
struct RequestState {
    decision: Option<Decision>,
    waker: Option<Waker>,
}

/// How a request for credits ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    Granted,
    /// More than the whole capacity: waiting is no use.
    Never,
    Closed,
}

impl Credits {
    fn fits(&self, events: u64) -> bool {
        self.used.saturating_add(events) <= self.capacity
    }

    /// Grants from the front as far as it goes; answers whom to wake, once the lock is free.
    #[must_use]
    fn grant(&mut self) -> Vec<Waker> {
        let mut wakers = Vec::new();
        while let Some(first) = self.queue.front()
            && self.fits(first.events)
        {
            self.used += first.events;
            if let Some(first) = self.queue.pop_front() {
                wakers.extend(first.decide(Decision::Granted));
            }
        }
        wakers
    }
}

impl Request {
    /// Tells the thread that waits; answers the waker of a future that does.
    #[must_use]
    fn decide(&self, decision: Decision) -> Option<Waker> {
        let mut state = self.state.lock();
        state.decision = Some(decision);
        self.decided.notify_one();
        state.waker.take()
    }
}

impl Capacity {
    pub(crate) fn new(capacity: u64) -> Self {
        Self(Mutex::new(Credits { capacity, used: 0, queue: VecDeque::new(), closed: false }))
    }

    /// Counts events that were there at the open.
    pub(crate) fn occupy(&self, events: u64) {
        self.0.lock().used += events;
    }

    pub(crate) fn set(&self, capacity: u64) {
        let mut credits = self.0.lock();
        credits.capacity = capacity;
        let granted = credits.grant();
        drop(credits);
        wake(granted);
    }

    /// Capacity, and how much of it is used.
    pub(crate) fn level(&self) -> (u64, u64) {
        let credits = self.0.lock();
        (credits.capacity, credits.used)
    }

    pub(crate) fn give_back(&self, events: u64) {
        let mut credits = self.0.lock();
        credits.used = credits.used.saturating_sub(events);
        let granted = credits.grant();
        drop(credits);
        wake(granted);
    }

    /// Grants nothing any more; who waits is told.
    pub(crate) fn close(&self) {
        let mut credits = self.0.lock();
        credits.closed = true;
        let closed: Vec<Waker> = credits
            .queue
            .drain(..)
            .filter_map(|request| request.decide(Decision::Closed))
            .collect();
        drop(credits);
        wake(closed);
    }

    /// A place in the queue for `events` credits, granted at once if they are there and nobody waits for them.
    pub(crate) fn ask(self: &Arc<Self>, events: u64) -> Asked {
        let mut credits = self.0.lock();
        let decision = if credits.closed {
            Some(Decision::Closed)
        } else if events > credits.capacity {
            Some(Decision::Never)
        } else if events == 0 || (credits.queue.is_empty() && credits.fits(events)) {
            credits.used += events;
            Some(Decision::Granted)
        } else {
            None
        };
        let request = Arc::new(Request {
            events,
            state: Mutex::new(RequestState { decision, waker: None }),
            decided: Condvar::new(),
        });
        if decision.is_none() {
            credits.queue.push_back(Arc::clone(&request));
        }
        Asked { capacity: Arc::clone(self), request }
    }
}

/// A request for credits. Dropped, it leaves the queue; credits granted and not taken over go to the next.
pub(crate) struct Asked {
    capacity: Arc<Capacity>,
    request: Arc<Request>,
}

impl Asked {
    /// The decision, once there is one; credits that were granted are the caller's then.
    pub(crate) fn poll(&mut self, cx: &Context<'_>) -> Poll<Decision> {
        let mut state = self.request.state.lock();
        match state.decision {
            Some(decision) => {
                Self::take_over(&mut state);
                Poll::Ready(decision)
            }
            None => {
                state.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    /// As [`poll`](Self::poll), waiting on this thread; `None` at the deadline.
    pub(crate) fn wait_until(self, deadline: Instant) -> Option<Decision> {
        let mut state = self.request.state.lock();
        while state.decision.is_none() {
            if self.request.decided.wait_until(&mut state, deadline).timed_out() {
                break;
            }
        }
        let decision = state.decision;
        Self::take_over(&mut state);
        decision
    }

    /// What is granted is no longer this request's to give back.
    fn take_over(state: &mut RequestState) {
        if state.decision == Some(Decision::Granted) {
            state.decision = Some(Decision::Closed);
        }
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        // The queue's lock first: a grant is decided under it.
        let mut credits = self.capacity.0.lock();
        credits.queue.retain(|other| !Arc::ptr_eq(other, &self.request));
        if self.request.state.lock().decision == Some(Decision::Granted) {
            credits.used = credits.used.saturating_sub(self.request.events);
        }
        // It may have stood before requests that fit.
        let granted = credits.grant();
        drop(credits);
        wake(granted);
    }
}

/// Wakes under no lock: a waker may drop the future that it wakes, and with it a request or room.
fn wake(wakers: Vec<Waker>) {
    wakers.into_iter().for_each(Waker::wake);
}

#[cfg(all(test, fchannel_loom))]
mod interleavings;

#[cfg(all(test, not(fchannel_loom)))]
mod tests {
    use super::*;
    use std::time::Duration;

    fn now(asked: Asked) -> Option<Decision> {
        asked.wait_until(Instant::now())
    }

    #[test]
    fn credits_are_granted_in_order_and_not_past_the_capacity() {
        let capacity = Arc::new(Capacity::new(10));
        assert_eq!(now(capacity.ask(8)), Some(Decision::Granted));
        let large = capacity.ask(5);
        let small = capacity.ask(1);
        assert_eq!(capacity.level(), (10, 8));
        capacity.give_back(3);
        assert_eq!(now(large), Some(Decision::Granted));
        assert_eq!(now(small), None, "the large one came first and took what there was");
        assert_eq!(capacity.level(), (10, 10));
        assert_eq!(now(capacity.ask(11)), Some(Decision::Never));
    }

    #[test]
    fn a_request_given_up_lets_the_next_one_pass() {
        let capacity = Arc::new(Capacity::new(4));
        capacity.occupy(3);
        let large = capacity.ask(2);
        let small = capacity.ask(1);
        drop(large);
        assert_eq!(now(small), Some(Decision::Granted));
    }

    #[test]
    fn a_grant_that_nobody_takes_goes_back() {
        let capacity = Arc::new(Capacity::new(2));
        drop(capacity.ask(2));
        assert_eq!(capacity.level(), (2, 0));
    }

    #[test]
    fn a_lowered_capacity_makes_puts_wait_and_drops_nothing() {
        let capacity = Arc::new(Capacity::new(10));
        capacity.occupy(10);
        capacity.set(5);
        let waiting = capacity.ask(1);
        capacity.give_back(5);
        assert_eq!(capacity.level(), (5, 5));
        capacity.give_back(1);
        assert_eq!(now(waiting), Some(Decision::Granted));
    }

    #[test]
    fn closing_tells_who_waits() {
        let capacity = Arc::new(Capacity::new(1));
        capacity.occupy(1);
        let waiting = capacity.ask(1);
        let other = Arc::clone(&capacity);
        std::thread::scope(|threads| {
            threads.spawn(move || other.close());
            let deadline = Instant::now() + Duration::from_secs(10);
            assert_eq!(waiting.wait_until(deadline), Some(Decision::Closed));
        });
        assert_eq!(now(capacity.ask(1)), Some(Decision::Closed));
    }
}
