//! docs/REPAIR.md shows what the program prints: a channel with three damages, looked at, planned, repaired, brought back, settled.
//!
//! `FCHANNEL_BLESS=1 cargo test --test repair_transcript` writes the transcripts in it anew: read the difference before you commit it.
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
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

/// Where the channel of the document lies.
const SHOWN: &str = "/var/lib/fchannel/a1.c1";

/// 180 events in six segments, of which the first 40 are taken.
fn channel_in(dir: &Path) {
    let options =
        Options { segment_bytes_max: 64 << 10, free_space_min_bytes: 0, ..Options::default() };
    let channel = Channel::open_on(Arc::new(Repeating::default()), dir, options).unwrap();
    for number in 0..180 {
        let body = format!("GET /item/{number:04} 200 {}", "x".repeat(2000));
        let event = Event::new(Headers::from_iter([("host", "web1")]), body);
        let mut put = channel.begin_put();
        put.push_with(|buffer| event.encode_into(buffer)).unwrap();
        put.commit().unwrap();
    }
    channel.begin_take(TakeLimit::events(40)).unwrap().commit().unwrap();
    channel.close().unwrap();
}

fn numbered(dir: &Path, kind: &str) -> Vec<PathBuf> {
    let mut found: Vec<(u64, PathBuf)> = std::fs::read_dir(dir)
        .unwrap()
        .filter_map(|entry| {
            let path = entry.unwrap().path();
            let number = path.file_name()?.to_str()?.strip_prefix(kind)?.parse().ok()?;
            Some((number, path))
        })
        .collect();
    found.sort();
    found.into_iter().map(|(_, path)| path).collect()
}

/// A flipped byte in a pending event, a segment in the middle that is gone, a cut checkpoint.
fn damage(dir: &Path) {
    let segments = numbered(dir, "seg-");
    let flipped = &segments[segments.len() - 3];
    let mut bytes = std::fs::read(flipped).unwrap();
    let at = bytes.windows(9).position(|window| window == b"GET /item").unwrap();
    bytes[at + 30] ^= 4;
    std::fs::write(flipped, bytes).unwrap();
    std::fs::remove_file(&segments[segments.len() - 2]).unwrap();
    let checkpoint = numbered(dir, "checkpoint-").pop().unwrap();
    std::fs::File::options().write(true).open(checkpoint).unwrap().set_len(30).unwrap();
}

/// Every file but the locks and the reports.
fn picture(dir: &Path) -> BTreeMap<PathBuf, Option<Vec<u8>>> {
    let mut picture = BTreeMap::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if path.is_dir() {
            picture.extend(picture_below(&path));
            picture.insert(path, None);
        } else if name != "in_use.lock" && !name.starts_with("repair-") {
            picture.insert(path.clone(), Some(std::fs::read(path).unwrap()));
        }
    }
    picture
}

fn picture_below(dir: &Path) -> BTreeMap<PathBuf, Option<Vec<u8>>> {
    picture(dir)
}

/// A shell at the channel: what is typed, what is printed, how it ends.
struct Shell<'a> {
    dir: &'a Path,
    transcript: String,
}

impl Shell<'_> {
    fn run(&mut self, line: &str) -> String {
        self.run_to(line, 0)
    }

    /// Runs `fchannel` with the words of `line`, and expects it to end with `code`.
    fn run_to(&mut self, line: &str, code: i32) -> String {
        let words: Vec<String> =
            line.split(' ').map(|word| word.replace(SHOWN, self.dir.to_str().unwrap())).collect();
        let mut command = Command::new(env!("CARGO_BIN_EXE_fchannel"));
        command.args(&words).env("NO_COLOR", "1");
        // A terminal gets tables unasked; a test has none.
        let verb = words.get(1).map_or("", String::as_str);
        if words[0] == "inspect" || matches!(verb, "list" | "show") {
            command.args(["-o", "table"]);
        }
        let out = command.output().unwrap();
        let printed = format!(
            "{}{}",
            String::from_utf8_lossy(&out.stdout),
            String::from_utf8_lossy(&out.stderr)
        );
        assert_eq!(out.status.code(), Some(code), "{line}: {printed}");
        let shown = masked(&printed, self.dir);
        let exit = if code == 0 { String::new() } else { format!("exit {code}\n") };
        let typed = masked(line, self.dir);
        self.transcript.push_str(&format!("$ fchannel {typed}{shown}{exit}\n"));
        printed
    }

    fn section(&mut self) -> String {
        std::mem::take(&mut self.transcript).trim_end().to_owned() + "\n"
    }
}

fn masked(text: &str, dir: &Path) -> String {
    let text = text.replace(dir.to_str().unwrap(), SHOWN);
    let mask = |text: String, pattern: &str, by: &str| {
        regex::Regex::new(pattern).unwrap().replace_all(&text, by).into_owned()
    };
    let text = mask(text, r"repair-\d{8}T\d{6}Z", "repair-20261120T102233Z");
    let text = mask(text, r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", "2026-11-20T10:22:33.000Z");
    // Lines that nobody reads to their end.
    text.lines()
        .map(|line| {
            let cut: String = line.chars().take(132).collect();
            if cut.len() < line.len() { format!("{}…\n", cut) } else { format!("{line}\n") }
        })
        .collect()
}

#[test]
fn the_operators_guide_shows_what_happens() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("c1");
    channel_in(&dir);
    damage(&dir);
    let before = picture(&dir);
    let mut shell = Shell { dir: &dir, transcript: String::new() };
    let mut sections = Vec::new();

    shell.run_to(&format!("inspect verify {SHOWN}"), 3);
    sections.push(("verify", shell.section()));
    shell.run("explain FC2101");
    sections.push(("explain", shell.section()));
    shell.run_to(&format!("repair {SHOWN}"), 3);
    assert_eq!(picture(&dir), before, "a plan changes nothing");
    sections.push(("plan", shell.section()));
    let applied = shell.run_to(&format!("repair {SHOWN} --apply"), 4);
    sections.push(("apply", shell.section()));
    shell.run(&format!("inspect verify {SHOWN}"));
    shell.run(&format!("quarantine list {SHOWN}"));
    sections.push(("after", shell.section()));

    let report = applied.lines().find_map(|line| line.strip_prefix("report   ")).unwrap();
    let written: serde_json::Value =
        serde_json::from_slice(&std::fs::read(report).unwrap()).unwrap();
    assert_eq!(written["schema"], "fchannel.repair/1");
    let (lost, damages) = (&written["lost"]["events"], written["damages"].as_array().unwrap());
    let named: u64 = damages.iter().map(|damage| damage["events"].as_u64().unwrap()).sum();
    assert_eq!(lost.as_u64(), Some(named), "the report names exactly what is lost");
    assert!(written["findings_after"].as_array().unwrap().is_empty());
    shell.run(&format!("repair undo {report}"));
    assert_eq!(picture(&dir), before, "to the byte");
    shell.run_to(&format!("inspect verify {SHOWN} --quick"), 3);
    sections.push(("undo", shell.section()));

    shell.run_to(&format!("repair {SHOWN} --apply"), 4);
    drop(shell.section());
    let list = Command::new(env!("CARGO_BIN_EXE_fchannel"))
        .args(["quarantine", "list", dir.to_str().unwrap(), "-o", "json"])
        .output()
        .unwrap();
    let list: serde_json::Value = serde_json::from_slice(&list.stdout).unwrap();
    assert_eq!(list["schema"], "fchannel.quarantine/1");
    let rows = list["rows"].as_array().unwrap();
    let readable = rows.iter().find(|row| row["events"] == 1).unwrap()["id"].as_u64().unwrap();
    shell.run(&format!("quarantine show {SHOWN} {readable}"));
    shell.run_to(&format!("quarantine requeue {SHOWN} {readable}"), 3);
    shell.run(&format!("quarantine requeue {SHOWN} {readable} --apply"));
    sections.push(("settle", shell.section()));

    // What was put back stands at the end, and says where it was.
    let inspector = fchannel::Inspector::open(&dir).unwrap();
    let mut last = None;
    inspector
        .events(
            fchannel::Which::Pending,
            fchannel::Position::Oldest,
            fchannel::Position::Newest,
            |row| {
                if let fchannel::EventRow::Event(event) = row {
                    last = Some(Event::decode(event.payload).unwrap());
                }
                std::ops::ControlFlow::Continue(())
            },
        )
        .unwrap();
    let last = last.unwrap();
    assert_eq!(last.headers.get("fchannel.quarantine"), Some(readable.to_string().as_str()));
    assert_eq!(last.headers.get("fchannel.salvage"), Some("unverified"));
    for row in rows.iter().filter(|row| row["id"] != readable) {
        shell.run(&format!("quarantine drop {SHOWN} {} --apply", row["id"]));
    }
    assert!(fchannel::Inspector::open(&dir).unwrap().quarantined().is_empty());
    compare(&sections);
}

/// Each section stands in the document behind a line `<!-- transcript: NAME -->`, as a fenced block.
fn compare(sections: &[(&str, String)]) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/REPAIR.md");
    let mut text = std::fs::read_to_string(&path).unwrap();
    let kept = text.clone();
    for (name, transcript) in sections {
        let head = format!("<!-- transcript: {name} -->\n```text\n");
        let (before, rest) = text.split_once(&head).unwrap_or_else(|| panic!("no section {name}"));
        let (_, behind) = rest.split_once("```\n").unwrap();
        text = format!("{before}{head}{transcript}```\n{behind}");
    }
    if std::env::var_os("FCHANNEL_BLESS").is_some() {
        std::fs::write(&path, &text).unwrap();
    } else {
        assert_eq!(kept, text, "{}", path.display());
    }
}
