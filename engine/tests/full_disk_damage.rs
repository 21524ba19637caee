//! Damage that is found where there is no room to record it: takers are not held up, nothing is lost in silence, and the record comes when
//! there is room.

mod common;

use common::{
    drain, payloads,
    place::{DIR, LONG, Place, SEGMENT, long, spares},
    texts,
};
use fchannel::{ErrorKind, Inspector, TakeLimit, repair};
use std::{path::Path, sync::Arc};

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

/// A copy of the damaged bytes was tried again each second, although the disk had no room for it or no more than that: it took the last
/// bytes, which those need who drain the disk.
#[test]
fn a_copy_of_damaged_bytes_waits_until_there_is_room_to_spare() {
    let place = Place::new(41);
    let channel = place.filled(&texts("event ", 2));
    channel.close().unwrap();
    let path = Path::new(DIR).join("seg-1");
    let len = place.world.content(&path).unwrap().len() as u64;
    place.world.flip(&path, 8 * (len - u64::try_from(LONG).unwrap()));
    let channel = place.open().unwrap();
    place.tick(&channel);
    place.disk.leave_nothing();
    assert_eq!(channel.begin_take(TakeLimit::events(3)).unwrap().records().len(), 2);
    let ids = || channel.quarantined().iter().map(|damage| damage.id).collect::<Vec<_>>();
    assert_eq!(ids(), [0]);
    place.disk.leave_all();
    place.disk.leave(SEGMENT);
    place.tick(&channel);
    assert_eq!(ids(), [0], "there is room for the copy, and for little else");
    place.disk.leave(3 * SEGMENT / 2);
    place.tick(&channel);
    assert_eq!(ids(), [1]);
    assert!(channel.quarantined()[0].bytes > 200 << 10);
}

/// A record that waits for room waited for 1 MiB, and its segment did not wait for it: the next start knew nothing of the damage. What goes
/// is recorded with the room there is, if need be without its bytes.
#[test]
fn the_record_of_a_damage_is_there_before_its_segment_goes() {
    for (room, copied) in [(1000, false), (LONG as u64 + 50_000, true)] {
        let place = Place::new(room);
        let channel = place.filled(&texts("event ", 2));
        for _ in 0..4 {
            channel.put(long().as_bytes()).unwrap();
        }
        channel.close().unwrap();
        place.world.kill();
        let path = Path::new(DIR).join("seg-1");
        place.world.flip(&path, 8 * 200 * 1024);
        let channel = place.open().unwrap();
        place.tick(&channel);
        place.disk.leave_nothing();
        assert_eq!(drain(&channel).len(), 6);
        assert_eq!(channel.quarantined()[0].id, 0);
        place.disk.leave_all();
        place.disk.leave(room);
        assert!(place.world.content(&path).is_some());
        channel.checkpoint().unwrap();
        assert!(place.world.content(&path).is_none(), "it was given back");
        drop(channel);
        place.world.kill();
        place.disk.leave_all();
        let told = place.open().unwrap().quarantined();
        assert_eq!(told.iter().map(|damage| damage.id).collect::<Vec<_>>(), [1]);
        assert_eq!(told[0].bytes > LONG as u64, copied, "{told:?}");
    }
}

/// A full disk, on which nothing can be read in the first of several segments, and what is there instead.
fn with_an_unreadable_segment(seed: u64) -> (Place, Vec<u8>) {
    let place = Place::new(seed);
    let channel = place.filled(&texts("event ", 3));
    for _ in 0..3 {
        channel.put(long().as_bytes()).expect("there is room");
    }
    channel.close().expect("it ends well");
    place.world.kill();
    let garbage = vec![7; 700_000];
    place.world.set_content(&Path::new(DIR).join("seg-1"), garbage.clone());
    place.disk.leave_nothing();
    (place, garbage)
}

/// A segment in which nothing can be read got the name of damage 0, as there was no room for a record; the record that it got later is that
/// of another name, and all that could have been salvaged was found no more.
#[test]
fn a_segment_that_cannot_be_read_keeps_its_name_until_there_is_a_record() {
    let (place, garbage) = with_an_unreadable_segment(43);
    let channel = place.open().unwrap();
    assert!(channel.quarantined().iter().all(|damage| damage.id == 0));
    place.disk.leave_all();
    place.tick(&channel);
    assert!(channel.quarantined().iter().all(|damage| damage.id > 0));
    channel.close().unwrap();
    place.world.kill();
    place.open().unwrap().close().unwrap();
    let inspector = Inspector::open_on(Arc::new(place.disk.clone()), Path::new(DIR)).unwrap();
    let damages = inspector.quarantined();
    let damage = damages.iter().find(|damage| damage.at.segment.get() == 1).unwrap();
    assert!(inspector.quarantined_bytes(damage).unwrap() == garbage, "nothing was left");
}

/// It has its name when the next open comes, and what lay behind it may have been given back by then: the open took it for larger damage,
/// and recorded it once more.
#[test]
fn a_segment_that_cannot_be_read_has_one_record() {
    let (place, _) = with_an_unreadable_segment(61);
    let channel = place.open().unwrap();
    place.disk.leave_all();
    place.tick(&channel);
    drain(&channel);
    for _ in 0..2 {
        channel.put(b"a checkpoint needs something to say").unwrap();
        channel.checkpoint().unwrap();
    }
    assert!(place.world.content(&Path::new(DIR).join("seg-2")).is_none(), "it was given back");
    let told = channel.quarantined();
    assert_eq!(told.iter().map(|damage| damage.id).collect::<Vec<_>>(), [1]);
    channel.close().unwrap();
    place.world.kill();
    let channel = place.open().unwrap();
    assert_eq!(channel.recovery().damages, []);
    assert_eq!(channel.quarantined(), told);
    let renamed = Path::new(DIR).join("seg-1.damage-1");
    assert!(place.world.content(&renamed).is_some(), "and it has its other name");
}

/// A taker came across damage, and there was no room for the frame that gives its events up: they were owed for ever, as nobody came across
/// them again, and their segment was not given back before a restart.
#[test]
fn what_is_lost_is_given_up_when_there_is_room_again() {
    let place = Place::new(47);
    let channel = place.filled(&texts("event ", 5));
    channel.close().unwrap();
    let path = Path::new(DIR).join("seg-1");
    let bytes = place.world.content(&path).unwrap();
    let event = "event 2";
    let at = bytes.windows(event.len()).position(|bytes| bytes == event.as_bytes()).unwrap();
    place.world.flip(&path, 8 * at as u64);
    for spare in spares(&place) {
        place.world.delete(&Path::new(DIR).join(spare));
    }
    let channel = place.open().unwrap();
    place.disk.leave_nothing();
    let mut take = channel.begin_take(TakeLimit::events(2)).unwrap();
    let error = take.extend(TakeLimit::events(10)).unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::DiskFull, "{error}");
    assert_eq!(payloads(take.records()), ["event 0", "event 1"], "it stayed as it was");
    drop(take);
    assert!(channel.poisoned().is_none());
    assert_eq!((channel.stats().events, channel.stats().leased), (6, 0));
    place.disk.leave_all();
    assert_eq!(drain(&channel), ["event 0", "event 1", "event 3", "event 4", &long()]);
    assert_eq!((channel.stats().events, channel.stats().lost), (0, 1));
    channel.close().unwrap();
    place.assert_sound();
}

/// The same where an open comes across the damage: it has room for its segment, and none to say what is lost. It was refused.
#[test]
fn an_open_says_later_what_is_lost() {
    let (mut refused, mut later) = (0, 0);
    for room in (0..1000).step_by(20) {
        let mut place = Place::new(room);
        place.options.checkpoint_on_close = false;
        let channel = place.filled(&texts("event ", 3));
        channel.close().unwrap();
        let path = Path::new(DIR).join("seg-1");
        let bytes = place.world.content(&path).unwrap();
        let at = bytes.windows(7).position(|bytes| bytes == b"event 1").unwrap();
        place.world.flip(&path, 8 * at as u64);
        for spare in spares(&place) {
            place.world.delete(&Path::new(DIR).join(spare));
        }
        place.disk.leave(room);
        let opened = place.open();
        refused += u64::from(opened.is_err());
        later += u64::from(opened.as_ref().is_ok_and(|channel| channel.stats().lost == 0));
        place.disk.leave_all();
        let channel = opened.or_else(|_| place.open()).unwrap();
        assert_eq!(drain(&channel), ["event 0", "event 2", &long()], "room for {room}");
        assert_eq!((channel.stats().events, channel.stats().lost), (0, 1), "room for {room}");
    }
    assert!(refused > 0 && later > 0, "{refused} {later}");
}

/// What reading finds, below the checkpoint, was given up by a repair although there was no room for its record: the next life gave the
/// segment back, and with it the bytes that an operator could have saved.
#[test]
fn a_repair_without_room_for_a_record_is_taken_back() {
    let place = Place::new(43);
    place.filled(&texts("event ", 2)).close().unwrap();
    let path = Path::new(DIR).join("seg-1");
    let len = place.world.content(&path).unwrap().len() as u64;
    place.world.flip(&path, 8 * (len - u64::try_from(LONG).unwrap()));
    let content = || {
        let files = place.world.paths().into_iter();
        files.map(|path| (place.world.content(&path), path)).collect::<Vec<_>>()
    };
    let before = content();
    place.disk.leave(100 << 10);
    let repair = || repair::repair_on(Arc::new(place.disk.clone()), Path::new(DIR));
    let refused = repair().unwrap_err();
    assert!(refused.to_string().contains("no record"), "{refused}");
    assert!(content() == before);
    place.disk.leave_all();
    let repaired = repair().unwrap();
    assert_eq!(repaired.lost, 1);
    assert!(repaired.damages[0].bytes > LONG as u64, "{:?}", repaired.damages);
}
