//! The command line from outside: what goes to which stream, and how it ends.

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
};

fn fchannel(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_fchannel")).args(args).output().expect("the binary runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Five mistakes that no build can take for anything else.
const FIVE: &str = "\
a1.channels = c1 c2
a1.sources = r1 r2
a1.sinks = k1 k2
a1.sources.r1.type = no-such-source
a1.sources.r1.channels = c1
a1.sources.r2.channels =
a1.channels.c1.type = com.example.Channel
a1.sinks.k1.type = no-such-sink
a1.sinks.k1.channel = c1
a1.sinks.k2.channel = c2
";

fn write(dir: &Path, name: &str, conf: &str) -> PathBuf {
    let path = dir.join(name);
    std::fs::write(&path, conf).expect("a file in a temporary directory");
    path
}

#[test]
fn an_invalid_conf_ends_check_and_agent_with_78_and_the_same_findings() {
    let dir = tempfile::tempdir().unwrap();
    let conf = write(dir.path(), "five.conf", FIVE);
    let conf = conf.to_str().unwrap();
    let check = fchannel(&["check", conf, "-n", "a1"]);
    assert_eq!(check.status.code(), Some(78));
    assert_eq!(text(&check.stderr), "");
    let agent = fchannel(&["agent", "-n", "a1", "-f", conf]);
    assert_eq!(agent.status.code(), Some(78));
    assert_eq!(text(&agent.stdout), "");
    for out in [text(&check.stdout), text(&agent.stderr)] {
        for place in [":1:18", ":2:17", ":4:22", ":7:23", ":8:20"] {
            assert!(out.contains(&format!("--> {conf}{place}\n")), "{place} in {out}");
        }
        assert!(out.contains(" errors, "), "{out}");
        assert!(!out.contains('\u{1b}'), "no colour in a pipe");
    }
}

#[test]
fn check_as_json_has_a_row_for_each_finding() {
    let dir = tempfile::tempdir().unwrap();
    let conf = write(dir.path(), "five.conf", FIVE);
    let check = fchannel(&["check", conf.to_str().unwrap(), "-o", "json"]);
    assert_eq!(check.status.code(), Some(78));
    let report: serde_json::Value = serde_json::from_slice(&check.stdout).unwrap();
    assert_eq!(report["schema"], "fchannel.check/1");
    let rows = report["diagnostics"].as_array().unwrap();
    let errors = rows.iter().filter(|row| row["severity"] == "error").count();
    assert_eq!(report["errors"], errors);
    assert_eq!(rows[0]["line"], 1);
    assert_eq!(rows[0]["column"], 18);
    assert_eq!(rows[0]["code"], "FC1102");
    assert!(rows[0]["message"].is_string() && rows[0]["help"].is_array());
}

#[test]
fn a_file_that_cannot_be_read_is_exit_1_and_wrong_use_is_2() {
    for args in [&["check", "/no/such.conf"][..], &["agent", "-n", "a1", "-f", "/no/such.conf"]] {
        let out = fchannel(args);
        assert_eq!(out.status.code(), Some(1));
        assert!(text(&out.stderr).contains("error: cannot read /no/such.conf: No such file"));
    }
    assert_eq!(fchannel(&["agent", "-f", "x"]).status.code(), Some(2));
    assert_eq!(fchannel(&["frobnicate"]).status.code(), Some(2));
    let too_large = "#".repeat(3 << 20);
    let dir = tempfile::tempdir().unwrap();
    let out = fchannel(&["check", write(dir.path(), "x", &too_large).to_str().unwrap()]);
    assert_eq!(out.status.code(), Some(78));
    assert!(text(&out.stdout).contains("error[FC1010]"));
}

#[test]
fn a_log_of_objects_has_the_findings_as_objects() {
    let dir = tempfile::tempdir().unwrap();
    let conf = write(dir.path(), "five.conf", FIVE);
    let out =
        fchannel(&["agent", "-n", "a1", "-f", conf.to_str().unwrap(), "--log-format", "json"]);
    let log = text(&out.stderr);
    let rows: Vec<serde_json::Value> =
        log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(rows[0]["code"], "FC1102");
    assert_eq!(rows[0]["line"], 1);
    assert_eq!(rows[0]["level"], "ERROR");
}

#[test]
fn the_conf_directory_is_where_a_relative_file_is_found() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "only-there.conf", FIVE);
    let conf_dir = dir.path().to_str().unwrap();
    let out = fchannel(&["agent", "-n", "a1", "-c", conf_dir, "-f", "only-there.conf"]);
    assert_eq!(out.status.code(), Some(78), "{}", text(&out.stderr));
}

#[test]
fn the_exit_codes_are_printed_by_help() {
    for args in [&["help", "exit-codes"][..], &["exit-codes"], &["exit-codes", "--help"]] {
        let out = fchannel(args);
        assert_eq!(out.status.code(), Some(0));
        assert!(
            text(&out.stdout).contains("      78  the configuration is invalid"),
            "{}",
            text(&out.stdout)
        );
    }
}

#[test]
fn an_unknown_component_is_said_to_be_flumes_if_it_is() {
    let out = fchannel(&["components", "show", "hdfs"]);
    assert_eq!(out.status.code(), Some(1));
    assert!(text(&out.stderr).contains("Flume's `hdfs` sink is not available in this build"));
    assert_eq!(fchannel(&["components", "-o", "json"]).status.code(), Some(0));
}

#[test]
fn what_others_have_written_does_nothing_to_a_terminal_and_makes_no_line_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let name = "x\u{1b}]0;title\u{7}\n2026-01-01T00:00:00Z ERROR forged";
    let logs = dir.path().join("logs");
    std::fs::create_dir(&logs).unwrap();
    std::fs::write(logs.join(name), "one\n").unwrap();
    let dir = dir.path();
    let at = dir.display();
    let conf = format!(
        "a1.sources = r1 r2\na1.channels = c\\u001b[31m\na1.sinks = k1\n\
         a1.channels.c\\u001b[31m.type = file\n\
         a1.channels.c\\u001b[31m.checkpointDir = {at}/checkpoint\n\
         a1.channels.c\\u001b[31m.dataDirs = {at}/data\n\
         a1.sources.r1.type = exec\na1.sources.r1.shell = /bin/sh -c\n\
         a1.sources.r1.command = printf '\\\\033[2Jfrom the command\\\\n' >&2; \
         until test -s {at}/positions.json; do sleep 0.1; done; kill $PPID\n\
         a1.sources.r1.logStdErr = true\na1.sources.r1.channels = c\\u001b[31m\n\
         a1.sources.r2.type = taildir\na1.sources.r2.filegroups = g\n\
         a1.sources.r2.filegroups.g = {at}/logs/(?s).*\n\
         a1.sources.r2.positionFile = {at}/positions.json\na1.sources.r2.channels = c\\u001b[31m\n\
         a1.sinks.k1.type = null\na1.sinks.k1.channel = c\\u001b[31m\n"
    );
    let conf = write(dir, "a.conf", &conf);
    let conf = conf.to_str().unwrap();
    // The command ends the agent when the file was found.
    let log = text(&fchannel(&["agent", "-n", "a1", "-f", conf]).stderr);
    assert!(log.contains("from the command") && log.contains("file followed"), "{log:?}");
    let check = fchannel(&["check", conf]);
    assert_eq!(check.status.code(), Some(0));
    for out in [log, text(&check.stdout)] {
        assert!(out.contains("c\u{241b}[31m"), "{out:?}");
        assert!(!out.contains(['\u{1b}', '\u{7}']), "{out:?}");
        assert!(!out.lines().any(|line| line.starts_with("2026-01-01")), "{out:?}");
    }
}

/// An agent whose standard error is a pipe that nobody reads.
fn unread(conf: &Path, grace: &str) -> Child {
    Command::new(env!("CARGO_BIN_EXE_fchannel"))
        .args(["agent", "-n", "a1", "--grace", grace, "-f"])
        .arg(conf)
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary runs")
}

fn terminate_after_a_second(agent: &Child) {
    let script = format!("sleep 1; kill {}", agent.id());
    let killed = Command::new("/bin/sh").args(["-c", &script]).status().expect("a shell runs");
    assert!(killed.success());
}

/// More events than a pipe takes lines of the logger: it is stuck.
const STUCK: &str = "a1.sources = r1\na1.channels = c1\na1.sinks = k1\n\
    a1.channels.c1.type = memory\na1.sources.r1.type = seq\na1.sources.r1.channels = c1\n\
    a1.sinks.k1.type = logger\na1.sinks.k1.channel = c1\n";

#[test]
fn a_second_signal_ends_an_agent_whose_log_nobody_reads() {
    let dir = tempfile::tempdir().unwrap();
    let mut agent = unread(&write(dir.path(), "a.conf", STUCK), "30");
    terminate_after_a_second(&agent);
    terminate_after_a_second(&agent);
    assert_eq!(agent.wait().unwrap().code(), Some(143));
}

#[test]
fn one_signal_ends_an_agent_whose_log_nobody_reads() {
    let dir = tempfile::tempdir().unwrap();
    // The logger waits, and nobody else does: its events are not delivered, and that is said.
    let mut agent = unread(&write(dir.path(), "a.conf", STUCK), "2");
    terminate_after_a_second(&agent);
    assert_eq!(agent.wait().unwrap().code(), Some(8));
    // What is not an event is dropped, and the agent works on: otherwise its command would not come to its end.
    let conf = "a1.sources = r1\na1.channels = c1\na1.sinks = k1\na1.channels.c1.type = memory\n\
         a1.sources.r1.type = exec\na1.sources.r1.channels = c1\na1.sources.r1.shell = /bin/sh -c\n\
         a1.sources.r1.logStdErr = true\na1.sources.r1.command = seq 100000 >&2; kill $PPID\n\
         a1.sinks.k1.type = null\na1.sinks.k1.channel = c1\n";
    let mut agent = unread(&write(dir.path(), "b.conf", conf), "30");
    assert_eq!(agent.wait().unwrap().code(), Some(0));
}

#[test]
fn a_channel_that_is_held_or_is_none_ends_the_agent_with_a_code_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path().display();
    let conf = format!(
        "a1.sources = r1\na1.channels = c1\na1.channels.c1.type = file\n\
         a1.channels.c1.checkpointDir = {at}/checkpoint\na1.channels.c1.dataDirs = {at}/data\n\
         a1.sources.r1.type = seq\na1.sources.r1.totalEvents = 1\na1.sources.r1.channels = c1\n"
    );
    let conf = write(dir.path(), "a.conf", &conf);
    let run = || fchannel(&["agent", "-n", "a1", "-f", conf.to_str().unwrap()]);
    let options =
        fchannel::Options { data_dirs: vec![dir.path().join("data")], ..Default::default() };
    let held = fchannel::Channel::open(dir.path().join("checkpoint"), options).unwrap();
    let out = run();
    assert_eq!(out.status.code(), Some(5), "{}", text(&out.stderr));
    let holder = format!("process {} holds the lock", std::process::id());
    let log = text(&out.stderr);
    assert!(log.contains("channel c1") && log.contains(&holder), "{log}");
    held.close().unwrap();
    std::fs::remove_dir_all(dir.path().join("data")).unwrap();
    let out = run();
    assert_eq!(out.status.code(), Some(6), "{}", text(&out.stderr));
}

#[test]
fn a_value_that_came_from_a_secret_is_in_no_error_of_a_running_agent() {
    let dir = tempfile::tempdir().unwrap();
    // The second source ends the agent when the first one has failed.
    let conf = "a1.sources = r1 r2\na1.channels = c1\na1.sinks = k1\na1.channels.c1.type = memory\n\
         a1.sources.r1.type = netcat\na1.sources.r1.bind = ${a1.sinks.k1.password}\n\
         a1.sources.r1.port = 1\na1.sources.r1.channels = c1\n\
         a1.sources.r2.type = exec\na1.sources.r2.channels = c1\na1.sources.r2.shell = /bin/sh -c\n\
         a1.sources.r2.command = sleep 1; kill $PPID\n\
         a1.sinks.k1.type = null\na1.sinks.k1.channel = c1\na1.sinks.k1.password = hunter2.invalid\n";
    let conf = write(dir.path(), "a.conf", conf);
    let log = text(&fchannel(&["agent", "-n", "a1", "-f", conf.to_str().unwrap()]).stderr);
    assert!(log.contains("cannot bind ***:1") && log.contains("in the value of `bind`"), "{log}");
    assert!(!log.contains("hunter2"), "{log}");
}
