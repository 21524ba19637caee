//! `fchannel demo`: a real pipeline under load, a kill -9 in the middle, and a count of what came out.
//!
//! This process writes numbered lines into a log file, as a web server would. A second process, a real agent, tails it through a file
//! channel into files. The numbers say whether anything is missing, out of order or doubled.

mod counter;
mod load;

use super::{Exit, output};
use clap::Args;
use counter::Counter;
use load::Load;
use rustix::process::{Pid, Signal, kill_process};
use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// Lines that one transaction carries: as many may come twice after a kill.
const BATCH: u64 = 100;
/// Lines that are written at once right before the kill.
const BURST: u64 = 20_000;
/// How long the agent may take to deliver what is left once the load ends.
const DRAIN: Duration = Duration::from_secs(20);

/// The arguments of `fchannel demo`.
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// How long the load runs
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(2..=3600))]
    seconds: u64,
    /// Lines a second
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    rate: u64,
    /// Leave out the kill -9 half-way
    #[arg(long)]
    no_crash: bool,
}

pub(super) fn run(args: &DemoArgs) -> Exit {
    match Demo::new().and_then(|mut demo| demo.play(args)) {
        Ok(exit) => exit,
        Err(error) => {
            output::complain(&format!("the demo cannot go on: {error}"));
            Exit::Failed
        }
    }
}

struct Demo {
    dir: PathBuf,
    started: Instant,
    load: Load,
    counter: Counter,
}

impl Demo {
    fn new() -> io::Result<Self> {
        let dir = std::env::temp_dir().join(format!("fchannel-demo-{}", std::process::id()));
        for part in ["in", "out", "channel"] {
            std::fs::create_dir_all(dir.join(part))?;
        }
        std::fs::write(dir.join("demo.conf"), conf(&dir))?;
        let load = Load::new(&dir.join("in/access.log"))?;
        let counter = Counter::new(&dir.join("out"));
        Ok(Self { dir, started: Instant::now(), load, counter })
    }

    fn play(&mut self, args: &DemoArgs) -> io::Result<Exit> {
        println!(
            "{}: lines into in/access.log -> taildir -> file channel -> file_roll -> out/",
            self.dir.join("demo.conf").display()
        );
        let mut agent = self.spawn_agent()?;
        let end = Duration::from_secs(args.seconds);
        let crash = (!args.no_crash).then_some(end / 2);
        let mut next_report = Duration::from_secs(1);
        let mut crashed = false;
        while self.started.elapsed() < end {
            self.load.write_until(self.started.elapsed(), args.rate)?;
            self.counter.look()?;
            if crash.is_some_and(|at| !crashed && self.started.elapsed() >= at) {
                crashed = true;
                agent = self.crash(agent, args.rate)?;
            }
            if self.started.elapsed() >= next_report {
                self.report();
                next_report += Duration::from_secs(2).max(end / 15);
            }
            if let Some(status) = agent.try_wait()? {
                return Err(io::Error::other(format!(
                    "the agent ended by itself ({status}); see {}",
                    self.log().display()
                )));
            }
        }
        let drained = self.drain()?;
        stop(agent)?;
        self.counter.look()?;
        Ok(self.conclude(drained, crashed))
    }

    fn log(&self) -> PathBuf {
        self.dir.join("agent.log")
    }

    fn spawn_agent(&self) -> io::Result<Child> {
        let log = File::options().create(true).append(true).open(self.log())?;
        let mut command = Command::new(std::env::current_exe()?);
        command
            .args([
                "agent",
                "--name",
                "demo",
                "--log-format",
                "json",
                "--no-reload-conf",
                "--conf-file",
            ])
            .arg(self.dir.join("demo.conf"));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn()
    }

    /// Kills the agent as a crash would, and starts it again while the load goes on.
    fn crash(&mut self, mut agent: Child, rate: u64) -> io::Result<Child> {
        // A burst, and the kill in the middle of it: there is work in flight.
        self.load.write(BURST)?;
        self.load.pause();
        agent.kill()?;
        agent.wait()?;
        self.counter.look()?;
        self.say(&format!(
            "kill -9: {} lines were on their way",
            group(self.load.written().saturating_sub(self.counter.delivered()))
        ));
        let restarted = Instant::now();
        let delivered = self.counter.delivered();
        let agent = self.spawn_agent()?;
        while self.counter.delivered() == delivered && restarted.elapsed() < DRAIN {
            self.load.write_until(self.started.elapsed(), rate)?;
            self.counter.look()?;
        }
        self.say(&format!(
            "restarted: the next line was delivered after {} ms",
            restarted.elapsed().as_millis()
        ));
        Ok(agent)
    }

    fn drain(&mut self) -> io::Result<bool> {
        let deadline = Instant::now() + DRAIN;
        while self.counter.delivered() < self.load.written() && Instant::now() < deadline {
            self.load.pause();
            self.counter.look()?;
        }
        self.report();
        Ok(self.counter.delivered() >= self.load.written())
    }

    fn say(&self, text: &str) {
        println!("{:>4} s   {text}", self.started.elapsed().as_secs());
    }

    fn report(&self) {
        self.say(&format!(
            "{:>11} in   {:>11} out",
            group(self.load.written()),
            group(self.counter.delivered())
        ));
    }

    fn conclude(&self, drained: bool, crashed: bool) -> Exit {
        let counted = self.counter.counted();
        let late = self.load.written().saturating_sub(self.counter.delivered());
        println!();
        println!(
            "result   {} lines in, lost {}, out of order {}, delivered twice {}{}",
            group(self.load.written()),
            group(counted.missing + late),
            group(counted.out_of_order),
            group(counted.doubled),
            if counted.doubled > 0 {
                " (the batch that was not committed at the kill)"
            } else {
                ""
            }
        );
        if counted.torn > 0 {
            println!(
                "         {} line was cut in half by the kill, and came again whole",
                counted.torn
            );
        }
        println!("try      fchannel inspect summary {}", self.dir.join("channel").display());
        println!("         rm -r {}   when you are done", self.dir.display());
        let doubled_max = if crashed { BATCH } else { 0 };
        if drained && counted.missing + counted.out_of_order == 0 && counted.doubled <= doubled_max
        {
            Exit::Done
        } else {
            Exit::Failed
        }
    }
}

/// Ends the agent in order.
fn stop(mut agent: Child) -> io::Result<()> {
    if let Some(pid) = i32::try_from(agent.id()).ok().and_then(Pid::from_raw) {
        kill_process(pid, Signal::TERM)?;
    }
    agent.wait().map(drop)
}

fn conf(dir: &Path) -> String {
    let dir = dir.display();
    format!(
        "# Written by `fchannel demo`.\n\
         demo.sources = r1\n\
         demo.channels = c1\n\
         demo.sinks = k1\n\
         \n\
         demo.sources.r1.type = TAILDIR\n\
         demo.sources.r1.filegroups = f1\n\
         demo.sources.r1.filegroups.f1 = {dir}/in/access\\\\.log\n\
         demo.sources.r1.positionFile = {dir}/positions.json\n\
         demo.sources.r1.batchSize = {BATCH}\n\
         demo.sources.r1.channels = c1\n\
         \n\
         demo.channels.c1.type = file\n\
         demo.channels.c1.checkpointDir = {dir}/channel\n\
         demo.channels.c1.dataDirs = {dir}/channel\n\
         demo.channels.c1.minimumRequiredSpace = 1048576\n\
         \n\
         demo.sinks.k1.type = file_roll\n\
         demo.sinks.k1.channel = c1\n\
         demo.sinks.k1.sink.directory = {dir}/out\n\
         demo.sinks.k1.sink.rollInterval = 0\n\
         demo.sinks.k1.sink.batchSize = {BATCH}\n"
    )
}

/// `1234567` as `1,234,567`.
fn group(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped() {
        assert_eq!(group(0), "0");
        assert_eq!(group(999), "999");
        assert_eq!(group(1_234_567), "1,234,567");
    }
}
