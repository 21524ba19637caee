//! Sinks: what delivers events to their destination.

mod logger;
mod null;

use crate::component::Entry;

/// The sinks of this build.
pub static ENTRIES: &[&Entry] = &[&logger::ENTRY, &null::ENTRY];
