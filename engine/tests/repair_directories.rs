//! Repairs of channels in several directories, moved ones, copies, and ones whose manifests are damaged: what is changed is what was meant.
#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]
#![expect(
    clippy::disallowed_methods,
    reason = "these tests lay hands on the files of a closed channel"
)]

mod common;

use common::put_all;
use fchannel::{Channel, ErrorKind, Inspector, OnDamage, Options, repair};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

fn options(data_dirs: &[&Path]) -> Options {
    Options {
        segment_bytes_max: 64 << 10,
        data_dirs: data_dirs.iter().map(|dir| dir.to_path_buf()).collect(),
        free_space_min_bytes: 0,
        on_damage: OnDamage::Refuse,
        ..Options::default()
    }
}

/// A channel of several segments.
fn filled(home: &Path, data_dirs: &[&Path]) {
    let channel = Channel::open(home, options(data_dirs)).unwrap();
    for number in 0..8 {
        put_all(&channel, &[format!("event {number} {}", "x".repeat(30_000))]);
    }
    channel.close().unwrap();
}

/// Changes a bit of `event` in one of the segments in `dir`.
fn flip(dir: &Path, event: &str) {
    let files = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let found = files.filter(|path| path.is_file()).find_map(|path| {
        let bytes = fs::read(&path).unwrap();
        let at = bytes.windows(event.len()).position(|window| window == event.as_bytes())?;
        Some((path, bytes, at))
    });
    let (path, mut bytes, at) = found.unwrap();
    bytes[at] ^= 1;
    fs::write(path, bytes).unwrap();
}

fn damage_manifest(dir: &Path) {
    fs::write(dir.join("manifest"), b"not one").unwrap();
}

/// Every file but the locks.
fn picture(dirs: &[&Path]) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut picture = BTreeMap::new();
    for entry in dirs.iter().flat_map(|dir| fs::read_dir(dir).unwrap()) {
        let path = entry.unwrap().path();
        if path.is_dir() {
            picture.extend(self::picture(&[&path]));
        } else if !path.ends_with("in_use.lock") {
            let bytes = fs::read(&path).unwrap();
            picture.insert(path, bytes);
        }
    }
    picture
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

#[test]
fn one_directory_of_several_whose_manifest_is_damaged_is_not_taken_for_all() {
    let root = tempfile::tempdir().unwrap();
    let (home, one, two) =
        (root.path().join("home"), root.path().join("one"), root.path().join("two"));
    for data_dirs in [&[&*one, &*two][..], &[&*home, &*two]] {
        filled(&home, data_dirs);
        let named = data_dirs[0];
        let sound = fs::read(named.join("manifest")).unwrap();
        damage_manifest(named);
        let before = picture(&[&home, &one, &two]);
        let refused = repair::repair(named).unwrap_err();
        assert_eq!(refused.kind(), &ErrorKind::Corrupt, "{refused}");
        assert!(refused.to_string().contains("other directories"), "{refused}");
        assert_eq!(picture(&[&home, &one, &two]), before, "a refusal changes nothing");
        if named == one {
            // Another directory's names it.
            repair::repair(&home).unwrap();
        } else {
            fs::write(named.join("manifest"), sound).unwrap();
        }
        let channel = Channel::open(&home, options(data_dirs)).unwrap();
        assert_eq!(channel.stats().events, 8);
        channel.close().unwrap();
        for dir in [&home, &one, &two] {
            fs::remove_dir_all(dir).unwrap_or_default();
            fs::create_dir(dir).unwrap();
        }
    }
}

#[test]
fn a_repair_of_a_copied_home_leaves_the_original_alone() {
    let root = tempfile::tempdir().unwrap();
    let (home, data) = (root.path().join("var/ck"), root.path().join("var/data"));
    filled(&home, &[&data]);
    flip(&data, "event 2");
    let (home_copy, data_copy) = (root.path().join("backup/a"), root.path().join("backup/b"));
    copy(&home, &home_copy);
    copy(&data, &data_copy);
    let before = picture(&[&home, &data]);
    for answer in [repair::repair(&home_copy).map(drop), repair::settle(&home_copy, 1)] {
        let refused = answer.unwrap_err();
        assert_eq!(refused.kind(), &ErrorKind::NotAChannel, "{refused}");
    }
    assert_eq!(picture(&[&home, &data]), before);
    // Laid out as they were, the copies find each other.
    let (home_copy, data_copy) = (root.path().join("copy/ck"), root.path().join("copy/data"));
    copy(&home, &home_copy);
    copy(&data, &data_copy);
    let repaired = repair::repair(&data_copy).unwrap();
    assert_eq!(repaired.undo.data, [data_copy]);
    assert_eq!(repaired.damages.len(), 1);
    assert_eq!(picture(&[&home, &data]), before);
}

#[test]
fn a_directory_that_is_not_there_is_no_damage_to_repair() {
    let root = tempfile::tempdir().unwrap();
    let (home, data) = (root.path().join("home"), root.path().join("data"));
    filled(&home, &[&data]);
    fs::remove_dir_all(&home).unwrap();
    let before = picture(&[&data]);
    assert_eq!(repair::repair(&data).unwrap_err().kind(), &ErrorKind::NotAChannel);
    assert_eq!(picture(&[&data]), before);
}

#[test]
fn an_undo_in_a_copy_is_exact() {
    let root = tempfile::tempdir().unwrap();
    let (original, moved) = (root.path().join("original"), root.path().join("a copy of it"));
    filled(&original, &[]);
    flip(&original, "event 2");
    copy(&original, &moved);
    let before = picture(&[&moved]);
    let repaired = repair::repair(&moved).unwrap();
    let after = picture(&[&moved]);
    for (path, bytes) in &before {
        assert_eq!(after.get(path), Some(bytes), "{} was changed", path.display());
    }
    repair::undo(&repaired.undo).unwrap();
    assert_eq!(picture(&[&moved]), before, "to the byte");
}

#[test]
fn the_undo_of_a_manifest_can_be_begun_again() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path();
    filled(dir, &[]);
    flip(dir, "event 2");
    damage_manifest(dir);
    let before = picture(&[dir]);
    let repaired = repair::repair(dir).unwrap();
    for _ in 0..2 {
        repair::undo(&repaired.undo).unwrap();
        assert_eq!(picture(&[dir]), before, "to the byte, and no less by a second undo");
    }
    // As the one before left it that died half-way: all files gone that were made, and the damaged manifest not back yet.
    let repaired = repair::repair(dir).unwrap();
    for made in repaired.undo.made.iter().filter(|made| made.content.is_some()) {
        fs::remove_file(&made.path).unwrap();
    }
    repair::undo(&repaired.undo).unwrap();
    assert_eq!(picture(&[dir]), before);
}

#[test]
fn what_was_left_of_an_earlier_manifest_stays() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path();
    filled(dir, &[]);
    for left in ["first", "second"] {
        fs::write(dir.join("manifest"), left).unwrap();
        repair::repair(dir).unwrap();
    }
    for (number, left) in ["first", "second"].iter().enumerate() {
        let kept = fs::read_to_string(dir.join(format!("manifest.damage-{number}")));
        assert_eq!(kept.unwrap(), *left);
    }
}

fn segments(dir: &Path) -> Vec<u64> {
    let names = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name());
    let number = |name: std::ffi::OsString| name.to_str()?.strip_prefix("seg-")?.parse().ok();
    let mut segments: Vec<u64> = names.filter_map(number).collect();
    segments.sort_unstable();
    segments
}

#[test]
fn a_segment_that_cannot_be_read_behind_one_that_is_missing() {
    let root = tempfile::tempdir().unwrap();
    for missing_first in [true, false] {
        let dir = root.path().join(missing_first.to_string());
        filled(&dir, &[]);
        let (first, second) = match segments(&dir)[..] {
            [_, first, second, _, ..] => (first, second),
            ref others => panic!("too few segments: {others:?}"),
        };
        let (missing, unreadable) = if missing_first { (first, second) } else { (second, first) };
        fs::remove_file(dir.join(format!("seg-{missing}"))).unwrap();
        fs::write(dir.join(format!("seg-{unreadable}")), [7; 5000]).unwrap();
        let repaired = repair::repair(&dir).unwrap();
        let channel = Channel::open(&dir, options(&[])).expect("what is repaired refuses no more");
        assert_eq!(channel.stats().events, repaired.owed.1);
        drop(channel);
        // The bytes come along when the channel is moved.
        let moved = root.path().join(format!("moved {missing_first}"));
        fs::rename(&dir, &moved).unwrap();
        let inspector = Inspector::open(&moved).unwrap();
        let bytes =
            inspector.quarantined().iter().map(|damage| inspector.quarantined_bytes(damage));
        let lengths: Vec<usize> = bytes.map(|bytes| bytes.unwrap().len()).collect();
        assert!(lengths.contains(&5000), "{lengths:?}");
    }
}
