//! All interleavings of those who ask for credits, wait, poll, go away, give back and close. At the end every credit is there.

use super::{Capacity, Decision};
use crate::sync::testing::{Bell, all, never};
use loom::thread;
use std::{
    sync::Arc,
    task::{Context, Poll, Waker},
};

/// All credits are back, and can be had.
fn must_be_whole(capacity: &Arc<Capacity>, credits: u64) {
    assert_eq!(capacity.level(), (credits, 0));
    let mut all = capacity.ask(credits);
    let decision = all.poll(&Context::from_waker(Waker::noop()));
    assert_eq!(decision, Poll::Ready(Decision::Granted));
}

#[test]
fn credits_that_are_given_back_reach_those_who_wait() {
    all(|| {
        let capacity = Arc::new(Capacity::new(2));
        let threads: Vec<_> = [2, 1]
            .into_iter()
            .map(|events| {
                let capacity = Arc::clone(&capacity);
                thread::spawn(move || {
                    assert_eq!(capacity.ask(events).wait_until(never()), Some(Decision::Granted));
                    assert!(capacity.level().1 <= 2);
                    capacity.give_back(events);
                })
            })
            .collect();
        assert_eq!(capacity.ask(1).wait_until(never()), Some(Decision::Granted));
        capacity.give_back(1);
        threads.into_iter().for_each(|thread| thread.join().expect("it got its credits"));
        must_be_whole(&capacity, 2);
    });
}

/// A future is polled until it is granted, or given up after k polls, while the credits come back; another one waits behind it.
#[test]
fn a_request_that_is_given_up_takes_no_credit_with_it() {
    for polls in 0..3 {
        all(move || {
            let capacity = Arc::new(Capacity::new(2));
            capacity.occupy(2);
            let mut asked = capacity.ask(2);
            let behind = {
                let capacity = Arc::clone(&capacity);
                thread::spawn(move || {
                    assert_eq!(capacity.ask(1).wait_until(never()), Some(Decision::Granted));
                    capacity.give_back(1);
                })
            };
            let giver = {
                let capacity = Arc::clone(&capacity);
                thread::spawn(move || capacity.give_back(2))
            };
            let granted =
                (0..polls).any(|_| asked.poll(&Context::from_waker(Waker::noop())).is_ready());
            drop(asked);
            if granted {
                capacity.give_back(2);
            }
            behind.join().expect("it got its credit");
            giver.join().expect("it ends");
            must_be_whole(&capacity, 2);
        });
    }
}

#[test]
fn a_future_is_woken_when_its_credits_come_in_between() {
    all(|| {
        let capacity = Arc::new(Capacity::new(1));
        capacity.occupy(1);
        let bell = Arc::new(Bell::default());
        let giver = {
            let capacity = Arc::clone(&capacity);
            thread::spawn(move || capacity.give_back(1))
        };
        let mut asked = capacity.ask(1);
        while asked.poll(&Context::from_waker(&bell.waker())).is_pending() {
            bell.wait();
        }
        drop(asked);
        giver.join().expect("it ends");
        capacity.give_back(1);
        must_be_whole(&capacity, 1);
    });
}

#[test]
fn closing_tells_everybody_and_leaves_no_credit_behind() {
    all(|| {
        let capacity = Arc::new(Capacity::new(1));
        capacity.occupy(1);
        let waits = {
            let capacity = Arc::clone(&capacity);
            thread::spawn(move || {
                if capacity.ask(1).wait_until(never()) == Some(Decision::Granted) {
                    capacity.give_back(1);
                }
            })
        };
        let gives = {
            let capacity = Arc::clone(&capacity);
            thread::spawn(move || capacity.give_back(1))
        };
        capacity.close();
        waits.join().expect("it was told");
        gives.join().expect("it ends");
        assert_eq!(capacity.level(), (1, 0));
    });
}

/// A deadline that has passed, and a grant at the same moment: one of them has the credit.
#[test]
fn a_timeout_and_a_grant_at_once_lose_no_credit() {
    all(|| {
        let capacity = Arc::new(Capacity::new(1));
        capacity.occupy(1);
        let giver = {
            let capacity = Arc::clone(&capacity);
            thread::spawn(move || capacity.give_back(1))
        };
        let now = std::time::Instant::now();
        if capacity.ask(1).wait_until(now) == Some(Decision::Granted) {
            capacity.give_back(1);
        }
        giver.join().expect("it ends");
        must_be_whole(&capacity, 1);
    });
}
