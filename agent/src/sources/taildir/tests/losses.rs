//! Files that were cut, replaced, removed or shut away: nothing is lost without a word.

use super::*;

/// The warnings with this text.
fn warnings(log: &Log, text: &str) -> Vec<String> {
    let log = log.text();
    let lines = log.lines().filter(|line| line.contains("WARN") && line.contains(text));
    lines.map(str::to_owned).collect()
}

#[tokio::test]
async fn a_file_that_was_cut_and_has_grown_beyond_its_mark_while_nobody_looked_is_read_from_its_start()
 {
    let (log, _guard) = Log::start();
    let dir = Dir::new();
    dir.append("f", "old 1\nold 2\nold 3\n");
    let source = dir.run("f", &[]).await;
    source.out.wait_for(3).await;
    let out = source.stop().await;
    // As long as what was read, and longer.
    for text in ["new 1\nnew 2\nnew 3\n", "newer 1\nnewer 2\nnewer 3\n"] {
        fs::write(dir.path("f"), text).unwrap();
        let seen = out.events().len();
        let source = dir.start("f", &[], Arc::clone(&out)).await;
        let bodies = source.out.wait_for(seen + 3).await;
        assert_eq!(bodies[seen..].join("\n") + "\n", text);
        source.stop().await;
    }
    let warnings = warnings(&log, "the file was cut or replaced");
    assert_eq!(warnings.len(), 2, "{}", log.text());
    let inode = fs::metadata(dir.path("f")).unwrap().ino();
    assert!(warnings[0].contains(&format!("position=18 inode={inode}")), "{}", warnings[0]);
    // What goes on is read on.
    let seen = out.events().len();
    dir.append("f", "more\n");
    let source = dir.start("f", &[], out).await;
    assert_eq!(source.out.wait_for(seen + 1).await[seen..], ["more"]);
    source.stop().await;
}

#[tokio::test]
async fn a_cut_between_two_looks_is_seen() {
    let dir = Dir::new();
    dir.append("f", "old 1\nold 2\n");
    let source = dir.run("f", &[]).await;
    source.out.wait_for(2).await;
    // Both before the source, which shares this thread, has its turn.
    fs::write(dir.path("f"), "").unwrap();
    dir.append("f", "new 1\nnew 2\nnew 3\n");
    assert_eq!(source.out.wait_for(5).await[2..], ["new 1", "new 2", "new 3"]);
    let out = source.stop().await;
    assert_eq!(mark(&out), 18);
}

#[tokio::test]
async fn skip_to_end_and_a_cut_before_the_first_line() {
    let dir = Dir::new();
    dir.append("f", "old 1\nold 2\n");
    let source = dir.run("f", &[("skipToEnd", "true")]).await;
    fs::write(dir.path("f"), "new 1\nnew 2\nnew 3\n").unwrap();
    assert_eq!(source.out.wait_for(3).await, ["new 1", "new 2", "new 3"]);
    source.stop().await;
}

#[tokio::test]
async fn another_file_with_the_number_of_one_that_was_renamed_is_not_read() {
    let dir = Dir::new();
    dir.append("f", "one\n");
    let source = dir.run("f", &[]).await;
    source.out.wait_for(1).await;
    let out = source.stop().await;
    // Where no birth is known this is all there is to tell it by.
    dir.rename("f", "unrelated");
    fs::write(dir.path("unrelated"), "a secret of somebody else\n").unwrap();
    dir.append("f", "two\n");
    let source = dir.start("f", &[], out).await;
    assert_eq!(source.out.wait_for(2).await, ["one", "two"]);
    assert_eq!(source.stop().await.bodies().len(), 2);
}

#[tokio::test]
async fn unread_lines_of_a_file_that_was_deleted_while_the_agent_was_down_are_a_warning() {
    let (log, _guard) = Log::start();
    let dir = Dir::new();
    dir.append("f", &backlog(20_000));
    let source = dir.run("f", &[SLOW]).await;
    source.out.wait_for(1).await;
    let out = source.stop().await;
    let unread = 200_000 - mark(&out);
    assert!(unread > 0);
    fs::remove_file(dir.path("f")).unwrap();
    let source = dir.start("f", &[], out).await;
    source.stop().await;
    let warnings = warnings(&log, "gone since the agent was stopped");
    assert_eq!(warnings.len(), 1, "{}", log.text());
    let path = dir.path("f").display().to_string();
    assert!(warnings[0].contains(&path), "{}", warnings[0]);
    assert!(warnings[0].contains(&format!("unread_bytes_min={unread}")), "{}", warnings[0]);
}

#[tokio::test]
async fn a_renamed_file_that_can_never_be_opened_is_forgotten_with_one_warning() {
    let (log, _guard) = Log::start();
    let dir = Dir::new();
    dir.append("f", "one\ntwo\n");
    let rules = Rules {
        position_file: dir.positions(),
        byte_offset_header: false,
        file_header: None,
        skip_to_end: false,
        idle_after: Duration::ZERO,
        save_every: Duration::from_secs(3),
        batch_events: 1,
        turn_batches: 1,
    };
    let groups =
        vec![matcher::Group::new("f", dir.path("f").to_str().unwrap(), Vec::new()).unwrap()];
    let (_stop, stop) = crate::component::Stop::new();
    let pipeline: Arc<Collector> = Arc::default();
    let cx = SourceContext { name: "r1".into(), pipeline, stop, on_ready: Arc::new(|_| {}) };
    let mut running = Running::start(Taildir { groups, rules }, cx).unwrap();
    let tail = running.tails.files.values_mut().next().unwrap();
    assert_eq!(tail.read(1, false).unwrap().lines.len(), 1);
    tail.position = 4;
    tail.close();
    (tail.gone, tail.pending) = (true, false);
    tail.lies_at = dir.path("f.1");
    fs::remove_dir_all(dir.path("")).unwrap();
    for _ in 0..2 {
        assert!(running.close_idle().await.is_ok());
    }
    assert!(running.tails.files.is_empty());
    assert_eq!(running.tails.stale.len(), 1);
    let warnings = warnings(&log, "followed no longer");
    assert_eq!(warnings.len(), 1, "{}", log.text());
    assert!(warnings[0].contains("position=4 unread_bytes_min=4"), "{}", warnings[0]);
}
