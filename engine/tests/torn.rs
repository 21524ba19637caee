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
use fchannel::io::sim::SimVfs;
use fchannel::{Channel, ErrorKind, Options, TakeLimit};
use std::{
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
        ..Options::default()
    }
}

fn open(world: &SimVfs) -> fchannel::Result<Channel> {
    Channel::open_on(Arc::new(world.clone()), Path::new(HOME), options())
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
    let names_it = |error: &fchannel::Error| {
        assert_eq!(error.kind(), &ErrorKind::Corrupt, "{what}: {error:?}");
        assert!(error.to_string().contains(HOME), "{what}: no place in: {error}");
    };
    let channel = match open(world) {
        Ok(channel) => channel,
        Err(error) => {
            names_it(&error);
            return Outcome::Refused;
        }
    };
    match look(&channel) {
        Err(error) => {
            names_it(&error);
            Outcome::FailsWhenRead
        }
        Ok(found) => match history.iter().rev().position(|owed| *owed == found) {
            Some(0) => Outcome::Right,
            Some(early) => Outcome::Ends(early),
            None => panic!("{what} in {file:?}: found what was never owed"),
        },
    }
}

/// Damages each file of `files` in each way, and counts what came of it.
fn damage_all(world: &SimVfs, files: &[PathBuf], history: &[Owed]) -> Vec<(Outcome, String)> {
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
                let outcome = outcome(&copy, file, history, &what);
                outcomes.push((outcome, format!("{what} of {}", file.display())));
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

fn count(outcomes: &[(Outcome, String)], outcome: Outcome) -> usize {
    outcomes.iter().filter(|(found, _)| *found == outcome).count()
}

fn ends_early(outcomes: &[(Outcome, String)]) -> impl Iterator<Item = &(Outcome, String)> {
    outcomes.iter().filter(|(outcome, _)| matches!(outcome, Outcome::Ends(_)))
}

#[test]
fn a_log_that_was_closed_loses_nothing_in_silence() {
    for checkpoints in [false, true] {
        let (world, history) = small_log(End::Close, checkpoints);
        let segments = segment_files(&world);
        assert_eq!(segments.len(), 3);
        let outcomes = damage_all(&world, &segments, &history);
        // A cut of the newest segment takes the witnesses too: what is left is the log of a process killed earlier. All else is told.
        for (outcome, what) in ends_early(&outcomes) {
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
        let mut last_group = 0;
        for (outcome, what) in ends_early(&outcomes) {
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
    for (outcome, what) in damage_all(&world, &files, &history) {
        assert_eq!(outcome, Outcome::Right, "{what}");
    }
}

#[test]
fn a_damaged_manifest_refuses_the_open() {
    let (world, history) = small_log(End::Close, true);
    let manifest = Path::new(HOME).join("manifest");
    for (outcome, what) in damage_all(&world, &[manifest], &history) {
        assert_eq!(outcome, Outcome::Refused, "{what}");
    }
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
