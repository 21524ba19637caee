//! Doors to the parsers for the fuzz targets in `fuzz/`: each takes any bytes, and panics where a promise is broken.

use crate::{
    config::{Mode, Request, load, render},
    registry::Registry,
};

pub use crate::sources::{position_file, syslog};

/// A conf from its bytes to agents or diagnostics, in both modes, rendered in both ways.
pub fn conf(bytes: &[u8]) {
    let registry = Registry::builtin();
    let env = |name: &str| name.len().is_multiple_of(2).then(|| format!("value of {name}"));
    for mode in [Mode::Strict, Mode::Lenient] {
        for agent in [None, Some("a1")] {
            let request =
                Request { file_name: "fuzz.conf", agent, mode, registry: &registry, env: &env };
            let loaded = load(bytes, &request);
            assert!(loaded.agents.is_empty() || !loaded.diagnostics.has_errors());
            let plain = render(&loaded.diagnostics, false);
            assert!(!plain.contains('\u{1b}'), "what a conf says reaches the terminal as it is");
            assert!(render(&loaded.diagnostics, true).len() >= plain.len());
        }
    }
}
