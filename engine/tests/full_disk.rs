//! A disk that others fill to its last byte: puts are refused with a typed error, takes, checkpoints and removals go on, and a full
//! channel drains. What was refused never happens, although parts of it were written.
#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod common;

use common::{drain, full::FullVfs, now, payloads, put_of, texts};
use fchannel::{
    Channel, CommitError, Durability, Error, ErrorKind, Inspector, Options, Severity, TakeLimit,
    Ticket, Verify, Wal, WalOptions,
    io::{
        Vfs,
        sim::{Fault, SimVfs},
    },
};
use std::{
    future::Future,
    path::Path,
    sync::Arc,
    task::{Context, Wake, Waker},
};

const DIR: &str = "/full";
const SEGMENT: u64 = 1 << 20;
/// So long that no fill is written behind it: the log ends where its file does.
const LONG: usize = 300 << 10;

struct Place {
    world: SimVfs,
    disk: FullVfs,
    options: Options,
}

impl Place {
    fn new(seed: u64) -> Self {
        let world = SimVfs::new(seed);
        let disk = FullVfs::new(Arc::new(world.clone()), Path::new(DIR));
        let options = Options {
            segment_bytes_max: SEGMENT,
            free_space_min_bytes: 0,
            checkpoint_interval_ms: 10,
            ..Options::default()
        };
        Self { world, disk, options }
    }

    fn open(&self) -> Result<Channel, Error> {
        Channel::open_on(Arc::new(self.disk.clone()), Path::new(DIR), self.options.clone())
    }

    /// Lets the background thread's time come.
    fn tick(&self, channel: &Channel) {
        self.world.advance_ms(50);
        // Without room there is no checkpoint: it is tried again.
        drop(channel.tick());
    }

    /// A channel with its reserves, these events, and a long one, behind which each byte needs room.
    fn filled(&self, events: &[String]) -> Channel {
        let channel = self.open().unwrap();
        self.tick(&channel);
        for event in events {
            channel.put(event.as_bytes()).unwrap();
        }
        channel.put(long().as_bytes()).unwrap();
        channel
    }

    fn assert_sound(&self) {
        let inspector = Inspector::open_on(Arc::new(self.disk.clone()), Path::new(DIR)).unwrap();
        let verification = inspector.verify(Verify::default(), |_| {}).unwrap();
        assert!(verification.worst.is_none_or(|worst| worst == Severity::Info), "{verification:?}");
    }
}

fn long() -> String {
    ".".repeat(LONG)
}

fn is_full<T>(answer: &Result<T, CommitError>) -> bool {
    matches!(answer, Err(CommitError::NotCommitted(error)) if error.kind() == &ErrorKind::DiskFull)
}

fn submit(channel: &Channel, payloads: &[String]) -> Ticket {
    let room = now(channel.reserve(u32::try_from(payloads.len()).unwrap())).unwrap();
    put_of(channel, payloads).submit(room).unwrap()
}

fn lead_all(channel: &Channel) {
    while channel.lead_once() {}
}

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
        let refused = (0..10_000).map(|_| channel.put(b"new")).find(Result::is_err).unwrap();
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
            if round % 40 == 39 {
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

/// Without a reserve there is nothing to go on in: the log stops itself, as after any failed write, and a restart knows all.
#[test]
fn without_a_reserve_the_log_stops_itself() {
    let place = Place::new(5);
    let channel = place.open().unwrap();
    channel.put(b"old").unwrap();
    channel.put(long().as_bytes()).unwrap();
    place.disk.leave(100);
    let refused = channel.put(&[b'.'; 3000]);
    assert!(matches!(refused, Err(CommitError::Unknown(_))), "{refused:?}");
    assert!(channel.poisoned().unwrap().to_string().contains("cannot write a group of commits"));
    drop(channel);
    place.world.kill();
    place.disk.leave_all();
    assert_eq!(drain(&place.open().unwrap())[0], "old");
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

fn spares(place: &Place) -> Vec<String> {
    let names = place.disk.list(Path::new(DIR)).unwrap();
    let mut spares: Vec<String> =
        names.into_iter().filter(|name| name.starts_with("spare-")).collect();
    spares.sort();
    spares
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
        place.disk.reserve(&Path::new(DIR).join(format!("spare-{number}")), bytes).unwrap();
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
        place.disk.reserve(&Path::new(DIR).join(format!("spare-{number}")), SEGMENT / 2).unwrap();
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

/// Small events, put in large transactions and taken one by one: the takes need more of the log than what they give back, and the reserve
/// was used up before the first segment was spent. The log stopped itself, and so did the one after the restart. Now takes wait for room,
/// as puts do, and go on when there is some.
#[test]
fn takes_wait_for_room_when_the_reserve_is_used_up() {
    const EVENTS: usize = 30_000;
    let mut place = Place::new(6);
    place.options.transaction_events_max = u32::try_from(EVENTS).unwrap();
    let channel = place.open().unwrap();
    place.tick(&channel);
    for _ in 0..2 {
        put_of(&channel, &vec![b"an event"; EVENTS]).commit().unwrap();
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
            place.tick(&channel);
        }
    };
    assert!(is_full::<()>(&Err(refused)));
    assert!(taken > 5_000, "{taken}: the reserve is there to be used");
    let wait = channel.begin_take(TakeLimit::events(1)).unwrap_err();
    assert_eq!(
        wait.kind(),
        &ErrorKind::DiskFull,
        "{wait}: nothing is offered that cannot be committed"
    );
    assert!(channel.poisoned().is_none());
    assert_eq!(channel.stats().events, (2 * EVENTS - taken) as u64);
    place.disk.leave_all();
    place.tick(&channel);
    channel.put(b"the last").unwrap();
    assert_eq!(drain(&channel).len(), 2 * EVENTS - taken + 1);
    channel.close().unwrap();
    place.assert_sound();
}

/// A taker met damage on a full disk, and each time there was no room for its record: nobody could take any more, so nothing was given
/// back, and the disk stayed full. Now the damage is kept in mind, and recorded when there is room, before its segment goes.
#[test]
fn damage_on_a_full_disk_holds_no_taker_up() {
    let place = Place::new(7);
    let channel = place.open().unwrap();
    place.tick(&channel);
    for event in texts("event ", 5) {
        channel.put(event.as_bytes()).unwrap();
    }
    channel.close().unwrap();
    let path = Path::new(DIR).join("seg-1");
    let event = "event 2";
    let bytes = place.world.content(&path).unwrap();
    let at = bytes.windows(event.len()).position(|bytes| bytes == event.as_bytes()).unwrap();
    place.world.flip(&path, 8 * at as u64);
    let channel = place.open().unwrap();
    place.tick(&channel);
    place.disk.leave_nothing();
    let take = channel.begin_take(TakeLimit::events(4)).unwrap();
    assert_eq!(take.records().len(), 4);
    let told = channel.quarantined();
    assert_eq!(told.iter().map(|damage| damage.id).collect::<Vec<_>>(), [0]);
    drop(take);
    place.disk.leave_all();
    place.tick(&channel);
    let told = channel.quarantined();
    assert_eq!(told.iter().map(|damage| damage.id).collect::<Vec<_>>(), [1]);
    assert!(told[0].bytes > 0, "its bytes were still there");
    assert_eq!(drain(&channel).len(), 4);
}
