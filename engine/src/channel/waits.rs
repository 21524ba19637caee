//! Whom a commit waits for.

use super::Channel;
use crate::{
    error::{CommitError, Error, ErrorKind},
    options::{Options, TakeSync},
    queue::TakeLimit,
};
use std::{
    thread,
    time::{Duration, Instant},
};

/// Longer than these tests.
const PATIENCE: Duration = Duration::from_secs(60);

/// Takes that ride with the next put have no sync to share. They waited for the putters of the last group all the same.
#[test]
fn a_take_that_needs_no_sync_waits_for_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let take_sync = TakeSync::WithNextPut { at_most_ms: 60_000 };
    let channel = Channel::open(dir.path(), Options { take_sync, ..Options::default() }).unwrap();
    channel.put(b"event").unwrap();
    channel.shared().log.expect_commits(8, PATIENCE);
    let begun = Instant::now();
    let take = channel.begin_take(TakeLimit::events(1)).unwrap();
    assert!(!take.commit().unwrap().durable);
    assert!(begun.elapsed() < PATIENCE / 8);
}

#[test]
fn who_commits_alone_waits_for_the_other_one_of_the_last_group() {
    let dir = tempfile::tempdir().unwrap();
    let channel = Channel::open(dir.path(), Options::default()).unwrap();
    channel.put(b"first").unwrap();
    let log = &channel.shared().log;
    let groups = channel.stats().log.groups;
    log.expect_commits(2, PATIENCE);
    thread::scope(|scope| {
        let one = scope.spawn(|| channel.put(b"one").unwrap());
        while !log.gathers() {
            thread::yield_now();
        }
        channel.put(b"other").unwrap();
        one.join().unwrap();
    });
    assert_eq!(channel.stats().log.groups, groups + 1, "both are in one");
}

/// The leader had seen that the log was sound before it waited, and wrote, and even rotated, in a log that had stopped itself.
#[test]
fn nothing_is_written_after_a_wait_in_which_the_log_stopped_itself() {
    let dir = tempfile::tempdir().unwrap();
    let channel = Channel::open(dir.path(), Options::default()).unwrap();
    channel.put(b"first").unwrap();
    let log = &channel.shared().log;
    log.expect_commits(2, PATIENCE);
    let answer = thread::scope(|scope| {
        let one = scope.spawn(|| channel.put(b"one"));
        while !log.gathers() {
            thread::yield_now();
        }
        log.poison(&Error::new(ErrorKind::Io, "a directory could not be synced"));
        one.join().unwrap()
    });
    assert!(matches!(answer, Err(CommitError::NotCommitted(_))), "{answer:?}");
    drop(channel);
    let channel = Channel::open(dir.path(), Options::default()).unwrap();
    assert_eq!(channel.stats().events, 1);
}
