//! Damage that has a record refuses no more; but a record stands for what it names, and for nothing that came to it since. Known by its
//! place alone, larger damage passed `on_damage = Refuse`, and under `Quarantine` nobody was told.
#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod common;

use common::{drain, put_all};
use fchannel::{
    Channel, ErrorKind, FrameRow, Inspector, OnDamage, Options, Position, Severity, TakeLimit,
    Verify,
    io::sim::{Fault, SimVfs},
    repair,
};
use std::{
    ops::ControlFlow,
    path::{Path, PathBuf},
    sync::Arc,
};

const HOME: &str = "/disk";

fn open(world: &SimVfs, on_damage: OnDamage) -> fchannel::Result<Channel> {
    let options = Options {
        segment_bytes_max: 64 << 10,
        free_space_min_bytes: 0,
        keep_alive_ms: 0,
        checkpoint_on_close: false,
        tail_cache_bytes: 0,
        on_damage,
        ..Options::default()
    };
    Channel::open_on(Arc::new(world.clone()), Path::new(HOME), options)
}

fn inspector(world: &SimVfs) -> Inspector {
    Inspector::open_on(Arc::new(world.clone()), Path::new(HOME)).unwrap()
}

fn worst(world: &SimVfs) -> Option<Severity> {
    inspector(world).verify(Verify::default(), |_| {}).unwrap().worst
}

fn repaired(world: &SimVfs) -> repair::Repaired {
    repair::repair_on(Arc::new(world.clone()), Path::new(HOME)).unwrap()
}

fn segment(number: u64) -> PathBuf {
    Path::new(HOME).join(format!("seg-{number}"))
}

fn refused(world: &SimVfs) -> bool {
    match open(world, OnDamage::Refuse) {
        Ok(_) => false,
        Err(error) => {
            assert_eq!(error.kind(), &ErrorKind::Corrupt, "{error}");
            true
        }
    }
}

/// The first words of all that can be taken.
fn names(channel: &Channel) -> Vec<String> {
    let name = |event: &String| event.split(" xx").next().unwrap_or_default().to_owned();
    drain(channel).iter().map(name).collect()
}

/// Two events in each of three segments.
fn filled() -> SimVfs {
    let world = SimVfs::new(31);
    let channel = open(&world, OnDamage::Refuse).unwrap();
    for number in 0..6 {
        put_all(&channel, &[format!("event {number} {}", "x".repeat(30_000))]);
    }
    channel.close().unwrap();
    world.kill();
    assert!(world.content(&segment(3)).is_some());
    world
}

/// The places of put frames in segment `number`.
fn puts(world: &SimVfs, number: u64) -> Vec<u64> {
    let mut found = Vec::new();
    let mut row = |row: FrameRow| {
        if let FrameRow::Frame(frame) = row
            && frame.kind() == "put"
            && frame.ptr.segment.get() == number
        {
            found.push(frame.ptr.offset);
        }
        ControlFlow::Continue(())
    };
    inspector(world).frames(Position::Oldest, Position::Newest, &mut row).unwrap();
    found
}

/// A repair recorded a damaged header, "its frames can be read all the same". Then the whole segment was lost, and with it all that was
/// owed in it: the place had a record, so the agent opened without a word, and `verify` called it set aside.
#[test]
fn a_segment_whose_header_was_damaged_can_still_be_lost() {
    for unreadable in [true, false] {
        let world = filled();
        world.flip(&segment(2), 8 * 20);
        assert!(refused(&world));
        assert_eq!(repaired(&world).lost, 0);
        assert!(!refused(&world), "what is set aside");
        world.kill();
        assert!(worst(&world) < Some(Severity::Warn));
        if unreadable {
            world.set_content(&segment(2), vec![7; 5000]);
        } else {
            world.delete(&segment(2));
        }
        assert_eq!(worst(&world), Some(Severity::Error));
        assert!(refused(&world), "nobody has seen this");

        let around = world.copy();
        let channel = open(&around, OnDamage::Quarantine).unwrap();
        let told = &channel.recovery().damages;
        assert!(told.iter().any(|damage| damage.at.offset == 0), "{told:?}");
        assert_eq!(names(&channel), ["event 0", "event 1", "event 4", "event 5"]);

        let again = repaired(&world);
        assert_eq!(again.lost, 2);
        if unreadable {
            let inspector = inspector(&world);
            let bytes = again.damages.iter().map(|it| inspector.quarantined_bytes(it).unwrap());
            assert!(bytes.into_iter().any(|bytes| bytes.len() == 5000), "kept whole");
        }
        assert!(worst(&world) < Some(Severity::Warn));
        let channel = open(&world, OnDamage::Refuse).expect("set aside again, it is known again");
        assert_eq!(names(&channel), ["event 0", "event 1", "event 4", "event 5"]);
    }
}

/// One segment was lost, and recorded. When the next one went, the hole between the others began where it had.
#[test]
fn a_hole_that_grows_is_not_the_one_that_was_recorded() {
    let world = filled();
    world.delete(&segment(2));
    assert_eq!(repaired(&world).lost, 2);
    assert!(!refused(&world));
    world.kill();
    world.delete(&segment(3));
    assert_eq!(worst(&world), Some(Severity::Error));
    assert!(refused(&world));
    assert_eq!(repaired(&world).lost, 2);
    assert!(worst(&world) < Some(Severity::Warn));
    assert_eq!(names(&open(&world, OnDamage::Refuse).unwrap()), ["event 0", "event 1"]);
}

/// The damaged frame had a record, and the one behind it was sound; until it was damaged as well, without a trace of where it began.
#[test]
fn a_frame_behind_a_damaged_one_is_not_lost_with_it() {
    let world = SimVfs::new(32);
    let channel = open(&world, OnDamage::Refuse).unwrap();
    for number in 0..4 {
        put_all(&channel, &[format!("event {number}")]);
    }
    channel.close().unwrap();
    world.kill();
    let places = puts(&world, 1);
    world.flip(&segment(1), 8 * (places[1] + 70));
    assert_eq!(repaired(&world).lost, 1);
    assert!(!refused(&world));
    world.kill();
    // Behind it: both headers are gone, and the hole is one.
    for place in [places[1], places[2]] {
        world.flip(&segment(1), 8 * (place + 10));
    }
    assert_eq!(worst(&world), Some(Severity::Error));
    let channel = open(&world, OnDamage::Refuse).expect("the checkpoint covers it");
    let take = || channel.begin_take(TakeLimit::events(10)).map(|take| take.records().len());
    assert_eq!(take().unwrap(), 1, "event 0 is before it");
    channel.begin_take(TakeLimit::events(1)).unwrap().commit().unwrap();
    assert_eq!(take().unwrap_err().kind(), &ErrorKind::Corrupt);
    drop(channel);
    world.kill();
    let around = world.copy();
    let channel = open(&around, OnDamage::Quarantine).unwrap();
    let known = channel.quarantined().len();
    assert_eq!(names(&channel), ["event 3"]);
    assert_eq!(channel.quarantined().len(), known + 1, "told, and copied");
    assert_eq!(repaired(&world).lost, 1);
    assert!(worst(&world) < Some(Severity::Warn));
    assert_eq!(names(&open(&world, OnDamage::Refuse).unwrap()), ["event 3"]);
}

/// The newest segments were lost, and recorded from the first of them on; then the open ended before it made the next one. `verify` looked
/// for a record of the last of them, to which the checkpoint leads, and found none.
#[test]
fn the_newest_segments_that_are_lost_are_known_together() {
    let whole = filled();
    let channel = open(&whole, OnDamage::Refuse).unwrap();
    for number in 6..10 {
        put_all(&channel, &[format!("event {number} {}", "x".repeat(30_000))]);
    }
    channel.checkpoint().unwrap();
    channel.close().unwrap();
    whole.kill();
    let newest = (1..).take_while(|id| whole.content(&segment(*id)).is_some()).last().unwrap();
    whole.delete(&segment(newest));
    whole.delete(&segment(newest - 1));
    let codes = |world: &SimVfs| {
        let found = inspector(world).verify(Verify::default(), |_| {}).unwrap().findings;
        let told = found.into_iter().filter(|it| it.code == "FC2010");
        told.map(|it| it.severity).collect::<Vec<_>>()
    };
    assert_eq!(codes(&whole), [Severity::Error]);
    let mut between = 0;
    for at in 1.. {
        let world = whole.copy();
        world.plan(world.operations() + at, Fault::Crash);
        drop(open(&world, OnDamage::Quarantine));
        let crashed = world.is_dead();
        world.kill();
        let recorded = world.content(&Path::new(HOME).join("quarantine/1.damage")).is_some();
        if recorded && world.content(&segment(newest + 1)).is_none() {
            assert_eq!(codes(&world), [Severity::Info], "a crash at operation {at}");
            between += 1;
        }
        if !crashed {
            break;
        }
    }
    assert!(between > 0);
}

/// Behind the end of the damage there was nothing that told how far it went, and any record at that place stood for it: in the same life
/// the frames behind a damaged one were lost as well, and nobody was told.
#[test]
fn damage_that_grows_to_the_end_of_the_log_is_told() {
    let world = SimVfs::new(33);
    let channel = open(&world, OnDamage::Quarantine).unwrap();
    for number in 0..4 {
        put_all(&channel, &[format!("event {number}")]);
    }
    let places = puts(&world, 1);
    let read = || channel.peek(None, TakeLimit::events(10)).unwrap().len();
    let told = || channel.quarantined().iter().map(|it| it.lsns.0.get()).collect::<Vec<_>>();
    assert_eq!((read(), told()), (4, vec![]));
    world.flip(&segment(1), 8 * (places[1] + 70));
    assert_eq!((read(), told()), (3, vec![2]));
    assert_eq!((read(), told()), (3, vec![2]), "it is known");
    for place in &places[1..] {
        world.flip(&segment(1), 8 * (place + 10));
    }
    assert_eq!((read(), told()), (1, vec![2, 2]), "nobody has seen this");
    assert_eq!((read(), told()), (1, vec![2, 2]));
    let grown = channel.quarantined().pop().unwrap();
    assert!(grown.next > Some(fchannel::FramePtr { offset: places[3], ..grown.at }));
    assert!(grown.bytes > places[3] - places[1], "{grown:?}");
}

/// A taker who comes back to a frame knows its place, and not its LSN: the record said that all from the first one on is missing, although
/// the header of the frame is sound.
#[test]
fn the_lsn_of_a_damaged_frame_is_read_in_its_header() {
    let world = SimVfs::new(34);
    let channel = open(&world, OnDamage::Quarantine).unwrap();
    for number in 0..4 {
        put_all(&channel, &[format!("event {number}")]);
    }
    let places = puts(&world, 1);
    drop(channel.begin_take(TakeLimit::events(4)).unwrap());
    world.flip(&segment(1), 8 * (places[2] + 70));
    let take = channel.begin_take(TakeLimit::events(4)).unwrap();
    assert_eq!(take.records().len(), 3);
    let told = channel.quarantined();
    assert_eq!(
        told.iter().map(|it| (it.lsns.0.get(), it.lsns.1.get())).collect::<Vec<_>>(),
        [(3, 4)]
    );
}

/// Nothing in the newest segment was vouched for, so the next open took its name, though its image was damaged: the bytes were gone where
/// there was no room for a copy of them, and the record stood for whatever became of the new file.
#[test]
fn a_damaged_segment_keeps_its_name() {
    let world = filled();
    for _ in 0..2 {
        drop(open(&world, OnDamage::Refuse).unwrap());
        world.kill();
    }
    let newest = (1..).take_while(|id| world.content(&segment(*id)).is_some()).last().unwrap();
    // The header; and the image, which an open reads that has no checkpoint.
    for (damaged_at, checkpoints) in [(20, true), (70, false)] {
        let world = world.copy();
        world.flip(&segment(newest), 8 * damaged_at);
        let is_checkpoint = |path: &PathBuf| path.to_string_lossy().contains("/checkpoint-");
        for path in world.paths().iter().filter(|path| !checkpoints && is_checkpoint(path)) {
            world.delete(path);
        }
        let before = world.content(&segment(newest)).unwrap();
        for _ in 0..2 {
            let channel = open(&world, OnDamage::Quarantine).unwrap();
            assert_eq!(channel.stats().events, 6);
            assert_eq!(channel.quarantined().len(), 1);
            channel.checkpoint().unwrap();
            drop(channel);
            world.kill();
            assert!(world.content(&segment(newest)).unwrap() == before, "byte {damaged_at}");
        }
        assert!(world.content(&segment(newest + 1)).is_some());
        assert!(world.content(&segment(newest + 2)).is_none(), "a sound one is written over");
    }
}

/// An earlier release did take such names over. Its records say that the log goes on where the damage is: who came there jumped to the
/// same place for ever.
#[test]
fn a_record_that_leads_nowhere_holds_nobody_up() {
    let world = filled();
    let channel = open(&world, OnDamage::Refuse).unwrap();
    channel.checkpoint().unwrap();
    channel.close().unwrap();
    world.kill();
    world.flip(&segment(2), 8 * 70);
    let records = |world: &SimVfs| {
        let all = world.paths().into_iter();
        all.filter(|path| path.extension().is_some_and(|it| it == "damage")).collect::<Vec<_>>()
    };
    let channel = open(&world, OnDamage::Quarantine).unwrap();
    assert_eq!(channel.peek(None, TakeLimit::events(10)).unwrap().len(), 6);
    drop(channel);
    world.kill();
    let [record] = &records(&world)[..] else { panic!("one record") };
    let text = String::from_utf8(world.content(record).unwrap()).unwrap();
    let (sealed, _) = text.rsplit_once("crc ").unwrap();
    let mut lines: Vec<String> = sealed.lines().map(str::to_owned).collect();
    let next = lines.iter_mut().find(|line| line.starts_with("next ")).unwrap();
    "next seg-2@64".clone_into(next);
    let sealed = lines.join("\n") + "\n";
    let crc = crc32fast::hash(sealed.as_bytes());
    world.set_content(record, format!("{sealed}crc {crc:08x}\n").into_bytes());

    for on_damage in [OnDamage::Refuse, OnDamage::Quarantine] {
        let channel = open(&world.copy(), on_damage).unwrap();
        assert_eq!(names(&channel).len(), 6, "{on_damage:?}");
        assert_eq!(channel.quarantined().len(), 1, "it is known");
    }
}

/// The first segment was lost, and recorded. Then no image could be read any more: what had been taken was forgotten, and the record of the
/// lost segment was taken for leave to go on.
#[test]
fn a_lost_segment_is_no_word_on_images_that_cannot_be_read() {
    let world = filled();
    world.delete(&segment(1));
    assert_eq!(repaired(&world).lost, 2);
    let channel = open(&world, OnDamage::Refuse).unwrap();
    channel.begin_take(TakeLimit::events(1)).unwrap().commit().unwrap();
    channel.close().unwrap();
    world.kill();
    for path in world.paths() {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.starts_with("seg-") {
            world.flip(&path, 8 * 130);
        } else if name.starts_with("checkpoint-") {
            world.delete(&path);
        }
    }
    assert_eq!(worst(&world), Some(Severity::Error));
    assert!(refused(&world));
}
