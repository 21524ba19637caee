//! What a conf means: the components of one agent, typed and validated. No property strings are left outside [`Settings`].

use crate::component::{Entry, Settings};
use std::sync::Arc;

/// One agent of a conf.
#[derive(Clone)]
pub struct AgentConfig {
    /// Its name, the `-n` of the command line.
    pub name: Arc<str>,
    /// At least one.
    pub channels: Vec<ComponentConfig>,
    /// In the order of the conf's list.
    pub sources: Vec<SourceConfig>,
    /// In the order of the conf's list.
    pub sinks: Vec<SinkConfig>,
}

/// A component: its row in the registry and its settings.
#[derive(Clone)]
pub struct ComponentConfig {
    /// Its name in the conf.
    pub name: Arc<str>,
    /// What it is.
    pub entry: &'static Entry,
    /// Its keys.
    pub settings: Settings,
}

/// A source with what stands between it and its channels.
#[derive(Clone)]
pub struct SourceConfig {
    /// The source itself.
    pub component: ComponentConfig,
    /// Names of its channels, all of them in [`AgentConfig::channels`].
    pub channels: Vec<Arc<str>>,
    /// In the order of the conf's list.
    pub interceptors: Vec<ComponentConfig>,
    /// `replicating` unless the conf says otherwise.
    pub selector: ComponentConfig,
}

/// A sink and its channel.
#[derive(Clone)]
pub struct SinkConfig {
    /// The sink itself.
    pub component: ComponentConfig,
    /// The name of its channel, one of [`AgentConfig::channels`].
    pub channel: Arc<str>,
}
