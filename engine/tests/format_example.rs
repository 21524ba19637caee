//! The example of docs/FORMAT.md, byte for byte: its hex is a directory, and this release reads it as the document says.
#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]
#![expect(clippy::disallowed_methods, reason = "it makes a directory by hand")]

use fchannel::{Channel, Event, EventSeq, ImageSource, Options, TakeLimit};
use std::{fs, path::Path};

const DOCUMENT: &str = include_str!("../../docs/FORMAT.md");

/// The bytes of the hex block that follows `#### NAME`. What stands behind `;` is for people.
fn bytes_of(name: &str) -> Vec<u8> {
    let heading = format!("#### {name}\n");
    let (_, section) = DOCUMENT.split_once(&heading).expect("the document has this heading");
    let block = section.split("```").nth(1).expect("a block follows").trim_start_matches("hex");
    let digits: String =
        block.lines().flat_map(|line| line.split(';').next().unwrap().split_whitespace()).collect();
    let byte = |at: usize| u8::from_str_radix(&digits[at..at + 2], 16).expect("hex digits");
    (0..digits.len()).step_by(2).map(byte).collect()
}

fn write_example(dir: &Path, names: &[&str]) {
    for name in names {
        fs::write(dir.join(name), bytes_of(name)).unwrap();
    }
}

fn holds_what_the_document_says(dir: &Path) -> Channel {
    let channel =
        Channel::open(dir, Options { free_space_min_bytes: 0, ..Options::default() }).unwrap();
    let owed = channel.peek(None, TakeLimit::events(10)).unwrap();
    let owed: Vec<(EventSeq, Event)> = owed
        .into_iter()
        .map(|record| (record.seq, Event::decode(record.payload).unwrap()))
        .collect();
    assert_eq!(owed.len(), 2);
    assert_eq!(owed[0].0, EventSeq::new(1), "event 0 was taken");
    assert_eq!(owed[0].1.headers.get("host"), Some("web1"));
    assert_eq!(owed[0].1.body, "GET /cart");
    assert_eq!(owed[1].1, Event::of_body("GET /x"));
    assert_eq!(channel.mark(b"at").unwrap(), "15");
    channel
}

#[test]
fn the_example_of_the_document_is_read_as_it_says() {
    let dir = tempfile::tempdir().unwrap();
    write_example(dir.path(), &["manifest", "checkpoint-2", "seg-1"]);
    let channel = holds_what_the_document_says(dir.path());
    assert!(
        matches!(&channel.recovery().image, ImageSource::Checkpoint(path) if path.ends_with("checkpoint-2"))
    );
    assert_eq!(channel.recovery().frames_rewritten, 1, "nobody vouches for the last put");
}

#[test]
fn the_log_explains_itself_without_checkpoints() {
    let dir = tempfile::tempdir().unwrap();
    write_example(dir.path(), &["manifest", "seg-1"]);
    let channel = holds_what_the_document_says(dir.path());
    assert!(matches!(channel.recovery().image, ImageSource::Segment(_)));
    assert_eq!(channel.recovery().frames_replayed, 2);
}
