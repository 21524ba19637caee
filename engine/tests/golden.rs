//! The bytes on disk, each field named, made through the public interface under a fixed clock and fixed chance.
//!
//! A release that writes other bytes fails here. If that is meant, the format has a new version: `FCHANNEL_BLESS=1` rewrites the files
//! under `golden/`, docs/FORMAT.md says the same, and directories of the old version must still open.
#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]
#![expect(clippy::disallowed_methods, reason = "the golden files lie in the source tree")]

mod common;

use fchannel::io::sim::SimVfs;
use fchannel::{Channel, Event, Headers, Options, TakeLimit};
use std::{fmt::Write, fs, path::Path, sync::Arc};

/// Bytes that are read from the front, each piece with its name.
struct Annotated<'a> {
    bytes: &'a [u8],
    at: usize,
    text: String,
}

impl<'a> Annotated<'a> {
    fn new(title: &str, bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0, text: format!("# {title}\n# offset  bytes  # meaning\n") }
    }

    fn field(&mut self, len: usize, meaning: &str) -> &mut Self {
        for (line, piece) in self.bytes[self.at..self.at + len].chunks(16).enumerate() {
            let hex: Vec<String> = piece.iter().map(|byte| format!("{byte:02x}")).collect();
            let meaning = if line == 0 { meaning } else { ".." };
            writeln!(self.text, "{:06x}  {:<47}  # {meaning}", self.at, hex.join(" ")).unwrap();
            self.at += piece.len();
        }
        self
    }

    fn fields(&mut self, fields: &[(usize, &str)]) -> &mut Self {
        for (len, meaning) in fields {
            self.field(*len, meaning);
        }
        self
    }

    /// The number that was read last, if it was one of four bytes.
    fn last_u32(&self) -> usize {
        u32::from_le_bytes(self.bytes[self.at - 4..self.at].try_into().unwrap()) as usize
    }

    fn last_u64(&self) -> usize {
        usize::try_from(u64::from_le_bytes(self.bytes[self.at - 8..self.at].try_into().unwrap()))
            .unwrap()
    }

    fn sized(&mut self, name: &str) -> &mut Self {
        self.field(4, &format!("length of the {name}"));
        let len = self.last_u32();
        self.field(len, name)
    }

    fn text64(&mut self, name: &str) -> &mut Self {
        self.field(8, &format!("length of the {name}"));
        let len = self.last_u64();
        self.field(len, name)
    }

    /// All bytes must have a name.
    fn check(self, file: &str) {
        assert_eq!(self.at, self.bytes.len(), "{file}: bytes without a meaning");
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(file);
        if std::env::var_os("FCHANNEL_BLESS").is_some() {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, self.text).unwrap();
            return;
        }
        let golden = fs::read_to_string(&path).unwrap();
        for (golden, found) in golden.lines().zip(self.text.lines()) {
            assert_eq!(golden, found, "{file}");
        }
        assert_eq!(golden, self.text, "{file}");
    }
}

const SEGMENT_HEADER: [(usize, &str); 11] = [
    (8, "magic, FCHANSEG"),
    (2, "format version"),
    (2, "length of this header"),
    (4, "flags"),
    (8, "id"),
    (8, "salt"),
    (8, "first_lsn"),
    (8, "cut_lsn"),
    (8, "first_item"),
    (4, "epoch"),
    (4, "crc of the bytes before"),
];

const FRAME_HEADER: [(usize, &str); 13] = [
    (8, "salt of the segment"),
    (8, "lsn"),
    (8, "durable_lsn"),
    (8, "first_item"),
    (4, "item_count"),
    (4, "body_len"),
    (8, "time_ms"),
    (1, "kind"),
    (1, "flags"),
    (2, "length of this header"),
    (4, "crc of the body"),
    (4, "reserved"),
    (4, "crc of the bytes before"),
];

const IMAGE: [(usize, &str); 10] = [
    (8, "image: lsn"),
    (8, "image: next_item"),
    (8, "image: next frame, segment"),
    (8, "image: next frame, offset"),
    (8, "queue: next_seq"),
    (8, "queue: head"),
    (8, "queue: frame of the head, segment"),
    (8, "queue: frame of the head, offset"),
    (8, "queue: ranges taken above the head"),
    (8, "queue: marks"),
];

const TAKEN: [(usize, &str); 4] = [
    (8, "range: first"),
    (8, "range: events, in an image the event behind the last"),
    (8, "range: frame of the last, segment"),
    (8, "range: frame of the last, offset"),
];

/// Where the frame at `at` ends.
fn frame_end(segment: &[u8], at: usize) -> usize {
    let body_len = u32::from_le_bytes(segment[at + 36..at + 40].try_into().unwrap()) as usize;
    (at + 64 + body_len).next_multiple_of(8)
}

#[expect(clippy::too_many_lines, reason = "one channel, one structure after the other")]
#[test]
fn the_bytes_on_disk_are_those_of_the_format() {
    let world = SimVfs::new(0);
    world.count_instead_of_chance();
    let home = Path::new("/home");
    let options = Options {
        data_dirs: vec!["/home".into(), "/data".into()],
        segment_bytes_max: 64 << 10,
        free_space_min_bytes: 0,
        ..Options::default()
    };
    let channel = Channel::open_on(Arc::new(world.clone()), home, options).unwrap();
    let mut put = channel.begin_put();
    let headers = Headers::from_iter([("host", "web1"), ("empty", "")]);
    for event in [Event::new(headers, "GET /cart 200"), Event::of_body("second"), Event::default()]
    {
        put.push_with(|buffer| event.encode_into(buffer)).unwrap();
    }
    put.set_mark(b"position", b"1042").unwrap();
    put.commit().unwrap();
    world.advance_ms(5);
    let first = channel.begin_take(TakeLimit::events(1)).unwrap();
    channel.begin_take(TakeLimit::events(1)).unwrap().commit().unwrap();
    drop(first);
    channel.close().unwrap();

    let manifest = world.content(&Path::new("/data").join("manifest")).unwrap();
    let mut golden = Annotated::new("The manifest of the second data directory.", &manifest);
    golden.fields(&[
        (8, "magic, FCHANMAN"),
        (2, "format version"),
        (2, "length of this header"),
        (4, "flags"),
        (4, "length of the body"),
        (4, "crc of the bytes before, and of the body"),
        (16, "id of the log"),
        (8, "created_ms"),
        (1, "1: this directory holds segments"),
        (4, "which of the data directories it is"),
    ]);
    golden
        .text64("home")
        .field(8, "data directories")
        .text64("path of number 0")
        .text64("path of number 1");
    golden.check("manifest.hex");

    // Segment 1 goes to directory 1 modulo 2.
    let segment = world.content(&Path::new("/data").join("seg-1")).unwrap();
    let image_end = frame_end(&segment, 64);
    let mut golden = Annotated::new(
        "The head of a segment: its header, and the image of an empty queue.",
        &segment[..image_end],
    );
    golden.fields(&SEGMENT_HEADER).fields(&FRAME_HEADER).fields(&IMAGE);
    golden.check("segment.hex");

    let put_end = frame_end(&segment, image_end);
    let put = &segment[image_end..put_end];
    let mut golden = Annotated::new("A put frame: three events and a mark.", put);
    golden.fields(&FRAME_HEADER).field(4, "bytes of the events").field(4, "marks");
    golden.field(4, "event 0: length").field(4, "event 0: bytes of the headers");
    golden
        .field(4, "length of a key")
        .field(4, "length of its value")
        .field(4, "key, host")
        .field(4, "value, web1");
    golden
        .field(4, "length of a key")
        .field(4, "length of its value")
        .field(5, "key, empty")
        .field(13, "event 0: body");
    golden
        .field(4, "event 1: length")
        .field(4, "event 1: bytes of the headers")
        .field(6, "event 1: body");
    golden.field(4, "event 2: length").field(4, "event 2: bytes of the headers");
    golden.sized("key of the mark").sized("value of the mark");
    let padding = put.len() - golden.at;
    golden.field(padding, "padding");
    golden.check("put.hex");

    let take_end = frame_end(&segment, put_end);
    let mut golden = Annotated::new("A take frame: the second event.", &segment[put_end..take_end]);
    golden.fields(&FRAME_HEADER).field(4, "ranges").field(4, "reserved").fields(&TAKEN);
    golden.check("take.hex");

    // The first one fills the block of what it vouches for, the second has a block of its own.
    let fill_end = frame_end(&segment, take_end);
    assert_eq!(fill_end % 4096, 0);
    let vouch_end = frame_end(&segment, fill_end);
    assert!(segment[vouch_end..].iter().all(|byte| *byte == 0), "zeros, for the groups to come");
    let vouch = &segment[fill_end..vouch_end];
    let mut golden = Annotated::new("The last vouching frame: no body.", vouch);
    golden.fields(&FRAME_HEADER);
    golden.check("vouch.hex");

    let newest = world
        .paths()
        .into_iter()
        .rfind(|path| path.starts_with("/home/") && path.to_string_lossy().contains("checkpoint-"));
    let checkpoint = world.content(&newest.unwrap()).unwrap();
    let mut golden =
        Annotated::new("A checkpoint: one event taken out of order, one mark.", &checkpoint);
    golden.fields(&[
        (8, "magic, FCHANCKP"),
        (2, "format version"),
        (2, "length of this header"),
        (4, "flags"),
        (8, "generation"),
        (4, "length of the body"),
        (4, "crc of the bytes before, and of the body"),
    ]);
    golden.fields(&IMAGE).fields(&TAKEN).sized("key of the mark").sized("value of the mark");
    golden.check("checkpoint.hex");
}

#[test]
fn what_is_set_aside_is_named_in_the_bytes_of_the_format() {
    let world = SimVfs::new(0);
    world.count_instead_of_chance();
    let home = Path::new("/home");
    let options = Options { free_space_min_bytes: 0, ..Options::default() };
    let open = || Channel::open_on(Arc::new(world.clone()), home, options.clone()).unwrap();
    let channel = open();
    for event in [&b"first"[..], b"second", b"third"] {
        channel.put(event).unwrap();
    }
    channel.close().unwrap();
    // One bit of the second event's body: behind the header of the segment, its image, one put, and the header of the next.
    let segment = home.join("seg-1");
    let bytes = world.content(&segment).unwrap();
    let second = frame_end(&bytes, frame_end(&bytes, 64));
    world.flip(&segment, 8 * (second as u64 + 64 + 12));
    let damaged = world.content(&segment).unwrap();

    world.advance_ms(1_000);
    let channel = open();
    assert_eq!(common::drain(&channel), ["first", "third"]);
    channel.close().unwrap();

    let record = world.content(&home.join("quarantine/1.damage")).unwrap();
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/record.damage");
    if std::env::var_os("FCHANNEL_BLESS").is_some() {
        fs::write(&golden, &record).unwrap();
    }
    assert_eq!(String::from_utf8(record).unwrap(), fs::read_to_string(golden).unwrap());
    let copy = world.content(&home.join("quarantine/1.bytes")).unwrap();
    assert_eq!(copy, damaged[second..][..copy.len()], "the bytes are those that lay there");
    assert!(copy.len() > 64 + 12);

    let gap = (1..10)
        .filter_map(|id| world.content(&home.join(format!("seg-{id}"))))
        .find_map(|segment| {
            let mut at = 64;
            while segment.get(at..at + 8).is_some_and(|salt| salt == &segment[24..32]) {
                let end = frame_end(&segment, at);
                if segment[at + 48] == 3 {
                    return Some(segment[at..end].to_vec());
                }
                at = end;
            }
            None
        })
        .unwrap();
    let mut golden = Annotated::new("A gap frame: the second event is lost.", &gap);
    golden.fields(&FRAME_HEADER).field(4, "ranges").field(4, "reserved").fields(&TAKEN);
    golden.check("gap.hex");
}
