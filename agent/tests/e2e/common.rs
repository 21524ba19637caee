//! What the end-to-end tests share: confs by hand, a sink that keeps what it gets, an agent on a thread.

use fchannel::Event;
use fchannel_agent::{
    channels,
    component::{
        Batch, BoxFuture, Build, ComponentError, Entry, Key, Parts, Settings, Sink, SinkError,
        StartError, Stop, StopSender, TakeLimit,
    },
    config::{AgentConfig, ComponentConfig, SinkConfig, SourceConfig},
    runtime::{self, Ended, RunOptions},
    selectors, sinks, sources,
};
use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Condvar, LazyLock, Mutex},
    thread::JoinHandle,
    time::{Duration, Instant},
};

/// A component of the conf: name, type, keys.
pub(crate) fn component(
    name: &str,
    entry: &'static Entry,
    keys: &[(&str, &str)],
) -> ComponentConfig {
    let values = keys.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    ComponentConfig { name: name.into(), entry, settings: Settings::new(name, values, entry.keys) }
}

fn entry(entries: &[&'static Entry], alias: &str) -> &'static Entry {
    entries.iter().copied().find(|entry| entry.names.contains(&alias)).unwrap()
}

pub(crate) fn source(
    name: &str,
    alias: &str,
    keys: &[(&str, &str)],
    channels: &[&str],
) -> SourceConfig {
    SourceConfig {
        component: component(name, entry(sources::ENTRIES, alias), keys),
        channels: channels.iter().map(|name| (*name).into()).collect(),
        interceptors: Vec::new(),
        selector: component("selector", entry(selectors::ENTRIES, "replicating"), &[]),
    }
}

pub(crate) fn sink(name: &str, alias: &str, keys: &[(&str, &str)], channel: &str) -> SinkConfig {
    SinkConfig {
        component: component(name, entry(sinks::ENTRIES, alias), keys),
        channel: channel.into(),
    }
}

pub(crate) fn memory(name: &str, keys: &[(&str, &str)]) -> ComponentConfig {
    component(name, entry(channels::ENTRIES, "memory"), keys)
}

pub(crate) fn agent(
    channels: Vec<ComponentConfig>,
    sources: Vec<SourceConfig>,
    sinks: Vec<SinkConfig>,
) -> AgentConfig {
    AgentConfig { name: "a1".into(), channels, sources, sinks }
}

type Kept = (Mutex<HashMap<String, Vec<(Instant, Event)>>>, Condvar);
static KEPT: LazyLock<Kept> = LazyLock::new(Kept::default);
static COLLECT: Entry = Entry {
    names: &["collect"],
    doc: "",
    keys: &[
        Key::new("under", fchannel_agent::component::KeyKind::Text, "").required(),
        Key::new("fails", fchannel_agent::component::KeyKind::Flag, ""),
        Key::new("blocks", fchannel_agent::component::KeyKind::Flag, ""),
        Key::new("panics", fchannel_agent::component::KeyKind::Flag, ""),
    ],
    batch_key: None,
    verify: None,
    build: Build::Sink(collect),
};

struct Collect {
    under: String,
    panics: bool,
    blocks: bool,
    fails: bool,
}

fn collect(settings: &Settings, _: &Parts) -> Result<Box<dyn Sink>, ComponentError> {
    let under = settings.required("under")?.to_owned();
    // Only the first life panics.
    let seen = KEPT.0.lock().unwrap().insert(under.clone(), Vec::new()).is_some();
    Ok(Box::new(Collect {
        under,
        blocks: settings.flag("blocks"),
        fails: settings.flag("fails"),
        panics: settings.flag("panics") && !seen,
    }))
}

impl Sink for Collect {
    fn take_limit(&self) -> TakeLimit {
        TakeLimit { events: 1000, bytes: 1 << 20 }
    }

    fn deliver<'a>(&'a mut self, batch: Batch<'a>) -> BoxFuture<'a, Result<(), SinkError>> {
        assert!(!self.panics, "as told");
        if std::mem::take(&mut self.fails) {
            return Box::pin(std::future::ready(Err(SinkError("as told".to_owned()))));
        }
        let now = Instant::now();
        let mut kept = KEPT.0.lock().unwrap();
        kept.entry(self.under.clone())
            .or_default()
            .extend(batch.events.iter().cloned().map(|event| (now, event)));
        KEPT.1.notify_all();
        drop(kept);
        if self.blocks {
            loop {
                std::thread::park();
            }
        }
        Box::pin(std::future::ready(Ok(())))
    }
}

/// A sink that keeps its events under a name that no other test uses.
pub(crate) fn collector(under: &str, channel: &str) -> SinkConfig {
    collector_that("", under, channel)
}

/// One that `panics` in its first life, `fails` once, or `blocks` for ever.
pub(crate) fn collector_that(does: &str, under: &str, channel: &str) -> SinkConfig {
    let mut keys = vec![("under", under)];
    keys.extend((!does.is_empty()).then_some((does, "true")));
    SinkConfig { component: component("k1", &COLLECT, &keys), channel: channel.into() }
}

/// Waits until `events` events have come, and gives when each came and its body.
pub(crate) fn kept(under: &str, events: usize) -> Vec<(Instant, String)> {
    let enough = |kept: &mut HashMap<String, Vec<(Instant, Event)>>| {
        kept.get(under).map_or(0, Vec::len) < events
    };
    let (kept, timeout) =
        KEPT.1.wait_timeout_while(KEPT.0.lock().unwrap(), Duration::from_secs(20), enough).unwrap();
    assert!(
        !timeout.timed_out(),
        "waited in vain for {events} events, got {:?}",
        kept.get(under).map(Vec::len)
    );
    kept[under]
        .iter()
        .map(|(at, event)| (*at, String::from_utf8_lossy(&event.body).into_owned()))
        .collect()
}

/// An agent that runs on a thread.
pub(crate) struct Running {
    stop: StopSender,
    thread: JoinHandle<Result<Ended, StartError>>,
    addresses: Arc<(Mutex<HashMap<String, SocketAddr>>, Condvar)>,
}

impl Running {
    pub(crate) fn start(config: AgentConfig) -> Self {
        Self::start_with_grace(config, Duration::from_secs(10))
    }

    pub(crate) fn start_with_grace(config: AgentConfig, grace: Duration) -> Self {
        let (stop, stopped) = Stop::new();
        let addresses = Arc::new((Mutex::new(HashMap::new()), Condvar::new()));
        let heard = Arc::clone(&addresses);
        let options = RunOptions {
            grace,
            signals: false,
            stop: Some(stopped),
            on_listening: Some(Arc::new(move |name: &str, address| {
                heard.0.lock().unwrap().insert(name.to_owned(), address);
                heard.1.notify_all();
            })),
        };
        let thread = std::thread::spawn(move || runtime::run(config, options));
        Self { stop, thread, addresses }
    }

    /// Where a source listens.
    pub(crate) fn address(&self, source: &str) -> SocketAddr {
        let (addresses, heard) = &*self.addresses;
        let wait = heard.wait_timeout_while(
            addresses.lock().unwrap(),
            Duration::from_secs(20),
            |addresses| !addresses.contains_key(source),
        );
        wait.unwrap().0[source]
    }

    pub(crate) fn stop(self) -> Ended {
        self.stop.stop();
        self.thread.join().unwrap().unwrap()
    }
}
