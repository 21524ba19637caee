//! The fuzz targets as plain functions: libFuzzer calls them on nightly, `smoke` on stable.

pub mod allocation;
mod memory;
mod seeds;
mod targets;

pub use memory::MemoryVfs;
pub use seeds::seeds;
use std::{path::PathBuf, process::abort};

/// What a target does with some bytes. It panics if a promise is broken.
pub struct Target {
    pub name: &'static str,
    pub run: fn(&[u8]),
    /// Bytes of memory that an input may need, and how many more for each byte of it.
    pub bytes_max: (usize, usize),
}

const MIB: usize = 1 << 20;

pub const TARGETS: &[Target] = &[
    Target { name: "frame", run: fchannel::fuzzing::frame, bytes_max: (4096, 64) },
    Target { name: "fold", run: targets::fold, bytes_max: (16_384, 512) },
    Target { name: "segment_header", run: fchannel::fuzzing::segment_header, bytes_max: (4096, 8) },
    Target { name: "segment_scan", run: targets::segment_scan, bytes_max: (48 * MIB, 64) },
    Target { name: "checkpoint", run: fchannel::fuzzing::checkpoint, bytes_max: (4096, 64) },
    Target { name: "manifest", run: fchannel::fuzzing::manifest, bytes_max: (4096, 64) },
    Target { name: "event", run: fchannel::fuzzing::event, bytes_max: (4096, 64) },
    Target {
        name: "quarantine_record",
        run: fchannel::fuzzing::quarantine_record,
        bytes_max: (8192, 64),
    },
    Target { name: "conf", run: fchannel_agent::fuzzing::conf, bytes_max: (8 * MIB, 4096) },
    Target {
        name: "position_file",
        run: fchannel_agent::fuzzing::position_file,
        bytes_max: (8192, 512),
    },
    Target { name: "syslog", run: fchannel_agent::fuzzing::syslog, bytes_max: (16 * MIB, 4096) },
    Target { name: "operations", run: targets::operations, bytes_max: (64 * MIB, 65_536) },
    Target { name: "canary", run: targets::canary, bytes_max: (4096, 64) },
];

/// The target of this name.
pub fn target(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}

impl Target {
    /// Runs the target, and bounds its memory.
    pub fn run_bounded(&self, input: &[u8]) {
        let ((), peak) = allocation::peak_of(|| (self.run)(input));
        let (fixed, each) = self.bytes_max;
        let bound = fixed + each * input.len();
        assert!(
            peak <= bound,
            "{peak} bytes of memory for an input of {}: more than {bound}",
            input.len()
        );
    }
}

/// What a target under libFuzzer does.
pub fn run(name: &str, input: &[u8]) {
    match target(name) {
        Some(target) => target.run_bounded(input),
        None => abort(),
    }
}

/// The directory of this crate.
pub fn home() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}
