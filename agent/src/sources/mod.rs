//! Sources: what brings events in.

mod exec;
mod listen;
mod netcat;
mod seq;
mod taildir;

use crate::component::Entry;

/// The sources of this build.
pub static ENTRIES: &[&Entry] = &[&exec::ENTRY, &netcat::ENTRY, &seq::ENTRY, &taildir::ENTRY];
