//! From a `.conf` to the components of an agent.
//!
//! bytes -> [`ConfFile`] -> entries ([`properties`]) -> [`Document`] (duplicates, `${...}`, secrets) -> validated [`AgentConfig`]. All
//! problems are reported at once, in the order of the file. Nothing is created, opened or started here.

pub mod codes;
pub mod conf_file;
pub mod diagnostics;
pub mod document;
pub mod flume;
pub mod lookups;
mod model;
pub mod properties;
pub mod render;
mod secrets;
mod sections;
pub mod suggest;
#[cfg(test)]
#[path = "../../tests/support/registry.rs"]
pub(crate) mod testing;
mod validate;

pub use conf_file::{CONF_BYTES_MAX, ConfFile};
pub use diagnostics::{Diagnostic, Diagnostics, Severity};
pub use document::{Document, Property};
pub use lookups::Env;
pub use model::{AgentConfig, ComponentConfig, SinkConfig, SourceConfig};
pub(crate) use render::printable;
pub use render::render;

use crate::registry::Registry;

/// What happens to an agent of which a part is wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// It does not start. What Flume would leave out is an error.
    #[default]
    Strict,
    /// It runs without the part, as in Flume. What is left out is a warning.
    Lenient,
}

/// What to read and how.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    /// The name of the file as diagnostics show it.
    pub file_name: &'a str,
    /// The only agent to build. `None`: all agents of the file.
    pub agent: Option<&'a str>,
    /// What happens to a wrong part.
    pub mode: Mode,
    /// The components there are.
    pub registry: &'a Registry,
    /// The environment, for `${env:NAME}` and `~`.
    pub env: Env<'a>,
}

/// A conf after validation.
#[derive(Clone)]
pub struct Loaded {
    /// The agents that were asked for; empty if there is an error.
    pub agents: Vec<AgentConfig>,
    /// Everything found, in the order of the file.
    pub diagnostics: Diagnostics,
}

/// Reads and validates a conf. Never fails: what is wrong is in the diagnostics.
#[must_use]
pub fn load(bytes: &[u8], request: &Request<'_>) -> Loaded {
    if bytes.len() > CONF_BYTES_MAX {
        return too_large(request.file_name);
    }
    let file = ConfFile::decode(request.file_name, bytes);
    let document = Document::read(&file, request.registry, request.env);
    let (agents, mut found) = validate::agents(&document, request);
    found.extend(document.diagnostics);
    let diagnostics = Diagnostics::new(file, document.secrets, found);
    let agents = if diagnostics.has_errors() { Vec::new() } else { agents };
    Loaded { agents, diagnostics }
}

fn too_large(file_name: &str) -> Loaded {
    let message = format!("the file is larger than {} KiB", CONF_BYTES_MAX >> 10);
    let found = vec![Diagnostic::error(codes::TOO_LARGE, message)];
    let file = ConfFile::decode(file_name, &[]);
    Loaded { agents: Vec::new(), diagnostics: Diagnostics::new(file, Vec::new(), found) }
}
