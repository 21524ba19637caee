//! All interleavings of waiters that come, are told, wait and go away. A word that is lost is a thread that sleeps for ever: loom calls it
//! a deadlock.

use super::{
    Mutex, Waiters,
    model::testing::{Bell, all, never},
};
use loom::thread;
use std::{
    sync::Arc,
    task::{Context, Waker},
};

#[test]
fn who_looks_after_entering_misses_nothing() {
    all(|| {
        let shared = Arc::new((Waiters::default(), Mutex::new(0)));
        let waiting: Vec<_> = (0..2)
            .map(|_| {
                let shared = Arc::clone(&shared);
                thread::spawn(move || {
                    loop {
                        let place = shared.0.enter();
                        let mut events = shared.1.lock();
                        if *events > 0 {
                            *events -= 1;
                            return;
                        }
                        drop(events);
                        assert!(place.wait_until(never()));
                        place.used();
                    }
                })
            })
            .collect();
        for _ in 0..2 {
            *shared.1.lock() += 1;
            shared.0.tell(1);
        }
        waiting.into_iter().for_each(|thread| thread.join().expect("it got an event"));
        assert!(shared.0.is_empty());
    });
}

#[test]
fn the_word_of_one_who_goes_away_is_passed_on() {
    all(|| {
        let waiters = Arc::new(Waiters::default());
        let other = Arc::clone(&waiters);
        let entered = Arc::new(Bell::default());
        let bell = Arc::clone(&entered);
        let gives_up = thread::spawn(move || {
            let place = other.enter();
            bell.waker().wake();
            let _told_or_not = place.poll_told(&Context::from_waker(Waker::noop()));
            drop(place);
        });
        entered.wait();
        let place = waiters.enter();
        let teller = {
            let waiters = Arc::clone(&waiters);
            thread::spawn(move || waiters.tell(1))
        };
        assert!(place.wait_until(never()), "the word went to one who is gone");
        place.used();
        gives_up.join().expect("it ends");
        teller.join().expect("it ends");
    });
}

#[test]
fn a_future_that_is_told_while_it_registers_is_woken() {
    all(|| {
        let waiters = Arc::new(Waiters::default());
        let bell = Arc::new(Bell::default());
        let place = waiters.enter();
        let teller = {
            let waiters = Arc::clone(&waiters);
            thread::spawn(move || waiters.tell_all())
        };
        while place.poll_told(&Context::from_waker(&bell.waker())).is_pending() {
            bell.wait();
        }
        place.used();
        teller.join().expect("it ends");
    });
}
