//! The next segment's blocks are written ahead while the present one fills, where that helps, and nothing waits for it.
#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod common;

use common::{drain, eventually, full::FullVfs};
use fchannel::{
    Channel, CommitError, ErrorKind, Options,
    io::{
        StdVfs, Vfs,
        sim::{Fault, SimVfs},
    },
};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

const DIR: &str = "/ahead";
const SEGMENT: u64 = 1 << 20;

fn options() -> Options {
    Options { segment_bytes_max: SEGMENT, free_space_min_bytes: 0, ..Options::default() }
}

fn open(world: &SimVfs) -> Channel {
    let channel = Channel::open_on(Arc::new(world.clone()), Path::new(DIR), options()).unwrap();
    // The reserves.
    channel.tick().unwrap();
    channel
}

fn lens(vfs: &dyn Vfs, dir: &Path, prefix: &str) -> Vec<u64> {
    let names = vfs.list(dir).unwrap();
    let named = names.iter().filter(|name| name.starts_with(prefix));
    // What is named anew meanwhile has no size.
    named.filter_map(|name| vfs.open(&dir.join(name)).ok()?.len().ok()).collect()
}

/// The sizes of what is begun.
fn begun(world: &SimVfs) -> Vec<u64> {
    let paths = world.paths().into_iter().filter(|path| path.extension().is_some());
    paths.map(|path| world.len(&path).unwrap()).collect()
}

fn put(channel: &Channel, bytes: usize) {
    channel.put(&vec![b'x'; bytes]).unwrap();
}

/// A quarter of a segment, in pieces that have no zeros behind them.
fn put_a_quarter(channel: &Channel) {
    put(channel, 128 << 10);
    put(channel, 128 << 10);
}

#[test]
fn the_next_segment_is_ready_before_this_one_is_full() {
    let world = SimVfs::new(1);
    let channel = open(&world);
    assert_eq!(lens(&world, Path::new(DIR), "spare-"), [SEGMENT; 2], "the reserves");
    for quarters in 1..4 {
        put_a_quarter(&channel);
        channel.tick().unwrap();
        let [begun] = begun(&world)[..] else { panic!("one is begun") };
        assert!(begun < SEGMENT * (quarters + 1) / 4, "in step with the load");
    }
    put(&channel, 128 << 10);
    channel.tick().unwrap();
    assert_eq!(lens(&world, Path::new(DIR), "spare-"), [SEGMENT; 3]);
    for _ in 0..3 {
        put(&channel, 128 << 10);
    }
    assert_eq!(lens(&world, Path::new(DIR), "spare-"), [SEGMENT; 2]);
    let mut segments = lens(&world, Path::new(DIR), "seg-");
    segments.sort_unstable();
    assert_eq!(segments.len(), 2);
    assert_eq!(segments[1], SEGMENT, "it is as long as it may become from its first commit on");
    drop(channel);
    world.kill();
    assert_eq!(drain(&open(&world)).len(), 10);
}

/// Spent segments came when the next one was half full, and the thread begins after an eighth: each byte was written twice for good, where
/// takers kept up.
#[test]
fn where_takers_keep_up_spent_segments_are_enough() {
    let world = SimVfs::new(9);
    let channel = open(&world);
    let mut begun_in = Vec::new();
    for quarter in 0..40 {
        put_a_quarter(&channel);
        drain(&channel);
        if quarter % 2 == 1 {
            channel.checkpoint().unwrap();
        }
        channel.tick().unwrap();
        if !begun(&world).is_empty() {
            begun_in.push(quarter / 4);
        }
    }
    begun_in.dedup();
    assert!(!begun_in.is_empty(), "at first there are no spent segments");
    assert!(begun_in.iter().all(|segment| *segment < 4), "{begun_in:?}");
    let spares = lens(&world, Path::new(DIR), "spare-");
    assert!(spares.len() <= 4, "{spares:?}");
}

#[test]
fn a_log_that_fills_slowly_gets_none() {
    let world = SimVfs::new(2);
    let channel = open(&world);
    world.advance_ms(150_000);
    put_a_quarter(&channel);
    channel.tick().unwrap();
    assert_eq!(lens(&world, Path::new(DIR), "spare-"), [SEGMENT; 2]);
}

#[test]
fn a_disk_with_little_room_gets_none() {
    let world = SimVfs::new(3);
    let channel = open(&world);
    world.set_room(4 * SEGMENT);
    put_a_quarter(&channel);
    channel.tick().unwrap();
    assert_eq!(lens(&world, Path::new(DIR), "spare-"), [SEGMENT; 2]);
}

/// It is begun, and nobody fills the log further.
#[test]
fn one_that_is_begun_goes_when_the_load_has_ended() {
    let world = SimVfs::new(5);
    let channel = open(&world);
    put_a_quarter(&channel);
    channel.tick().unwrap();
    assert_eq!(begun(&world), [3 * SEGMENT / 8 + 4096], "a quarter, and an eighth ahead");
    world.advance_ms(120_000);
    channel.tick().unwrap();
    assert_eq!(begun(&world).len(), 1);
    world.advance_ms(1_000);
    channel.tick().unwrap();
    assert_eq!(begun(&world), []);
    // Not again for this segment, and again for the next one.
    put_a_quarter(&channel);
    channel.tick().unwrap();
    assert_eq!(begun(&world), []);
    for _ in 0..3 {
        put_a_quarter(&channel);
    }
    channel.tick().unwrap();
    assert_eq!(begun(&world).len(), 1);
}

/// Others fill the disk: first it is looked at, before more is written; then a put is refused.
#[test]
fn one_that_is_begun_goes_when_the_disk_gets_short() {
    for refused in [false, true] {
        let world = SimVfs::new(6);
        let disk = FullVfs::new(Arc::new(world.clone()), Path::new(DIR));
        let channel = Channel::open_on(Arc::new(disk.clone()), Path::new(DIR), options()).unwrap();
        channel.tick().unwrap();
        put_a_quarter(&channel);
        channel.tick().unwrap();
        assert_eq!(begun(&world).len(), 1);
        if refused {
            disk.leave(0);
            let error = channel.put(&vec![b'x'; 128 << 10]).unwrap_err();
            assert!(
                matches!(&error, CommitError::NotCommitted(error) if error.kind() == &ErrorKind::DiskFull)
            );
        } else {
            disk.leave(3 * SEGMENT);
            put(&channel, 128 << 10);
        }
        channel.tick().unwrap();
        assert_eq!(begun(&world), []);
        let there = lens(&world, Path::new(DIR), "spare-").len();
        assert_eq!(there, if refused { 1 } else { 2 }, "the reserves, of which one is in use");
        disk.leave_all();
        channel.tick().unwrap();
        drop(channel);
        assert_eq!(drain(&open(&world)).len(), if refused { 2 } else { 3 });
    }
}

/// A disk that cannot write it is not asked again and again, with a line in the log for each time.
#[test]
fn an_error_of_the_disk_is_told_once_for_each_segment() {
    let world = SimVfs::new(7);
    let channel = open(&world);
    put_a_quarter(&channel);
    world.plan(world.operations() + 1, Fault::Error);
    assert_eq!(channel.tick().unwrap_err().kind(), &ErrorKind::Io);
    for _ in 0..2 {
        put_a_quarter(&channel);
        channel.tick().unwrap();
        assert_eq!(begun(&world), []);
    }
    for _ in 0..2 {
        put_a_quarter(&channel);
    }
    channel.tick().unwrap();
    assert_eq!(begun(&world).len(), 1, "the next segment is another try");
}

/// In a directory of its own each, as segments take turns.
#[test]
fn one_that_came_too_late_does_not_wait_for_its_directory_s_turn() {
    let world = SimVfs::new(8);
    let dirs = ["/ahead/a", "/ahead/b"].map(PathBuf::from);
    let options = Options { data_dirs: dirs.to_vec(), ..options() };
    let channel = Channel::open_on(Arc::new(world.clone()), Path::new(DIR), options).unwrap();
    channel.tick().unwrap();
    let place = || {
        let mut paths = world.paths().into_iter();
        paths.find(|path| path.extension().is_some()).map(|path| path.parent().unwrap().to_owned())
    };
    put_a_quarter(&channel);
    channel.tick().unwrap();
    let first = place().unwrap();
    for _ in 0..3 {
        put_a_quarter(&channel);
    }
    // Of the next segment an eighth and more is there.
    put_a_quarter(&channel);
    channel.tick().unwrap();
    assert!(place().is_some_and(|second| second != first));
}

/// Whatever becomes of it, the log goes on: an error of the disk, a power cut at any of its steps.
#[test]
fn no_fault_while_it_is_made_does_harm() {
    let mut crashed = 0;
    for fault in [Fault::Crash, Fault::NoSpace] {
        for at in 1.. {
            let world = SimVfs::new(4);
            let channel = open(&world);
            for _ in 0..7 {
                put(&channel, 128 << 10);
            }
            let before = world.operations();
            world.plan(before + at, fault);
            drop(channel.tick());
            if world.operations() < before + at {
                break;
            }
            crashed += 1;
            if !world.is_dead() {
                put_a_quarter(&channel);
            }
            let want = if world.is_dead() { 7 } else { 9 };
            drop(channel);
            world.power_cut();
            let channel = open(&world);
            assert_eq!(drain(&channel).len(), want, "{fault:?} at operation {at}");
            let spares = lens(&world, Path::new(DIR), "spare-");
            assert!(spares.iter().all(|len| *len == SEGMENT), "{spares:?}");
            assert!(
                world.paths().iter().all(|path| path.extension().is_none()),
                "{:?}",
                world.paths()
            );
        }
    }
    assert!(crashed > 10, "{crashed}");
}

/// Real files, a thread that prepares segments, and one of these begun: it waits for the log to fill further.
fn with_one_begun() -> (tempfile::TempDir, FullVfs, Channel) {
    let dir = tempfile::tempdir().unwrap();
    let disk = FullVfs::new(Arc::new(StdVfs::default()), dir.path());
    let options = Options { segment_bytes_max: 64 << 20, ..options() };
    let channel = Channel::open_on(Arc::new(disk.clone()), dir.path(), options).unwrap();
    let count = |prefix: &str, bytes_min: u64| {
        let lens = lens(&StdVfs::default(), dir.path(), prefix);
        lens.into_iter().filter(|len| *len >= bytes_min).count()
    };
    eventually("the reserves are there", || count("spare-", 16 << 20) == 2 && !is_begun(&dir));
    put(&channel, 9 << 20);
    eventually("a segment is begun", || count("spare-3.tmp", (17 << 20) + 1) == 1);
    (dir, disk, channel)
}

fn is_begun(dir: &tempfile::TempDir) -> bool {
    let names = StdVfs::default().list(dir.path()).unwrap();
    names.iter().any(|name| name.ends_with(".tmp"))
}

#[test]
fn an_end_does_not_wait_for_it() {
    let (dir, _, channel) = with_one_begun();
    channel.close().unwrap();
    assert!(!is_begun(&dir));
}

#[test]
fn a_put_that_finds_no_room_has_the_thread_give_it_up() {
    let (dir, disk, channel) = with_one_begun();
    disk.leave(0);
    assert!(channel.put(&vec![b'x'; 9 << 20]).is_err());
    eventually("what is begun goes", || !is_begun(&dir));
    assert_eq!(drain(&channel).len(), 1);
}
