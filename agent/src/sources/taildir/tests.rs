mod losses;

use super::*;
use crate::testing::{Collector, Log, Running as Source};
use std::{
    fs,
    io::Write,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

struct Dir(tempfile::TempDir);

impl Dir {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join("logs").join(name)
    }

    fn positions(&self) -> PathBuf {
        self.0.path().join("state/positions.json")
    }

    fn append(&self, name: &str, text: &str) {
        fs::create_dir_all(self.path("")).unwrap();
        fs::OpenOptions::new()
            .append(true)
            .create(true)
            .open(self.path(name))
            .unwrap()
            .write_all(text.as_bytes())
            .unwrap();
    }

    fn rename(&self, from: &str, to: &str) {
        fs::rename(self.path(from), self.path(to)).unwrap();
    }

    async fn start(&self, pattern: &str, keys: &[(&str, &str)], out: Arc<Collector>) -> Source {
        let (pattern, positions) = (self.path(pattern), self.positions());
        let mut all = vec![
            ("filegroups", "f1"),
            ("filegroups.f1", pattern.to_str().unwrap()),
            ("positionFile", positions.to_str().unwrap()),
        ];
        all.extend(keys);
        Source::start_into(&ENTRY, &all, out).await
    }

    async fn run(&self, pattern: &str, keys: &[(&str, &str)]) -> Source {
        self.start(pattern, keys, Arc::default()).await
    }
}

const SOON: (&str, &str) = ("idleTimeout", "50");

#[tokio::test]
async fn test_taildir_source_follows_files_and_new_ones() {
    let dir = Dir::new();
    dir.append("a.log", "a1\na2\n");
    dir.append("other", "no\n");
    let source = dir.run(r".*\.log", &[]).await;
    assert_eq!(source.out.wait_for(2).await, ["a1", "a2"]);
    dir.append("a.log", "a3\n");
    source.out.wait_for(3).await;
    dir.append("b.log", "b1\n");
    source.out.wait_for(4).await;
    fs::remove_file(dir.path("a.log")).unwrap();
    dir.append("b.log", "b2\n");
    assert_eq!(source.out.wait_for(5).await, ["a1", "a2", "a3", "b1", "b2"]);
    source.stop().await;
}

#[tokio::test]
async fn test_taildir_source_headers() {
    let dir = Dir::new();
    dir.append("a.log", "one\n");
    dir.append("b.txt", "two\nthree\n");
    let second = dir.path(r".*\.txt");
    let keys = [
        ("filegroups", "f1 f2"),
        ("filegroups.f2", second.to_str().unwrap()),
        ("headers.f1.kind", "log"),
        ("headers.f2.a.b", "dots"),
        ("fileHeader", "true"),
        ("fileHeaderKey", "path"),
        ("byteOffsetHeader", "true"),
    ];
    let source = dir.run(r".*\.log", &keys).await;
    source.out.wait_for(3).await;
    for event in source.stop().await.events() {
        let headers: Vec<_> = event.headers.iter().collect();
        let (path, txt) = (dir.path("a.log"), dir.path("b.txt"));
        let expected = match &event.body[..] {
            b"one" => [("kind", "log"), ("path", path.to_str().unwrap()), ("byteoffset", "0")],
            b"two" => [("a.b", "dots"), ("path", txt.to_str().unwrap()), ("byteoffset", "0")],
            _ => [("a.b", "dots"), ("path", txt.to_str().unwrap()), ("byteoffset", "4")],
        };
        assert_eq!(headers, expected);
    }
}

#[tokio::test]
async fn test_taildir_source_order_by_modification_time_and_max_batch_count() {
    let dir = Dir::new();
    for (name, age) in [("new", 10), ("old", 30), ("mid", 20)] {
        dir.append(name, &format!("{name}1\n{name}2\n"));
        let time = std::time::SystemTime::now() - Duration::from_secs(age);
        fs::File::options().append(true).open(dir.path(name)).unwrap().set_modified(time).unwrap();
    }
    let source = dir.run(".*", &[]).await;
    assert_eq!(source.out.wait_for(6).await, ["old1", "old2", "mid1", "mid2", "new1", "new2"]);
    assert_eq!(source.stop().await.batch_sizes(), [2, 2, 2], "a transaction is about one file");
    fs::remove_file(dir.positions()).unwrap();
    let source = dir.run(".*", &[("maxBatchCount", "1"), ("batchSize", "1")]).await;
    assert_eq!(source.out.wait_for(6).await, ["old1", "mid1", "new1", "old2", "mid2", "new2"]);
    source.stop().await;
}

#[tokio::test]
async fn test_taildir_event_reader_partial_line_is_held_back_until_idle() {
    let dir = Dir::new();
    dir.append("f", "whole\npar");
    let source = dir.run("f", &[]).await;
    assert_eq!(source.out.wait_for(1).await, ["whole"]);
    dir.append("f", "tial\n");
    assert_eq!(source.out.wait_for(2).await, ["whole", "partial"]);
    source.stop().await;
    dir.append("f", "no end");
    let source = dir.run("f", &[SOON]).await;
    assert_eq!(source.out.wait_for(1).await, ["no end"]);
    dir.append("f", " and on\n");
    assert_eq!(source.out.wait_for(2).await, ["no end", " and on"]);
    source.stop().await;
}

#[tokio::test]
async fn test_taildir_event_reader_skip_to_end_is_about_the_files_at_the_start() {
    let dir = Dir::new();
    dir.append("a", "old\n");
    let source = dir.run(".*", &[("skipToEnd", "true")]).await;
    dir.append("a", "new\n");
    source.out.wait_for(1).await;
    dir.append("b", "from the start\n");
    assert_eq!(source.out.wait_for(2).await, ["new", "from the start"]);
    source.stop().await;
}

#[tokio::test]
async fn test_taildir_event_reader_position_file() {
    let dir = Dir::new();
    dir.append("a", "one\ntwo\n");
    dir.append("b", "other\n");
    let source = dir.run("[ab]", &[]).await;
    source.out.wait_for(3).await;
    source.stop().await;
    let inode = |name: &str| fs::metadata(dir.path(name)).unwrap().ino();
    let row = |name: &str, position| {
        format!(
            "{{\"inode\":{},\"pos\":{position},\"file\":\"{}\"}}",
            inode(name),
            dir.path(name).display()
        )
    };
    assert_eq!(
        fs::read_to_string(dir.positions()).unwrap(),
        format!("[{},{}]", row("a", 8), row("b", 6))
    );
    // Without marks the position file counts; inode and path must both be the same.
    fs::write(
        dir.positions(),
        format!("[{},{}]", row("a", 4), row("b", 6).replace("logs/b", "logs/c")),
    )
    .unwrap();
    let source = dir.run("[ab]", &[]).await;
    let mut bodies = source.out.wait_for(2).await;
    bodies.sort();
    assert_eq!(bodies, ["other", "two"]);
    source.stop().await;
}

#[tokio::test]
async fn the_mark_counts_and_not_the_position_file() {
    let dir = Dir::new();
    dir.append("a", "one\ntwo\n");
    let source = dir.run("a", &[]).await;
    source.out.wait_for(2).await;
    let out = source.stop().await;
    // As after a kill: the events and their mark are committed, the position file is of before.
    fs::remove_file(dir.positions()).unwrap();
    dir.append("a", "three\n");
    let source = dir.start("a", &[], out).await;
    assert_eq!(source.out.wait_for(3).await, ["one", "two", "three"]);
    source.stop().await;
}

#[tokio::test]
async fn a_position_file_ahead_of_the_mark_is_a_warning_and_one_behind_is_none() {
    let (log, _guard) = Log::start();
    let dir = Dir::new();
    dir.append("a", "one\ntwo\n");
    let mut out = Arc::default();
    for (edited, level) in [(None, None), (Some(4), Some("INFO")), (Some(9), Some("WARN"))] {
        log.clear();
        if let Some(position) = edited {
            let saved = fs::read_to_string(dir.positions()).unwrap();
            assert!(saved.contains("\"pos\":8"), "{saved}");
            let edited = saved.replace("\"pos\":8", &format!("\"pos\":{position}"));
            fs::write(dir.positions(), edited).unwrap();
        }
        let source = dir.start("a", &[], out).await;
        assert_eq!(source.out.wait_for(2).await, ["one", "two"]);
        out = source.stop().await;
        let text = log.text();
        let line = text.lines().find(|line| line.contains(" wins"));
        assert_eq!(line.is_some(), level.is_some(), "{text}");
        if let (Some(line), Some(level), Some(position)) = (line, level, edited) {
            assert!(line.contains(level) && line.contains(&format!("position_file={position}")));
        }
    }
}

#[tokio::test]
async fn a_renamed_file_is_read_to_its_end_though_it_no_longer_matches() {
    let dir = Dir::new();
    dir.append("access.log", "one\n");
    let source = dir.run(r"access\.log", &[]).await;
    source.out.wait_for(1).await;
    dir.rename("access.log", "access.log.1");
    // nginx goes on writing to the old file until it is told of the new one.
    dir.append("access.log.1", "two\n");
    dir.append("access.log", "three\n");
    source.out.wait_for(3).await;
    dir.append("access.log.1", "four\n");
    dir.append("access.log", "five\n");
    let mut bodies = source.out.wait_for(5).await;
    bodies.sort();
    assert_eq!(bodies, ["five", "four", "one", "three", "two"]);
    source.stop().await;
}

#[tokio::test]
async fn a_file_that_was_renamed_while_the_agent_was_down_is_read_to_its_end() {
    for marks in [true, false] {
        let dir = Dir::new();
        dir.append("access.log", "one\n");
        let source = dir.run(r"access\.log", &[]).await;
        source.out.wait_for(1).await;
        let out = source.stop().await;
        dir.append("access.log", "two\n");
        dir.rename("access.log", "access.log.1");
        dir.append("access.log", "three\n");
        dir.append("unrelated", "never followed\n");
        let out = if marks { out } else { Arc::default() };
        let seen = out.events().len();
        let source = dir.start(r"access\.log", &[SOON], out).await;
        source.out.wait_for(seen + 2).await;
        let mut bodies = source.out.bodies().split_off(seen);
        bodies.sort();
        assert_eq!(bodies, ["three", "two"]);
        // Read to its end it is forgotten, and its mark with it.
        source
            .out
            .until("one mark to be left", |out| {
                out.marks().values().filter(|value| !value.is_empty()).count() == 1
            })
            .await;
        source.stop().await;
    }
}

#[tokio::test]
async fn a_renamed_file_that_matches_again_is_read_from_its_start_as_flume_does() {
    let dir = Dir::new();
    dir.append("a.log", "one\n");
    let source = dir.run(r".*\.log", &[]).await;
    source.out.wait_for(1).await;
    dir.rename("a.log", "b.log");
    assert_eq!(source.out.wait_for(2).await, ["one", "one"]);
    dir.append("b.log", "two\n");
    assert_eq!(source.out.wait_for(3).await, ["one", "one", "two"]);
    source.stop().await;
}

#[tokio::test]
async fn a_file_that_was_cut_or_deleted_is_read_anew() {
    let dir = Dir::new();
    dir.append("f", "a long first line\n");
    let source = dir.run("f", &[]).await;
    source.out.wait_for(1).await;
    fs::write(dir.path("f"), "cut\n").unwrap();
    source.out.wait_for(2).await;
    fs::remove_file(dir.path("f")).unwrap();
    dir.append("f", "new\n");
    assert_eq!(source.out.wait_for(3).await[1..], ["cut", "new"]);
    source.stop().await;
}

/// The position that the only mark says.
fn mark(out: &Collector) -> u64 {
    let marks = out.marks();
    let mut live = marks.values().filter(|value| !value.is_empty());
    let mark = position::Mark::decode(live.next().unwrap()).unwrap();
    assert!(live.next().is_none());
    mark.position
}

#[tokio::test]
async fn a_file_that_was_cut_and_grew_past_its_mark_while_the_agent_was_down_loses_nothing() {
    for cut_while_down in [false, true] {
        let dir = Dir::new();
        dir.append("f", "a long first line\n");
        let mut source = dir.run("f", &[]).await;
        source.out.wait_for(1).await;
        if cut_while_down {
            let out = source.stop().await;
            fs::write(dir.path("f"), "").unwrap();
            source = dir.start("f", &[], out).await;
        } else {
            // As copytruncate does.
            fs::write(dir.path("f"), "").unwrap();
        }
        source.out.until("the mark to go back", |out| mark(out) == 0).await;
        let out = source.stop().await;
        dir.append("f", "one that is not skipped\ntwo\n");
        let source = dir.start("f", &[], out).await;
        assert_eq!(source.out.wait_for(3).await[1..], ["one that is not skipped", "two"]);
        source.stop().await;
    }
}

/// So many lines of ten bytes.
fn backlog(lines: u32) -> String {
    (0..lines).map(|number| format!("{number:09}\n")).collect()
}

/// A transaction for each line.
const SLOW: (&str, &str) = ("batchSize", "1");

#[tokio::test]
async fn a_backlog_does_not_put_off_the_end() {
    let dir = Dir::new();
    dir.append("f", &backlog(20_000));
    let source = dir.run("f", &[SLOW]).await;
    source.out.wait_for(1).await;
    let out = source.stop().await;
    let events = out.events().len();
    assert!(events < 10_000, "{events}");
    assert_eq!(mark(&out), 10 * events as u64);
    let saved = position::load(&dir.positions());
    assert_eq!(saved.rows[0].position, 10 * events as u64, "written at the end");
    let source = dir.start("f", &[], out).await;
    assert_eq!(source.out.wait_for(20_000).await.concat(), backlog(20_000).replace('\n', ""));
    source.stop().await;
}

#[tokio::test]
async fn a_backlog_does_not_put_off_the_position_file() {
    let dir = Dir::new();
    dir.append("f", &backlog(20_000));
    let source = dir.run("f", &[SLOW, ("writePosInterval", "1")]).await;
    let between = |out: &Collector| {
        let rows = position::load(&dir.positions()).rows;
        let done = out.events().len() == 20_000;
        rows.iter().any(|row| row.position > 0 && row.position < 200_000) || done
    };
    source.out.until("a position within the backlog", between).await;
    assert!(source.out.events().len() < 20_000);
    source.stop().await;
}

#[tokio::test]
async fn a_file_that_is_removed_before_its_turn_is_read_nevertheless() {
    let dir = Dir::new();
    dir.append("a", &backlog(3000));
    let source = dir.run(".*", &[SLOW]).await;
    source.out.wait_for(1).await;
    dir.append("b", "b1\nb2\n");
    dir.append("c", "c1\n");
    source.out.wait_for(2000).await;
    dir.rename("b", "../b.gz");
    fs::remove_file(dir.path("c")).unwrap();
    let bodies = source.out.wait_for(3003).await;
    assert!(["b1", "b2", "c1"].iter().all(|body| bodies.iter().any(|seen| seen == body)));
    source.stop().await;
}

#[tokio::test]
async fn files_found_at_the_start_are_open_before_their_turn() {
    let dir = Dir::new();
    dir.append("a", &backlog(10));
    dir.append("b", "b1\n");
    let source = dir.run(".*", &[SLOW]).await;
    source.out.wait_for(1).await;
    fs::remove_file(dir.path("b")).unwrap();
    assert_eq!(source.out.wait_for(11).await[10], "b1");
    source.stop().await;
}

#[tokio::test]
async fn a_renamed_file_is_finished_before_its_successor_begins_and_others_have_their_turns() {
    let dir = Dir::new();
    dir.append("access.log", &backlog(4000));
    let source = dir.run(r".*\.log", &[SLOW]).await;
    source.out.wait_for(1).await;
    dir.rename("access.log", "access.log.1");
    dir.append("access.log", "second\n");
    dir.append("other.log", "other\n");
    source.out.wait_for(1100).await;
    dir.rename("access.log", "access.log.2");
    dir.append("access.log", "third\n");
    let bodies = source.out.wait_for(4003).await;
    let at = |body: &str| bodies.iter().position(|seen| seen == body).unwrap();
    assert!(at("other") < 4000, "a turn of its own");
    assert_eq!((at("second"), at("third")), (4001, 4002));
    source.stop().await;
}

#[tokio::test]
async fn marks_and_rows_of_files_that_are_gone_are_removed() {
    let dir = Dir::new();
    dir.append("a", "one\n");
    dir.append("b", "two\n");
    let source = dir.run("[ab]", &[SOON]).await;
    source.out.wait_for(2).await;
    fs::remove_file(dir.path("a")).unwrap();
    let live = |out: &Collector| out.marks().values().filter(|value| !value.is_empty()).count();
    source.out.until("the mark of a deleted file to go", |out| live(out) == 1).await;
    let out = source.stop().await;
    assert!(!fs::read_to_string(dir.positions()).unwrap().contains("logs/a"));
    // And when it was deleted while the agent was down.
    fs::remove_file(dir.path("b")).unwrap();
    let source = dir.start("[ab]", &[], out).await;
    source.out.until("the other mark to go", |out| live(out) == 0).await;
    source.stop().await;
}

#[tokio::test]
async fn test_taildir_event_reader_a_thousand_files() {
    let dir = Dir::new();
    for number in 0..1000 {
        dir.append(&format!("f{number}"), &format!("{number}\n"));
    }
    let source = dir.run("f.*", &[]).await;
    let mut bodies = source.out.wait_for(1000).await;
    bodies.sort_by_key(|body| body.parse::<u32>().unwrap());
    assert_eq!(bodies, (0..1000).map(|number| number.to_string()).collect::<Vec<_>>());
    source.stop().await;
}

#[tokio::test]
async fn a_file_behind_a_link_is_followed_though_the_kernel_does_not_tell() {
    let dir = Dir::new();
    let target = dir.0.path().join("target");
    fs::write(&target, "one\n").unwrap();
    fs::create_dir_all(dir.path("")).unwrap();
    std::os::unix::fs::symlink(&target, dir.path("link.log")).unwrap();
    // Idle files are looked for as often, which makes the slow scan quick.
    let source = dir.run(r".*\.log", &[("idleTimeout", "200")]).await;
    source.out.wait_for(1).await;
    fs::OpenOptions::new().append(true).open(&target).unwrap().write_all(b"two\n").unwrap();
    assert_eq!(source.out.wait_for(2).await, ["one", "two"]);
    source.stop().await;
}

#[tokio::test]
async fn test_taildir_matcher_missing_directory() {
    let source = crate::testing::source(
        &ENTRY,
        &[
            ("filegroups", "f1"),
            ("filegroups.f1", "/no/such/directory/.*"),
            ("positionFile", Path::new("/tmp").join("unused.json").to_str().unwrap()),
        ],
    );
    let (_sender, stop) = crate::component::Stop::new();
    let cx = SourceContext {
        name: "r1".into(),
        pipeline: Arc::<Collector>::default(),
        stop,
        on_ready: Arc::new(|_| {}),
    };
    let error = source.run(cx).await.unwrap_err();
    assert!(error.0.contains("/no/such/directory"), "{error}");
}
