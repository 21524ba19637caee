//! What a component is: the traits that sources, channels, sinks and their helpers implement, and the settings they are built from.
//!
//! A leaf: it knows no component and no runtime. `Put` and `Process` are implemented by the pipeline and by a sink's member, so that
//! a source and a sink processor see neither. Batches, not events, cross virtual calls.

mod settings;

pub use settings::{
    Build, Entry, Gravity, Key, KeyKind, Make, Open, Parts, Problem, Settings, Verify,
};

use bytes::Bytes;
use fchannel::Event;
use std::{
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
    /// No put waits for room from here on, whatever the keep-alive says: the agent stops, and whoever waits is told that there is none.
    fn stop_waiting(&self) {}
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

/// A channel, or the agent that needs it, does not start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StartError {
    /// What whoever starts it can do about it.
    pub kind: StartErrorKind,
    /// What happened to which component.
    pub message: String,
}

/// See [`StartError`]. How `fchannel agent` ends, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartErrorKind {
    /// None of the others.
    Failed,
    /// Another process holds a channel; the message says which process, if that is known.
    Locked,
    /// What lies in a channel's directories is not a channel that this release can open.
    NotAChannel,
}

impl StartError {
    /// The same error, said to be about `subject`.
    #[must_use]
    pub fn of(self, subject: impl fmt::Display) -> Self {
        Self { message: format!("{subject}: {}", self.message), ..self }
    }
}

impl From<ComponentError> for StartError {
    fn from(ComponentError(message): ComponentError) -> Self {
        Self { kind: StartErrorKind::Failed, message }
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for StartError {}

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
