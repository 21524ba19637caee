//! Calls in any order against a list of events, each with who has it. As `engine/tests/model.rs`, but what is called next is chosen by
//! what code it reaches.

use crate::MemoryVfs;
use arbitrary::{Arbitrary, Unstructured};
use fchannel::{Channel, Durability, EventSeq, Options, PutError, TakeLimit, TakeTransaction};
use std::{
    collections::BTreeMap,
    future::Future,
    path::Path,
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

#[derive(Arbitrary, Debug)]
enum Step {
    Put { sizes: Vec<u8>, large: bool, mark: Option<(u8, u8)> },
    Group(Vec<u8>),
    Begin { events: u8, bytes: Option<u16> },
    Extend { which: u8, events: u8 },
    Commit(u8),
    RollBack(u8),
    Split { which: u8, at: u8, commit_first: bool },
    Peek(u8),
    Checkpoint,
    Sync,
    Tick(u16),
    SetCapacity(u8),
    GiveUpReserve { events: u8, polls: u8 },
    Reopen { close: bool },
}

#[derive(Arbitrary, Debug)]
struct Case {
    interval: bool,
    two_dirs: bool,
    cache: bool,
    steps: Vec<Step>,
}

const HOME: &str = "/home";
const EVENTS_MAX: usize = 12;

/// An event that waits.
struct Waiting {
    payload: Vec<u8>,
    attempts: u32,
    leased: bool,
}

struct World {
    vfs: MemoryVfs,
    options: Options,
    channel: Option<Channel>,
    takes: Vec<TakeTransaction>,
    waiting: BTreeMap<u64, Waiting>,
    next_seq: u64,
    marks: BTreeMap<Vec<u8>, Vec<u8>>,
}

fn now<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("the future is not ready"),
    }
}

fn seqs(take: &TakeTransaction) -> Vec<u64> {
    take.records().iter().map(|record| record.seq.get()).collect()
}

impl World {
    fn new(case: &Case) -> Self {
        let options = Options {
            data_dirs: if case.two_dirs { vec!["/a".into(), "/b".into()] } else { Vec::new() },
            durability: if case.interval {
                Durability::Interval { sync_interval_ms: 100 }
            } else {
                Durability::EachCommit
            },
            capacity_events: 60,
            transaction_events_max: EVENTS_MAX as u32,
            segment_bytes_max: 64 << 10,
            checkpoint_log_bytes: 64 << 10,
            free_space_min_bytes: 0,
            keep_alive_ms: 0,
            tail_cache_bytes: if case.cache { 1 << 20 } else { 0 },
            ..Options::default()
        };
        let mut world = Self {
            vfs: MemoryVfs::default(),
            options,
            channel: None,
            takes: Vec::new(),
            waiting: BTreeMap::new(),
            next_seq: 0,
            marks: BTreeMap::new(),
        };
        world.open();
        world
    }

    fn open(&mut self) {
        let opened =
            Channel::open_on(Arc::new(self.vfs.clone()), Path::new(HOME), self.options.clone());
        self.channel = Some(opened.expect("what was written can be opened"));
    }

    fn channel(&self) -> &Channel {
        self.channel.as_ref().expect("it is open")
    }

    fn payloads(&self, sizes: &[u8], large: bool) -> Vec<Vec<u8>> {
        let sizes = sizes.iter().take(EVENTS_MAX);
        (self.next_seq..)
            .zip(sizes)
            .map(|(seq, size)| {
                let mut payload = seq.to_le_bytes().to_vec();
                payload.resize(8 + usize::from(*size) * if large { 97 } else { 1 }, 7);
                payload
            })
            .collect()
    }

    fn fits(&self, events: usize) -> bool {
        events == 0 || self.waiting.len() as u64 + events as u64 <= self.options.capacity_events
    }

    fn is_put(&mut self, payloads: Vec<Vec<u8>>) {
        for payload in payloads {
            self.waiting.insert(self.next_seq, Waiting { payload, attempts: 0, leased: false });
            self.next_seq += 1;
        }
    }

    fn pick(&mut self, which: u8) -> Option<TakeTransaction> {
        let which = usize::from(which).checked_rem(self.takes.len())?;
        Some(self.takes.remove(which))
    }

    fn commit(&mut self, take: TakeTransaction) {
        let gone = seqs(&take);
        take.commit().expect("a take is committed");
        self.waiting.retain(|seq, _| !gone.contains(seq));
    }

    fn roll_back(&mut self, take: TakeTransaction) {
        let back = seqs(&take);
        drop(take);
        for seq in back {
            self.waiting.get_mut(&seq).expect("it waits").leased = false;
        }
    }

    /// What `take` got beyond its first `before`.
    fn is_leased(&mut self, take: &TakeTransaction, before: usize, events: u8, bytes: u64) {
        let mut held = before;
        let mut held_bytes: u64 =
            take.records()[..before].iter().map(|record| record.payload.len() as u64).sum();
        let mut found = take.records()[before..].iter();
        for (seq, waiting) in self.waiting.iter_mut().filter(|(_, waiting)| !waiting.leased) {
            let after = held_bytes + waiting.payload.len() as u64;
            if held >= usize::from(events).min(EVENTS_MAX) || (held > 0 && after > bytes) {
                break;
            }
            (held, held_bytes) = (held + 1, after);
            (waiting.leased, waiting.attempts) = (true, waiting.attempts + 1);
            let record = found.next().expect("the channel gives less than it has");
            assert_eq!((record.seq.get(), record.attempts), (*seq, waiting.attempts));
            assert_eq!(record.payload, waiting.payload);
        }
        assert!(found.next().is_none(), "the channel gives more than it has");
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Put { sizes, large, mark } => self.put(sizes, *large, *mark),
            Step::Group(sizes) => self.group(sizes),
            Step::Begin { events, bytes } => {
                let limit = TakeLimit {
                    events: (*events).into(),
                    bytes: bytes.map_or(u64::MAX, u64::from),
                };
                let take = self.channel().begin_take(limit).expect("a take");
                self.is_leased(&take, 0, *events, limit.bytes);
                self.takes.push(take);
                if self.takes.len() > 4 {
                    let take = self.takes.remove(0);
                    self.roll_back(take);
                }
            }
            Step::Extend { which, events } => {
                if let Some(mut take) = self.pick(*which) {
                    let before = take.records().len();
                    let limit = TakeLimit::events((*events).into());
                    let added = take.extend(limit).expect("a take");
                    assert_eq!(take.records().len(), before + added);
                    self.is_leased(&take, before, *events, limit.bytes);
                    self.takes.push(take);
                }
            }
            Step::Commit(which) => {
                if let Some(take) = self.pick(*which) {
                    self.commit(take);
                }
            }
            Step::RollBack(which) => {
                if let Some(take) = self.pick(*which) {
                    self.roll_back(take);
                }
            }
            Step::Split { which, at, commit_first } => {
                if let Some(mut first) = self.pick(*which) {
                    let second = first.split_off((*at).into());
                    let (commit, back) =
                        if *commit_first { (first, second) } else { (second, first) };
                    self.commit(commit);
                    self.roll_back(back);
                }
            }
            Step::Peek(from) => {
                let from = EventSeq::new((*from).into());
                let shown = self.channel().peek(Some(from), TakeLimit::events(5)).expect("a look");
                let shown = shown.iter().map(|record| record.seq.get());
                assert!(shown.eq(self.waiting.range(from.get()..).take(5).map(|(seq, _)| *seq)));
            }
            Step::Checkpoint => drop(self.channel().checkpoint().expect("a checkpoint")),
            Step::Sync => drop(self.channel().sync().expect("a sync")),
            Step::Tick(ms) => {
                self.vfs.pass((*ms).into());
                self.channel().tick().expect("a tick");
            }
            Step::SetCapacity(events) => {
                self.options.capacity_events = u64::from(*events).max(EVENTS_MAX as u64);
                self.channel().set_capacity(self.options.capacity_events);
            }
            Step::GiveUpReserve { events, polls } => {
                let mut reserve = pin!(self.channel().reserve((*events).into()));
                for _ in 0..*polls % 4 {
                    if reserve.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready() {
                        break;
                    }
                }
            }
            Step::Reopen { close } => {
                self.takes.clear();
                let channel = self.channel.take().expect("it is open");
                if *close {
                    channel.close().expect("a close")
                } else {
                    drop(channel)
                }
                self.open();
                for waiting in self.waiting.values_mut() {
                    (waiting.leased, waiting.attempts) = (false, 0);
                }
            }
        }
    }

    fn put(&mut self, sizes: &[u8], large: bool, mark: Option<(u8, u8)>) {
        let payloads = self.payloads(sizes, large);
        let mut put = self.channel().begin_put();
        payloads.iter().for_each(|payload| put.push(payload).expect("few enough"));
        if let Some((key, value)) = mark {
            put.set_mark(&[key], &vec![value; value.into()]).expect("small enough");
        }
        match put.commit() {
            Ok(committed) => {
                assert!(self.fits(payloads.len()));
                assert_eq!(committed.events as usize, payloads.len());
                self.is_put(payloads);
                match mark {
                    Some((key, 0)) => drop(self.marks.remove(&vec![key])),
                    Some((key, value)) => {
                        drop(self.marks.insert(vec![key], vec![value; value.into()]));
                    }
                    None => {}
                }
            }
            Err(PutError::Full(_)) => assert!(!self.fits(payloads.len())),
            Err(error) => panic!("{error}"),
        }
    }

    fn group(&mut self, sizes: &[u8]) {
        let mut tickets = Vec::new();
        for size in sizes.iter().take(8) {
            if self.fits(1) {
                let payloads = self.payloads(&[*size], false);
                let mut put = self.channel().begin_put();
                put.push(&payloads[0]).expect("small enough");
                let room = now(self.channel().reserve(1)).expect("room");
                tickets.push(put.submit(room).expect("submitted"));
                self.is_put(payloads);
            }
        }
        while self.channel().lead_once() {}
        for ticket in tickets {
            now(ticket).expect("committed");
        }
    }

    fn compare(&self) {
        let stats = self.channel().stats();
        let leased = self.waiting.values().filter(|waiting| waiting.leased).count() as u64;
        assert_eq!((stats.events, stats.leased), (self.waiting.len() as u64, leased));
        assert_eq!((stats.used, stats.next_seq.get()), (stats.events, self.next_seq));
    }

    fn compare_all(&self) {
        let all = TakeLimit { events: u32::MAX, bytes: u64::MAX };
        let shown = self.channel().peek(None, all).expect("a look");
        assert_eq!(shown.len(), self.waiting.len());
        for (record, (seq, waiting)) in shown.iter().zip(&self.waiting) {
            assert_eq!((record.seq.get(), &record.payload[..]), (*seq, &waiting.payload[..]));
        }
        let marks = self.channel().marks();
        assert!(
            marks
                .iter()
                .map(|(key, value)| (&key[..], &value[..]))
                .eq(self.marks.iter().map(|(key, value)| (&key[..], &value[..])))
        );
    }
}

pub(crate) fn operations(input: &[u8]) {
    let Ok(case) = Case::arbitrary(&mut Unstructured::new(input)) else { return };
    let mut world = World::new(&case);
    for step in case.steps.iter().take(100) {
        world.step(step);
        world.compare();
    }
    world.compare_all();
    world.step(&Step::Reopen { close: false });
    world.compare_all();
}
