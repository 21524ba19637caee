//! fchannel
mod error;
mod event;
mod ids;

pub use error::{CommitError, Error, ErrorKind, Result};
pub use event::{Event, Headers};
pub use ids::{EventSeq, FramePtr, Lsn, SegmentId};
