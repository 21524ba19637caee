//! What a user may choose, each with its unit, default and reason.

use crate::error::{Error, ErrorKind, Result};
use std::path::PathBuf;

/// When a commit counts as done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Durability {
    /// After its group is synced. What was acknowledged survives a kill, a crash of the machine and a power cut.
    #[default]
    EachCommit,
    /// After it is written; syncs follow by time, or after 32 MiB. What was acknowledged survives a kill; a power cut may lose the
    /// commits since the last sync, as a suffix: never one from the middle.
    Interval {
        /// Time between syncs in milliseconds. Minimum: 1.
        sync_interval_ms: u64,
    },
}

/// When the commit of a take counts as done, where that of a put is synced ([`Durability::EachCommit`]).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum TakeSync {
    /// As a put: what was taken is not delivered again, whatever happens.
    #[default]
    EachCommit,
    /// After it is written; it becomes durable with the next put, or a little later. A kill takes nothing back. A power cut may, and then
    /// what was taken since the last sync is delivered again, in order. Nothing is ever lost. For sinks that bear a double and drain a
    /// backlog, or a disk whose syncs are dear.
    WithNextPut {
        /// Time until it is synced at the latest, in milliseconds. Minimum: 1.
        at_most_ms: u64,
    },
}

/// By which system calls a group of commits is written and synced. What is durable is the same; which is faster depends on the kernel and
/// the disk: `fchannel bench disk` tells (docs/decisions/0013).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum CommitCalls {
    /// `pwritev`, then `fdatasync`.
    #[default]
    WriteThenSync,
    /// One call of `io_uring` for both. Where the kernel has none, or forbids it, as many containers do, the two calls.
    IoUring,
}

/// What becomes of bytes that were durable and are damaged.
///
/// Where a directory is missing, or not this log's, the open is refused by either: a disk that is not mounted must never look like an
/// empty log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnDamage {
    /// Set them aside, count and name what is lost, and go on around it: one bad sector must not keep a queue shut.
    Quarantine,
    /// Stop and explain: the open is refused, and a read gets the error.
    Refuse,
}

/// Options of a [`Channel`](crate::Channel). They may differ from open to open; only the directories are remembered.
///
/// # Examples
/// ```
/// use fchannel::Options;
/// let options = Options { capacity_events: 10_000, ..Options::default() };
/// options.validate()?;
/// assert!(Options { capacity_events: 0, ..Options::default() }.validate().is_err());
/// # Ok::<(), fchannel::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Directories for the segments, ideally one for each disk. Default: empty, which means the channel's own directory. One may be
    /// added later; one that is missing at an open is an error, since a disk that is not mounted must not look like an empty log.
    pub data_dirs: Vec<PathBuf>,
    /// Events that may wait. Default: 1,000,000. Minimum: 1. Lowered below what waits, puts wait and nothing is dropped.
    pub capacity_events: u64,
    /// Events in one transaction. Default: 10,000. Minimum: 1. Maximum: the capacity.
    pub transaction_events_max: u32,
    /// Payload bytes in one transaction, since it becomes one frame, which is built in memory. Default: 64 MiB. Minimum: 4 KiB.
    /// Maximum: 1 GiB.
    pub transaction_bytes_max: u64,
    /// How long a put commit waits for room, in milliseconds. Default: 3,000.
    pub keep_alive_ms: u64,
    /// When a commit counts as done. Default: after its sync.
    pub durability: Durability,
    /// When the commit of a take counts as done. Default: after its sync. Has no meaning under [`Durability::Interval`], where every
    /// commit is done when it is written.
    pub take_sync: TakeSync,
    /// By which system calls a group is written and synced. Default: two, which was measured to be faster.
    pub commit_calls: CommitCalls,
    /// Where a segment ends, in bytes. Default: 256 MiB. Minimum: 64 KiB. A larger frame gets a segment as large as it needs. Space is
    /// given back by whole segments, so one old event keeps as much.
    pub segment_bytes_max: u64,
    /// Free bytes of a disk below which puts are refused, while takes, checkpoints and removals go on. Default: 500 MiB.
    pub free_space_min_bytes: u64,
    /// Time between checkpoints, in milliseconds. Default: 30,000. Minimum: 10.
    pub checkpoint_interval_ms: u64,
    /// Log bytes after which a checkpoint comes early: they bound what a restart replays. (It also searches the rest of the newest
    /// segment for frames, which is as much as that segment is long where it was written over a spent one.) Default: 64 MiB. Minimum:
    /// 64 KiB.
    pub checkpoint_log_bytes: u64,
    /// Memory for recent frames, from which takers that keep up are served. Up to a quarter as much again is kept for the next ones, where
    /// they are large. Default: 16 MiB. Minimum: 0.
    pub tail_cache_bytes: u64,
    /// What becomes of bytes that were durable and are damaged. Default: they are set aside, and the channel goes on around them.
    pub on_damage: OnDamage,
    /// Whether [`close`](crate::Channel::close) writes a checkpoint. Default: true. Without it the next open reads more; nothing is lost.
    pub checkpoint_on_close: bool,
}

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;

impl Default for Options {
    fn default() -> Self {
        Self {
            data_dirs: Vec::new(),
            capacity_events: 1_000_000,
            transaction_events_max: 10_000,
            transaction_bytes_max: 64 * MIB,
            keep_alive_ms: 3_000,
            durability: Durability::EachCommit,
            take_sync: TakeSync::EachCommit,
            commit_calls: CommitCalls::WriteThenSync,
            segment_bytes_max: 256 * MIB,
            free_space_min_bytes: 500 * MIB,
            checkpoint_interval_ms: 30_000,
            checkpoint_log_bytes: 64 * MIB,
            tail_cache_bytes: 16 * MIB,
            on_damage: OnDamage::Quarantine,
            checkpoint_on_close: true,
        }
    }
}

impl Options {
    /// Checks ranges and what must fit together.
    ///
    /// # Errors
    /// `InvalidOptions`, naming the option, its value and its range.
    pub fn validate(&self) -> Result<()> {
        at_least("capacity_events", self.capacity_events, 1)?;
        at_least("transaction_events_max", u64::from(self.transaction_events_max), 1)?;
        at_least("transaction_bytes_max", self.transaction_bytes_max, 4 * KIB)?;
        at_most("transaction_bytes_max", self.transaction_bytes_max, 1024 * MIB)?;
        at_least("checkpoint_interval_ms", self.checkpoint_interval_ms, 10)?;
        at_least("checkpoint_log_bytes", self.checkpoint_log_bytes, 64 * KIB)?;
        if u64::from(self.transaction_events_max) > self.capacity_events {
            return Err(invalid(format!(
                "transaction_events_max ({}) is more than capacity_events ({}): such a transaction could never commit",
                self.transaction_events_max, self.capacity_events
            )));
        }
        self.log_options().validate()
    }

    pub(crate) fn log_options(&self) -> LogOptions {
        LogOptions {
            durability: self.durability,
            take_sync: self.take_sync,
            segment_bytes_max: self.segment_bytes_max,
            free_space_min_bytes: self.free_space_min_bytes,
            tail_cache_bytes: self.tail_cache_bytes,
            on_damage: self.on_damage,
            purpose: Purpose::Use,
        }
    }
}

/// The part of the options that the log itself needs.
#[derive(Clone, Debug)]
pub(crate) struct LogOptions {
    pub(crate) durability: Durability,
    pub(crate) take_sync: TakeSync,
    pub(crate) segment_bytes_max: u64,
    pub(crate) free_space_min_bytes: u64,
    pub(crate) tail_cache_bytes: u64,
    pub(crate) on_damage: OnDamage,
    pub(crate) purpose: Purpose,
}

/// What a log is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// To be used.
    Use,
    /// To set damage aside, so that it can be undone: every file stays as it is, and new ones are made of nothing.
    Repair,
}

impl LogOptions {
    pub(crate) fn validate(&self) -> Result<()> {
        at_least("segment_bytes_max", self.segment_bytes_max, 64 * KIB)?;
        if let Durability::Interval { sync_interval_ms } = self.durability {
            at_least("sync_interval_ms", sync_interval_ms, 1)?;
        }
        if let TakeSync::WithNextPut { at_most_ms } = self.take_sync {
            at_least("at_most_ms", at_most_ms, 1)?;
        }
        Ok(())
    }

    /// How long what is written and acknowledged may stay unsynced; `None` if there is no such thing.
    pub(crate) fn unsynced_max_ms(&self) -> Option<u64> {
        match (self.durability, self.take_sync) {
            (Durability::Interval { sync_interval_ms }, _) => Some(sync_interval_ms),
            (Durability::EachCommit, TakeSync::WithNextPut { at_most_ms }) => Some(at_most_ms),
            (Durability::EachCommit, TakeSync::EachCommit) => None,
        }
    }
}

/// Options of a bare [`Wal`](crate::Wal).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WalOptions {
    /// As [`Options::durability`].
    pub durability: Durability,
    /// As [`Options::commit_calls`].
    pub commit_calls: CommitCalls,
    /// As [`Options::segment_bytes_max`]. Default: 64 MiB.
    pub segment_bytes_max: u64,
    /// The largest record, in bytes. Default: 64 MiB. Maximum: 1 GiB.
    pub record_bytes_max: u64,
    /// As [`Options::free_space_min_bytes`]. Default: 0: a bare log is refused nothing until the disk is full.
    pub free_space_min_bytes: u64,
    /// As [`Options::on_damage`]. Default: refuse, since only the log's user knows what its state is worth without a record.
    pub on_damage: OnDamage,
}

impl Default for WalOptions {
    fn default() -> Self {
        Self {
            durability: Durability::EachCommit,
            commit_calls: CommitCalls::WriteThenSync,
            segment_bytes_max: 64 * MIB,
            record_bytes_max: 64 * MIB,
            free_space_min_bytes: 0,
            on_damage: OnDamage::Refuse,
        }
    }
}

impl WalOptions {
    /// Checks ranges.
    ///
    /// # Errors
    /// `InvalidOptions`, naming the option, its value and its range.
    pub fn validate(&self) -> Result<()> {
        at_least("record_bytes_max", self.record_bytes_max, 1)?;
        at_most("record_bytes_max", self.record_bytes_max, 1024 * MIB)?;
        self.log_options().validate()
    }

    pub(crate) fn log_options(&self) -> LogOptions {
        LogOptions {
            durability: self.durability,
            take_sync: TakeSync::EachCommit,
            segment_bytes_max: self.segment_bytes_max,
            free_space_min_bytes: self.free_space_min_bytes,
            tail_cache_bytes: 0,
            on_damage: self.on_damage,
            purpose: Purpose::Use,
        }
    }
}

fn invalid(what: String) -> Error {
    Error::new(ErrorKind::InvalidOptions, what)
}

fn at_least(name: &str, value: u64, min: u64) -> Result<()> {
    if value >= min {
        Ok(())
    } else {
        Err(invalid(format!("{name} is {value}, its minimum is {min}")))
    }
}

fn at_most(name: &str, value: u64, max: u64) -> Result<()> {
    if value <= max {
        Ok(())
    } else {
        Err(invalid(format!("{name} is {value}, its maximum is {max}")))
    }
}
