//! The agent: its configuration, its lives and its deaths.

use super::Place;
use crate::shell::{Answer, Arguments, cargo, must, output_of};
use std::{
    fs::{self, File, OpenOptions},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus},
    time::{Duration, Instant},
};

/// The binary that `--agent` names, else a release build of this workspace.
pub(crate) fn binary(arguments: &Arguments) -> Answer<PathBuf> {
    if let Some(path) = arguments.values("--agent").next() {
        let path = PathBuf::from(path);
        return if path.is_file() {
            Ok(path)
        } else {
            Err(format!("{}: there is no agent", path.display()).into())
        };
    }
    must(&mut cargo(&[
        "build",
        "--quiet",
        "--release",
        "--package",
        "fchannel-agent",
        "--bin",
        "fchannel",
    ]))?;
    // This program was built beside it.
    let path = std::env::current_exe()?.with_file_name("fchannel");
    if path.is_file() {
        Ok(path)
    } else {
        Err(format!("{}: the build left no agent", path.display()).into())
    }
}

/// Flume's keys, as one would write them for Flume.
pub(crate) fn write_conf(place: &Place, sink_batch: usize) -> Answer<PathBuf> {
    let conf = place.root.join("generated.conf");
    let text = format!(
        "a1.sources = r1\na1.channels = c1\na1.sinks = k1\n\n\
         a1.sources.r1.type = TAILDIR\na1.sources.r1.filegroups = f1\n\
         a1.sources.r1.filegroups.f1 = {logs}/access\\\\.log\n\
         a1.sources.r1.positionFile = {root}/position/taildir.json\na1.sources.r1.channels = c1\n\n\
         a1.channels.c1.type = file\na1.channels.c1.checkpointDir = {channel}/checkpoint\n\
         a1.channels.c1.dataDirs = {channel}/data\na1.channels.c1.minimumRequiredSpace = 1048576\n\n\
         a1.sinks.k1.type = file_roll\na1.sinks.k1.sink.directory = {out}\na1.sinks.k1.sink.rollInterval = 0\n\
         a1.sinks.k1.sink.batchSize = {sink_batch}\na1.sinks.k1.channel = c1\n",
        logs = place.logs.display(),
        root = place.root.display(),
        channel = place.channel.display(),
        out = place.out.display(),
    );
    fs::write(&conf, text)?;
    Ok(conf)
}

/// A running agent.
pub(crate) struct Agent {
    process: Child,
    log: PathBuf,
}

impl Agent {
    pub(crate) fn start(binary: &Path, conf: &Path, root: &Path) -> Answer<Self> {
        let log = root.join("agent.log");
        let out: File = OpenOptions::new().create(true).append(true).open(&log)?;
        let process = Command::new(binary)
            .args(["agent", "-n", "a1", "-f"])
            .arg(conf)
            .stdout(out.try_clone()?)
            .stderr(out)
            .spawn()
            .map_err(|error| format!("{}: {error}", binary.display()))?;
        Ok(Self { process, log })
    }

    /// Lets it run; an error if it ends by itself.
    pub(crate) fn live_for(&mut self, time: Duration) -> Answer<()> {
        let deadline = Instant::now() + time;
        loop {
            if let Some(status) = self.process.try_wait()? {
                return Err(self.ended(status));
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            std::thread::park_timeout(left.min(Duration::from_millis(20)));
        }
    }

    fn ended(&self, status: ExitStatus) -> Box<dyn std::error::Error> {
        let said = fs::read_to_string(&self.log).unwrap_or_default();
        let last: Vec<&str> = said.lines().rev().take(15).collect();
        let last: Vec<&str> = last.into_iter().rev().collect();
        format!("the agent ended by itself: {status}\n{}", last.join("\n")).into()
    }

    /// SIGKILL.
    pub(crate) fn kill(mut self) -> Answer<()> {
        self.process.kill()?;
        self.process.wait()?;
        Ok(())
    }

    /// SIGTERM; it must end well.
    pub(crate) fn terminate(mut self) -> Answer<()> {
        must(Command::new("sh").args(["-c", &format!("kill -TERM {}", self.process.id())]))?;
        let started = Instant::now();
        loop {
            match self.process.try_wait()? {
                Some(status) if status.success() => return Ok(()),
                Some(status) => return Err(self.ended(status)),
                None if started.elapsed() > Duration::from_secs(30) => {
                    return Err("the agent does not end after SIGTERM".into());
                }
                None => std::thread::park_timeout(Duration::from_millis(20)),
            }
        }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // Nobody is left to kill after `kill` and `terminate`; when a step has failed there is.
        if matches!(self.process.try_wait(), Ok(None)) {
            drop(self.process.kill());
            drop(self.process.wait());
        }
    }
}

/// What the tool says about a channel whose agent was just killed.
pub(crate) fn inspect(binary: &Path, channel: &Path) -> Answer<()> {
    for verb in [&["summary"][..], &["segments"], &["events", "-n", "3"], &["verify"]] {
        let (name, options) = verb.split_first().ok_or("no verb")?;
        println!("\n$ fchannel inspect {} CHANNEL", verb.join(" "));
        let mut command = Command::new(binary);
        command.args(["inspect", name]).arg(channel.join("checkpoint")).args(options);
        print!("{}", output_of(&mut command)?);
    }
    println!();
    Ok(())
}
