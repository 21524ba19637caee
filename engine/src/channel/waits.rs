//! Whom a commit waits for.

use super::Channel;
use crate::{
    error::{CommitError, Error, ErrorKind},
    options::{Options, TakeSync},
    queue::TakeLimit,
};
use std::{
    path::Path,
    thread,
    time::{Duration, Instant},
};

/// Longer than these tests.
const PATIENCE: Duration = Duration::from_secs(60);
/// Frames, a group each, that a log without commits writes to vouch for the last one.
const VOUCHES: u64 = 2;

/// A channel whose next leader waits for so many commits. What vouches for the one before is a group, too: it is there already.
fn expecting(commits: usize, dir: &Path, options: Options) -> Channel {
    let channel = Channel::open(dir, options).expect("it opens");
    let groups = channel.stats().log.groups;
    channel.put(b"first").expect("it is put");
    while channel.stats().log.groups < groups + 1 + VOUCHES {
        thread::park_timeout(Duration::from_millis(1));
    }
    channel.shared().log.expect_commits(commits, PATIENCE);
    channel
}

/// A machine that stops for as long as a log without commits does not vouch ends a wait as well. Not ten times.
fn once_in_ten(scenario: impl Fn() -> bool) {
    assert!((0..10).any(|_| scenario()));
}

/// Takes that ride with the next put have no sync to share. They waited for the putters of the last group all the same.
#[test]
fn a_take_that_needs_no_sync_waits_for_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let take_sync = TakeSync::WithNextPut { at_most_ms: 60_000 };
    let channel = expecting(8, dir.path(), Options { take_sync, ..Options::default() });
    let begun = Instant::now();
    let take = channel.begin_take(TakeLimit::events(1)).unwrap();
    assert!(!take.commit().unwrap().durable);
    assert!(begun.elapsed() < PATIENCE / 8);
}

#[test]
fn who_commits_alone_waits_for_the_other_one_of_the_last_group() {
    once_in_ten(|| {
        let dir = tempfile::tempdir().unwrap();
        let channel = expecting(2, dir.path(), Options::default());
        let log = &channel.shared().log;
        let groups = channel.stats().log.groups;
        thread::scope(|scope| {
            let one = scope.spawn(|| channel.put(b"one").unwrap());
            while !log.gathers() && !one.is_finished() {
                thread::yield_now();
            }
            channel.put(b"other").unwrap();
            one.join().unwrap();
        });
        channel.stats().log.groups == groups + 1
    });
}

/// The leader had seen that the log was sound before it waited, and wrote, and even rotated, in a log that had stopped itself.
#[test]
fn nothing_is_written_after_a_wait_in_which_the_log_stopped_itself() {
    once_in_ten(|| {
        let dir = tempfile::tempdir().unwrap();
        let channel = expecting(2, dir.path(), Options::default());
        let log = &channel.shared().log;
        let answer = thread::scope(|scope| {
            let one = scope.spawn(|| channel.put(b"one"));
            while !log.gathers() && !one.is_finished() {
                thread::yield_now();
            }
            log.poison(&Error::new(ErrorKind::Io, "a directory could not be synced"));
            one.join().unwrap()
        });
        drop(channel);
        let channel = Channel::open(dir.path(), Options::default()).unwrap();
        match answer {
            Err(CommitError::NotCommitted(_)) => assert_eq!(channel.stats().events, 1),
            Err(CommitError::Unknown(error)) => panic!("it was written: {error}"),
            Ok(_) => return false,
        }
        true
    });
}
