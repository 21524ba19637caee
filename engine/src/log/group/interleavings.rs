//! All interleavings of small groups: threads that block, tickets with a committer, exclusive leads, the end and the poison. Whoever
//! submitted gets an answer; a lead that is lost is a thread that sleeps for ever, which loom calls a deadlock.

use super::{Chores, Group, InFlight, Request, Slot};
use crate::{
    error::{CommitError, Error, ErrorKind},
    format::Kind,
    ids::Lsn,
    log::Committed,
    sync::{
        Mutex,
        testing::{Bell, all},
    },
};
use loom::thread;
use std::{sync::Arc, time::Duration};

const FOR_EVER: Duration = Duration::from_secs(1 << 32);

/// A log that is nothing but its groups.
#[derive(Default)]
struct Log {
    group: Group,
    /// Frames that were settled; and nobody else leads meanwhile.
    settled: Mutex<u64>,
    leading: Mutex<bool>,
    vouched: Mutex<u64>,
}

fn request() -> Request {
    Request::new(Kind::PUT, 0, vec![0; Request::HEADER_ROOM])
}

fn poisoned() -> Error {
    Error::new(ErrorKind::Poisoned, "planned by the test")
}

fn closed() -> Error {
    Error::new(ErrorKind::Closed, "planned by the test")
}

impl Log {
    fn begin(&self) {
        assert!(!std::mem::replace(&mut *self.leading.lock(), true), "two leaders at once");
    }

    fn end(&self) -> bool {
        assert!(std::mem::replace(&mut *self.leading.lock(), false), "nobody led");
        self.group.hand_over()
    }

    /// As the real one, without a disk.
    fn lead(&self) {
        loop {
            self.begin();
            self.settle(self.group.take(poisoned()));
            if !self.end() {
                return;
            }
        }
    }

    fn settle(&self, mut flight: InFlight) {
        while !flight.frames().is_empty() {
            let mut settled = self.settled.lock();
            *settled += 1;
            let lsn = Lsn::new(*settled);
            drop(settled);
            flight.settle_first(Committed { lsn, first: None, events: 0, durable: true });
        }
    }

    fn commit(&self) -> Result<Committed, CommitError> {
        let slot = self.group.submit(request());
        self.group.wait(&slot, || self.lead())
    }

    fn ticket(&self) -> Arc<Slot> {
        let slot = self.group.submit(request());
        self.group.call_committer();
        slot
    }

    /// Something by the leader, without a frame.
    fn exclusively(&self) {
        self.group.lead_exclusively();
        self.begin();
        if self.end() {
            self.lead();
        }
    }
}

impl Chores for Arc<Log> {
    fn lead(&self) {
        Log::lead(self);
    }

    fn sync(&self) {
        if self.group.lead_unless_ending() {
            self.begin();
            if self.end() {
                Log::lead(self);
            }
        }
    }

    fn vouch(&self) {
        *self.vouched.lock() += 1;
        self.sync();
    }
}

/// As a future does.
fn answer(slot: &Slot) -> Result<Committed, CommitError> {
    let bell = Arc::new(Bell::default());
    loop {
        let mut state = slot.state.lock();
        if let Some(answer) = &state.answer {
            return answer.clone();
        }
        state.waker = Some(bell.waker());
        drop(state);
        bell.wait();
    }
}

fn threads(log: &Arc<Log>, count: usize, body: fn(&Arc<Log>)) -> Vec<thread::JoinHandle<()>> {
    (0..count)
        .map(|_| {
            let log = Arc::clone(log);
            thread::spawn(move || body(&log))
        })
        .collect()
}

fn join(threads: Vec<thread::JoinHandle<()>>) {
    threads.into_iter().for_each(|thread| thread.join().expect("it ends"));
}

fn committer(log: &Arc<Log>, idle: Duration) -> thread::JoinHandle<()> {
    log.group.set_has_committer();
    let log = Arc::clone(log);
    thread::spawn(move || log.group.committer(&log, None, idle))
}

#[test]
fn threads_that_block_are_all_answered() {
    all(|| {
        let log = Arc::new(Log::default());
        let others = threads(&log, 2, |log| assert!(log.commit().is_ok()));
        log.commit().expect("committed");
        join(others);
        assert_eq!(*log.settled.lock(), 3);
        assert!(!log.group.state.lock().led, "nobody leads any more");
    });
}

#[test]
fn tickets_and_a_thread_that_blocks_are_answered_and_the_committer_ends() {
    all(|| {
        let log = Arc::new(Log::default());
        let committer = committer(&log, FOR_EVER);
        let other = threads(&log, 1, |log| assert!(log.commit().is_ok()));
        answer(&log.ticket()).expect("committed");
        join(other);
        log.group.end_committer();
        committer.join().expect("it ends");
        assert_eq!(*log.settled.lock(), 2);
    });
}

/// The end comes while a ticket waits: as when the last clone of a channel goes.
#[test]
fn a_ticket_that_meets_the_end_is_answered() {
    all(|| {
        let log = Arc::new(Log::default());
        let committer = committer(&log, FOR_EVER);
        let other = threads(&log, 1, |log| drop(log.commit()));
        let slot = log.ticket();
        log.group.stop(&closed());
        log.group.end_committer();
        committer.join().expect("it ends");
        while log.group.try_lead() {
            log.lead();
        }
        answer(&slot).expect("what was submitted before the end is committed");
        join(other);
    });
}

#[test]
fn who_leads_without_a_frame_and_who_commits_let_each_other_pass() {
    all(|| {
        let log = Arc::new(Log::default());
        let others = threads(&log, 1, |log| assert!(log.commit().is_ok()));
        let exclusive = threads(&log, 1, |log| log.exclusively());
        log.exclusively();
        log.commit().expect("committed");
        join(others);
        join(exclusive);
        assert_eq!(*log.settled.lock(), 2);
    });
}

/// The committer vouches at once whenever a group is through; tickets come meanwhile.
#[test]
fn a_committer_that_vouches_leads_for_those_who_come_meanwhile() {
    all(|| {
        let log = Arc::new(Log::default());
        let committer = committer(&log, Duration::ZERO);
        answer(&log.ticket()).expect("committed");
        log.commit().expect("committed");
        log.group.end_committer();
        committer.join().expect("it ends");
        assert_eq!(*log.settled.lock(), 2);
        assert!(*log.vouched.lock() <= 2);
    });
}

#[test]
fn a_poison_answers_those_who_wait_and_those_who_come() {
    all(|| {
        let log = Arc::new(Log::default());
        let others = threads(&log, 2, |log| match log.commit() {
            Ok(_) | Err(CommitError::NotCommitted(_)) => {}
            Err(other) => panic!("{other}"),
        });
        log.group.stop(&poisoned());
        join(others);
        assert!(matches!(log.commit(), Err(CommitError::NotCommitted(_))));
    });
}

/// A leader that fails: its frames get "unknown", and the next ones a leader.
#[test]
fn a_flight_that_is_dropped_answers_its_frames() {
    all(|| {
        let log = Arc::new(Log::default());
        let slot = log.group.submit(request());
        let other = threads(&log, 1, |log| drop(log.commit()));
        if log.group.try_lead() {
            log.begin();
            drop(log.group.take(poisoned()));
            if log.end() {
                log.lead();
            }
        }
        join(other);
        let ready = slot.state.lock().answer.is_some();
        assert!(ready || log.group.try_lead(), "it waits, and nobody leads");
    });
}
