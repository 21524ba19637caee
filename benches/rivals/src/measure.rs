//! Slices of time for each peer, between slices of the floor.

use crate::{
    figures::Figures,
    flume::Flume,
    peers::{Answer, Does, Peer},
    plan::Plan,
};
use fchannel_benches::{floor::Floor, noise, spread::Spread};
use std::{
    fmt,
    path::Path,
    sync::{
        Barrier,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

/// Floors of one round that differ by more than this say that somebody else was at the disk.
const FLOORS_APART_MAX: f64 = 2.0;
/// What waits before a slice of takes: enough that it does not run out, and bounded.
const BACKLOG_BYTES_MIN: usize = 64 << 20;
const BACKLOG_BYTES_MAX: usize = 1 << 30;
/// How a backlog is put.
const FILL_BATCH: usize = 1000;
/// From commits of this size on files are used again within a measurement: three times so much is put before it, and given back. Smaller
/// ones fare as well with the zeros that they bring along.
const AGED_FROM_BYTES: usize = 4 << 10;
const AGE_BYTES: usize = 270 << 20;
const AGE_TIME: Duration = Duration::from_millis(1500);
/// A taker that found nothing looks whether there will be more.
const LOOK_UP: Duration = Duration::from_millis(10);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    Put,
    Steady,
    Take,
    PutTake,
}

impl Work {
    const ALL: [Self; 4] = [Self::Put, Self::Steady, Self::Take, Self::PutTake];

    pub(crate) fn named(name: &str) -> Answer<Self> {
        let found = Self::ALL.into_iter().find(|work| work.to_string() == name);
        found.ok_or_else(|| format!("--work {name}: one of put, steady, take, put+take").into())
    }

    pub(crate) fn takes(self) -> bool {
        matches!(self, Self::Take | Self::PutTake)
    }

    fn is_done_by(self, does: Does) -> bool {
        match does {
            Does::Puts | Does::PutsAhead => !self.takes(),
            Does::PutsAndTakes => true,
            Does::TakesAhead => self.takes(),
        }
    }
}

impl fmt::Display for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Put => "put",
            Self::Steady => "steady",
            Self::Take => "take",
            Self::PutTake => "put+take",
        })
    }
}

/// So many events in each commit, by so many committers at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) batch: u32,
    pub(crate) committers: usize,
}

impl Shape {
    pub(crate) fn all_of(text: &str) -> Answer<Vec<Self>> {
        let shape = |word: &str| {
            let (batch, committers) = word.split_once('x')?;
            let shape = Self { batch: batch.parse().ok()?, committers: committers.parse().ok()? };
            (shape.batch > 0 && shape.committers > 0).then_some(shape)
        };
        text.split(',')
            .map(|word| {
                shape(word).ok_or_else(|| format!("{word}: a cell is BATCHxCOMMITTERS").into())
            })
            .collect()
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}", self.batch, self.committers)
    }
}

/// What one peer did in one cell, as it is gathered.
struct Row {
    peer: &'static str,
    work: Work,
    shape: Shape,
    /// Of each round: events a second, and how many times the floor that was.
    rounds: Vec<(f64, f64)>,
    disturbed: usize,
    /// Of each commit. Empty where nobody knows.
    latencies_us: Vec<u32>,
}

impl Row {
    fn figures(mut self, event_bytes: usize) -> Figures {
        self.latencies_us.sort_unstable();
        Figures {
            work: self.work,
            event_bytes,
            shape: self.shape,
            peer: self.peer.to_owned(),
            events_per_s: Spread::of(self.rounds.iter().map(|(events, _)| *events)),
            ratio: Spread::of(self.rounds.iter().map(|(_, ratio)| *ratio)),
            rounds: self.rounds.len(),
            disturbed: self.disturbed,
            p50_us: self.latency_us(500),
            p99_us: self.latency_us(990),
        }
    }

    /// The latency that `thousandths` of all commits stayed below, which are sorted.
    fn latency_us(&self, thousandths: usize) -> Option<u32> {
        let at = self.latencies_us.len() * thousandths / 1000;
        self.latencies_us.get(at.min(self.latencies_us.len().saturating_sub(1))).copied()
    }
}

/// What a slice gave.
pub(crate) struct Slice {
    pub(crate) events_per_s: f64,
    pub(crate) latencies_us: Vec<u32>,
}

/// Who is measured in a cell, and what must be known of the slices before.
struct Contender {
    row: Row,
    does: Does,
    kind: Kind,
}

enum Kind {
    Inside {
        peer: Box<dyn Peer>,
        /// Events that wait, and how many shall before a slice of takes.
        waiting: usize,
        wanted: usize,
    },
    Flume(Flume),
}

impl Contender {
    fn new(name: &'static str, does: Does, kind: Kind, work: Work, shape: Shape) -> Self {
        let row = Row {
            peer: name,
            work,
            shape,
            rounds: Vec::new(),
            disturbed: 0,
            latencies_us: Vec::new(),
        };
        Self { row, does, kind }
    }

    /// What goes before all slices and is not counted: files that are used again must have been used, which takes segments of 256 MiB a
    /// while. Where commits are small a file outlasts the measurement.
    fn age(&self, event: &[u8]) -> Answer<()> {
        let Row { work, shape, .. } = self.row;
        let Kind::Inside { peer, .. } = &self.kind else { return Ok(()) };
        if work != Work::Steady || whole(f64::from(shape.batch)) * event.len() < AGED_FROM_BYTES {
            return Ok(());
        }
        let events = vec![event; FILL_BATCH];
        for _ in 0..3 {
            let (started, mut written) = (Instant::now(), 0);
            while written < AGE_BYTES && started.elapsed() < AGE_TIME {
                peer.commit(&events)?;
                written += FILL_BATCH * event.len();
            }
            peer.forget()?;
        }
        Ok(())
    }

    /// What goes before a slice and is not counted; true if the disk had work by it.
    fn prepare(&mut self, event: &[u8]) -> Answer<bool> {
        let Row { work, shape, .. } = self.row;
        match &mut self.kind {
            Kind::Flume(flume) => flume.prepare(work, shape),
            Kind::Inside { peer, waiting, wanted } => match work {
                Work::Steady => peer.forget().map(|()| true),
                Work::Take => {
                    let events = vec![event; FILL_BATCH];
                    while *waiting < *wanted {
                        peer.commit(&events)?;
                        *waiting += FILL_BATCH;
                    }
                    Ok(true)
                }
                Work::Put | Work::PutTake => Ok(false),
            },
        }
    }

    fn measure(&mut self, event: &[u8], time: Duration) -> Answer<Slice> {
        let Row { work, shape, .. } = self.row;
        let (peer, waiting, wanted) = match &mut self.kind {
            Kind::Flume(flume) => return flume.measure(work, shape),
            Kind::Inside { peer, waiting, wanted } => (&**peer, waiting, wanted),
        };
        let mut slice = match work {
            Work::Put | Work::Steady if self.does == Does::PutsAhead => {
                puts_ahead(peer, shape, event, time)?
            }
            Work::Put | Work::Steady => puts(peer, shape, event, time)?,
            Work::PutTake => puts_and_takes(peer, shape, event, time)?,
            Work::Take => {
                let (taken, slice) = takes(peer, shape, time)?;
                *waiting = waiting.saturating_sub(taken);
                // Of what a slice takes there shall be half as much again the next time.
                let next = whole(slice.events_per_s * time.as_secs_f64() * 1.5);
                *wanted =
                    next.clamp(*wanted, (*wanted).max(BACKLOG_BYTES_MAX / event.len().max(1)));
                slice
            }
        };
        if self.does == Does::TakesAhead && work == Work::Take {
            slice.latencies_us.clear();
        }
        Ok(slice)
    }
}

/// Runs `body` in so many threads at once, and answers what each answered, and how long all took.
fn at_once<T: Send>(
    threads: usize,
    body: impl Fn(Instant) -> Answer<T> + Sync,
) -> Answer<(Vec<T>, Duration)> {
    let start = Barrier::new(threads);
    let started = Instant::now();
    let answers: Vec<Answer<T>> = std::thread::scope(|scope| {
        let run = || {
            start.wait();
            body(started)
        };
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(run)).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|_| Err("a thread panicked".into())))
            .collect()
    });
    let took = started.elapsed();
    Ok((answers.into_iter().collect::<Answer<_>>()?, took))
}

/// Commits by one committer until `time` has passed: how long each took.
fn put_until(
    peer: &dyn Peer,
    events: &[&[u8]],
    started: Instant,
    time: Duration,
) -> Answer<Vec<u32>> {
    let mut latencies_us = Vec::new();
    while started.elapsed() < time {
        let begun = Instant::now();
        peer.commit(events)?;
        latencies_us.push(microseconds(begun.elapsed()));
    }
    Ok(latencies_us)
}

/// Commits by all committers for `time`.
pub(crate) fn puts(peer: &dyn Peer, shape: Shape, event: &[u8], time: Duration) -> Answer<Slice> {
    let events = vec![event; shape.batch as usize];
    let (latencies, took) =
        at_once(shape.committers, |started| put_until(peer, &events, started, time))?;
    let latencies_us = latencies.concat();
    let events = count(latencies_us.len()) * f64::from(shape.batch);
    Ok(Slice { events_per_s: events / took.as_secs_f64(), latencies_us })
}

/// Commits by this thread for `time`, with as many in flight as others have committers.
fn puts_ahead(peer: &dyn Peer, shape: Shape, event: &[u8], time: Duration) -> Answer<Slice> {
    let events = vec![event; shape.batch as usize];
    let started = Instant::now();
    let latencies_us = peer.commit_ahead(shape.committers, &events, started + time)?;
    let events = count(latencies_us.len()) * f64::from(shape.batch);
    Ok(Slice { events_per_s: events / started.elapsed().as_secs_f64(), latencies_us })
}

/// Takes by all takers for `time`, or until nothing is left. Answers how many events were taken, too.
fn takes(peer: &dyn Peer, shape: Shape, time: Duration) -> Answer<(usize, Slice)> {
    let (answers, took) = at_once(shape.committers, |started| {
        let mut taker = peer.taker().ok_or("it is no queue")?;
        let (mut taken, mut latencies_us) = (0, Vec::new());
        while started.elapsed() < time {
            let begun = Instant::now();
            match taker.take(shape.batch, Duration::ZERO)? {
                0 => break,
                events => taken += events as usize,
            }
            latencies_us.push(microseconds(begun.elapsed()));
        }
        taker.finish()?;
        Ok((taken, latencies_us))
    })?;
    let taken = answers.iter().map(|(taken, _)| taken).sum();
    let latencies_us = answers.into_iter().flat_map(|(_, latencies_us)| latencies_us).collect();
    Ok((taken, Slice { events_per_s: count(taken) / took.as_secs_f64(), latencies_us }))
}

/// Puts by all committers for `time`, and one taker beside them until nothing is left. The latencies are those of the puts.
fn puts_and_takes(peer: &dyn Peer, shape: Shape, event: &[u8], time: Duration) -> Answer<Slice> {
    let events = vec![event; shape.batch as usize];
    let putters = AtomicUsize::new(shape.committers);
    let taker_is_wanted = AtomicUsize::new(1);
    let (answers, took) = at_once(shape.committers + 1, |started| {
        if taker_is_wanted.swap(0, Ordering::Relaxed) == 0 {
            let latencies_us = put_until(peer, &events, started, time);
            putters.fetch_sub(1, Ordering::Release);
            return Ok((0, latencies_us?));
        }
        let mut taker = peer.taker().ok_or("it is no queue")?;
        let mut taken = 0;
        loop {
            // Who has put all before this is seen by the take behind it.
            let is_over = putters.load(Ordering::Acquire) == 0;
            match taker.take(shape.batch, if is_over { Duration::ZERO } else { LOOK_UP })? {
                0 if is_over => break,
                events => taken += events as usize,
            }
        }
        taker.finish()?;
        Ok((taken, Vec::new()))
    })?;
    let taken: usize = answers.iter().map(|(taken, _)| taken).sum();
    let latencies_us: Vec<u32> =
        answers.into_iter().flat_map(|(_, latencies_us)| latencies_us).collect();
    let put = latencies_us.len() * shape.batch as usize;
    if put != taken {
        return Err(format!("{put} events were put, and {taken} taken").into());
    }
    Ok(Slice { events_per_s: count(taken) / took.as_secs_f64(), latencies_us })
}

pub(crate) fn microseconds(time: Duration) -> u32 {
    u32::try_from(time.as_micros()).unwrap_or(u32::MAX)
}

#[expect(clippy::cast_precision_loss, reason = "counts of a minute stay far below 2^53")]
pub(crate) fn count(number: usize) -> f64 {
    number as f64
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "counts of a minute, and a cast that saturates"
)]
pub(crate) fn whole(number: f64) -> usize {
    number as usize
}

/// What is done in one cell: each commit so many events of such a size, by so many committers.
#[derive(Clone, Copy)]
pub(crate) struct Cell {
    pub(crate) work: Work,
    pub(crate) event_bytes: usize,
    pub(crate) shape: Shape,
}

/// All peers in one cell, in turns. One that cannot do it is named, and has no row.
pub(crate) fn cell(plan: &Plan, cell: Cell, dir: &Path) -> Answer<Vec<Figures>> {
    let Cell { work, event_bytes, shape } = cell;
    let event = noise(7, event_bytes);
    let floor_bytes = noise(9, event_bytes * shape.batch as usize);
    let mut floor = Floor::new(dir, "floor")?;
    let mut contenders = contenders(plan, cell, dir)?;
    let complain = |name: &str, error: &dyn fmt::Display| {
        eprintln!("{name}, {work} {shape}, events of {event_bytes} bytes: {error}");
    };
    contenders.retain_mut(|contender| {
        // Not counted: first files, first allocations.
        let warmed = contender
            .age(&event)
            .and_then(|()| contender.prepare(&event))
            .and_then(|_| contender.measure(&event, plan.slice / 2));
        warmed.map_err(|error| complain(contender.row.peer, &error)).is_ok()
    });
    for round in 0..plan.rounds {
        let mut before = floor.commits_per_second(&floor_bytes, plan.slice)?;
        // Who follows whom changes from round to round.
        let peers = contenders.len();
        for turn in 0..peers {
            let Some(contender) = contenders.get_mut((turn + round) % peers) else { continue };
            let answer = contender.prepare(&event).and_then(|disk_had_work| {
                if disk_had_work {
                    before = floor.commits_per_second(&floor_bytes, plan.slice)?;
                }
                contender.measure(&event, plan.slice)
            });
            let after = floor.commits_per_second(&floor_bytes, plan.slice)?;
            let row = &mut contender.row;
            match answer {
                Err(error) => complain(row.peer, &error),
                Ok(_) if (before / after).max(after / before) > FLOORS_APART_MAX => {
                    row.disturbed += 1;
                }
                Ok(slice) => {
                    let floor_events = f64::midpoint(before, after) * f64::from(shape.batch);
                    row.rounds.push((slice.events_per_s, slice.events_per_s / floor_events));
                    row.latencies_us.extend(slice.latencies_us);
                }
            }
            before = after;
        }
    }
    Ok(contenders.into_iter().map(|contender| contender.row.figures(event_bytes)).collect())
}

fn contenders(plan: &Plan, cell: Cell, dir: &Path) -> Answer<Vec<Contender>> {
    let Cell { work, event_bytes, shape } = cell;
    let mut contenders = Vec::new();
    for entry in plan.peers().filter(|entry| work.is_done_by(entry.does)) {
        let peer = (entry.open)(&dir.join(entry.name.replace(' ', "-")))
            .map_err(|error| format!("{}: {error}", entry.name))?;
        let wanted = BACKLOG_BYTES_MIN / event_bytes;
        let kind = Kind::Inside { peer, waiting: 0, wanted };
        contenders.push(Contender::new(entry.name, entry.does, kind, work, shape));
    }
    if let Some(command) = &plan.flume {
        let flume = Flume::new(command, &dir.join("flume"), event_bytes, plan.flume_time);
        let kind = Kind::Flume(flume);
        contenders.push(Contender::new(Flume::NAME, Does::PutsAndTakes, kind, work, shape));
    }
    Ok(contenders)
}
