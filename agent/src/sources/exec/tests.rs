use super::*;
use crate::{
    component::{Put, PutError, StopSender},
    testing::Running,
};

async fn run(keys: &[(&str, &str)]) -> Running {
    Running::start(&ENTRY, keys).await
}

async fn shell(command: &str) -> Running {
    run(&[("shell", "/bin/sh -c"), ("command", command)]).await
}

#[tokio::test]
async fn test_exec_source_file_content_line_by_line() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("input");
    let lines: Vec<String> = (0..100).map(|number| format!("line {number}")).collect();
    std::fs::write(&path, lines.join("\n") + "\n").unwrap();
    let source = run(&[("command", &format!("cat {}", path.display()))]).await;
    assert_eq!(source.out.wait_for(100).await, lines);
    let out = source.stop().await;
    assert!(out.batch_sizes().iter().all(|size| *size <= 20));
}

#[tokio::test]
async fn test_exec_source_shell_commands() {
    for (command, expected) in [
        ("echo one && printf 'two\\nthree'", vec!["one", "two", "three"]),
        ("seq 5 | tail -2", vec!["4", "5"]),
        ("echo `echo nested` $(echo deep)", vec!["nested deep"]),
        ("printf '%s\\n' \"a  'b'\" 'c\\d'", vec!["a  'b'", "c\\d"]),
        ("printf 'a\\r\\nb\\rc\\n\\nd'", vec!["a", "b", "c", "", "d"]),
    ] {
        let source = shell(command).await;
        assert_eq!(source.out.wait_for(expected.len()).await, expected, "{command}");
        source.stop().await;
    }
}

#[tokio::test]
async fn test_exec_source_lines_do_not_wait_for_a_batch() {
    let source = run(&[
        ("shell", "/bin/sh -c"),
        ("command", "seq 3; exec sleep 1000"),
        ("batchSize", "50000"),
    ])
    .await;
    assert_eq!(source.out.wait_for(3).await, ["1", "2", "3"]);
    source.stop().await;
}

#[tokio::test]
async fn test_exec_source_restart() {
    let source =
        run(&[("command", "echo again"), ("restart", "true"), ("restartThrottle", "10")]).await;
    assert_eq!(source.out.wait_for(5).await[..5], ["again"; 5]);
    source.stop().await;
}

#[tokio::test]
async fn test_exec_source_stop_kills_the_whole_group() {
    let source = shell("sleep 1000 & echo $!; echo $$; wait").await;
    let pids = source.out.wait_for(2).await;
    let alive = |pid: &String| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // A zombie is dead; only its parent has not looked yet.
        !(stat.is_empty() || stat.contains(") Z "))
    };
    assert!(pids.iter().all(alive));
    let out = source.stop().await;
    out.until("the end of the group", |_| !pids.iter().any(alive)).await;
}

#[tokio::test]
async fn a_command_that_ignores_the_polite_signal_is_killed() {
    let source = shell("trap '' TERM; echo ready; while :; do sleep 1000; done").await;
    source.out.wait_for(1).await;
    source.stop().await;
}

#[tokio::test]
async fn stderr_is_read_though_not_taken() {
    let source = shell("head -c 1000000 /dev/zero | tr '\\0' x >&2; echo done").await;
    assert_eq!(source.out.wait_for(1).await, ["done"]);
    source.stop().await;
}

#[test]
fn a_charset_that_is_not_supported_is_named() {
    for charset in ["UTF-16", "UTF-16LE", "IBM037"] {
        let keys = crate::testing::settings(&ENTRY, &[("command", "true"), ("charset", charset)]);
        let error = build(&keys, &Parts::default()).err().unwrap();
        assert!(error.0.contains("`charset`") && !error.0.contains(charset), "{error}");
    }
}

#[tokio::test]
async fn bytes_of_other_charsets_are_split_at_line_ends_only() {
    let keys = [
        ("shell", "/bin/sh -c"),
        ("command", r"printf '\223\372\226{\n\203\134x\n'"),
        ("charset", "Shift_JIS"),
    ];
    let source = run(&keys).await;
    source.out.wait_for(2).await;
    let events = source.stop().await.events();
    assert_eq!(&events[0].body[..], b"\x93\xFA\x96{");
    assert_eq!(&events[1].body[..], b"\x83\\x");
}

fn context(pipeline: Arc<dyn Put>) -> (StopSender, SourceContext) {
    let (sender, stop) = Stop::new();
    (sender, SourceContext { name: "r1".into(), pipeline, stop, on_ready: Arc::new(|_| {}) })
}

async fn error_of(command: &str) -> String {
    let source = crate::testing::source(&ENTRY, &[("command", command)]);
    let (_sender, cx) = context(Arc::<crate::testing::Collector>::default());
    source.run(cx).await.unwrap_err().0
}

#[tokio::test]
async fn a_command_that_does_not_exist_is_an_error() {
    assert!(error_of("/no/such/command").await.contains("/no/such/command"));
}

#[tokio::test]
async fn an_assignment_in_place_of_a_program_is_not_printed() {
    let error = error_of("PGPASSWORD=hunter2 psql").await;
    assert!(error.contains("`PGPASSWORD=...` (an assignment needs `shell`)"), "{error}");
    assert!(!error.contains("hunter2"), "{error}");
}

/// A pipeline of an agent that stops.
struct Stopping;

impl Put for Stopping {
    fn put<'a>(&'a self, _: &'a mut PutBatch, _: Retry) -> BoxFuture<'a, Result<(), PutError>> {
        Box::pin(std::future::ready(Err(PutError::Stopped)))
    }

    fn mark(&self, _: &[u8]) -> Option<bytes::Bytes> {
        None
    }
}

#[tokio::test]
async fn lines_that_are_lost_by_a_stop_are_counted() {
    let (_sender, cx) = context(Arc::new(Stopping));
    let mut lines = Lines::new(Ending::Any, LINE_BYTES_MAX);
    lines.buffer().extend_from_slice(b"1\n2\n3\n4\n5\nnot a line yet");
    assert_eq!(put_lines(&cx, 2, || lines.next()).await, Err(5));
}

#[tokio::test]
async fn a_command_that_failed_for_good_is_a_warning() {
    for (command, expected) in [("echo one; exit 3", "WARN"), ("echo one", "INFO")] {
        let (log, _guard) = crate::testing::Log::start();
        let source = shell(command).await;
        let dead = |line: &&str| line.contains("brings nothing more");
        source.out.until("the end of the command", |_| log.text().lines().any(|l| dead(&l))).await;
        source.stop().await;
        let text = log.text();
        let lines: Vec<_> = text.lines().filter(dead).collect();
        assert_eq!(lines.len(), 1, "{text}");
        assert!(lines[0].contains(expected), "{text}");
        assert_eq!(lines[0].contains("exit status: 3"), expected == "WARN", "{text}");
    }
}
