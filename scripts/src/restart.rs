//! `cargo x restart`: what waits must cost neither time nor memory at a restart.
//!
//! One process fills a channel and is killed with SIGKILL; a fresh one opens it and says how long that took and what it holds in
//! memory. The figures must be about the same for a million events and for ten million.

use crate::shell::{Answer, Arguments, must, scratch};
use fchannel::{Channel, Options, TakeLimit};
use std::{
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Stdio},
    time::Instant,
};

const OPEN_MS_MAX: u128 = 300;
const RSS_KIB_MAX: u64 = 64 << 10;
const BATCH: u32 = 1000;

pub(crate) fn run(arguments: &Arguments) -> Answer<()> {
    let words: Vec<&str> = arguments.words().iter().map(String::as_str).collect();
    match words.as_slice() {
        ["--fill", dir, events, bytes] => fill(Path::new(dir), events.parse()?, bytes.parse()?),
        ["--open", dir, events] => open(Path::new(dir), events.parse()?),
        _ => {
            let dir = scratch("restart")?;
            let events = arguments.number("--events", 1_000_000)?;
            let answer = drive(&dir, events, arguments.number("--event-bytes", 500)?);
            fs::remove_dir_all(&dir)?;
            answer
        }
    }
}

fn drive(dir: &Path, events: u64, event_bytes: u64) -> Answer<()> {
    let channel = dir.join("channel");
    let this = |step: &str| {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["restart", step]).arg(&channel).arg(events.to_string());
        if step == "--fill" {
            command.arg(event_bytes.to_string());
        }
        Answer::Ok(command)
    };
    let mut filler = this("--fill")?.stdout(Stdio::piped()).spawn()?;
    let mut said = String::new();
    BufReader::new(filler.stdout.take().ok_or("no pipe")?).read_line(&mut said)?;
    filler.kill()?;
    filler.wait()?;
    if said.trim() != "filled" {
        return Err(format!("the filling process ended early: {said:?}").into());
    }
    println!("killed -9 with {events} events of {event_bytes} bytes waiting; a fresh process:");
    must(&mut this("--open")?)
}

fn options(events: u64) -> Options {
    Options {
        capacity_events: events.max(u64::from(BATCH)),
        transaction_events_max: BATCH,
        free_space_min_bytes: 0,
        ..Options::default()
    }
}

/// Fills the channel, says so, and waits for the kill.
fn fill(dir: &Path, events: u64, event_bytes: usize) -> Answer<()> {
    let channel = Channel::open(dir, options(events))?;
    let mut payload = vec![0; event_bytes];
    let mut put = channel.begin_put();
    for event in 1..=events {
        for (place, byte) in payload.iter_mut().zip(event.to_le_bytes().into_iter().cycle()) {
            *place = byte;
        }
        put.push(&payload)?;
        if put.len() == BATCH || event == events {
            std::mem::replace(&mut put, channel.begin_put()).commit().map_err(|e| e.to_string())?;
        }
    }
    println!("filled");
    std::io::stdin().read_line(&mut String::new())?;
    loop {
        std::thread::park();
    }
}

/// Opens the channel and reports; fails above the limits.
fn open(dir: &Path, events: u64) -> Answer<()> {
    let started = Instant::now();
    let channel = Channel::open(dir, options(events))?;
    let took = started.elapsed();
    let report = channel.recovery();
    let waiting = channel.stats().events;
    let (rss, peak) = (memory_kib("VmRSS")?, memory_kib("VmHWM")?);
    println!(
        "  open {} ms ({} frames of {:.1} MiB replayed, verdict {}), RSS {:.1} MiB, peak {:.1} MiB, {waiting} events wait",
        took.as_millis(),
        report.frames_replayed,
        mib(report.bytes_scanned),
        report.verdict,
        mib(rss << 10),
        mib(peak << 10),
    );
    let first = channel.peek(None, TakeLimit::events(1))?;
    if waiting != events || first.is_empty() {
        return Err(format!("{waiting} events wait instead of {events}").into());
    }
    if took.as_millis() > OPEN_MS_MAX || peak > RSS_KIB_MAX {
        return Err(
            format!("over the limits of {OPEN_MS_MAX} ms and {} MiB", RSS_KIB_MAX >> 10).into()
        );
    }
    println!("  within the limits of {OPEN_MS_MAX} ms and {} MiB", RSS_KIB_MAX >> 10);
    Ok(())
}

/// A figure of /proc/self/status, in KiB.
fn memory_kib(name: &str) -> Answer<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status
        .lines()
        .find(|line| line.starts_with(name))
        .ok_or("no such line in /proc/self/status")?;
    Ok(line.split_whitespace().nth(1).ok_or("no figure")?.parse()?)
}

#[expect(clippy::cast_precision_loss, reason = "for people")]
fn mib(bytes: u64) -> f64 {
    bytes as f64 / 1_048_576.0
}
