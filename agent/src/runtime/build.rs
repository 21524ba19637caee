//! Builds the components of a conf. Nothing runs yet, so an error here means that nothing was started.

use super::member;
use crate::{
    component::{
        Build, Channel, ComponentError, Interceptor, Parts, Placement, Selector, Sink, Source, Stop,
    },
    config::{AgentConfig, ComponentConfig, SinkConfig, SourceConfig},
    pipeline::{Losses, Pipeline, Route},
};
use std::sync::Arc;

/// Everything of an agent, built once. Sinks and sources are built again after a failure.
pub(super) struct Built {
    pub(super) channels: Vec<BuiltChannel>,
    pub(super) sinks: Vec<BuiltSink>,
    pub(super) sources: Vec<BuiltSource>,
}

/// An open channel.
pub(super) struct BuiltChannel {
    pub(super) name: Arc<str>,
    pub(super) channel: Arc<dyn Channel>,
}

/// A sink, its channel, and how it is made anew.
pub(super) struct BuiltSink {
    pub(super) recipe: Recipe,
    pub(super) channel: Arc<dyn Channel>,
    pub(super) first: Box<dyn Sink>,
}

/// A source, what stands behind it, and how it is made anew.
pub(super) struct BuiltSource {
    pub(super) recipe: Recipe,
    pub(super) placement: Placement,
    pub(super) pipeline: Arc<Pipeline>,
    pub(super) first: Box<dyn Source>,
}

/// What a component is made of.
#[derive(Clone)]
pub(super) struct Recipe {
    pub(super) config: ComponentConfig,
    parts: Parts,
}

impl Recipe {
    pub(super) fn name(&self) -> &Arc<str> {
        &self.config.name
    }

    pub(super) fn sink(&self) -> Result<Box<dyn Sink>, ComponentError> {
        match self.config.entry.build {
            Build::Sink(make) => make(&self.config.settings, &self.parts),
            _ => Err(self.wrong_kind("sink")),
        }
    }

    pub(super) fn source(&self) -> Result<(Placement, Box<dyn Source>), ComponentError> {
        match self.config.entry.build {
            Build::Source(placement, make) => {
                Ok((placement, make(&self.config.settings, &self.parts)?))
            }
            _ => Err(self.wrong_kind("source")),
        }
    }

    fn channel(&self) -> Result<Arc<dyn Channel>, ComponentError> {
        match self.config.entry.build {
            Build::Channel(make) => make(&self.config.settings, &self.parts),
            _ => Err(self.wrong_kind("channel")),
        }
    }

    fn interceptor(&self) -> Result<Box<dyn Interceptor>, ComponentError> {
        match self.config.entry.build {
            Build::Interceptor(make) => make(&self.config.settings, &self.parts),
            _ => Err(self.wrong_kind("interceptor")),
        }
    }

    fn selector(&self) -> Result<Box<dyn Selector>, ComponentError> {
        match self.config.entry.build {
            Build::Selector(make) => make(&self.config.settings, &self.parts),
            _ => Err(self.wrong_kind("selector")),
        }
    }

    fn wrong_kind(&self, wanted: &str) -> ComponentError {
        let kind = self.config.entry.names.first().copied().unwrap_or_default();
        ComponentError(format!("{}: type {kind} is not a {wanted}", self.config.name))
    }
}

fn at<E: std::fmt::Display>(
    kind: &'static str,
    name: &Arc<str>,
) -> impl FnOnce(E) -> ComponentError {
    let name = Arc::clone(name);
    move |error| ComponentError(format!("{kind} {name}: {error}"))
}

impl Built {
    /// Opens the channels and builds the rest; on an error the channels are closed again.
    pub(super) async fn new(config: AgentConfig, stop: &Stop) -> Result<Self, ComponentError> {
        let mut channels = Vec::new();
        let built = Self::open(&config, &mut channels)
            .and_then(|()| Ok((sinks(&config, &channels)?, sources(&config, &channels, stop)?)));
        match built {
            Ok((sinks, sources)) => Ok(Self { channels, sinks, sources }),
            Err(error) => {
                for BuiltChannel { name, channel } in channels {
                    if let Err(error) = channel.close().await {
                        tracing::error!(channel = %name, %error, "channel did not close in order");
                    }
                }
                Err(error)
            }
        }
    }

    fn open(config: &AgentConfig, channels: &mut Vec<BuiltChannel>) -> Result<(), ComponentError> {
        for component in &config.channels {
            let recipe = Recipe { config: component.clone(), parts: parts(config, &[]) };
            let channel = recipe.channel().map_err(at("channel", &component.name))?;
            tracing::info!(channel = %component.name, events = channel.level().events, "channel open");
            channels.push(BuiltChannel { name: Arc::clone(&component.name), channel });
        }
        Ok(())
    }
}

fn parts(config: &AgentConfig, channels: &[Arc<str>]) -> Parts {
    Parts { agent: Arc::clone(&config.name), channels: channels.to_vec() }
}

fn find(channels: &[BuiltChannel], name: &Arc<str>) -> Result<Arc<dyn Channel>, ComponentError> {
    let found = channels.iter().find(|channel| channel.name == *name);
    found
        .map(|found| Arc::clone(&found.channel))
        .ok_or_else(|| ComponentError(format!("there is no channel {name}")))
}

fn sinks(
    config: &AgentConfig,
    channels: &[BuiltChannel],
) -> Result<Vec<BuiltSink>, ComponentError> {
    let build = |SinkConfig { component, channel }: &SinkConfig| {
        let recipe = Recipe { config: component.clone(), parts: parts(config, &[]) };
        let first = recipe.sink().map_err(at("sink", &component.name))?;
        let channel = find(channels, channel).map_err(at("sink", &component.name))?;
        Ok(BuiltSink { recipe, channel, first })
    };
    config.sinks.iter().map(build).collect()
}

fn sources(
    config: &AgentConfig,
    channels: &[BuiltChannel],
    stop: &Stop,
) -> Result<Vec<BuiltSource>, ComponentError> {
    let build = |source: &SourceConfig| {
        let name = &source.component.name;
        build_source(config, source, channels, stop).map_err(at("source", name))
    };
    config.sources.iter().map(build).collect()
}

fn build_source(
    config: &AgentConfig,
    source: &SourceConfig,
    channels: &[BuiltChannel],
    stop: &Stop,
) -> Result<BuiltSource, ComponentError> {
    let recipe = |component: &ComponentConfig| Recipe {
        config: component.clone(),
        parts: parts(config, &source.channels),
    };
    if source.channels.len() > u64::BITS as usize {
        return Err(ComponentError(format!("more than {} channels", u64::BITS)));
    }
    let route = |name: &Arc<str>| {
        Ok::<_, ComponentError>(Route { name: Arc::clone(name), channel: find(channels, name)? })
    };
    let interceptors = source.interceptors.iter().map(|component| recipe(component).interceptor());
    let pipeline = Pipeline {
        source: Arc::clone(&source.component.name),
        interceptors: interceptors.collect::<Result<_, _>>()?,
        selector: recipe(&source.selector).selector()?,
        routes: source.channels.iter().map(route).collect::<Result<_, _>>()?,
        stop: stop.clone(),
        losses: Losses::new(Arc::clone(&source.component.name)),
    };
    let recipe = recipe(&source.component);
    let (placement, first) = recipe.source()?;
    Ok(BuiltSource { recipe, placement, pipeline: Arc::new(pipeline), first })
}

impl BuiltSink {
    /// A sink with its taker: the first time the one that was built with the conf, then a new one.
    pub(super) fn member(
        recipe: &Recipe,
        channel: &Arc<dyn Channel>,
        first: &mut Option<Box<dyn Sink>>,
    ) -> Result<member::Member, ComponentError> {
        let sink = first.take().map_or_else(|| recipe.sink(), Ok)?;
        Ok(member::Member::new(Arc::clone(recipe.name()), sink, channel.taker()))
    }
}
