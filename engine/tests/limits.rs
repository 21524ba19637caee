//! What the operating system refuses: one more file, one more thread, a second process.
#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]
#![expect(clippy::disallowed_types, reason = "a test that takes all descriptors")]

mod common;

use common::{drain, gate::GateVfs};
use fchannel::{Channel, CommitError, ErrorKind, Options, TakeLimit};
use std::{
    fs::File,
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
};

/// Set for the process that plays the other one: its directory.
const DIR: &str = "FCHANNEL_TEST_DIR";

fn options() -> Options {
    Options {
        segment_bytes_max: 64 << 10,
        free_space_min_bytes: 0,
        tail_cache_bytes: 0,
        ..Options::default()
    }
}

/// This test binary once more, behind these words of a shell, for one test.
fn other_process(words: &str, test: &str, dir: &Path) -> (bool, String) {
    let output = Command::new("sh")
        .args(["-c", &format!("{words} exec \"$0\" --exact \"$1\" --nocapture")])
        .arg(std::env::current_exe().unwrap())
        .arg(test)
        .env(DIR, dir)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&said).into_owned())
}

/// No descriptor is left while a channel works: what was acknowledged stays, the next file that is needed stops the log with the reason,
/// and a restart knows all.
#[test]
fn a_channel_without_descriptors_stops_itself_and_loses_nothing() {
    if let Some(dir) = std::env::var_os(DIR) {
        return play_without_descriptors(Path::new(&dir));
    }
    let dir = tempfile::tempdir().unwrap();
    let test = "a_channel_without_descriptors_stops_itself_and_loses_nothing";
    let (success, said) = other_process("ulimit -n 40;", test, dir.path());
    assert!(success, "{said}");
    let puts: usize =
        said.lines().find_map(|line| line.strip_prefix("put ")).unwrap().parse().unwrap();
    let channel = Channel::open(dir.path(), options()).unwrap();
    let left = drain(&channel).len();
    assert!(left == puts || left == puts + 1, "{puts} were acknowledged, {left} are there");
}

fn play_without_descriptors(dir: &Path) {
    let channel = Channel::open(dir, options()).unwrap();
    channel.put(&[b'.'; 1000]).unwrap();
    let mut taken = Vec::new();
    let mut puts = 1;
    let error = loop {
        // Again before each put: what the channel's own thread closes meanwhile (a directory that it has synced) would be one descriptor
        // that goes from segment to segment, and the log would never need another.
        while let Ok(file) = File::open("/dev/null") {
            taken.push(file);
        }
        match channel.put(&[b'.'; 1000]) {
            Ok(_) => puts += 1,
            Err(error) => break error,
        }
    };
    assert!(puts > 10, "the segment that is open can be written on");
    assert!(error.to_string().contains("Too many open files"), "{error}");
    assert!(matches!(error, CommitError::Unknown(_)), "{error}");
    assert!(channel.poisoned().unwrap().to_string().contains("Too many open files"));
    assert!(channel.begin_take(TakeLimit::events(1)).is_err());
    println!("put {puts}");
}

/// No thread can be had: the open says so, and leaves nothing behind that keeps the next one out.
#[test]
fn an_open_without_threads_is_refused_and_lets_go() {
    let dir = tempfile::tempdir().unwrap();
    for threads in 0..2 {
        let vfs = GateVfs::default();
        vfs.gate.limit_threads(Some(threads));
        let refused = Channel::open_on(Arc::new(vfs), dir.path(), options()).unwrap_err();
        assert_eq!(refused.kind(), &ErrorKind::Io);
        assert!(refused.to_string().contains("thread"), "{refused}");
        let channel = Channel::open(dir.path(), options()).unwrap();
        channel.put(b"event").unwrap();
    }
    assert_eq!(drain(&Channel::open(dir.path(), options()).unwrap()).len(), 2);
}

/// A second process is kept out, and told who is there; the events are where they were.
#[test]
fn a_second_process_is_kept_out_with_the_holders_pid() {
    if let Some(dir) = std::env::var_os(DIR) {
        let error = Channel::open(Path::new(&dir), options()).unwrap_err();
        println!("kind {:?}", error.kind());
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let channel = Channel::open(dir.path(), options()).unwrap();
    channel.put(b"event").unwrap();
    let (success, said) =
        other_process("", "a_second_process_is_kept_out_with_the_holders_pid", dir.path());
    let holder = format!("kind {:?}", ErrorKind::Locked { pid: Some(std::process::id()) });
    assert!(success && said.contains(&holder), "{said}");
    channel.put(b"another").unwrap();
    drop(channel);
    assert_eq!(drain(&Channel::open(dir.path(), options()).unwrap()), ["event", "another"]);
}
