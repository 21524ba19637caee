//! Any sequence of calls against a model that is obviously right: a list of the events that wait, each with who has it.
//!
//! There are no threads in the simulated world, so that a failing sequence shrinks. What crashes is the business of `crash.rs`; here the
//! process ends in an orderly way, or between two calls.
#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod common;

use common::now;
use fchannel::io::sim::SimVfs;
use fchannel::{Channel, Durability, ErrorKind, Options, PutError, TakeLimit, TakeTransaction};
use proptest::{collection::vec, prelude::*};
use std::{
    collections::{BTreeMap, VecDeque},
    path::Path,
    sync::Arc,
};

const HOME: &str = "/disk/home";
const TRANSACTION_EVENTS_MAX: u32 = 12;

#[derive(Clone, Debug)]
enum Step {
    /// Sizes of the events, and a mark to set (an empty value removes it).
    Put {
        sizes: Vec<usize>,
        mark: Option<(u8, u8)>,
    },
    /// Several puts in one group, the last of them dropped before it is submitted.
    Group {
        puts: Vec<Vec<usize>>,
    },
    Begin {
        events: u32,
        bytes: u64,
    },
    Extend {
        which: usize,
        events: u32,
    },
    Commit {
        which: usize,
    },
    RollBack {
        which: usize,
    },
    /// Commits the first part and rolls back the rest, or the other way round.
    Split {
        which: usize,
        at: usize,
        commit_first: bool,
    },
    Peek {
        from: u64,
    },
    Checkpoint,
    Sync,
    Tick {
        ms: u64,
    },
    SetCapacity {
        events: u64,
    },
    Reopen {
        close: bool,
    },
}

fn sizes() -> impl Strategy<Value = Vec<usize>> {
    let size = prop_oneof![12 => 0..100usize, 3 => 1_000..9_000usize, 1 => 60_000..90_000usize];
    vec(size, 0..5)
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (sizes(), proptest::option::weighted(0.3, (0..4u8, 0..5u8))).prop_map(|(sizes, mark)| Step::Put { sizes, mark }),
        3 => vec(sizes(), 1..5).prop_map(|puts| Step::Group { puts }),
        6 => (1..20u32, prop_oneof![3 => Just(u64::MAX), 1 => 0..5_000u64]).prop_map(|(events, bytes)| Step::Begin { events, bytes }),
        2 => (0..4usize, 1..20u32).prop_map(|(which, events)| Step::Extend { which, events }),
        6 => (0..4usize).prop_map(|which| Step::Commit { which }),
        3 => (0..4usize).prop_map(|which| Step::RollBack { which }),
        3 => (0..4usize, 0..8usize, any::<bool>()).prop_map(|(which, at, commit_first)| Step::Split { which, at, commit_first }),
        1 => (0..200u64).prop_map(|from| Step::Peek { from }),
        2 => Just(Step::Checkpoint),
        1 => Just(Step::Sync),
        1 => (0..3_000u64).prop_map(|ms| Step::Tick { ms }),
        1 => (12..80u64).prop_map(|events| Step::SetCapacity { events }),
        2 => any::<bool>().prop_map(|close| Step::Reopen { close }),
    ]
}

/// An event that waits.
#[derive(Clone, Debug, PartialEq)]
struct Waiting {
    seq: u64,
    payload: Vec<u8>,
    attempts: u32,
    leased: bool,
}

#[derive(Default)]
struct Model {
    queue: VecDeque<Waiting>,
    next_seq: u64,
    marks: BTreeMap<Vec<u8>, Vec<u8>>,
    capacity: u64,
}

impl Model {
    /// The events that a taker gets who has `held` already: what was given back first, then what nobody had yet, each in order.
    fn lease(&mut self, held: &[(u64, usize)], events: u32, bytes: u64) -> Vec<u64> {
        let mut bytes_held: u64 = held.iter().map(|(_, len)| *len as u64).sum();
        let mut leased = Vec::new();
        for waiting in self.queue.iter_mut().filter(|waiting| !waiting.leased) {
            let after = bytes_held + waiting.payload.len() as u64;
            let count = held.len() + leased.len();
            if count >= events.min(TRANSACTION_EVENTS_MAX) as usize || (count > 0 && after > bytes)
            {
                break;
            }
            bytes_held = after;
            waiting.leased = true;
            waiting.attempts += 1;
            leased.push(waiting.seq);
        }
        leased
    }

    fn give_back(&mut self, seqs: &[u64]) {
        self.queue
            .iter_mut()
            .filter(|waiting| seqs.contains(&waiting.seq))
            .for_each(|waiting| waiting.leased = false);
    }

    fn remove(&mut self, seqs: &[u64]) {
        self.queue.retain(|waiting| !seqs.contains(&waiting.seq));
    }

    fn get(&self, seq: u64) -> &Waiting {
        self.queue.iter().find(|waiting| waiting.seq == seq).unwrap()
    }
}

struct Test {
    world: SimVfs,
    options: Options,
    model: Model,
    channel: Option<Channel>,
    takes: Vec<TakeTransaction>,
}

impl Test {
    fn new(durability: Durability, two_dirs: bool, tail_cache_bytes: u64) -> Self {
        let data_dirs =
            if two_dirs { vec!["/disk/a".into(), "/disk/b".into()] } else { Vec::new() };
        let options = Options {
            data_dirs,
            durability,
            capacity_events: 60,
            transaction_events_max: TRANSACTION_EVENTS_MAX,
            segment_bytes_max: 64 << 10,
            checkpoint_log_bytes: 64 << 10,
            free_space_min_bytes: 0,
            keep_alive_ms: 0,
            tail_cache_bytes,
            ..Options::default()
        };
        let mut test = Self {
            world: SimVfs::new(3),
            model: Model { capacity: options.capacity_events, ..Model::default() },
            options,
            channel: None,
            takes: Vec::new(),
        };
        test.open();
        test
    }

    fn open(&mut self) {
        let world = Arc::new(self.world.clone());
        self.channel =
            Some(Channel::open_on(world, Path::new(HOME), self.options.clone()).unwrap());
    }

    fn channel(&self) -> Channel {
        self.channel.clone().unwrap()
    }

    fn events(&self, sizes: &[usize], first: u64) -> Vec<Vec<u8>> {
        let event = |(seq, size): (u64, &usize)| {
            let mut event = format!("event {seq} ").into_bytes();
            event.resize(event.len() + size, b'.');
            event
        };
        (first..).zip(sizes).map(event).collect()
    }

    fn fits(&self, events: usize) -> bool {
        events == 0 || self.model.queue.len() as u64 + events as u64 <= self.model.capacity
    }

    fn put_into_model(&mut self, events: Vec<Vec<u8>>) {
        for payload in events {
            self.model.queue.push_back(Waiting {
                seq: self.model.next_seq,
                payload,
                attempts: 0,
                leased: false,
            });
            self.model.next_seq += 1;
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Put { sizes, mark } => self.put(&sizes, mark),
            Step::Group { puts } => self.group(&puts),
            Step::Begin { events, bytes } => {
                let take = self.channel().begin_take(TakeLimit { events, bytes }).unwrap();
                self.leased(&take, 0, events, bytes);
                self.takes.push(take);
                if self.takes.len() > 4 {
                    self.roll_back(0);
                }
            }
            Step::Extend { which, events } => {
                if let Some(which) = self.pick(which) {
                    let mut take = self.takes.remove(which);
                    let before = take.records().len();
                    let added = take.extend(TakeLimit { events, bytes: u64::MAX }).unwrap();
                    assert_eq!(take.records().len(), before + added);
                    self.leased(&take, before, events, u64::MAX);
                    self.takes.push(take);
                }
            }
            Step::Commit { which } => {
                if let Some(which) = self.pick(which) {
                    let take = self.takes.remove(which);
                    self.commit(take);
                }
            }
            Step::RollBack { which } => {
                if let Some(which) = self.pick(which) {
                    self.roll_back(which);
                }
            }
            Step::Split { which, at, commit_first } => {
                if let Some(which) = self.pick(which) {
                    let mut first = self.takes.remove(which);
                    let second = first.split_off(at);
                    let (commit, keep) =
                        if commit_first { (first, second) } else { (second, first) };
                    self.commit(commit);
                    self.takes.push(keep);
                    self.roll_back(self.takes.len() - 1);
                }
            }
            Step::Peek { from } => {
                let found = self
                    .channel()
                    .peek(Some(fchannel::EventSeq::new(from)), TakeLimit::events(5))
                    .unwrap();
                let expected =
                    self.model.queue.iter().filter(|waiting| waiting.seq >= from).take(5);
                assert!(
                    found
                        .iter()
                        .map(|record| record.seq.get())
                        .eq(expected.map(|waiting| waiting.seq))
                );
            }
            Step::Checkpoint => self.channel().checkpoint().map(drop).unwrap(),
            Step::Sync => self.channel().sync().map(drop).unwrap(),
            Step::Tick { ms } => {
                self.world.advance_ms(ms);
                self.channel().tick().unwrap();
            }
            Step::SetCapacity { events } => {
                self.model.capacity = events;
                self.options.capacity_events = events;
                self.channel().set_capacity(events);
            }
            Step::Reopen { close } => {
                self.takes.clear();
                let channel = self.channel.take().unwrap();
                if close {
                    channel.close().unwrap()
                } else {
                    drop(channel)
                }
                self.world.kill();
                self.open();
                for waiting in &mut self.model.queue {
                    (waiting.leased, waiting.attempts) = (false, 0);
                }
            }
        }
        self.compare();
    }

    fn pick(&self, which: usize) -> Option<usize> {
        which.checked_rem(self.takes.len())
    }

    fn put(&mut self, sizes: &[usize], mark: Option<(u8, u8)>) {
        let events = self.events(sizes, self.model.next_seq);
        let mut put = self.channel().begin_put();
        events.iter().for_each(|event| put.push(event).unwrap());
        if let Some((key, value)) = mark {
            put.set_mark(&[key], &vec![value; usize::from(value)]).unwrap();
        }
        match put.commit() {
            Ok(committed) => {
                assert!(self.fits(sizes.len()));
                assert_eq!(committed.events as usize, sizes.len());
                let first = (!sizes.is_empty()).then_some(self.model.next_seq);
                assert_eq!(committed.first.map(fchannel::EventSeq::get), first);
                self.put_into_model(events);
                match mark {
                    Some((key, 0)) => drop(self.model.marks.remove(&vec![key])),
                    Some((key, value)) => {
                        drop(self.model.marks.insert(vec![key], vec![value; usize::from(value)]))
                    }
                    None => {}
                }
            }
            Err(PutError::Full(put)) => {
                assert!(!self.fits(sizes.len()));
                assert_eq!(put.len() as usize, sizes.len(), "it comes back whole");
            }
            Err(error) => panic!("{error}"),
        }
    }

    fn group(&mut self, puts: &[Vec<usize>]) {
        let channel = self.channel();
        let mut tickets = Vec::new();
        for (sizes, left) in puts.iter().zip((0..puts.len()).rev()) {
            let events = self.events(sizes, self.model.next_seq);
            let mut put = channel.begin_put();
            events.iter().for_each(|event| put.push(event).unwrap());
            if left == 0 {
                continue; // a rollback: nothing of it is left
            }
            if !self.fits(sizes.len()) {
                continue;
            }
            let room = now(channel.reserve(u32::try_from(sizes.len()).unwrap())).unwrap();
            tickets.push(put.submit(room).unwrap());
            self.put_into_model(events);
        }
        while channel.lead_once() {}
        for ticket in tickets {
            now(ticket).unwrap();
        }
    }

    /// The channel gave what the model gives: these, in this order, offered this often.
    fn leased(&mut self, take: &TakeTransaction, before: usize, events: u32, bytes: u64) {
        let held: Vec<(u64, usize)> = take.records()[..before]
            .iter()
            .map(|record| (record.seq.get(), record.payload.len()))
            .collect();
        let expected = self.model.lease(&held, events, bytes);
        let found = &take.records()[before..];
        assert!(
            found.iter().map(|record| record.seq.get()).eq(expected.iter().copied()),
            "leased {found:?}, expected {expected:?}"
        );
        for record in found {
            let waiting = self.model.get(record.seq.get());
            assert_eq!(record.payload, waiting.payload);
            assert_eq!(record.attempts, waiting.attempts);
        }
    }

    fn commit(&mut self, take: TakeTransaction) {
        let seqs: Vec<u64> = take.records().iter().map(|record| record.seq.get()).collect();
        take.commit().unwrap();
        self.model.remove(&seqs);
    }

    fn roll_back(&mut self, which: usize) {
        let take = self.takes.remove(which);
        let seqs: Vec<u64> = take.records().iter().map(|record| record.seq.get()).collect();
        drop(take);
        self.model.give_back(&seqs);
    }

    fn compare(&self) {
        let channel = self.channel();
        let stats = channel.stats();
        let leased = self.model.queue.iter().filter(|waiting| waiting.leased).count() as u64;
        assert_eq!(stats.events, self.model.queue.len() as u64);
        assert_eq!(stats.leased, leased);
        assert_eq!(stats.used, stats.events);
        assert_eq!(stats.capacity, self.model.capacity);
        assert_eq!(stats.next_seq.get(), self.model.next_seq);
        let shown = channel.peek(None, TakeLimit { events: u32::MAX, bytes: u64::MAX }).unwrap();
        assert_eq!(shown.len(), self.model.queue.len());
        for (record, waiting) in shown.iter().zip(&self.model.queue) {
            assert_eq!(
                (record.seq.get(), &record.payload[..]),
                (waiting.seq, &waiting.payload[..])
            );
        }
        let marks: BTreeMap<Vec<u8>, Vec<u8>> = channel
            .marks()
            .into_iter()
            .map(|(key, value)| (key.to_vec(), value.to_vec()))
            .collect();
        assert_eq!(marks, self.model.marks);
    }
}

fn cases() -> u32 {
    u32::try_from(common::env("FCHANNEL_CASES").unwrap_or(1_500)).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), ..ProptestConfig::default() })]
    #[test]
    fn a_channel_is_a_list_of_events_and_who_has_them(
        steps in vec(step(), 1..60),
        interval: bool,
        two_dirs: bool,
        tail in prop_oneof![Just(0u64), Just(1 << 20)],
    ) {
        let durability = if interval { Durability::Interval { sync_interval_ms: 100 } } else { Durability::EachCommit };
        let mut test = Test::new(durability, two_dirs, tail);
        steps.into_iter().for_each(|step| test.step(step));
    }
}

/// Space is given back while events pass through, whatever waits at the end.
#[test]
fn segments_do_not_pile_up_behind_a_queue_that_is_drained() {
    for two_dirs in [false, true] {
        let mut test = Test::new(Durability::EachCommit, two_dirs, 0);
        for round in 0..60 {
            test.step(Step::Put { sizes: vec![30_000; 3], mark: Some((0, 3)) });
            test.step(Step::Begin { events: 3, bytes: u64::MAX });
            test.step(Step::Commit { which: 0 });
            test.step(Step::Tick { ms: 0 });
            if round % 7 == 0 {
                test.step(Step::Reopen { close: round % 2 == 0 });
            }
            let files = test.world.paths().len();
            assert!(files < 20, "{:?}", test.world.paths());
        }
    }
}

/// One event that stays keeps its segment and all that follow, and they go when it goes.
#[test]
fn an_old_event_keeps_its_segment_until_it_is_taken() {
    let mut test = Test::new(Durability::EachCommit, false, 0);
    test.step(Step::Put { sizes: vec![10], mark: None });
    test.step(Step::Begin { events: 1, bytes: u64::MAX });
    for _ in 0..20 {
        test.step(Step::Put { sizes: vec![40_000], mark: None });
        test.step(Step::Begin { events: 1, bytes: u64::MAX });
        test.step(Step::Commit { which: 1 });
        test.step(Step::Checkpoint);
    }
    assert!(test.channel().stats().log.segments >= 10);
    test.step(Step::RollBack { which: 0 });
    test.step(Step::Begin { events: 1, bytes: u64::MAX });
    test.step(Step::Commit { which: 0 });
    test.step(Step::Checkpoint);
    test.step(Step::Put { sizes: vec![10], mark: None });
    test.step(Step::Checkpoint);
    assert!(test.channel().stats().log.segments <= 2);
    let refused = test.channel().begin_put().set_mark(b"k", &vec![1; 2 << 20]);
    assert_eq!(refused.unwrap_err().kind(), &ErrorKind::TooLarge);
}
