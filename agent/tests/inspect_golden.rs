//! `fchannel inspect` from outside: tables and JSON of a directory whose every byte is known, and how the process ends.
//!
//! `FCHANNEL_BLESS=1 cargo test --test inspect_golden` writes the expected files anew: read the difference before you commit it.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a helper that fails fails its test"
)]

#[path = "support/repeating.rs"]
mod repeating;

use fchannel::{Channel, Event, Headers, Options, TakeLimit};
use repeating::Repeating;
use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::Arc,
};

fn put(channel: &Channel, events: &[Event]) {
    let mut put = channel.begin_put();
    for event in events {
        put.push_with(|buffer| event.encode_into(buffer)).unwrap();
    }
    put.commit().unwrap();
}

/// Two transactions of events of all sorts, one of raw bytes, and takes out of order; then segments full of events.
fn channel_in(dir: &Path) {
    let options =
        Options { segment_bytes_max: 64 << 10, free_space_min_bytes: 0, ..Options::default() };
    let channel = Channel::open_on(Arc::new(Repeating::default()), dir, options).unwrap();
    let timed = Headers::from_iter([("host", "web1"), ("timestamp", "1795162400000")]);
    put(
        &channel,
        &[
            Event::new(timed, "GET /cart 200 12ms"),
            Event::new(Headers::from_iter([("host", "web7")]), "red \u{1b}[31m, a\ttab and\nlines"),
            Event::new(Headers::from_iter([("h\u{202e}ost", "x\r")]), vec![0xff, 0x00, 0x41]),
        ],
    );
    channel.put(b"\x09\x00\x00\x00not an event").unwrap();
    put(&channel, &[Event::of_body("käse"), Event::of_body("")]);
    let first = channel.begin_take(TakeLimit::events(1)).unwrap();
    channel.begin_take(TakeLimit::events(1)).unwrap().commit().unwrap();
    drop(first);
    channel.checkpoint().unwrap();
    for number in 0..40 {
        let body = format!("line {number} {}", "x".repeat(4000));
        put(&channel, &[Event::new(Headers::from_iter([("host", "db")]), body)]);
    }
    channel.close().unwrap();
}

fn inspect(verb: &str, dir: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_fchannel"))
        .args(["inspect", verb])
        .arg(dir)
        .args(args)
        .output()
        .expect("the binary runs")
}

/// What differs from run to run: the directory, the disk, and the age of things.
fn masked(text: &str, dir: &Path) -> String {
    let text = text.replace(dir.to_str().unwrap(), "DIR");
    let mask = |text: String, pattern: &str, by: &str| {
        regex::Regex::new(pattern).unwrap().replace_all(&text, by).into_owned()
    };
    let text = mask(text, r"DIR   [0-9.]+ .iB free", "DIR   N free");
    let text = mask(text, r"age [0-9dhms ]+   ", "age N   ");
    let text = mask(text, r"(checkpoint-\d+)   .*", "$1   TIME");
    let text = mask(text, r#""(free_bytes|age_seconds)":[0-9.]+"#, r#""$1":N"#);
    mask(text, r#""written":"[^"]*""#, r#""written":"TIME""#)
}

#[track_caller]
fn golden(name: &str, dir: &Path, verb: &str, args: &[&str], code: i32) {
    let out = inspect(verb, dir, args);
    let printed = masked(std::str::from_utf8(&out.stdout).unwrap(), dir);
    assert!(
        printed.chars().all(|c| c == '\n' || c == '\t' || !c.is_control()),
        "hostile bytes reach the reader: {printed:?}"
    );
    assert_eq!(out.status.code(), Some(code), "{}", String::from_utf8_lossy(&out.stderr));
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/inspect").join(name);
    if std::env::var_os("FCHANNEL_BLESS").is_some() {
        std::fs::write(&path, &printed).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap();
    assert_eq!(printed, expected, "{}", path.display());
}

#[test]
fn a_sound_channel_looks_like_this() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("c1");
    channel_in(&dir);
    golden("summary.tsv", &dir, "summary", &[], 0);
    golden("summary.json", &dir, "summary", &["-o", "json"], 0);
    golden("segments.tsv", &dir, "segments", &[], 0);
    golden("segments.json", &dir, "segments", &["-o", "json"], 0);
    golden("checkpoint.tsv", &dir, "checkpoint", &[], 0);
    golden("checkpoint.json", &dir, "checkpoint", &["-o", "json", "--at", "3"], 0);
    golden("events.tsv", &dir, "events", &["-n", "6"], 0);
    golden("events.jsonl", &dir, "events", &["-n", "6", "-o", "jsonl", "--max-body", "40"], 0);
    golden(
        "events-any.tsv",
        &dir,
        "events",
        &["--state", "any", "--to", "seq:1", "--body", "hex"],
        0,
    );
    golden("frames.tsv", &dir, "frames", &["-n", "4", "--hex"], 0);
    golden("frames.jsonl", &dir, "frames", &["--type", "take,image", "-o", "jsonl"], 0);
    golden("transactions.tsv", &dir, "transactions", &["--skip", "1", "-n", "4"], 0);
    golden("transactions.jsonl", &dir, "transactions", &["-n", "5", "-o", "jsonl"], 0);
    golden("verify.tsv", &dir, "verify", &["--deep"], 0);
    golden("verify.json", &dir, "verify", &["-o", "json"], 0);
    golden("count.txt", &dir, "events", &["--header", "host=db", "--count"], 0);
    golden("grep.tsv", &dir, "events", &["--grep", "^line [78] ", "--max-body", "10"], 0);
}

#[test]
fn a_damaged_channel_looks_like_this() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("c1");
    channel_in(&dir);
    flip(&dir.join("seg-1"), 208 + 64 + 40);
    flip(&dir.join("seg-2"), 64 + 144 + 8200);
    golden("damaged-verify.tsv", &dir, "verify", &[], 3);
    golden("damaged-verify.json", &dir, "verify", &["-o", "json", "--max-findings", "1"], 3);
    golden("damaged-events.tsv", &dir, "events", &["-n", "3"], 3);
    golden("damaged-events.jsonl", &dir, "events", &["-n", "1", "-o", "jsonl"], 3);
    golden("damaged-frames.tsv", &dir, "frames", &["-n", "3"], 3);
    assert_eq!(
        inspect("verify", &dir, &["--quick"]).status.code(),
        Some(0),
        "a restart reads none of it"
    );
}

fn flip(path: &Path, offset: usize) {
    let mut bytes = std::fs::read(path).unwrap();
    bytes[offset] ^= 0x20;
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn a_page_ends_where_the_next_one_begins() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("c1");
    channel_in(&dir);
    let page = |from: &str| -> Vec<serde_json::Value> {
        let out = inspect("events", &dir, &["-n", "20", "-o", "jsonl", "--from", from]);
        out.stdout.lines().map(|line| serde_json::from_str(&line.unwrap()).unwrap()).collect()
    };
    let (mut seqs, mut from) = (Vec::new(), "oldest".to_owned());
    loop {
        let mut rows = page(&from);
        let end = rows.pop().unwrap();
        assert_eq!((&end["schema"], &end["complete"]), (&"fchannel.end/1".into(), &true.into()));
        seqs.extend(rows.iter().map(|row| row["seq"].as_str().unwrap().parse::<u64>().unwrap()));
        from = end["cursor"].as_str().unwrap().to_owned();
        if end["more"] == false {
            break;
        }
    }
    assert_eq!(seqs, (0..46).filter(|seq| *seq != 1).collect::<Vec<_>>());
}

#[test]
fn each_end_has_its_code() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("c1");
    channel_in(&dir);
    let code = |verb, dir: &Path, args: &[&str]| inspect(verb, dir, args).status.code();
    assert_eq!(code("events", &dir, &["--header", "no-such", "--fail-if-empty"]), Some(3));
    assert_eq!(code("events", &dir, &["--header", "no-such"]), Some(0));
    assert_eq!(code("events", &dir, &["--from", "yesterday"]), Some(2));
    assert_eq!(code("events", &dir, &["--grep", "("]), Some(2));
    assert_eq!(code("verify", root.path(), &[]), Some(6));
    assert_eq!(code("verify", &root.path().join("none"), &[]), Some(6));
    let not_one = inspect("summary", root.path(), &[]);
    let message = String::from_utf8_lossy(&not_one.stderr).into_owned();
    assert!(message.starts_with("error: this directory holds no channel"), "{message}");
}

#[test]
fn a_channel_is_found_by_its_name_in_a_conf() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("c1");
    channel_in(&dir);
    let conf = root.path().join("a.conf");
    let text = format!(
        "a1.channels = c1\na1.sinks = no-such\na1.channels.c1.type = file\n\
        a1.channels.c1.checkpointDir = {0}\na1.channels.c1.dataDirs = {0}\n",
        dir.display()
    );
    std::fs::write(&conf, text).unwrap();
    let name = |name: &str| {
        inspect("events", Path::new(name), &["--conf", conf.to_str().unwrap(), "--count"])
    };
    assert_eq!(name("a1.c1").stdout, b"45\n");
    assert_eq!(name("a1.c2").status.code(), Some(78));
    assert_eq!(name("a1").status.code(), Some(2));
}

#[test]
fn a_reader_that_goes_away_ends_it_quietly() {
    let root = tempfile::tempdir().unwrap();
    let dir: PathBuf = root.path().join("c1");
    channel_in(&dir);
    for args in [&["-o", "jsonl"][..], &["--body", "hex", "--max-body", "9999"]] {
        let mut child = Command::new(env!("CARGO_BIN_EXE_fchannel"))
            .args(["inspect", "events"])
            .arg(&dir)
            .args(args)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut first = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut first).unwrap();
        assert!(!first.is_empty());
        let out = child.wait_with_output().unwrap();
        assert_eq!((out.status.code(), out.stderr.as_slice()), (Some(0), &b""[..]));
    }
}
