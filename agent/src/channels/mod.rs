//! Channels: what stands between sources and sinks.

mod file;
mod memory;

use crate::component::Entry;

/// The channels of this build.
pub static ENTRIES: &[&Entry] = &[&file::ENTRY, &memory::ENTRY];
