//! Takes that ride with the next put: what a kill leaves, what a power cut takes back, and when they are durable.
#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod common;

use common::drain;
use fchannel::{Channel, Durability, Options, TakeLimit, TakeSync, io::sim::SimVfs};
use std::{path::Path, sync::Arc};

const AT_MOST_MS: u64 = 100;

fn open(world: &SimVfs) -> Channel {
    let options = Options {
        take_sync: TakeSync::WithNextPut { at_most_ms: AT_MOST_MS },
        free_space_min_bytes: 0,
        ..Options::default()
    };
    Channel::open_on(Arc::new(world.clone()), Path::new("/ride"), options).unwrap()
}

/// A channel with events "0" to "9".
fn filled(world: &SimVfs) -> Channel {
    let channel = open(world);
    for number in 0..10 {
        assert!(
            channel.put(number.to_string().as_bytes()).unwrap().durable,
            "a put waits for its sync"
        );
    }
    channel
}

fn take(channel: &Channel, events: u32) -> bool {
    let take = channel.begin_take(TakeLimit::events(events)).unwrap();
    assert_eq!(take.records().len(), events as usize);
    take.commit().unwrap().durable
}

fn left(channel: &Channel) -> Vec<String> {
    drain(channel)
}

fn from(first: u32) -> Vec<String> {
    (first..10).map(|number| number.to_string()).collect()
}

#[test]
fn a_kill_takes_nothing_back_and_a_power_cut_only_takes() {
    let mut came_back = 0;
    for (seed, power) in (0..40).map(|seed| (seed, seed % 2 == 1)) {
        let world = SimVfs::new(seed);
        let channel = filled(&world);
        assert!(!take(&channel, 3));
        assert!(!take(&channel, 2));
        assert_eq!(channel.stats().events, 5);
        drop(channel);
        if power {
            world.power_cut()
        } else {
            world.kill()
        }
        let left = left(&open(&world));
        // The disk may have written any number of the takes, and what counts of them are the first.
        let may_be: &[u32] = if power { &[0, 3, 5] } else { &[5] };
        assert!(may_be.iter().any(|first| left == from(*first)), "{left:?}");
        came_back += u32::from(left.len() > 5);
    }
    assert!(came_back > 5, "{came_back}");
}

#[test]
fn the_next_put_makes_them_durable() {
    let world = SimVfs::new(2);
    let channel = filled(&world);
    assert!(!take(&channel, 4));
    assert!(channel.put(b"later").unwrap().durable);
    drop(channel);
    world.power_cut();
    let mut want = from(4);
    want.push("later".to_owned());
    assert_eq!(left(&open(&world)), want);
}

#[test]
fn without_a_put_they_are_durable_in_time() {
    let world = SimVfs::new(3);
    let channel = filled(&world);
    assert!(!take(&channel, 4));
    world.advance_ms(AT_MOST_MS);
    channel.tick().unwrap();
    drop(channel);
    world.power_cut();
    assert_eq!(left(&open(&world)), from(4));
}

#[test]
fn takes_in_one_group_with_a_put_are_durable_at_once() {
    let world = SimVfs::new(4);
    let channel = filled(&world);
    let ticket = channel.begin_take(TakeLimit::events(2)).unwrap().submit().unwrap();
    let room = common::now(channel.reserve(1)).unwrap();
    let mut put = channel.begin_put();
    put.push(b"later").unwrap();
    let put = put.submit(room).unwrap();
    while channel.lead_once() {}
    assert!(common::now(ticket).unwrap().durable && common::now(put).unwrap().durable);
}

/// Each such take is a write and no sync.
#[test]
fn they_cost_no_sync() {
    let world = SimVfs::new(5);
    let channel = filled(&world);
    let before = world.operations();
    for _ in 0..5 {
        take(&channel, 1);
    }
    assert_eq!(world.operations() - before, 5);
}

#[test]
fn under_interval_the_option_has_no_meaning() {
    let world = SimVfs::new(6);
    let options = Options {
        durability: Durability::Interval { sync_interval_ms: 1000 },
        take_sync: TakeSync::WithNextPut { at_most_ms: 1 },
        ..Options::default()
    };
    let channel = Channel::open_on(Arc::new(world.clone()), Path::new("/ride"), options).unwrap();
    assert!(!channel.put(b"one").unwrap().durable);
    assert!(!take(&channel, 1));
}

/// The last put of an idle log waited as long for its witness as takes may wait for their sync: till then damage to it is a torn end.
#[test]
fn a_put_is_vouched_for_in_its_own_time() {
    let world = SimVfs::new(7);
    let options =
        Options { take_sync: TakeSync::WithNextPut { at_most_ms: 60_000 }, ..Options::default() };
    let channel = Channel::open_on(Arc::new(world.clone()), Path::new("/ride"), options).unwrap();
    // The reserves, so that the next tick has nothing else to do.
    channel.tick().unwrap();
    channel.put(b"one").unwrap();
    let before = world.operations();
    world.advance_ms(60);
    channel.tick().unwrap();
    assert!(world.operations() > before, "the frames that vouch were written");
}

#[test]
fn no_time_at_all_is_refused() {
    let options =
        Options { take_sync: TakeSync::WithNextPut { at_most_ms: 0 }, ..Options::default() };
    assert!(options.validate().unwrap_err().to_string().contains("at_most_ms is 0"));
}
