//! The next segment's blocks are written ahead while the present one fills, where that helps, and nothing waits for it.
#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod common;

use common::{drain, eventually};
use fchannel::{
    Channel, Options,
    io::{
        StdVfs, Vfs,
        sim::{Fault, SimVfs},
    },
};
use std::{path::Path, sync::Arc};

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
    named.map(|name| vfs.open(&dir.join(name)).unwrap().len().unwrap()).collect()
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
    put_a_quarter(&channel);
    channel.tick().unwrap();
    assert_eq!(lens(&world, Path::new(DIR), "spare-"), [SEGMENT; 3]);
    for _ in 0..4 {
        put_a_quarter(&channel);
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

/// Whatever becomes of it, the log goes on: an error of the disk, a power cut at any of its steps.
#[test]
fn no_fault_while_it_is_made_does_harm() {
    let mut crashed = 0;
    for fault in [Fault::Crash, Fault::NoSpace] {
        for at in 1.. {
            let world = SimVfs::new(4);
            let channel = open(&world);
            put_a_quarter(&channel);
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
            let want = if world.is_dead() { 2 } else { 4 };
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

/// The thread has begun one and waits for the log to fill further: an end must not wait for that.
#[test]
fn an_end_does_not_wait_for_it() {
    let dir = tempfile::tempdir().unwrap();
    let options =
        Options { segment_bytes_max: 64 << 20, free_space_min_bytes: 0, ..Options::default() };
    let channel = Channel::open(dir.path(), options).unwrap();
    let count = |prefix: &str, suffix: &str, bytes_min: u64| {
        let vfs = StdVfs::default();
        let names = vfs.list(dir.path()).unwrap();
        let named = names.iter().filter(|name| name.starts_with(prefix) && name.ends_with(suffix));
        let len = |name: &String| vfs.open(&dir.path().join(name)).and_then(|file| file.len());
        named.filter(|name| len(name).is_ok_and(|len| len >= bytes_min)).count()
    };
    eventually("the reserves are there", || {
        count("spare-1", "", 16 << 20) + count("spare-2", "", 16 << 20) == 2
    });
    put(&channel, 9 << 20);
    eventually("a segment is begun", || count("spare-3", ".tmp", 4 << 20) == 1);
    channel.close().unwrap();
    let names = StdVfs::default().list(dir.path()).unwrap();
    assert!(!names.iter().any(|name| name.ends_with(".tmp")), "{names:?}");
}
