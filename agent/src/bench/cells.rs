//! The cells of the table: what is done, how it is measured, and beside what.

use super::{
    Answer, Plan, at_thousandths,
    disk::Latency,
    floor::{self, Floor},
    micros_since, noise, real,
    spread::Spread,
};
use fchannel::{Channel, Options, TakeLimit, Ticket};
use rustix::time::{ClockId, clock_gettime};
use std::{
    collections::VecDeque,
    path::Path,
    sync::{
        Barrier,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// Puts; between the slices all is taken, uncounted: spent segments are used again, as where sinks keep up.
    Put,
    /// Puts, and nobody takes: each segment is a new one.
    PutOnly,
    /// One puts and one takes, at once. What counts is what came out; the latencies are those of the puts, and of the takes apart.
    PutAndTake,
    /// Takes of what lies there, in memory of the operating system, up to eight commits in flight.
    Take,
    /// The same, from the disk.
    TakeCold,
}

/// One measurement: so many events in a transaction, by so many threads.
#[derive(Clone, Copy, Debug)]
pub struct Cell {
    /// What is done.
    pub work: Work,
    /// Events of a transaction.
    pub batch: usize,
    /// Threads that commit at once.
    pub committers: usize,
}

const fn cell(work: Work, batch: usize, committers: usize) -> Cell {
    Cell { work, batch, committers }
}

/// All that `fchannel bench` measures.
pub const CELLS: &[Cell] = &[
    cell(Work::Put, 1, 1),
    cell(Work::Put, 1, 8),
    cell(Work::Put, 1, 64),
    cell(Work::Put, 100, 1),
    cell(Work::Put, 100, 8),
    cell(Work::Put, 1000, 1),
    cell(Work::PutOnly, 100, 1),
    cell(Work::PutOnly, 100, 8),
    cell(Work::PutAndTake, 100, 1),
    cell(Work::Take, 1000, 1),
    cell(Work::TakeCold, 1000, 1),
];

/// Takes that are committed and not answered yet.
const IN_FLIGHT: usize = 8;
/// Bytes of events that are taken in a round.
const TAKEN_BYTES: u64 = 400 << 20;
/// What a transaction takes by default.
const TRANSACTION_EVENTS_MAX: usize = 10_000;

/// [`Work::PutAndTake`] is compared with puts alone in so many pairs a round, each of half a slice: a disk changes within a second, and
/// what is compared shall be neighbours.
const PAIRS: usize = 4;

/// So much is written before a cell with large commits is measured: a bit more than three segments.
const WARM_UP_BYTES: usize = 800 << 20;

/// What a cell gave.
#[derive(Clone, Debug)]
pub struct Row {
    /// The cell.
    pub cell: Cell,
    /// Bytes of an event.
    pub event_bytes: usize,
    /// Events a second.
    pub ours: Spread,
    /// Events a second of the floor: one thread appends and syncs the same bytes; or reads them, where events are taken.
    pub floor: Spread,
    /// Ours over floor, of neighbours in time.
    pub ratio: Spread,
    /// [`Work::PutAndTake`]: over puts alone, of neighbours in time.
    pub of_put_alone: Option<Spread>,
    /// [`Work::PutAndTake`]: the commits of its takes.
    pub takes: Option<Latency>,
    /// Of a commit, of a put wherever there are puts, in microseconds: half stay below, and 99 of 100.
    pub p50_us: u32,
    /// As above.
    pub p99_us: u32,
    /// The slowest commit.
    pub max_us: u32,
    /// The floor's.
    pub floor_p99_us: u32,
    /// Processor time of the whole process for each event, in nanoseconds.
    pub cpu_ns: f64,
    /// The floor's, of puts: what the kernel needs to write and sync the same bytes, a batch at a time.
    pub floor_cpu_ns: Option<f64>,
}

/// What a slice of ours gave.
#[derive(Default)]
struct Slice {
    events_per_second: f64,
    latencies_us: Vec<u32>,
    take_latencies_us: Vec<u32>,
    cpu_ns: f64,
}

/// What the rounds gave by now.
#[derive(Default)]
struct Rounds {
    ours: Vec<f64>,
    floor: Vec<f64>,
    ratio: Vec<f64>,
    of_put_alone: Vec<f64>,
    latencies_us: Vec<u32>,
    take_latencies_us: Vec<u32>,
    floor_latencies_us: Vec<u32>,
    cpu_ns: Vec<f64>,
    floor_cpu_ns: Vec<f64>,
}

impl Rounds {
    fn add(&mut self, slice: Slice, floor: f64) {
        self.ours.push(slice.events_per_second);
        self.floor.push(floor);
        self.ratio.push(slice.events_per_second / floor);
        self.latencies_us.extend(slice.latencies_us);
        self.take_latencies_us.extend(slice.take_latencies_us);
        self.cpu_ns.push(slice.cpu_ns);
    }

    fn row(mut self, cell: Cell, event_bytes: usize) -> Row {
        self.latencies_us.sort_unstable();
        self.floor_latencies_us.sort_unstable();
        let of_put_alone =
            (!self.of_put_alone.is_empty()).then(|| Spread::of(self.of_put_alone.iter().copied()));
        Row {
            cell,
            event_bytes,
            ours: Spread::of(self.ours),
            floor: Spread::of(self.floor),
            ratio: Spread::of(self.ratio),
            of_put_alone,
            takes: (!self.take_latencies_us.is_empty())
                .then(|| Latency::of(self.take_latencies_us)),
            p50_us: at_thousandths(&self.latencies_us, 500),
            p99_us: at_thousandths(&self.latencies_us, 990),
            max_us: self.latencies_us.last().copied().unwrap_or_default(),
            floor_p99_us: at_thousandths(&self.floor_latencies_us, 990),
            cpu_ns: Spread::of(self.cpu_ns).median,
            floor_cpu_ns: (!self.floor_cpu_ns.is_empty())
                .then(|| Spread::of(self.floor_cpu_ns).median),
        }
    }
}

impl Row {
    /// The cell's name, such as `put 100x8 500B`.
    #[must_use]
    pub fn name(&self) -> String {
        self.cell.name_with(self.event_bytes)
    }
}

impl Cell {
    /// Its name in this plan, such as `put 100x8 500B`.
    #[must_use]
    pub fn name(&self, plan: &Plan) -> String {
        self.name_with(plan.event_bytes)
    }

    fn name_with(&self, event_bytes: usize) -> String {
        let Self { batch, committers, .. } = self;
        let (what, more) = match self.work {
            Work::Put => ("put", ""),
            Work::PutOnly => ("put", ", nobody takes"),
            Work::PutAndTake => ("put+take", ""),
            Work::Take => ("take", ", backlog"),
            Work::TakeCold => ("take", ", cold backlog"),
        };
        format!("{what} {batch}x{committers} {event_bytes}B{more}")
    }

    pub(super) fn measure(&self, plan: &Plan, dir: &Path) -> Answer<Row> {
        match self.work {
            Work::Put | Work::PutOnly => self.measure_puts(plan, dir),
            Work::PutAndTake => self.measure_both(plan, dir),
            Work::Take | Work::TakeCold => self.measure_takes(plan, dir),
        }
    }

    fn measure_puts(&self, plan: &Plan, dir: &Path) -> Answer<Row> {
        let channel = open(&dir.join("channel"))?;
        let mut floor = Floor::new(dir, "floor")?;
        let bytes = noise(9, self.batch * plan.event_bytes);
        let mut rounds = Rounds::default();
        fill(&channel, plan, plan.backlog)?;
        self.warm_up(&channel, plan)?;
        let mut before = self.measure_floor(&mut floor, &bytes, plan, &mut rounds)?;
        for _ in 0..plan.rounds {
            let slice = self.put_for(&channel, plan, plan.slice)?;
            let after = self.measure_floor(&mut floor, &bytes, plan, &mut rounds)?;
            rounds.add(slice, f64::midpoint(before, after));
            self.settle(&channel, plan)?;
            before = self.measure_floor(&mut floor, &bytes, plan, &mut rounds)?;
        }
        channel.close()?;
        Ok(rounds.row(*self, plan.event_bytes))
    }

    /// Events a second of the floor, a batch at a time.
    fn measure_floor(
        &self,
        floor: &mut Floor,
        bytes: &[u8],
        plan: &Plan,
        rounds: &mut Rounds,
    ) -> Answer<f64> {
        // Of this thread alone: the channel's own threads are there too.
        let of_it = ClockId::ThreadCPUTime;
        let (commits, cpu) = (rounds.floor_latencies_us.len(), cpu_time(of_it));
        let rate = floor.measure(bytes, plan.slice / 2, &mut rounds.floor_latencies_us)?;
        let events = (rounds.floor_latencies_us.len() - commits) * self.batch;
        rounds.floor_cpu_ns.push(nanoseconds_of_each(events as u64, cpu_time(of_it) - cpu));
        Ok(rate * real(self.batch as u64))
    }

    /// Not counted: the reserves, and the first segments. Later ones are written over spent ones, as in any life but its first minutes;
    /// where commits are small a segment outlasts the bench, and they bring zeros along.
    fn warm_up(&self, channel: &Channel, plan: &Plan) -> Answer<()> {
        self.put_for(channel, plan, plan.slice / 2)?;
        if self.work != Work::PutOnly && self.batch * plan.event_bytes >= 16 << 10 {
            let event = noise(1, plan.event_bytes);
            let batch = (4 << 20) / plan.event_bytes;
            let segments = channel.stats().log.segments;
            let mut left = WARM_UP_BYTES;
            while left > 0 {
                put(channel, &event, batch)?;
                left = left.saturating_sub(4 << 20);
                if channel.stats().log.segments > segments + 1 {
                    self.settle(channel, plan)?;
                }
            }
        }
        self.settle(channel, plan)
    }

    /// What happens between the slices, uncounted: no more waits than shall, and no less.
    fn settle(&self, channel: &Channel, plan: &Plan) -> Answer<()> {
        if self.work == Work::PutOnly {
            return Ok(());
        }
        take_down_to(channel, TRANSACTION_EVENTS_MAX, plan.backlog)?;
        fill(channel, plan, plan.backlog)?;
        // Two: a segment is given back when both of the newest checkpoints can do without.
        for _ in 0..2 {
            channel.put(b"so that there is something to say")?;
            take_down_to(channel, 1, plan.backlog)?;
            channel.checkpoint()?;
        }
        Ok(())
    }

    /// Commits by all committers for `time`.
    fn put_for(&self, channel: &Channel, plan: &Plan, time: Duration) -> Answer<Slice> {
        let start = Barrier::new(self.committers);
        let (started, cpu) = (Instant::now(), cpu_time(ClockId::ProcessCPUTime));
        let per_thread: Vec<Answer<Vec<u32>>> = std::thread::scope(|scope| {
            let committers: Vec<_> = (0..self.committers)
                .map(|seed| {
                    let start = &start;
                    scope.spawn(move || {
                        let event = noise(seed as u64 + 1, plan.event_bytes);
                        start.wait();
                        let mut latencies_us = Vec::new();
                        while started.elapsed() < time {
                            let begun = Instant::now();
                            put(channel, &event, self.batch)?;
                            latencies_us.push(micros_since(begun));
                        }
                        Ok(latencies_us)
                    })
                })
                .collect();
            committers.into_iter().map(|thread| thread.join().map_err(|_| panicked())?).collect()
        });
        let mut slice = Slice::default();
        for latencies_us in per_thread {
            slice.latencies_us.extend(latencies_us?);
        }
        slice.count((slice.latencies_us.len() * self.batch) as u64, started, cpu);
        Ok(slice)
    }

    /// One thread puts, this one takes what is there; in each round beside puts alone.
    fn measure_both(&self, plan: &Plan, dir: &Path) -> Answer<Row> {
        let channel = open(&dir.join("channel"))?;
        let mut floor = Floor::new(dir, "floor")?;
        let bytes = noise(9, self.batch * plan.event_bytes);
        let mut rounds = Rounds::default();
        fill(&channel, plan, plan.backlog)?;
        self.warm_up(&channel, plan)?;
        let time = plan.slice / 2;
        for _ in 0..plan.rounds * PAIRS {
            let before = self.measure_floor(&mut floor, &bytes, plan, &mut rounds)?;
            let alone = self.put_for(&channel, plan, time)?.events_per_second;
            self.settle(&channel, plan)?;
            let slice = self.put_and_take_for(&channel, plan, time)?;
            let after = self.measure_floor(&mut floor, &bytes, plan, &mut rounds)?;
            rounds.of_put_alone.push(slice.events_per_second / alone);
            rounds.add(slice, f64::midpoint(before, after));
            self.settle(&channel, plan)?;
        }
        channel.close()?;
        Ok(rounds.row(*self, plan.event_bytes))
    }

    fn put_and_take_for(&self, channel: &Channel, plan: &Plan, time: Duration) -> Answer<Slice> {
        let over = AtomicBool::new(false);
        let (started, cpu) = (Instant::now(), cpu_time(ClockId::ProcessCPUTime));
        let mut take_latencies_us = Vec::new();
        let (taken, latencies_us) = std::thread::scope(|scope| {
            let putter = scope.spawn(|| {
                let event = noise(1, plan.event_bytes);
                let mut latencies_us = Vec::new();
                while started.elapsed() < time {
                    let begun = Instant::now();
                    put(channel, &event, self.batch)?;
                    latencies_us.push(micros_since(begun));
                }
                over.store(true, Ordering::Release);
                Answer::Ok(latencies_us)
            });
            let limit = TakeLimit::events(u32::try_from(self.batch).unwrap_or(u32::MAX));
            let mut taken = 0;
            let mut take = || -> Answer<()> {
                while !over.load(Ordering::Acquire) {
                    let take = channel.take_timeout(limit, Duration::from_millis(50))?;
                    let events = take.records().len() as u64;
                    let begun = Instant::now();
                    take.commit()?;
                    if events > 0 {
                        take_latencies_us.push(micros_since(begun));
                    }
                    taken += events;
                }
                Ok(())
            };
            let answer = take();
            let latencies_us = putter.join().map_err(|_| panicked())??;
            answer.map(|()| (taken, latencies_us))
        })?;
        let mut slice = Slice { latencies_us, take_latencies_us, ..Slice::default() };
        slice.count(taken, started, cpu);
        Ok(slice)
    }

    fn measure_takes(&self, plan: &Plan, dir: &Path) -> Answer<Row> {
        let place = dir.join("channel");
        let channel = open(&place)?;
        let mut rounds = Rounds::default();
        for _ in 0..plan.rounds.div_ceil(2) {
            fill(&channel, plan, plan.backlog + TAKEN_BYTES / plan.event_bytes.max(1) as u64)?;
            let is_cold = self.work == Work::TakeCold;
            if is_cold {
                floor::forget(&place)?;
            }
            let bytes_max = if plan.backlog > 0 { TAKEN_BYTES } else { u64::MAX };
            let floor = floor::read_per_second(&place, bytes_max)? / real(plan.event_bytes as u64);
            if is_cold {
                floor::forget(&place)?;
            }
            let (started, cpu) = (Instant::now(), cpu_time(ClockId::ProcessCPUTime));
            let (taken, latencies_us) = take_down_to(&channel, self.batch, plan.backlog)?;
            let mut slice = Slice { latencies_us, ..Slice::default() };
            slice.count(taken, started, cpu);
            rounds.add(slice, floor);
            channel.checkpoint()?;
        }
        channel.close()?;
        Ok(rounds.row(*self, plan.event_bytes))
    }
}

impl Slice {
    /// So many events since then.
    fn count(&mut self, events: u64, started: Instant, cpu: Duration) {
        self.events_per_second = real(events) / started.elapsed().as_secs_f64();
        self.cpu_ns = nanoseconds_of_each(events, cpu_time(ClockId::ProcessCPUTime) - cpu);
    }
}

fn panicked() -> Box<dyn std::error::Error + Send + Sync> {
    "a thread panicked".into()
}

fn open(dir: &Path) -> Answer<Channel> {
    let options = Options {
        capacity_events: u64::from(u32::MAX),
        free_space_min_bytes: 0,
        ..Options::default()
    };
    Ok(Channel::open(dir, options)?)
}

/// Durable on return.
fn put(channel: &Channel, event: &[u8], batch: usize) -> Answer<()> {
    let mut put = channel.begin_put();
    for _ in 0..batch {
        put.push(event)?;
    }
    put.commit().map(drop).map_err(|error| error.to_string().into())
}

/// Puts until so many events wait.
fn fill(channel: &Channel, plan: &Plan, waiting: u64) -> Answer<()> {
    let event = noise(1, plan.event_bytes);
    // Transactions of a megabyte: memory stays small.
    let batch = ((1 << 20) / plan.event_bytes.max(1)).clamp(1, TRANSACTION_EVENTS_MAX);
    let mut left = usize::try_from(waiting.saturating_sub(channel.stats().events))?;
    while left > 0 {
        put(channel, &event, batch.min(left))?;
        left -= batch.min(left);
    }
    Ok(())
}

/// Takes until so many events wait, with commits in flight, all durable on return. Answers how many events were taken, and the
/// microseconds of each commit.
fn take_down_to(channel: &Channel, batch: usize, waiting: u64) -> Answer<(u64, Vec<u32>)> {
    let (mut taken, mut latencies_us) = (0, Vec::new());
    let mut in_flight: VecDeque<(Instant, Ticket)> = VecDeque::new();
    let mut left = channel.stats().events.saturating_sub(waiting);
    while left > 0 || !in_flight.is_empty() {
        if left > 0 {
            let limit = u32::try_from(left.min(batch as u64)).unwrap_or(u32::MAX);
            let take = channel.begin_take(TakeLimit::events(limit))?;
            let events = take.records().len() as u64;
            // Where less is there than was counted, the rest is lost.
            left = if events == 0 { 0 } else { left - events };
            taken += events;
            in_flight.push_back((Instant::now(), take.submit()?));
        }
        if (left == 0 || in_flight.len() >= IN_FLIGHT)
            && let Some((begun, ticket)) = in_flight.pop_front()
        {
            ticket.wait()?;
            latencies_us.push(micros_since(begun));
        }
    }
    Ok((taken, latencies_us))
}

/// Of so much processor's time, for each of the events.
fn nanoseconds_of_each(events: u64, cpu: Duration) -> f64 {
    cpu.as_secs_f64() * 1e9 / real(events.max(1))
}

/// What this process, or this thread, has had of the processors.
fn cpu_time(of: ClockId) -> Duration {
    let time = clock_gettime(of);
    Duration::new(
        u64::try_from(time.tv_sec).unwrap_or_default(),
        u32::try_from(time.tv_nsec).unwrap_or_default(),
    )
}
