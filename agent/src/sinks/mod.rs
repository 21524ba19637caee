//! Sinks: what delivers events to their destination.

mod file_roll;
mod logger;
mod null;

use crate::component::Entry;

/// The sinks of this build.
pub static ENTRIES: &[&Entry] = &[&file_roll::ENTRY, &logger::ENTRY, &null::ENTRY];
