//! `cargo x latency`: how long a netcat event takes through an idle agent with a file channel and a logger sink.
//!
//! From the write into the socket to the log line in our hands; one event at a time, with pauses, beside the disk's own fdatasync.

use crate::shell::{Answer, Arguments, cargo, must, root, scratch};
use std::{
    fs::{self, File},
    io::{BufRead, BufReader, Write},
    net::TcpStream,
    path::Path,
    process::{Child, ChildStderr, Command, Stdio},
    sync::{Condvar, Mutex},
    time::{Duration, Instant},
};

/// Between two events: the agent is idle again, and so is the disk.
const PAUSE: Duration = Duration::from_millis(5);

pub(crate) fn run(arguments: &Arguments) -> Answer<()> {
    let events = arguments.number("--events", 500)?;
    must(&mut cargo(&["build", "--quiet", "--release", "--package", "fchannel-agent"]))?;
    let dir = scratch("latency")?;
    fs::write(dir.join("a1.conf"), conf(&dir))?;
    let mut agent = Agent::start(&dir)?;
    let (mut delivered, mut synced) = (Vec::new(), Vec::new());
    let mut file = File::create(dir.join("floor"))?;
    for event in 0..events {
        pause();
        delivered.push(agent.deliver(event)?);
        pause();
        let started = Instant::now();
        file.write_all(&[7; 128])?;
        file.sync_data()?;
        synced.push(started.elapsed());
    }
    agent.stop()?;
    println!(
        "{events} events, one at a time, netcat -> file channel (fsync on every commit) -> logger:"
    );
    println!("socket write to log line   {}", percentiles(delivered));
    println!("append + fdatasync alone   {}", percentiles(synced));
    fs::remove_dir_all(&dir)?;
    Ok(())
}

fn pause() {
    let guard = Mutex::new(());
    if let Ok(guard) = guard.lock() {
        drop(Condvar::new().wait_timeout(guard, PAUSE));
    }
}

fn percentiles(mut all: Vec<Duration>) -> String {
    all.sort_unstable();
    let at = |percent: usize| {
        all.get((all.len() * percent / 100).min(all.len().saturating_sub(1)))
            .map_or(0, Duration::as_micros)
    };
    format!("p50 {:>6} us   p99 {:>6} us", at(50), at(99))
}

fn conf(dir: &Path) -> String {
    let dir = dir.display();
    format!(
        "a1.sources = r1\na1.channels = c1\na1.sinks = k1\n\
         a1.sources.r1.type = netcat\na1.sources.r1.bind = 127.0.0.1\na1.sources.r1.port = 0\na1.sources.r1.channels = c1\n\
         a1.channels.c1.type = file\na1.channels.c1.checkpointDir = {dir}/checkpoint\na1.channels.c1.dataDirs = {dir}/data\n\
         a1.channels.c1.minimumRequiredSpace = 1048576\n\
         a1.sinks.k1.type = logger\na1.sinks.k1.channel = c1\na1.sinks.k1.maxBytesToLog = 64\n"
    )
}

struct Agent {
    child: Child,
    log: BufReader<ChildStderr>,
    socket: TcpStream,
}

impl Agent {
    fn start(dir: &Path) -> Answer<Self> {
        let target =
            std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), Into::into);
        let mut child = Command::new(target.join("release/fchannel"))
            .args(["agent", "-n", "a1", "-f"])
            .arg(dir.join("a1.conf"))
            .stderr(Stdio::piped())
            .spawn()?;
        let mut log = BufReader::new(child.stderr.take().ok_or("no pipe")?);
        let line = line_with(&mut log, "address=127.0.0.1:")?;
        let port = line.rsplit("address=127.0.0.1:").next().unwrap_or_default().trim();
        let port: u16 = port.split_whitespace().next().unwrap_or_default().parse()?;
        let socket = TcpStream::connect(("127.0.0.1", port))?;
        socket.set_nodelay(true)?;
        Ok(Self { child, log, socket })
    }

    /// Sends one event and waits for its line in the log.
    fn deliver(&mut self, event: u64) -> Answer<Duration> {
        let started = Instant::now();
        writeln!(self.socket, "event {event}")?;
        line_with(&mut self.log, "Event: {")?;
        Ok(started.elapsed())
    }

    fn stop(mut self) -> Answer<()> {
        must(Command::new("kill").arg(self.child.id().to_string()))?;
        self.child.wait()?;
        Ok(())
    }
}

/// The next line that contains `text`.
fn line_with(log: &mut impl BufRead, text: &str) -> Answer<String> {
    let mut line = String::new();
    while log.read_line(&mut line)? > 0 {
        if line.contains(text) {
            return Ok(line);
        }
        line.clear();
    }
    Err(format!("the agent ended before it logged {text:?}").into())
}
