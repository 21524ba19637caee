//! Channels: what stands between sources and sinks.

mod memory;

use crate::component::Entry;

/// The channels of this build.
pub static ENTRIES: &[&Entry] = &[&memory::ENTRY];
