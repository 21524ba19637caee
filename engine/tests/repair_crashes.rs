//! A repair, and its undo, that die at each of their operations: whoever comes next is refused as before, or goes on. Nobody is held up.
#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod common;

use common::{payloads, put_all, seeds};
use fchannel::{
    Channel, ErrorKind, OnDamage, Options, TakeLimit,
    io::sim::{Fault, SimVfs},
    repair,
};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

const HOME: &str = "/disk";

fn options(on_damage: OnDamage) -> Options {
    Options {
        segment_bytes_max: 64 << 10,
        free_space_min_bytes: 0,
        keep_alive_ms: 0,
        checkpoint_on_close: false,
        tail_cache_bytes: 0,
        on_damage,
        ..Options::default()
    }
}

fn open(world: &SimVfs, on_damage: OnDamage) -> fchannel::Result<Channel> {
    Channel::open_on(Arc::new(world.clone()), Path::new(HOME), options(on_damage))
}

fn repair_in(world: &SimVfs) -> fchannel::Result<repair::Repaired> {
    repair::repair_on(Arc::new(world.clone()), Path::new(HOME))
}

/// Five events, of which the third is damaged: above the newest checkpoint, where an open sees it, or below, where a taker does.
fn damaged(below_a_checkpoint: bool) -> SimVfs {
    damaged_in(SimVfs::new(17), below_a_checkpoint)
}

fn damaged_in(world: SimVfs, below_a_checkpoint: bool) -> SimVfs {
    let channel = open(&world, OnDamage::Refuse).unwrap();
    put_all(&channel, &["event 0"]);
    put_all(&channel, &["event 1"]);
    put_all(&channel, &["event 2"]);
    put_all(&channel, &["event 3"]);
    if below_a_checkpoint {
        channel.checkpoint().unwrap();
    }
    put_all(&channel, &["event 4"]);
    channel.close().unwrap();
    world.kill();
    flip(&world, b"event 2");
    world
}

/// The damage above the newest checkpoint, that below it, and that with a damaged manifest.
fn worlds() -> [SimVfs; 3] {
    let manifest = damaged(false);
    manifest.flip(&Path::new(HOME).join("manifest"), 99);
    [damaged(false), damaged(true), manifest]
}

/// Changes a bit of `text` in the one segment that holds it.
fn flip(world: &SimVfs, text: &[u8]) {
    let found = world.paths().into_iter().find_map(|path| {
        let bytes = world.content(&path)?;
        let at = bytes.windows(text.len()).position(|window| window == text)?;
        Some((path, at))
    });
    let (path, at) = found.unwrap();
    world.flip(&path, at as u64 * 8);
}

fn contents(world: &SimVfs) -> BTreeMap<PathBuf, Option<Vec<u8>>> {
    world.paths().into_iter().map(|path| (path.clone(), world.content(&path))).collect()
}

/// Does `work` on copies of `world` that die at its first operation, its second, and so on; answers what is left of each.
fn dying(world: &SimVfs, work: impl Fn(&SimVfs)) -> Vec<SimVfs> {
    let dead = (1..).map(|at| {
        let copy = world.copy();
        copy.plan(copy.operations() + at, Fault::Crash);
        work(&copy);
        let died = copy.is_dead();
        copy.kill();
        died.then_some(copy)
    });
    let dead: Vec<SimVfs> = dead.map_while(|dead| dead).collect();
    assert!(dead.len() > 2, "it has operations to die at");
    dead
}

/// Takes one by one, and answers what there was; `None` if damage that nobody has set aside is refused, as it may be.
fn taken(world: &SimVfs, on_damage: OnDamage) -> Result<Option<Vec<String>>, String> {
    let channel = match open(world, on_damage) {
        Err(error) if error.kind() == &ErrorKind::Corrupt && on_damage == OnDamage::Refuse => {
            return Ok(None);
        }
        answer => answer.map_err(|error| format!("open: {error}"))?,
    };
    let mut taken = Vec::new();
    for _ in 0..9 {
        let take = match channel.begin_take(TakeLimit::events(1)) {
            // News to this channel: as it was before the repair.
            Err(error) if on_damage == OnDamage::Refuse && channel.quarantined().is_empty() => {
                assert_eq!(error.kind(), &ErrorKind::Corrupt);
                return Ok(None);
            }
            take => take,
        };
        let take = take.map_err(|error| format!("take after {taken:?}: {error}"))?;
        taken.extend(payloads(take.records()));
        take.commit().map_err(|error| format!("commit: {error}"))?;
    }
    Ok(Some(taken))
}

/// Whoever comes to one of `worlds` gets the four events that are whole.
fn nobody_is_held_up(worlds: &[SimVfs], what: &str) {
    let whole = ["event 0", "event 1", "event 3", "event 4"];
    for (number, world) in (1..).zip(worlds) {
        for on_damage in [OnDamage::Refuse, OnDamage::Quarantine] {
            match taken(&world.copy(), on_damage) {
                Ok(Some(taken)) => assert_eq!(taken, whole, "{what}, operation {number}"),
                Ok(None) => {}
                Err(error) => panic!("{what}, operation {number}, {on_damage:?}: {error}"),
            }
        }
    }
}

#[test]
fn a_repair_that_dies_anywhere_holds_nobody_up() {
    for whole in worlds() {
        let dead = dying(&whole, |world| drop(repair_in(world)));
        nobody_is_held_up(&dead, "repair");
        // Nor does one that is begun again, wherever the first one ended.
        for world in &dead {
            repair_in(world).unwrap();
        }
        nobody_is_held_up(&dead, "second repair");
        for world in &dead {
            assert!(open(world, OnDamage::Refuse).is_ok(), "it is repaired");
        }
    }
}

#[test]
fn a_repair_that_fails_leaves_every_file_as_it_was() {
    for whole in worlds() {
        let before = contents(&whole);
        for fault in [Fault::NoSpace, Fault::Error] {
            let mut failed = 0;
            for at in 1.. {
                let world = whole.copy();
                world.plan(world.operations() + at, fault);
                let answer = repair_in(&world);
                if world.operations() < at {
                    break;
                }
                match answer {
                    Ok(repaired) => assert!(!repaired.damages.is_empty(), "{fault:?}, {at}"),
                    Err(error) => {
                        assert_eq!(
                            contents(&world),
                            before,
                            "{fault:?} in operation {at}: {error}"
                        );
                        failed += 1;
                    }
                }
            }
            assert!(failed > 5, "{fault:?} fails it");
        }
    }
}

#[test]
fn an_undo_that_dies_anywhere_holds_nobody_up_and_can_be_done_again() {
    for whole in worlds() {
        let before = contents(&whole);
        let undo = repair_in(&whole).unwrap().undo;
        let undone = |world: &SimVfs| repair::undo_on(Arc::new(world.clone()), &undo);
        let dead = dying(&whole, |world| drop(undone(world)));
        nobody_is_held_up(&dead, "undo");
        for world in &dead {
            undone(world).unwrap();
            assert_eq!(contents(world), before, "to the byte");
        }
    }
}

/// The frame behind a damage is opened when the first of its events is asked for, and there are others to ask for before its own.
#[test]
fn what_is_lost_in_two_runs_takes_nothing_along_that_is_whole() {
    let world = SimVfs::new(18);
    let channel = open(&world, OnDamage::Quarantine).unwrap();
    put_all(&channel, &["event 0", "event 1", "event 2"]);
    let takes = [(); 3].map(|()| channel.begin_take(TakeLimit::events(1)).unwrap());
    let [first, middle, last] = takes;
    middle.commit().unwrap();
    put_all(&channel, &["event 3"]);
    channel.checkpoint().unwrap();
    drop((first, last));
    drop(channel);
    world.kill();
    flip(&world, b"event 1");
    assert_eq!(taken(&world, OnDamage::Quarantine), Ok(Some(vec!["event 3".to_owned()])));
}

/// The copy, the record and the segment behind them are made one after the other; a power cut after the next open keeps no less than that
/// counted on.
#[test]
fn what_a_killed_one_set_aside_outlives_a_power_cut_once_an_open_counts_on_it() {
    for seed in seeds(20) {
        let whole = damaged_in(SimVfs::new(seed), false);
        let dead = dying(&whole, |world| drop(open(world, OnDamage::Quarantine)));
        for (number, world) in (1..).zip(&dead) {
            drop(open(world, OnDamage::Quarantine).unwrap());
            world.power_cut();
            let channel = open(world, OnDamage::Quarantine).unwrap();
            assert_eq!(channel.quarantined().len(), 1, "seed {seed}, operation {number}");
            let half_made = |path: &PathBuf| path.extension().is_some_and(|end| end == "tmp");
            let left = world.paths().into_iter().find(half_made);
            assert_eq!(left, None, "seed {seed}, operation {number}");
        }
        nobody_is_held_up(&dead, "open");
    }
}

#[test]
fn a_damage_that_cannot_be_set_aside_leaves_no_copy() {
    let whole = damaged(false);
    for at in 1.. {
        let world = whole.copy();
        world.plan(world.operations() + at, Fault::Error);
        let opened = open(&world, OnDamage::Quarantine);
        let hit = world.operations() >= at;
        let names: Vec<String> = world
            .paths()
            .iter()
            .filter_map(|path| Some(path.file_name()?.to_str()?.to_owned()))
            .collect();
        let has = |name: &str| names.iter().any(|known| known == name);
        assert!(has("1.damage") || !has("1.bytes"), "operation {at}: {names:?}");
        if opened.is_ok_and(|channel| !channel.quarantined().is_empty()) || !hit {
            break;
        }
    }
}

#[test]
fn what_was_taken_before_its_frame_was_damaged_is_not_named_as_lost() {
    let world = SimVfs::new(19);
    let channel = open(&world, OnDamage::Quarantine).unwrap();
    put_all(&channel, &["event 0", "event 1", "event 2", "event 3"]);
    put_all(&channel, &["event 4"]);
    let [first, kept, last] = [1, 2, 1].map(|count| {
        let take = channel.begin_take(TakeLimit::events(count));
        take.unwrap()
    });
    first.commit().unwrap();
    last.commit().unwrap();
    drop(kept);
    channel.checkpoint().unwrap();
    drop(channel);
    world.kill();
    flip(&world, b"event 3");
    let channel = open(&world, OnDamage::Quarantine).unwrap();
    assert_eq!(payloads(channel.begin_take(TakeLimit::events(9)).unwrap().records()), ["event 4"]);
    let lost: Vec<(u64, u64)> = channel
        .quarantined()
        .iter()
        .map(|damage| (damage.events.0.get(), damage.events.1.get()))
        .collect();
    assert_eq!(lost, [(1, 3)]);
}

/// A crash had left a segment half-made, of the name that the repair gives to its own. It was written over without a word, and an undo
/// was not what it says it is.
#[test]
fn what_was_half_made_and_cannot_come_back_is_named() {
    let world = damaged(false);
    let made = repair_in(&world.copy()).unwrap().undo.made;
    let segment = |path: &Path| path.to_string_lossy().contains("/seg-");
    let made: Vec<_> = made.iter().filter(|made| segment(&made.path)).collect();
    assert_eq!(made.len(), 1);
    for made in made {
        let world = world.copy();
        let mut half_made = made.path.clone().into_os_string();
        half_made.push(".tmp");
        let half_made = PathBuf::from(half_made);
        world.set_content(&half_made, vec![7; 100]);
        let mut before = contents(&world);
        let repaired = repair_in(&world).unwrap();
        assert!(repaired.warnings.iter().any(|it| it.contains(&*half_made.to_string_lossy())));
        repair::undo_on(Arc::new(world.clone()), &repaired.undo).unwrap();
        before.remove(&half_made);
        assert_eq!(contents(&world), before, "{}", half_made.display());
    }
}
