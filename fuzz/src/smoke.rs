//! The targets without libFuzzer: corpora, regressions, and mutations of both by a seeded mutator.
//!
//! It sees no coverage, so that it finds less; but it needs nothing but stable Rust, and fails where libFuzzer would.

use fchannel_fuzz::{TARGETS, Target, home, seeds};
use std::{
    fs,
    panic::{AssertUnwindSafe, catch_unwind, set_hook},
    path::Path,
    process::{ExitCode, exit},
    sync::{Mutex, MutexGuard, PoisonError},
    thread::{park_timeout, spawn},
    time::{Duration, Instant},
};

const BYTES_MAX: usize = 4096;
/// Far more than any input needs.
const TIME_MAX: Duration = Duration::from_secs(10);

struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }
}

const NUMBERS: [u64; 12] = [
    0,
    1,
    7,
    8,
    64,
    255,
    0x7fff_ffff,
    0xffff_ffff,
    0x1_0000_0000,
    i64::MAX as u64,
    1 << 63,
    u64::MAX,
];

fn mutate(input: &mut Vec<u8>, corpus: &[Vec<u8>], rng: &mut Rng) {
    for _ in 0..1 + rng.below(6) {
        let at = rng.below(input.len() + 1);
        match rng.below(9) {
            0 | 1 => {
                if let Some(byte) = input.get_mut(at) {
                    *byte ^= 1 << rng.below(8);
                }
            }
            2 => {
                if let Some(byte) = input.get_mut(at) {
                    *byte = rng.next() as u8;
                }
            }
            3 => {
                let number = NUMBERS[rng.below(NUMBERS.len())].to_le_bytes();
                let len = 1 << rng.below(4);
                for (place, byte) in input.iter_mut().skip(at).zip(&number[..len]) {
                    *place = *byte;
                }
            }
            4 => input.truncate(at),
            5 => {
                let end = (at + 1 + rng.below(16)).min(input.len());
                input.drain(at..end);
            }
            6 => {
                let new: Vec<u8> = (0..1 + rng.below(16)).map(|_| rng.next() as u8).collect();
                input.splice(at..at, new);
            }
            7 => {
                let end = (at + 1 + rng.below(64)).min(input.len());
                let copy = input[at..end].to_vec();
                let to = rng.below(input.len() + 1);
                input.splice(to..to, copy);
            }
            _ => {
                let other = &corpus[rng.below(corpus.len())];
                let from = rng.below(other.len() + 1);
                input.truncate(at);
                input.extend(&other[from..]);
            }
        }
    }
    input.truncate(BYTES_MAX);
}

/// Files of a directory that may not be there.
fn files(dir: &Path) -> Vec<Vec<u8>> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    paths.iter().filter_map(|path| fs::read(path).ok()).collect()
}

/// The input at work, for the watchdog: when it began, its target and its bytes.
static AT_WORK: Mutex<Option<(Instant, &'static str, Vec<u8>)>> = Mutex::new(None);

fn at_work() -> MutexGuard<'static, Option<(Instant, &'static str, Vec<u8>)>> {
    AT_WORK.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Ends the process when an input does not end.
fn watch() {
    loop {
        park_timeout(Duration::from_secs(1));
        let stuck = at_work().as_ref().filter(|(since, ..)| since.elapsed() > TIME_MAX).cloned();
        if let Some((_, name, input)) = stuck {
            let told = keep(name, &input).unwrap_or_else(|error| error);
            println!("{name}: more than {} s for one input: {told}", TIME_MAX.as_secs());
            exit(1);
        }
    }
}

fn survives(target: &'static Target, input: &[u8]) -> bool {
    *at_work() = Some((Instant::now(), target.name, input.to_vec()));
    let survived = catch_unwind(AssertUnwindSafe(|| target.run_bounded(input))).is_ok();
    *at_work() = None;
    survived
}

/// Writes an input down; answers how it is run again.
fn keep(name: &str, input: &[u8]) -> Result<String, String> {
    let dir = home().join("artifacts").join(name);
    let path = dir.join(format!("smoke-{:08x}", crc32fast::hash(input)));
    fs::create_dir_all(&dir)
        .and_then(|()| fs::write(&path, input))
        .map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(format!("cargo x fuzz replay {name} {}", path.display()))
}

/// The first input that the target does not survive, and how many it ran.
fn run(
    target: &'static Target,
    time: Duration,
    seed: u64,
) -> Result<(u64, Option<Vec<u8>>), String> {
    let mut corpus = files(&home().join("corpus").join(target.name));
    corpus.extend(files(&home().join("regressions").join(target.name)));
    corpus.extend(seeds(target.name)?);
    let mut executions = 0;
    // What is built once does not count for an input.
    let _built = survives(target, &[0; 64]) && survives(target, &[]);
    for input in &corpus {
        executions += 1;
        if !survives(target, input) {
            return Ok((executions, Some(input.clone())));
        }
    }
    let mut rng = Rng(seed);
    let started = Instant::now();
    while started.elapsed() < time {
        let mut input = corpus[rng.below(corpus.len())].clone();
        mutate(&mut input, &corpus, &mut rng);
        executions += 1;
        if !survives(target, &input) {
            return Ok((executions, Some(input)));
        }
    }
    Ok((executions, None))
}

fn write_seeds() -> Result<(), String> {
    for target in TARGETS {
        let dir = home().join("corpus").join(target.name);
        fs::create_dir_all(&dir).map_err(|error| error.to_string())?;
        for (number, seed) in seeds(target.name)?.iter().enumerate() {
            let path = dir.join(format!("seed-{number}"));
            fs::write(&path, seed).map_err(|error| format!("{}: {error}", path.display()))?;
        }
    }
    Ok(())
}

/// smoke [--seconds N] [--seed N] [--target T] | smoke seeds | smoke replay TARGET FILE
fn smoke(words: &[String]) -> Result<(), String> {
    let value = |flag: &str| {
        words
            .iter()
            .zip(words.iter().skip(1))
            .find(|(word, _)| *word == flag)
            .map(|(_, value)| value.as_str())
    };
    let number = |flag, default| {
        value(flag).map_or(Ok(default), |text| {
            text.parse::<u64>().map_err(|_| format!("{flag} {text}: not a number"))
        })
    };
    match words {
        [word] if word == "seeds" => return write_seeds(),
        [word, name, file] if word == "replay" => {
            let target =
                fchannel_fuzz::target(name).ok_or(format!("{name}: there is no such target"))?;
            let input = fs::read(file).map_err(|error| format!("{file}: {error}"))?;
            target.run_bounded(&input);
            return Ok(());
        }
        _ => {}
    }
    let (seconds, seed) = (number("--seconds", 2)?, number("--seed", 1)?);
    drop(spawn(watch));
    set_hook(Box::new(|panic| println!("  {panic}")));
    let mut failed = Vec::new();
    for target in
        TARGETS.iter().filter(|target| value("--target").is_none_or(|name| name == target.name))
    {
        let started = Instant::now();
        let (executions, found) = run(target, Duration::from_secs(seconds), seed)?;
        let is_canary = target.name == "canary";
        let told = match (&found, is_canary) {
            (Some(_), true) => "found, as it must be".to_owned(),
            (None, true) => {
                failed.push(target.name);
                "NOT FOUND: this proves nothing".to_owned()
            }
            (Some(input), false) => {
                failed.push(target.name);
                format!("FAILED: {}", keep(target.name, input)?)
            }
            (None, false) => "ok".to_owned(),
        };
        println!(
            "{:<18} {executions:>9} executions {:>4} s  {told}",
            target.name,
            started.elapsed().as_secs()
        );
    }
    if failed.is_empty() { Ok(()) } else { Err(format!("failed: {}", failed.join(", "))) }
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match smoke(&words) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("smoke: {error}");
            ExitCode::FAILURE
        }
    }
}
