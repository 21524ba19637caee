//! The file channel: the engine's [`Channel`](fchannel::Channel) behind the agent's trait. The only place where the agent puts and takes
//! on disk.

use crate::{
    component::{
        Batch, BoxFuture, Build, Channel, ChannelError, ChannelLevel, ChannelLimits, CommitError,
        ComponentError, Entry, Key, KeyKind, Parts, Problem, PutBatch, PutError, Settings,
        StartError, StartErrorKind, TakeLimit, Taken, Taker,
    },
    text::paths::expand_home,
};
use bytes::Bytes;
use fchannel::{
    CommitCalls, Durability, ErrorKind, Event, OnDamage, Options, TakeSync, TakeTransaction,
};
use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::sync::watch;

const I32_MAX: i64 = i32::MAX as i64;
/// Flume cuts larger values to this one.
const MAX_FILE_SIZE: u64 = 1_623_195_647;
/// Flume raises smaller values to this one.
const MINIMUM_REQUIRED_SPACE_MIN: u64 = 1 << 20;
const CHECKPOINT_INTERVAL_MS_MIN: u64 = 1_000;
/// What an event of a take may cost in memory beyond its payload: small events are not taken by the million.
const TAKE_BYTES_MAX: u64 = 64 << 20;

/// Recent frames in memory: what a sink that keeps up has not taken yet. What is older is read through the page cache, a megabyte at once.
const TAIL_CACHE_BYTES: u64 = 4 << 20;
/// What the engine writes before each event of a transaction, at most: for a guess.
const PREFIX_BYTES: usize = 8;

const NO_REPLAY: &str =
    "recovery reads the log since the last checkpoint in one way: there is nothing to choose";
const NO_BACKUP: &str =
    "two checkpoints are always kept, and the log can do without: no backup is needed";
const NO_ENCRYPTION: &str = "this release does not encrypt: events lie on disk in clear text. \
     Use an encrypted disk, or keep this channel in Flume";

pub(crate) static ENTRY: Entry = Entry {
    names: &["file", "org.apache.flume.channel.file.FileChannel"],
    doc: "Keeps events on disk: what a put commit acknowledged survives a crash of the process and of the machine.",
    keys: KEYS,
    batch_key: None,
    verify: Some(verify),
    build: Build::Channel(build),
};

static KEYS: &[Key] = &[
    Key::new("checkpointDir", KeyKind::Paths, "Directory of the lock and the checkpoints. Each channel needs its own.")
        .or("~/.flume/file-channel/checkpoint"),
    Key::new("dataDirs", KeyKind::Paths, "Directories of the log, separated by commas, ideally one for each disk. One may be added later.")
        .or("~/.flume/file-channel/data"),
    Key::new("capacity", whole(1, i64::MAX), "Events it holds, leased ones included.").or("1000000"),
    Key::new("transactionCapacity", whole(1, I32_MAX), "Events in one transaction; not more than `capacity`.").or("10000"),
    Key::new("transactionBytesMax", whole(4096, 1 << 30), "Payload bytes in one transaction, which is built in memory. Not in Flume.")
        .or("67108864"),
    Key::new("keep-alive", whole(0, I32_MAX), "Seconds that a put waits for room.").or("3"),
    Key::new("checkpointInterval", whole(1, i64::MAX), "Milliseconds between checkpoints, at least 1000. They block nobody.").or("30000"),
    Key::new("maxFileSize", whole(1, i64::MAX), "Bytes at which a segment ends, from 65536 to 1623195647. Flume's default is the largest.")
        .or("268435456"),
    Key::new(
        "minimumRequiredSpace",
        whole(0, i64::MAX),
        "Free bytes of the disk below which puts are refused, at least 1048576. Takes go on meanwhile (Flume's do not).",
    )
    .or("524288000"),
    Key::new(
        "fsyncPerTransaction",
        KeyKind::Flag,
        "true: a commit answers when it is on disk. false: a power cut may lose the commits of the last `fsyncInterval` seconds.",
    )
    .or("true"),
    Key::new("fsyncInterval", whole(1, I32_MAX), "Seconds between syncs when `fsyncPerTransaction` is false.").or("5"),
    Key::new(
        "takeSync",
        KeyKind::Choice(&["eachCommit", "withNextPut"]),
        "eachCommit: what a sink has taken is on disk when its commit answers. withNextPut: it is with the next put, or after \
         `takeSyncAtMost`; a power cut may deliver it again. Nothing is lost by either. Not in Flume.",
    )
    .or("eachCommit"),
    Key::new(
        "takeSyncAtMost",
        whole(1, I32_MAX),
        "Milliseconds until takes are synced when `takeSync` is withNextPut. Not in Flume.",
    )
    .or("100"),
    Key::new(
        "commitCalls",
        KeyKind::Choice(&["writeThenSync", "ioUring"]),
        "By which system calls a group of commits is written and synced; `fchannel bench disk` says which is faster. Where the kernel \
         gives no io_uring, ioUring is writeThenSync. Not in Flume.",
    )
    .or("writeThenSync"),
    Key::new(
        "onDamage",
        KeyKind::Choice(&["quarantine", "refuse"]),
        "quarantine: what is damaged on disk is set aside, told at every start, and the channel goes on around it. \
         refuse: the agent does not start. Not in Flume.",
    )
    .or("quarantine"),
    Key::new("checkpointOnClose", KeyKind::Flag, "Whether a stop writes a checkpoint, for a faster start.").or("true"),
    Key::new("useDualCheckpoints", KeyKind::Flag, "Flume's second checkpoint.").or("false").ignored(NO_BACKUP),
    Key::new("backupCheckpointDir", KeyKind::Paths, "Flume's second checkpoint.").ignored(NO_BACKUP),
    Key::new("compressBackupCheckpoint", KeyKind::Flag, "Flume's second checkpoint.").or("false").ignored(NO_BACKUP),
    Key::new("use-log-replay-v1", KeyKind::Flag, "Flume's choice of replay.").or("false").ignored(NO_REPLAY),
    Key::new("use-fast-replay", KeyKind::Flag, "Flume's choice of replay.").or("false").ignored(NO_REPLAY),
    Key::new("encryption.activeKey", KeyKind::Text, "Flume's encryption.").ignored(NO_ENCRYPTION),
    Key::new("encryption.cipherProvider", KeyKind::Text, "Flume's encryption.").ignored(NO_ENCRYPTION),
    Key::new("encryption.keyProvider", KeyKind::Text, "Flume's encryption.").ignored(NO_ENCRYPTION),
    Key::new("encryption.keyProvider.**", KeyKind::Text, "Flume's encryption.").secret().ignored(NO_ENCRYPTION),
];

/// A number that Flume replaces by its default when it is out of range.
const fn whole(min: i64, max: i64) -> KeyKind {
    KeyKind::Whole { min, max, replaced: true }
}

/// The directories that a file channel's settings name: of the lock and the checkpoints, and of the log.
pub(super) fn directories(settings: &Settings) -> Result<(PathBuf, Vec<PathBuf>), ComponentError> {
    let home = expand_home(settings.required("checkpointDir")?);
    let data = settings.required("dataDirs")?.split(',').map(str::trim);
    Ok((home, data.filter(|dir| !dir.is_empty()).map(expand_home).collect()))
}

struct FileChannel {
    channel: fchannel::Channel,
    failure: Arc<Failure>,
    name: Arc<str>,
    keep_alive: Duration,
    limits: ChannelLimits,
    stopping: watch::Sender<bool>,
}

fn verify(settings: &Settings) -> Vec<Problem> {
    let data = directories(settings).map(|(_, data)| data).unwrap_or_default();
    let mut known = BTreeSet::new();
    let is_double = !data.into_iter().all(|dir| known.insert(dir));
    let double = is_double.then(|| Problem::new("dataDirs", "a directory is named twice"));
    double.into_iter().collect()
}

fn build(settings: &Settings, _parts: &Parts) -> Result<Arc<dyn Channel>, StartError> {
    settings.sound(verify(settings))?;
    let (home, data_dirs) = directories(settings)?;
    let options = Options { data_dirs, ..options(settings)? };
    let limits = ChannelLimits {
        capacity_events: Some(options.capacity_events),
        transaction_events_max: Some(u64::from(options.transaction_events_max)),
        transaction_bytes_max: Some(options.transaction_bytes_max),
    };
    let keep_alive = Duration::from_millis(options.keep_alive_ms);
    let channel =
        fchannel::Channel::open(&home, options).map_err(|error| not_open(&error, &home))?;
    let name = Arc::clone(settings.name());
    log_recovery(&name, &channel);
    log_damage(&name, &channel, &home);
    let failure = Arc::new(Failure(watch::Sender::new(None)));
    let stopping = watch::Sender::new(false);
    Ok(Arc::new(FileChannel { channel, failure, name, keep_alive, limits, stopping }))
}

fn not_open(error: &fchannel::Error, home: &Path) -> StartError {
    let kind = match error.kind() {
        ErrorKind::Locked { .. } => StartErrorKind::Locked,
        ErrorKind::NotAChannel | ErrorKind::NewerFormat => StartErrorKind::NotAChannel,
        _ => StartErrorKind::Failed,
    };
    let way = match error.kind() {
        ErrorKind::Corrupt => format!(
            "; nothing was changed. `fchannel repair {0}` shows what can be done; onDamage = quarantine goes on around it",
            home.display()
        ),
        _ => String::new(),
    };
    StartError { kind, message: format!("{error}{way}") }
}

/// The engine's options for the keys of a conf, but for the directories.
///
/// # Errors
/// Names the key that is not a number.
fn options(settings: &Settings) -> Result<Options, ComponentError> {
    let seconds = |key: &str| Ok::<u64, ComponentError>(settings.whole(key)?.saturating_mul(1000));
    let durability = if settings.flag("fsyncPerTransaction") {
        Durability::EachCommit
    } else {
        let sync_interval_ms = seconds("fsyncInterval")?;
        tracing::warn!(
            channel = %settings.name(),
            "fsyncPerTransaction is false: a power cut may lose what was committed in the last {} seconds",
            sync_interval_ms / 1000
        );
        interval(sync_interval_ms)
    };
    let transaction_events_max = settings.whole("transactionCapacity")?;
    Ok(Options {
        capacity_events: settings.whole("capacity")?,
        transaction_events_max: u32::try_from(transaction_events_max).unwrap_or(u32::MAX),
        transaction_bytes_max: settings.whole("transactionBytesMax")?,
        keep_alive_ms: seconds("keep-alive")?,
        durability,
        take_sync: if settings.required("takeSync")?.eq_ignore_ascii_case("withNextPut") {
            with_next_put(settings.whole("takeSyncAtMost")?)
        } else {
            TakeSync::default()
        },
        commit_calls: if settings.required("commitCalls")?.eq_ignore_ascii_case("ioUring") {
            CommitCalls::IoUring
        } else {
            CommitCalls::default()
        },
        segment_bytes_max: settings.whole("maxFileSize")?.clamp(1 << 16, MAX_FILE_SIZE),
        free_space_min_bytes: settings
            .whole("minimumRequiredSpace")?
            .max(MINIMUM_REQUIRED_SPACE_MIN),
        checkpoint_interval_ms: settings
            .whole("checkpointInterval")?
            .max(CHECKPOINT_INTERVAL_MS_MIN),
        on_damage: if settings.required("onDamage")?.eq_ignore_ascii_case("refuse") {
            OnDamage::Refuse
        } else {
            OnDamage::Quarantine
        },
        checkpoint_on_close: settings.flag("checkpointOnClose"),
        tail_cache_bytes: TAIL_CACHE_BYTES,
        ..Options::default()
    })
}

fn with_next_put(at_most_ms: u64) -> TakeSync {
    TakeSync::WithNextPut { at_most_ms }
}

fn interval(sync_interval_ms: u64) -> Durability {
    Durability::Interval { sync_interval_ms }
}

fn log_recovery(name: &Arc<str>, channel: &fchannel::Channel) {
    let report = channel.recovery();
    for warning in report.warnings.iter().chain(&report.images_passed_over) {
        tracing::warn!(channel = %name, "{warning}");
    }
    if report.new {
        tracing::warn!(channel = %name, "there was no channel in its directories: a new one begins. \
             If there should be one, is its disk mounted?");
    }
    tracing::info!(
        channel = %name,
        events = channel.stats().events,
        end = report.verdict.row().truth,
        replayed = report.frames_replayed,
        rewritten = report.frames_rewritten,
        took_ms = report.took.as_millis(),
        "file channel recovered"
    );
}

/// Tells of new damage, each time it is found, and of what is not settled, at each start.
fn log_damage(name: &Arc<str>, channel: &fchannel::Channel, home: &Path) {
    let report = channel.recovery();
    for damage in &report.damages {
        let (first, end) = damage.events;
        let lost = match end.get().saturating_sub(first.get()) {
            0 if damage.at.offset == 0 => "what was in it is told when it is missed".to_owned(),
            0 => "no event that is owed is lost".to_owned(),
            1 => format!("event {first} is lost"),
            events => format!("{events} events are lost: {first} to {}", end.previous()),
        };
        tracing::error!(
            channel = %name,
            place = %damage.at,
            file = %damage.file.display(),
            lsns = %format_args!("{}..{}", damage.lsns.0, damage.lsns.1),
            events = %format_args!("{first}..{end}"),
            "damage: {}; {lost}; it is set aside, and the channel goes on behind it: fchannel quarantine show {} {}",
            damage.what,
            home.display(),
            damage.id
        );
    }
    if !report.quarantined.is_empty() {
        tracing::warn!(
            channel = %name,
            damages = report.quarantined.len(),
            "damage lies in quarantine and is not settled: fchannel quarantine list {}",
            home.display()
        );
    }
}

/// Whether the engine's channel has stopped itself: looked at when a call fails.
struct Failure(watch::Sender<Option<String>>);

impl Failure {
    fn look(&self, channel: &fchannel::Channel) {
        if let Some(poison) = channel.poisoned() {
            self.0.send_replace(Some(poison.to_string()));
        }
    }

    async fn seen(&self) -> String {
        let mut receiver = self.0.subscribe();
        // The sender is in this very object: there is no error to wait for.
        let seen = receiver.wait_for(Option::is_some).await.ok();
        seen.and_then(|why| why.clone()).unwrap_or_default()
    }
}

impl FileChannel {
    /// `batch` as a transaction of the engine.
    fn transaction(&self, batch: &PutBatch) -> Result<fchannel::PutTransaction, PutError> {
        let mut put = self.channel.begin_put();
        // Once, for all: a buffer that grows is copied again and again.
        let mut bytes = batch.events.iter().map(|event| PREFIX_BYTES + event.encoded_len()).sum();
        for event in &batch.events {
            let push = |buffer: &mut Vec<u8>| {
                buffer.reserve(std::mem::take(&mut bytes));
                event.encode_into(buffer);
            };
            put.push_with(push).map_err(refused)?;
        }
        for (key, value) in &batch.marks {
            put.set_mark(key, value).map_err(refused)?;
        }
        Ok(put)
    }

    async fn commit(&self, batch: &PutBatch) -> Result<(), PutError> {
        let put = self.transaction(batch)?;
        let events = put.len();
        let full = || {
            let (level, limit) =
                (self.channel.stats().used, self.limits.capacity_events.unwrap_or_default());
            let why = format!(
                "{} is full ({level} of {limit} events): no room for {events} within keep-alive",
                self.name
            );
            PutError::Full(why)
        };
        let mut stopping = self.stopping.subscribe();
        let room = tokio::select! {
            biased;
            room = self.channel.reserve(events) => room.map_err(refused)?,
            () = tokio::time::sleep(self.keep_alive) => return Err(full()),
            _ = stopping.wait_for(|stopping| *stopping) => return Err(full()),
        };
        let ticket = put.submit(room).map_err(not_committed)?;
        ticket.await.map(drop).map_err(not_committed)
    }
}

/// An error before anything was submitted.
fn refused(error: fchannel::Error) -> PutError {
    match error.kind() {
        ErrorKind::TooLarge => PutError::TooLarge(error.to_string()),
        _ => PutError::Failed(error.to_string()),
    }
}

fn not_committed(error: fchannel::CommitError) -> PutError {
    match error {
        fchannel::CommitError::NotCommitted(error) => PutError::Failed(error.to_string()),
        other => PutError::Unknown(other.to_string()),
    }
}

impl Channel for FileChannel {
    fn put<'a>(&'a self, batch: &'a mut PutBatch) -> BoxFuture<'a, Result<(), PutError>> {
        Box::pin(async move {
            self.commit(batch).await.inspect_err(|_| self.failure.look(&self.channel))?;
            batch.events.clear();
            batch.marks.clear();
            Ok(())
        })
    }

    fn mark(&self, key: &[u8]) -> Option<Bytes> {
        self.channel.mark(key)
    }

    fn keeps_marks(&self) -> bool {
        true
    }

    fn taker(&self) -> Box<dyn Taker> {
        Box::new(FileTaker {
            channel: self.channel.clone(),
            failure: Arc::clone(&self.failure),
            name: Arc::clone(&self.name),
            raw_seen: false,
        })
    }

    fn limits(&self) -> ChannelLimits {
        self.limits
    }

    fn level(&self) -> ChannelLevel {
        let stats = self.channel.stats();
        ChannelLevel { events: stats.events, leased: stats.leased }
    }

    fn failed(&self) -> BoxFuture<'_, String> {
        Box::pin(self.failure.seen())
    }

    fn stop_waiting(&self) {
        self.stopping.send_replace(true);
    }

    fn close(&self) -> BoxFuture<'_, Result<(), ChannelError>> {
        let channel = self.channel.clone();
        Box::pin(async move {
            let closed = tokio::task::spawn_blocking(move || channel.close()).await;
            match closed {
                Ok(answer) => answer.map_err(|error| ChannelError(error.to_string())),
                Err(panicked) => Err(ChannelError(panicked.to_string())),
            }
        })
    }
}

struct FileTaker {
    channel: fchannel::Channel,
    failure: Arc<Failure>,
    name: Arc<str>,
    /// Payloads that are no events were seen, and said so once.
    raw_seen: bool,
}

impl FileTaker {
    /// The event in a payload. A library user may have put other bytes: they are a body then, and hold nobody up.
    fn event(&mut self, payload: &Bytes) -> Event {
        Event::decode(payload.clone()).unwrap_or_else(|error| {
            if !std::mem::replace(&mut self.raw_seen, true) {
                tracing::warn!(channel = %self.name, %error, "a payload is not an event: it is delivered as a body; said once");
            }
            Event::of_body(payload.clone())
        })
    }
}

impl Taker for FileTaker {
    fn ready(&mut self) -> BoxFuture<'_, ()> {
        Box::pin(self.channel.ready())
    }

    fn take(
        &mut self,
        limit: TakeLimit,
    ) -> BoxFuture<'_, Result<Option<Box<dyn Taken>>, ChannelError>> {
        // Reads from disk when the backlog is cold: sinks run on threads of their own.
        let bytes = u64::try_from(limit.bytes).unwrap_or(u64::MAX).min(TAKE_BYTES_MAX);
        let limit = fchannel::TakeLimit {
            events: u32::try_from(limit.events).unwrap_or(u32::MAX).max(1),
            bytes,
        };
        Box::pin(async move {
            let take = self.channel.begin_take(limit).map_err(|error| {
                self.failure.look(&self.channel);
                ChannelError(error.to_string())
            })?;
            if take.records().is_empty() {
                return Ok(None);
            }
            let events = take.records().iter().map(|record| self.event(&record.payload)).collect();
            let ids = take.records().iter().map(|record| record.seq.get()).collect();
            Ok(Some(Box::new(FileTaken { take, events, ids }) as Box<dyn Taken>))
        })
    }
}

struct FileTaken {
    take: TakeTransaction,
    events: Vec<Event>,
    ids: Vec<u64>,
}

impl Taken for FileTaken {
    fn batch(&self) -> Batch<'_> {
        let attempt = self.take.records().first().map_or(1, |first| first.attempts);
        Batch { events: &self.events, ids: Some(&self.ids), attempt }
    }

    fn commit(self: Box<Self>) -> BoxFuture<'static, Result<(), CommitError>> {
        let ticket = self.take.submit();
        Box::pin(async move {
            let committed = match ticket {
                Ok(ticket) => ticket.await,
                Err(error) => Err(error),
            };
            committed.map(drop).map_err(|error| CommitError(error.to_string()))
        })
    }
}
