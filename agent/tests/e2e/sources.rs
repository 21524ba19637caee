//! Real input through the whole agent: sockets, files, child processes; and what happens when sinks are slow or absent.

use crate::common::{Running, agent, collector, kept, memory, sink, source};
use std::{
    fs,
    io::{BufRead, BufReader, Write},
    net::{TcpStream, UdpSocket},
    path::Path,
    time::{Duration, Instant},
};

fn bodies(under: &str, events: usize) -> Vec<String> {
    kept(under, events).into_iter().map(|(_, body)| body).collect()
}

fn append(path: &Path, text: &str) {
    fs::OpenOptions::new()
        .append(true)
        .create(true)
        .open(path)
        .unwrap()
        .write_all(text.as_bytes())
        .unwrap();
}

/// All text in the files of a directory, in the order of their names.
fn text_in(directory: &Path) -> String {
    let mut paths: Vec<_> =
        fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.iter().map(|path| fs::read_to_string(path).unwrap()).collect()
}

#[test]
fn netcat_to_file_roll_is_on_disk_when_the_agent_has_stopped() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(agent(
        vec![memory("c1", &[])],
        vec![source("r1", "netcat", &[("bind", "127.0.0.1"), ("port", "0")], &["c1"])],
        vec![sink("k1", "file_roll", &[("sink.directory", dir.path().to_str().unwrap())], "c1")],
    ));
    let mut stream = BufReader::new(TcpStream::connect(running.address("r1")).unwrap());
    let mut answers = String::new();
    for line in 0..20 {
        stream.get_mut().write_all(format!("line {line}\n").as_bytes()).unwrap();
        stream.read_line(&mut answers).unwrap();
    }
    assert_eq!(answers, "OK\n".repeat(20));
    let expected: String = (0..20).map(|line| format!("line {line}\n")).collect();
    let start = Instant::now();
    while text_in(dir.path()) != expected {
        assert!(start.elapsed() < Duration::from_secs(10), "not delivered");
        std::thread::yield_now();
    }
    assert!(running.stop().stuck.is_empty());
}

#[test]
fn netcat_refuses_what_does_not_fit() {
    // No sink: the channel fills up.
    let channel =
        memory("c1", &[("capacity", "2"), ("transactionCapacity", "2"), ("keep-alive", "0")]);
    let running = Running::start(agent(
        vec![channel],
        vec![source("r1", "netcat", &[("bind", "127.0.0.1"), ("port", "0")], &["c1"])],
        vec![],
    ));
    let mut stream = BufReader::new(TcpStream::connect(running.address("r1")).unwrap());
    for expected in ["OK\n", "OK\n", "FAILED: no room within 0 s"] {
        stream.get_mut().write_all(b"x\n").unwrap();
        let mut answer = String::new();
        stream.read_line(&mut answer).unwrap();
        assert!(answer.starts_with(expected), "{answer}");
    }
    assert!(running.stop().stuck.is_empty());
}

#[test]
fn an_event_into_an_idle_agent_arrives_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("app.log");
    let keys = [
        ("filegroups", "f1"),
        ("filegroups.f1", log.to_str().unwrap()),
        ("positionFile", &format!("{}/state/p.json", dir.path().display())),
    ];
    append(&log, "first\n");
    let running = Running::start(agent(
        vec![memory("c1", &[])],
        vec![
            source("r1", "taildir", &keys, &["c1"]),
            source("r2", "syslogudp", &[("port", "0")], &["c1"]),
        ],
        vec![collector("at_once", "c1")],
    ));
    kept("at_once", 1);
    let socket = UdpSocket::bind(("127.0.0.1", 0)).unwrap();
    let address = running.address("r2");
    let mut took = Vec::new();
    for event in 2..42 {
        let start = Instant::now();
        if event % 2 == 0 {
            append(&log, "line\n");
        } else {
            socket.send_to(b"<10>datagram", address).unwrap();
        }
        took.push(kept("at_once", event)[event - 1].0 - start);
    }
    took.sort();
    // Generous for a loaded machine; a poll of any kind would show.
    assert!(took[took.len() / 2] < Duration::from_millis(20), "{took:?}");
    assert!(running.stop().stuck.is_empty());
}

#[test]
fn exec_waits_for_a_slow_sink_and_loses_nothing() {
    let keys = [("command", "seq 20000"), ("batchSize", "100")];
    let running = Running::start(agent(
        vec![memory("c1", &[("capacity", "50"), ("transactionCapacity", "10")])],
        vec![source("r1", "exec", &keys, &["c1"])],
        vec![collector("exec", "c1")],
    ));
    assert_eq!(
        bodies("exec", 20_000),
        (1..=20_000).map(|number| number.to_string()).collect::<Vec<_>>()
    );
    assert!(running.stop().stuck.is_empty());
}

#[test]
fn syslog_over_tcp_with_many_senders() {
    let running = Running::start(agent(
        vec![memory("c1", &[("capacity", "100")])],
        vec![source("r1", "syslogtcp", &[("port", "0"), ("host", "127.0.0.1")], &["c1"])],
        vec![collector("syslog", "c1")],
    ));
    let address = running.address("r1");
    let senders: Vec<_> = (0..20)
        .map(|sender| {
            std::thread::spawn(move || {
                let mut stream = TcpStream::connect(address).unwrap();
                for number in 0..200 {
                    stream
                        .write_all(format!("<10>1 - h {sender}-{number:03}\n").as_bytes())
                        .unwrap();
                }
            })
        })
        .collect();
    for sender in senders {
        sender.join().unwrap();
    }
    let all = bodies("syslog", 4000);
    for sender in 0..20 {
        let prefix = format!("{sender}-");
        let one: Vec<_> = all.iter().filter(|body| body.starts_with(&prefix)).cloned().collect();
        assert_eq!(
            one,
            (0..200).map(|number| format!("{sender}-{number:03}")).collect::<Vec<_>>(),
            "in order"
        );
    }
    assert!(running.stop().stuck.is_empty());
}

#[test]
fn syslog_in_a_format_of_ones_own() {
    let keys = [
        ("port", "0"),
        ("format.regex", r"\<(\d+)\>(\d?)(\d+/\d+/\d+ \S+) (\S+) router: (.*)"),
        ("format.search", r"(\d+)/(\d+)/(\d+)"),
        ("format.replace", "$3-$2-$1"),
        ("format.dateFormat", "yyyy-MM-dd HH:mm:ss"),
        ("keepFields", "hostname"),
    ];
    let running = Running::start(agent(
        vec![memory("c1", &[])],
        vec![source("r1", "syslogudp", &keys, &["c1"])],
        vec![collector("own_format", "c1")],
    ));
    let socket = UdpSocket::bind(("127.0.0.1", 0)).unwrap();
    for message in ["<10>5/3/2024 06:07:08 r7 router: link down", "<10>1 - h built in"] {
        socket.send_to(message.as_bytes(), running.address("r1")).unwrap();
    }
    assert_eq!(bodies("own_format", 2), ["r7 link down", "h built in"]);
    assert!(running.stop().stuck.is_empty());
}

#[test]
fn a_source_whose_port_is_taken_is_started_when_the_port_is_free() {
    let holder = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = holder.local_addr().unwrap().port().to_string();
    let running = Running::start(agent(
        vec![memory("c1", &[])],
        vec![
            source("r1", "netcat", &[("bind", "127.0.0.1"), ("port", &port)], &["c1"]),
            source("r2", "netcat", &[("bind", "127.0.0.1"), ("port", "0")], &["c1"]),
        ],
        vec![collector("port", "c1")],
    ));
    running.address("r2");
    drop(holder);
    let mut stream = TcpStream::connect(running.address("r1")).unwrap();
    stream.write_all(b"hello\n").unwrap();
    assert_eq!(bodies("port", 1), ["hello"]);
    assert!(running.stop().stuck.is_empty());
}
