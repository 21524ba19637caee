//! The way of the log to standard error: past a queue, so that nobody waits for whoever reads it.
//!
//! A reader that has stopped would otherwise stop the agent, and with it the order to stop. What does not fit into the queue is dropped and
//! counted, and the count is said as soon as somebody reads again. Only the lines of the logger sink are written at once: they are events,
//! which must not count as delivered before they are, and its thread is the only one that waits then.

use crate::sync::lock;
use std::{
    cell::Cell,
    collections::VecDeque,
    io::{self, Write},
    sync::{Arc, Condvar, Mutex, OnceLock},
    time::{Duration, Instant},
};
use tracing::Metadata;
use tracing_subscriber::fmt::MakeWriter;

/// Where Flume logs the events of a logger sink: a filter that names it goes on working.
pub(crate) const EVENTS_TARGET: &str = "org.apache.flume.sink.LoggerSink";

const QUEUE_BYTES_MAX: usize = 4 << 20;

/// The queue of this process, if its log was started.
static QUEUE: OnceLock<Arc<Queue>> = OnceLock::new();

thread_local! {
    /// True on the thread that writes: what it says itself always finds room.
    static IS_WRITER: Cell<bool> = const { Cell::new(false) };
}

/// Between two sayings of how many lines were dropped, while somebody reads, but too slowly.
const TELL_EVERY: Duration = Duration::from_secs(10);

struct Queue {
    bytes_max: usize,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    lines: VecDeque<Vec<u8>>,
    bytes: usize,
    /// Lines that found no room and of which nothing was said yet.
    dropped: u64,
    is_writing: bool,
    /// Lines written.
    written: u64,
}

impl Queue {
    fn new(bytes_max: usize) -> Arc<Self> {
        Arc::new(Self { bytes_max, state: Mutex::default(), changed: Condvar::new() })
    }

    fn push(&self, line: &[u8]) {
        let mut state = lock(&self.state);
        if state.bytes + line.len() > self.bytes_max && !IS_WRITER.get() {
            state.dropped += 1;
            return;
        }
        state.bytes += line.len();
        state.lines.push_back(line.to_vec());
        drop(state);
        self.changed.notify_all();
    }

    /// Writes what comes, for ever. `tell` hears how many lines were dropped, once half of the queue is free again or from time to time.
    fn write_all(&self, mut to: impl FnMut(&[u8]), tell: impl Fn(u64)) -> ! {
        IS_WRITER.set(true);
        let mut told = Instant::now();
        loop {
            let mut state = lock(&self.state);
            let line = loop {
                match state.lines.pop_front() {
                    Some(line) => break line,
                    None => state = wait(&self.changed, state),
                }
            };
            state.bytes -= line.len();
            state.is_writing = true;
            drop(state);
            to(&line);
            let mut state = lock(&self.state);
            state.is_writing = false;
            state.written += 1;
            let is_time = state.bytes <= self.bytes_max / 2 || told.elapsed() >= TELL_EVERY;
            let dropped = if is_time { std::mem::take(&mut state.dropped) } else { 0 };
            drop(state);
            if dropped > 0 {
                tell(dropped);
                told = Instant::now();
            }
            self.changed.notify_all();
        }
    }

    /// Waits until all is written; gives up when nothing was for so long.
    fn flush(&self, patience: Duration) {
        let mut state = lock(&self.state);
        let (mut written, mut until) = (state.written, Instant::now() + patience);
        while state.is_writing || !state.lines.is_empty() {
            if state.written > written {
                (written, until) = (state.written, Instant::now() + patience);
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            let waited = self.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(std::sync::PoisonError::into_inner).0;
        }
    }
}

fn wait<'a, T>(
    changed: &Condvar,
    guard: std::sync::MutexGuard<'a, T>,
) -> std::sync::MutexGuard<'a, T> {
    changed.wait(guard).unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Waits until the log is written, but not for a reader that has stopped: gives up when nothing was written for `patience`.
pub(crate) fn flush(patience: Duration) {
    if let Some(queue) = QUEUE.get() {
        queue.flush(patience);
    }
}

/// What the subscriber writes to. Starts the thread that writes.
pub(crate) fn writer() -> Log {
    if QUEUE.get().is_none() {
        let queue = Queue::new(QUEUE_BYTES_MAX);
        let of_thread = Arc::clone(&queue);
        let body = move || of_thread.write_all(write_now, tell_dropped);
        // Without a thread all is written at once.
        if std::thread::Builder::new().name("log".to_owned()).spawn(body).is_ok() {
            QUEUE.get_or_init(|| queue);
        }
    }
    Log(QUEUE.get().cloned())
}

fn write_now(line: &[u8]) {
    // If even that fails there is nobody left to tell.
    if io::stderr().lock().write_all(line).is_err() {}
}

fn tell_dropped(lines: u64) {
    tracing::warn!(lines, "nobody read the log for a while: so many of its lines were dropped");
}

/// Makes a writer for each line.
pub(crate) struct Log(Option<Arc<Queue>>);

/// The writer of one line, which comes in one piece.
pub(crate) struct Line(Option<Arc<Queue>>);

impl<'a> MakeWriter<'a> for Log {
    type Writer = Line;

    fn make_writer(&'a self) -> Line {
        Line(self.0.clone())
    }

    fn make_writer_for(&'a self, meta: &Metadata<'_>) -> Line {
        if meta.target() == EVENTS_TARGET { Line(None) } else { self.make_writer() }
    }
}

impl Write for Line {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        match &self.0 {
            Some(queue) => queue.push(line),
            None => write_now(line),
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[test]
    fn what_nobody_reads_is_dropped_and_counted_and_nobody_waits() {
        let queue = Queue::new(50);
        let (written, read) = mpsc::sync_channel::<String>(0);
        let of_thread = Arc::clone(&queue);
        std::thread::spawn(move || {
            let told = Arc::clone(&of_thread);
            of_thread.write_all(
                |line| written.send(String::from_utf8_lossy(line).into_owned()).unwrap_or_default(),
                |dropped| told.push(format!("{dropped} dropped").as_bytes()),
            )
        });
        for number in 0..100 {
            queue.push(format!("line {number:05}").as_bytes());
        }
        queue.flush(Duration::from_millis(50));
        let mut lines = Vec::new();
        while !lines.last().is_some_and(|line: &String| line.ends_with("dropped")) {
            lines.push(read.recv_timeout(Duration::from_secs(10)).unwrap());
        }
        // Five fit, and one more if the thread had taken the first one by then.
        let kept = lines.len() - 1;
        assert!(kept == 5 || kept == 6, "{lines:?}");
        assert_eq!(lines[kept], format!("{} dropped", 100 - kept));
        assert!(lines[..kept].is_sorted());
        queue.push(b"again");
        assert_eq!(read.recv_timeout(Duration::from_secs(10)).unwrap(), "again");
        queue.flush(Duration::from_secs(10));
        assert!(lock(&queue.state).lines.is_empty());
    }
}
