//! The processes of a proof, from their parent's side: what they say is heard in full, and whoever is silent for long is killed.

use fchannel_torture::{
    Answer,
    record::{Record, Sight},
    role::Role,
    words::{Run, Said},
};
use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Stdio},
    sync::mpsc::{self, Receiver, RecvTimeoutError},
    thread::JoinHandle,
    time::{Duration, Instant},
};

/// A process that says nothing for so long hangs.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// A process that plays a part.
pub(crate) struct Process {
    child: Child,
    said: Receiver<Vec<u8>>,
    reader: Option<JoinHandle<()>>,
    ended: bool,
}

impl Process {
    pub(crate) fn start(program: &Path, role: &Role) -> Answer<Self> {
        let mut child =
            role.command(program).stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        let (lines, said) = mpsc::channel();
        let mut pipe = BufReader::new(child.stdout.take().ok_or("no pipe")?);
        // What a kill cut has no end: it was not said.
        let reader = std::thread::spawn(move || {
            let mut line = Vec::new();
            while pipe.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
                if line.pop() != Some(b'\n') || lines.send(std::mem::take(&mut line)).is_err() {
                    return;
                }
            }
        });
        Ok(Self { child, said, reader: Some(reader), ended: false })
    }

    /// The next line; none when `wait` is over, or the process is gone.
    pub(crate) fn next(&mut self, wait: Duration) -> Answer<Option<Said>> {
        match self.said.recv_timeout(wait) {
            Ok(line) => Ok(Some(std::str::from_utf8(&line)?.parse()?)),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => {
                self.ended = true;
                Ok(None)
            }
        }
    }

    /// Lets it live for a while, and takes down what it says. True if it ended by itself, or `until` answered true for a line.
    pub(crate) fn live(
        &mut self,
        time: Duration,
        record: &mut Record,
        mut until: impl FnMut(&Said) -> bool,
    ) -> Answer<bool> {
        let deadline = Instant::now() + time;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.next(left)? {
                Some(said) => {
                    let stop = until(&said);
                    record.hear(said);
                    if stop {
                        return Ok(true);
                    }
                }
                None => return Ok(self.ended),
            }
        }
    }

    /// Waits for its first word: the channel is open, or cannot be opened.
    pub(crate) fn first_word(&mut self) -> Answer<Said> {
        self.next(SILENCE_MAX)?.ok_or_else(|| "a process is silent, or ended without a word".into())
    }

    /// What it found when it opened the channel, or why that was refused.
    pub(crate) fn sight(&mut self) -> Answer<Result<Sight, String>> {
        let mut sight = Sight::default();
        loop {
            match self.next(SILENCE_MAX)? {
                Some(Said::Opened(end, next_seq, events, verdict, rewritten)) => {
                    sight = Sight { end, next_seq, events, verdict, rewritten, ..sight };
                }
                Some(Said::Mark(producer, round, number)) => {
                    sight.marks.insert(producer, (round, number));
                }
                Some(Said::There(runs)) => {
                    sight.there.extend(runs.into_iter().flat_map(Run::events));
                }
                Some(Said::Done) => return Ok(Ok(sight)),
                Some(Said::Shut(why)) => return Ok(Err(format!("the open was refused: {why}"))),
                Some(Said::Failed(why)) => {
                    return Ok(Err(format!("what waits cannot be read: {why}")));
                }
                Some(other) => return Err(format!("who looks at the channel said: {other}").into()),
                None => return Err("who looks at the channel fell silent".into()),
            }
        }
    }

    /// Sends the kill, and does not wait for the end.
    pub(crate) fn shoot(&mut self) -> Answer<()> {
        Ok(self.child.kill()?)
    }

    /// Waits for the end of a process that was shot, and takes down the rest of what it said.
    pub(crate) fn bury(mut self, record: &mut Record) -> Answer<()> {
        self.child.wait()?;
        if let Some(reader) = self.reader.take() {
            reader.join().map_err(|_| "the reader panicked")?;
        }
        while let Some(said) = self.next(Duration::ZERO)? {
            record.hear(said);
        }
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Of one that was waited for nothing is left to kill.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// What an open found, or why it was refused.
pub(crate) fn look(program: &Path, role: &Role) -> Answer<Result<Sight, String>> {
    let mut process = Process::start(program, role)?;
    let sight = process.sight()?;
    let status = process.child.wait()?;
    if status.success() { Ok(sight) } else { Err(format!("who looks ended with {status}").into()) }
}
