//! An agent whose channel is damaged: it delivers all but the lost and says what is lost, or it refuses and says where.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a helper that fails fails its test"
)]

use fchannel::{Channel, Event, Inspector, Options};
use std::{
    collections::BTreeSet,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

const EVENTS: usize = 120;

fn event(number: usize) -> String {
    format!("event {number:04} {}", "x".repeat(2000))
}

/// A channel of several segments.
fn channel_in(dir: &Path) {
    let options =
        Options { segment_bytes_max: 64 << 10, free_space_min_bytes: 0, ..Options::default() };
    let channel = Channel::open(dir, options).unwrap();
    for number in 0..EVENTS {
        let mut put = channel.begin_put();
        put.push_with(|buffer| Event::of_body(event(number)).encode_into(buffer)).unwrap();
        put.commit().unwrap();
    }
    channel.close().unwrap();
}

/// Removes the segment before the newest one; answers its path and the events that were in it.
fn lose_a_segment(dir: &Path) -> (PathBuf, Vec<usize>) {
    let mut segments: Vec<(u64, PathBuf)> = std::fs::read_dir(dir)
        .unwrap()
        .filter_map(|entry| {
            let path = entry.unwrap().path();
            let number = path.file_name()?.to_str()?.strip_prefix("seg-")?.parse().ok()?;
            Some((number, path))
        })
        .collect();
    segments.sort();
    let path = segments[segments.len() - 2].1.clone();
    let bytes = std::fs::read(&path).unwrap();
    let lost = (0..EVENTS).filter(|number| {
        let text = format!("event {number:04} ");
        bytes.windows(text.len()).any(|window| window == text.as_bytes())
    });
    let lost: Vec<usize> = lost.collect();
    std::fs::remove_file(&path).unwrap();
    assert!(!lost.is_empty() && lost.len() < EVENTS / 2, "{lost:?}");
    (path, lost)
}

fn conf(root: &Path, more: &str) -> PathBuf {
    let dir = root.join("c1");
    let text = format!(
        "a1.channels = c1\na1.sinks = k1\na1.channels.c1.type = file\n\
         a1.channels.c1.checkpointDir = {0}\na1.channels.c1.dataDirs = {0}\n\
         a1.channels.c1.minimumRequiredSpace = 1048576\n{more}\
         a1.sinks.k1.type = logger\na1.sinks.k1.channel = c1\n",
        dir.display()
    );
    let path = root.join("a.conf");
    std::fs::write(&path, text).unwrap();
    path
}

fn agent(conf: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fchannel"));
    command.args(["agent", "-n", "a1", "-f"]).arg(conf).stderr(Stdio::piped());
    command.stdout(Stdio::null()).env("NO_COLOR", "1");
    command
}

#[test]
fn it_delivers_all_but_the_lost_and_says_what_is_lost() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("c1");
    channel_in(&dir);
    let (_, lost) = lose_a_segment(&dir);
    let mut wanted: BTreeSet<String> = (0..EVENTS)
        .filter(|number| !lost.contains(number))
        .map(|number| format!("event {number:04}"))
        .collect();
    let mut child = agent(&conf(root.path(), "")).spawn().unwrap();
    let mut errors = Vec::new();
    let (mut warned, mut told_to_stop) = (false, false);
    for line in BufReader::new(child.stderr.take().unwrap()).lines() {
        let line = line.unwrap();
        if line.contains("ERROR") && line.contains("damage") {
            errors.push(line.clone());
        }
        warned |= line.contains("WARN") && line.contains("fchannel quarantine list");
        if let Some(at) = line.find("event 0") {
            let body = line.get(at..at + 10).unwrap_or_default();
            wanted.remove(body);
            let number: usize = body.get(6..).unwrap_or_default().parse().unwrap();
            assert!(!lost.contains(&number), "{body} was lost");
        }
        if wanted.is_empty() && !std::mem::replace(&mut told_to_stop, true) {
            // Events are written at once, and the rest of the log past a queue: read to its end.
            let pid = child.id().to_string();
            assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        }
    }
    child.wait().unwrap();
    assert!(wanted.is_empty(), "not delivered: {wanted:?}");
    assert!(warned, "each start reminds of what is not settled");
    let (first, last) = (lost[0], lost[lost.len() - 1]);
    let named = format!("events={first}..{}", last + 1);
    assert!(errors.iter().any(|line| line.contains(&named)), "{named} in {errors:?}");
    let how = format!("fchannel quarantine show {} ", dir.display());
    assert!(errors.iter().any(|line| line.contains(&how)), "{errors:?}");

    let inspector = Inspector::open(&dir).unwrap();
    assert!(!inspector.quarantined().is_empty());
    let check = Command::new(env!("CARGO_BIN_EXE_fchannel"))
        .args(["check", "-n", "a1"])
        .arg(root.path().join("a.conf"))
        .output()
        .unwrap();
    let printed = String::from_utf8_lossy(&check.stdout);
    assert!(printed.contains("WARNING") && printed.contains("in quarantine"), "{printed}");
    assert_eq!(check.status.code(), Some(0), "it would start");
}

#[test]
fn where_damage_refuses_it_ends_with_the_place_and_the_way_on() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("c1");
    channel_in(&dir);
    let (segment, _) = lose_a_segment(&dir);
    let out = agent(&conf(root.path(), "a1.channels.c1.onDamage = refuse\n")).output().unwrap();
    let log = String::from_utf8_lossy(&out.stderr);
    assert_eq!(out.status.code(), Some(1), "{log}");
    let name = segment.file_name().unwrap().to_str().unwrap();
    assert!(log.contains(&format!("segment {name} is missing")), "{log}");
    assert!(log.contains(&format!("fchannel repair {}", dir.display())), "{log}");
}

/// Neither the plan nor `--apply` finds anything, and both say so: no report, no segment, no other change.
#[test]
fn a_repair_of_a_sound_channel_says_that_there_is_nothing_to_do() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("c1");
    channel_in(&dir);
    let picture = || {
        let entries = std::fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().path());
        let files = entries.filter(|path| !path.ends_with("in_use.lock"));
        files.map(|path| (path.clone(), std::fs::read(path).unwrap())).collect::<BTreeSet<_>>()
    };
    let before = picture();
    for more in [&[][..], &["--apply"], &["--apply"]] {
        let output = Command::new(env!("CARGO_BIN_EXE_fchannel"))
            .args(["repair", dir.to_str().unwrap()])
            .args(more)
            .output()
            .unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(0), "{said}");
        assert!(said.starts_with("nothing to do"), "{said}");
        assert_eq!(picture(), before, "{more:?}");
    }
}
