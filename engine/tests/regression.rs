//! Bugs that were found, each as the story of how it was met.
#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]
#![expect(
    clippy::disallowed_methods,
    reason = "these tests lay hands on the files of a closed channel"
)]

mod common;

use common::{gate::GateVfs, now};
use fchannel::{
    Channel, CommitError, Durability, Error, ErrorKind, Inspector, Lsn, Options, Severity,
    TakeLimit, Verify, Wal, WalOptions, io::sim::SimVfs,
};
use std::{
    fs,
    future::Future,
    path::{Path, PathBuf},
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    task::{Context, Wake, Waker},
};

fn options(data: &[&PathBuf]) -> Options {
    Options {
        data_dirs: data.iter().map(|dir| (*dir).clone()).collect(),
        segment_bytes_max: 64 << 10,
        free_space_min_bytes: 0,
        ..Options::default()
    }
}

fn wal_options() -> WalOptions {
    WalOptions { segment_bytes_max: 64 << 10, ..WalOptions::default() }
}

fn nothing(_: Lsn, _: u8, _: &[u8]) -> Result<(), Error> {
    Ok(())
}

fn take_all(channel: &Channel) {
    loop {
        let take = channel.begin_take(TakeLimit::events(100)).unwrap();
        if take.records().is_empty() {
            return;
        }
        take.commit().unwrap();
    }
}

/// Recovery takes over the name of a newest segment in which nothing was vouched for. With a directory more, that name belonged
/// elsewhere: there were two of it, and the next open was refused.
#[test]
fn a_directory_joins_while_the_newest_segment_is_empty() {
    let root = tempfile::tempdir().unwrap();
    let [home, one, two] = ["home", "one", "two"].map(|name| root.path().join(name));
    Channel::open(&home, options(&[&one])).unwrap().close().unwrap();
    let channel = Channel::open(&home, options(&[&one, &two])).unwrap();
    for _ in 0..10 {
        channel.put(b"event").unwrap();
    }
    channel.close().unwrap();
    assert_eq!(Channel::open(&home, options(&[&one, &two])).unwrap().stats().events, 10);
}

/// A spent segment was renamed to a spare of the directory that its id names today. It lay in another one, on another disk.
#[test]
fn segments_go_where_they_lie_after_a_directory_joined() {
    let root = tempfile::tempdir().unwrap();
    let [home, one, two] = ["home", "one", "two"].map(|name| root.path().join(name));
    let channel = Channel::open(&home, options(&[&one])).unwrap();
    for _ in 0..400 {
        channel.put(&[7; 1000]).unwrap();
    }
    channel.close().unwrap();
    let names = |dir: &Path| -> Vec<String> {
        let names = fs::read_dir(dir)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.starts_with("seg-") || name.starts_with("spare-")).collect()
    };
    let before = names(&one).len();
    let channel = Channel::open(&home, options(&[&one, &two])).unwrap();
    take_all(&channel);
    for _ in 0..3 {
        channel.put(b"event").unwrap();
        channel.checkpoint().unwrap();
    }
    assert!(names(&one).len() < before, "{:?}", names(&one));
    assert!(names(&two).len() <= 3, "its own segment and spares: {:?}", names(&two));
    channel.close().unwrap();
    assert_eq!(Channel::open(&home, options(&[&one, &two])).unwrap().stats().events, 3);
}

/// "Release everything" named an LSN beyond the end: records appended later were taken for released.
#[test]
fn what_is_not_written_yet_cannot_be_released() {
    let dir = tempfile::tempdir().unwrap();
    let wal = Wal::open(dir.path(), wal_options(), nothing).unwrap();
    wal.append(1, b"old").unwrap();
    wal.release_before(Lsn::new(u64::MAX)).unwrap();
    for record in [b"three", b"fours"] {
        assert!(wal.append(1, record).unwrap().durable);
    }
    wal.close().unwrap();
    for _ in 0..3 {
        let mut replayed = Vec::new();
        let wal = Wal::open(dir.path(), wal_options(), |_, _, body| {
            replayed.push(body.to_vec());
            Ok(())
        });
        wal.unwrap().close().unwrap();
        assert!(replayed.ends_with(&[b"three".to_vec(), b"fours".to_vec()]), "{replayed:?}");
    }
}

/// Under `Interval` the segments were removed, durably, on the word of a release that was only written. A power cut took that back.
#[test]
fn a_release_is_durable_before_what_it_releases_goes() {
    for seed in 0..20 {
        let world = SimVfs::new(seed);
        let durability = Durability::Interval { sync_interval_ms: 1000 };
        let options = WalOptions { durability, ..wal_options() };
        let open =
            || Wal::open_on(Arc::new(world.clone()), Path::new("/wal"), options.clone(), nothing);
        let wal = open().unwrap();
        let last = (0..200).map(|_| wal.append(1, &[7; 1000]).unwrap().lsn).max().unwrap();
        wal.release_before(last).unwrap();
        world.power_cut();
        drop(wal);
        world.power_cut();
        open().unwrap();
    }
}

/// The lock file was removed as a stale one: a second process opened the channel, and what the first one acknowledged was void.
#[test]
fn a_lock_file_that_is_removed_lets_nobody_in() {
    let dir = tempfile::tempdir().unwrap();
    let channel = Channel::open(dir.path(), options(&[])).unwrap();
    channel.put(b"before").unwrap();
    fs::remove_file(dir.path().join("in_use.lock")).unwrap();
    assert!(Channel::open(dir.path(), options(&[])).is_err());
    channel.put(b"acknowledged").unwrap();
    drop(channel);
    assert_eq!(Channel::open(dir.path(), options(&[])).unwrap().stats().events, 2);
}

/// An open was refused, and had made a segment before it knew.
#[test]
fn a_refused_open_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let wal = Wal::open(dir.path(), wal_options(), nothing).unwrap();
    for _ in 0..200 {
        wal.append(1, &[7; 1000]).unwrap();
    }
    wal.close().unwrap();
    fs::remove_file(dir.path().join("seg-1")).unwrap();
    let listing = || {
        let entries = fs::read_dir(dir.path()).unwrap().map(Result::unwrap);
        let mut entries: Vec<_> =
            entries.map(|entry| (entry.file_name(), entry.metadata().unwrap().len())).collect();
        entries.sort();
        entries
    };
    let before = listing();
    let error = Wal::open(dir.path(), wal_options(), nothing).unwrap_err();
    assert!(error.to_string().contains("@J"), "{error}");
    assert_eq!(listing(), before);
}

/// A checkpoint that could not be read at all refused the open, though an older one and the log itself served.
#[test]
fn a_checkpoint_that_cannot_be_read_is_passed_over() {
    let dir = tempfile::tempdir().unwrap();
    let channel = Channel::open(dir.path(), options(&[])).unwrap();
    channel.put(b"event").unwrap();
    channel.close().unwrap();
    let entries = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().path());
    let newest =
        entries.filter(|path| path.to_string_lossy().contains("checkpoint-")).max().unwrap();
    fs::remove_file(&newest).unwrap();
    fs::create_dir(&newest).unwrap();
    let channel = Channel::open(dir.path(), options(&[])).unwrap();
    assert_eq!(channel.stats().events, 1);
    assert_eq!(channel.recovery().images_passed_over.len(), 1);
}

/// A checkpoint that is sound by its checksum counted further than any log, and the reader's own numbers overflowed; so did a mere name.
#[test]
fn numbers_that_no_log_reaches_are_not_believed() {
    let dir = tempfile::tempdir().unwrap();
    let channel = Channel::open(dir.path(), options(&[])).unwrap();
    channel.put(b"event").unwrap();
    channel.close().unwrap();
    let whole = fs::read(dir.path().join("checkpoint-2")).unwrap();
    let with = |field: usize, number: u64| {
        let mut bytes = whole.clone();
        bytes[field..field + 8].copy_from_slice(&number.to_le_bytes());
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&bytes[..28]);
        hasher.update(&bytes[32..]);
        bytes[28..32].copy_from_slice(&hasher.finalize().to_le_bytes());
        fs::write(dir.path().join("checkpoint-2"), bytes).unwrap();
    };
    // LSN, next event, segment, offset; next event and head of the queue.
    for field in [32, 40, 48, 56, 64, 72] {
        for number in [1 << 63, u64::MAX - 1, u64::MAX] {
            with(field, number);
            for name in ["seg", "spare", "checkpoint"] {
                fs::write(dir.path().join(format!("{name}-{number}")), b"").unwrap();
            }
            assert_eq!(Inspector::open(dir.path()).unwrap().state().unwrap().owed, 1);
        }
    }
    // A hint that leads nowhere: the frame of the oldest event.
    with(88, u64::MAX);
    let channel = Channel::open(dir.path(), options(&[])).unwrap();
    assert_eq!(channel.begin_take(TakeLimit::events(2)).unwrap().records().len(), 1);
}

/// A copy of a segment under a number far above, its checksums made right: `verify` counted from one number to the other, one by one. Found
/// by fuzzing whole directories.
#[test]
fn segments_with_numbers_far_apart_are_verified_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let channel = Channel::open(dir.path(), options(&[])).unwrap();
    channel.put(b"event").unwrap();
    drop(channel);
    let far = (1_u64 << 62) + 1;
    let mut bytes = fs::read(dir.path().join("seg-1")).unwrap();
    bytes[16..24].copy_from_slice(&far.to_le_bytes());
    let crc = crc32fast::hash(&bytes[..60]);
    bytes[60..64].copy_from_slice(&crc.to_le_bytes());
    fs::write(dir.path().join(format!("seg-{far}")), bytes).unwrap();
    let inspector = Inspector::open(dir.path()).unwrap();
    let found = inspector.verify(Verify::default(), |_| {}).unwrap();
    assert!(found.findings.iter().any(|finding| finding.severity > Severity::Info));
}

/// The image of a queue that names a mark twice was taken for one, with the second value. Found by fuzzing checkpoints.
#[test]
fn an_image_that_names_a_mark_twice_is_none() {
    let dir = tempfile::tempdir().unwrap();
    let channel = Channel::open(dir.path(), options(&[])).unwrap();
    let mut put = channel.begin_put();
    put.set_mark(b"a", b"1").unwrap();
    put.set_mark(b"b", b"2").unwrap();
    put.commit().unwrap();
    channel.close().unwrap();
    let path = dir.path().join("checkpoint-2");
    let mut bytes = fs::read(&path).unwrap();
    let key = bytes.len() - 6;
    assert_eq!(bytes[key], b'b');
    bytes[key] = b'a';
    let mut crc = crc32fast::Hasher::new();
    crc.update(&bytes[..28]);
    crc.update(&bytes[32..]);
    bytes[28..32].copy_from_slice(&crc.finalize().to_le_bytes());
    fs::write(&path, bytes).unwrap();
    // Another image serves, and the frames behind it say the same.
    let channel = Channel::open(dir.path(), options(&[])).unwrap();
    assert_eq!(channel.mark(b"a").as_deref(), Some(&b"1"[..]));
    assert_eq!(channel.mark(b"b").as_deref(), Some(&b"2"[..]));
}

/// Polls a `ready()` between the moment when a take is applied and the moment when its lease ends.
struct Between {
    ready: Mutex<Option<Pin<Box<dyn Future<Output = ()> + Send>>>>,
    woken: Arc<Flag>,
    pending: AtomicBool,
}

struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, SeqCst);
    }
}

impl Wake for Between {
    fn wake(self: Arc<Self>) {
        let waker = Waker::from(Arc::clone(&self.woken));
        if let Some(ready) = self.ready.lock().unwrap().as_mut() {
            let is_pending = ready.as_mut().poll(&mut Context::from_waker(&waker)).is_pending();
            self.pending.store(is_pending, SeqCst);
        }
    }
}

/// Who looked for events while a take was being applied saw fewer than there were, and nobody told it afterwards.
#[test]
fn ready_does_not_sleep_on_events_while_a_take_is_applied() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { capacity_events: 10, transaction_events_max: 10, ..options(&[]) };
    let channel = Channel::open(dir.path(), options).unwrap();
    for _ in 0..10 {
        channel.put(b"event").unwrap();
    }
    let take = channel.begin_take(TakeLimit::events(5)).unwrap();
    let other = channel.clone();
    let between = Arc::new(Between {
        ready: Mutex::new(Some(Box::pin(async move { other.ready().await }))),
        woken: Arc::new(Flag(AtomicBool::new(false))),
        pending: AtomicBool::new(false),
    });
    // Room comes back when the take is applied: that wakes `between` in the middle of it.
    let mut room = Box::pin(channel.reserve(1));
    let waker = Waker::from(Arc::clone(&between));
    assert!(room.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    take.commit().unwrap();
    assert!(!between.pending.load(SeqCst) || between.woken.0.load(SeqCst), "five events wait");
}

/// The closure that writes an event panicked, and half an event stayed in the transaction.
#[test]
fn half_an_event_does_not_stay() {
    let dir = tempfile::tempdir().unwrap();
    let channel = Channel::open(dir.path(), options(&[])).unwrap();
    let mut put = channel.begin_put();
    put.push(b"a").unwrap();
    let unwound = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        put.push_with(|buffer| {
            buffer.extend_from_slice(b"half");
            panic!("on purpose");
        })
    }));
    assert!(unwound.is_err());
    put.push(b"b").unwrap();
    put.commit().unwrap();
    let take = channel.begin_take(TakeLimit::events(9)).unwrap();
    let bodies: Vec<&[u8]> = take.records().iter().map(|record| record.payload.as_ref()).collect();
    assert_eq!(bodies, [b"a", b"b"]);
}

/// Each transaction kept below the limit of the marks, and all of them together did not.
#[test]
fn marks_of_several_transactions_stay_small_together() {
    let dir = tempfile::tempdir().unwrap();
    let channel = Channel::open(dir.path(), options(&[])).unwrap();
    let value = vec![7; 700 << 10];
    let mut open: Vec<_> = (0..3).map(|_| channel.begin_put()).collect();
    for (put, key) in open.iter_mut().zip(0u8..) {
        put.set_mark(&[key], &value).unwrap();
    }
    let committed = open.into_iter().filter_map(|put| put.commit().ok()).count();
    assert_eq!(committed, 1);
    assert_eq!(channel.marks().len(), 1);
}

/// The same with commits that wait for one another: none of them saw what the others would add. A thousand such would have made images
/// that no open reads.
#[test]
fn marks_of_commits_that_wait_together_stay_small_together() {
    let world = Arc::new(SimVfs::new(5));
    let open = || Channel::open_on(world.clone(), Path::new("/marks"), options(&[])).unwrap();
    let channel = open();
    let submit = |key: u8| {
        let mut put = channel.begin_put();
        put.set_mark(&[key], &vec![7; 700 << 10]).unwrap();
        let room = now(channel.reserve(0)).unwrap();
        put.submit(room)
    };
    let tickets: Vec<_> = (0..3).map(submit).collect();
    while channel.lead_once() {}
    let mut answers = tickets.into_iter();
    now(answers.next().unwrap().unwrap()).unwrap();
    for refused in answers {
        assert!(
            matches!(refused, Err(CommitError::NotCommitted(error)) if error.kind() == &ErrorKind::TooLarge)
        );
    }
    assert_eq!(channel.marks().len(), 1);
    // What was under way is not any more: its room is there again.
    let mut put = channel.begin_put();
    put.set_mark(&[0], b"").unwrap();
    put.commit().unwrap();
    let last = submit(9).unwrap();
    while channel.lead_once() {}
    now(last).unwrap();
    drop(channel);
    world.kill();
    assert_eq!(open().marks().len(), 1);
}

/// Somebody had made a directory of a checkpoint's name, with something in it. It could not be removed, and each checkpoint was an error
/// for ever, after it was made.
#[test]
fn a_directory_named_as_a_checkpoint_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    Channel::open(dir.path(), options(&[])).unwrap().close().unwrap();
    let theirs = dir.path().join("checkpoint-7");
    fs::create_dir_all(&theirs).unwrap();
    fs::write(theirs.join("note"), b"keep me").unwrap();
    for _ in 0..3 {
        let channel = Channel::open(dir.path(), options(&[])).unwrap();
        for _ in 0..4 {
            channel.put(b"event").unwrap();
            channel.checkpoint().unwrap();
        }
        channel.close().unwrap();
    }
    assert_eq!(fs::read(theirs.join("note")).unwrap(), b"keep me");
    let names = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name());
    let checkpoints =
        names.filter(|name| name.to_string_lossy().starts_with("checkpoint-")).count();
    assert_eq!(checkpoints, 3, "theirs, and two of ours");
    assert_eq!(Channel::open(dir.path(), options(&[])).unwrap().stats().events, 12);
}

/// Under `Interval` the sync before a rotation failed for want of space, was taken for a segment that could not be made, and was tried
/// again, with success: the kernel had forgotten what it lost.
#[test]
fn a_failed_sync_before_a_rotation_is_final() {
    const ENOSPC: i32 = 28;
    let dir = tempfile::tempdir().unwrap();
    let vfs = GateVfs::default();
    let gate = vfs.gate.clone();
    let durability = Durability::Interval { sync_interval_ms: 600_000 };
    let options = Options { durability, ..options(&[]) };
    let channel = Channel::open_on(Arc::new(vfs), dir.path(), options).unwrap();
    channel.put(&[7; 1000]).unwrap();
    gate.fail_one_sync(ENOSPC);
    let failed = (0..100).find_map(|_| channel.put(&[7; 1000]).err()).unwrap();
    assert!(matches!(failed, CommitError::Unknown(_)), "{failed}");
    assert!(channel.poisoned().is_some());
    assert!(channel.put(b"later").is_err());
}

/// The newest checkpoint was damaged, and what it alone vouched for was a take that had freed a segment. The older checkpoint still owed
/// its events, and the open was refused because that segment was gone; the take, sound and at hand, came only afterwards.
#[test]
fn a_damaged_checkpoint_is_no_loss_where_the_last_take_freed_a_segment() {
    let dir = tempfile::tempdir().unwrap();
    let channel = Channel::open(dir.path(), options(&[])).unwrap();
    for _ in 0..200 {
        channel.put(&[7; 1000]).unwrap();
    }
    channel.checkpoint().unwrap();
    channel.begin_take(TakeLimit::events(150)).unwrap().commit().unwrap();
    channel.checkpoint().unwrap();
    assert!(!dir.path().join("seg-1").exists(), "its events are taken");
    drop(channel);
    let entries = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().path());
    let newest =
        entries.filter(|path| path.to_string_lossy().contains("checkpoint-")).max().unwrap();
    fs::write(&newest, b"damaged").unwrap();
    let channel = Channel::open(dir.path(), options(&[])).unwrap();
    assert_eq!(channel.recovery().images_passed_over.len(), 1);
    assert_eq!(channel.stats().events, 50);
}

/// A channel's directory was opened as a bare log, which took the image of the queue for its own; and the other way round a bare log
/// looked like an empty channel, whose checkpoints gave its segments back.
#[test]
fn a_channel_is_no_bare_log_and_a_bare_log_is_no_channel() {
    let root = tempfile::tempdir().unwrap();
    let [one, two] = ["channel", "log"].map(|name| root.path().join(name));
    let channel = Channel::open(&one, options(&[])).unwrap();
    for _ in 0..300 {
        channel.put(&[7; 1000]).unwrap();
    }
    channel.close().unwrap();
    let error = Wal::open(&one, wal_options(), nothing).map(drop).unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::NotAChannel, "{error}");
    assert_eq!(Channel::open(&one, options(&[])).unwrap().stats().events, 300);

    let wal = Wal::open(&two, wal_options(), nothing).unwrap();
    for _ in 0..300 {
        wal.append(7, &[7; 1000]).unwrap();
    }
    wal.close().unwrap();
    let error = Channel::open(&two, options(&[])).map(drop).unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::NotAChannel, "{error}");
    let mut records = 0;
    let wal = Wal::open(&two, wal_options(), |_, _, _| {
        records += 1;
        Ok(())
    });
    wal.unwrap();
    assert_eq!(records, 300);
}

/// A commit in a destructor of a thread that unwinds for reasons of its own was taken for a leader that unwinds.
#[test]
fn a_commit_while_the_thread_unwinds_stops_nothing() {
    struct CommitsOnDrop(Channel);
    impl Drop for CommitsOnDrop {
        fn drop(&mut self) {
            // What they answer is seen below: a panic here would end the process.
            drop(self.0.put(b"last words"));
            drop(self.0.checkpoint());
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let channel = Channel::open(dir.path(), options(&[])).unwrap();
    let last = CommitsOnDrop(channel.clone());
    let unwound = std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || {
        let _last = last;
        panic!("on purpose");
    }));
    assert!(unwound.is_err());
    assert_eq!(channel.poisoned().map(|error| error.to_string()), None);
    channel.put(b"after").unwrap();
    assert_eq!(channel.stats().events, 2);
}

/// "Wait for ever" was more than the clock can count, and panicked.
#[test]
fn a_wait_may_be_as_long_as_a_duration_can_be() {
    let dir = tempfile::tempdir().unwrap();
    let channel = Channel::open(dir.path(), options(&[])).unwrap();
    channel.put(b"event").unwrap();
    let take = channel.take_timeout(TakeLimit::events(1), std::time::Duration::MAX).unwrap();
    assert_eq!(take.records().len(), 1);
}

/// A take was the last frame of the log, and only the newest checkpoint vouched for it; by that checkpoint the segment of its events was
/// given back. When the checkpoint was damaged, the older one was loaded, in which these events are owed: the open was refused, though
/// the take that freed them lay in the log.
#[test]
fn a_damaged_checkpoint_is_passed_over_where_it_alone_vouched_for_a_take() {
    let world = SimVfs::new(1);
    let open = || Channel::open_on(Arc::new(world.clone()), Path::new("/disk"), options(&[]));
    let channel = open().unwrap();
    channel.put(b"one").unwrap();
    channel.close().unwrap();
    let channel = open().unwrap();
    take_all(&channel);
    channel.checkpoint().unwrap();
    drop(channel);
    let is_checkpoint = |path: &PathBuf| path.to_string_lossy().contains("checkpoint-");
    let newest = world.paths().into_iter().filter(is_checkpoint).max().unwrap();
    world.flip(&newest, 300);
    let channel = open().unwrap();
    assert_eq!(channel.stats().events, 0);
    assert_eq!(channel.recovery().images_passed_over.len(), 1);
}

/// The home held segments, and another directory, which held none, had joined. When the disk of the home was not mounted, what was left
/// looked like a log whose making had been interrupted: a new one was made.
#[test]
fn a_home_that_is_not_mounted_is_no_new_log() {
    let world = SimVfs::new(1);
    let (home, joined) = (PathBuf::from("/disk/home"), PathBuf::from("/disk/joined"));
    let open = |data: &[&PathBuf]| Channel::open_on(Arc::new(world.clone()), &home, options(data));
    open(&[&home]).unwrap().put(b"event").unwrap();
    drop(open(&[&home, &joined]).unwrap());
    let gone = world.unmount(&home);
    assert!(open(&[&home, &joined]).is_err());
    world.mount(&gone);
    assert_eq!(open(&[&home, &joined]).unwrap().stats().events, 1);
}

/// A put took the first who waited out of the queue and told it a moment later. If that one gave up in between, it left without a word to
/// pass on, and the put's went nowhere: the next taker slept beside an event. Loom shows it each time (`engine/src/sync/interleavings.rs`);
/// the window is a few instructions, so that this, the race as it would come, would show it once in a long while.
#[test]
fn a_wake_up_is_not_lost_to_one_who_is_just_giving_up() {
    let world = SimVfs::new(1);
    let channel = Channel::open_on(Arc::new(world), Path::new("/disk"), options(&[])).unwrap();
    let end = AtomicBool::new(false);
    std::thread::scope(|threads| {
        threads.spawn(|| {
            while !end.load(SeqCst) {
                let mut gives_up = std::pin::pin!(channel.ready());
                if gives_up.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready() {
                    // The word is this one's now. A take that is rolled back passes it on.
                    drop(channel.begin_take(TakeLimit::events(1)));
                }
            }
        });
        for _ in 0..3_000 {
            let waits = threads.spawn(|| common::block_on(channel.ready()));
            channel.put(b"event").unwrap();
            let woken = waits.join().unwrap();
            if woken.is_none() {
                end.store(true, SeqCst);
            }
            woken.expect("a wake-up was lost");
            take_all(&channel);
        }
        end.store(true, SeqCst);
    });
}

/// Somebody's file had the name of the highest segment that there can be. The open made the next one behind it, under a name that no open
/// reads: the channel lost its log.
#[test]
fn a_file_with_the_highest_number_of_all_refuses_the_open() {
    let root = tempfile::tempdir().unwrap();
    let open = || Channel::open(root.path(), Options::default());
    open().unwrap().put(b"event").unwrap();
    let stranger = root.path().join(format!("seg-{}", (1u64 << 63) - 1));
    fs::write(&stranger, b"no segment").unwrap();
    let refused = open().unwrap_err();
    assert_eq!((refused.kind(), refused.file()), (&ErrorKind::Corrupt, Some(stranger.as_path())));
    fs::remove_file(&stranger).unwrap();
    assert_eq!(open().unwrap().stats().events, 1);
}
