//! Builds the components of a conf. Nothing runs yet, so an error here means that nothing was started.

use super::member;
use crate::{
    component::{
        Build, Channel, ComponentError, Interceptor, Make, Parts, Placement, Selector, Sink,
        Source, StartError, Stop,
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

    /// What the component says, as it may be printed.
    pub(super) fn mask(&self, text: &str) -> String {
        self.config.settings.mask(text)
    }

    fn make<T>(&self, make: Make<T>) -> Result<T, ComponentError> {
        make(&self.config.settings, &self.parts)
            .map_err(|ComponentError(error)| ComponentError(self.mask(&error)))
    }

    pub(super) fn sink(&self) -> Result<Box<dyn Sink>, ComponentError> {
        match self.config.entry.build {
            Build::Sink(make) => self.make(make),
            _ => Err(self.wrong_kind("sink")),
        }
    }

    pub(super) fn source(&self) -> Result<(Placement, Box<dyn Source>), ComponentError> {
        match self.config.entry.build {
            Build::Source(placement, make) => Ok((placement, self.make(make)?)),
            _ => Err(self.wrong_kind("source")),
        }
    }

    fn channel(&self) -> Result<Arc<dyn Channel>, StartError> {
        match self.config.entry.build {
            Build::Channel(open) => open(&self.config.settings, &self.parts)
                .map_err(|error| StartError { message: self.mask(&error.message), ..error }),
            _ => Err(self.wrong_kind("channel").into()),
        }
    }

    fn interceptor(&self) -> Result<Box<dyn Interceptor>, ComponentError> {
        match self.config.entry.build {
            Build::Interceptor(make) => self.make(make),
            _ => Err(self.wrong_kind("interceptor")),
        }
    }

    fn selector(&self) -> Result<Box<dyn Selector>, ComponentError> {
        match self.config.entry.build {
            Build::Selector(make) => self.make(make),
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
    /// Builds everything, then opens the channels; on an error those that are open are closed again. Only opening a channel leaves a trace
    /// on the disk: an agent that cannot be built leaves none.
    pub(super) async fn new(config: AgentConfig, stop: &Stop) -> Result<Self, StartError> {
        let sinks = each(&config.sinks, |sink| LooseSink::new(&config, sink))?;
        let sources = each(&config.sources, |source| LooseSource::new(&config, source))?;
        let mut channels = Vec::new();
        let built = Self::open(&config, &mut channels).and_then(|()| {
            let sinks = sinks.into_iter().map(|sink| sink.connect(&channels));
            let sources = sources.into_iter().map(|source| source.connect(&channels, stop));
            let sinks = sinks.collect::<Result<_, ComponentError>>()?;
            Ok((sinks, sources.collect::<Result<_, ComponentError>>()?))
        });
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

    fn open(config: &AgentConfig, channels: &mut Vec<BuiltChannel>) -> Result<(), StartError> {
        for component in &config.channels {
            let recipe = Recipe { config: component.clone(), parts: parts(config, &[]) };
            let channel = recipe
                .channel()
                .map_err(|error| error.of(format_args!("channel {}", component.name)))?;
            tracing::info!(channel = %component.name, events = channel.level().events, "channel open");
            channels.push(BuiltChannel { name: Arc::clone(&component.name), channel });
        }
        Ok(())
    }
}

fn each<T, U>(
    items: &[T],
    build: impl FnMut(&T) -> Result<U, ComponentError>,
) -> Result<Vec<U>, ComponentError> {
    items.iter().map(build).collect()
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

/// A sink whose channel is not open yet.
struct LooseSink {
    recipe: Recipe,
    channel: Arc<str>,
    first: Box<dyn Sink>,
}

impl LooseSink {
    fn new(config: &AgentConfig, sink: &SinkConfig) -> Result<Self, ComponentError> {
        let SinkConfig { component, channel } = sink;
        let recipe = Recipe { config: component.clone(), parts: parts(config, &[]) };
        let first = recipe.sink().map_err(at("sink", &component.name))?;
        Ok(Self { recipe, channel: Arc::clone(channel), first })
    }

    fn connect(self, channels: &[BuiltChannel]) -> Result<BuiltSink, ComponentError> {
        let Self { recipe, channel, first } = self;
        let channel = find(channels, &channel).map_err(at("sink", recipe.name()))?;
        Ok(BuiltSink { recipe, channel, first })
    }
}

/// A source whose channels are not open yet.
struct LooseSource {
    recipe: Recipe,
    placement: Placement,
    interceptors: Vec<Box<dyn Interceptor>>,
    selector: Box<dyn Selector>,
    first: Box<dyn Source>,
}

impl LooseSource {
    fn new(config: &AgentConfig, source: &SourceConfig) -> Result<Self, ComponentError> {
        Self::build(config, source).map_err(at("source", &source.component.name))
    }

    fn build(config: &AgentConfig, source: &SourceConfig) -> Result<Self, ComponentError> {
        if source.channels.len() > u64::BITS as usize {
            return Err(ComponentError(format!("more than {} channels", u64::BITS)));
        }
        let recipe = |component: &ComponentConfig| Recipe {
            config: component.clone(),
            parts: parts(config, &source.channels),
        };
        let interceptors = each(&source.interceptors, |one| recipe(one).interceptor())?;
        let selector = recipe(&source.selector).selector()?;
        let recipe = recipe(&source.component);
        let (placement, first) = recipe.source()?;
        Ok(Self { recipe, placement, interceptors, selector, first })
    }

    fn connect(
        self,
        channels: &[BuiltChannel],
        stop: &Stop,
    ) -> Result<BuiltSource, ComponentError> {
        let Self { recipe, placement, interceptors, selector, first } = self;
        let name = Arc::clone(recipe.name());
        let route =
            |to: &Arc<str>| Ok(Route { name: Arc::clone(to), channel: find(channels, to)? });
        let routes = each(&recipe.parts.channels, route).map_err(at("source", &name))?;
        let (stop, losses) = (stop.clone(), Losses::new(Arc::clone(&name)));
        let pipeline = Pipeline { source: name, interceptors, selector, routes, stop, losses };
        Ok(BuiltSource { recipe, placement, pipeline: Arc::new(pipeline), first })
    }
}

impl BuiltSink {
    /// A sink with its taker: the first time the one that was built with the conf, then a new one.
    pub(super) fn member(
        recipe: &Recipe,
        channel: &Arc<dyn Channel>,
        first: &mut Option<Box<dyn Sink>>,
    ) -> Result<member::Member, ComponentError> {
        let sink = first.take().map_or_else(|| recipe.sink(), Ok)?;
        Ok(member::Member::new(recipe.clone(), sink, channel.taker()))
    }
}
