//! `cargo x shippers`: the agent as a syslog server, `syslogtcp` -> file channel (fsync on every commit) -> `file_roll` (synced before its
//! takes commit), as fast as it takes lines.
//!
//! Alone it drives its own load: one thread, many connections; and it holds what comes out against what went in. With `--bench COMMAND` it
//! runs a comparison with other shippers instead, in whose environment `OWN_CMD` starts this agent: on `127.0.0.1:$PORT`, writing below
//! `$OUT`, with its channel in `$DIR`.

mod load;

use crate::{
    shell::{Answer, Arguments, must, scratch},
    weblog::agent_binary,
};
use load::{Load, Shape};
use rustix::param::clock_ticks_per_second;
use std::{
    collections::BTreeMap,
    env, fs,
    io::{BufRead, BufReader, Write},
    net::{SocketAddr, TcpStream},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, ChildStderr, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

/// Events in one transaction of the sink: the default `transactionCapacity`.
const SINK_BATCH: usize = 10_000;
const STARTS: usize = 5;
/// Without a byte more in the output for so long, the rest is lost.
const PATIENCE: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_micros(500);
const IDLE: Duration = Duration::from_secs(1);

pub(crate) fn run(arguments: &Arguments) -> Answer<()> {
    let agent = agent_binary(arguments)?;
    if arguments.has("--own") {
        return be_the_agent(&agent);
    }
    match arguments.values("--bench").next() {
        Some(command) => compare(&agent, command),
        None => measure(&agent, arguments),
    }
}

/// Runs a comparison that starts this agent as one of several.
fn compare(agent: &Path, command: &str) -> Answer<()> {
    let quoted = |path: &Path| format!("'{}'", path.display().to_string().replace('\'', r"'\''"));
    let own = format!("{} shippers --own --agent {}", quoted(&env::current_exe()?), quoted(agent));
    must(Command::new("sh").args(["-c", command]).env("OWN_CMD", own))
}

/// Becomes the agent that a comparison wants.
fn be_the_agent(agent: &Path) -> Answer<()> {
    let variable = |name: &str| env::var(name).map_err(|_| format!("`{name}` is not set"));
    let (dir, out) = (PathBuf::from(variable("DIR")?), PathBuf::from(variable("OUT")?));
    let conf = write_conf(&dir, &out, variable("PORT")?.parse()?)?;
    Err(Command::new(agent).args(["agent", "-n", "a1", "-f"]).arg(conf).exec().into())
}

/// What one would write for Flume.
fn write_conf(dir: &Path, out: &Path, port: u16) -> Answer<PathBuf> {
    let conf = dir.join("a1.conf");
    let text = format!(
        "a1.sources = r1\na1.channels = c1\na1.sinks = k1\n\n\
         a1.sources.r1.type = syslogtcp\na1.sources.r1.host = 127.0.0.1\na1.sources.r1.port = {port}\n\
         a1.sources.r1.channels = c1\n\n\
         a1.channels.c1.type = file\na1.channels.c1.capacity = 10000000\n\
         a1.channels.c1.checkpointDir = {dir}/checkpoint\na1.channels.c1.dataDirs = {dir}/data\n\n\
         a1.sinks.k1.type = file_roll\na1.sinks.k1.sink.directory = {out}\na1.sinks.k1.sink.rollInterval = 0\n\
         a1.sinks.k1.sink.batchSize = {SINK_BATCH}\na1.sinks.k1.channel = c1\n",
        dir = dir.display(),
        out = out.display(),
    );
    fs::write(&conf, text)?;
    Ok(conf)
}

fn measure(agent: &Path, arguments: &Arguments) -> Answer<()> {
    let shape = Shape {
        connections: usize::try_from(arguments.number("--connections", 100)?)?,
        line_bytes: usize::try_from(arguments.number("--size", 500)?)?,
        duration: Duration::from_secs(arguments.number("--seconds", 5)?),
    };
    let dir = scratch("shippers")?;
    let mut starts = Vec::new();
    for start in 0..STARTS {
        let server = Server::start(agent, &dir.join(format!("start-{start}")))?;
        starts.push(server.first_event()?);
        server.stop()?;
    }
    starts.sort_unstable();
    let server = Server::start(agent, &dir.join("load"))?;
    thread::park_timeout(IDLE);
    let idle_kib = server.memory_kib("VmRSS:")?;
    let cpu_before = cpu_seconds(&server.stat())?;
    let started = Instant::now();
    let sent = Load::new(shape, server.address).run()?;
    let body_bytes = shape.line_bytes - load::HEAD.len();
    let delivered = server.wait_for(sent.lines() * body_bytes as u64)?.duration_since(started);
    let cpu = cpu_seconds(&server.stat())? - cpu_before;
    let peak_kib = server.memory_kib("VmHWM:")?;
    let out = server.out.clone();
    server.stop()?;
    println!(
        "{} connections, lines of {} bytes, {} s, the generator beside the agent on {} cores:",
        shape.connections,
        shape.line_bytes,
        shape.duration.as_secs(),
        thread::available_parallelism()?
    );
    println!("accepted by the sockets      {:>9.0} lines/s", sent.accepted_per_s());
    println!(
        "delivered, synced, committed {:>9.0} lines/s ({} lines)",
        sent.lines() as f64 / delivered.as_secs_f64(),
        sent.lines()
    );
    println!(
        "CPU, agent                   {cpu:>9.2} s ({:.2} us a line)",
        cpu * 1e6 / sent.lines() as f64
    );
    println!("CPU, generator               {:>9.2} s", sent.cpu_s);
    println!("peak RSS                     {:>9.1} MiB", mib(peak_kib));
    println!("idle RSS                     {:>9.1} MiB", mib(idle_kib));
    let at = |index: usize| starts.get(index).map_or(0.0, |time| time.as_secs_f64() * 1e3);
    println!(
        "start to first line in file  {:>9.1} ms (median of {STARTS}, {:.1} to {:.1})",
        at(STARTS / 2),
        at(0),
        at(STARTS - 1)
    );
    let answer = check(&out, &sent.of_connection);
    fs::remove_dir_all(&dir)?;
    answer
}

fn mib(kib: u64) -> f64 {
    kib as f64 / 1024.0
}

/// Every line that went in is there, in the order of its connection, once.
fn check(out: &Path, sent: &[u64]) -> Answer<()> {
    let mut next: BTreeMap<usize, u64> = BTreeMap::new();
    for file in fs::read_dir(out)? {
        for line in BufReader::new(fs::File::open(file?.path())?).split(b'\n') {
            let line = line?;
            let (connection, number) = load::numbers(&line)
                .ok_or_else(|| format!("nobody sent {:?}", String::from_utf8_lossy(&line)))?;
            let wanted = next.entry(connection).or_default();
            if *wanted != number {
                return Err(format!("connection {connection}: line {number}, not {wanted}").into());
            }
            *wanted += 1;
        }
    }
    for (connection, lines) in sent.iter().enumerate() {
        let there = next.get(&connection).copied().unwrap_or_default();
        if there != *lines {
            return Err(format!("connection {connection}: {there} lines of {lines}").into());
        }
    }
    println!("every line is there once, in the order of its connection");
    Ok(())
}

/// A running agent.
struct Server {
    child: Child,
    /// Held open: the log has a reader.
    _log: BufReader<ChildStderr>,
    address: SocketAddr,
    out: PathBuf,
    started: Instant,
}

impl Server {
    fn start(agent: &Path, dir: &Path) -> Answer<Self> {
        let out = dir.join("out");
        fs::create_dir_all(&out)?;
        let conf = write_conf(dir, &out, 0)?;
        let started = Instant::now();
        let mut child = Command::new(agent)
            .args(["agent", "-n", "a1", "-f"])
            .arg(conf)
            .stderr(Stdio::piped())
            .spawn()?;
        let mut log = BufReader::new(child.stderr.take().ok_or("no pipe")?);
        let mut line = String::new();
        while log.read_line(&mut line)? > 0 {
            if let Some((_, address)) = line.split_once("source listening source=r1 address=") {
                let address = address.trim().parse()?;
                return Ok(Self { child, _log: log, address, out, started });
            }
            line.clear();
        }
        Err(format!("the agent ended: {}", child.wait()?).into())
    }

    /// From the start of the process to a line in its file.
    fn first_event(&self) -> Answer<Duration> {
        let mut stream = TcpStream::connect(self.address)?;
        stream.write_all(b"<38>first\n")?;
        self.wait_for(1)?;
        Ok(self.started.elapsed())
    }

    /// When so many bytes are in the output.
    fn wait_for(&self, bytes: u64) -> Answer<Instant> {
        let (mut last, mut last_at) = (0, Instant::now());
        loop {
            let mut there = 0;
            for file in fs::read_dir(&self.out)? {
                there += file?.metadata()?.len();
            }
            if there >= bytes {
                return Ok(Instant::now());
            }
            if there != last {
                (last, last_at) = (there, Instant::now());
            } else if last_at.elapsed() > PATIENCE {
                return Err(format!("{there} bytes of {bytes} were delivered").into());
            }
            thread::park_timeout(POLL);
        }
    }

    fn stat(&self) -> PathBuf {
        format!("/proc/{}/stat", self.child.id()).into()
    }

    fn memory_kib(&self, name: &str) -> Answer<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let number = line.and_then(|line| line.split_whitespace().next()).ok_or("no such line")?;
        Ok(number.parse()?)
    }

    fn stop(mut self) -> Answer<()> {
        must(Command::new("kill").arg(self.child.id().to_string()))?;
        let status = self.child.wait()?;
        if status.success() { Ok(()) } else { Err(format!("the agent ended: {status}").into()) }
    }
}

impl Drop for Server {
    /// Nothing of what went wrong may leave an agent behind; one that has ended is not killed twice.
    fn drop(&mut self) {
        drop((self.child.kill(), self.child.wait()));
    }
}

/// What a process or a thread has used, in user and system mode.
fn cpu_seconds(stat: &Path) -> Answer<f64> {
    let text = fs::read_to_string(stat)?;
    let fields = text.rsplit(')').next().unwrap_or_default();
    let ticks: Vec<u64> =
        fields.split_whitespace().skip(11).take(2).map(str::parse).collect::<Result<_, _>>()?;
    Ok(ticks.iter().sum::<u64>() as f64 / clock_ticks_per_second() as f64)
}
