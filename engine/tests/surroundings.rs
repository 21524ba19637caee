//! The surroundings fail, not the disk: no thread can be had, no descriptor is left, the wall clock goes back.
//!
//! Whatever fails, an open leaves no lock and no thread behind, a take that could not read loses nothing, and what was acknowledged is
//! there afterwards.

mod common;

use common::{drain, eventually, now, payloads, put_all, submit, texts};
use fchannel::{
    Channel, CommitError, ErrorKind, Inspector, Options, PutError, Severity, TakeLimit, Verify,
    Wal, WalOptions,
    io::{File, Filling, LockAttempt, Medium, StdVfs, Vfs, delegate_vfs},
};
use std::{
    io,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst},
    },
    thread::JoinHandle,
    time::Duration,
};

/// "Too many open files".
const EMFILE: i32 = 24;
/// "Resource temporarily unavailable": what a refused thread says.
const EAGAIN: i32 = 11;

/// What the test and the world share.
#[derive(Default)]
struct Knobs {
    /// Calls that need a descriptor, and the one of them that gets none; 0 for none.
    calls: AtomicUsize,
    no_descriptor_at: AtomicUsize,
    /// Threads that were asked for, and the one that cannot be had; 0 for none.
    spawns: AtomicUsize,
    no_thread_at: AtomicUsize,
    /// Threads at work.
    threads: AtomicUsize,
    wall_ms: AtomicU64,
    /// Locks that were asked for.
    locks: AtomicUsize,
}

/// The operating system's files, with `Knobs`.
#[derive(Clone, Default)]
struct Surroundings {
    knobs: Arc<Knobs>,
    inner: Arc<StdVfs>,
}

impl Surroundings {
    fn descriptor(&self) -> io::Result<()> {
        let call = self.knobs.calls.fetch_add(1, SeqCst) + 1;
        if call == self.knobs.no_descriptor_at.load(SeqCst) {
            return Err(io::Error::from_raw_os_error(EMFILE));
        }
        Ok(())
    }

    /// Counts from here on, and lets the `at`th call that needs a descriptor fail; 0: none does.
    fn no_descriptor_at(&self, at: usize) {
        self.knobs.calls.store(0, SeqCst);
        self.knobs.no_descriptor_at.store(at, SeqCst);
    }

    fn open(&self, dir: &Path, options: Options) -> fchannel::Result<Channel> {
        Channel::open_on(Arc::new(self.clone()), dir, options)
    }

    /// The call that was to fail was made.
    fn has_failed(&self) -> bool {
        self.knobs.calls.load(SeqCst) >= self.knobs.no_descriptor_at.load(SeqCst)
    }
}

impl Vfs for Surroundings {
    delegate_vfs!(inner: create_dir free_bytes medium monotonic random);

    fn lock(&self, dir: &Path) -> io::Result<LockAttempt> {
        self.descriptor()?;
        self.knobs.locks.fetch_add(1, SeqCst);
        self.inner.lock(dir)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.descriptor()?;
        self.inner.sync_dir(dir)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.descriptor()?;
        self.inner.list(dir)
    }

    fn create(&self, path: &Path, head: &[u8], donor: Option<&Path>) -> io::Result<Arc<dyn File>> {
        self.descriptor()?;
        self.inner.create(path, head, donor)
    }

    fn reserve(&self, path: &Path, size_bytes: u64) -> io::Result<Filling> {
        self.descriptor()?;
        self.inner.reserve(path, size_bytes)
    }

    fn retire(&self, path: &Path, spare: &Path) -> io::Result<()> {
        self.descriptor()?;
        self.inner.retire(path, spare)
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        self.descriptor()?;
        self.inner.open(path)
    }

    fn replace(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        self.descriptor()?;
        self.inner.replace(path, bytes)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.descriptor()?;
        self.inner.remove(path)
    }

    fn wall_ms(&self) -> u64 {
        self.knobs.wall_ms.load(SeqCst)
    }

    fn spawn(
        &self,
        name: &str,
        body: Box<dyn FnOnce() + Send>,
    ) -> io::Result<Option<JoinHandle<()>>> {
        if self.knobs.spawns.fetch_add(1, SeqCst) + 1 == self.knobs.no_thread_at.load(SeqCst) {
            return Err(io::Error::from_raw_os_error(EAGAIN));
        }
        let knobs = Arc::clone(&self.knobs);
        knobs.threads.fetch_add(1, SeqCst);
        let counted = Box::new(move || {
            body();
            knobs.threads.fetch_sub(1, SeqCst);
        });
        self.inner.spawn(name, counted)
    }
}

fn options() -> Options {
    Options {
        segment_bytes_max: 64 << 10,
        free_space_min_bytes: 0,
        tail_cache_bytes: 0,
        keep_alive_ms: 0,
        checkpoint_interval_ms: 3_600_000,
        ..Options::default()
    }
}

/// An event of which three fill a segment.
fn large(number: usize) -> String {
    format!("{number:<20000}")
}

#[test]
fn an_open_without_a_thread_leaves_no_lock_and_no_thread() {
    let dir = tempfile::tempdir().unwrap();
    let world = Surroundings::default();
    let channel = world.open(dir.path(), options()).unwrap();
    put_all(&channel, &["kept"]);
    drop(channel);
    let spawns = world.knobs.spawns.load(SeqCst);
    assert!(spawns >= 2, "a committer, and the background thread");
    eventually("the threads end", || world.knobs.threads.load(SeqCst) == 0);
    for at in 1..=spawns {
        world.knobs.spawns.store(0, SeqCst);
        world.knobs.no_thread_at.store(at, SeqCst);
        let error = world.open(dir.path(), options()).unwrap_err();
        assert_eq!(error.kind(), &ErrorKind::Io, "{error}");
        eventually("the threads end", || world.knobs.threads.load(SeqCst) == 0);
        // Unlocked, and unharmed.
        let channel = Channel::open(dir.path(), options()).unwrap();
        assert_eq!(payloads(&channel.peek(None, TakeLimit::events(9)).unwrap()), ["kept"]);
    }
}

#[test]
fn a_bare_log_without_a_thread_leaves_no_lock_and_no_thread() {
    let dir = tempfile::tempdir().unwrap();
    let world = Surroundings::default();
    world.knobs.no_thread_at.store(1, SeqCst);
    let open = |replayed: &mut u32| {
        Wal::open_on(Arc::new(world.clone()), dir.path(), WalOptions::default(), |_, _, _| {
            *replayed += 1;
            Ok(())
        })
    };
    assert_eq!(open(&mut 0).unwrap_err().kind(), &ErrorKind::Io);
    assert_eq!(world.knobs.threads.load(SeqCst), 0);
    let wal = open(&mut 0).unwrap();
    wal.append(1, b"record").unwrap();
    drop(wal);
    let mut replayed = 0;
    drop(open(&mut replayed).unwrap());
    assert_eq!(replayed, 1);
    eventually("the threads end", || world.knobs.threads.load(SeqCst) == 0);
}

#[test]
fn an_open_without_a_descriptor_is_refused_and_the_next_one_finds_everything() {
    let dir = tempfile::tempdir().unwrap();
    let channel = Channel::open(dir.path(), options()).unwrap();
    let events: Vec<String> = (0..8).map(large).collect();
    events.iter().for_each(|event| put_all(&channel, &[event]));
    drop(channel);
    let world = Surroundings::default();
    let mut refused = 0;
    for at in 1.. {
        world.no_descriptor_at(at);
        match world.open(dir.path(), options()) {
            Ok(channel) if world.has_failed() => {
                // It was for something that can be done without.
                assert_eq!(channel.stats().events, 8, "call {at}");
            }
            Ok(_) => break,
            Err(error) => {
                refused += 1;
                assert_eq!(error.kind(), &ErrorKind::Io, "call {at}: {error}");
            }
        }
        eventually("the threads end", || world.knobs.threads.load(SeqCst) == 0);
    }
    assert!(refused > 5, "only {refused} calls of an open need a descriptor");
    let channel = Channel::open(dir.path(), options()).unwrap();
    assert!(channel.quarantined().is_empty(), "what cannot be opened is not damaged");
    assert_eq!(drain(&channel), events);
}

#[test]
fn a_take_without_a_descriptor_says_so_and_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let world = Surroundings::default();
    let channel = world.open(dir.path(), options()).unwrap();
    let events: Vec<String> = (0..12).map(large).collect();
    events.iter().for_each(|event| put_all(&channel, &[event]));
    // What was given back is read from its own place, one frame for one descriptor.
    drop(channel.begin_take(TakeLimit::events(2)).unwrap());
    let mut taken = Vec::new();
    let mut failed = 0;
    while taken.len() < events.len() {
        // The first call of each take fails; the second take finds the same events.
        world.no_descriptor_at(1);
        match channel.begin_take(TakeLimit::events(1)) {
            Ok(take) => assert_eq!(payloads(take.records()), events[taken.len()..=taken.len()]),
            Err(error) => {
                failed += 1;
                assert_eq!(error.kind(), &ErrorKind::Io, "{error}");
            }
        }
        world.no_descriptor_at(0);
        let take = channel.begin_take(TakeLimit::events(1)).unwrap();
        taken.extend(payloads(take.records()));
        take.commit().unwrap();
        let look = channel.peek(None, TakeLimit::events(1)).unwrap();
        assert_eq!(payloads(&look), events[taken.len()..(taken.len() + 1).min(events.len())]);
    }
    assert!(failed >= 4, "only {failed} takes needed a descriptor");
    assert_eq!(taken, events);
    assert!(channel.quarantined().is_empty(), "what cannot be opened is not damaged");
    assert!(channel.poisoned().is_none(), "a read that fails stops nothing");
    assert_eq!((channel.stats().events, channel.stats().leased), (0, 0));
}

#[test]
fn whatever_a_missing_descriptor_stops_what_was_acknowledged_is_there() {
    for at in 1.. {
        let dir = tempfile::tempdir().unwrap();
        let world = Surroundings::default();
        let channel = world.open(dir.path(), options()).unwrap();
        world.no_descriptor_at(at);
        let (mut acknowledged, mut unknown) = (Vec::new(), None);
        for number in 0..7 {
            let mut put = channel.begin_put();
            put.push(large(number).as_bytes()).unwrap();
            match put.commit() {
                Ok(_) => acknowledged.push(large(number)),
                Err(PutError::Commit(CommitError::Unknown(_))) => unknown = Some(large(number)),
                Err(PutError::Commit(CommitError::NotCommitted(_))) => {}
                Err(other) => panic!("{other}"),
            }
            if number == 3 {
                // It fails without harm: only restarts get longer.
                drop(channel.checkpoint());
            }
        }
        drop(channel.close());
        let done = !world.has_failed();
        let channel = Channel::open(dir.path(), options()).unwrap();
        let found = drain(&channel);
        let (known, rest) = found.split_at(acknowledged.len().min(found.len()));
        assert_eq!(known, acknowledged, "call {at}");
        assert!(rest.is_empty() || rest == unknown.as_slice(), "call {at}: {} more", rest.len());
        assert_eq!(channel.stats().used, 0);
        if done {
            assert!(at > 5, "only {at} calls need a descriptor");
            return;
        }
    }
}

#[test]
fn a_wall_clock_that_goes_back_changes_nothing_but_what_people_read() {
    let dir = tempfile::tempdir().unwrap();
    let world = Surroundings::default();
    let mut expected = Vec::new();
    for (round, wall_ms) in
        [1_795_000_000_000, 5, u64::MAX, 0, 1_600_000_000_000].iter().enumerate()
    {
        world.knobs.wall_ms.store(*wall_ms, SeqCst);
        let channel = world.open(dir.path(), options()).unwrap();
        assert_eq!(channel.stats().events, expected.len() as u64);
        for batch in 0..3 {
            world.knobs.wall_ms.fetch_sub(1, SeqCst);
            let events = texts(&format!("{round}/{batch}/"), 5);
            put_all(&channel, &events);
            expected.extend(events);
            let take = channel.begin_take(TakeLimit::events(1)).unwrap();
            assert_eq!(payloads(take.records()), [expected.remove(0)]);
            take.commit().unwrap();
            channel.checkpoint().unwrap();
        }
        let ticket = submit(&channel, &["last"]);
        expected.push("last".into());
        if round % 2 == 0 {
            channel.close().unwrap();
            now(ticket).unwrap();
        } else {
            ticket.wait().unwrap();
        }
        let inspector = Inspector::open(dir.path()).unwrap();
        let verified = inspector.verify(Verify::default(), |_| {}).unwrap();
        assert!(verified.worst <= Some(Severity::Info), "{:?}", verified.findings);
    }
    let channel = world.open(dir.path(), options()).unwrap();
    assert_eq!(drain(&channel), expected);
}

/// Between the listing from which its undo is computed and its own open, and again before the listing after, a repair held no lock: an
/// agent that came in between had its segments listed as made by the repair, and an undo removed them.
#[test]
#[expect(clippy::disallowed_methods, reason = "a hand laid on the files of a closed channel")]
fn a_repair_holds_its_lock_from_the_first_listing_to_the_last() {
    let dir = tempfile::tempdir().unwrap();
    let world = Surroundings::default();
    let channel = world.open(dir.path(), options()).unwrap();
    put_all(&channel, &["one", "two"]);
    put_all(&channel, &["three"]);
    channel.close().unwrap();
    let segment = dir.path().join("seg-1");
    let mut bytes = std::fs::read(&segment).unwrap();
    let at = bytes.windows(3).position(|window| window == b"two").unwrap();
    bytes[at] ^= 1;
    std::fs::write(&segment, bytes).unwrap();
    world.knobs.locks.store(0, SeqCst);
    let repaired = fchannel::repair::repair_on(Arc::new(world.clone()), dir.path()).unwrap();
    assert_eq!(repaired.damages.len(), 1);
    assert_eq!(world.knobs.locks.load(SeqCst), 1);
}
