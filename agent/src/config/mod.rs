//! From a `.conf` to the components of an agent.

mod model;

pub use model::{AgentConfig, ComponentConfig, SinkConfig, SourceConfig};
