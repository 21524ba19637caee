//! Apache Flume's file channel: a program that is started for each slice, since its channel lives in a JVM.

use crate::{
    measure::{Shape, Slice, Work, count, whole},
    peers::Answer,
};
use std::{
    fs, io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

/// Its first figure is of so many commits.
const FIRST_COMMITS: usize = 2_000;
/// What its memory and the patience of who waits for its log to be read allow.
const EVENTS_MAX: usize = 2_000_000;
const FILL_BATCH: usize = 1_000;

pub(crate) struct Flume {
    command: String,
    dir: PathBuf,
    event_bytes: usize,
    /// How long a phase shall take.
    time: Duration,
    /// What that was worth the last time.
    events: Option<usize>,
}

impl Flume {
    pub(crate) const NAME: &'static str = "Apache Flume";

    pub(crate) fn new(command: &str, dir: &Path, event_bytes: usize, time: Duration) -> Self {
        Self {
            command: command.to_owned(),
            dir: dir.to_path_buf(),
            event_bytes,
            time,
            events: None,
        }
    }

    /// An empty channel, or one with as much as will be taken.
    pub(crate) fn prepare(&self, work: Work, shape: Shape) -> Answer<bool> {
        match fs::remove_dir_all(&self.dir) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
            _ => fs::create_dir_all(&self.dir)?,
        }
        if work == Work::Take {
            // As many as will be taken at least: the last batch may be a short one.
            let events = self.events(shape).next_multiple_of(FILL_BATCH);
            self.run("put", "put", events, Shape { batch: 1_000, committers: 1 })?;
        }
        Ok(true)
    }

    pub(crate) fn measure(&mut self, work: Work, shape: Shape) -> Answer<Slice> {
        let events = self.events(shape);
        let events_per_s = match work {
            Work::Put | Work::Steady => self.run("put", "put", events, shape)?,
            Work::Take => self.run("take", "take", events, shape)?,
            Work::PutTake => self.run("put+take", "put+take", events, shape)?,
        };
        self.events = Some(whole(events_per_s * self.time.as_secs_f64()).min(EVENTS_MAX));
        Ok(Slice { events_per_s, latencies_us: Vec::new() })
    }

    /// Whole batches for each thread.
    fn events(&self, shape: Shape) -> usize {
        let step = shape.batch as usize * shape.committers;
        let events = self.events.unwrap_or(FIRST_COMMITS.min(200_000 / step) * step);
        (events / step).max(1) * step
    }

    /// The command with the words of a run.
    pub(crate) fn words(&self, mode: &str, events: usize, shape: Shape) -> Vec<String> {
        let mut words: Vec<String> = self.command.split_whitespace().map(str::to_owned).collect();
        words.extend([
            "bench".to_owned(),
            format!("dir={}", self.dir.display()),
            format!("mode={mode}"),
            format!("events={events}"),
            format!("batch={}", shape.batch),
            format!("threads={}", shape.committers),
            format!("size={}", self.event_bytes),
        ]);
        words
    }

    /// Events a second of one phase.
    fn run(&self, mode: &str, phase: &str, events: usize, shape: Shape) -> Answer<f64> {
        let words = self.words(mode, events, shape);
        let (program, words) = words.split_first().ok_or("--flume: no command")?;
        // What it writes beside its figures goes nowhere; what went wrong is said by its status.
        let ran = Command::new(program)
            .args(words)
            .stderr(Stdio::null())
            .output()
            .map_err(|error| format!("{program}: {error}"))?;
        if !ran.status.success() {
            return Err(format!("{program} {}: {}", words.join(" "), ran.status).into());
        }
        events_per_s(&String::from_utf8_lossy(&ran.stdout), phase)
            .ok_or_else(|| format!("{program} {}: no phase {phase}", words.join(" ")).into())
    }
}

/// The figure of `phase`, from its events and seconds where they are there: more digits than its own rate.
fn events_per_s(printed: &str, phase: &str) -> Option<f64> {
    printed.lines().find_map(|line| {
        let line: serde_json::Value = serde_json::from_str(line).ok()?;
        (line.get("phase")?.as_str()? == phase).then_some(())?;
        let events = usize::try_from(line.get("events")?.as_u64()?).ok()?;
        let seconds = line.get("seconds")?.as_f64().filter(|seconds| *seconds > 0.0)?;
        Some(count(events) / seconds)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_phase_is_found_among_others() {
        let printed = "{\"phase\":\"open\",\"events\":0,\"seconds\":0.9}\nnoise\n\
            {\"phase\":\"put\",\"events\":1000,\"seconds\":0.5,\"events_per_s\":2000}\n";
        assert_eq!(events_per_s(printed, "put"), Some(2000.0));
        assert_eq!(events_per_s(printed, "take"), None);
    }

    #[test]
    fn each_thread_gets_whole_batches() {
        let flume = Flume::new("run", Path::new("d"), 500, Duration::from_secs(1));
        for (batch, committers) in [(1, 64), (100, 8), (1000, 8), (7, 3)] {
            let events = flume.events(Shape { batch, committers });
            assert!(events > 0 && events.is_multiple_of(batch as usize * committers), "{events}");
        }
    }
}
