//! Many seeds, on several threads, and the tables of what they went through.

use crate::{
    history::{Class, KEPT_BEFORE_TAKE_SYNC},
    panics, places,
    run::{Failure, run_seed, shrink, trace},
    seen::Seen,
};
use fchannel::{Verdict, io::sim::Trouble};
use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

/// Seeds that failed once, since takes may ride with puts. Each run begins with these, and with those from before.
const KEPT: &[u64] = &[11_210_702, 52_391_111];
/// With so many seeds nothing may be missing in the tables.
const SEEDS_FOR_ALL: u64 = 20_000;

/// What to run.
#[derive(Clone, Debug)]
pub struct Order {
    /// The first seed.
    pub from: u64,
    /// How many.
    pub seeds: u64,
    /// On how many threads.
    pub jobs: u64,
    /// Stop after this time.
    pub time_max: Option<Duration>,
    /// Print no progress and no tables: only whether it failed.
    pub quiet: bool,
}

impl Order {
    /// `--seeds N --from S --jobs J --seconds T --quiet`.
    ///
    /// # Errors
    /// A word that is none of these.
    pub fn from_words(words: &[String]) -> Result<Self, String> {
        let jobs = std::thread::available_parallelism().map_or(1, |jobs| jobs.get() as u64);
        let mut order = Self { from: 0, seeds: 2_000, jobs, time_max: None, quiet: false };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            if word == "--quiet" {
                order.quiet = true;
                continue;
            }
            let value = words.next().map(|value| value.replace('_', ""));
            let number: Option<u64> = value.and_then(|value| value.parse().ok());
            let number = number.ok_or_else(|| format!("{word}: a number is missing"))?;
            match word.as_str() {
                "--seeds" => order.seeds = number,
                "--from" => order.from = number,
                "--jobs" => order.jobs = number.max(1),
                "--seconds" => order.time_max = Some(Duration::from_secs(number)),
                _ => return Err(format!("{word}: there is no such option")),
            }
        }
        Ok(order)
    }
}

struct Shared {
    next: AtomicU64,
    done: AtomicU64,
    stop: AtomicBool,
    seen: Mutex<Seen>,
    failure: Mutex<Option<(u64, Box<Failure>)>>,
}

/// Runs what is ordered, and prints what it went through.
///
/// # Errors
/// The first history that fails, small, with the command that replays it; or, after many seeds, what never came up.
pub fn run(order: &Order) -> Result<(), String> {
    panics::remember();
    let started = Instant::now();
    let kept = KEPT_BEFORE_TAKE_SYNC.iter().chain(KEPT).copied().filter(|_| order.seeds > 1);
    let seeds: Vec<u64> = kept.collect();
    let shared = Shared {
        next: AtomicU64::new(0),
        done: AtomicU64::new(0),
        stop: AtomicBool::new(false),
        seen: Mutex::default(),
        failure: Mutex::default(),
    };
    let total = order.seeds + seeds.len() as u64;
    let seed_of = |number: u64| {
        let behind = number.saturating_sub(seeds.len() as u64);
        seeds.get(number as usize).copied().unwrap_or(order.from + behind)
    };
    std::thread::scope(|scope| {
        for job in 0..order.jobs {
            let (shared, seed_of) = (&shared, &seed_of);
            scope.spawn(move || {
                let mut seen = Seen::default();
                let mut told = Instant::now();
                while !shared.stop.load(Relaxed) {
                    let number = shared.next.fetch_add(1, Relaxed);
                    if number >= total || order.time_max.is_some_and(|max| started.elapsed() > max)
                    {
                        break;
                    }
                    let seed = seed_of(number);
                    if let Err(failure) = run_seed(seed, &mut seen) {
                        shared.stop.store(true, Relaxed);
                        let mut first =
                            shared.failure.lock().unwrap_or_else(PoisonError::into_inner);
                        if first.as_ref().is_none_or(|(other, _)| seed < *other) {
                            *first = Some((seed, failure));
                        }
                    }
                    let done = shared.done.fetch_add(1, Relaxed) + 1;
                    if job == 0 && !order.quiet && told.elapsed() > Duration::from_secs(2) {
                        told = Instant::now();
                        progress(done, total, started);
                    }
                }
                shared.seen.lock().unwrap_or_else(PoisonError::into_inner).add(&seen);
            });
        }
    });
    // Of a test that calls this, say: what it tells of a failure was remembered, and seen by nobody.
    panics::print();
    if let Some((seed, failure)) =
        shared.failure.into_inner().unwrap_or_else(PoisonError::into_inner)
    {
        return Err(told(seed, failure, order.quiet, shared.done.load(Relaxed), started));
    }
    let seen = shared.seen.into_inner().unwrap_or_else(PoisonError::into_inner);
    let done = shared.done.load(Relaxed);
    if order.quiet {
        return Ok(());
    }
    eprint!("\r{:60}\r", "");
    let missing = print_tables(&seen, done, order, started.elapsed());
    if missing.is_empty() || done < SEEDS_FOR_ALL {
        Ok(())
    } else {
        Err(format!("these never came up, so nothing is proved about them: {}", missing.join(", ")))
    }
}

fn progress(done: u64, total: u64, started: Instant) {
    let rate = done as f64 / started.elapsed().as_secs_f64();
    let left = (total - done.min(total)) as f64 / rate.max(0.001);
    eprint!("\r{done} of {total} seeds, {rate:.0} a second, {left:.0} s left    ");
}

fn told(seed: u64, failure: Box<Failure>, quiet: bool, done: u64, started: Instant) -> String {
    let first = failure.what.clone();
    let after = format!("after {done} seeds, {:.1} s", started.elapsed().as_secs_f64());
    if quiet {
        return format!("seed {seed} fails, {after}: {first}");
    }
    eprintln!("\nseed {seed} fails {after}; making its history small...");
    let small = shrink(failure);
    let trace = trace(&small.history, small.disk_salt);
    let last: Vec<&str> = trace.iter().rev().take(70).rev().map(String::as_str).collect();
    format!(
        "seed {seed} fails: {first}\n\n  to replay it: cargo x sim --seeds 1 --from {seed}\n\na smaller history fails too: {}\n{}\n\
         the last operations of its disk:\n{}",
        small.what,
        small.history,
        last.join("\n")
    )
}

fn print_tables(seen: &Seen, done: u64, order: &Order, took: Duration) -> Vec<String> {
    let mut missing = Vec::new();
    let seconds = took.as_secs_f64();
    println!(
        "sim: {done} seeds from {}, {:.0} s, {:.0} seeds a second on {} threads; none failed",
        order.from,
        seconds,
        done as f64 / seconds.max(0.001),
        order.jobs
    );
    println!(
        "  {} histories, {} opens, {} transactions acknowledged, {} operations of the disk",
        seen.runs, seen.opens, seen.transactions, seen.tally.operations
    );
    println!(
        "  {} lives ended in the midst of a call, {} between two calls; {} opens with something planned",
        seen.crashes, seen.ends, seen.attempts
    );
    println!("\nhistories by class");
    for class in Class::ALL {
        println!("{:>12}  {}", seen.classes.get(&class).copied().unwrap_or_default(), class.name());
    }
    println!("\nverdicts");
    for row in fchannel::VERDICTS {
        let count = seen.verdicts.get(&row.verdict).copied().unwrap_or_default();
        println!("{count:>12}  {} {}", row.verdict, row.finds);
        if count == 0 && row.verdict != Verdict::G {
            missing.push(row.verdict.to_string());
        }
    }
    println!("\nfaults");
    for trouble in Trouble::ALL {
        let count = seen.tally.troubles.get(trouble).copied().unwrap_or_default();
        println!("{count:>12}  {trouble}");
        if count == 0 {
            missing.push(trouble.to_string());
        }
    }
    println!("\ndamage, and what came of it");
    for (what, count) in &seen.damages {
        println!("{count:>12}  {what}");
    }
    println!("\nwhere the world ended, by the step in which it did");
    missing.extend(places::print(&seen.tally));
    missing
}
