//! The behaviours that the tests of Apache Flume's file channel hold it to, under the numbers of the conformance list T1 to T124.
//!
//! Flume spells one behaviour as several tests where its format has several ways to break; here a line is one test, or shares one. What
//! has no place in our format:
//!
//! | lines | what they hold | why not here |
//! |---|---|---|
//! | T6 | a header without a value reads as an empty string | our headers have no missing value; `event.rs` holds the codec |
//! | T20, T21-T23 "v1 / v2", T34 | which replay is used | there is one replay, which is also what runs live |
//! | T24 "with backup", T38, T40-T42, T55 | the backup checkpoint and its compression | two generations of a file below 1 KiB serve |
//! | T31, T32 | `inflightputs`, `inflighttakes` | an open transaction leaves nothing on disk |
//! | T46-T48, T56, T58-T108 | Flume's bytes and classes | other bytes; `golden.rs` and the unit tests of `format` hold ours |
//! | T51 | a damaged event is skipped when syncs are relaxed | how often we sync changes nothing about damage |
//! | T57 | rebuilding a checkpoint by a tool | every open does it: see T23 |
//! | T49, T52, T53 | counters of the agent's channel | the agent's; `ChannelStats` is held to in `model.rs` |
//! | T109, T124 | an agent from end to end | the agent's tests |
//! | T110-T121 | encryption | there is none yet |
//! | T122, T123 | the integrity tool | the inspector's tests |
#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]
#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "these tests lay hands on the files of a closed channel"
)]

mod common;

use common::{drain, drain_by, eventually, now, payloads, put_all, put_of, texts};
use fchannel::{
    Channel, CommitError, ErrorKind, ImageSource, OnDamage, Options, PutError, TakeLimit,
};
use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

/// Home and three data directories, as Flume's tests have.
struct Fixture {
    root: tempfile::TempDir,
    options: Options,
}

impl Fixture {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let data_dirs = (1..=3).map(|number| root.path().join(format!("data{number}"))).collect();
        let options = Options {
            data_dirs,
            capacity_events: 10_000,
            keep_alive_ms: 50,
            segment_bytes_max: 64 << 10,
            free_space_min_bytes: 0,
            // None by time: a test that wants one makes it.
            checkpoint_interval_ms: 3_600_000,
            ..Options::default()
        };
        Self { root, options }
    }

    fn small(capacity_events: u64) -> Self {
        let mut fixture = Self::new();
        fixture.options.capacity_events = capacity_events;
        fixture.options.transaction_events_max =
            u32::try_from(capacity_events).unwrap().min(10_000);
        fixture
    }

    fn home(&self) -> PathBuf {
        self.root.path().join("home")
    }

    fn try_open(&self) -> fchannel::Result<Channel> {
        Channel::open(self.home(), self.options.clone())
    }

    fn open(&self) -> Channel {
        self.try_open().unwrap()
    }

    /// Closes and opens again.
    fn restart(&self, channel: Channel) -> Channel {
        channel.close().unwrap();
        self.open()
    }

    fn files(&self, kind: &str) -> Vec<PathBuf> {
        let dirs = self.options.data_dirs.iter().cloned().chain([self.home()]);
        let mut files: Vec<PathBuf> = dirs
            .filter_map(|dir| fs::read_dir(dir).ok())
            .flat_map(|entries| entries.map(|entry| entry.unwrap().path()))
            .filter(|path| name(path).starts_with(kind))
            .collect();
        files.sort_by_key(|path| {
            name(path).rsplit('-').next().and_then(|number| number.parse::<u64>().ok())
        });
        files
    }

    fn checkpoints(&self) -> Vec<PathBuf> {
        self.files("checkpoint-")
    }
}

fn name(path: &Path) -> String {
    path.file_name().unwrap().to_string_lossy().into_owned()
}

fn sorted(mut events: Vec<String>) -> Vec<String> {
    events.sort();
    events
}

fn take(channel: &Channel, events: u32) -> fchannel::TakeTransaction {
    channel.begin_take(TakeLimit::events(events)).unwrap()
}

/// Puts until there is no room, in transactions of `at_once`.
fn fill(channel: &Channel, prefix: &str, at_once: usize) -> Vec<String> {
    let mut all = Vec::new();
    loop {
        let events: Vec<String> =
            (0..at_once).map(|number| format!("{prefix}{}", all.len() + number)).collect();
        match put_of(channel, &events).commit() {
            Ok(_) => all.extend(events),
            Err(PutError::Full(put)) if put.len() > 1 && at_once > 1 => {
                drop(put);
                all.extend(fill(channel, &format!("{prefix}one-"), 1));
                return all;
            }
            Err(PutError::Full(_)) => return all,
            Err(error) => panic!("{error}"),
        }
    }
}

// TestFileChannel

/// Flume puts a default in the place of a value that makes no sense; we refuse it, and name it.
#[test]
fn t01_values_that_make_no_sense_are_refused_by_name() {
    let fixture = Fixture::new();
    type Set = fn(&mut Options);
    let wrong: [(&str, Set); 3] = [
        ("capacity_events", |options| options.capacity_events = 0),
        ("transaction_events_max", |options| options.transaction_events_max = 0),
        ("checkpoint_interval_ms", |options| options.checkpoint_interval_ms = 0),
    ];
    for (option, set) in wrong {
        let mut options = fixture.options.clone();
        set(&mut options);
        let error = Channel::open(fixture.home(), options).unwrap_err();
        assert_eq!(error.kind(), &ErrorKind::InvalidOptions);
        assert!(error.to_string().contains(option), "{error}");
    }
    assert!(!fixture.home().exists(), "nothing was made");
}

#[test]
fn t02_takes_open_at_the_end_are_all_back() {
    let fixture = Fixture::new();
    let channel = fixture.open();
    put_all(&channel, &texts("e", 5));
    let two = take(&channel, 2);
    let three = thread::scope(|scope| scope.spawn(|| take(&channel, 3)).join().unwrap());
    assert_eq!((two.records().len(), three.records().len()), (2, 3));
    channel.checkpoint().unwrap();
    channel.close().unwrap();
    drop((two, three));
    assert_eq!(drain(&fixture.open()), texts("e", 5));
}

/// Flume only demands that the takes run without an error; here all events are there, each transaction in one piece.
#[test]
fn t03_puts_open_across_a_checkpoint_are_whole() {
    let fixture = Fixture::new();
    let channel = fixture.open();
    let (first, second) = (put_of(&channel, &texts("a", 3)), put_of(&channel, &texts("b", 3)));
    channel.checkpoint().unwrap();
    thread::scope(|scope| {
        scope.spawn(|| first.commit().unwrap());
        scope.spawn(|| second.commit().unwrap());
    });
    let back = drain(&fixture.restart(channel));
    let (a, b) = (texts("a", 3), texts("b", 3));
    assert!(back == [a.clone(), b.clone()].concat() || back == [b, a].concat(), "{back:?}");
}

/// Flume ignores a new capacity until the next start; ours changes at once.
#[test]
fn t04_filled_then_reconfigured_then_emptied() {
    let fixture = Fixture::small(50);
    let channel = fixture.open();
    let mut events = fill(&channel, "e", 7);
    assert_eq!(events.len(), 50);
    let refused = put_of(&channel, &["x"]).commit().unwrap_err();
    assert!(refused.to_string().contains("50 of 50 are used"), "{refused}");
    channel.set_capacity(60);
    events.extend(fill(&channel, "more", 7));
    assert_eq!(events.len(), 60);
    channel.set_capacity(5);
    assert!(matches!(put_of(&channel, &["x"]).commit(), Err(PutError::Full(_))));
    assert_eq!(drain_by(&channel, 7), events);
}

#[test]
fn t05_an_empty_channel_gives_nothing_and_a_full_one_all() {
    let fixture = Fixture::new();
    let channel = fixture.open();
    assert!(take(&channel, 1).records().is_empty());
    for event in texts("single", 5) {
        put_all(&channel, &[event]);
    }
    put_all(&channel, &texts("together", 5));
    assert_eq!(drain(&channel), [texts("single", 5), texts("together", 5)].concat());
}

#[test]
fn t07_a_commit_of_nothing_leaves_nothing() {
    let fixture = Fixture::new();
    let channel = fixture.open();
    let groups = channel.stats().log.groups;
    channel.begin_put().commit().unwrap();
    take(&channel, 1).commit().unwrap();
    assert_eq!(channel.stats().log.groups, groups, "nothing was written");
    assert!(take(&fixture.restart(channel), 1).records().is_empty());
}

#[test]
fn t08_full_rollback_then_take_exactly_five() {
    let fixture = Fixture::small(5);
    let channel = fixture.open();
    assert_eq!(fill(&channel, "e", 1).len(), 5);
    drop(take(&channel, 1));
    assert!(
        matches!(put_of(&channel, &["x"]).commit(), Err(PutError::Full(_))),
        "a rollback gives no room"
    );
    assert_eq!(drain(&channel), texts("e", 5));
}

/// FLUME-1432: a put that waited for room had a lower id than the take that made it, and the replay took them in the wrong order.
#[test]
fn t09_a_put_that_waited_for_a_take_is_replayed_behind_it() {
    let mut fixture = Fixture::small(1);
    fixture.options.keep_alive_ms = 30_000;
    let channel = fixture.open();
    put_all(&channel, &["first"]);
    thread::scope(|scope| {
        let waiting = put_of(&channel, &["second"]);
        let committing = scope.spawn(move || waiting.commit().unwrap());
        take(&channel, 1).commit().unwrap();
        committing.join().unwrap();
    });
    assert_eq!(drain(&fixture.restart(channel)), ["second"]);
}

#[test]
fn t10_ten_producers_and_ten_consumers() {
    let fixture = Fixture::small(100);
    let mut options = fixture.options.clone();
    options.keep_alive_ms = 30_000;
    let channel = Channel::open(fixture.home(), options).unwrap();
    let (out, expected) = (Mutex::new(Vec::new()), 10 * 50);
    thread::scope(|scope| {
        for producer in 0..10 {
            let channel = &channel;
            scope.spawn(move || {
                (0..50).for_each(|number| put_all(channel, &[format!("{producer}-{number}")]))
            });
        }
        for _ in 0..10 {
            scope.spawn(|| {
                while out.lock().unwrap().len() < expected {
                    let take = channel
                        .take_timeout(TakeLimit::events(3), Duration::from_millis(10))
                        .unwrap();
                    let events = payloads(take.records());
                    take.commit().unwrap();
                    out.lock().unwrap().extend(events);
                }
            });
        }
    });
    let all: Vec<String> =
        (0..10).flat_map(|producer| texts(&format!("{producer}-"), 50)).collect();
    assert_eq!(sorted(out.into_inner().unwrap()), sorted(all));
}

#[test]
fn t11_a_second_channel_on_the_same_directories_does_not_open() {
    let fixture = Fixture::new();
    let channel = fixture.open();
    put_all(&channel, &["e"]);
    let error = fixture.try_open().unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Locked { pid: Some(_) }), "{error}");
    // One data directory in common is enough.
    let options = Options {
        data_dirs: vec![fixture.options.data_dirs[1].clone()],
        ..fixture.options.clone()
    };
    let error = Channel::open(fixture.root.path().join("another home"), options).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Locked { .. }), "{error}");
    assert_eq!(drain(&channel), ["e"], "the first one does not notice");
}

#[test]
fn t12_a_take_committed_behind_a_checkpoint_is_final() {
    let fixture = Fixture::new();
    let channel = fixture.open();
    put_all(&channel, &texts("e", 5));
    let taken = take(&channel, 1);
    channel.checkpoint().unwrap();
    taken.commit().unwrap();
    drop(channel); // without the checkpoint of a close
    assert_eq!(drain(&fixture.open()), texts("e", 5)[1..]);
}

#[test]
fn t13_a_put_committed_behind_a_checkpoint_is_back() {
    let fixture = Fixture::new();
    let channel = fixture.open();
    let put = put_of(&channel, &["e"]);
    channel.checkpoint().unwrap();
    put.commit().unwrap();
    drop(channel);
    assert_eq!(drain(&fixture.open()), ["e"]);
}

#[test]
fn t14_a_put_between_two_checkpoints_is_back() {
    let fixture = Fixture::new();
    let channel = fixture.open();
    let put = put_of(&channel, &["e"]);
    channel.checkpoint().unwrap();
    put.commit().unwrap();
    channel.checkpoint().unwrap();
    assert_eq!(drain(&fixture.restart(channel)), ["e"]);
}

#[test]
fn t15_files_are_not_removed_under_an_open_take() {
    let fixture = Fixture::new();
    let channel = fixture.open();
    let events: Vec<String> = (0..15).map(|number| format!("{number:0>20000}")).collect();
    events.iter().for_each(|event| put_all(&channel, &[event]));
    assert!(fixture.files("seg-").len() >= 5, "about three in a segment");
    let taken = take(&channel, 10);
    (0..3).for_each(|_| channel.checkpoint().map(drop).unwrap());
    drop(taken);
    assert_eq!(drain(&channel), events);
}

/// Flume looks into its files of open transactions; ours leave none, so nothing of them may be left in the numbers.
#[test]
fn t16_rolled_back_transactions_leave_nothing() {
    let fixture = Fixture::new();
    let channel = fixture.open();
    let groups = channel.stats().log.groups;
    drop(put_of(&channel, &texts("e", 100)));
    let stats = channel.stats();
    assert_eq!((stats.events, stats.used, stats.leased, stats.log.groups), (0, 0, 0, groups));
    put_all(&channel, &texts("e", 100));
    drop(take(&channel, 100));
    let stats = channel.stats();
    assert_eq!(
        (stats.events, stats.used, stats.leased, stats.log.groups),
        (100, 100, 0, groups + 1)
    );
}

/// Flume closes its log and every later call fails. Ours goes on: the take names the place, and puts are as good as ever.
#[test]
fn t17_t18_a_damaged_event_is_named_and_events_before_it_are_given() {
    let mut fixture = Fixture::new();
    fixture.options.tail_cache_bytes = 0;
    fixture.options.on_damage = OnDamage::Refuse;
    let channel = fixture.open();
    put_all(&channel, &texts("before", 3));
    put_all(&channel, &["to be damaged"]);
    put_all(&channel, &["behind"]);
    let segment = fixture.files("seg-").pop().unwrap();
    let bytes = fs::read(&segment).unwrap();
    let at = bytes.windows(13).position(|window| window == b"to be damaged").unwrap();
    // One byte, in place: the channel goes on writing behind it.
    let file = fs::File::options().write(true).open(&segment).unwrap();
    file.write_all_at(b"T", at as u64).unwrap();
    let taken = take(&channel, 100);
    assert_eq!(payloads(taken.records()), texts("before", 3), "what is sound comes first");
    taken.commit().unwrap();
    for _ in 0..2 {
        let error = channel.begin_take(TakeLimit::events(1)).unwrap_err();
        assert_eq!(error.kind(), &ErrorKind::Corrupt);
        assert_eq!(error.file(), Some(&*segment));
        assert!(error.offset().is_some());
    }
    put_all(&channel, &["puts go on"]);
    file.write_all_at(b"t", at as u64).unwrap();
    assert_eq!(drain(&channel), ["to be damaged", "behind", "puts go on"]);
}

#[test]
fn t19_calls_on_a_closed_channel_say_so() {
    let fixture = Fixture::new();
    let channel = fixture.open();
    let clone = channel.clone();
    let put = put_of(&channel, &["late"]);
    channel.close().unwrap();
    assert_eq!(clone.begin_take(TakeLimit::events(1)).unwrap_err().kind(), &ErrorKind::Closed);
    assert_eq!(now(clone.reserve(1)).unwrap_err().kind(), &ErrorKind::Closed);
    assert!(
        matches!(put.commit(), Err(PutError::Commit(CommitError::NotCommitted(error))) if error.kind() == &ErrorKind::Closed)
    );
    assert_eq!(clone.close().unwrap_err().kind(), &ErrorKind::Closed);
}

// TestFileChannelRestart

/// A restart in which something was done to the files in between. All events are back, in order.
fn restarts(before: impl Fn(&Fixture, &Channel), damage: impl Fn(&Fixture)) -> Channel {
    let mut fixture = Fixture::new();
    let mut reopened = None;
    for clean in [true, false] {
        fixture = Fixture::new();
        let channel = fixture.open();
        let events = [texts("a", 40), fill_some(&channel)].concat();
        put_all(&channel, &events[..40]);
        before(&fixture, &channel);
        put_all(&channel, &events[40..]);
        drop(take(&channel, 10));
        if clean {
            channel.close().unwrap()
        } else {
            drop(channel)
        }
        damage(&fixture);
        let channel = fixture.open();
        let everything = channel.peek(None, TakeLimit::events(1_000)).unwrap();
        assert_eq!(payloads(&everything), events);
        reopened = Some(channel);
    }
    // The directory goes; what the open found is still to be asked.
    drop(fixture);
    reopened.unwrap()
}

fn fill_some(_channel: &Channel) -> Vec<String> {
    (0..20).map(|number| format!("{number:0>10000}")).collect()
}

fn checkpoint(_: &Fixture, channel: &Channel) {
    channel.checkpoint().unwrap();
}

fn edit(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    change(&mut bytes);
    fs::write(path, bytes).unwrap();
}

fn each_checkpoint(fixture: &Fixture, change: impl Fn(&mut Vec<u8>)) {
    let checkpoints = fixture.checkpoints();
    assert!(!checkpoints.is_empty());
    checkpoints.iter().for_each(|path| edit(path, &change));
}

#[test]
fn t20_a_plain_restart() {
    restarts(|_, _| (), |_| ());
}

#[test]
fn t21_t22_a_checkpoint_that_is_kept_serves() {
    let channel = restarts(checkpoint, |_| ());
    assert!(matches!(channel.recovery().image, ImageSource::Checkpoint(_)));
}

#[test]
fn t23_t26_all_checkpoints_deleted() {
    let channel = restarts(checkpoint, |fixture| {
        for path in fixture.checkpoints() {
            fs::remove_file(path).unwrap();
        }
    });
    assert!(
        matches!(channel.recovery().image, ImageSource::Segment(_)),
        "the image at the head of a segment serves"
    );
}

#[test]
fn t24_t25_the_newest_checkpoint_deleted() {
    restarts(checkpoint, |fixture| fs::remove_file(fixture.checkpoints().pop().unwrap()).unwrap());
    restarts(checkpoint, |fixture| fs::remove_file(fixture.checkpoints().remove(0)).unwrap());
}

#[test]
fn t27_to_t30_t35_t36_fields_of_checkpoints_overwritten() {
    for at in [0, 8, 10, 16, 24, 28, 32, 40, 48, 56, 64, 72, 80] {
        let channel = restarts(checkpoint, |fixture| {
            each_checkpoint(fixture, |bytes| bytes[at] = bytes[at].wrapping_add(2))
        });
        assert!(!channel.recovery().images_passed_over.is_empty(), "byte {at}: it is said");
    }
}

#[test]
fn t33_checkpoints_emptied_or_overwritten() {
    restarts(checkpoint, |fixture| each_checkpoint(fixture, Vec::clear));
    restarts(checkpoint, |fixture| {
        each_checkpoint(fixture, |bytes| {
            bytes[10..18].copy_from_slice(b"\x93\x1f\0\xff\x07\x80\x55\xaa")
        })
    });
    restarts(checkpoint, |fixture| each_checkpoint(fixture, |bytes| bytes.truncate(50)));
    restarts(checkpoint, |fixture| {
        each_checkpoint(fixture, |bytes| bytes.extend_from_slice(b"more"))
    });
}

#[test]
fn t37_half_made_files_are_swept_away() {
    let leftovers = |fixture: &Fixture| {
        for (dir, number) in fixture.options.data_dirs.iter().zip(1000..) {
            fs::write(dir.join(format!("seg-{number}.tmp")), b"").unwrap();
            fs::write(dir.join(format!("spare-{number}.tmp")), b"half").unwrap();
            fs::write(dir.join("lost+found.txt"), b"somebody's").unwrap();
        }
        fs::write(fixture.home().join("checkpoint-9.tmp"), b"FCHANCKP").unwrap();
    };
    let fixture = Fixture::new();
    drop(fixture.open());
    leftovers(&fixture);
    let channel = fixture.open();
    for kind in ["seg-1000", "seg-1001", "seg-1002", "checkpoint-9"] {
        assert_eq!(fixture.files(kind), [] as [PathBuf; 0]);
    }
    assert_eq!(fixture.files("lost+found").len(), 3, "not ours to remove");
    drop(channel);
    restarts(checkpoint, leftovers);
}

/// A file below both checkpoints goes when no event in it is owed; one above the older of them stays.
#[test]
fn t39_segments_stay_while_either_checkpoint_needs_them() {
    let fixture = Fixture::new();
    let channel = fixture.open();
    let large = vec!["x".repeat(30_000)];
    channel.checkpoint().unwrap();
    for _ in 0..8 {
        put_all(&channel, &large);
        take(&channel, 1).commit().unwrap();
    }
    let at_first: BTreeSet<PathBuf> = fixture.files("seg-").into_iter().collect();
    channel.checkpoint().unwrap();
    let at_second: BTreeSet<PathBuf> = fixture.files("seg-").into_iter().collect();
    assert_eq!(at_first, at_second, "the older checkpoint lies before all of them");
    put_all(&channel, &large);
    channel.checkpoint().unwrap();
    let at_third: BTreeSet<PathBuf> = fixture.files("seg-").into_iter().collect();
    assert!(at_third.len() < at_second.len(), "{at_third:?}");
    assert!(fixture.checkpoints().len() <= 2);
    drop(channel);
    assert_eq!(drain(&fixture.open()), large);
}

// TestFileChannelRollback

#[test]
fn t43_a_rollback_of_nothing_leaves_nothing() {
    let fixture = Fixture::new();
    let channel = fixture.open();
    drop(channel.begin_put());
    drop(take(&channel, 1));
    assert!(take(&fixture.restart(channel), 1).records().is_empty());
}

#[test]
fn t44_a_put_that_was_rolled_back_does_not_come_back() {
    let fixture = Fixture::new();
    let channel = fixture.open();
    texts("e", 50).iter().for_each(|event| put_all(&channel, &[event]));
    drop(put_of(&channel, &["rolled back"]));
    assert_eq!(drain(&fixture.restart(channel)), texts("e", 50));
}

#[test]
fn t45_what_is_left_is_the_last_one() {
    let fixture = Fixture::new();
    let channel = fixture.open();
    put_all(&channel, &texts("e", 99));
    let taken = take(&channel, 99);
    drop(put_of(&channel, &["rolled back"]));
    put_all(&channel, &["the last"]);
    taken.commit().unwrap();
    assert_eq!(drain(&fixture.restart(channel)), ["the last"]);
}

// TestFileChannelErrorMetrics, and others

/// Flume's puts fail then, and so do ours at the next segment. On Linux an open file outlives its name, so what is acknowledged until
/// then is written, if to nobody's use: a channel whose directories are deleted under it cannot know.
#[test]
fn t50_directories_that_are_gone_stop_the_log() {
    let fixture = Fixture::new();
    let channel = fixture.open();
    put_all(&channel, &["e"]);
    for dir in &fixture.options.data_dirs {
        // The background thread may just be making the reserve in it.
        eventually("the directory is gone", || {
            drop(fs::remove_dir_all(dir));
            !dir.exists()
        });
    }
    let large = vec!["x".repeat(30_000); 1];
    eventually("the log stops", || put_of(&channel, &large).commit().is_err());
    let poison = channel.poisoned().unwrap();
    assert!(poison.to_string().contains("seg-"), "{poison}");
    assert_eq!(channel.begin_take(TakeLimit::events(1)).unwrap_err().kind(), &ErrorKind::Poisoned);
    assert!(channel.close().is_err());
    let error = fixture.try_open().unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::NotAChannel, "an empty disk is no empty log: {error}");
}

#[test]
fn t54_a_segment_full_of_garbage_refuses_the_open() {
    let mut fixture = Fixture::new();
    fixture.options.on_damage = OnDamage::Refuse;
    let channel = fixture.open();
    put_all(&channel, &["e"]);
    channel.close().unwrap();
    let segment = fixture.files("seg-").pop().unwrap();
    fs::write(
        &segment,
        "this is no segment, whatever its name says, and long enough to hold a header",
    )
    .unwrap();
    let error = fixture.try_open().unwrap_err();
    assert_eq!((error.kind(), error.file()), (&ErrorKind::Corrupt, Some(&*segment)));
    let again = fixture.try_open().unwrap_err();
    assert_eq!(
        again.to_string(),
        error.to_string(),
        "the refusal leaves neither a lock nor a change"
    );
}

/// A checkpoint that somebody deleted under a running channel must not stop the next ones, and with them the removal of segments.
#[test]
fn checkpoints_deleted_under_a_running_channel_are_not_missed() {
    let fixture = Fixture::new();
    let channel = fixture.open();
    for round in 0..4 {
        put_all(&channel, &[format!("{round}")]);
        channel.checkpoint().unwrap();
        for path in fixture.checkpoints() {
            fs::remove_file(path).unwrap();
        }
    }
    put_all(&channel, &["last"]);
    channel.checkpoint().unwrap();
    assert_eq!(fixture.checkpoints().len(), 1);
    assert_eq!(drain(&fixture.restart(channel)), ["0", "1", "2", "3", "last"]);
}

#[test]
fn an_event_is_offered_again_at_its_own_place_and_counted() {
    let fixture = Fixture::new();
    let channel = Arc::new(fixture.open());
    put_all(&channel, &texts("e", 6));
    let (first, second, third) = (take(&channel, 2), take(&channel, 2), take(&channel, 2));
    drop(second);
    drop(first);
    let again = take(&channel, 10);
    assert_eq!(payloads(again.records()), ["e0", "e1", "e2", "e3"]);
    assert!(again.records().iter().all(|record| record.attempts == 2));
    drop(third);
    assert_eq!(payloads(take(&channel, 10).records()), ["e4", "e5"]);
}
