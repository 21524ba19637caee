//! Commits of the engine beside the raw floor of the disk, alternated in one run.
//!
//! A figure of a disk means something only beside another one of the same minute. So each round measures floor, ours, ours, floor for
//! each batch size, each for a slice of time, and the table holds ratios of neighbours with their spread over the rounds.

use fchannel::{Channel, Options};
use fchannel_benches::{EVENT_BYTES, floor::Floor, noise, spread::Spread};
use std::{
    error::Error,
    fmt,
    path::PathBuf,
    sync::Barrier,
    time::{Duration, Instant},
};

type Answer<T> = Result<T, Box<dyn Error>>;

/// How long all takes: rounds of eight slices.
struct Plan {
    rounds: usize,
    slice: Duration,
}

impl Plan {
    /// About 60 s; `--quick`: about 15 s; under `cargo test`, which gives no `--bench`: a second, to see that it runs.
    fn from_arguments() -> Self {
        let has = |name: &str| std::env::args().any(|argument| argument == name);
        match (has("--bench"), has("--quick")) {
            (true, false) => Self { rounds: 9, slice: Duration::from_millis(800) },
            (true, true) => Self { rounds: 5, slice: Duration::from_millis(350) },
            (false, _) => Self { rounds: 1, slice: Duration::from_millis(100) },
        }
    }
}

/// So many committers, each committing so many events at a time.
struct Cell {
    threads: usize,
    batch: usize,
    channel: Channel,
    rounds: Vec<Round>,
}

/// What one round saw of a cell.
struct Round {
    commits_per_second: f64,
    /// The mean of the floors before and after.
    floor: f64,
    commits_per_sync: f64,
    latencies_us: Vec<u32>,
}

impl Cell {
    fn open(dir: &std::path::Path, threads: usize, batch: usize) -> Answer<Self> {
        let options =
            Options { capacity_events: 50_000_000, free_space_min_bytes: 0, ..Options::default() };
        let channel = Channel::open(dir.join(format!("{threads}x{batch}")), options)?;
        Ok(Self { threads, batch, channel, rounds: Vec::new() })
    }

    /// Commits for `time`; the floor is filled in when it is known.
    fn measure(&self, time: Duration) -> Answer<Round> {
        let before = self.channel.stats().log;
        let start = Barrier::new(self.threads);
        let started = Instant::now();
        let per_thread: Vec<Answer<Vec<u32>>> = std::thread::scope(|scope| {
            let committers: Vec<_> = (0..self.threads)
                .map(|seed| {
                    let start = &start;
                    scope.spawn(move || {
                        start.wait();
                        commit_for(&self.channel, self.batch, seed, time).map_err(|e| e.to_string())
                    })
                })
                .collect();
            committers
                .into_iter()
                .map(|committer| Ok(committer.join().map_err(|_| "a committer panicked")??))
                .collect()
        });
        let took = started.elapsed().as_secs_f64();
        let after = self.channel.stats().log;
        let mut latencies_us = Vec::new();
        for latencies in per_thread {
            latencies_us.extend(latencies?);
        }
        let frames = after.frames - before.frames;
        let groups = (after.groups - before.groups).max(1);
        Ok(Round {
            commits_per_second: count(latencies_us.len() as u64) / took,
            floor: 0.0,
            commits_per_sync: count(frames) / count(groups),
            latencies_us,
        })
    }

    fn spread(&self, figure: impl Fn(&Round) -> f64) -> Spread {
        Spread::of(self.rounds.iter().map(figure))
    }

    fn ratio(&self) -> Spread {
        self.spread(|round| round.commits_per_second / round.floor)
    }

    /// The latency below which `share` of all commits stayed, in microseconds.
    fn latency_us(&self, share: f64) -> u32 {
        let mut all: Vec<u32> =
            self.rounds.iter().flat_map(|round| &round.latencies_us).copied().collect();
        all.sort_unstable();
        let skip = all
            .iter()
            .enumerate()
            .take_while(|(at, _)| count(*at as u64) < count(all.len() as u64) * share)
            .count();
        all.get(skip.min(all.len().saturating_sub(1))).copied().unwrap_or_default()
    }
}

/// Exact up to 2^53, far above any count here.
#[expect(clippy::cast_precision_loss, reason = "counts of a minute stay far below 2^53")]
fn count(number: u64) -> f64 {
    number as f64
}

/// One committer: fills a transaction, commits, counts after it returned. Answers the latencies in microseconds.
fn commit_for(channel: &Channel, batch: usize, seed: usize, time: Duration) -> Answer<Vec<u32>> {
    let payload = noise(seed as u64 + 1, EVENT_BYTES);
    let mut latencies = Vec::new();
    let started = Instant::now();
    while started.elapsed() < time {
        let begun = Instant::now();
        let mut put = channel.begin_put();
        for _ in 0..batch {
            put.push(&payload)?;
        }
        put.commit().map_err(|error| error.to_string())?;
        latencies.push(u32::try_from(begun.elapsed().as_micros()).unwrap_or(u32::MAX));
    }
    Ok(latencies)
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ours = self.spread(|round| round.commits_per_second).median;
        let floor = self.spread(|round| round.floor).median;
        let events = count(self.batch as u64);
        write!(
            f,
            "| {:>3} x {} | {ours:>9.0} | {:>9.0} | {:>6.1} | {floor:>9.0} | {:>18} | {:>5.2} | {:>6} / {:<6} |",
            self.batch,
            self.threads,
            ours * events,
            ours * events * count(EVENT_BYTES as u64) / 1e6,
            self.ratio().to_string(),
            self.spread(|round| round.commits_per_sync).median,
            self.latency_us(0.5),
            self.latency_us(0.99),
        )
    }
}

fn measure_all(plan: &Plan, dir: &std::path::Path) -> Answer<Vec<Cell>> {
    let mut cells = Vec::new();
    for batch in [1, 100] {
        for threads in [1, 8] {
            let cell = Cell::open(dir, threads, batch)?;
            cell.measure(plan.slice / 2)?; // warm-up: the first segment, the reserve
            cells.push(cell);
        }
    }
    let mut floors = [Floor::new(dir, "floor-1")?, Floor::new(dir, "floor-100")?];
    for _ in 0..plan.rounds {
        let groups = cells.chunk_by_mut(|left, right| left.batch == right.batch);
        for (same_batch, floor) in groups.zip(&mut floors) {
            let batch = same_batch.first().map_or(1, |cell| cell.batch);
            let bytes = noise(9, batch * EVENT_BYTES);
            let before = floor.commits_per_second(&bytes, plan.slice)?;
            let mut rounds = Vec::new();
            for cell in same_batch.iter() {
                rounds.push(cell.measure(plan.slice)?);
            }
            let after = floor.commits_per_second(&bytes, plan.slice)?;
            for (cell, round) in same_batch.iter_mut().zip(rounds) {
                cell.rounds.push(Round { floor: f64::midpoint(before, after), ..round });
            }
        }
    }
    Ok(cells)
}

/// A promise, and what was measured of it.
fn print_target(what: &str, least: f64, found: Spread) {
    let verdict = if found.median >= least { "met" } else { "MISSED" };
    println!("{what}: {found}, target {least:.2}: {verdict}");
}

fn main() -> Answer<()> {
    let plan = Plan::from_arguments();
    let base = std::env::var_os("FCHANNEL_BENCH_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_TARGET_TMPDIR")), PathBuf::from);
    std::fs::create_dir_all(&base)?;
    let dir = tempfile::tempdir_in(&base)?;
    println!(
        "commits of {EVENT_BYTES}-byte events, {} rounds of {} ms slices, floor = one thread, append + fdatasync of the same bytes\n",
        plan.rounds,
        plan.slice.as_millis()
    );
    let cells = measure_all(&plan, dir.path())?;
    println!(
        "| batch x committers | ours: commits/s | events/s | MB/s | floor: commits/s | ours/floor (min-max) | commits/sync | p50 / p99 us |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    for cell in &cells {
        println!("{cell}");
    }
    println!();
    if let [lone, eight, large, _] = cells.as_slice() {
        let gain = lone
            .rounds
            .iter()
            .zip(&eight.rounds)
            .map(|(lone, eight)| eight.commits_per_second / lone.commits_per_second);
        print_target("1 x 1 over the floor's commits/s", 0.9, lone.ratio());
        print_target("1 x 8 over 1 x 1", 2.2, Spread::of(gain));
        print_target("100 x 1 over the floor's bytes/s", 0.8, large.ratio());
    }
    for cell in cells {
        cell.channel.close()?;
    }
    Ok(())
}
