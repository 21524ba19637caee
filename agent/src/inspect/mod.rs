//! What `fchannel inspect` shows of a channel, as tables for people and as JSON for programs.
//!
//! Event bytes are hostile: whatever comes out of a channel is escaped before a terminal or a table sees it. Rows are streamed, so that
//! memory does not grow with what waits.

mod events;
mod frames;
mod lists;
mod out;
mod progress;
mod quarantine;
mod repair;
mod select;
mod summary;
mod text;
mod verify;

pub(crate) use events::{EventOptions, events};
pub(crate) use frames::{FrameOptions, frames, transactions};
pub(crate) use lists::{checkpoints, segments};
pub(crate) use out::{Form, Out};
pub(crate) use quarantine::{damage_events, list_quarantine, show_damage};
pub(crate) use repair::{RepairPage, undo_of};
pub(crate) use select::{BodyForm, Filter, Select};
pub(crate) use summary::summary;
pub(crate) use verify::{VerifyOptions, verify};

/// What a verb came across.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    /// Rows that matched.
    pub(crate) rows: u64,
    /// Damage, or a finding that is more than information.
    pub(crate) damage: bool,
}
