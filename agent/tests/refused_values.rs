//! Values that only the component itself can judge: found by `check` and `agent` alike, before anything is created.

use std::{
    path::Path,
    process::{Command, Output},
};

fn fchannel(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_fchannel")).args(args).output().expect("the binary runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// An agent with a source and a sink, each of which gets further lines, over a channel in `dir`.
fn conf(dir: &Path, source: &str, sink: &str) -> String {
    let dir = dir.display();
    let keys = |component: &str, lines: &str| -> String {
        lines.lines().map(|line| format!("a1.{component}.{line}\n")).collect()
    };
    format!(
        "a1.sources = r1\na1.channels = c1\na1.sinks = k1\n\
         a1.sources.r1.channels = c1\na1.sinks.k1.channel = c1\n\
         a1.channels.c1.type = file\na1.channels.c1.checkpointDir = {dir}/state/checkpoint\n\
         a1.channels.c1.dataDirs = {dir}/state/data\n{}{}",
        keys("sources.r1", source),
        keys("sinks.k1", sink),
    )
}

/// Where the part of `conf` stands that the finding is about: `line:column`.
fn place(conf: &str, part: &str) -> String {
    let (row, line) =
        conf.lines().enumerate().find(|(_, line)| line.contains(part)).expect("a line");
    format!("{}:{}", row + 1, line.find(part).expect("a column") + 1)
}

/// Both verbs refuse the conf at `part`, and leave no trace. Gives what they print.
fn refused(dir: &Path, source: &str, sink: &str, part: &str) -> String {
    let conf = conf(dir, source, sink);
    let file = dir.join("a.conf");
    std::fs::write(&file, &conf).expect("a file in a temporary directory");
    let file = file.to_str().expect("a plain path");
    let check = fchannel(&["check", file]);
    let agent = fchannel(&["agent", "-n", "a1", "-f", file]);
    let (check, agent) = ((check.status, text(&check.stdout)), (agent.status, text(&agent.stderr)));
    for (status, out) in [&check, &agent] {
        assert_eq!(status.code(), Some(78), "{part}: {out}");
        assert!(out.contains("error[FC1007]"), "{part}: {out}");
        assert!(out.contains(&format!("--> {file}:{}\n", place(&conf, part))), "{part}: {out}");
        assert!(out.contains("1 error, 0 warnings"), "{part}: {out}");
    }
    assert!(!dir.join("state").exists(), "{part}: nothing is created");
    check.1 + &agent.1
}

const NULL: &str = "type = null";
const SEQ: &str = "type = seq";
const NETCAT: &str = "type = netcat\nbind = localhost\nport = 0\n";

const FORMAT: &str = "type = syslogudp\nport = 0\nformat.regex = <(\\\\d+)>()(.*)\n";

#[test]
fn values_that_a_component_refuses_are_errors_with_a_place() {
    let dir = tempfile::tempdir().unwrap();
    let taildir = |lines: &str| format!("type = taildir\nfilegroups = g h2\n{lines}");
    let sources = [
        ("type = exec\ncommand = true\ncharset = EBCDIC".to_owned(), "EBCDIC"),
        ("type = exec\ncommand = \\u00a0".to_owned(), "\\u00a0"),
        (format!("{NETCAT}encoding = EBCDIC"), "EBCDIC"),
        ("type = syslogtcp\nport = 0\nssl = true".to_owned(), "true"),
        ("type = syslogtcp\nport = 0\nformat.regex = <(?!1).*".to_owned(), "<(?!1).*"),
        (format!("{FORMAT}format.dateFormat = YYYY-MM-dd"), "YYYY-MM-dd"),
        (format!("{FORMAT}format.search = (a)\nformat.replace = $2"), "$2"),
        (taildir("filegroups.g = logs/.*\nfilegroups.h2 = /x/y"), "logs/.*"),
        (taildir("filegroups.g = /x/y"), "h2"),
        (taildir("filegroups.g = /x/y\nfilegroups.h2 = /x/(?!foo).*"), "/x/(?!foo).*"),
    ];
    for (source, part) in sources {
        refused(dir.path(), &source, NULL, part);
    }
    let sink = format!(
        "type = file_roll\nsink.directory = {}\nsink.pathManager = daily",
        dir.path().display()
    );
    refused(dir.path(), SEQ, &sink, "daily");
}

#[test]
fn all_that_is_wrong_is_said_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let source = "type = taildir\nfilegroups = f1 f2 f3\nfilegroups.f1 = x\nfilegroups.f2 = /(\n\
        batchSize = 0\npositionFile = /x\nheaders.f1.a = b";
    let conf = conf(dir.path(), source, NULL);
    let file = dir.path().join("a.conf");
    std::fs::write(&file, &conf).unwrap();
    let out = text(&fchannel(&["check", file.to_str().unwrap()]).stdout);
    assert!(out.contains("4 errors, 0 warnings"), "{out}");
    for part in ["x", "/(", "0"].map(|value| format!("= {value}\n")) {
        let line = conf[..conf.find(&part).unwrap()].lines().count();
        assert!(out.contains(&format!("a.conf:{line}:")), "{part} in {out}");
    }
    assert!(out.contains("`f3` in `a1.sources.r1.filegroups` cannot be used"), "{out}");
}

#[test]
fn what_a_secret_stands_for_is_never_said() {
    let dir = tempfile::tempdir().unwrap();
    let secret = "type = null\npassword = hunter2";
    let reference = "${a1.sinks.k1.password}";
    let sources = [
        format!("{NETCAT}encoding = {reference}"),
        format!("type = exec\ncommand = true\ncharset = {reference}"),
        format!("type = taildir\nfilegroups = {reference}"),
        format!("type = taildir\nfilegroups = g\nfilegroups.g = {reference}"),
        format!("type = taildir\nfilegroups = g\nfilegroups.g = /(?!{reference})"),
        format!("type = syslogtcp\nport = 0\nformat.regex = (?!{reference})"),
        format!("{FORMAT}format.search = ({reference}\nformat.replace = x"),
        format!("{FORMAT}format.search = x\nformat.replace = ${reference}"),
    ];
    for source in sources {
        let part = source.lines().last().unwrap().split_once("= ").unwrap().1.to_owned();
        let conf = conf(dir.path(), &source, secret);
        let file = dir.path().join("a.conf");
        std::fs::write(&file, &conf).unwrap();
        let file = file.to_str().unwrap();
        for out in [
            fchannel(&["check", file]),
            fchannel(&["check", file, "-o", "json"]),
            fchannel(&["agent", "-n", "a1", "-f", file]),
            fchannel(&["agent", "-n", "a1", "-f", file, "--log-format", "json"]),
        ] {
            assert_eq!(out.status.code(), Some(78), "{part}");
            let all = text(&out.stdout) + &text(&out.stderr);
            assert!(all.contains("FC1007") && !all.contains("hunter2"), "{part}: {all}");
        }
        assert!(!dir.path().join("state").exists());
    }
}

#[test]
fn a_format_that_is_refused_says_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    for (source, part, help) in [
        ("type = syslogtcp\nport = 0\nssl = true".to_owned(), "true", "stunnel"),
        (format!("{FORMAT}format.dateFormat = yyyy-b"), "yyyy-b", "yyyy-MM-dd"),
        (format!("{FORMAT}format.search = x.y"), "x.y", "name these in `format.replace`"),
    ] {
        let out = refused(dir.path(), &source, NULL, part);
        assert!(out.contains("help: ") && out.contains(help), "{out}");
    }
}

#[test]
fn lenient_leaves_the_component_out() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("a.conf");
    std::fs::write(&file, conf(dir.path(), &format!("{NETCAT}encoding = EBCDIC"), NULL)).unwrap();
    let out = fchannel(&["check", "--lenient", file.to_str().unwrap()]);
    let all = text(&out.stdout);
    assert_eq!(out.status.code(), Some(0), "{all}");
    assert!(
        all.contains("warning[FC1007]") && all.contains("0 sources, 1 channel, 1 sink"),
        "{all}"
    );
}

#[test]
fn a_directory_that_is_missing_is_a_warning() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("a.conf");
    let sink = format!("type = file_roll\nsink.directory = {}/none", dir.path().display());
    std::fs::write(&file, conf(dir.path(), SEQ, &sink)).unwrap();
    let check = || fchannel(&["check", file.to_str().unwrap()]);
    let out = check();
    assert_eq!(out.status.code(), Some(0));
    let all = text(&out.stdout);
    assert!(
        all.contains("warning[FC1201]: `a1.sinks.k1.sink.directory`: there is no such"),
        "{all}"
    );
    std::fs::create_dir(dir.path().join("none")).unwrap();
    assert!(text(&check().stdout).contains("0 errors, 0 warnings"));
}

#[test]
fn two_sources_need_two_position_files_and_a_channel_different_directories() {
    let dir = tempfile::tempdir().unwrap();
    let taildir = "type = taildir\nfilegroups = g\nfilegroups.g = /x/y";
    let mut two = conf(dir.path(), taildir, NULL).replace("sources = r1\n", "sources = r1 r2\n");
    for line in taildir.lines().chain(["channels = c1"]) {
        two.push_str(&format!("a1.sources.r2.{line}\n"));
    }
    let twice = "/data,/elsewhere,/data/\na1.channels.c1.capacity = 10000";
    let twice = conf(Path::new("/"), SEQ, NULL).replace("//state/data", twice);
    for (conf, code) in [(two, "error[FC1113]"), (twice, "error[FC1007]")] {
        let file = dir.path().join("a.conf");
        std::fs::write(&file, conf).unwrap();
        let out = fchannel(&["check", file.to_str().unwrap()]);
        let all = text(&out.stdout);
        assert_eq!(out.status.code(), Some(78), "{all}");
        assert!(all.contains(code) && all.contains("1 error, 0 warnings"), "{all}");
    }
}

#[test]
fn the_keys_of_a_serializer_are_checked_against_its_table() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("a.conf");
    for serializer in ["", "\nsink.serializer = header_and_text"] {
        let sink = format!(
            "type = file_roll\nsink.directory = {}\nsink.serializer.appendNewLine = false\n\
             sink.serializer.appendNewline = nope{serializer}",
            dir.path().display()
        );
        let conf = conf(dir.path(), SEQ, &sink);
        std::fs::write(&file, &conf).unwrap();
        let all = text(&fchannel(&["check", file.to_str().unwrap()]).stdout);
        assert!(all.contains("0 errors, 2 warnings"), "{all}");
        for (code, part) in
            [("FC1002", "a1.sinks.k1.sink.serializer.appendNewLine"), ("FC1011", "nope")]
        {
            let place = format!("a.conf:{}\n", place(&conf, part));
            assert!(all.contains(&place) && all.contains(code), "{part}: {all}");
        }
        assert!(all.contains("did you mean `appendNewline`?"), "{all}");
    }
}
