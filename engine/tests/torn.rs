//! A small log, cut at every length and with every byte flipped.
//!
//! An open must not panic, and must not lose a committed event in silence. What is left is one of these: exactly the right events, since
//! the damage met bytes that mean nothing; a refusal that names the file; or an open whose takes and looks fail with that name, for
//! what lay below the checkpoint. Never an event that was not put, never one fewer without a word.
//!
//! `FCHANNEL_BITS=8` flips each bit; by default one for each byte, another one from byte to byte.
#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod common;

use common::{env, put_all, put_of};
use fchannel::{
    Channel, ErrorKind, OnDamage, Options, TakeLimit,
    io::sim::{Fault, SimVfs},
};
use std::{
    collections::{BTreeMap, BTreeSet},
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
        on_damage: OnDamage::Refuse,
        ..Options::default()
    }
}

fn open(world: &SimVfs) -> fchannel::Result<Channel> {
    open_with(world, OnDamage::Refuse)
}

fn open_with(world: &SimVfs, on_damage: OnDamage) -> fchannel::Result<Channel> {
    Channel::open_on(Arc::new(world.clone()), Path::new(HOME), Options { on_damage, ..options() })
}

/// An event of `len` bytes, which say so.
fn filled(len: usize) -> Vec<u8> {
    vec![u8::try_from(len % 256).unwrap(); len]
}

fn look(channel: &Channel) -> fchannel::Result<Vec<(u64, Vec<u8>)>> {
    let records = channel.peek(None, TakeLimit { events: u32::MAX, bytes: u64::MAX })?;
    Ok(records.into_iter().map(|record| (record.seq.get(), record.payload.to_vec())).collect())
}

#[derive(Clone, Copy, PartialEq)]
enum End {
    /// The last frame vouches for all.
    Close,
    /// Nobody vouches for the last group.
    Kill,
}

type Owed = Vec<(u64, Vec<u8>)>;

/// Three segments: a large event nearly fills each of the first two, with small ones before and behind, and takes of some. Answers what
/// was owed after each commit.
fn small_log(end: End, checkpoints: bool) -> (SimVfs, Vec<Owed>) {
    let world = SimVfs::new(7);
    let channel = open(&world).unwrap();
    let mut history = vec![Vec::new()];
    let mut committed = |answer: bool| {
        assert!(answer);
        history.push(look(&channel).unwrap());
    };
    for round in 0..3u8 {
        committed(put_of(&channel, &[vec![round; 40], vec![round + 10; 3]]).commit().is_ok());
        if round < 2 {
            let mut put = put_of(&channel, &[vec![round + 20; 64_700]]);
            put.set_mark(b"mark", &[round]).unwrap();
            committed(put.commit().is_ok());
        }
        committed(channel.put(&[round + 30; 20]).is_ok());
        committed(channel.begin_take(TakeLimit::events(1)).unwrap().commit().is_ok());
    }
    let mut take = channel.begin_take(TakeLimit::events(3)).unwrap();
    committed(take.split_off(2).commit().is_ok());
    drop(take);
    committed(channel.put(b"the last but one").is_ok());
    committed(channel.put(b"the last").is_ok());
    if end == End::Close {
        channel.close().unwrap();
    } else {
        drop(channel);
    }
    world.kill();
    if !checkpoints {
        for path in checkpoint_files(&world) {
            world.delete(&path);
        }
    }
    (world, history)
}

fn is(path: &Path, kind: &str) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(kind))
}

fn segment_files(world: &SimVfs) -> Vec<PathBuf> {
    world.paths().into_iter().filter(|path| is(path, "seg-")).collect()
}

fn checkpoint_files(world: &SimVfs) -> Vec<PathBuf> {
    world.paths().into_iter().filter(|path| is(path, "checkpoint-")).collect()
}

/// What came of a damage, which it was, and by which row of the verdict table.
type Case = (Outcome, String, String);

/// What an open made of the damage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Outcome {
    Right,
    Refused,
    FailsWhenRead,
    /// The log ends this many commits early: only where nobody can tell.
    Ends(usize),
}

fn outcome(world: &SimVfs, file: &Path, history: &[Owed], what: &str) -> Outcome {
    judged(world, file, history, what).0
}

/// As [`outcome`], with what the error begins with: the letter of the verdict table.
fn judged(world: &SimVfs, file: &Path, history: &[Owed], what: &str) -> (Outcome, String) {
    let names_it = |error: &fchannel::Error| {
        assert_eq!(error.kind(), &ErrorKind::Corrupt, "{what}: {error:?}");
        assert!(error.to_string().contains(HOME), "{what}: no place in: {error}");
        let letter = error.what().split(':').next().filter(|letter| letter.starts_with('@'));
        letter.unwrap_or("@F").to_owned()
    };
    let channel = match open(world) {
        Ok(channel) => channel,
        Err(error) => {
            return (Outcome::Refused, names_it(&error));
        }
    };
    match look(&channel) {
        Err(error) => (Outcome::FailsWhenRead, names_it(&error)),
        Ok(found) => match history.iter().rev().position(|owed| *owed == found) {
            Some(0) => (Outcome::Right, "harmless".to_owned()),
            Some(early) => (Outcome::Ends(early), "@B".to_owned()),
            None => panic!("{what} in {file:?}: found what was never owed"),
        },
    }
}

/// Damages each file of `files` in each way, and counts what came of it.
fn damage_all(world: &SimVfs, files: &[PathBuf], history: &[Owed]) -> Vec<Case> {
    let bits = env("FCHANNEL_BITS").unwrap_or(1);
    let mut outcomes = Vec::new();
    for file in files {
        let bytes = world.content(file).unwrap();
        // The large payloads are all alike: a step through them, and every byte of the rest.
        let interesting =
            |at: usize| at < 1_000 || at + 1_500 > bytes.len() || at.is_multiple_of(4_099);
        for at in (0..bytes.len()).filter(|at| interesting(*at)) {
            let mut damage = |what: String, damaged: Vec<u8>| {
                let copy = world.copy();
                copy.set_content(file, damaged);
                let (outcome, verdict) = judged(&copy, file, history, &what);
                outcomes.push((outcome, format!("{what} of {}", file.display()), verdict));
            };
            damage(format!("cut at {at}"), bytes[..at].to_vec());
            for bit in 0..bits {
                let mut flipped = bytes.clone();
                flipped[at] ^= 1 << ((at as u64 + bit) % 8);
                damage(format!("bit {bit} flipped at {at}"), flipped);
            }
        }
    }
    outcomes
}

/// Says for `cargo x torn` what came of `cases`: so many of each kind.
fn tell<'a>(test: &str, cases: impl Iterator<Item = (&'a str, String)>) {
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    for (what, outcome) in cases {
        let way = if what.starts_with("cut") { "cuts" } else { "flips" };
        *counts.entry(way.to_owned()).or_default() += 1;
        *counts.entry(outcome).or_default() += 1;
    }
    let counts: Vec<String> =
        counts.iter().map(|(kind, count)| format!("{kind}={count}")).collect();
    println!("torn: {test} {}", counts.join(" "));
}

fn tell_outcomes(test: &str, outcomes: &[Case]) {
    tell(test, outcomes.iter().map(|(_, what, verdict)| (what.as_str(), verdict.clone())));
}

fn count(outcomes: &[Case], outcome: Outcome) -> usize {
    outcomes.iter().filter(|(found, ..)| *found == outcome).count()
}

fn ends_early(outcomes: &[Case]) -> impl Iterator<Item = &Case> {
    outcomes.iter().filter(|(outcome, ..)| matches!(outcome, Outcome::Ends(_)))
}

#[test]
fn a_log_that_was_closed_loses_nothing_in_silence() {
    for checkpoints in [false, true] {
        let (world, history) = small_log(End::Close, checkpoints);
        let segments = segment_files(&world);
        assert_eq!(segments.len(), 3);
        let outcomes = damage_all(&world, &segments, &history);
        tell_outcomes("closed", &outcomes);
        // A cut of the newest segment takes the witnesses too: what is left is the log of a process killed earlier. All else is told.
        for (outcome, what, _) in ends_early(&outcomes) {
            assert!(what.starts_with("cut") && what.ends_with("seg-3"), "{outcome:?}: {what}");
        }
        assert!(count(&outcomes, Outcome::Refused) > 1_000, "damage is seen");
        assert!(
            count(&outcomes, Outcome::Right) > 100,
            "damage to padding and to vouching frames does no harm"
        );
    }
}

#[test]
fn a_log_that_was_killed_may_lose_its_last_group_and_nothing_else() {
    for checkpoints in [false, true] {
        let (world, history) = small_log(End::Kill, checkpoints);
        let outcomes = damage_all(&world, &segment_files(&world), &history);
        tell_outcomes("killed", &outcomes);
        let mut last_group = 0;
        for (outcome, what, _) in ends_early(&outcomes) {
            assert!(what.ends_with("seg-3"), "{outcome:?}: {what}");
            assert!(what.starts_with("cut") || *outcome == Outcome::Ends(1), "{outcome:?}: {what}");
            last_group += usize::from(!what.starts_with("cut"));
        }
        // Header, preamble, length and text of the last event; its padding has no meaning.
        assert_eq!(last_group as u64, (64 + 8 + 4 + 8) * env("FCHANNEL_BITS").unwrap_or(1));
    }
}

#[test]
fn damage_to_checkpoints_never_loses_anything() {
    let (world, history) = small_log(End::Kill, true);
    let files = checkpoint_files(&world);
    assert!(!files.is_empty());
    for (outcome, what, _) in damage_all(&world, &files, &history) {
        assert_eq!(outcome, Outcome::Right, "{what}");
    }
}

#[test]
fn a_damaged_manifest_refuses_the_open() {
    let (world, history) = small_log(End::Close, true);
    let manifest = Path::new(HOME).join("manifest");
    for (outcome, what, _) in damage_all(&world, &[manifest], &history) {
        assert_eq!(outcome, Outcome::Refused, "{what}");
    }
}

#[test]
fn a_damaged_manifest_is_made_again_where_damage_is_gone_around() {
    let (whole, history) = small_log(End::Close, true);
    let manifest = Path::new(HOME).join("manifest");
    let mut bytes = whole.content(&manifest).unwrap();
    bytes[20] ^= 1;
    for at in 1.. {
        let world = whole.copy();
        world.set_content(&manifest, bytes.clone());
        world.plan(world.operations() + at, Fault::Crash);
        drop(open_with(&world, OnDamage::Quarantine));
        let crashed = world.is_dead();
        world.power_cut();
        let channel = open_with(&world, OnDamage::Quarantine)
            .unwrap_or_else(|error| panic!("crash at operation {at}: {error}"));
        assert_eq!(&look(&channel).unwrap(), history.last().unwrap(), "crash at operation {at}");
        if !crashed {
            assert!(at > 4, "{at} operations");
            break;
        }
    }
}

/// An old checkpoint could not be removed, and the segment that it leads to was given back. With a damaged manifest that was taken for a
/// segment of another directory, and the channel stayed shut (simulation, seed 6000163).
#[test]
fn an_old_checkpoint_that_stayed_is_no_trace_of_other_directories() {
    let world = SimVfs::new(10);
    let channel = open(&world).unwrap();
    channel.checkpoint().unwrap();
    let old = checkpoint_files(&world).swap_remove(0);
    let content = world.content(&old).unwrap();
    for number in 0..4 {
        put_all(&channel, &[vec![number; 64_000]]);
        channel.begin_take(TakeLimit::events(1)).unwrap().commit().unwrap();
        channel.checkpoint().unwrap();
    }
    put_all(&channel, &[b"owed".to_vec()]);
    let history = look(&channel).unwrap();
    channel.close().unwrap();
    world.kill();
    assert!(
        world.content(&old).is_none() && world.content(&Path::new(HOME).join("seg-1")).is_none()
    );
    world.set_content(&old, content);
    world.flip(&Path::new(HOME).join("manifest"), 8 * 20);
    let channel = open_with(&world, OnDamage::Quarantine).unwrap();
    assert_eq!(look(&channel).unwrap(), history);
}

#[test]
fn a_segment_that_is_gone_is_missed() {
    for checkpoint in [true, false] {
        let (world, mut history) = small_log(End::Kill, true);
        if checkpoint {
            let channel = open(&world).unwrap();
            channel.put(b"one more").unwrap();
            channel.checkpoint().unwrap();
            history.push(look(&channel).unwrap());
        }
        world.kill();
        let segments = segment_files(&world);
        for segment in &segments {
            if segment == segments.last().unwrap() && !checkpoint {
                continue; // Nothing tells that it was ever there.
            }
            let copy = world.copy();
            copy.delete(segment);
            assert_eq!(
                outcome(&copy, segment, &history, "deleted"),
                Outcome::Refused,
                "{segment:?}"
            );
        }
    }
}

/// The image at the head of a segment is made with it, in one step: damage there is no torn end. It was taken for one, and the one group
/// behind it, which nothing vouched for yet, was dropped with it.
#[test]
fn a_damaged_image_does_not_hide_the_frames_behind_it() {
    let world = SimVfs::new(9);
    let channel = open(&world).unwrap();
    put_all(&channel, &[vec![1; 64_000]]);
    put_all(&channel, &[vec![2; 3_000]]); // the one group of the second segment
    let history = [Vec::new(), look(&channel).unwrap()];
    drop(channel);
    world.kill();
    let segments = segment_files(&world);
    assert_eq!(segments.len(), 2);
    let bytes = world.content(&segments[1]).unwrap();
    for at in 0..64 + 64 + 32 {
        for damaged in [bytes[..at].to_vec(), {
            let mut bytes = bytes.clone();
            bytes[at] ^= 4;
            bytes
        }] {
            let copy = world.copy();
            copy.set_content(&segments[1], damaged);
            let outcome = outcome(&copy, &segments[1], &history, &format!("damaged at {at}"));
            assert!(
                matches!(outcome, Outcome::Right | Outcome::Refused),
                "damaged at {at}: {outcome:?}"
            );
        }
    }
}

/// All that was ever put, by sequence, and what is owed at the end.
fn books(history: &[Owed]) -> (BTreeMap<u64, Vec<u8>>, BTreeSet<u64>) {
    let all = history.iter().flatten().cloned().collect();
    let owed = history.last().unwrap().iter().map(|(seq, _)| *seq).collect();
    (all, owed)
}

/// Opens with damage set aside, drains, and holds what came against the books: each event that is owed comes, in order and as it was
/// put, or lies in a range that the quarantine names. `may_end_early` at a torn end. Answers how many are lost and how many doubled.
fn drain_around(
    world: &SimVfs,
    history: &[Owed],
    may_end_early: bool,
    what: &str,
) -> (usize, usize) {
    let (all, owed) = books(history);
    let channel = open_with(world, OnDamage::Quarantine)
        .unwrap_or_else(|error| panic!("{what}: one bad record keeps the channel shut: {error}"));
    let mut came = Vec::new();
    loop {
        let take = channel
            .begin_take(TakeLimit::events(3))
            .unwrap_or_else(|error| panic!("{what}: {error}"));
        if take.records().is_empty() {
            break;
        }
        came.extend(
            take.records().iter().map(|record| (record.seq.get(), record.payload.to_vec())),
        );
        take.commit().unwrap();
    }
    assert_eq!((channel.stats().events, channel.stats().used), (0, 0), "{what}: drained");
    assert!(came.is_sorted_by(|one, two| one.0 < two.0), "{what}: out of order or twice");
    for (seq, payload) in &came {
        assert_eq!(all.get(seq), Some(payload), "{what}: event {seq} was never put like that");
    }
    let came: BTreeSet<u64> = came.into_iter().map(|(seq, _)| seq).collect();
    let quarantined = channel.quarantined();
    let named = |seq: u64| {
        quarantined
            .iter()
            .any(|record| (record.events.0.get()..record.events.1.get()).contains(&seq))
    };
    let lost: Vec<u64> = owed.difference(&came).copied().collect();
    let unnamed: Vec<u64> = lost.iter().copied().filter(|seq| !named(*seq)).collect();
    assert!(
        unnamed.is_empty() || may_end_early,
        "{what}: lost in silence: {unnamed:?} of {quarantined:?}"
    );
    let doubled = came.difference(&owed).count();
    assert!(doubled == 0 || !quarantined.is_empty() || may_end_early, "{what}: doubled in silence");
    channel.put(b"goes on").unwrap();
    let known = channel.quarantined().len();
    drop(channel);
    world.kill();
    let again =
        open_with(world, OnDamage::Quarantine).unwrap_or_else(|error| panic!("{what}: {error}"));
    assert_eq!(again.recovery().damages, [], "{what}: the same damage is found once");
    assert_eq!(again.recovery().quarantined.len(), known, "{what}: and told at each start");
    let take = again.begin_take(TakeLimit::events(9)).unwrap();
    assert_eq!(take.records().len(), 1, "{what}");
    assert_eq!(take.records()[0].payload, b"goes on"[..], "{what}");
    (lost.len(), doubled)
}

/// `FCHANNEL_STRIDE=1` damages each byte; by default each seventh.
#[test]
fn a_channel_goes_on_around_any_damage_and_names_what_is_lost() {
    let stride = usize::try_from(env("FCHANNEL_STRIDE").unwrap_or(7)).unwrap();
    for end in [End::Close, End::Kill] {
        for checkpoints in [false, true] {
            let (world, history) = small_log(end, checkpoints);
            let (mut cases, mut lost, mut doubled) = (0, 0, 0);
            let mut told = Vec::new();
            for file in segment_files(&world) {
                let bytes = world.content(&file).unwrap();
                let newest = file.ends_with("seg-3");
                for at in (0..bytes.len()).filter(|at| {
                    (*at < 1_000 || at + 1_500 > bytes.len() || at.is_multiple_of(4_099))
                        && at.is_multiple_of(stride)
                }) {
                    let mut flipped = bytes.clone();
                    flipped[at] ^= 1 << (at % 8);
                    for (cut, damaged) in [(true, bytes[..at].to_vec()), (false, flipped)] {
                        let copy = world.copy();
                        copy.set_content(&file, damaged);
                        let what = format!(
                            "{} at {at} of {}",
                            if cut { "cut" } else { "flip" },
                            file.display()
                        );
                        let early = newest && (cut || end == End::Kill);
                        let (gone, twice) = drain_around(&copy, &history, early, &what);
                        (cases, lost, doubled) = (cases + 1, lost + gone, doubled + twice);
                        assert!(
                            cut || gone <= 3,
                            "{what}: a flip costs a frame, not {gone} events"
                        );
                        let outcome = match (gone, twice) {
                            (0, 0) => "nothing-lost",
                            (0, _) => "some-twice",
                            _ => "some-lost-and-named",
                        };
                        told.push((what, outcome.to_owned()));
                    }
                }
            }
            tell("set-aside", told.iter().map(|(what, outcome)| (what.as_str(), outcome.clone())));
            let (some, few) = (5_000 / stride, 100 / stride);
            assert!(cases > some && lost > few && doubled > few, "{cases} {lost} {doubled}");
        }
    }
}

#[test]
fn a_channel_goes_on_without_a_segment() {
    for checkpoints in [false, true] {
        let (world, history) = small_log(End::Close, checkpoints);
        for file in segment_files(&world) {
            let copy = world.copy();
            copy.delete(&file);
            let early = file.ends_with("seg-3");
            drain_around(&copy, &history, early, &format!("without {}", file.display()));
        }
    }
}

/// Ways to damage a log, by what is left: a frame, its segment's head, all of a segment.
fn damages(world: &SimVfs) -> Vec<(&'static str, SimVfs)> {
    let segments = segment_files(world);
    let damaged_in = |segment: usize, damage: &dyn Fn(&SimVfs, &Path)| {
        let copy = world.copy();
        damage(&copy, &segments[segment]);
        copy
    };
    let damaged = |damage: &dyn Fn(&SimVfs, &Path)| damaged_in(1, damage);
    let overwrite = |at: usize, len: usize| {
        move |world: &SimVfs, path: &Path| {
            let mut bytes = world.content(path).unwrap();
            bytes[at..at + len].fill(0xa5);
            world.set_content(path, bytes);
        }
    };
    // Above the image that a restart begins with, so that the open sees it.
    let content = world.content(&segments[2]).unwrap();
    let event = content.windows(16).position(|window| window == b"the last but one").unwrap();
    vec![
        ("a frame", damaged_in(2, &overwrite(event, 16))),
        ("the header", damaged(&overwrite(0, 64))),
        ("header and image", damaged(&overwrite(0, 512))),
        ("all bytes", damaged(&overwrite(0, 60_000))),
        ("nothing is left", damaged(&|world, path| world.delete(path))),
    ]
}

#[test]
fn a_crash_while_damage_is_set_aside_loses_no_more() {
    let (whole, history) = small_log(End::Close, false);
    for (what, world) in damages(&whole) {
        let mut operations = 0;
        for at in 1.. {
            let copy = world.copy();
            copy.plan(copy.operations() + at, Fault::Crash);
            drop(open_with(&copy, OnDamage::Quarantine));
            if !copy.is_dead() {
                break;
            }
            operations = at;
            if at % 2 == 0 {
                copy.power_cut();
            } else {
                copy.kill();
            }
            drain_around(&copy, &history, false, &format!("{what}, crash at operation {at}"));
        }
        assert!(operations > 3, "{what}: {operations} operations");
    }
}

/// An idle channel has one segment, and its checkpoint leads into that. One bad block at its head, and nothing behind it: the open took the
/// segment for absent, its disk for one that is not mounted, and kept the channel shut. Where older segments were left it opened, and the
/// record did not say which events were lost.
#[test]
fn a_channel_goes_on_without_its_newest_segment() {
    for segments in [1, 2] {
        let world = SimVfs::new(11);
        let channel = open(&world).unwrap();
        let mut history = vec![Vec::new()];
        let mut put = |len: usize| {
            channel.put(&filled(len)).unwrap();
            history.push(look(&channel).unwrap());
        };
        if segments == 2 {
            put(60_000);
        }
        put(20_000);
        put(10_000);
        for _ in 0..2 {
            channel.checkpoint().unwrap();
        }
        drop(channel);
        world.kill();
        let files = segment_files(&world);
        assert_eq!(files.len(), segments);
        let newest = files.last().unwrap();
        world.set_content(newest, vec![0xa5; usize::try_from(world.len(newest).unwrap()).unwrap()]);
        for at in 1.. {
            let copy = world.copy();
            copy.plan(copy.operations() + at, Fault::Crash);
            drop(open_with(&copy, OnDamage::Quarantine));
            let crashed = copy.is_dead();
            copy.power_cut();
            let what = format!("the newest segment, crash at operation {at}");
            assert_eq!(drain_around(&copy, &history, false, &what).0, 2);
            if !crashed {
                break;
            }
        }
    }
}

/// The block at the head of a segment was lost, with the header, frames that the checkpoint covers, and nothing above it. The scan began
/// behind those, so the record did not name their events, and who came to take them passed the damage as known: lost in silence.
#[test]
fn events_below_the_checkpoint_are_named_with_the_head_of_their_segment() {
    for segments in [1, 2] {
        let world = SimVfs::new(13);
        let channel = open(&world).unwrap();
        let mut history = vec![Vec::new()];
        let mut put = |len: usize| {
            channel.put(&filled(len)).unwrap();
            history.push(look(&channel).unwrap());
        };
        if segments == 2 {
            put(65_000);
        }
        put(1_000);
        for _ in 0..2 {
            channel.checkpoint().unwrap();
        }
        put(3_000);
        channel.close().unwrap();
        world.kill();
        let files = segment_files(&world);
        assert_eq!(files.len(), segments);
        let newest = files.last().unwrap();
        for len in [1_000, 4_096] {
            let copy = world.copy();
            let mut bytes = world.content(newest).unwrap();
            bytes[..len].fill(0xa5);
            copy.set_content(newest, bytes);
            let (lost, _) = drain_around(&copy, &history, false, "the head of a segment");
            assert_eq!(lost, if len == 4_096 { 2 } else { 1 });
        }
    }
}

/// Of a damaged frame one event was taken out of order, so that what is lost of it are two runs. Behind the first run the sound frame that
/// follows was opened, at the second one it was forgotten, and its events were given up with those of the damaged one.
#[test]
fn a_sound_frame_behind_a_damaged_one_is_not_given_up_with_it() {
    let world = SimVfs::new(17);
    let options = Options { tail_cache_bytes: 0, on_damage: OnDamage::Quarantine, ..options() };
    let open =
        || Channel::open_on(Arc::new(world.clone()), Path::new(HOME), options.clone()).unwrap();
    let channel = open();
    put_all(&channel, &[vec![1; 30], vec![2; 30], vec![3; 30]]);
    put_all(&channel, &[vec![4; 30], vec![5; 30]]);
    put_all(&channel, &[vec![6; 30]]);
    let mut first = channel.begin_take(TakeLimit::events(3)).unwrap();
    let mut second = first.split_off(1);
    drop(second.split_off(1));
    second.commit().unwrap();
    drop(first);
    channel.checkpoint().unwrap();
    drop(channel);
    world.kill();
    let file = segment_files(&world).pop().unwrap();
    let mut bytes = world.content(&file).unwrap();
    let at = bytes.windows(30).position(|window| window == [2; 30]).unwrap();
    bytes[at] ^= 1;
    world.set_content(&file, bytes);
    let channel = open();
    let take = channel.begin_take(TakeLimit::events(100)).unwrap();
    let seqs: Vec<u64> = take.records().iter().map(|record| record.seq.get()).collect();
    assert_eq!(seqs, [3, 4, 5]);
    assert_eq!(channel.stats().events, 3);
}

/// The header of the oldest segment was made again as one of the first epoch. Its successor was of a later one, whose cut lay before all of
/// it: so its sound frames counted as void, and were given up.
#[test]
fn sound_frames_of_a_salvaged_segment_are_not_void() {
    for restart_between in [false, true] {
        let world = SimVfs::new(19);
        let mut history = vec![Vec::new()];
        for _ in 0..3 {
            let channel = open(&world).unwrap();
            channel.put(&[1; 60_000]).unwrap();
            channel.begin_take(TakeLimit::events(1)).unwrap().commit().unwrap();
            channel.checkpoint().unwrap();
            channel.checkpoint().unwrap();
            drop(channel);
            world.kill();
        }
        let mut channel = open(&world).unwrap();
        for _ in 0..2 {
            channel.put(&[2; 10]).unwrap();
            channel.begin_take(TakeLimit::events(1)).unwrap().commit().unwrap();
            channel.checkpoint().unwrap();
        }
        for len in [100, 3_000, 200, 300, 62_000, 400] {
            channel.put(&filled(len)).unwrap();
            history.push(look(&channel).unwrap());
            if restart_between && len == 300 {
                channel.close().unwrap();
                world.kill();
                channel = open(&world).unwrap();
            }
        }
        channel.close().unwrap();
        world.kill();
        let files = segment_files(&world);
        assert!(files.len() > 1);
        for file in &files {
            let mut bytes = world.content(file).unwrap();
            bytes[..2_000].fill(0xa5);
            let copy = world.copy();
            copy.set_content(file, bytes);
            let what = format!("the head of {} of {files:?}", file.display());
            let (lost, _) = drain_around(&copy, &history, false, &what);
            assert!(lost <= 2, "{what}: {lost} are lost");
        }
    }
}

/// A process was killed between the name of a record and the sync of its directory. The next open found the record, went on behind the
/// damage without one of its own, and a power cut took the record away: events were lost in silence (rule N1, which only the directories
/// of segments and checkpoints kept). What the crash left half-made stayed for ever.
#[test]
fn a_record_that_an_open_found_does_not_vanish() {
    let (whole, _) = small_log(End::Close, false);
    let (mut found, mut half_made) = (0, 0);
    for (what, world) in damages(&whole) {
        for at in (1..25).cycle().take(150) {
            let copy = world.copy();
            copy.plan(copy.operations() + at, Fault::Crash);
            drop(open_with(&copy, OnDamage::Quarantine));
            copy.kill();
            half_made += copy.paths().iter().filter(|path| is_half_made(path)).count();
            let channel = open_with(&copy, OnDamage::Quarantine).unwrap();
            let told = channel.quarantined();
            found += told.len();
            assert_eq!(copy.paths().iter().find(|path| is_half_made(path)), None, "{what} {at}");
            drop(channel);
            copy.power_cut();
            let channel = open_with(&copy, OnDamage::Quarantine).unwrap();
            assert_eq!(channel.quarantined(), told, "{what}, crash at operation {at}");
        }
    }
    assert!(found > 100 && half_made > 0, "{found} {half_made}");
}

fn is_half_made(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "tmp")
}

#[test]
fn without_leave_to_go_on_nothing_is_changed() {
    let (whole, _) = small_log(End::Close, false);
    for (what, world) in damages(&whole) {
        let before: Vec<_> = world.paths().into_iter().map(|path| world.content(&path)).collect();
        assert!(open(&world).is_err(), "{what}");
        let after: Vec<_> = world.paths().into_iter().map(|path| world.content(&path)).collect();
        assert_eq!(before, after, "{what}");
        drop(open_with(&world, OnDamage::Quarantine).unwrap());
        drop(open(&world).unwrap_or_else(|error| panic!("{what} is known by now: {error}")));
    }
}

/// Damage below the checkpoint is met by who reads it, and one bad frame must not wedge the takers.
#[test]
fn takers_go_on_around_damage_that_an_open_does_not_see() {
    for roll_back in [false, true] {
        let world = SimVfs::new(3);
        let cold = Options { tail_cache_bytes: 0, on_damage: OnDamage::Quarantine, ..options() };
        let open =
            || Channel::open_on(Arc::new(world.clone()), Path::new(HOME), cold.clone()).unwrap();
        let channel = open();
        for round in 0..6u8 {
            put_all(&channel, &[vec![round; 30], vec![round + 100; 30]]);
        }
        if roll_back {
            // Leased while it was sound, and given back.
            drop(channel.begin_take(TakeLimit::events(6)).unwrap());
        }
        let file = segment_files(&world).pop().unwrap();
        let mut bytes = world.content(&file).unwrap();
        let at = bytes.windows(30).position(|window| window == [2; 30]).unwrap();
        bytes[at] ^= 1;
        world.set_content(&file, bytes);
        let take = channel.begin_take(TakeLimit::events(100)).unwrap();
        let seqs: Vec<u64> = take.records().iter().map(|record| record.seq.get()).collect();
        let all_but = |lost: &[u64]| (0..12).filter(|seq| !lost.contains(seq)).collect::<Vec<_>>();
        assert_eq!(seqs, all_but(&[4, 5]), "the frame is lost and no other");
        drop(take);
        assert_eq!(channel.stats().events, 10);
        let [record] = &channel.quarantined()[..] else { panic!("one damage, one record") };
        assert_eq!((record.events.0.get(), record.events.1.get()), (4, 6));
        assert_eq!(record.verdict, fchannel::Verdict::H);
        assert!(record.bytes > 60, "its bytes are kept");
        channel.checkpoint().unwrap();
        drop(channel);
        world.kill();
        let channel = open();
        assert_eq!(channel.recovery().quarantined.len(), 1, "told at the next start");
        let take = channel.begin_take(TakeLimit::events(100)).unwrap();
        assert_eq!(take.records().len(), 10);
    }
}
