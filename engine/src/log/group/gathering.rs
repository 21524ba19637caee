//! Threads that commit while leaders wait for their cohort, and what breaks such a wait off.

use super::{Chores, Committed, GROUP_BYTES_MAX, Group, InFlight, Request, SPIN_MAX};
use crate::{
    error::{CommitError, Error, ErrorKind},
    format::Kind,
    ids::Lsn,
};
use std::{
    thread,
    time::{Duration, Instant},
};

const COMMITTERS: usize = 4;
const COMMITS: usize = 25;
/// So slow that leaders wait for as long as they ever do.
const SYNC: Duration = Duration::from_millis(40);

/// Answers all frames at once, as if a slow disk had synced them.
struct Leader<'a>(&'a Group);

impl Chores for Leader<'_> {
    fn lead(&self) {
        loop {
            let mut flight: InFlight = self.0.take(error(ErrorKind::Poisoned));
            if !flight.frames().is_empty() {
                self.0.gather(&mut flight);
            }
            let commits = flight.frames().len();
            if commits > 0 {
                self.0.synced(commits, SYNC);
            }
            while !flight.frames().is_empty() {
                flight.settle_first(Committed {
                    lsn: Lsn::new(1),
                    first: None,
                    events: 0,
                    durable: true,
                });
            }
            drop(flight);
            if !self.0.hand_over() {
                return;
            }
        }
    }

    fn sync(&self) {}

    fn vouch(&self) {}
}

fn error(kind: ErrorKind) -> Error {
    Error::new(kind, "of the test")
}

/// What each committer was answered while somebody did `meanwhile`, after half of the commits.
fn answers(meanwhile: impl Fn(&Group) + Sync) -> Vec<Vec<Result<Committed, CommitError>>> {
    let group = Group::default();
    group.set_has_committer();
    let half = std::sync::Barrier::new(COMMITTERS + 1);
    let commit = |at: usize| {
        if at == COMMITS / 2 {
            half.wait();
        }
        let slot =
            group.submit(Request::new(Kind::PUT, 0, vec![0; Request::HEADER_ROOM]).refusable());
        group.wait(&slot, || Leader(&group).lead())
    };
    thread::scope(|scope| {
        let committer = scope.spawn(|| group.committer(&Leader(&group), None, SYNC));
        let committers: Vec<_> = (0..COMMITTERS)
            .map(|_| scope.spawn(|| (0..COMMITS).map(commit).collect::<Vec<_>>()))
            .collect();
        half.wait();
        meanwhile(&group);
        let answers =
            committers.into_iter().map(|thread| thread.join().expect("a committer ends")).collect();
        group.end_committer();
        committer.join().expect("the committer thread ends");
        answers
    })
}

#[test]
fn everybody_is_answered_when_a_log_is_closed_or_stops_itself_while_a_leader_waits() {
    for kind in [ErrorKind::Closed, ErrorKind::Poisoned] {
        for answers in answers(|group| group.stop(&error(kind.clone()))) {
            assert_eq!(answers.len(), COMMITS);
            let done = answers.iter().take_while(|answer| answer.is_ok()).count();
            assert!(done >= COMMITS / 2, "{done}: half of them came before");
            assert!(
                answers[done..]
                    .iter()
                    .all(|answer| matches!(answer, Err(CommitError::NotCommitted(_)))),
                "nothing is committed behind the end, and nothing left open: {answers:?}"
            );
        }
    }
}

#[test]
fn who_leads_without_a_frame_gets_its_turn_and_takes_nobodys() {
    let answers = answers(|group| {
        for _ in 0..COMMITS {
            group.lead_exclusively();
            if group.hand_over() {
                Leader(group).lead();
            }
        }
    });
    assert!(answers.iter().flatten().all(Result::is_ok), "{answers:?}");
}

/// Longer than any of these tests.
const PATIENCE: Duration = Duration::from_secs(60);

impl Group {
    pub(in crate::log) fn expect_commits(&self, commits: usize, patience: Duration) {
        self.state.lock().cohort.patience_max = patience;
        self.synced(commits, patience * 4);
    }

    pub(in crate::log) fn gathers(&self) -> bool {
        self.state.lock().gathering.is_some()
    }
}

/// A group whose next leader waits for a second frame, with all its patience.
fn patient() -> Group {
    let group = Group::default();
    group.set_has_committer();
    group.expect_commits(2, PATIENCE);
    group
}

fn submit_and_wait(group: &Group) -> Result<Committed, CommitError> {
    let slot = group.submit(Request::new(Kind::PUT, 0, vec![0; Request::HEADER_ROOM]).refusable());
    group.wait(&slot, || Leader(group).lead())
}

/// What a lone leader is answered when somebody does `meanwhile` while it waits asleep; and that this ends its wait.
fn ended_by(group: &Group, meanwhile: impl FnOnce()) -> Result<Committed, CommitError> {
    let begun = Instant::now();
    let answer = thread::scope(|scope| {
        let leader = scope.spawn(|| submit_and_wait(group));
        while !group.gathers() {
            thread::yield_now();
        }
        thread::park_timeout(SPIN_MAX * 20);
        assert!(group.gathers(), "it waits");
        meanwhile();
        leader.join().expect("it ends")
    });
    assert!(begun.elapsed() < PATIENCE / 2, "it slept on");
    answer
}

#[test]
fn the_last_one_who_comes_ends_the_wait_and_is_in_the_group() {
    let group = patient();
    let answer = ended_by(&group, || {
        let second = submit_and_wait(&group);
        assert!(second.is_ok(), "{second:?}");
    });
    assert!(answer.is_ok(), "{answer:?}");
    assert_eq!(group.state.lock().groups, 1, "both are in one");
}

#[test]
fn the_end_of_a_log_ends_the_wait() {
    for kind in [ErrorKind::Closed, ErrorKind::Poisoned] {
        let group = patient();
        let answer = ended_by(&group, || group.stop(&error(kind)));
        assert!(answer.is_ok(), "it was led already: {answer:?}");
    }
}

#[test]
fn who_wants_to_lead_alone_ends_the_wait() {
    let group = patient();
    let answer = ended_by(&group, || {
        group.lead_exclusively();
        assert!(!group.hand_over());
    });
    assert!(answer.is_ok(), "{answer:?}");
}

#[test]
fn nobody_waits_behind_a_wait_in_vain() {
    let group = patient();
    group.state.lock().cohort.patience_max = Duration::from_millis(1);
    let answer = submit_and_wait(&group);
    assert!(answer.is_ok(), "{answer:?}");
    group.state.lock().cohort.patience_max = PATIENCE;
    group.synced(2, PATIENCE * 4);
    let begun = Instant::now();
    assert!(submit_and_wait(&group).is_ok());
    assert!(begun.elapsed() < PATIENCE / 2, "the second one is not waited for again at once");
}

/// It led the next group, and those behind it could not join this one either.
#[test]
fn a_frame_that_does_not_fit_is_not_waited_for() {
    let group = patient();
    group.expect_commits(3, PATIENCE);
    for bytes in [GROUP_BYTES_MAX / 2 - 64, GROUP_BYTES_MAX] {
        drop(group.submit(Request::new(Kind::PUT, 0, vec![0; bytes]).refusable()));
    }
    let mut flight = group.take(error(ErrorKind::Poisoned));
    let begun = Instant::now();
    group.gather(&mut flight);
    assert!(begun.elapsed() < PATIENCE / 2);
    assert_eq!(flight.frames().len(), 1);
    assert!(group.frames_wait());
}
