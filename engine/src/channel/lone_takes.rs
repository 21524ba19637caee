//! Whom a commit waits for.

use super::Channel;
use crate::{
    options::{Options, TakeSync},
    queue::TakeLimit,
};
use std::time::{Duration, Instant};

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
