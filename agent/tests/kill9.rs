//! The promise, with real processes on a real disk: an agent that is killed at any moment loses no line, keeps their order, and doubles
//! at most the batch that was not committed.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends")]

use std::{
    fs::File,
    io::Write,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

const BATCH: u64 = 50;
const KILLS: u64 = 6;
const DEADLINE: Duration = Duration::from_secs(60);

fn conf(dir: &Path) -> String {
    let dir = dir.display();
    format!(
        "a1.sources = r1\na1.channels = c1\na1.sinks = k1\n\
         a1.sources.r1.type = TAILDIR\na1.sources.r1.filegroups = f1\n\
         a1.sources.r1.filegroups.f1 = {dir}/in/access\\\\.log\n\
         a1.sources.r1.positionFile = {dir}/positions.json\n\
         a1.sources.r1.batchSize = {BATCH}\na1.sources.r1.channels = c1\n\
         a1.channels.c1.type = file\na1.channels.c1.checkpointDir = {dir}/checkpoint\n\
         a1.channels.c1.dataDirs = {dir}/data1,{dir}/data2\na1.channels.c1.maxFileSize = 65536\n\
         a1.channels.c1.minimumRequiredSpace = 1048576\na1.channels.c1.checkpointInterval = 1000\n\
         a1.sinks.k1.type = file_roll\na1.sinks.k1.channel = c1\n\
         a1.sinks.k1.sink.directory = {dir}/out\na1.sinks.k1.sink.rollInterval = 0\n\
         a1.sinks.k1.sink.batchSize = {BATCH}\n"
    )
}

fn spawn(dir: &Path) -> Child {
    let log = File::options().create(true).append(true).open(dir.join("log")).unwrap();
    Command::new(env!("CARGO_BIN_EXE_fchannel"))
        .args(["agent", "-n", "a1", "-f"])
        .arg(dir.join("a1.conf"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .unwrap()
}

/// The whole lines of each output file, oldest file first, and how many files end in half a line.
fn delivered(dir: &Path) -> (Vec<Vec<u64>>, u64) {
    let mut paths: Vec<_> =
        std::fs::read_dir(dir.join("out")).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let mut torn = 0;
    let lines = paths
        .iter()
        .map(|path| {
            let bytes = std::fs::read(path).unwrap();
            let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
            torn += u64::from(whole < bytes.len());
            let text = std::str::from_utf8(&bytes[..whole]).unwrap();
            text.lines().map(|line| line.split(' ').next().unwrap().parse().unwrap()).collect()
        })
        .collect();
    (lines, torn)
}

fn last_delivered(dir: &Path) -> u64 {
    delivered(dir).0.iter().flatten().max().map_or(0, |last| last + 1)
}

#[test]
fn a_killed_agent_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    for part in ["in", "out"] {
        std::fs::create_dir(dir.join(part)).unwrap();
    }
    std::fs::write(dir.join("a1.conf"), conf(dir)).unwrap();
    let mut input = File::create(dir.join("in/access.log")).unwrap();
    let start = Instant::now();
    let mut agent = spawn(dir);
    let (mut written, mut kills) = (0, 0);
    let mut next_kill = 700;
    while kills < KILLS {
        assert!(start.elapsed() < DEADLINE, "see {}", dir.display());
        // Never a pause: the agent is behind, so that each kill meets work in flight.
        if written < last_delivered(dir) + 4_000 {
            let lines: String = (written..written + 500)
                .map(|number| format!("{number:08} a line of a log\n"))
                .collect();
            input.write_all(lines.as_bytes()).unwrap();
            written += 500;
        }
        if last_delivered(dir) >= next_kill {
            agent.kill().unwrap();
            agent.wait().unwrap();
            kills += 1;
            // An odd distance, so that the kills fall into different phases of a batch.
            next_kill = last_delivered(dir) + 311 * kills;
            agent = spawn(dir);
        }
    }
    while last_delivered(dir) < written {
        assert!(start.elapsed() < DEADLINE, "{} of {written} delivered", last_delivered(dir));
        std::thread::yield_now();
    }
    agent.kill().unwrap();
    agent.wait().unwrap();

    let (files, torn) = delivered(dir);
    let mut next = 0;
    for lines in files.iter().filter(|lines| !lines.is_empty()) {
        // A run begins with the batch that the run before did not commit.
        assert!(
            lines[0] <= next && next - lines[0] <= BATCH,
            "a run begins with {}, expected about {next}",
            lines[0]
        );
        assert!(
            lines.windows(2).all(|pair| pair[1] == pair[0] + 1),
            "a run is without gaps and in order"
        );
        next = next.max(lines[lines.len() - 1] + 1);
    }
    assert_eq!(next, written, "every line was delivered");
    assert!(torn <= KILLS + 1);
}

/// A disk error stopped the channel, and the agent waited for ever, then said that it had stopped as ordered. A limit on the size of files
/// stands for the disk error.
#[test]
fn an_agent_whose_channel_has_stopped_itself_ends_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let conf = format!(
        "a1.sources = r1\na1.channels = c1\na1.sinks = k1\n\
         a1.sources.r1.type = seq\na1.sources.r1.batchSize = 100\na1.sources.r1.channels = c1\n\
         a1.channels.c1.type = file\na1.channels.c1.checkpointDir = {0}/ck\na1.channels.c1.dataDirs = {0}/data\n\
         a1.channels.c1.minimumRequiredSpace = 1048576\n\
         a1.sinks.k1.type = null\na1.sinks.k1.channel = c1\n",
        dir.path().display()
    );
    std::fs::write(dir.path().join("a1.conf"), conf).unwrap();
    // SIGXFSZ is ignored, so that a write beyond 4 MiB fails with EFBIG.
    let mut agent = Command::new("sh")
        .args(["-c", "trap '' XFSZ; ulimit -f 8192; exec \"$0\" agent -n a1 -f \"$1\""])
        .arg(env!("CARGO_BIN_EXE_fchannel"))
        .arg(dir.path().join("a1.conf"))
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut log = String::new();
    std::io::Read::read_to_string(&mut agent.stderr.take().unwrap(), &mut log).unwrap();
    assert_eq!(agent.wait().unwrap().code(), Some(1), "{log}");
    assert!(log.contains("the agent ends, and a restart recovers"), "{log}");
}
