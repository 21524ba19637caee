//! A disk that others fill to its last byte: puts are refused with a typed error, takes, checkpoints and removals go on, and a full
//! channel drains. What was refused never happens, although parts of it were written.
#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod common;

use common::{
    drain,
    full::FullVfs,
    now, payloads,
    place::{DIR, LONG, Place, SEGMENT, is_full, lead_all, long, spare, spares, submit},
    put_of, texts,
};
use fchannel::{
    Channel, CommitError, Durability, ErrorKind, Options, TakeLimit, Wal, WalOptions,
    io::{
        Vfs,
        sim::{Fault, SimVfs},
    },
};
use std::{
    future::Future,
    path::{Path, PathBuf},
    sync::Arc,
    task::{Context, Wake, Waker},
};

/// For each place where the room may end in a group of puts and takes: the puts are refused, the takes are done, and so it stays after
/// a crash, whatever of the group had been written before the disk was full.
#[test]
fn what_finds_no_room_is_refused_and_stays_so() {
    for room in (0..1800).step_by(30) {
        for power in [false, true] {
            let place = Place::new(room);
            let old = texts("old ", 6);
            let channel = place.filled(&old);
            place.disk.leave(room);
            let first = submit(&channel, &texts("refused ", 3));
            let take = channel.begin_take(TakeLimit::events(2)).unwrap().submit().unwrap();
            let second = submit(&channel, &[".".repeat(1000), "refused".to_owned()]);
            lead_all(&channel);
            let (first, take, second) = (now(first), now(take), now(second));
            assert!(channel.poisoned().is_none());
            take.unwrap();
            let mut left = old[2..].to_vec();
            left.push(long());
            if first.is_ok() {
                assert!(second.is_ok(), "there was room for all of it");
                left.extend(texts("refused ", 3));
                left.extend([".".repeat(1000), "refused".to_owned()]);
            } else {
                assert!(is_full(&first) && is_full(&second), "{first:?} {second:?}");
            }
            if power {
                drop(channel);
                place.world.power_cut();
                let channel = place.open().unwrap();
                assert_eq!(drain(&channel), left, "room for {room}, after a power cut");
            } else {
                assert_eq!(drain(&channel), left, "room for {room}, in the same life");
                drop(channel);
                place.world.kill();
                place.assert_sound();
                assert_eq!(place.open().unwrap().stats().events, 0);
            }
        }
    }
}

/// The channel is drained to its end on the full disk, through restarts; then there is room again, and puts go on.
#[test]
fn a_full_channel_drains_and_takes_puts_again() {
    for durability in [Durability::EachCommit, Durability::Interval { sync_interval_ms: 5 }] {
        let mut place = Place::new(7);
        place.options.durability = durability;
        let lines: Vec<String> =
            texts("", 3000).iter().map(|number| format!("{number:.<1000}")).collect();
        let channel = place.filled(&lines);
        place.tick(&channel);
        place.disk.leave_nothing();
        let refused = (0..60_000).map(|_| channel.put(b"new")).find(Result::is_err).unwrap();
        assert!(is_full(&refused), "{refused:?}");
        let mut taken = 0;
        let mut channel = Some(channel);
        for round in 0.. {
            let open = channel.take().unwrap();
            let take = open.begin_take(TakeLimit::events(70)).unwrap();
            if take.records().is_empty() {
                channel = Some(open);
                break;
            }
            taken += take.records().len();
            take.commit().unwrap();
            place.tick(&open);
            if round % 80 == 79 {
                drop(open);
                place.world.kill();
                channel = Some(place.open().unwrap());
            } else {
                channel = Some(open);
            }
        }
        let channel = channel.unwrap();
        assert!(taken > 3000, "{taken}");
        assert!(channel.poisoned().is_none());
        place.disk.leave_all();
        place.tick(&channel);
        channel.put(b"there is room again").unwrap();
        assert_eq!(channel.stats().events, 1);
        channel.sync().unwrap();
        drop(channel);
        place.world.power_cut();
        assert_eq!(drain(&place.open().unwrap()), ["there is room again"]);
    }
}

/// Room that comes back by itself lets puts go on only once there is a reserve for the next time.
#[test]
fn puts_go_on_when_there_is_a_reserve_again() {
    let place = Place::new(3);
    let channel = place.filled(&texts("old ", 3));
    place.disk.leave(0);
    while channel.put(&[b'.'; 3000]).is_ok() {}
    assert!(is_full(&channel.put(b"small")), "the log is in its reserve");
    place.disk.leave(SEGMENT / 2);
    place.tick(&channel);
    assert!(is_full(&channel.put(b"small")), "there is room, but not for a reserve");
    place.disk.leave_all();
    assert!(is_full(&channel.put(b"small")), "there is none yet");
    place.tick(&channel);
    channel.put(b"small").unwrap();
    // And so it goes once more.
    place.disk.leave(0);
    while channel.put(&[b'.'; 3000]).is_ok() {}
    let take = channel.begin_take(TakeLimit::events(2)).unwrap();
    assert_eq!(payloads(take.records()), ["old 0", "old 1"]);
    take.commit().unwrap();
    assert!(channel.poisoned().is_none());
}

/// A crash at any operation around the moment when the disk is full.
#[test]
fn a_crash_while_a_full_segment_is_left_loses_nothing_and_brings_nothing_back() {
    let mut crashes = 0;
    for at in 1..200 {
        let place = Place::new(at);
        let channel = place.filled(&texts("old ", 4));
        place.disk.leave(at % 13 * 40);
        place.world.plan(place.world.operations() + at, Fault::Crash);
        let put = submit(&channel, &texts("new ", 9));
        let take = channel.begin_take(TakeLimit::events(1)).unwrap().submit().unwrap();
        lead_all(&channel);
        let (put, take) = (now(put), now(take));
        let crashed = place.world.is_dead();
        crashes += u64::from(crashed);
        drop(channel);
        place.world.power_cut();
        place.disk.leave_all();
        let left = drain(&place.open().unwrap());
        let has = |event: &str| left.iter().any(|other| other == event);
        match put {
            Ok(_) => assert!(has("new 0") && has("new 8"), "{left:?}"),
            Err(CommitError::NotCommitted(_)) => assert!(!has("new 0"), "refused: {left:?}"),
            Err(_) => assert_eq!(has("new 0"), has("new 8"), "whole or not at all"),
        }
        assert!(take.is_err() || !has("old 0"), "taken: {left:?}");
        assert!(has("old 1") && has("old 3"), "{left:?}");
        if !crashed {
            break;
        }
    }
    assert!(crashes > 3, "{crashes}");
}

/// The reserves were made under different options, and what nobody vouches for fits into one of them only. The open tried the other.
#[test]
fn of_two_reserves_an_open_takes_the_one_that_is_large_enough() {
    let mut place = Place::new(8);
    drop(place.open().unwrap());
    place.world.kill();
    place.world.set_content(&Path::new(DIR).join("spare-1"), vec![0; 1 << 20]);
    place.options.segment_bytes_max = SEGMENT / 2;
    let channel = place.open().unwrap();
    place.tick(&channel);
    let event = "x".repeat(700 << 10);
    channel.put(event.as_bytes()).unwrap();
    place.disk.leave_nothing();
    drop(channel);
    place.world.kill();
    assert_eq!(drain(&place.open().unwrap()), [event]);
}

/// Without a reserve there is nothing to go on in. The log stopped itself, as after any failed write. Now what was written of the group is
/// wiped out, and all of it refused: it does not come back, neither after a crash nor behind what follows.
#[test]
fn what_finds_no_room_and_no_reserve_is_refused_and_stays_so() {
    let mut refused = 0;
    for room in (0..4000).step_by(80) {
        for follows in [false, true] {
            let place = Place::new(room);
            let channel = place.open().unwrap();
            channel.put(b"old").unwrap();
            channel.put(b"taken").unwrap();
            channel.put(long().as_bytes()).unwrap();
            place.disk.leave(room);
            let first = submit(&channel, &texts("refused ", 2));
            let take = channel.begin_take(TakeLimit::events(1)).unwrap().submit().unwrap();
            let second = submit(&channel, &[".".repeat(1000)]);
            lead_all(&channel);
            let answers = [now(first).map(drop), now(take).map(drop), now(second).map(drop)];
            assert!(channel.poisoned().is_none(), "room for {room}");
            if answers.iter().all(Result::is_ok) {
                continue;
            }
            assert!(answers.iter().all(is_full), "room for {room}: {answers:?}");
            refused += 1;
            let mut left = vec!["old".to_owned(), "taken".to_owned(), long()];
            place.disk.leave_all();
            if follows {
                // As long as the first frame that was refused, so that the second one would be next.
                put_of(&channel, &texts("follows ", 2)).commit().unwrap();
                left.extend(texts("follows ", 2));
            }
            drop(channel);
            place.world.power_cut();
            place.assert_sound();
            assert_eq!(drain(&place.open().unwrap()), left, "room for {room}");
        }
    }
    assert!(refused > 20, "{refused}");
}

/// A bare log: appends are refused, a release goes on and gives room back.
#[test]
fn a_bare_log_on_a_full_disk_is_released() {
    let world = SimVfs::new(11);
    let disk = FullVfs::new(Arc::new(world.clone()), Path::new(DIR));
    let options = WalOptions { segment_bytes_max: SEGMENT, ..WalOptions::default() };
    let open = |replayed: &mut Vec<Vec<u8>>| {
        Wal::open_on(Arc::new(disk.clone()), Path::new(DIR), options.clone(), |_, _, body| {
            replayed.push(body.to_vec());
            Ok(())
        })
        .unwrap()
    };
    let wal = open(&mut Vec::new());
    let last = (0..3000).map(|_| wal.append(1, &[7; 1000]).unwrap().lsn).max().unwrap();
    wal.append(1, &[7; LONG]).unwrap();
    disk.leave(1000);
    assert!(is_full(&wal.append(1, &[7; 3000])));
    assert!(is_full(&wal.append(1, b"small")), "the log is in its reserve");
    wal.release_before(last).unwrap();
    wal.append(1, b"after the release").unwrap();
    drop(wal);
    world.power_cut();
    disk.leave_all();
    let mut replayed = Vec::new();
    drop(open(&mut replayed));
    assert_eq!(replayed.last().unwrap(), b"after the release");
    assert!(replayed.iter().all(|record| record.len() != 5), "what was refused stays away");
}

/// A taker that had read to the end of the log stood before what the full segment was left with, and took it for events.
#[test]
fn a_taker_at_the_end_does_not_see_what_was_refused() {
    let mut place = Place::new(9);
    place.options.tail_cache_bytes = 0;
    let channel = place.filled(&texts("old ", 3));
    let all = channel.begin_take(TakeLimit::events(100)).unwrap();
    assert_eq!(all.records().len(), 4);
    assert!(channel.begin_take(TakeLimit::events(1)).unwrap().records().is_empty());
    place.disk.leave(1000);
    let refused = [submit(&channel, &texts("refused ", 2)), submit(&channel, &[long()])];
    lead_all(&channel);
    for answer in refused {
        assert!(is_full(&now(answer)));
    }
    place.disk.leave_all();
    place.tick(&channel);
    channel.put(b"after").unwrap();
    let take = channel.begin_take(TakeLimit::events(100)).unwrap();
    assert_eq!(payloads(take.records()), ["after"]);
    take.commit().unwrap();
    all.commit().unwrap();
    drop(channel);
    place.world.kill();
    place.assert_sound();
    assert_eq!(place.open().unwrap().stats().events, 0);
}

/// Two takers leave holes, so that the state grows and shrinks; the disk has no room for a block, and there is a checkpoint each time.
#[test]
fn checkpoints_go_on_without_room() {
    let place = Place::new(13);
    let channel = place.filled(&texts("line ", 300));
    place.tick(&channel);
    channel.put(b"for a second checkpoint").unwrap();
    place.tick(&channel);
    place.disk.leave_nothing();
    while !channel.begin_take(TakeLimit::events(1)).unwrap().records().is_empty() {
        let one = channel.begin_take(TakeLimit::events(3)).unwrap();
        let two = channel.begin_take(TakeLimit::events(2)).unwrap();
        two.commit().unwrap();
        channel.checkpoint().unwrap();
        one.commit().unwrap();
        channel.checkpoint().unwrap();
    }
    drop(channel);
    place.world.kill();
    place.assert_sound();
    assert!(place.open().unwrap().recovery().images_passed_over.is_empty());
}

/// A crash at any operation of a checkpoint that is written over an older one: the newest serves.
#[test]
fn a_crash_while_a_checkpoint_is_written_over_loses_nothing() {
    for at in 1..12 {
        for seed in 0..20 {
            let place = Place::new(seed);
            let channel = place.filled(&texts("old ", 4));
            place.tick(&channel);
            channel.put(b"old").unwrap();
            place.tick(&channel);
            channel.begin_take(TakeLimit::events(1)).unwrap().commit().unwrap();
            place.disk.leave_nothing();
            place.world.plan(place.world.operations() + at, Fault::Crash);
            drop(channel.checkpoint());
            drop(channel);
            place.world.power_cut();
            let channel = place.open().unwrap();
            assert!(channel.recovery().images_passed_over.len() < 2);
            channel.checkpoint().unwrap();
            assert_eq!(drain(&channel), ["old 1", "old 2", "old 3", &long(), "old"]);
            channel.checkpoint().unwrap();
        }
    }
}

/// Short lives and smaller segments leave small spares. An open removed them as too small to be a reserve, before it looked whether the
/// disk had room for anything: it had none, what was given back was somebody else's at once, and the open was refused.
#[test]
fn an_open_on_a_full_disk_keeps_the_small_spares_and_uses_one() {
    let mut place = Place::new(17);
    place.options.segment_bytes_max = SEGMENT / 4;
    let channel = place.open().unwrap();
    place.tick(&channel);
    channel.put(b"old").unwrap();
    drop(channel);
    place.world.kill();
    assert_eq!(spares(&place).len(), 2);
    place.options.segment_bytes_max = SEGMENT;
    place.disk.leave_nothing();
    let channel = place.open().unwrap();
    assert_eq!(spares(&place).len(), 1, "one became the segment, the other is there");
    let refused = channel.put(b"new");
    assert!(is_full(&refused), "there is no reserve of the size that is wanted: {refused:?}");
    assert_eq!(drain(&channel), ["old"]);
    // With room there are better ones, and then the small one goes.
    place.disk.leave_all();
    place.world.advance_ms(1000);
    place.tick(&channel);
    channel.put(b"new").unwrap();
    let open = |name: &String| place.disk.open(&Path::new(DIR).join(name)).unwrap().len().unwrap();
    let large = spares(&place).iter().filter(|name| open(name) >= SEGMENT / 2).count();
    assert_eq!(large, 2);
    assert!(spares(&place).len() <= 3);
}

/// The open needs more than a small segment has: what recovery writes anew is as long as the last group. It took the spare that was listed
/// last, which was too small, lost it, and was refused, although there was a larger one.
#[test]
fn an_open_on_a_full_disk_takes_the_largest_spare() {
    let place = Place::new(19);
    let channel = place.open().unwrap();
    let last = ".".repeat(3 * LONG);
    channel.put(last.as_bytes()).unwrap();
    drop(channel);
    place.world.kill();
    for (number, bytes) in [(101, SEGMENT), (102, SEGMENT / 2), (103, SEGMENT / 2)] {
        place.make_spare(number, bytes);
    }
    place.disk.leave_nothing();
    let channel = place.open().unwrap();
    assert_eq!(spares(&place), ["spare-102", "spare-103"]);
    assert_eq!(drain(&channel), [last]);
}

struct Panics;

impl Wake for Panics {
    fn wake(self: Arc<Self>) {
        panic!("planned by the test: a waker panics");
    }
}

/// Of the puts that a full disk refused, the first one's waker panicked: the others were dropped without an answer, and the log stopped.
#[test]
fn a_waker_that_panics_takes_no_answer_from_others_that_are_refused() {
    let place = Place::new(37);
    let channel = place.filled(&texts("old ", 2));
    place.disk.leave(0);
    let mut first = Box::pin(submit(&channel, &[long()]));
    let second = submit(&channel, &texts("refused ", 2));
    let waker = Waker::from(Arc::new(Panics));
    assert!(first.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    lead_all(&channel);
    assert!(is_full(&now(first)) && is_full(&now(second)));
    assert!(channel.poisoned().is_none());
}

/// Nothing serves: the open is refused, and every spare is where it was, for the day when there is room.
#[test]
fn an_open_that_finds_no_room_leaves_all_as_it_was() {
    let place = Place::new(23);
    let channel = place.open().unwrap();
    let last = ".".repeat(3 * LONG);
    channel.put(last.as_bytes()).unwrap();
    drop(channel);
    place.world.kill();
    for number in 101..105 {
        place.make_spare(number, SEGMENT / 2);
    }
    place.disk.leave_nothing();
    for _ in 0..2 {
        assert_eq!(place.open().map(drop).unwrap_err().kind(), &ErrorKind::DiskFull);
        assert_eq!(spares(&place), ["spare-101", "spare-102", "spare-103", "spare-104"]);
    }
    place.disk.leave_all();
    assert_eq!(drain(&place.open().unwrap()), [last]);
}

/// A log without reserves filled the disk to its last byte with puts: then it stopped itself, and could not be opened either.
#[test]
fn without_reserves_puts_leave_room_for_takes_and_an_open() {
    let place = Place::new(29);
    let channel = place.open().unwrap();
    place.disk.leave(SEGMENT * 3 / 2);
    let mut refused = 0;
    for _ in 0..2000 {
        // The free space is looked up now and then.
        place.world.advance_ms(300);
        refused += u64::from(is_full(&channel.put(&[b'.'; 1000])));
    }
    assert!(refused > 0 && channel.poisoned().is_none());
    channel.begin_take(TakeLimit::events(10)).unwrap().commit().unwrap();
    drop(channel);
    place.world.kill();
    let channel = place.open().unwrap();
    assert_eq!(channel.stats().events, 2000 - refused - 10);
}

/// What is written behind a group, so that the next ones find the blocks there, counted as free, and took the last blocks of the disk.
#[test]
fn the_zeros_behind_a_group_are_no_free_space() {
    const FLOOR: u64 = 4 << 20;
    let mut place = Place::new(31);
    place.options.free_space_min_bytes = FLOOR;
    let channel = place.open().unwrap();
    place.tick(&channel);
    place.disk.leave(FLOOR + 300_000);
    // The first group has zeros behind it, up to 256 KiB.
    channel.put(b"one").unwrap();
    place.disk.leave(FLOOR);
    let refused = channel.put(&[b'.'; 100_000]);
    assert!(is_full(&refused), "the cached figure knows what the zeros took: {refused:?}");
}

/// Small events that wait, put in large transactions; then the disk is full, and they are taken one by one: the takes need more of the log
/// than what they give back. Answers how many were taken until one was refused, with room for others to come.
fn taken_until_refused(place: &Place, channel: &Channel, transactions: usize) -> usize {
    place.tick(channel);
    for _ in 0..transactions {
        put_of(channel, &vec![b"an event"; EVENTS]).commit().unwrap();
    }
    place.disk.leave_nothing();
    let mut taken = 0;
    let refused = loop {
        let take = channel.begin_take(TakeLimit::events(1)).unwrap();
        assert_eq!(take.records().len(), 1);
        match take.commit() {
            Err(error) => break error,
            Ok(_) => taken += 1,
        }
        if taken % 100 == 0 {
            place.tick(channel);
        }
    };
    assert!(is_full::<()>(&Err(refused)));
    let wait = channel.begin_take(TakeLimit::events(1)).unwrap_err();
    assert_eq!(
        wait.kind(),
        &ErrorKind::DiskFull,
        "{wait}: nothing is offered that cannot be committed"
    );
    assert!(channel.poisoned().is_none());
    assert_eq!(channel.stats().events, (transactions * EVENTS - taken) as u64);
    taken
}

/// With room, takes go on to the end, and puts too.
fn goes_on_with_room(place: &Place, channel: Channel) {
    let left = channel.stats().events;
    place.disk.leave_all();
    place.tick(&channel);
    channel.put(b"the last").unwrap();
    assert_eq!(drain(&channel).len() as u64, left + 1);
    channel.close().unwrap();
    place.assert_sound();
}

const EVENTS: usize = 30_000;

/// The reserve was used up before the first segment was spent. The log stopped itself, and so did the one after the restart. Now takes wait
/// for room, as puts do, and go on when there is some.
#[test]
fn takes_wait_for_room_when_the_reserve_is_used_up() {
    let mut place = Place::new(6);
    place.options.transaction_events_max = u32::try_from(EVENTS).unwrap();
    let channel = place.open().unwrap();
    let taken = taken_until_refused(&place, &channel, 2);
    assert!(taken > 5_000, "{taken}: the reserve is there to be used");
    goes_on_with_room(&place, channel);
}

/// And with segments that are longer than a reserve, as they are by default, it stopped itself all the same: the reserve ended long before
/// its segment was full.
#[test]
fn takes_wait_for_room_at_the_end_of_a_reserve_shorter_than_a_segment() {
    let mut place = Place::new(38);
    place.options.transaction_events_max = u32::try_from(EVENTS).unwrap();
    place.open().unwrap().close().unwrap();
    let own: Vec<PathBuf> = place.world.paths();
    for spare in own.iter().filter(|path| path.to_string_lossy().contains("/spare-")) {
        place.world.remove(spare).unwrap();
    }
    for number in 1..=2 {
        place.make_spare(number, SEGMENT / 2);
    }
    let channel = place.open().unwrap();
    let taken = taken_until_refused(&place, &channel, 2);
    assert!((4_000..20_000).contains(&taken), "{taken}: half a reserve serves");
    drop(channel);
    place.world.kill();
    // An open has the other one.
    let channel = place.open().unwrap();
    channel.begin_take(TakeLimit::events(1)).unwrap().commit().unwrap();
    goes_on_with_room(&place, channel);
}

/// The same with the reserve, and the segments, of the defaults.
#[test]
fn takes_wait_for_room_at_the_end_of_a_reserve_of_16_mib() {
    let mut place = Place::new(39);
    place.options = Options {
        free_space_min_bytes: 0,
        transaction_events_max: u32::try_from(EVENTS).unwrap(),
        ..Options::default()
    };
    let channel = place.open().unwrap();
    let taken = taken_until_refused(&place, &channel, 8);
    assert!(taken > 150_000, "{taken}");
    goes_on_with_room(&place, channel);
}

/// The head of a segment takes as much as the state is long: with 1 MiB free takes were offered, and none could be committed.
#[test]
fn takes_wait_for_room_for_the_image_too() {
    let mut place = Place::new(40);
    place.options.transaction_events_max = u32::try_from(EVENTS).unwrap();
    place.options.segment_bytes_max = 3 << 20;
    let channel = place.open().unwrap();
    let mut put = channel.begin_put();
    // All that there may be: with their lengths the image is longer than 1 MiB.
    for number in 0..64u32 {
        put.set_mark(&number.to_le_bytes(), &[7; (16 << 10) - 4]).unwrap();
    }
    put.commit().unwrap();
    let taken = taken_until_refused(&place, &channel, 3);
    assert!(taken > 1_000, "{taken}");
    let refused = || channel.begin_take(TakeLimit::events(1)).is_err();
    place.disk.leave_all();
    place.disk.leave(3 << 19);
    assert!(refused(), "room for takes, and not for the image before them");
    place.disk.leave(5 << 19);
    assert!(!refused(), "room for both");
    channel.begin_take(TakeLimit::events(1)).unwrap().commit().unwrap();
    goes_on_with_room(&place, channel);
}

/// Reserves were made anew only above the floor of free space, where nobody needs them.
#[test]
fn reserves_are_made_below_the_floor_of_free_space() {
    let mut place = Place::new(53);
    place.options.free_space_min_bytes = 500 << 20;
    place.disk.leave(7 * SEGMENT / 2);
    let channel = place.open().unwrap();
    place.tick(&channel);
    assert_eq!(spares(&place).len(), 2);
    assert!(is_full(&channel.put(b"refused")));
}

/// A spare that somebody had deleted stopped the log: where the next segment was to be made of it, and where a larger one took its place.
#[test]
fn spares_that_somebody_deleted_stop_nothing() {
    let place = Place::new(59);
    let channel = place.open().unwrap();
    for _ in 0..9 {
        channel.put(long().as_bytes()).unwrap();
    }
    drop(channel);
    place.world.kill();
    // One too many, one to be used next, and one in whose place a spent segment comes.
    for (number, bytes) in [(91, 100), (92, 200), (93, 300), (94, SEGMENT), (95, SEGMENT)] {
        place.make_spare(number, bytes);
    }
    let channel = place.open().unwrap();
    assert!(!spares(&place).contains(&"spare-91".to_owned()), "the open used the smallest");
    place.world.delete(&spare(92));
    channel.tick().unwrap();
    place.world.delete(&spare(93));
    assert_eq!(drain(&channel).len(), 9);
    for event in ["one", "two"] {
        channel.put(event.as_bytes()).unwrap();
        channel.checkpoint().unwrap();
    }
    assert!(channel.stats().log.segments < 3, "segments were given back");
    // All of them, and the disk is full.
    for spare in spares(&place) {
        place.world.delete(&Path::new(DIR).join(spare));
    }
    for _ in 0..9 {
        channel.put(long().as_bytes()).unwrap();
    }
    place.disk.leave_nothing();
    assert!(is_full(&channel.put(&[b'.'; 4 * LONG])));
    assert!(channel.poisoned().is_none());
    place.disk.leave_all();
    assert_eq!(drain(&channel).len(), 11);
    channel.close().unwrap();
    place.assert_sound();
}
