use super::*;
use crate::testing::settings;
use fchannel::Event;
use std::collections::BTreeMap;

fn sink(directory: &std::path::Path, keys: &[(&str, &str)]) -> Box<dyn Sink> {
    let mut keys = keys.to_vec();
    keys.push(("sink.directory", directory.to_str().unwrap()));
    build(&settings(&ENTRY, &keys), &Parts::default()).unwrap()
}

async fn deliver(sink: &mut Box<dyn Sink>, bodies: &[&str]) {
    let events: Vec<_> = bodies.iter().map(|body| Event::of_body((*body).to_owned())).collect();
    sink.deliver(Batch { events: &events, ids: None, attempt: 1 }).await.unwrap();
}

/// Names and contents.
fn files(directory: &std::path::Path) -> BTreeMap<String, String> {
    let entries = std::fs::read_dir(directory).unwrap().map(Result::unwrap);
    let name = |entry: &std::fs::DirEntry| entry.file_name().into_string().unwrap();
    entries.map(|entry| (name(&entry), std::fs::read_to_string(entry.path()).unwrap())).collect()
}

fn contents(directory: &std::path::Path) -> Vec<String> {
    files(directory).into_values().collect()
}

#[tokio::test]
async fn test_rolling_file_sink_no_roll() {
    let dir = tempfile::tempdir().unwrap();
    let mut sink = sink(dir.path(), &[("sink.rollInterval", "0")]);
    sink.start().await.unwrap();
    assert!(files(dir.path()).is_empty(), "a file comes with its first event");
    deliver(&mut sink, &["one", "two"]).await;
    deliver(&mut sink, &["three"]).await;
    assert_eq!(sink.deadline(), None);
    assert_eq!(contents(dir.path()), ["one\ntwo\nthree\n"]);
}

#[tokio::test]
async fn test_rolling_file_sink_rolls_by_deadline() {
    let dir = tempfile::tempdir().unwrap();
    let keys = [
        ("sink.rollInterval", "1"),
        ("sink.pathManager.prefix", "p-"),
        ("sink.pathManager.extension", "log"),
    ];
    let mut sink = sink(dir.path(), &keys);
    deliver(&mut sink, &["one"]).await;
    let deadline = sink.deadline().unwrap();
    sink.on_deadline().await.unwrap();
    assert_eq!(sink.deadline(), Some(deadline), "not yet due");
    tokio::time::sleep_until(deadline.into()).await;
    sink.on_deadline().await.unwrap();
    assert_eq!(sink.deadline(), None, "nothing is open");
    deliver(&mut sink, &["two"]).await;
    assert_eq!(contents(dir.path()), ["one\n", "two\n"]);
    for name in files(dir.path()).into_keys() {
        assert!(name.starts_with("p-") && name.ends_with(".log"), "{name}");
    }
}

#[tokio::test]
async fn a_file_that_exists_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let mut sink = sink(dir.path(), &[("sink.pathManager", "ROLLTIME")]);
    // Whatever second it is when the sink creates its file.
    let now = jiff::Zoned::now();
    let mut taken = Vec::new();
    for second in 0..30 {
        let at = now.checked_add(jiff::Span::new().seconds(second)).unwrap();
        let name = format!("{}-1", at.strftime("%Y%m%d%H%M%S"));
        std::fs::write(dir.path().join(&name), "old").unwrap();
        taken.push(name);
    }
    deliver(&mut sink, &["new"]).await;
    let files = files(dir.path());
    assert!(taken.iter().all(|name| files[name] == "old"));
    let new: Vec<_> = files.iter().filter(|(_, text)| *text == "new\n").collect();
    assert!(new.len() == 1 && new[0].0.ends_with("-2"), "{files:?}");
}

#[tokio::test]
async fn a_write_that_fails_is_an_error_and_the_next_one_goes_into_a_new_file() {
    let dir = tempfile::tempdir().unwrap();
    let mut sink = sink(dir.path(), &[("sink.sync", "false")]);
    let events = [Event::of_body("one")];
    let batch = Batch { events: &events, ids: None, attempt: 1 };
    let gone = dir.path().with_extension("gone");
    std::fs::rename(dir.path(), &gone).unwrap();
    let error = sink.deliver(batch).await.unwrap_err();
    assert!(error.0.contains(dir.path().to_str().unwrap()), "{error}");
    std::fs::rename(&gone, dir.path()).unwrap();
    sink.deliver(batch).await.unwrap();
    assert_eq!(contents(dir.path()), ["one\n"]);
}

#[tokio::test]
async fn a_directory_that_is_missing_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let error = sink(&dir.path().join("none"), &[]).start().await.unwrap_err();
    assert!(error.0.contains("sink.directory") && error.0.contains("none"), "{error}");
}

/// A file in memory, which can be made full.
fn roomy(text: &str) -> File {
    use rustix::fs::{MemfdFlags, memfd_create};
    let mut file = File::from(memfd_create("full", MemfdFlags::ALLOW_SEALING).unwrap());
    file.write_all(text.as_bytes()).unwrap();
    file
}

/// From here on it takes nothing more, as on a full disk, but can be cut.
fn fill(file: &File) {
    rustix::fs::fcntl_add_seals(file, rustix::fs::SealFlags::GROW).unwrap();
}

fn full(text: &str) -> File {
    let file = roomy(text);
    fill(&file);
    file
}

#[tokio::test]
async fn a_batch_of_many_writes_is_whole_or_not_there() {
    let dir = tempfile::tempdir().unwrap();
    let keys = [("sink.directory", dir.path().to_str().unwrap())];
    let mut sink = FileRoll::new(&settings(&ENTRY, &keys)).unwrap();
    let events = ["a", "b", "c", "d"].map(|body| Event::of_body(body.repeat(WRITE_BYTES / 2)));
    let text: String =
        events.iter().map(|event| String::from_utf8_lossy(&event.body) + "\n").collect();
    let batch = Batch { events: &events, ids: None, attempt: 1 };
    sink.deliver(batch).await.unwrap();
    sink.deliver(batch).await.unwrap();
    assert_eq!(contents(dir.path()), [text.repeat(2)]);
    assert!(sink.open.as_ref().is_some_and(|open| open.len == 2 * text.len() as u64));
    // The disk is full in the middle of one: what was written of it goes.
    let (file, path) = (roomy("old\n"), dir.path().join("old"));
    let mut open = Open { file, path, len: 4, part: 0, roll_at: None };
    open.write(b"half").map_err(|failed| failed.error).unwrap();
    fill(&open.file);
    assert!(open.write(b"more").is_err_and(|failed| failed.usable));
    assert_eq!((open.file.metadata().unwrap().len(), open.len, open.part), (4, 4, 0));
}

#[tokio::test]
async fn a_full_disk_does_not_make_a_file_for_each_try() {
    let dir = tempfile::tempdir().unwrap();
    let keys = [("sink.directory", dir.path().to_str().unwrap())];
    let mut sink = FileRoll::new(&settings(&ENTRY, &keys)).unwrap();
    let events = [Event::of_body("one")];
    let batch = Batch { events: &events, ids: None, attempt: 1 };
    let open = |path: &str, text: &str| {
        let path = dir.path().join(path);
        std::fs::write(&path, text).unwrap();
        Some(Open { file: full(text), path, len: text.len() as u64, part: 0, roll_at: None })
    };
    // One that holds events is kept and used on.
    sink.open = open("used", "old\n");
    for _ in 0..3 {
        sink.deliver(batch).await.unwrap_err();
    }
    assert_eq!(contents(dir.path()), ["old\n"]);
    assert!(sink.open.as_ref().is_some_and(|open| open.len == 4));
    // One that holds nothing goes.
    sink.open = open("new", "");
    sink.deliver(batch).await.unwrap_err();
    assert_eq!(contents(dir.path()), ["old\n"]);
    assert!(sink.open.is_none());
    sink.deliver(batch).await.unwrap();
    assert_eq!(contents(dir.path()).len(), 2);
}

#[tokio::test]
async fn what_goes_into_a_file_that_was_removed_does_not_count_as_delivered() {
    let dir = tempfile::tempdir().unwrap();
    let mut sink = sink(dir.path(), &[]);
    deliver(&mut sink, &["one"]).await;
    let name = files(dir.path()).into_keys().next().unwrap();
    std::fs::remove_file(dir.path().join(name)).unwrap();
    let events = [Event::of_body("two")];
    let batch = Batch { events: &events, ids: None, attempt: 1 };
    let error = sink.deliver(batch).await.unwrap_err();
    assert!(error.0.contains("was removed while it was open"), "{error}");
    sink.deliver(batch).await.unwrap();
    assert_eq!(contents(dir.path()), ["two\n"]);
    // One that was only moved takes more.
    let name = files(dir.path()).into_keys().next().unwrap();
    std::fs::rename(dir.path().join(name), dir.path().join("moved")).unwrap();
    deliver(&mut sink, &["three"]).await;
    assert_eq!(contents(dir.path()), ["two\nthree\n"]);
}
