//! The load: one thread writes numbered lines into many connections, as fast as they take them.

use super::cpu_seconds;
use crate::shell::Answer;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::{
    io::{ErrorKind, Write},
    net::{SocketAddr, TcpStream},
    path::Path,
    time::{Duration, Instant},
};

/// What the agent takes off each line.
pub(super) const HEAD: &str = "<38>2026-01-02T03:04:05 host ";
/// Behind it: `load: <connection> <line> xxx...`.
const WORD: &str = "load: ";
const CONNECTION_DIGITS: usize = 5;
const LINE_DIGITS: usize = 10;
const LINE_BYTES_MIN: usize = HEAD.len() + WORD.len() + CONNECTION_DIGITS + LINE_DIGITS + 4;
/// Lines of one write.
const LINES: usize = 64;
/// How long to wait for a socket to take something before the clock is looked at.
const WAIT: Timespec = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };

/// How much, and in how many connections.
#[derive(Clone, Copy)]
pub(super) struct Shape {
    pub(super) connections: usize,
    pub(super) line_bytes: usize,
    pub(super) duration: Duration,
}

/// What went in.
pub(super) struct Sent {
    /// Lines of each connection.
    pub(super) of_connection: Vec<u64>,
    /// Whole lines that the sockets took in time.
    accepted: u64,
    took: Duration,
    pub(super) cpu_s: f64,
}

impl Sent {
    pub(super) fn lines(&self) -> u64 {
        self.of_connection.iter().sum()
    }

    pub(super) fn accepted_per_s(&self) -> f64 {
        self.accepted as f64 / self.took.as_secs_f64()
    }
}

pub(super) struct Load {
    shape: Shape,
    address: SocketAddr,
}

struct Connection {
    stream: TcpStream,
    /// [`LINES`] lines, and how far they are written.
    buffer: Vec<u8>,
    written: usize,
    /// Lines of earlier buffers.
    lines: u64,
}

impl Load {
    pub(super) fn new(shape: Shape, address: SocketAddr) -> Self {
        Self { shape, address }
    }

    pub(super) fn run(&self) -> Answer<Sent> {
        if self.shape.line_bytes < LINE_BYTES_MIN {
            return Err(format!("a line has {LINE_BYTES_MIN} bytes at least").into());
        }
        let connections = (0..self.shape.connections).map(|index| self.connect(index));
        let mut connections = connections.collect::<Answer<Vec<_>>>()?;
        let stat = Path::new("/proc/thread-self/stat");
        let (started, cpu) = (Instant::now(), cpu_seconds(stat)?);
        while started.elapsed() < self.shape.duration {
            for index in writable(&connections)? {
                if let Some(connection) = connections.get_mut(index) {
                    connection.write(self.shape.line_bytes)?;
                }
            }
        }
        let took = started.elapsed();
        let line_bytes = self.shape.line_bytes;
        let accepted = connections.iter().map(|one| one.lines(line_bytes)).sum();
        let of_connection = connections.into_iter().map(|one| one.finish(line_bytes));
        let of_connection = of_connection.collect::<Answer<_>>()?;
        Ok(Sent { of_connection, accepted, took, cpu_s: cpu_seconds(stat)? - cpu })
    }

    fn connect(&self, index: usize) -> Answer<Connection> {
        let stream = TcpStream::connect(self.address)?;
        stream.set_nonblocking(true)?;
        let (wide, deep) = (CONNECTION_DIGITS, LINE_DIGITS);
        let mut line = format!("{HEAD}{WORD}{index:0wide$} {:0deep$} ", 0).into_bytes();
        line.resize(self.shape.line_bytes - 1, b'x');
        line.push(b'\n');
        let mut connection =
            Connection { stream, buffer: line.repeat(LINES), written: 0, lines: 0 };
        connection.number(self.shape.line_bytes);
        Ok(connection)
    }
}

/// The connections that take something now.
fn writable(connections: &[Connection]) -> Answer<Vec<usize>> {
    let mut fds: Vec<_> =
        connections.iter().map(|one| PollFd::new(&one.stream, PollFlags::OUT)).collect();
    poll(&mut fds, Some(&WAIT))?;
    let ready = fds.iter().enumerate().filter(|(_, fd)| !fd.revents().is_empty());
    Ok(ready.map(|(index, _)| index).collect())
}

impl Connection {
    /// The lines that are wholly written.
    fn lines(&self, line_bytes: usize) -> u64 {
        self.lines + (self.written / line_bytes) as u64
    }

    /// Puts the numbers of the next lines into the buffer.
    fn number(&mut self, line_bytes: usize) {
        let at = HEAD.len() + WORD.len() + CONNECTION_DIGITS + 1;
        for (line, number) in self.buffer.chunks_mut(line_bytes).zip(self.lines..) {
            let mut rest = number;
            for digit in line.iter_mut().skip(at).take(LINE_DIGITS).rev() {
                *digit = b'0' + u8::try_from(rest % 10).unwrap_or_default();
                rest /= 10;
            }
        }
    }

    /// Writes once; what the socket does not take is for the next time.
    fn write(&mut self, line_bytes: usize) -> Answer<()> {
        let rest = self.buffer.get(self.written..).unwrap_or_default();
        match self.stream.write(rest) {
            Ok(written) => self.written += written,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error.into()),
        }
        if self.written == self.buffer.len() {
            self.lines += LINES as u64;
            self.written = 0;
            self.number(line_bytes);
        }
        Ok(())
    }

    /// Ends the line that is half written, and the connection; how many lines it had.
    fn finish(mut self, line_bytes: usize) -> Answer<u64> {
        self.stream.set_nonblocking(false)?;
        let end = self.written.next_multiple_of(line_bytes);
        self.stream.write_all(self.buffer.get(self.written..end).unwrap_or_default())?;
        self.written = end;
        Ok(self.lines(line_bytes))
    }
}

/// The connection and the number of a line, as it was delivered.
pub(super) fn numbers(line: &[u8]) -> Option<(usize, u64)> {
    let mut words = std::str::from_utf8(line).ok()?.strip_prefix(WORD)?.split(' ');
    Some((words.next()?.parse().ok()?, words.next()?.parse().ok()?))
}
