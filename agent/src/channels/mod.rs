//! Channels: what stands between sources and sinks.

mod file;
mod memory;

use crate::{component::Entry, config::ComponentConfig};
use std::path::PathBuf;

/// The channels of this build.
pub static ENTRIES: &[&Entry] = &[&file::ENTRY, &memory::ENTRY];

/// Where a channel keeps its files, home first, then the data directories; `None` if it keeps none.
#[must_use]
pub fn file_directories(channel: &ComponentConfig) -> Option<(PathBuf, Vec<PathBuf>)> {
    std::ptr::eq(channel.entry, &file::ENTRY)
        .then(|| file::directories(&channel.settings).ok())
        .flatten()
}
