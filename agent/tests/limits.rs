//! What the operating system refuses to a real agent: a channel that another one has, one more file, one more thread.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends")]

use std::{
    io::{BufRead, BufReader, Read},
    path::Path,
    process::{Child, ChildStderr, Command, Output, Stdio},
};

fn write_conf(dir: &Path) {
    let dir_name = dir.display();
    let conf = format!(
        "a1.sources = r1\na1.channels = c1\na1.sinks = k1\n\
         a1.sources.r1.type = netcat\na1.sources.r1.bind = 127.0.0.1\na1.sources.r1.port = 0\na1.sources.r1.channels = c1\n\
         a1.channels.c1.type = file\na1.channels.c1.checkpointDir = {dir_name}/checkpoint\n\
         a1.channels.c1.dataDirs = {dir_name}/data\na1.channels.c1.minimumRequiredSpace = 1048576\n\
         a1.sinks.k1.type = null\na1.sinks.k1.channel = c1\n"
    );
    std::fs::write(dir.join("a1.conf"), conf).unwrap();
}

/// The agent, behind these words of a shell: limits on it.
fn agent(dir: &Path, limits: &str) -> Command {
    let mut command = Command::new("sh");
    command
        .args(["-c", &format!("{limits} \"$0\" agent -n a1 -f \"$1\"")])
        .arg(env!("CARGO_BIN_EXE_fchannel"))
        .arg(dir.join("a1.conf"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    command
}

fn run(dir: &Path, limits: &str) -> (Output, String) {
    let output = agent(dir, limits).output().unwrap();
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    (output, log)
}

struct Running {
    child: Child,
    log: BufReader<ChildStderr>,
}

impl Running {
    fn start(dir: &Path) -> Self {
        let mut child = agent(dir, "exec").spawn().unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        while !line.contains("agent started") {
            line.clear();
            assert!(log.read_line(&mut line).unwrap() > 0, "the agent ended");
        }
        Self { child, log }
    }

    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.log.read_to_string(&mut String::new()).unwrap();
    }
}

#[test]
fn a_second_agent_on_a_channel_is_kept_out_with_the_holders_pid_and_exit_5() {
    let dir = tempfile::tempdir().unwrap();
    write_conf(dir.path());
    let first = Running::start(dir.path());
    let (output, log) = run(dir.path(), "exec");
    assert_eq!(output.status.code(), Some(5), "{log}");
    assert!(log.contains(&format!("process {} holds the lock", first.child.id())), "{log}");
    first.kill();
    // The lock went with the process, however it ended.
    Running::start(dir.path()).kill();
}

/// With no descriptors to spare, an agent says so and ends, and what is there stays whole.
#[test]
fn an_agent_without_descriptors_ends_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    write_conf(dir.path());
    Running::start(dir.path()).kill();
    let mut refused = 0;
    for files in 8..40 {
        let (output, log) = run(dir.path(), &format!("ulimit -n {files}; exec timeout 1"));
        match output.status.code() {
            // 101: the runtime below it panics where it cannot make its own pipe.
            Some(1 | 101) => refused += 1,
            // It found enough, lived, and was ended in order.
            Some(124) => break,
            other => panic!("{files} files: {other:?}, {log}"),
        }
        assert!(log.contains("Too many open files"), "{files} files: {log}");
    }
    assert!(refused > 0, "no limit was low enough");
    Running::start(dir.path()).kill();
}
