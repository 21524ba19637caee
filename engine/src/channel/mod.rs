//! The contract of Flume's file channel: transactions, capacity, visibility.

mod background;
mod capacity;
mod owner;
mod transactions;

pub use transactions::{PutError, PutTransaction, Room, TakeTransaction};

use crate::{
    error::{CommitError, Error, ErrorKind, Result},
    format::{Kind, TakenRange, take_body},
    ids::{EventSeq, FramePtr, Lsn},
    io::{StdVfs, Vfs},
    log::{Committed, Log, Quarantined, RecoveryReport, Request},
    options::{Options, Purpose},
    queue::{self, Checkpoints, Queue, Record, State, TakeLimit},
    stats::LogStats,
    sync::{Mutex, Waiters},
};
use background::Signal;
use bytes::Bytes;
use capacity::{Asked, Capacity, Decision};
use owner::Owner;
use std::{
    future::poll_fn,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

/// A durable, transactional queue of events in a directory: puts and takes are transactions, committed puts become visible when they
/// are durable, in the order of their commits, and what is taken and not committed comes back in order.
///
/// Clones share the channel. All calls may be made from any thread. For a log without takers, use [`Wal`](crate::Wal).
///
/// # Examples
/// ```
/// use fchannel::{Channel, Options, TakeLimit};
/// let dir = tempfile::tempdir()?;
/// let channel = Channel::open(dir.path(), Options::default())?;
/// let mut put = channel.begin_put();
/// put.push(b"one")?;
/// put.push(b"two")?;
/// put.commit()?; // durable
///
/// let take = channel.begin_take(TakeLimit::events(10))?;
/// assert_eq!(take.records().len(), 2);
/// drop(take); // a rollback
/// let take = channel.begin_take(TakeLimit::events(1))?;
/// assert_eq!(take.records()[0].payload, b"one"[..]);
/// take.commit()?; // gone for good
/// channel.close()?;
///
/// let channel = Channel::open(dir.path(), Options::default())?;
/// assert_eq!(channel.stats().events, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Channel(Arc<Handle>);

/// A hundred years.
const FOR_EVER: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

/// What the clones of a channel share: when the last one goes, the threads end.
struct Handle {
    shared: Arc<Shared>,
    background: Mutex<Option<JoinHandle<()>>>,
}

/// What a channel, its transactions and its threads share.
pub(crate) struct Shared {
    log: Arc<Log>,
    owner: Arc<Owner>,
    options: Options,
    /// By how much the marks grow with the commits that are under way.
    marks_in_flight: Mutex<usize>,
    checkpoints: Mutex<Checkpoints>,
    signal: Arc<Signal>,
    /// When the last checkpoint was made, in milliseconds of the world's monotonic clock.
    checkpoint_at_ms: AtomicU64,
    closed: AtomicBool,
    /// Lost events of which the log could not say yet that they are owed no more: nobody will come across them again.
    unsaid: Mutex<Vec<TakenRange>>,
    report: RecoveryReport,
}

/// How a channel is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ChannelStats {
    /// Events owed, leased ones included.
    pub events: u64,
    /// Of these, the ones in takers' hands.
    pub leased: u64,
    /// Events it may hold.
    pub capacity: u64,
    /// Events owed or being committed.
    pub used: u64,
    /// The sequence of the next event.
    pub next_seq: EventSeq,
    /// Events given up since the open, because they cannot be read: [`Channel::quarantined`] says where they lay.
    pub lost: u64,
    /// The log below.
    pub log: LogStats,
}

impl Channel {
    /// Locks the directories, recovers, and opens. One process at a time. `dir` holds lock and checkpoints, and the segments too unless
    /// [`Options::data_dirs`] names others.
    ///
    /// # Errors
    /// `Locked`; `NotAChannel` if a directory is missing or somebody else's; `NewerFormat`; `Corrupt` if what was durable is damaged, with
    /// the place; `InvalidOptions`; `DiskFull`; `Io`.
    pub fn open(dir: impl AsRef<Path>, mut options: Options) -> Result<Self> {
        // The manifests name the directories to tools that run elsewhere.
        for path in &mut options.data_dirs {
            *path = absolute(path)?;
        }
        let vfs = StdVfs::new(options.commit_calls);
        Self::open_on(Arc::new(vfs), &absolute(dir.as_ref())?, options)
    }

    /// As [`open`](Self::open), in another world: on a simulated disk, say.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_on(vfs: Arc<dyn Vfs>, dir: &Path, options: Options) -> Result<Self> {
        let channel = Self::open_for(Arc::clone(&vfs), dir, options, Purpose::Use)?;
        let shared = channel.shared();
        shared.log.start_threads()?;
        let background = Arc::clone(shared);
        let body = Box::new(move || background::run(&background));
        *channel.0.background.lock() = vfs
            .spawn("fchannel-background", body)
            .map_err(|error| Error::io("cannot start the background thread", dir, error))?;
        Ok(channel)
    }

    /// Opens without threads.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub(crate) fn open_for(
        vfs: Arc<dyn Vfs>,
        dir: &Path,
        options: Options,
        purpose: Purpose,
    ) -> Result<Self> {
        options.validate()?;
        let signal = Arc::new(Signal::default());
        let owner = Arc::new(Owner {
            queue: Queue::default(),
            capacity: Arc::new(Capacity::new(options.capacity_events)),
            ready: Waiters::default(),
            signal: Arc::clone(&signal),
            checkpoint_log_bytes: options.checkpoint_log_bytes,
            lost: AtomicU64::default(),
        });
        let (log, checkpoints, report) =
            queue::open(Arc::clone(&vfs), dir, &options, owner.clone(), &owner.queue, purpose)?;
        owner.capacity.occupy(owner.queue.with_state(State::owed));
        let lost = lost_events(&log, &owner.queue, &report);
        let shared = Arc::new(Shared {
            log,
            owner,
            options,
            marks_in_flight: Mutex::default(),
            checkpoints: Mutex::new(checkpoints),
            signal,
            checkpoint_at_ms: AtomicU64::new(milliseconds(vfs.monotonic())),
            closed: AtomicBool::new(false),
            unsaid: Mutex::default(),
            report,
        });
        match shared.give_up(lost) {
            // The next taker says so, when there is room.
            Err(error) if error.kind() == &ErrorKind::DiskFull => {}
            answer => answer?,
        }
        Ok(Self(Arc::new(Handle { shared, background: Mutex::new(None) })))
    }

    /// Sets aside damage at `at`, where frame `lsn` should be if that is known: damage that holds nothing that is owed.
    ///
    /// # Errors
    /// `DiskFull`, `Io`.
    pub(crate) fn set_aside(&self, at: FramePtr, lsn: Option<Lsn>, what: &str) -> Result<()> {
        self.shared().log.set_frame_aside(at, lsn, None, &Error::corrupt(what))
    }

    /// Reads all that is owed, gives up what cannot be read, and vouches for that; then the log takes no more.
    ///
    /// # Errors
    /// `Io`, `Poisoned`.
    pub(crate) fn finish_repair(&self) -> Result<()> {
        let shared = self.shared();
        let lost = shared.owner.queue.find_lost(&shared.log)?;
        shared.give_up(lost)?;
        shared.log.finish()
    }

    /// The damage that was set aside and is not settled, oldest first: what `fchannel quarantine list` shows.
    #[must_use]
    pub fn quarantined(&self) -> Vec<Quarantined> {
        self.shared().log.quarantined()
    }

    /// Settles a damage that was set aside: its record is renamed, so that nobody is told of it any more. Its bytes stay. Once is enough,
    /// twice does no harm.
    ///
    /// # Errors
    /// `InvalidOptions` if there is no such damage; `Io`.
    pub fn settle(&self, id: u64) -> Result<()> {
        self.shared().log.settle(id)
    }

    fn shared(&self) -> &Arc<Shared> {
        &self.0.shared
    }

    /// What the open found and did.
    #[must_use]
    pub fn recovery(&self) -> &RecoveryReport {
        &self.shared().report
    }

    /// How it is doing.
    #[must_use]
    pub fn stats(&self) -> ChannelStats {
        let shared = self.shared();
        let (events, next_seq) =
            shared.owner.queue.with_state(|state| (state.owed(), state.next_seq()));
        let (capacity, used) = shared.owner.capacity.level();
        ChannelStats {
            events,
            leased: shared.owner.queue.leased().min(events),
            capacity,
            used,
            next_seq,
            lost: shared.owner.lost.load(Ordering::Relaxed),
            log: shared.log.stats(),
        }
    }

    /// Changes the capacity. Below what waits, puts wait and nothing is dropped.
    pub fn set_capacity(&self, events: u64) {
        self.shared().owner.capacity.set(events);
    }

    /// Begins a put: a buffer until it is committed. Never waits.
    pub fn begin_put(&self) -> PutTransaction {
        PutTransaction::new(Arc::clone(self.shared()))
    }

    /// One event, one transaction, durable on return.
    ///
    /// # Errors
    /// As [`PutTransaction::commit`]; a full channel is `NotCommitted` with the kind `Full`.
    pub fn put(&self, payload: &[u8]) -> Result<Committed, CommitError> {
        let mut transaction = self.begin_put();
        transaction.push(payload).map_err(CommitError::NotCommitted)?;
        transaction.commit().map_err(|error| match error {
            PutError::Full(_) => {
                CommitError::NotCommitted(Error::new(ErrorKind::Full, error.to_string()))
            }
            PutError::Commit(error) => error,
        })
    }

    /// A place in the queue for room for `events`: fair, and given up when the future is dropped.
    ///
    /// # Errors
    /// `TooLarge` if they are more than the capacity; `Closed`, `Poisoned`.
    pub async fn reserve(&self, events: u32) -> Result<Room> {
        let shared = self.shared();
        shared.check_open()?;
        let mut asked: Asked = shared.owner.capacity.ask(u64::from(events));
        match poll_fn(|cx| asked.poll(cx)).await {
            Decision::Granted => Ok(Room::new(Arc::clone(shared), u64::from(events))),
            Decision::Never => {
                let what = format!(
                    "{events} events are more than the capacity of {}",
                    shared.owner.capacity.level().0
                );
                Err(Error::new(ErrorKind::TooLarge, what))
            }
            Decision::Closed => Err(shared.closed_error()),
        }
    }

    /// Leases what is there, up to `limit`: perhaps nothing. A cold backlog is read from disk, so this may block on that.
    ///
    /// # Errors
    /// `Corrupt` or `Io` if the next event cannot be read; `DiskFull` if the disk is full and the reserve for takes used up; `Closed`,
    /// `Poisoned`.
    pub fn begin_take(&self, limit: TakeLimit) -> Result<TakeTransaction> {
        TakeTransaction::begin(Arc::clone(self.shared()), limit)
    }

    /// As [`begin_take`](Self::begin_take), but waits up to `wait` for a first event.
    ///
    /// # Errors
    /// As [`begin_take`](Self::begin_take).
    pub fn take_timeout(&self, limit: TakeLimit, wait: Duration) -> Result<TakeTransaction> {
        // `Duration::MAX` is more than a clock can count.
        let now = Instant::now();
        let deadline = now.checked_add(wait).unwrap_or_else(|| now + FOR_EVER);
        loop {
            // Whoever is told may find nothing, again and again.
            let late = Instant::now() >= deadline;
            let place = self.shared().owner.ready.enter();
            let take = self.begin_take(limit)?;
            if late || !take.records().is_empty() {
                return Ok(take);
            }
            if !place.wait_until(deadline) {
                return Ok(take);
            }
            place.used();
        }
    }

    /// Resolves when a take is likely to find something, or the channel is closed or poisoned. Level-triggered and cancel-safe; one
    /// waiter is woken for each put, and who leaves something wakes the next. For whom it resolves, the word is theirs: who then does not
    /// take leaves the other waiters asleep until the next put. A take that is begun and dropped passes the word on.
    pub async fn ready(&self) {
        let shared = self.shared();
        loop {
            let place = shared.owner.ready.enter();
            if shared.owner.queue.available() > 0 || shared.check_open().is_err() {
                return;
            }
            place.told().await;
            place.used();
        }
    }

    /// Looks at owed events from `from` on (default: the oldest) without leasing them; those in takers' hands are shown too.
    ///
    /// # Errors
    /// `Corrupt`, `Io`. It holds nothing: an event that is taken for good while it looks, and whose segment goes, may answer `Corrupt`;
    /// a second look does not.
    pub fn peek(&self, from: Option<EventSeq>, limit: TakeLimit) -> Result<Vec<Record>> {
        let shared = self.shared();
        shared.owner.queue.peek(&shared.log, from, limit)
    }

    /// The value committed last under a mark.
    #[must_use]
    pub fn mark(&self, key: &[u8]) -> Option<Bytes> {
        self.shared().owner.queue.with_state(|state| state.mark(key))
    }

    /// All marks.
    #[must_use]
    pub fn marks(&self) -> Vec<(Bytes, Bytes)> {
        self.shared().owner.queue.with_state(|state| {
            state.marks().iter().map(|(key, value)| (key.clone(), value.clone())).collect()
        })
    }

    /// Makes all that is committed durable now: for [`Durability::Interval`](crate::Durability::Interval).
    ///
    /// # Errors
    /// `Io`, once; then `Poisoned`.
    pub fn sync(&self) -> Result<Lsn> {
        self.shared().log.sync()
    }

    /// Writes a checkpoint now, and gives back the space that nothing needs. It blocks nobody.
    ///
    /// # Errors
    /// `DiskFull`, `Io`: the one before stays. `Poisoned`.
    pub fn checkpoint(&self) -> Result<Lsn> {
        self.shared().checkpoint()
    }

    /// Why every call fails, once the log has stopped itself after an I/O error. Only a reopen can say what is durable.
    #[must_use]
    pub fn poisoned(&self) -> Option<Error> {
        self.shared().log.poisoned().cloned()
    }

    /// Leads one group of commits on this thread if some wait and nobody leads; true if it did. For a world without threads.
    pub fn lead_once(&self) -> bool {
        self.shared().log.lead_once()
    }

    /// Does what is due at this moment of the world's clock: a sync under `Interval`, the frame that vouches for the last commit when none
    /// has followed, a checkpoint, the reserve for a full disk, the next segment's blocks. For a world without threads.
    ///
    /// # Errors
    /// As [`sync`](Self::sync) and [`checkpoint`](Self::checkpoint).
    pub fn tick(&self) -> Result<()> {
        let shared = self.shared();
        shared.log.make_reserves()?;
        shared.log.prepare()?;
        if shared.log.sync_interval().is_some() {
            shared.log.sync()?;
        }
        shared.log.vouch_if_idle()?;
        let now_ms = milliseconds(shared.log.dirs().vfs.monotonic());
        let since_ms = now_ms.saturating_sub(shared.checkpoint_at_ms.load(Ordering::Relaxed));
        if since_ms >= shared.options.checkpoint_interval_ms
            || shared.signal.is_due(shared.options.checkpoint_log_bytes)
        {
            shared.checkpoint()?;
        }
        Ok(())
    }

    /// Finishes commits that were submitted, writes the frame that vouches for the last of them and a checkpoint, and ends. Calls on
    /// clones answer `Closed` from then on; the directories are unlocked when the last clone and the last transaction are gone.
    ///
    /// Dropping the last clone ends too, without vouching frame and checkpoint: the next open reads a little more.
    ///
    /// # Errors
    /// What poisoned the log, now or before; the errors of a checkpoint. Committed events are safe all the same.
    pub fn close(self) -> Result<()> {
        let shared = self.shared();
        if shared.closed.swap(true, Ordering::AcqRel) {
            return Err(shared.closed_error());
        }
        shared.owner.capacity.close();
        self.0.end_background();
        let finished = shared.log.finish();
        shared.owner.ready.tell_all();
        finished?;
        if shared.options.checkpoint_on_close { shared.checkpoint().map(drop) } else { Ok(()) }
    }
}

impl Handle {
    fn end_background(&self) {
        self.shared.signal.end();
        let handle = self.background.lock().take();
        // The last clone may go away in a wake-up by that very thread, which then ends by itself.
        if let Some(handle) =
            handle.filter(|handle| handle.thread().id() != std::thread::current().id())
            && handle.join().is_err()
        {
            self.shared.log.poison(&Error::new(
                ErrorKind::Poisoned,
                "the background thread panicked: this is a bug",
            ));
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.closed.store(true, Ordering::Release);
        self.shared.owner.capacity.close();
        self.shared.log.begin_end();
        self.end_background();
        self.shared.log.end_threads();
        self.shared.owner.ready.tell_all();
    }
}

/// The events that recovery found lost, as far as they are owed: of what cannot be read nobody needs to be told twice.
fn lost_events(log: &Log, queue: &Queue, report: &RecoveryReport) -> Vec<TakenRange> {
    let mut lost = Vec::new();
    let mut add = |events: (EventSeq, EventSeq), last_frame: FramePtr| {
        let owed = queue.with_state(|state| state.owed_run(events.0));
        if owed.is_some_and(|(first, _)| first < events.1) {
            let count = events.1.get() - events.0.get();
            lost.push(TakenRange { first: events.0, count, last_frame });
        }
    };
    if let Some((oldest, place)) = log.oldest_item() {
        add((queue.with_state(State::head), oldest), place);
    }
    for (events, goes_on) in &report.passed {
        add(*events, *goes_on);
    }
    lost
}

impl Shared {
    /// Commits that `lost` events are owed no more, and those of which that could not be said before: their frames are damaged, and set
    /// aside.
    ///
    /// # Errors
    /// `DiskFull`: they are kept for the next time. `Closed`, `Poisoned`.
    fn give_up(&self, mut lost: Vec<TakenRange>) -> Result<()> {
        lost.append(&mut self.unsaid.lock());
        if lost.is_empty() {
            return Ok(());
        }
        let mut buffer = vec![0; Request::HEADER_ROOM];
        take_body(&lost, &mut buffer);
        let slot = self.log.submit(Request::new(Kind::GAP, 0, buffer));
        self.log.wait(&slot).map(drop).map_err(|error| {
            self.unsaid.lock().append(&mut lost);
            error.error().clone()
        })
    }

    fn check_open(&self) -> Result<()> {
        if let Some(poison) = self.log.poisoned() {
            return Err(poison.clone());
        }
        if self.closed.load(Ordering::Acquire) { Err(self.closed_error()) } else { Ok(()) }
    }

    fn closed_error(&self) -> Error {
        self.log
            .poisoned()
            .cloned()
            .unwrap_or_else(|| Error::new(ErrorKind::Closed, "the channel is closed"))
    }

    fn checkpoint(&self) -> Result<Lsn> {
        let mut checkpoints = self.checkpoints.lock();
        let image = self.log.durable_image()?;
        let lsn = image.lsn;
        self.signal.reset();
        self.checkpoint_at_ms
            .store(milliseconds(self.log.dirs().vfs.monotonic()), Ordering::Relaxed);
        if checkpoints.newest_lsn() != Some(lsn) {
            checkpoints.publish(&self.log, image)?;
        }
        Ok(lsn)
    }
}

impl std::fmt::Debug for Channel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Channel")
            .field("dir", &self.shared().log.dirs().home)
            .finish_non_exhaustive()
    }
}

fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path).map_err(|error| Error::io("this is not a path", path, error))
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(all(test, not(fchannel_loom)))]
mod waits;
