//! Setting damage aside by hand: what is lost is named, verified after, and taken back to the byte.
#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]
#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "these tests lay hands on the files of a closed channel"
)]

mod common;

use common::{payloads, put_all};
use fchannel::{
    Channel, ErrorKind, Inspector, OnDamage, Options, Severity, TakeLimit, Verify, repair,
};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

fn options() -> Options {
    Options {
        segment_bytes_max: 64 << 10,
        free_space_min_bytes: 0,
        on_damage: OnDamage::Refuse,
        ..Options::default()
    }
}

/// Every file but the lock, and the directories.
fn picture(dir: &Path) -> BTreeMap<PathBuf, Option<Vec<u8>>> {
    let mut picture = BTreeMap::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            picture.extend(picture_of(&path));
            picture.insert(path, None);
        } else if !path.ends_with("in_use.lock") {
            let bytes = fs::read(&path).unwrap();
            picture.insert(path, Some(bytes));
        }
    }
    picture
}

fn picture_of(dir: &Path) -> BTreeMap<PathBuf, Option<Vec<u8>>> {
    picture(dir)
}

fn worst(dir: &Path) -> Option<Severity> {
    let inspector = Inspector::open(dir).unwrap();
    inspector.verify(Verify::default(), |_| {}).unwrap().worst
}

fn event(number: usize) -> Vec<u8> {
    format!("event {number:04} {}", "x".repeat(2000)).into_bytes()
}

/// Six segments of events, of which the first 40 are taken; then a flipped byte in a pending event, a lost segment in the middle, a cut
/// checkpoint.
fn three_damages(dir: &Path) -> Vec<usize> {
    let channel = Channel::open(dir, options()).unwrap();
    for number in 0..180 {
        put_all(&channel, &[event(number)]);
    }
    channel.begin_take(TakeLimit::events(40)).unwrap().commit().unwrap();
    channel.close().unwrap();
    let mut segments: Vec<(u64, PathBuf)> = fs::read_dir(dir)
        .unwrap()
        .filter_map(|entry| {
            let path = entry.unwrap().path();
            let number = path.file_name()?.to_str()?.strip_prefix("seg-")?.parse().ok()?;
            Some((number, path))
        })
        .collect();
    segments.sort();
    assert!(segments.len() >= 5, "{segments:?}");
    let events_of = |path: &Path| -> Vec<usize> {
        let bytes = fs::read(path).unwrap();
        (0..180)
            .filter(|number| {
                let event = format!("event {number:04} ");
                bytes.windows(event.len()).any(|window| window == event.as_bytes())
            })
            .collect()
    };
    let lost_segment = &segments[segments.len() - 2].1;
    let mut lost = events_of(lost_segment);
    fs::remove_file(lost_segment).unwrap();
    let flipped = &segments[segments.len() - 3].1;
    let victim = *events_of(flipped).iter().find(|number| **number >= 45).unwrap();
    let mut bytes = fs::read(flipped).unwrap();
    let text = format!("event {victim:04} ");
    let at = bytes.windows(text.len()).position(|window| window == text.as_bytes()).unwrap();
    bytes[at + 20] ^= 4;
    fs::write(flipped, bytes).unwrap();
    lost.insert(0, victim);
    let checkpoint = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with("checkpoint-"))
        .max()
        .unwrap();
    fs::File::options().write(true).open(checkpoint).unwrap().set_len(30).unwrap();
    lost
}

#[test]
fn three_damages_are_set_aside_and_brought_back_to_the_byte() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path();
    let lost = three_damages(dir);
    let before = picture(dir);
    assert_eq!(worst(dir), Some(Severity::Error));
    assert_eq!(Channel::open(dir, options()).err().unwrap().kind(), &ErrorKind::Corrupt);
    assert_eq!(picture(dir), before, "a refusal changes nothing");

    let planned = repair::plan(dir).unwrap();
    assert_eq!(picture(dir), before, "a plan changes nothing");

    let repaired = repair::repair(dir).unwrap();
    let without_times = |damages: &[fchannel::Quarantined]| -> Vec<fchannel::Quarantined> {
        let mut damages = damages.to_vec();
        damages.iter_mut().for_each(|damage| damage.found_ms = 0);
        damages
    };
    assert_eq!(without_times(&planned.damages), without_times(&repaired.damages), "as planned");
    assert_eq!(planned.left, repaired.left);
    assert_eq!(planned.owed, repaired.owed);
    assert_eq!(planned.undo.renamed, repaired.undo.renamed);
    let paths = |repaired: &repair::Repaired| -> Vec<PathBuf> {
        repaired.undo.made.iter().map(|made| made.path.clone()).collect()
    };
    assert_eq!(paths(&planned), paths(&repaired));
    let mut named: Vec<u64> = repaired
        .damages
        .iter()
        .flat_map(|damage| damage.events.0.get()..damage.events.1.get())
        .collect();
    named.sort_unstable();
    assert_eq!(named, lost.iter().map(|seq| *seq as u64).collect::<Vec<_>>(), "exactly these");
    assert_eq!(repaired.owed.1, 140 - lost.len() as u64);
    assert!(worst(dir) <= Some(Severity::Info), "what is set aside calls for nobody");
    for (path, content) in &before {
        let same = fs::read(path).ok() == *content || path.is_dir();
        assert!(same || path.to_string_lossy().contains("checkpoint-"), "{path:?} was changed");
    }

    repair::undo(&repaired.undo).unwrap();
    assert_eq!(picture(dir), before, "to the byte");
    repair::undo(&repaired.undo).unwrap();

    repair::repair(dir).unwrap();
    let channel = Channel::open(dir, options()).expect("also where damage refuses an open");
    let take = channel.begin_take(TakeLimit::events(1000)).unwrap();
    let left: Vec<String> = (40..180)
        .filter(|number| !lost.contains(number))
        .map(|number| String::from_utf8(event(number)).unwrap())
        .collect();
    assert_eq!(payloads(take.records()), left);
}

#[test]
fn there_is_no_way_back_once_the_channel_was_used() {
    let root = tempfile::tempdir().unwrap();
    three_damages(root.path());
    let repaired = repair::repair(root.path()).unwrap();
    let channel = Channel::open(root.path(), options()).unwrap();
    assert_eq!(
        repair::undo(&repaired.undo).unwrap_err().kind(),
        &ErrorKind::Locked { pid: Some(std::process::id()) }
    );
    put_all(&channel, &["new"]);
    channel.close().unwrap();
    let used = picture(root.path());
    assert_eq!(repair::undo(&repaired.undo).unwrap_err().kind(), &ErrorKind::Corrupt);
    assert_eq!(picture(root.path()), used);
}

#[test]
fn there_is_no_way_back_once_a_damage_was_settled() {
    let root = tempfile::tempdir().unwrap();
    three_damages(root.path());
    let repaired = repair::repair(root.path()).unwrap();
    assert!(!repaired.damages.is_empty());
    repair::settle(root.path(), repaired.damages[0].id).unwrap();
    let settled = picture(root.path());
    assert_eq!(repair::undo(&repaired.undo).unwrap_err().kind(), &ErrorKind::Corrupt);
    assert_eq!(picture(root.path()), settled);
    assert!(worst(root.path()) <= Some(Severity::Info), "settled damage is known damage");
    drop(Channel::open(root.path(), options()).expect("also where damage refuses an open"));
    let inspector = Inspector::open(root.path()).unwrap();
    assert_eq!(inspector.quarantined().len() + 1, repaired.damages.len());
    assert_eq!(inspector.settled().len(), 1);
}

#[test]
fn an_undo_removes_nothing_outside_of_the_channel() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("channel");
    three_damages(&dir);
    let mut undo = repair::repair(&dir).unwrap().undo;
    let file = root.path().join("a user's file");
    fs::write(&file, "precious").unwrap();
    undo.made.push(repair::Made { path: file.clone(), content: None });
    assert_eq!(repair::undo(&undo).unwrap_err().kind(), &ErrorKind::Corrupt);
    assert!(file.exists());
}

#[test]
fn what_a_flip_damaged_can_still_be_read_and_is_marked() {
    let root = tempfile::tempdir().unwrap();
    let lost = three_damages(root.path());
    repair::repair(root.path()).unwrap();
    let inspector = Inspector::open(root.path()).unwrap();
    let mut found = Vec::new();
    for damage in inspector.quarantined() {
        for frame in inspector.salvage(damage).unwrap() {
            for event in frame.events.iter().filter(|event| event.lost) {
                found.push((event.seq.get(), event.verified, event.payload.to_vec()));
            }
        }
    }
    let [(seq, false, payload)] = &found[..] else { panic!("{found:?}") };
    assert_eq!(*seq, lost[0] as u64);
    let sound = event(lost[0]);
    let wrong = payload.iter().zip(&sound).filter(|(left, right)| left != right).count();
    assert_eq!((payload.len(), wrong), (sound.len(), 1));
}

#[test]
fn a_sound_channel_is_left_alone() {
    let root = tempfile::tempdir().unwrap();
    let channel = Channel::open(root.path(), options()).unwrap();
    put_all(&channel, &["one"]);
    drop(channel);
    let before = picture(root.path());
    let repaired = repair::repair(root.path()).unwrap();
    assert!(repaired.damages.is_empty() && repaired.undo.made.is_empty());
    assert_eq!(picture(root.path()), before);
}
