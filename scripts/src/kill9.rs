//! `cargo x kill9`: the engine, killed with SIGKILL while four threads put and one takes, again and again.
//!
//! The killed process tells on a pipe what was acknowledged: a line is written after a put has committed, before a take commits and
//! after. What a process wrote into a pipe outlives it, so the parent knows what must be there; see [`ledger`].

mod ledger;

use crate::{
    chance::Chance,
    shell::{Answer, Arguments, scratch},
};
use fchannel::{Channel, Options, PutTransaction, TakeLimit};
use ledger::{Id, Ledger};
use std::{
    fmt::Write as _,
    fs,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Command, Stdio},
    sync::{Mutex, mpsc},
    time::Duration,
};

const PRODUCERS: u32 = 4;
/// Events of one put at most.
const PUT_EVENTS_MAX: u64 = 20;
const TAKE: TakeLimit = TakeLimit::events(60);

pub(crate) fn run(arguments: &Arguments) -> Answer<()> {
    let words: Vec<&str> = arguments.words().iter().map(String::as_str).collect();
    match words.as_slice() {
        ["--child", dir, round, seed] => child(Path::new(dir), round.parse()?, seed.parse()?),
        _ => drive(
            arguments.number("--rounds", 20)?,
            arguments.number("--seed", Chance::fresh_seed())?,
        ),
    }
}

fn options() -> Options {
    Options {
        // Small, so that a short life rotates, retires, makes checkpoints.
        segment_bytes_max: 256 << 10,
        checkpoint_log_bytes: 128 << 10,
        checkpoint_interval_ms: 50,
        free_space_min_bytes: 0,
        ..Options::default()
    }
}

fn drive(rounds: u64, seed: u64) -> Answer<()> {
    let dir = scratch("kill9")?;
    let mut chance = Chance::new(seed);
    let mut ledger = Ledger::default();
    println!("kill9: {rounds} rounds, --seed {seed}");
    for round in 1..=rounds {
        live_and_die(&dir, round, &mut chance, &mut ledger)
            .and_then(|()| examine(&dir, &mut chance, &mut ledger))
            .map_err(|error| {
                format!("round {round} of seed {seed}: {error}; the directory is {}", dir.display())
            })?;
    }
    fs::remove_dir_all(&dir)?;
    println!(
        "kill9: {} puts acknowledged, {} takes committed, none lost, none out of order, none came again",
        ledger.puts(),
        ledger.takes()
    );
    if ledger.puts() == 0 { Err("nothing was put: nothing was proved".into()) } else { Ok(()) }
}

/// One life of the process that puts and takes.
fn live_and_die(dir: &Path, round: u64, chance: &mut Chance, ledger: &mut Ledger) -> Answer<()> {
    let mut child = Command::new(std::env::current_exe()?)
        .args(["kill9", "--child"])
        .arg(dir)
        .args([round.to_string(), chance.below(u64::MAX).to_string()])
        .stdout(Stdio::piped())
        .spawn()?;
    let (lines, said) = mpsc::channel();
    let pipe = BufReader::new(child.stdout.take().ok_or("no pipe")?);
    let reader = std::thread::spawn(move || {
        pipe.split(b'\n').map_while(Result::ok).all(|line| lines.send(line).is_ok())
    });
    // The moment of death counts from its first word: before, it only starts.
    let mut heard =
        vec![said.recv_timeout(Duration::from_secs(20)).map_err(|_| "the process is silent")?];
    std::thread::park_timeout(chance.milliseconds(1, 400));
    child.kill()?;
    child.wait()?;
    reader.join().map_err(|_| "the reader panicked")?;
    heard.extend(said.try_iter());
    for line in heard {
        ledger.hear(&String::from_utf8(line)?)?;
    }
    Ok(())
}

/// Opens what the kill left, and holds it against the ledger. Sometimes it is closed in order, sometimes not.
fn examine(dir: &Path, chance: &mut Chance, ledger: &mut Ledger) -> Answer<()> {
    let channel = Channel::open(dir, options())?;
    let waiting = channel.stats().events;
    let limit = TakeLimit { events: u32::MAX, bytes: u64::MAX };
    let there: Vec<Id> = channel
        .peek(None, limit)?
        .iter()
        .map(|record| Id::decode(&record.payload).ok_or("an event is not one of ours"))
        .collect::<Result<_, _>>()?;
    if there.len() as u64 != waiting {
        return Err(format!("{waiting} events wait, {} can be read", there.len()).into());
    }
    ledger.verify(&there)?;
    if chance.below(2) == 0 { Ok(channel.close()?) } else { Ok(()) }
}

/// Puts and takes until it is killed.
fn child(dir: &Path, round: u64, seed: u64) -> Answer<()> {
    let channel = Channel::open(dir, options())?;
    let told = Mutex::new(std::io::stdout());
    let tell = |line: String| {
        // One write for each line, so that a kill cannot cut one: a pipe takes up to 4,096 bytes whole.
        told.lock().map_err(|_| "poisoned")?.write_all(line.as_bytes())?;
        Answer::Ok(())
    };
    let answers: Vec<Result<(), String>> = std::thread::scope(|scope| {
        let (channel, tell) = (&channel, &tell);
        let putters = (0..PRODUCERS).map(|producer| {
            let chance = Chance::new(seed ^ u64::from(producer + 1) << 32);
            scope.spawn(move || {
                produce(channel, round, producer, chance, tell).map_err(|e| e.to_string())
            })
        });
        let mut threads: Vec<_> = putters.collect();
        threads.push(
            scope.spawn(move || take(channel, Chance::new(seed), tell).map_err(|e| e.to_string())),
        );
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|_| Err("panicked".into())))
            .collect()
    });
    answers.into_iter().collect::<Result<(), _>>().map_err(Into::into)
}

fn produce(
    channel: &Channel,
    round: u64,
    producer: u32,
    mut chance: Chance,
    tell: &impl Fn(String) -> Answer<()>,
) -> Answer<()> {
    let mut number = 0;
    loop {
        let mut put: PutTransaction = channel.begin_put();
        for _ in 0..=chance.below(PUT_EVENTS_MAX) {
            number += 1;
            put.push(&Id { round, producer, number }.encode())?;
        }
        put.commit().map_err(|error| error.to_string())?;
        tell(format!("put {round} {producer} {number}\n"))?;
    }
}

fn take(channel: &Channel, mut chance: Chance, tell: &impl Fn(String) -> Answer<()>) -> Answer<()> {
    loop {
        let taken = channel.take_timeout(TAKE, Duration::from_millis(20))?;
        // Some go back, so that leases and their order are under test too.
        if taken.records().is_empty() || chance.below(8) == 0 {
            continue;
        }
        let mut ids = String::new();
        for record in taken.records() {
            let id = Id::decode(&record.payload).ok_or("an event is not one of ours")?;
            write!(ids, " {id}")?;
        }
        tell(format!("taking{ids}\n"))?;
        taken.commit()?;
        tell("taken\n".to_owned())?;
    }
}
