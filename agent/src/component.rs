//! What a component is: the traits that sources, channels, sinks and their helpers implement, and the settings they are built from.
//!
//! A leaf: it knows no component and no runtime. `Put` and `Process` are implemented by the pipeline and by a sink's member, so that
//! a source and a sink processor see neither. Batches, not events, cross virtual calls.

use bytes::Bytes;
use fchannel::Event;
use std::{
    collections::BTreeMap,
    fmt,
    future::Future,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::watch;

/// A future behind a pointer: components are objects, because a registry builds them.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Events on their way into channels, and the marks to set with them.
#[derive(Clone, Debug, Default)]
pub struct PutBatch {
    /// In order.
    pub events: Vec<Event>,
    /// Small key-values committed atomically with the events, e.g. how far a file was read. A channel that cannot keep marks ignores
    /// them. The source that uses a key prefixes it with its own name.
    pub marks: Vec<(Bytes, Bytes)>,
}

impl PutBatch {
    /// Events without marks.
    #[must_use]
    pub fn of(events: Vec<Event>) -> Self {
        Self { events, marks: Vec::new() }
    }
}

/// Who tries again when a channel does not take a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// Nobody: the source tells its caller (netcat, avro, http).
    No,
    /// The pipeline, until the stop token fires: only channels that have not committed are tried again.
    UntilStopped,
}

/// Where a source puts its batches: interceptors, selector and one transaction for each channel stand behind it.
pub trait Put: Send + Sync {
    /// Delivers `batch` to all its channels. It is empty afterwards in any case: a caller that wants to try again keeps what it needs
    /// to make the batch anew, because interceptors have seen this one.
    fn put<'a>(
        &'a self,
        batch: &'a mut PutBatch,
        retry: Retry,
    ) -> BoxFuture<'a, Result<(), PutError>>;
    /// The value committed last under `key`. With several channels the lowest one in byte order: a source resumes where the hindmost
    /// channel is. `None` unless every required channel keeps marks and has one.
    fn mark(&self, key: &[u8]) -> Option<Bytes>;
}

/// What a running source is given.
#[derive(Clone)]
pub struct SourceContext {
    /// Its name in the conf.
    pub name: Arc<str>,
    /// Where its events go.
    pub pipeline: Arc<dyn Put>,
    /// Fires when it shall end.
    pub stop: Stop,
    /// See [`SourceContext::ready`] and [`SourceContext::listening`].
    pub on_ready: OnReady,
}

/// Hears that a source is ready, and at which address it listens, if it does.
pub type OnReady = Arc<dyn Fn(Option<SocketAddr>) + Send + Sync>;

impl SourceContext {
    /// To be called once input can arrive: opened, spawned.
    pub fn ready(&self) {
        (self.on_ready)(None);
    }

    /// To be called instead by a source that is bound: port 0 in a conf means that the system chose one.
    pub fn listening(&self, address: SocketAddr) {
        (self.on_ready)(Some(address));
    }
}

/// Brings events in.
pub trait Source: Send {
    /// Runs until `cx.stop` fires (`Ok`) or it cannot go on (`Err` or a panic: it is rebuilt from its settings after a pause).
    fn run(self: Box<Self>, cx: SourceContext) -> BoxFuture<'static, Result<(), ComponentError>>;
}

/// Where a component's future runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement {
    /// On the shared runtime: it must never block.
    Shared,
    /// On a thread of its own under `block_on`: it may block in place.
    OwnThread,
}

/// Keeps events between sources and sinks.
pub trait Channel: Send + Sync {
    /// All or nothing, waiting for room up to the channel's keep-alive. `Ok`: committed and `batch` empty. `Err`: `batch` as it was.
    /// Dropped before it resolves: nothing happened if it was still waiting for room, else unknown; the channel stays right.
    fn put<'a>(&'a self, batch: &'a mut PutBatch) -> BoxFuture<'a, Result<(), PutError>>;
    /// The value committed last under `key`, if this channel keeps marks.
    fn mark(&self, _key: &[u8]) -> Option<Bytes> {
        None
    }
    /// True if marks survive a restart here.
    fn keeps_marks(&self) -> bool {
        false
    }
    /// One for each sink.
    fn taker(&self) -> Box<dyn Taker>;
    /// What a transaction may hold.
    fn limits(&self) -> ChannelLimits;
    /// How full it is now.
    fn level(&self) -> ChannelLevel;
    /// Resolves, with the reason, once the channel has stopped itself for good: only a restart of the agent helps then. Most never do.
    fn failed(&self) -> BoxFuture<'_, String> {
        Box::pin(std::future::pending())
    }
    /// Settles what is in flight and releases everything. Called once, after all sources and sinks have ended.
    fn close(&self) -> BoxFuture<'_, Result<(), ChannelError>>;
}

/// One sink's view of a channel.
pub trait Taker: Send {
    /// Resolves when `take` is likely to give something. A hint: level-triggered, cancel-safe.
    fn ready(&mut self) -> BoxFuture<'_, ()>;
    /// Up to `limit` events in order; `None` at once when there is none. Cancel-safe: dropped, nothing stays leased.
    fn take(
        &mut self,
        limit: TakeLimit,
    ) -> BoxFuture<'_, Result<Option<Box<dyn Taken>>, ChannelError>>;
}

/// Leased events. Dropping is a rollback: synchronous, infallible, back at the head in order.
pub trait Taken: Send {
    /// The events.
    fn batch(&self) -> Batch<'_>;
    /// Gives them up for good. Submitted when called, not when first polled.
    fn commit(self: Box<Self>) -> BoxFuture<'static, Result<(), CommitError>>;
}

/// Events as a sink sees them.
#[derive(Clone, Copy, Debug)]
pub struct Batch<'a> {
    /// In order.
    pub events: &'a [Event],
    /// Their sequences, for idempotent delivery; `None` where the channel has none.
    pub ids: Option<&'a [u64]>,
    /// How often the first event was leased since the channel opened, this time included.
    pub attempt: u32,
}

/// Delivers events to their destination.
pub trait Sink: Send {
    /// How much it wants at once.
    fn take_limit(&self) -> TakeLimit;
    /// Opens what it needs. Retried after a pause when it fails.
    fn start(&mut self) -> BoxFuture<'_, Result<(), ComponentError>> {
        Box::pin(async { Ok(()) })
    }
    /// `Ok`: all are safe at the destination. `Err`: none is known to be, and all will come again.
    fn deliver<'a>(&'a mut self, batch: Batch<'a>) -> BoxFuture<'a, Result<(), SinkError>>;
    /// When [`on_deadline`](Self::on_deadline) wants to be called, though no event comes: to roll a file, to close an idle one.
    fn deadline(&self) -> Option<Instant> {
        None
    }
    /// See [`deadline`](Self::deadline).
    fn on_deadline(&mut self) -> BoxFuture<'_, Result<(), SinkError>> {
        Box::pin(async { Ok(()) })
    }
    /// Closes what it opened. Nothing is in flight.
    fn stop(&mut self) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }
}

/// A sink with its taker, as a sink processor sees it: takes, delivers, commits.
pub trait Process: Send {
    /// One transaction. An error, a panic or a cancellation rolls back.
    fn process(&mut self) -> BoxFuture<'_, Result<Status, SinkError>>;
}

/// What one transaction of a sink found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Events were delivered; there may be more.
    Ready,
    /// The channel was empty.
    Idle,
}

/// Changes a batch in place; may drop, change, add events. Shared by all connections of a source.
pub trait Interceptor: Send + Sync {
    /// Sees every batch once, before any channel does: a retry does not repeat it.
    fn intercept(&self, batch: &mut Vec<Event>);
}

/// Says which channels an event goes to.
pub trait Selector: Send + Sync {
    /// The same answer for each event, if there is one: the batch is not split then.
    fn constant(&self) -> Option<Targets> {
        None
    }
    /// The channels of this event.
    fn select(&self, event: &Event) -> Targets;
}

/// Bit sets over the channels of a source, in the order of its `channels` list: at most 64.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Targets {
    /// A failure here fails the put.
    pub required: u64,
    /// A failure here is logged and forgotten.
    pub optional: u64,
}

/// Turns events into the bytes of a file.
pub trait Serializer: Send {
    /// Bytes before the first event of a file.
    fn begin(&mut self, _out: &mut Vec<u8>) {}
    /// Appends one event.
    fn write(&mut self, event: &Event, out: &mut Vec<u8>);
    /// Bytes after the last event of a file.
    fn end(&mut self, _out: &mut Vec<u8>) {}
}

/// Bounds of one take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TakeLimit {
    /// Events, at least 1.
    pub events: usize,
    /// Payload bytes; the first event is taken whatever its size.
    pub bytes: usize,
}

/// What a channel allows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChannelLimits {
    /// Events in all.
    pub capacity_events: Option<u64>,
    /// Events in one transaction.
    pub transaction_events_max: Option<u64>,
    /// Payload bytes in one transaction.
    pub transaction_bytes_max: Option<u64>,
}

/// How full a channel is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChannelLevel {
    /// Events it owes, leased ones included.
    pub events: u64,
    /// Of these, the ones leased to sinks.
    pub leased: u64,
}

/// Why a put did not commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PutError {
    /// No room within keep-alive. Not committed.
    Full(String),
    /// It can never fit. Not committed.
    TooLarge(String),
    /// Not committed.
    Failed(String),
    /// Only a reopened channel can say.
    Unknown(String),
    /// The agent is stopping. Not committed.
    Stopped,
}

impl fmt::Display for PutError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full(why) | Self::TooLarge(why) | Self::Failed(why) | Self::Unknown(why) => {
                f.write_str(why)
            }
            Self::Stopped => f.write_str("the agent is stopping"),
        }
    }
}

macro_rules! message_error {
    ($($(#[$doc:meta])* $name:ident)*) => { $(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct $name(pub String);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl std::error::Error for $name {}
    )* };
}

message_error! {
    /// A channel cannot be opened, taken from or closed.
    ChannelError
    /// A take was not committed: its events come again.
    CommitError
    /// A delivery failed: its events come again.
    SinkError
    /// A component cannot be built, started or kept running.
    ComponentError
}

impl std::error::Error for PutError {}

/// The order to stop: cheap to clone, fires once, stays fired.
#[derive(Clone, Debug)]
pub struct Stop(watch::Receiver<bool>);

/// The other end of [`Stop`].
#[derive(Debug)]
pub struct StopSender(watch::Sender<bool>);

impl Stop {
    /// A pair of order and receiver.
    #[must_use]
    pub fn new() -> (StopSender, Self) {
        let (sender, receiver) = watch::channel(false);
        (StopSender(sender), Self(receiver))
    }

    /// True once it has fired.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        *self.0.borrow()
    }

    /// Resolves when it fires, or when nobody is left who could fire it. Cancel-safe.
    pub async fn stopped(&self) {
        let mut receiver = self.0.clone();
        // An error means that the sender is gone: the agent is, too.
        if receiver.wait_for(|stopped| *stopped).await.is_err() {}
    }

    /// Waits for `duration`; false if the order came first.
    pub async fn pause(&self, duration: Duration) -> bool {
        tokio::select! {
            () = self.stopped() => false,
            () = tokio::time::sleep(duration) => true,
        }
    }
}

impl StopSender {
    /// Fires.
    pub fn stop(&self) {
        self.0.send_replace(true);
    }
}

/// What values a key takes, so that a conf is checked before anything is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    /// Any text.
    Text,
    /// `true` in any case is true; any other text is false, and a warning.
    Flag,
    /// A whole number. Flume either replaces one outside its range by the default (a warning) or drops the component (an error).
    Whole {
        /// Smallest value allowed.
        min: i64,
        /// Largest value allowed.
        max: i64,
        /// True: a value outside is a warning and the default is used. False: an error.
        replaced: bool,
    },
    /// One of these, in any case.
    Choice(&'static [&'static str]),
    /// Names or values separated by blanks.
    Names,
    /// A path, or several separated by commas.
    Paths,
    /// A Java regular expression.
    Regex,
}

/// One row of a component's key table: what `check` knows, `fchannel components` prints and docs/CONFIG.md says.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// The key behind the component's prefix. `*` stands for one part without a dot, a final `**` for anything.
    pub pattern: &'static str,
    /// What values it takes.
    pub kind: KeyKind,
    /// The value when it is absent.
    pub default: Option<&'static str>,
    /// The component cannot be built without it.
    pub required: bool,
    /// Its value is never printed.
    pub secret: bool,
    /// One sentence; units and the difference to Flume, if any.
    pub doc: &'static str,
    /// It is accepted and does nothing: what a conf that sets it is told.
    pub ignored: Option<&'static str>,
}

impl Key {
    /// An optional key without a default.
    #[must_use]
    pub const fn new(pattern: &'static str, kind: KeyKind, doc: &'static str) -> Self {
        Self { pattern, kind, default: None, required: false, secret: false, doc, ignored: None }
    }

    /// With a default.
    #[must_use]
    pub const fn or(mut self, default: &'static str) -> Self {
        self.default = Some(default);
        self
    }

    /// Required.
    #[must_use]
    pub const fn required(mut self) -> Self {
        self.required = true;
        self
    }

    /// Never printed.
    #[must_use]
    pub const fn secret(mut self) -> Self {
        self.secret = true;
        self
    }

    /// Accepted without effect; a conf that sets it is told why.
    #[must_use]
    pub const fn ignored(mut self, why: &'static str) -> Self {
        self.ignored = Some(why);
        self
    }

    /// True if this row is about `key`.
    #[must_use]
    pub fn matches(&self, key: &str) -> bool {
        let mut parts = key.split('.');
        for pattern in self.pattern.split('.') {
            match pattern {
                "**" => return parts.next().is_some(),
                "*" if parts.next().is_some_and(|part| !part.is_empty()) => {}
                "*" => return false,
                literal if parts.next() == Some(literal) => {}
                _ => return false,
            }
        }
        parts.next().is_none()
    }
}

/// The validated settings of one component.
#[derive(Clone, Debug)]
pub struct Settings {
    name: Arc<str>,
    values: BTreeMap<String, String>,
    keys: &'static [Key],
}

impl Settings {
    /// `values` are the conf's, keys without the component's prefix, already checked against `keys`; values that Flume would replace
    /// by a default are gone.
    #[must_use]
    pub fn new(
        name: impl Into<Arc<str>>,
        values: BTreeMap<String, String>,
        keys: &'static [Key],
    ) -> Self {
        Self { name: name.into(), values, keys }
    }

    /// The component's name in the conf.
    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// The conf's value of `key`, else its default.
    #[must_use]
    pub fn text(&self, key: &str) -> Option<&str> {
        let row = || self.keys.iter().find(|row| row.matches(key)).and_then(|row| row.default);
        self.values.get(key).map(String::as_str).or_else(row)
    }

    /// As [`text`](Self::text), for a key that must be there.
    ///
    /// # Errors
    /// Names the key.
    pub fn required(&self, key: &str) -> Result<&str, ComponentError> {
        self.text(key).ok_or_else(|| {
            ComponentError(format!("{}: required property `{key}` is missing", self.name))
        })
    }

    /// True if the value is `true` in any case.
    #[must_use]
    pub fn flag(&self, key: &str) -> bool {
        self.text(key).is_some_and(|value| value.eq_ignore_ascii_case("true"))
    }

    /// A whole number.
    ///
    /// # Errors
    /// Names the key if it is absent without a default, negative, or not a number.
    pub fn whole(&self, key: &str) -> Result<u64, ComponentError> {
        let value = self.required(key)?;
        // Signed, as the check reads it: `-0` is a number, too.
        let number = value.parse::<i64>().ok().and_then(|number| u64::try_from(number).ok());
        number.ok_or_else(|| {
            ComponentError(format!("{}: property `{key}` is not a whole number", self.name))
        })
    }

    /// For a component that is about to be built: the first of the `problems` that keep it from that. A conf that was checked has none.
    ///
    /// # Errors
    /// Names the key.
    pub fn sound(&self, problems: Vec<Problem>) -> Result<(), ComponentError> {
        let fatal = problems.into_iter().find(|problem| !problem.is_of_host);
        self.usable(fatal.map_or(Ok(()), Err))
    }

    /// As [`sound`](Self::sound), for a value that is made on the way.
    ///
    /// # Errors
    /// Names the key.
    pub fn usable<T>(&self, value: Result<T, Problem>) -> Result<T, ComponentError> {
        value.map_err(|Problem { key, message, .. }| {
            ComponentError(format!("{}: property `{key}`: {message}", self.name))
        })
    }

    /// The words of a blank-separated list.
    pub fn names(&self, key: &str) -> impl Iterator<Item = &str> {
        self.text(key).unwrap_or_default().split_whitespace()
    }

    /// All keys of the conf that start with `prefix`, without it, and their values.
    pub fn with_prefix<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.values
            .iter()
            .filter_map(move |(key, value)| Some((key.strip_prefix(prefix)?, value.as_str())))
    }

    /// The settings of a part of this component (a serializer, an interceptor): the keys behind `prefix`, checked against `keys`.
    #[must_use]
    pub fn part(&self, name: &str, prefix: &str, keys: &'static [Key]) -> Self {
        let values = self
            .with_prefix(prefix)
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect();
        Self::new(format!("{} {name}", self.name), values, keys)
    }
}

/// One component: the row of the registry from which conf validation, `fchannel components` and docs/CONFIG.md are made.
#[derive(Clone, Copy)]
pub struct Entry {
    /// The alias first, then the Java class names that a conf may use instead. Compared without case.
    pub names: &'static [&'static str],
    /// One sentence.
    pub doc: &'static str,
    /// Every key it knows; the common ones of its kind (`type`, `channels`, ...) are the validator's.
    pub keys: &'static [Key],
    /// The key that holds its batch size, to be checked against the channel's transaction capacity.
    pub batch_key: Option<&'static str>,
    /// What the key table cannot say about its values. The component is built from the same rules: see [`Settings::sound`].
    pub verify: Option<Verify>,
    /// How it is made.
    pub build: Build,
}

/// What is wrong with settings whose every value is one that the key table allows. It looks and changes nothing.
pub type Verify = fn(&Settings) -> Vec<Problem>;

/// Something that keeps a component from being built, or from working where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The key, without the component's prefix, whose value is to be changed or that is missing.
    pub key: String,
    /// Of a list, the name that is wrong.
    pub name: Option<String>,
    /// What is wrong or what is allowed, in half a sentence. Never a value: it could have come from a secret.
    pub message: String,
    /// The conf is fine, but the host is not ready for it: a warning.
    pub is_of_host: bool,
}

impl Problem {
    /// The value of `key` cannot be used.
    #[must_use]
    pub fn new(key: impl Into<String>, message: impl Into<String>) -> Self {
        Self { key: key.into(), name: None, message: message.into(), is_of_host: false }
    }

    /// About one name of the list that the key holds.
    #[must_use]
    pub fn of_name(mut self, name: &str) -> Self {
        self.name = Some(name.to_owned());
        self
    }

    /// As a warning: it may be right when the agent starts.
    #[must_use]
    pub const fn of_host(mut self) -> Self {
        self.is_of_host = true;
        self
    }
}

/// How a component is made from its settings.
#[derive(Clone, Copy)]
pub enum Build {
    /// A source, and where it runs.
    Source(Placement, Make<Box<dyn Source>>),
    /// A channel. Opening one may take a lock and recover a directory.
    Channel(Make<Arc<dyn Channel>>),
    /// A sink; it runs on a thread of its own.
    Sink(Make<Box<dyn Sink>>),
    /// An interceptor.
    Interceptor(Make<Box<dyn Interceptor>>),
    /// A selector over the channels named in [`Parts`].
    Selector(Make<Box<dyn Selector>>),
    /// A serializer.
    Serializer(Make<Box<dyn Serializer>>),
}

/// A function that builds a component.
pub type Make<T> = fn(&Settings, &Parts) -> Result<T, ComponentError>;

/// What a component is made of besides its settings.
#[derive(Clone, Default)]
pub struct Parts {
    /// The agent's name.
    pub agent: Arc<str>,
    /// For a selector: the source's channels, in the order of its list.
    pub channels: Vec<Arc<str>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_tell_unknown_keys_from_legal_ones() {
        let matches = |pattern, key| Key::new(pattern, KeyKind::Text, "").matches(key);
        assert!(matches("batchSize", "batchSize"));
        assert!(!matches("batchSize", "batchsize"));
        assert!(matches("filegroups.*", "filegroups.f1"));
        assert!(!matches("filegroups.*", "filegroups"));
        assert!(!matches("filegroups.*", "filegroups.f1.x"));
        assert!(matches("headers.*.**", "headers.f1.a.b"));
        assert!(!matches("headers.*.**", "headers.f1"));
    }

    #[test]
    fn settings_fall_back_to_the_defaults_of_the_table() {
        static KEYS: &[Key] = &[
            Key::new("batchSize", KeyKind::Whole { min: 1, max: 100, replaced: true }, "").or("20"),
            Key::new("restart", KeyKind::Flag, "").or("false"),
            Key::new("command", KeyKind::Text, "").required(),
        ];
        let settings =
            Settings::new("r1", BTreeMap::from([("restart".to_owned(), "TRUE".to_owned())]), KEYS);
        assert_eq!(settings.whole("batchSize"), Ok(20));
        assert!(settings.flag("restart"));
        let odd = BTreeMap::from([("batchSize".to_owned(), "-0".to_owned())]);
        assert_eq!(Settings::new("r1", odd, KEYS).whole("batchSize"), Ok(0));
        assert!(
            settings.required("command").unwrap_err().0.contains("r1: required property `command`")
        );
    }
}
