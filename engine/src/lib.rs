//! A write-ahead log, and on it a durable transactional queue with the contract of Apache Flume's file channel.
//!
//! **What a commit acknowledged is on disk, whatever crashes.** Events come out in the order in which they were committed, at least
//! once. Neither memory nor restart time grows with what waits.
//!
//! | crash | [`Durability::EachCommit`] (default) | with [`TakeSync::WithNextPut`] | [`Durability::Interval`] |
//! |---|---|---|---|
//! | the process is killed | nothing is lost | nothing is lost | nothing is lost |
//! | the machine crashes, the power goes | nothing is lost | the same; the last takes come again | the last commits are lost, a suffix |
//! | a take was not committed | its events come again, in order | the same | the same |
//!
//! # A plain log
//! ```
//! use fchannel::{Wal, WalOptions};
//! let dir = tempfile::tempdir()?;
//! let wal = Wal::open(dir.path(), WalOptions::default(), |lsn, kind, body| {
//!     println!("replayed {lsn}: kind {kind}, {} bytes", body.len());
//!     Ok(())
//! })?;
//! let committed = wal.append(1, b"balance += 5")?;
//! assert!(committed.durable);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # A transactional queue
//! ```
//! use fchannel::{Channel, Event, Headers, Options, TakeLimit};
//! let dir = tempfile::tempdir()?;
//! let channel = Channel::open(dir.path(), Options::default())?;
//! let event = Event::new(Headers::from_iter([("host", "web1")]), "GET /cart 200");
//! let mut put = channel.begin_put();
//! put.push_with(|buffer| event.encode_into(buffer))?;
//! put.commit()?;
//!
//! let take = channel.begin_take(TakeLimit::events(100))?;
//! let taken = Event::decode(take.records()[0].payload.clone())?;
//! assert_eq!(taken, event);
//! take.commit()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Begin with [`Channel`] or [`Wal`]; the bytes on disk are in docs/FORMAT.md, what a restart does in docs/RECOVERY.md.
#![warn(clippy::indexing_slicing)]
#![cfg_attr(test, expect(clippy::disallowed_methods, reason = "tests look at real files"))]

mod channel;
mod error;
mod event;
mod format;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod ids;
mod inspect;
pub mod io;
mod log;
mod options;
mod queue;
pub mod repair;
mod stats;
mod sync;
mod trace;

pub use channel::{Channel, ChannelStats, PutError, PutTransaction, Room, TakeTransaction};
pub use error::{CommitError, Error, ErrorKind, Result};
pub use event::{Event, Headers};
pub use format::FORMAT_VERSION;
pub use ids::{EventSeq, FramePtr, Lsn, SegmentId};
pub use inspect::{
    BodyState, CheckpointContent, CheckpointInfo, DirectoryInfo, EventInfo, EventRow, Finding,
    FrameInfo, FrameRow, Hole, Inspector, Position, Progress, SalvagedEvent, SalvagedFrame,
    SegmentInfo, Severity, StateInfo, Summary, Verification, Verify, Which,
};
pub use log::{
    Committed, Consequence, ImageSource, Quarantined, RecoveryReport, Ticket, VERDICTS, Verdict,
    VerdictRow, Wal, WalRecord,
};
pub use options::{CommitCalls, Durability, OnDamage, Options, TakeSync, WalOptions};
pub use queue::{Record, TakeLimit};
pub use stats::LogStats;
