//! Sources: what brings events in.

mod seq;

use crate::component::Entry;

/// The sources of this build.
pub static ENTRIES: &[&Entry] = &[&seq::ENTRY];
