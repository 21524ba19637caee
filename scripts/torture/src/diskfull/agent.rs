//! The running agent on a full disk: a file is tailed through a file channel into files elsewhere. The sink's disk is full first, so the
//! channel fills its own; others take the last byte of that; the sink's disk has room again, and the channel drains; the others go, and
//! the source goes on. Every line must come out, in order, and the agent must live through it all.

use super::{Place, agent_program, crowd, free};
use fchannel_torture::{Answer, full::fill_up};
use std::{
    fs::{self, File},
    io::Write as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

const LINES: u64 = 120_000;
const BATCH: u64 = 500;
const ROOM_BYTES: u64 = 20 << 20;
/// The agent keeps so much free of its own accord.
const FLOOR_BYTES: u64 = 1 << 20;
const SOON: Duration = Duration::from_secs(120);

pub(super) fn prove(place: &Place, scratch: &Path) -> Answer<String> {
    let home = scratch.join("agent");
    drop(fs::remove_dir_all(&home));
    fs::create_dir_all(&home)?;
    let sink = Place::small(&home.join("out"), 128 << 10)?;
    let answer = Run { place, home: home.clone(), sink: &sink }.prove();
    answer.map_err(|error| {
        let log = fs::read_to_string(home.join("log")).unwrap_or_default();
        let last: Vec<&str> = log.lines().rev().take(12).collect();
        format!("{error}; the agent's last words, latest first:\n  {}", last.join("\n  ")).into()
    })
}

struct Run<'a> {
    place: &'a Place,
    home: PathBuf,
    sink: &'a Place,
}

impl Run<'_> {
    fn prove(&self) -> Answer<String> {
        let (crowd_file, others) = (self.place.dir.join("crowd"), self.place.dir.join("others"));
        crowd(&crowd_file, ROOM_BYTES)?;
        self.write_input()?;
        let mut agent = Agent(self.start()?);
        let dir = &self.place.dir;
        agent.until("the channel has filled its disk", || {
            Ok(free(dir)? < FLOOR_BYTES + (1 << 20))
        })?;
        let waits =
            |log: &str| log.contains("free_space_min_bytes") || log.contains("No space left");
        agent.until("the source was refused", || Ok(waits(&self.log())))?;
        fill_up(&others)?;
        // The sink tries again and again meanwhile: each try is a take that is rolled back.
        agent.lives_for(Duration::from_secs(1))?;
        let before = self.delivered()?;
        self.sink.grow(1 << 30)?;
        agent.until("the sink goes on", || Ok(self.delivered()? > before))?;
        let mut last = 0;
        while std::mem::replace(&mut last, self.delivered()?) != last {
            agent.lives_for(Duration::from_secs(2))?;
        }
        let drained = last;
        fs::remove_file(&others)?;
        fs::remove_file(&crowd_file)?;
        agent.until("all is delivered", || Ok(self.delivered()? >= LINES))?;
        let status = agent.terminate()?;
        if !status.success() {
            return Err(format!("the agent ended with {status}").into());
        }
        let doubled = self.judge()?;
        fs::remove_dir_all(self.place.dir.join("agent"))?;
        Ok(format!("{LINES} lines, {drained} before the others went, lost 0, doubled {doubled}"))
    }

    fn write_input(&self) -> Answer<()> {
        let mut text = String::new();
        for number in 0..LINES {
            text += &format!("{number:08} {:.<200}\n", "");
        }
        Ok(File::create(self.home.join("in.log"))?.write_all(text.as_bytes())?)
    }

    fn start(&self) -> Answer<Child> {
        let (home, dir) = (self.home.display(), self.place.dir.join("agent"));
        let dir = dir.display();
        let conf = format!(
            "a1.sources = r1\na1.channels = c1\na1.sinks = k1\n\
             a1.sources.r1.type = TAILDIR\na1.sources.r1.filegroups = f1\n\
             a1.sources.r1.filegroups.f1 = {home}/in\\\\.log\n\
             a1.sources.r1.positionFile = {home}/positions.json\n\
             a1.sources.r1.batchSize = {BATCH}\na1.sources.r1.channels = c1\n\
             a1.channels.c1.type = file\na1.channels.c1.checkpointDir = {dir}/checkpoint\n\
             a1.channels.c1.dataDirs = {dir}/data\na1.channels.c1.maxFileSize = 1048576\n\
             a1.channels.c1.minimumRequiredSpace = {FLOOR_BYTES}\na1.channels.c1.checkpointInterval = 1000\n\
             a1.sinks.k1.type = file_roll\na1.sinks.k1.channel = c1\n\
             a1.sinks.k1.sink.directory = {home}/out\na1.sinks.k1.sink.rollInterval = 0\n\
             a1.sinks.k1.sink.batchSize = {BATCH}\n"
        );
        fs::write(self.home.join("a1.conf"), conf)?;
        let child = Command::new(agent_program())
            .args(["agent", "-n", "a1", "-f"])
            .arg(self.home.join("a1.conf"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(self.home.join("log"))?)
            .spawn()?;
        Ok(child)
    }

    fn log(&self) -> String {
        fs::read_to_string(self.home.join("log")).unwrap_or_default()
    }

    /// The numbers of all whole lines that came out, in the order of files and lines.
    fn lines(&self) -> Answer<Vec<u64>> {
        let mut files = Vec::new();
        for entry in fs::read_dir(self.home.join("out"))? {
            let entry = entry?;
            files.push((entry.metadata()?.modified()?, entry.path()));
        }
        files.sort();
        let mut numbers = Vec::new();
        for (_, path) in files {
            let bytes = fs::read(path)?;
            let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
            let text = String::from_utf8_lossy(bytes.get(..whole).unwrap_or_default()).into_owned();
            // A line that a full disk cut short is not one: its batch comes again.
            let whole = |line: &&str| line.len() == 209;
            numbers.extend(
                text.lines().filter(whole).filter_map(|line| line.get(..8)?.parse::<u64>().ok()),
            );
        }
        Ok(numbers)
    }

    /// How many lines came out without a gap.
    fn delivered(&self) -> Answer<u64> {
        let mut numbers = self.lines()?;
        numbers.sort_unstable();
        numbers.dedup();
        let mut next = 0;
        for number in numbers {
            if number != next {
                break;
            }
            next += 1;
        }
        Ok(next)
    }

    /// Every line is there; one that comes again is of a batch that comes again as a whole.
    fn judge(&self) -> Answer<u64> {
        let numbers = self.lines()?;
        let (mut next, mut doubled) = (0, 0);
        for number in numbers {
            if number > next {
                return Err(format!("line {next} is missing, or comes after line {number}").into());
            }
            doubled += u64::from(number < next);
            next = next.max(number + 1);
        }
        if next == LINES { Ok(doubled) } else { Err(format!("{next} of {LINES} lines").into()) }
    }
}

struct Agent(Child);

impl Agent {
    fn is_alive(&mut self) -> Answer<()> {
        match self.0.try_wait()? {
            None => Ok(()),
            Some(status) => Err(format!("the agent ended by itself: {status}").into()),
        }
    }

    fn lives_for(&mut self, time: Duration) -> Answer<()> {
        std::thread::park_timeout(time);
        self.is_alive()
    }

    fn until(&mut self, what: &str, mut done: impl FnMut() -> Answer<bool>) -> Answer<()> {
        let deadline = Instant::now() + SOON;
        while !done()? {
            self.lives_for(Duration::from_millis(100))?;
            if Instant::now() > deadline {
                return Err(format!("not in time: {what}").into());
            }
        }
        Ok(())
    }

    fn terminate(mut self) -> Answer<std::process::ExitStatus> {
        super::place::run(Command::new("kill").arg(self.0.id().to_string()))?;
        Ok(self.0.wait()?)
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // One that has ended is not there to be killed.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}
