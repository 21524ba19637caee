//! How long a leader waits for those who are about to commit again.
//!
//! Committers that are answered together come back together, a moment later. A leader that does not wait for them finds half of them,
//! the other half waits for its sync, and so it stays: two half groups, each of which waits for two syncs. As PostgreSQL's
//! `commit_delay`, but it sets itself.

use std::time::Duration;

/// Nobody waits for longer, however slow the disk is.
const PATIENCE_MAX: Duration = Duration::from_millis(2);
/// A shorter wait is not worth its wake-up.
const PATIENCE_MIN: Duration = Duration::from_micros(50);
/// After so many vain waits one behind the other, the pause between two tries does not grow any more: 64 groups.
const DOUBLINGS_MAX: u32 = 6;

/// What the last groups tell of the next one.
#[derive(Debug)]
pub(super) struct Cohort {
    /// How many committers there were when the last group was synced: its own, not answered yet, and those who waited already.
    expected: usize,
    /// How long a group takes, on the average of the last ones.
    group_time: Duration,
    /// Waits in vain, one behind the other.
    in_vain: u32,
    /// Groups for which nobody is to wait, after such a wait.
    rest: u32,
    /// [`PATIENCE_MAX`], but for tests.
    pub(super) patience_max: Duration,
}

impl Default for Cohort {
    fn default() -> Self {
        let (expected, in_vain, rest) = (0, 0, 0);
        Self { expected, group_time: Duration::ZERO, in_vain, rest, patience_max: PATIENCE_MAX }
    }
}

impl Cohort {
    /// How long to wait at most, where so many are there: half of what the wait may spare. None if enough are there, and for a while after
    /// waits in vain. Asked once for each group.
    pub(super) fn begin_wait(&mut self, there: usize) -> Option<Duration> {
        let patience = (self.group_time / 2).min(self.patience_max);
        if self.has_enough(there) || patience < PATIENCE_MIN {
            return None;
        }
        if self.rest > 0 {
            self.rest -= 1;
            return None;
        }
        Some(patience)
    }

    /// Whether so many are there that nobody is to wait longer: the last quarter comes late and gains little, and is not worth what it
    /// costs all others (measured).
    pub(super) fn has_enough(&self, there: usize) -> bool {
        there >= self.expected - self.expected / 4
    }

    /// After a wait so many are there.
    pub(super) fn end_wait(&mut self, there: usize) {
        if self.has_enough(there) {
            self.in_vain = 0;
            return;
        }
        self.in_vain = (self.in_vain + 1).min(DOUBLINGS_MAX);
        self.rest = 1 << self.in_vain;
    }

    /// A group of so many commits is synced, which took so long; so many others wait by now, and none of it has its answer.
    pub(super) fn synced(&mut self, commits: usize, waiting: usize, took: Duration) {
        self.expected = commits + waiting;
        self.group_time = match self.group_time {
            Duration::ZERO => took,
            average => (average * 7 + took) / 8,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GROUP: Duration = Duration::from_micros(200);

    #[test]
    fn a_lone_committer_is_never_waited_for() {
        let mut cohort = Cohort::default();
        for _ in 0..100 {
            assert_eq!(cohort.begin_wait(1), None);
            cohort.synced(1, 0, GROUP);
        }
    }

    #[test]
    fn a_disk_that_answers_at_once_is_not_waited_for() {
        let mut cohort = Cohort::default();
        cohort.synced(4, 4, Duration::from_micros(40));
        assert_eq!(cohort.begin_wait(4), None);
    }

    #[test]
    fn two_halves_become_one() {
        let mut cohort = Cohort::default();
        cohort.synced(4, 4, GROUP);
        let patience = cohort.begin_wait(4).unwrap();
        assert!(patience <= GROUP / 2);
        cohort.end_wait(8);
        cohort.synced(8, 0, GROUP);
        assert_eq!(cohort.begin_wait(7), None, "enough are there");
        assert!(cohort.begin_wait(5).is_some());
        cohort.synced(1, 1, GROUP);
        assert!(cohort.begin_wait(1).is_some() && !cohort.has_enough(1));
        assert!(cohort.has_enough(2), "of two, both");
    }

    #[test]
    fn waits_in_vain_become_rare() {
        let mut cohort = Cohort::default();
        let mut waits = 0;
        for _ in 0..1000 {
            // Always one who comes, and one who does not come again.
            cohort.synced(1, 1, GROUP);
            if cohort.begin_wait(1).is_some() {
                waits += 1;
                cohort.end_wait(1);
            }
        }
        assert!((10..=25).contains(&waits), "{waits}");
        cohort.synced(1, 1, GROUP);
        while cohort.begin_wait(1).is_none() {}
        cohort.end_wait(2);
        assert!(cohort.begin_wait(1).is_some(), "one that came makes up for all that did not");
    }
}
