//! What is right behind a damage: nothing that was acknowledged is void, nothing that was void comes back, and what is known elsewhere
//! (by the next segment's image, by a checkpoint) is known again. Each of these went wrong once.
#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod common;

use common::{drain, full::FullVfs, put_all, put_of, submit};
use fchannel::{
    Channel, ErrorKind, FrameRow, Inspector, OnDamage, Options, Position, Severity, TakeLimit,
    Verify,
    io::{
        Vfs,
        sim::{Fault, SimVfs},
    },
    repair,
};
use std::{
    ops::ControlFlow,
    path::{Path, PathBuf},
    sync::Arc,
};

const HOME: &str = "/disk";

fn options() -> Options {
    Options {
        segment_bytes_max: 64 << 10,
        free_space_min_bytes: 0,
        keep_alive_ms: 0,
        checkpoint_on_close: false,
        tail_cache_bytes: 0,
        ..Options::default()
    }
}

fn open(world: &SimVfs) -> Channel {
    Channel::open_on(Arc::new(world.clone()), Path::new(HOME), options()).unwrap()
}

fn inspector(world: &SimVfs) -> Inspector {
    Inspector::open_on(Arc::new(world.clone()), Path::new(HOME)).unwrap()
}

fn has_prefix(path: &Path, prefix: &str) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(prefix))
}

/// Oldest first; there are less than ten.
fn segments(world: &SimVfs) -> Vec<PathBuf> {
    world.paths().into_iter().filter(|path| has_prefix(path, "seg-")).collect()
}

fn flip(world: &SimVfs, path: &Path, at: u64) {
    world.flip(path, 8 * at);
}

/// Two of them fill a segment.
fn large(name: &str) -> String {
    format!("{name} {}", "x".repeat(40_000))
}

/// What can be taken: the first word of large ones, and of the small ones all.
fn names(channel: &Channel) -> Vec<String> {
    let name = |event: &String| event.split(" xx").next().unwrap_or_default().to_owned();
    drain(channel).iter().map(name).collect()
}

/// The frames of `kind`.
fn frames_of(world: &SimVfs, kind: &str) -> Vec<(PathBuf, u64)> {
    let mut found = Vec::new();
    let mut row = |row: FrameRow| {
        if let FrameRow::Frame(frame) = row
            && frame.kind() == kind
        {
            let path = Path::new(HOME).join(format!("seg-{}", frame.ptr.segment));
            found.push((path, frame.ptr.offset));
        }
        ControlFlow::Continue(())
    };
    inspector(world).frames(Position::Oldest, Position::Newest, &mut row).unwrap();
    found
}

/// The first of them.
fn frame_of(world: &SimVfs, kind: &str) -> (PathBuf, u64) {
    frames_of(world, kind).swap_remove(0)
}

fn place_of(world: &SimVfs, path: &Path, text: &str) -> u64 {
    let bytes = world.content(path).unwrap();
    bytes.windows(text.len()).position(|bytes| bytes == text.as_bytes()).unwrap() as u64
}

/// What was there, and is damaged now: the inspector and the open agree on what is owed, and afterwards nothing calls for anybody.
fn opened_as_inspected(world: &SimVfs) -> Channel {
    let before = inspector(world).state().unwrap();
    let channel = open(world);
    let stats = channel.stats();
    assert_eq!(stats.events + stats.lost, before.owed);
    assert!(before.exact);
    let report = inspector(world).verify(Verify::default(), |_| {}).unwrap();
    assert!(report.worst.is_none_or(|worst| worst < Severity::Warn), "{:?}", report.findings);
    channel
}

/// A header that is made again had the epoch 1 where no segment was before it. So its successor, of epoch 2, declared all of it void, by
/// a cut that lay below.
#[test]
fn the_oldest_segment_is_not_void_because_its_header_is_damaged() {
    let world = SimVfs::new(1);
    open(&world).close().unwrap();
    let channel = open(&world);
    let events = ["0", "1", "2", "3", "4"];
    for event in events {
        put_all(&channel, &[large(event)]);
    }
    channel.checkpoint().unwrap();
    channel.checkpoint().unwrap();
    channel.close().unwrap();
    world.kill();
    flip(&world, &segments(&world)[0], 20);
    assert_eq!(names(&opened_as_inspected(&world)), events);
}

/// It had the epoch of its successor, so nothing in it was void: the end of a torn group, which was never committed, was delivered in
/// place of the events that were.
#[test]
fn a_torn_end_stays_void_though_the_header_of_its_segment_is_damaged() {
    let world = SimVfs::new(2);
    let channel = open(&world);
    put_all(&channel, &[large("first")]);
    put_all(&channel, &[large("second")]);
    let tickets = [["torn A"], ["torn B"], ["torn C"]].map(|event| submit(&channel, &event));
    while channel.lead_once() {}
    drop(tickets);
    drop(channel);
    world.kill();
    let newest = segments(&world)[1].clone();
    flip(&world, &newest, place_of(&world, &newest, "torn B"));
    let channel = open(&world);
    assert_eq!(channel.stats().events, 3, "the group ends where it is torn");
    put_all(&channel, &["D"]);
    put_all(&channel, &["E"]);
    channel.close().unwrap();
    world.kill();
    flip(&world, &newest, 20);
    assert_eq!(names(&open(&world)), ["first", "second", "torn A", "D", "E"]);
}

/// The segment that had begun an epoch was lost, and the one behind it, of the same epoch, still said what was void before. The open took
/// its name over and began an epoch at its own end: a crash later, what it had recorded as lost came back (simulation, seed 7161878).
#[test]
fn what_was_void_stays_so_though_the_segment_that_said_it_first_is_lost() {
    let whole = SimVfs::new(6);
    let channel = open(&whole);
    for event in ["first", "written anew"] {
        put_all(&channel, &[event]);
    }
    drop(channel);
    whole.kill();
    let channel = open(&whole);
    for event in [large("one"), large("last")] {
        put_all(&channel, &[event]);
    }
    drop(channel);
    whole.kill();
    let segments = segments(&whole);
    assert_eq!(segments.len(), 3);
    whole.delete(&segments[1]);
    for at in 1.. {
        let world = whole.copy();
        world.plan(world.operations() + at, Fault::Crash);
        let opened = Channel::open_on(Arc::new(world.clone()), Path::new(HOME), options());
        let crashed = world.is_dead();
        drop(opened);
        world.power_cut();
        let channel = open(&world);
        assert_eq!(names(&channel), ["first", "last"], "a crash at operation {at}");
        assert_eq!(channel.stats().events, 0, "a crash at operation {at}");
        if !crashed {
            assert!(at > 10, "{at} operations");
            break;
        }
    }
}

/// A recovery began a segment behind a torn end, and that segment was lost: no header said any more what is void before it. A frame that
/// was whole behind the tear was delivered in place of an event that had been acknowledged, and of that no record told (simulation, seed
/// 11210702). What the recovery had written anew is in the torn segment too, and comes.
#[test]
fn a_torn_end_stays_void_though_the_segment_behind_it_is_lost() {
    for is_newest in [false, true] {
        let world = SimVfs::new(7);
        let channel = open(&world);
        put_all(&channel, &["first"]);
        let tickets = [["torn A"], ["torn B"], ["torn C"]].map(|event| submit(&channel, &event));
        while channel.lead_once() {}
        drop(tickets);
        drop(channel);
        world.kill();
        let torn = segments(&world)[0].clone();
        flip(&world, &torn, place_of(&world, &torn, "torn B"));
        let channel = open(&world);
        assert_eq!(channel.stats().events, 2, "the group ends where it is torn");
        put_all(&channel, &["D"]);
        put_all(&channel, &["E"]);
        channel.checkpoint().unwrap();
        channel.close().unwrap();
        world.kill();
        let lost = segments(&world).pop().unwrap();
        if !is_newest {
            let channel = open(&world);
            put_all(&channel, &["behind"]);
            channel.close().unwrap();
            world.kill();
        }
        world.delete(&lost);
        let left =
            if is_newest { vec!["first", "torn A"] } else { vec!["first", "torn A", "behind"] };
        // As it is, and through a crash behind the open: the next one knows no more of the lost segment.
        for crash in [false, true] {
            let world = world.copy();
            let mut channel = opened_as_inspected(&world);
            if crash {
                drop(channel);
                world.power_cut();
                channel = open(&world);
            }
            let known = channel.quarantined();
            let gone = known.iter().find(|damage| damage.at.offset == 0).unwrap();
            assert_eq!((gone.events.0.get(), gone.events.1.get()), (2, 4), "D and E: {known:?}");
            assert_eq!(gone.lsns.0.get(), 3, "behind what is there: {known:?}");
            assert!(gone.lsns.1.get() > 4, "{known:?}");
            assert_eq!(names(&channel), left);
            assert_eq!(channel.stats().events, 0);
        }
    }
}

/// A vouching frame found no room and lay behind the end, so that the next segment had to declare it void. Making that found no room
/// either; but the cut was kept, and the segment after declared void what had been acknowledged in between.
#[test]
fn a_rotation_that_finds_no_room_voids_nothing_later() {
    let dir = Path::new("/full");
    let world = SimVfs::new(5);
    let disk = FullVfs::new(Arc::new(world.clone()), dir);
    let options = Options {
        segment_bytes_max: 1 << 20,
        on_damage: OnDamage::Refuse,
        tail_cache_bytes: 1 << 20,
        ..options()
    };
    let open = || Channel::open_on(Arc::new(disk.clone()), dir, options.clone()).unwrap();
    let channel = open();
    let idle = || {
        world.advance_ms(100);
        channel.tick().unwrap();
    };
    idle();
    channel.put(&[b'.'; 300 << 10]).unwrap();
    disk.leave(0);
    disk.deny_it();
    idle();
    channel.put(&[b','; 900 << 10]).unwrap_err();
    disk.leave(20_000);
    channel.put(b"acknowledged").unwrap();
    disk.leave_all();
    channel.put(&[b';'; 900 << 10]).unwrap();
    channel.close().unwrap();
    world.kill();
    let lengths: Vec<usize> = drain(&open()).iter().map(String::len).collect();
    assert_eq!(lengths, [300 << 10, 12, 900 << 10]);
}

/// A put of six events and marks, a take of three; then the log rotates.
fn rotated_behind_a_take() -> SimVfs {
    let world = SimVfs::new(3);
    let channel = open(&world);
    for n in 0..6u8 {
        let mut put = put_of(&channel, &[format!("event {n}")]);
        put.set_mark(b"position", &[n]).unwrap();
        put.commit().unwrap();
    }
    channel.begin_take(TakeLimit::events(3)).unwrap().commit().unwrap();
    for event in [large("one"), large("two"), "last".to_owned()] {
        put_all(&channel, &[event]);
    }
    drop(channel);
    world.kill();
    assert_eq!(segments(&world).len(), 2);
    world
}

/// Recovery went on behind a damaged take as if it had taken nothing, though the image of the next segment knows what it took.
#[test]
fn the_next_image_knows_what_a_damaged_take_took() {
    let world = rotated_behind_a_take();
    let (path, at) = frame_of(&world, "take");
    flip(&world, &path, at + 70);
    let channel = opened_as_inspected(&world);
    assert_eq!(names(&channel), ["event 3", "event 4", "event 5", "one", "two", "last"]);
}

/// And a source went back to an older position, whose events came twice.
#[test]
fn the_next_image_knows_the_marks_of_a_damaged_put() {
    let world = rotated_behind_a_take();
    let (path, _) = frame_of(&world, "put");
    flip(&world, &path, place_of(&world, &path, "event 5"));
    let channel = opened_as_inspected(&world);
    assert_eq!(channel.mark(b"position").as_deref(), Some(&[5][..]));
    assert_eq!(names(&channel), ["event 3", "event 4", "one", "two", "last"]);
    assert_eq!(channel.stats().lost, 1);
}

/// What a repair says is lost was the difference of two numbers, of which one was too high: it said "nothing" though an event was lost.
#[test]
fn a_repair_says_what_is_lost_also_where_takes_are_damaged() {
    let world = rotated_behind_a_take();
    let (path, at) = frame_of(&world, "take");
    flip(&world, &path, at + 70);
    flip(&world, &path, place_of(&world, &path, "event 4"));
    let repaired = repair::repair_on(Arc::new(world.clone()), Path::new(HOME)).unwrap();
    assert_eq!((repaired.lost, repaired.owed), (1, (6, 5)));
    assert!(repaired.damages.iter().all(|damage| damage.at.segment.get() == 1), "no sound image");
}

/// No checkpoint and no image can be read, and what lay before is gone: takes of that refused the open.
#[test]
fn takes_of_events_that_are_gone_are_no_reason_not_to_open() {
    let world = SimVfs::new(10);
    let channel = open(&world);
    for event in ["0", "1", "2"] {
        put_all(&channel, &[large(event)]);
    }
    channel.begin_take(TakeLimit::events(3)).unwrap().commit().unwrap();
    for event in ["owed 1", "owed 2"] {
        put_all(&channel, &[event]);
        channel.checkpoint().unwrap();
    }
    channel.close().unwrap();
    world.kill();
    for path in world.paths().iter().filter(|path| has_prefix(path, "checkpoint-")) {
        world.delete(path);
    }
    let [only] = &segments(&world)[..] else { panic!("one segment is left") };
    flip(&world, only, 70);
    assert_eq!(names(&open(&world)), ["owed 1", "owed 2"]);
}

/// The older of two checkpoints leads into segment 1, the newer into segment 2, which is gone.
fn without_the_newest_segment() -> SimVfs {
    let world = SimVfs::new(18);
    let channel = open(&world);
    for n in 0..4 {
        put_all(&channel, &[format!("event {n}")]);
    }
    channel.checkpoint().unwrap();
    put_all(&channel, &[large("one")]);
    put_all(&channel, &[large("two")]);
    channel.begin_take(TakeLimit::events(3)).unwrap().commit().unwrap();
    channel.checkpoint().unwrap();
    channel.close().unwrap();
    world.kill();
    world.delete(&segments(&world)[1]);
    world
}

/// A repair began segment 3 behind the newer checkpoint, and renamed that: it leads to a segment that is not there. The next open took
/// the older one, and what the newer one knew to be taken came again.
#[test]
fn a_checkpoint_into_a_segment_that_is_gone_serves_after_a_repair() {
    for on_damage in [OnDamage::Refuse, OnDamage::Quarantine] {
        let world = without_the_newest_segment();
        let found = inspector(&world).verify(Verify::default(), |_| {}).unwrap().findings;
        let codes: Vec<&str> = found.iter().map(|finding| finding.code).collect();
        assert!(codes.contains(&"FC2010") && !codes.contains(&"FC2404"), "{found:?}");
        let repaired = repair::repair_on(Arc::new(world.clone()), Path::new(HOME)).unwrap();
        assert!(repaired.undo.renamed.is_empty(), "{:?}", repaired.undo.renamed);
        let options = Options { on_damage, ..options() };
        let channel = Channel::open_on(Arc::new(world), Path::new(HOME), options).unwrap();
        assert_eq!(names(&channel), ["event 3", "one"], "{on_damage:?}");
        assert_eq!(channel.recovery().images_passed_over, [""; 0]);
    }
}

/// The same where an open dies between its segment and its checkpoint.
#[test]
fn a_checkpoint_into_a_segment_that_is_gone_serves_after_a_crash() {
    let world = without_the_newest_segment();
    for at in 1.. {
        let world = world.copy();
        world.plan(world.operations() + at, Fault::Crash);
        drop(Channel::open_on(Arc::new(world.clone()), Path::new(HOME), options()));
        if !world.is_dead() {
            assert!(at > 10, "{at}");
            break;
        }
        world.kill();
        assert_eq!(names(&open(&world)), ["event 3", "one"], "a crash at operation {at}");
    }
}

/// An open gave the only segment its other name, as nothing in it could be read, and died before it made the next one: the next open
/// called the log new, as if its disk were not mounted.
#[test]
fn a_log_whose_only_segment_was_renamed_is_not_new() {
    let world = SimVfs::new(19);
    let channel = open(&world);
    put_all(&channel, &["gone".to_owned()]);
    channel.close().unwrap();
    world.kill();
    let only = segments(&world).remove(0);
    world.set_content(&only, vec![7; 64 << 10]);
    let mut renamed = 0;
    for at in 1.. {
        let world = world.copy();
        world.plan(world.operations() + at, Fault::Crash);
        drop(Channel::open_on(Arc::new(world.clone()), Path::new(HOME), options()));
        if !world.is_dead() {
            break;
        }
        world.kill();
        let left = segments(&world);
        renamed += u32::from(left.len() == 1 && left[0] != only);
        let channel = open(&world);
        assert!(!channel.recovery().new, "a crash at operation {at}");
        assert_eq!(names(&channel), [""; 0]);
    }
    assert!(renamed > 0);
}

/// The first checkpoint could not be made, spares were, and then the only segment was lost: the next open called the log new, in silence.
#[test]
fn spares_tell_of_the_only_segment() {
    let world = SimVfs::new(25);
    let mut at = 0;
    // The operation that fails is one of the first checkpoint.
    let (world, channel) = loop {
        at += 1;
        let world = world.copy();
        world.plan(world.operations() + at, Fault::Error);
        let opened = Channel::open_on(Arc::new(world.clone()), Path::new(HOME), options());
        if let Ok(channel) = opened
            && !world.paths().iter().any(|path| has_prefix(path, "checkpoint-"))
        {
            break (world, channel);
        }
        assert!(at < 200, "no checkpoint failed");
    };
    put_all(&channel, &["gone"]);
    channel.tick().unwrap();
    world.power_cut();
    drop(channel);
    let only = segments(&world);
    assert_eq!(only.len(), 1);
    assert!(world.paths().iter().any(|path| has_prefix(path, "spare-")), "{:?}", world.paths());

    let deleted = world.copy();
    deleted.remove(&only[0]).unwrap();
    for on_damage in [OnDamage::Refuse, OnDamage::Quarantine] {
        let options = Options { on_damage, ..options() };
        let error = Channel::open_on(Arc::new(deleted.clone()), Path::new(HOME), options);
        let error = error.unwrap_err();
        assert_eq!(error.kind(), &ErrorKind::NotAChannel);
        assert!(error.to_string().contains("spares but no segments"), "{error}");
    }
    let found = inspector(&deleted).verify(Verify::default(), |_| {}).unwrap().findings;
    assert!(found.iter().any(|finding| finding.code == "FC2003"), "{found:?}");

    // What the error tells to do.
    for path in deleted.paths().iter().filter(|path| has_prefix(path, "spare-")) {
        deleted.remove(path).unwrap();
    }
    assert!(inspector(&deleted).verify(Verify::default(), |_| {}).unwrap().worst.is_none());
    assert!(open(&deleted).recovery().new);

    // A segment in which nothing can be read is renamed before the next one is made: the spares are alone then, with a record.
    world.set_content(&only[0], vec![7; 64 << 10]);
    let mut alone = 0;
    for at in 1.. {
        let world = world.copy();
        world.plan(world.operations() + at, Fault::Crash);
        drop(Channel::open_on(Arc::new(world.clone()), Path::new(HOME), options()));
        let crashed = world.is_dead();
        world.kill();
        // Renamed, it has another extension.
        alone += u32::from(segments(&world).iter().all(|path| path.extension().is_some()));
        let channel = open(&world);
        assert!(!channel.recovery().new, "a crash at operation {at}");
        assert_eq!(channel.quarantined().len(), 1);
        if !crashed {
            break;
        }
    }
    assert!(alone > 0, "a crash left nothing but spares and the record");
}

/// The open gave the directory a new identity before it saw that its segments were gone. Put back, they were a stranger's.
#[test]
fn what_is_left_of_a_log_without_segments_and_manifest_gets_no_new_identity() {
    let world = SimVfs::new(26);
    let channel = open(&world);
    put_all(&channel, &["owed"]);
    channel.tick().unwrap();
    channel.close().unwrap();
    world.kill();
    let left_with = |prefix: &str| {
        let left = world.copy();
        let others = |path: &&PathBuf| !has_prefix(path, prefix);
        for path in left.paths().iter().filter(others) {
            left.remove(path).unwrap();
        }
        left
    };
    for prefix in ["spare-", "checkpoint-"] {
        let left = left_with(prefix);
        assert!(!left.paths().is_empty(), "{prefix}");
        let error = Channel::open_on(Arc::new(left.clone()), Path::new(HOME), options());
        let error = error.unwrap_err();
        assert_eq!(error.kind(), &ErrorKind::NotAChannel, "{prefix}: {error}");
        let manifest = Path::new(HOME).join("manifest");
        assert_eq!(left.content(&manifest), None, "{prefix}");
        assert!(segments(&left).is_empty(), "{prefix}");
    }
}

/// The last group was held back, as nothing vouched for it, and one of its frames lay where another belongs. What lies behind was taken for
/// the next event, the frames held back contradicted that, and the channel stayed shut under any policy.
#[test]
fn frames_in_a_wrong_order_behind_those_that_are_held_back_keep_no_channel_shut() {
    let world = SimVfs::new(20);
    let channel = open(&world);
    put_all(&channel, &["first"]);
    let tickets = [["held 0"], ["held 1"], ["held 2"]].map(|event| submit(&channel, &event));
    while channel.lead_once() {}
    drop(tickets);
    drop(channel);
    world.kill();
    let puts = frames_of(&world, "put");
    let [.., (path, to), (_, from)] = &puts[..] else { panic!("four frames") };
    let [to, from] = [to, from].map(|at| usize::try_from(*at).unwrap());
    let mut bytes = world.content(path).unwrap();
    bytes.copy_within(from..from + (from - to), to);
    world.set_content(path, bytes);
    assert_eq!(names(&open(&world)), ["first", "held 0"]);
}

/// One bad frame in the middle of a segment, and a readable backlog behind it; then the next segment lost its head. What may have been
/// lost with that was counted from the bad frame on, and the backlog was given up for good.
#[test]
fn a_lost_head_takes_nothing_along_that_lies_behind_earlier_damage() {
    let world = SimVfs::new(21);
    let channel = open(&world);
    for event in ["0", "1", "2", "3"] {
        put_all(&channel, &[event.to_owned()]);
    }
    put_all(&channel, &[large("4")]);
    put_all(&channel, &[large("5")]);
    put_all(&channel, &["6"]);
    channel.checkpoint().unwrap();
    channel.checkpoint().unwrap();
    put_all(&channel, &["7"]);
    channel.close().unwrap();
    world.kill();
    let [before, newest] = &segments(&world)[..] else { panic!("two segments") };
    let (_, first) = frame_of(&world, "put");
    flip(&world, before, first + 10);
    let gone = world.copy();
    let mut bytes = world.content(newest).unwrap();
    bytes[..512].fill(0xa5);
    world.set_content(newest, bytes);
    assert_eq!(names(&open(&world)), ["1", "2", "3", "4", "6", "7"]);
    gone.delete(newest);
    assert_eq!(names(&open(&gone)), ["1", "2", "3", "4"]);
}

/// An open goes around it; the inspector said that the data directories are empty, and asked for their disks.
#[test]
fn segments_that_cannot_be_read_are_there_to_the_inspector() {
    let world = SimVfs::new(22);
    let channel = open(&world);
    put_all(&channel, &["gone"]);
    channel.checkpoint().unwrap();
    channel.close().unwrap();
    world.kill();
    world.set_content(&segments(&world)[0], vec![7; 64 << 10]);
    let found = inspector(&world).verify(Verify::default(), |_| {}).unwrap().findings;
    let codes: Vec<&str> = found.iter().map(|finding| finding.code).collect();
    assert!(codes.contains(&"FC2001") && !codes.contains(&"FC2003"), "{found:?}");
    assert!(!open(&world).recovery().new);
}
