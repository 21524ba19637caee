//! What was acknowledged survives, whatever crashes.
//!
//! A history is a random sequence of calls made from one seed. It runs once undisturbed, to count its I/O operations, and then once for
//! each of them: with a crash at that operation (a kill or a power cut, by chance), or with an I/O error at it. Then the channel is
//! opened again, mostly with one more crash inside that recovery, sometimes with its newest checkpoint damaged, and what it holds is
//! compared with a model: the fold of all acknowledged transactions and of the first few of those whose answer is not known. Under
//! `Interval` a power cut may also take away the last ones that no sync covered, and nothing else.
//!
//! A failing run prints its seed: `FCHANNEL_SEED=7 cargo test --test crash` plays it again, `FCHANNEL_SEEDS=5000` plays more.
#![expect(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    clippy::indexing_slicing,
    reason = "a helper that fails fails its test"
)]

mod common;

use common::{now, poll, seeds};
use fchannel::io::sim::{Fault, Rng, SimVfs};
use fchannel::{
    Channel, CommitError, Committed, Durability, ErrorKind, Options, PutError, TakeLimit, TakeSync,
    TakeTransaction, Ticket,
};
use std::{collections::BTreeMap, path::Path, sync::Arc, task::Poll};

const HOME: &str = "/disk/home";

/// What a transaction does to the model.
#[derive(Clone, Debug)]
enum Operation {
    Put { events: Vec<Vec<u8>>, mark: Option<u64> },
    Take { seqs: Vec<u64> },
}

/// The durable state, as simple as can be.
#[derive(Clone, Debug, Default, PartialEq)]
struct Model {
    owed: BTreeMap<u64, Vec<u8>>,
    next_seq: u64,
    mark: u64,
}

impl Model {
    fn apply(&mut self, operation: &Operation) {
        match operation {
            Operation::Put { events, mark } => {
                for event in events {
                    self.owed.insert(self.next_seq, event.clone());
                    self.next_seq += 1;
                }
                self.mark = mark.unwrap_or(self.mark);
            }
            Operation::Take { seqs } => {
                for seq in seqs {
                    assert!(self.owed.remove(seq).is_some(), "event {seq} was taken twice");
                }
            }
        }
    }

    fn of(channel: &Channel) -> Self {
        let stats = channel.stats();
        let everything = TakeLimit { events: u32::MAX, bytes: u64::MAX };
        let records = channel.peek(None, everything).unwrap();
        assert_eq!(records.len() as u64, stats.events);
        Self {
            owed: records
                .into_iter()
                .map(|record| (record.seq.get(), record.payload.to_vec()))
                .collect(),
            next_seq: stats.next_seq.get(),
            mark: channel
                .mark(b"position")
                .map_or(0, |value| u64::from_le_bytes(value[..].try_into().unwrap())),
        }
    }

    /// Short enough for a message.
    fn summary(&self) -> String {
        let owed: Vec<String> =
            self.owed.iter().map(|(seq, event)| format!("{seq}:{}b", event.len())).collect();
        format!("next {}, mark {}, owed [{}]", self.next_seq, self.mark, owed.join(" "))
    }
}

/// All transactions so far in the order of their commits, and what is known about them.
#[derive(Default)]
struct Truth {
    operations: Vec<Operation>,
    /// Those before this one survive a power cut.
    durable: usize,
    /// Those before this one are acknowledged: they survive a kill.
    acknowledged: usize,
}

impl Truth {
    /// A transaction was answered, in the order of commits.
    fn answered(&mut self, operation: Operation, answer: Result<Committed, CommitError>) {
        match answer {
            Ok(committed) => {
                assert_eq!(
                    self.acknowledged,
                    self.operations.len(),
                    "acknowledged after a failure"
                );
                self.operations.push(operation);
                self.acknowledged = self.operations.len();
                if committed.durable {
                    self.durable = self.acknowledged;
                }
            }
            Err(CommitError::Unknown(_)) => self.operations.push(operation),
            Err(CommitError::NotCommitted(_)) => {}
            Err(other) => panic!("{other}"),
        }
    }

    fn model(&self, count: usize) -> Model {
        let mut model = Model::default();
        self.operations[..count].iter().for_each(|operation| model.apply(operation));
        model
    }

    /// What was recovered must be the fold of a prefix that holds all that had to survive. From then on that is what happened.
    fn settle(&mut self, floor: usize, found: &Model) {
        let fits = (floor..=self.operations.len()).rev().find(|count| self.model(*count) == *found);
        let Some(count) = fits else {
            let expected: Vec<String> =
                (floor..=self.operations.len()).map(|count| self.model(count).summary()).collect();
            panic!("found: {}\nbut it must be one of:\n{}", found.summary(), expected.join("\n"));
        };
        self.operations.truncate(count);
        (self.durable, self.acknowledged) = (count, count);
    }
}

/// One life of a channel, driven by chance.
struct Driver {
    world: SimVfs,
    rng: Rng,
    truth: Truth,
    options: Options,
    event_number: u64,
    /// A sync may have failed: pages that nobody synced before may be gone without a power cut.
    errors: bool,
}

/// What is in flight at a moment: dropped with the process.
#[derive(Default)]
struct Life {
    channel: Option<Channel>,
    lease: Option<TakeTransaction>,
}

impl Driver {
    fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed.wrapping_mul(0x1000_0001));
        let durability = if rng.chance(65) {
            Durability::EachCommit
        } else {
            Durability::Interval { sync_interval_ms: 10 }
        };
        let data_dirs =
            if rng.chance(25) { vec!["/disk/a".into(), "/disk/b".into()] } else { Vec::new() };
        let take_sync = match seed % 4 {
            3 => TakeSync::WithNextPut { at_most_ms: 10 },
            _ => TakeSync::EachCommit,
        };
        let options = Options {
            data_dirs,
            durability,
            take_sync,
            segment_bytes_max: 64 << 10,
            checkpoint_log_bytes: 64 << 10,
            checkpoint_interval_ms: 1_000,
            free_space_min_bytes: 0,
            keep_alive_ms: 0,
            tail_cache_bytes: if rng.chance(50) { 0 } else { 1 << 20 },
            checkpoint_on_close: rng.chance(50),
            ..Options::default()
        };
        Self {
            world: SimVfs::new(seed ^ 0x5eed),
            rng,
            truth: Truth::default(),
            options,
            event_number: 0,
            errors: false,
        }
    }

    fn open(&self) -> fchannel::Result<Channel> {
        Channel::open_on(Arc::new(self.world.clone()), Path::new(HOME), self.options.clone())
    }

    fn event(&mut self) -> Vec<u8> {
        let len = match self.rng.below(10) {
            0..5 => self.rng.below(60),
            5..8 => self.rng.below(3_000),
            8 => 20_000 + self.rng.below(20_000),
            _ => 60_000 + self.rng.below(20_000),
        };
        self.event_number += 1;
        let mut event = self.event_number.to_le_bytes().to_vec();
        event.resize(8 + len as usize, self.event_number as u8);
        event
    }

    fn events(&mut self) -> Vec<Vec<u8>> {
        (0..1 + self.rng.below(4)).map(|_| self.event()).collect()
    }

    /// Runs until `steps` are done or the world has ended or the log has stopped itself.
    fn live(&mut self, life: &mut Life, steps: u64) {
        for _ in 0..steps {
            if self.world.is_dead() {
                return;
            }
            if life.channel.is_none() {
                match self.open() {
                    // The end came while it made its first checkpoint, without which an open does.
                    Ok(_) if self.world.is_dead() => return,
                    Ok(channel) => {
                        // A reopen after a clean end or a kill: nothing may be missing.
                        let floor = self.truth.acknowledged;
                        self.truth.settle(floor, &Model::of(&channel));
                        life.channel = Some(channel);
                    }
                    Err(error) => {
                        assert!(
                            matches!(error.kind(), ErrorKind::Io | ErrorKind::Poisoned),
                            "{error:?}"
                        );
                        self.end_and_reopen();
                        continue;
                    }
                }
            }
            let channel = life.channel.clone().unwrap();
            self.world.advance_ms(self.rng.below(400));
            self.step(life, &channel);
            if let Some(error) = channel.poisoned()
                && !self.world.is_dead()
            {
                self.stays_poisoned(&channel, &error);
                drop(channel);
                *life = Life::default();
                self.end_and_reopen();
            }
        }
    }

    fn step(&mut self, life: &mut Life, channel: &Channel) {
        match self.rng.below(100) {
            0..30 => self.put(channel),
            30..45 => self.group(channel),
            45..60 => self.take(channel),
            60..68 => {
                let limit = TakeLimit::events(1 + self.rng.below(4) as u32);
                life.lease =
                    channel.begin_take(limit).ok().filter(|take| !take.records().is_empty());
            }
            68..74 => {
                if let Some(take) = life.lease.take() {
                    self.commit(take);
                }
            }
            74..82 => {
                if channel.checkpoint().is_ok() {
                    self.truth.durable = self.truth.acknowledged;
                }
            }
            82..88 => {
                if channel.sync().is_ok() {
                    self.truth.durable = self.truth.acknowledged;
                }
            }
            88..93 => drop(channel.tick()),
            93..97 => {
                *life = Life::default();
                drop(channel.clone().close());
                if channel.poisoned().is_none() {
                    self.world.restart();
                }
            }
            _ => {
                *life = Life::default();
                self.world.restart();
            }
        }
    }

    fn put(&mut self, channel: &Channel) {
        let events = self.events();
        let mut put = channel.begin_put();
        for event in &events {
            put.push(event).unwrap();
        }
        let mark = self.rng.chance(30).then_some(self.event_number);
        if let Some(mark) = mark {
            put.set_mark(b"position", &mark.to_le_bytes()).unwrap();
        }
        match put.commit() {
            Ok(committed) => self.truth.answered(Operation::Put { events, mark }, Ok(committed)),
            Err(PutError::Commit(error)) => {
                self.truth.answered(Operation::Put { events, mark }, Err(error))
            }
            Err(error) => panic!("{error}"),
        }
    }

    /// Several transactions in one group: submitted, led once or twice, perhaps never.
    fn group(&mut self, channel: &Channel) {
        let mut tickets: Vec<(Operation, Ticket)> = Vec::new();
        for _ in 0..2 + self.rng.below(4) {
            if self.rng.chance(30) {
                let Ok(take) = channel.begin_take(TakeLimit::events(1 + self.rng.below(3) as u32))
                else {
                    continue;
                };
                let seqs = seqs(&take);
                if !seqs.is_empty()
                    && let Ok(ticket) = take.submit()
                {
                    tickets.push((Operation::Take { seqs }, ticket));
                }
                continue;
            }
            let events = self.events();
            let Ok(room) = now(channel.reserve(events.len() as u32)) else { continue };
            let mut put = channel.begin_put();
            for event in &events {
                put.push(event).unwrap();
            }
            if let Ok(ticket) = put.submit(room) {
                tickets.push((Operation::Put { events, mark: None }, ticket));
            }
        }
        if self.rng.chance(30) {
            // Led by a blocking commit behind them.
            let events = self.events();
            let mut put = channel.begin_put();
            for event in &events {
                put.push(event).unwrap();
            }
            let answer = put.commit();
            self.answers(tickets);
            let operation = Operation::Put { events, mark: None };
            match answer {
                Ok(committed) => self.truth.answered(operation, Ok(committed)),
                Err(PutError::Commit(error)) => self.truth.answered(operation, Err(error)),
                Err(error) => panic!("{error}"),
            }
            return;
        }
        while channel.lead_once() {}
        self.answers(tickets);
    }

    fn answers(&mut self, tickets: Vec<(Operation, Ticket)>) {
        for (operation, mut ticket) in tickets {
            match poll(std::pin::Pin::new(&mut ticket)) {
                Poll::Ready(answer) => self.truth.answered(operation, answer),
                Poll::Pending => panic!("a ticket without an answer, though all was led"),
            }
        }
    }

    fn take(&mut self, channel: &Channel) {
        let Ok(mut take) = channel.begin_take(TakeLimit::events(1 + self.rng.below(6) as u32))
        else {
            return;
        };
        if self.rng.chance(30) {
            let keep = self.rng.below(take.records().len() as u64 + 1) as usize;
            drop(take.split_off(keep));
        }
        if self.rng.chance(80) {
            self.commit(take);
        }
    }

    fn commit(&mut self, take: TakeTransaction) {
        let seqs = seqs(&take);
        if !seqs.is_empty() {
            let answer = take.commit();
            self.truth.answered(Operation::Take { seqs }, answer);
        }
    }

    /// After the first failure nothing is acknowledged, and every call says why.
    fn stays_poisoned(&self, channel: &Channel, poison: &fchannel::Error) {
        assert_eq!(poison.kind(), &ErrorKind::Poisoned);
        assert!(poison.to_string().contains("First error"), "{poison}");
        let refused = channel.put(b"x").unwrap_err();
        assert!(
            matches!(&refused, CommitError::NotCommitted(error) if error.kind() == &ErrorKind::Poisoned),
            "{refused}"
        );
        assert_eq!(
            channel.begin_take(TakeLimit::events(1)).unwrap_err().kind(),
            &ErrorKind::Poisoned
        );
        assert_eq!(channel.checkpoint().unwrap_err().kind(), &ErrorKind::Poisoned);
        assert_eq!(channel.sync().unwrap_err().kind(), &ErrorKind::Poisoned);
        assert!(!channel.lead_once());
    }

    /// The end of a life by a kill or a power cut, a recovery that may crash too, and the comparison.
    fn end_and_reopen(&mut self) {
        let floor = if self.rng.chance(60) {
            self.world.power_cut();
            self.truth.durable
        } else {
            self.world.kill();
            if self.errors { self.truth.durable } else { self.truth.acknowledged }
        };
        let mut floor = floor;
        for _ in 0..self.rng.below(3) {
            let at = self.world.operations() + 1 + self.rng.below(40);
            let fault = if self.rng.chance(70) { Fault::Crash } else { Fault::Error };
            self.world.plan(at, fault);
            let opened = self.open();
            if let Err(error) = &opened {
                assert!(matches!(error.kind(), ErrorKind::Io | ErrorKind::Poisoned), "{error:?}");
            }
            drop(opened);
            if self.rng.chance(50) {
                self.world.power_cut();
                floor = floor.min(self.truth.durable);
            } else {
                self.world.kill();
            }
        }
        if self.rng.chance(25) {
            self.damage_newest_checkpoint();
        }
        let channel =
            self.open().unwrap_or_else(|error| panic!("it does not open again: {error:?}"));
        self.truth.settle(floor, &Model::of(&channel));
    }

    /// Nothing is lost by that: the older one serves, or an image in the log (@I).
    fn damage_newest_checkpoint(&mut self) {
        let generation = |path: &Path| {
            path.file_name()?.to_str()?.strip_prefix("checkpoint-")?.parse::<u64>().ok()
        };
        let paths = self.world.paths();
        let newest = paths.into_iter().filter_map(|path| Some((generation(&path)?, path))).max();
        if let Some((_, path)) = newest {
            let mut bytes = self.world.content(&path).unwrap();
            let at = self.rng.below(bytes.len() as u64) as usize;
            bytes[at] ^= 1 << self.rng.below(8);
            self.world.set_content(&path, bytes);
        }
    }
}

fn seqs(take: &TakeTransaction) -> Vec<u64> {
    take.records().iter().map(|record| record.seq.get()).collect()
}

/// A history with `fault`; answers how many operations it had.
fn run(seed: u64, fault: Option<(u64, Fault)>) -> u64 {
    let mut driver = Driver::new(seed);
    if let Some((at, fault)) = fault {
        driver.world.plan(at, fault);
        driver.errors = fault == Fault::Error;
    }
    let mut life = Life::default();
    driver.live(&mut life, 14);
    drop(life);
    let operations = driver.world.operations();
    driver.end_and_reopen();
    // Life goes on, and what it holds then is right too.
    let mut life = Life::default();
    driver.world.kill();
    driver.live(&mut life, 4);
    let channel = life.channel.take();
    drop(life);
    if let Some(channel) = channel {
        let found = Model::of(&channel);
        driver.truth.settle(driver.truth.acknowledged, &found);
        let everything = TakeLimit { events: u32::MAX, bytes: u64::MAX };
        let mut taken = Vec::new();
        loop {
            let take = channel.begin_take(everything).unwrap();
            if take.records().is_empty() {
                break;
            }
            taken.extend(
                take.records().iter().map(|record| (record.seq.get(), record.payload.to_vec())),
            );
            take.commit().unwrap();
        }
        assert!(
            taken.into_iter().eq(found.owed),
            "what is taken is what was shown, in order, once"
        );
        channel.close().unwrap();
    }
    operations
}

fn each_operation(fault: Fault, count: u64) {
    let mut runs = 0;
    for seed in seeds(count) {
        let context = Context { seed, at: None };
        let operations = run(seed, None);
        drop(context);
        for at in 1..=operations {
            let context = Context { seed, at: Some(at) };
            run(seed, Some((at, fault)));
            drop(context);
            runs += 1;
        }
    }
    println!("{runs} runs");
}

/// Says where, if this test fails.
struct Context {
    seed: u64,
    at: Option<u64>,
}

impl Drop for Context {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!(
                "to play it again: FCHANNEL_SEED={} (it failed at operation {:?})",
                self.seed, self.at
            );
        }
    }
}

#[test]
fn a_crash_at_any_operation_loses_nothing_acknowledged() {
    each_operation(Fault::Crash, 60);
}

#[test]
fn an_error_at_any_operation_stops_the_log_or_changes_nothing() {
    each_operation(Fault::Error, 40);
}

/// Puts are refused before anything of them is written; takes go on, also into the next segment, for which there is the reserve.
#[test]
fn a_full_disk_refuses_puts_and_lets_takes_drain_it() {
    let mut driver = Driver::new(1);
    driver.options.data_dirs.clear();
    driver.options.durability = Durability::EachCommit;
    let channel = driver.open().unwrap();
    channel.tick().unwrap();
    // The fill behind the first one is what the rest of the segment takes.
    channel.put(b"first").unwrap();
    driver.world.set_full(true);
    let (mut puts, mut refused) = (1, None);
    while refused.is_none() {
        match channel.put(&[1; 100]) {
            Ok(_) => puts += 1,
            Err(CommitError::NotCommitted(error)) => refused = Some(error),
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(refused.unwrap().kind(), &ErrorKind::DiskFull);
    // What is left of the segment is too little for a put of 100 bytes, and soon for a take.
    while channel.put(b"").is_ok() {
        puts += 1;
    }
    assert_eq!(channel.checkpoint().unwrap_err().kind(), &ErrorKind::DiskFull);
    let segments = channel.stats().log.segments;
    for _ in 0..puts {
        assert_eq!(channel.begin_take(TakeLimit::events(1)).unwrap().commit().unwrap().events, 0);
    }
    assert!(channel.stats().log.segments > segments, "the takes needed the reserve");
    assert!(channel.poisoned().is_none());
    assert!(channel.put(&[1; 60_000]).is_err());
    drop(channel);
    driver.world.kill();
    driver.world.set_full(false);
    let channel = driver.open().unwrap();
    assert_eq!(channel.stats().events, 0);
    channel.put(b"there is room again").unwrap();
}

/// Where the disk has room for a group and not for the zeros behind it, the group is written without them: whole, durable, and no reason
/// to stop the log. Where it has not even that, nor a reserve, it is refused, and all that was acknowledged is there, and nothing else.
#[test]
fn a_group_is_written_also_where_the_fill_behind_it_has_no_room() {
    for (seed, durability) in (0..20).zip(
        [Durability::EachCommit, Durability::Interval { sync_interval_ms: 10 }].into_iter().cycle(),
    ) {
        let mut driver = Driver::new(seed);
        driver.options.data_dirs.clear();
        driver.options.durability = durability;
        driver.options.segment_bytes_max = 1 << 20;
        let channel = driver.open().unwrap();
        // The first group brings zeros up to 256 KiB; the one that passes them finds room for a few more, and not for zeros.
        channel.put(&[0; 700]).unwrap();
        driver.world.set_room(3_000);
        let mut puts = 1;
        let failed = loop {
            match channel.put(&[puts as u8; 700]) {
                Ok(_) => puts += 1,
                Err(error) => break error,
            }
        };
        assert!(matches!(failed, CommitError::NotCommitted(_)), "{failed}");
        assert!(
            puts as usize * (700 + 76) > 256 << 10,
            "some of {puts} lie behind the first zeros"
        );
        assert!(channel.poisoned().is_none());
        drop(channel);
        match durability {
            Durability::EachCommit => driver.world.power_cut(),
            _ => driver.world.kill(),
        }
        driver.world.set_full(false);
        let events = driver.open().unwrap().stats().events;
        assert_eq!(events, puts);
    }
}

/// The free-space floor refuses puts while there is still room for what gives room.
#[test]
fn the_free_space_floor_refuses_puts_only() {
    let mut driver = Driver::new(1);
    driver.options.free_space_min_bytes = 1 << 20;
    let channel = driver.open().unwrap();
    channel.put(b"one").unwrap();
    driver.world.set_full(true);
    driver.world.advance_ms(1_000);
    let refused = channel.put(b"two").unwrap_err();
    assert_eq!(refused.error().kind(), &ErrorKind::DiskFull);
    assert!(refused.to_string().contains("free_space_min_bytes"), "{refused}");
    channel.begin_take(TakeLimit::events(1)).unwrap().commit().unwrap();
    assert_eq!((channel.stats().events, channel.stats().used), (0, 0));
}

/// A disk that says "synced" and is not must be found out by these tests: otherwise they prove nothing.
#[test]
fn these_tests_can_fail() {
    let lost = (0..40).any(|seed| {
        let quiet = std::panic::catch_unwind(|| {
            let driver = Driver::new(seed);
            driver.world.lie_about_syncs();
            let channel = driver.open().unwrap();
            for number in 0..20u8 {
                channel.put(&[number; 700]).unwrap();
            }
            drop(channel);
            driver.world.power_cut();
            driver.open().map(|channel| channel.stats().events).unwrap_or(0)
        });
        quiet.is_ok_and(|events| events < 20)
    });
    assert!(lost, "the simulated disk keeps what nobody synced");
}
