//! What unit tests share: settings from a table, a pipeline that remembers, conditions with a deadline.

use crate::component::{
    BoxFuture, Build, Entry, OnReady, Parts, Put, PutBatch, PutError, Retry, Settings, Source,
    SourceContext, Stop, StopSender,
};
use crate::sync::lock;
use bytes::Bytes;
use fchannel::Event;
use std::{
    collections::{BTreeMap, VecDeque},
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::sync::Notify;

/// The settings of `entry` with these keys.
pub(crate) fn settings(entry: &Entry, keys: &[(&str, &str)]) -> Settings {
    let values: BTreeMap<_, _> =
        keys.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    for key in values.keys() {
        assert!(entry.keys.iter().any(|row| row.matches(key)), "no key {key} in the table");
    }
    Settings::new("x1", values, entry.keys)
}

/// A source made from its entry.
pub(crate) fn source(entry: &Entry, keys: &[(&str, &str)]) -> Box<dyn Source> {
    match entry.build {
        Build::Source(_, make) => make(&settings(entry, keys), &Parts::default()).unwrap(),
        _ => panic!("not a source"),
    }
}

/// A pipeline that keeps what it gets, and fails as told.
#[derive(Default)]
pub(crate) struct Collector {
    batches: Mutex<Vec<PutBatch>>,
    /// The next puts under `Retry::No` end so.
    pub(crate) failures: Mutex<VecDeque<PutError>>,
    marks: Mutex<BTreeMap<Bytes, Bytes>>,
    changed: Notify,
}

impl Put for Collector {
    fn put<'a>(
        &'a self,
        batch: &'a mut PutBatch,
        retry: Retry,
    ) -> BoxFuture<'a, Result<(), PutError>> {
        Box::pin(async move {
            let batch = std::mem::take(batch);
            if retry == Retry::No
                && let Some(error) = lock(&self.failures).pop_front()
            {
                return Err(error);
            }
            lock(&self.marks).extend(batch.marks.iter().cloned());
            lock(&self.batches).push(batch);
            self.changed.notify_waiters();
            // A channel that waits for its disk lets others run.
            tokio::task::yield_now().await;
            Ok(())
        })
    }

    fn mark(&self, key: &[u8]) -> Option<Bytes> {
        lock(&self.marks).get(key).filter(|value| !value.is_empty()).cloned()
    }
}

impl Collector {
    pub(crate) fn events(&self) -> Vec<Event> {
        lock(&self.batches).iter().flat_map(|batch| batch.events.clone()).collect()
    }

    pub(crate) fn bodies(&self) -> Vec<String> {
        self.events()
            .iter()
            .map(|event| String::from_utf8_lossy(&event.body).into_owned())
            .collect()
    }

    pub(crate) fn batch_sizes(&self) -> Vec<usize> {
        lock(&self.batches).iter().map(|batch| batch.events.len()).collect()
    }

    pub(crate) fn marks(&self) -> BTreeMap<Bytes, Bytes> {
        lock(&self.marks).clone()
    }

    /// Waits until `condition` holds; panics after ten seconds.
    pub(crate) async fn until(&self, what: &str, condition: impl Fn(&Self) -> bool) {
        let reached = async {
            loop {
                let changed = self.changed.notified();
                if condition(self) {
                    return;
                }
                // The condition may be about something else, a file for instance.
                tokio::select! {
                    () = changed => {}
                    () = tokio::time::sleep(Duration::from_millis(20)) => {}
                }
            }
        };
        if tokio::time::timeout(Duration::from_secs(10), reached).await.is_err() {
            panic!("waited in vain for {what}: {:?}", self.bodies());
        }
    }

    /// Waits until as many events came, and gives their bodies.
    pub(crate) async fn wait_for(&self, events: usize) -> Vec<String> {
        self.until(&format!("{events} events"), |collector| collector.events().len() >= events)
            .await;
        self.bodies()
    }
}

/// What is logged on this thread, where a source of [`Running`] runs, too.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        lock(&self.0).write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Log {
    /// Until the guard is dropped.
    pub(crate) fn start() -> (Self, tracing::subscriber::DefaultGuard) {
        let log = Self::default();
        let writer = log.clone();
        let subscriber =
            tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
        (log, tracing::subscriber::set_default(subscriber))
    }

    pub(crate) fn clear(&self) {
        lock(&self.0).clear();
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&lock(&self.0)).into_owned()
    }
}

/// A source that runs, until it is stopped.
pub(crate) struct Running {
    pub(crate) out: Arc<Collector>,
    pub(crate) address: SocketAddr,
    stop: StopSender,
    task: tokio::task::JoinHandle<Result<(), crate::component::ComponentError>>,
}

impl Running {
    /// Starts a source on the shared runtime and waits until it is ready.
    pub(crate) async fn start(entry: &Entry, keys: &[(&str, &str)]) -> Self {
        Self::start_into(entry, keys, Arc::default()).await
    }

    /// As [`start`](Self::start), into a pipeline that was used before.
    pub(crate) async fn start_into(
        entry: &Entry,
        keys: &[(&str, &str)],
        out: Arc<Collector>,
    ) -> Self {
        let (stop, stopped) = Stop::new();
        let (send, mut ready) = tokio::sync::mpsc::unbounded_channel();
        let on_ready: OnReady = Arc::new(move |address| send.send(address).unwrap_or_default());
        let cx = SourceContext {
            name: "r1".into(),
            pipeline: Arc::clone(&out) as Arc<dyn Put>,
            stop: stopped,
            on_ready,
        };
        let task = tokio::spawn(source(entry, keys).run(cx));
        let Some(address) = ready.recv().await else {
            panic!("not ready: {:?}", task.await);
        };
        Self { out, address: address.unwrap_or_else(|| ([0, 0, 0, 0], 0).into()), stop, task }
    }

    /// Stops it and waits for its end.
    pub(crate) async fn stop(self) -> Arc<Collector> {
        self.stop.stop();
        self.task.await.unwrap().unwrap();
        self.out
    }
}
