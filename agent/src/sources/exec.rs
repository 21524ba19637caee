//! Flume's exec source: the lines that a command prints.
//!
//! The command is outside of any transaction: what it printed and we could not put before the agent ended is lost. For a file use taildir.

use crate::{
    component::{
        BoxFuture, Build, ComponentError, Entry, Key, KeyKind, Parts, Placement, Problem, PutBatch,
        Retry, Settings, Source, SourceContext, Stop,
    },
    text::{CHARSET_HELP, Charset, Ending, Line, Lines},
};
use fchannel::Event;
use rustix::process::{Pid, Signal, kill_process_group};
use std::{process::Stdio, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    process::{Child, Command},
    task::JoinHandle,
};

const MAX: i64 = i32::MAX as i64;

pub(crate) static ENTRY: Entry = Entry {
    names: &["exec", "org.apache.flume.source.ExecSource"],
    doc: "Runs a command and takes the lines that it prints.",
    keys: &[
        Key::new(
            "command",
            KeyKind::Text,
            "The command; without `shell` split at blanks, without quoting.",
        )
        .required(),
        Key::new(
            "shell",
            KeyKind::Text,
            "For example `/bin/sh -c`, split at blanks: the command becomes its last argument.",
        ),
        Key::new("restart", KeyKind::Flag, "Starts the command again when it ends.").or("false"),
        Key::new(
            "restartThrottle",
            KeyKind::Whole { min: 0, max: i64::MAX, replaced: false },
            "Milliseconds before that.",
        )
        .or("10000"),
        Key::new("logStdErr", KeyKind::Flag, "Logs the lines that it prints as errors.")
            .or("false"),
        Key::new(
            "batchSize",
            KeyKind::Whole { min: 1, max: MAX, replaced: false },
            "Events in one transaction at most.",
        )
        .or("20"),
        Key::new(
            "batchTimeout",
            KeyKind::Whole { min: 0, max: i64::MAX, replaced: false },
            "Known and not needed: lines never wait for more to come.",
        )
        .or("3000"),
        Key::new(
            "charset",
            KeyKind::Text,
            "Of the lines, by its name in Java; any with line ends as in ASCII. Bodies are the bytes as printed.",
        )
        .or("UTF-8"),
    ],
    batch_key: Some("batchSize"),
    verify: Some(verify),
    build: Build::Source(Placement::Shared, build),
};

/// A line longer than this comes in pieces. Flume reads it whole, and the agent runs out of memory.
const LINE_BYTES_MAX: usize = 8 << 20;

/// For what a command that has ended left in the pipe of its standard error.
const LAST_WORDS_WAIT: Duration = Duration::from_secs(1);

/// Between the polite signal and the other one.
const KILL_AFTER: Duration = Duration::from_secs(2);

struct Exec {
    program: String,
    arguments: Vec<String>,
    restart_after: Option<Duration>,
    log_stderr: bool,
    batch_events: usize,
}

fn verify(settings: &Settings) -> Vec<Problem> {
    let mut problems = Vec::new();
    let wrong = |why: &str, help: &str| Problem::new("charset", why).help(help);
    match settings.text("charset").and_then(Charset::by_name) {
        Some(charset) if charset.is_ascii_compatible() => {}
        Some(_) => problems.push(wrong(
            "its line ends are not those of ASCII",
            "let the command print UTF-8: `... | iconv -f UTF-16LE -t UTF-8`",
        )),
        None => problems.push(wrong("no charset that can be used has this name", CHARSET_HELP)),
    }
    if words(settings).is_empty() {
        problems.push(Problem::new("command", "there is nothing to run"));
    }
    problems
}

/// The program and its arguments.
fn words(settings: &Settings) -> Vec<String> {
    let command = settings.text("command").unwrap_or_default();
    match settings.text("shell") {
        Some(shell) => shell.split_whitespace().chain([command]).map(str::to_owned).collect(),
        None => command.split_whitespace().map(str::to_owned).collect(),
    }
}

fn build(settings: &Settings, _: &Parts) -> Result<Box<dyn Source>, ComponentError> {
    settings.sound(verify(settings))?;
    let mut words = words(settings);
    let throttle = Duration::from_millis(settings.whole("restartThrottle")?);
    Ok(Box::new(Exec {
        program: words.remove(0),
        arguments: words,
        restart_after: settings.flag("restart").then_some(throttle),
        log_stderr: settings.flag("logStdErr"),
        batch_events: usize::try_from(settings.whole("batchSize")?).unwrap_or(usize::MAX),
    }))
}

impl Source for Exec {
    fn run(self: Box<Self>, cx: SourceContext) -> BoxFuture<'static, Result<(), ComponentError>> {
        Box::pin(async move {
            loop {
                let mut group = Group::start(&self)?;
                let errors = self.log_errors(&cx, &mut group.child);
                cx.ready();
                let read = self.read(&cx, &mut group.child).await;
                if cx.stop.is_stopped() {
                    group.end().await;
                    last_words(errors, &cx.stop).await;
                    return Ok(());
                }
                if let Err(error) = read {
                    tracing::error!(source = %cx.name, %error, "cannot read what the command prints");
                }
                let status = group.wait(&cx).await;
                last_words(errors, &cx.stop).await;
                match self.restart_after {
                    _ if cx.stop.is_stopped() => return Ok(()),
                    Some(pause) if cx.stop.pause(pause).await => {}
                    Some(_) => return Ok(()),
                    None => {
                        say_dead(&cx.name, status.as_deref());
                        // Flume's source stays started and idle.
                        cx.stop.stopped().await;
                        return Ok(());
                    }
                }
            }
        })
    }
}

impl Exec {
    /// The program, for a message. An assignment in its place is a slip whose value may be a secret.
    fn shown(&self) -> String {
        match self.program.split_once('=') {
            Some((name, _)) => format!("`{name}=...` (an assignment needs `shell`)"),
            None => self.program.clone(),
        }
    }

    /// Reads what the command says on standard error, to its end, whether it is logged or not: a full pipe would stop the command.
    fn log_errors(&self, cx: &SourceContext, child: &mut Child) -> Option<JoinHandle<()>> {
        let stderr = child.stderr.take()?;
        Some(tokio::spawn(read_errors(stderr, Arc::clone(&cx.name), self.log_stderr)))
    }

    /// Takes lines until the command closes its output or the order to stop comes.
    async fn read(&self, cx: &SourceContext, child: &mut Child) -> std::io::Result<()> {
        let Some(mut stdout) = child.stdout.take() else { return Ok(()) };
        let mut lines = Lines::new(Ending::Any, LINE_BYTES_MAX);
        let mut put = Ok(());
        while put.is_ok() && fill(&mut stdout, &mut lines, &cx.stop).await? {
            put = put_lines(cx, self.batch_events, || lines.next()).await;
        }
        if put.is_ok() && !cx.stop.is_stopped() {
            // At the end of output a last line needs no end. The pipeline keeps it until there is room.
            put = put_lines(cx, 1, || lines.rest()).await;
        }
        if let Err(lost) = put {
            tracing::warn!(source = %cx.name, lines = lost,
                "the agent stops before its channels have room: lines that the command has printed are lost, and so is what is still \
                 in its pipe");
        }
        Ok(())
    }
}

/// The command has ended: what it has said of it is in its pipe. Who holds that pipe open still, away from its group, is not waited for.
async fn last_words(errors: Option<JoinHandle<()>>, stop: &Stop) {
    if let Some(mut errors) = errors
        && tokio::time::timeout(LAST_WORDS_WAIT, &mut errors).await.is_err()
        && stop.is_stopped()
    {
        errors.abort();
    }
}

/// Puts all that `next` gives, in transactions of at most `batch_events`. An error means that the agent stops: so many lines were not put.
async fn put_lines(
    cx: &SourceContext,
    batch_events: usize,
    mut next: impl FnMut() -> Option<Line>,
) -> Result<(), usize> {
    let mut events = || {
        let lines = std::iter::from_fn(&mut next).take(batch_events);
        lines.map(|line| Event::of_body(line.body)).collect::<Vec<_>>()
    };
    loop {
        let batch = events();
        let count = batch.len();
        if count == 0 {
            return Ok(());
        }
        if cx.pipeline.put(&mut PutBatch::of(batch), Retry::UntilStopped).await.is_err() {
            let rest = std::iter::from_fn(|| Some(events().len()).filter(|more| *more > 0));
            return Err(count + rest.sum::<usize>());
        }
    }
}

/// Reads what has arrived; false at the end and when the order to stop comes.
async fn fill(
    from: &mut (impl AsyncRead + Unpin),
    lines: &mut Lines,
    stop: &Stop,
) -> std::io::Result<bool> {
    if stop.is_stopped() {
        return Ok(false);
    }
    lines.buffer().reserve(READ_BYTES);
    tokio::select! {
        biased;
        len = from.read_buf(lines.buffer()) => Ok(len? > 0),
        () = stop.stopped() => Ok(false),
    }
}

const READ_BYTES: usize = 32 << 10;

async fn read_errors(mut from: impl AsyncRead + Unpin, source: Arc<str>, log: bool) {
    let mut lines = Lines::new(Ending::Any, LINE_BYTES_MAX.min(READ_BYTES));
    let say = |line: Line| {
        if log {
            tracing::error!(source = %source, line = %String::from_utf8_lossy(&line.body), "stderr");
        }
    };
    loop {
        lines.buffer().reserve(READ_BYTES);
        if from.read_buf(lines.buffer()).await.unwrap_or(0) == 0 {
            break;
        }
        while let Some(line) = lines.next() {
            say(line);
        }
    }
    // At the end a last line needs no end.
    while let Some(line) = lines.rest() {
        say(line);
    }
}

/// Nothing will come from this source any more. A command that failed was hardly meant to end.
fn say_dead(source: &Arc<str>, failed: Option<&str>) {
    match failed {
        Some(status) => tracing::warn!(%source, status,
            "the command failed and `restart` is false: this source brings nothing more until the agent is started again"),
        None => {
            tracing::info!(%source, "the command is done and `restart` is false: this source brings nothing more")
        }
    }
}

/// The command and everything it started.
struct Group {
    child: Child,
    /// `None` once the child is gone: its number may belong to somebody else.
    id: Option<Pid>,
}

impl Group {
    fn start(exec: &Exec) -> Result<Self, ComponentError> {
        let mut command = Command::new(&exec.program);
        command
            .args(&exec.arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        // A group of its own, so that a shell's children end with it.
        let child = command
            .process_group(0)
            .spawn()
            .map_err(|error| ComponentError(format!("cannot run {}: {error}", exec.shown())))?;
        let id = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        Ok(Self { child, id })
    }

    /// Waits for the command after it closed its output, and says how it ended; returns how, if it failed.
    async fn wait(&mut self, cx: &SourceContext) -> Option<String> {
        let failed = tokio::select! {
            status = self.child.wait() => match status {
                Ok(status) => {
                    tracing::info!(source = %cx.name, %status, "command ended");
                    (!status.success()).then(|| status.to_string())
                }
                Err(error) => {
                    tracing::error!(source = %cx.name, %error, "command ended");
                    Some(error.to_string())
                }
            },
            () = cx.stop.stopped() => {
                self.end().await;
                return None;
            }
        };
        self.id = None;
        failed
    }

    /// Ends the whole group.
    async fn end(&mut self) {
        self.signal(Signal::TERM);
        if tokio::time::timeout(KILL_AFTER, self.child.wait()).await.is_err() {
            self.signal(Signal::KILL);
        }
        // What the command left behind in its group.
        self.signal(Signal::KILL);
        self.id = None;
    }

    fn signal(&self, signal: Signal) {
        // The group may have ended by itself.
        if let Some(id) = self.id
            && kill_process_group(id, signal).is_err()
        {}
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}

#[cfg(test)]
mod tests;
