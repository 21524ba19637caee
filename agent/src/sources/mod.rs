//! Sources: what brings events in.

mod exec;
mod listen;
mod netcat;
mod seq;
mod syslog;
mod taildir;

#[cfg(feature = "fuzzing")]
pub use {syslog::fuzzing::syslog, taildir::position_file};

use crate::component::Entry;

/// The sources of this build.
pub static ENTRIES: &[&Entry] =
    &[&exec::ENTRY, &netcat::ENTRY, &seq::ENTRY, &syslog::TCP, &syslog::UDP, &taildir::ENTRY];
