//! Directories that earlier releases wrote, sound and damaged: this release reads them as they were meant.
//!
//! Each directory of `fixtures/VERSION/` holds the files of a log as text (`files.hex`) and what must be read from them
//! (`expected.txt`). They are never written again: `FCHANNEL_BLESS=1` makes those that are missing, and touches no other.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a helper that fails fails its test")]
#![expect(
    clippy::disallowed_methods,
    reason = "the fixtures lie in the source tree, and the damage comes from outside the engine"
)]

use fchannel::{
    Channel, Inspector, OnDamage, Options, TakeLimit, Verify, Wal, WalOptions, io::StdVfs,
};
use std::{
    collections::BTreeMap,
    fmt::Write,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

/// Files by their paths below the root of a fixture.
type Files = BTreeMap<String, Vec<u8>>;

struct Fixture {
    name: &'static str,
    /// Data directories beside the home; none: the home holds the segments.
    data_dirs: &'static [&'static str],
    bare: bool,
    make: fn(&Fixture),
    /// What happens to its files then.
    damage: fn(&mut Files),
    /// Events that are owed, or records that are replayed, as the maker knows it; `None` where damage decides.
    owed: Option<&'static [u64]>,
}

const SOUND: fn(&mut Files) = |_| {};

/// All of version 1. A later release adds its own, and keeps these.
const V1: &[Fixture] = &[
    Fixture {
        name: "plain",
        data_dirs: &[],
        bare: false,
        make: |fixture| drop(fixture.some_events()),
        damage: SOUND,
        owed: Some(&[1, 2, 3, 4]),
    },
    Fixture {
        name: "closed",
        data_dirs: &[],
        bare: false,
        make: |fixture| fixture.some_events().close().unwrap(),
        damage: SOUND,
        owed: Some(&[1, 2, 3, 4]),
    },
    Fixture {
        name: "marks-and-out-of-order-takes",
        data_dirs: &[],
        bare: false,
        make: |fixture| out_of_order(&fixture.open()),
        damage: SOUND,
        owed: Some(&[0, 1, 3, 6, 7, 9]),
    },
    Fixture {
        name: "two-directories",
        data_dirs: &["a", "b"],
        bare: false,
        make: several_segments,
        damage: SOUND,
        owed: Some(&[1, 2, 3, 4, 5, 6, 7]),
    },
    Fixture {
        name: "killed-with-a-torn-tail",
        data_dirs: &[],
        bare: false,
        make: |fixture| drop(fixture.some_events()),
        damage: |files| {
            let segment = files.get_mut("home/seg-1").unwrap();
            let last = *frames(segment, 1).last().unwrap();
            segment.truncate(last + 70);
        },
        owed: Some(&[1, 2, 3]),
    },
    Fixture {
        name: "killed-twice",
        data_dirs: &[],
        bare: false,
        make: |fixture| {
            let channel = fixture.some_events();
            let open_lease = channel.begin_take(TakeLimit::events(2)).unwrap();
            drop((open_lease, channel));
            put(&fixture.open(), &["five", "six"]);
            put(&fixture.open(), &["seven"]);
        },
        damage: SOUND,
        owed: Some(&[1, 2, 3, 4, 5, 6, 7]),
    },
    Fixture {
        name: "bare-log",
        data_dirs: &[],
        bare: true,
        make: |fixture| {
            let wal = fixture.open_bare().unwrap().0;
            let append =
                |wal: &Wal, number: u8| wal.append(number, &[b'a' + number; 40]).unwrap().lsn;
            (0..2).map(|number| append(&wal, number)).for_each(|lsn| assert!(lsn.get() < 3));
            wal.release_before(append(&wal, 2)).unwrap();
            wal.close().unwrap();
            // Records released shortly before a crash may be seen again; before an open, not.
            let wal = fixture.open_bare().unwrap().0;
            (3..6).map(|number| append(&wal, number)).for_each(|lsn| assert!(lsn.get() > 3));
        },
        damage: SOUND,
        // The release and the vouching frames, 4 to 6, are the log's own.
        owed: Some(&[3, 7, 8, 9]),
    },
    Fixture {
        name: "damaged-flipped-byte",
        data_dirs: &[],
        bare: false,
        make: |fixture| fixture.some_events().close().unwrap(),
        damage: |files| flip_second_put(files.get_mut("home/seg-1").unwrap()),
        owed: None,
    },
    Fixture {
        name: "damaged-missing-segment",
        data_dirs: &[],
        bare: false,
        make: several_segments,
        damage: |files| drop(files.remove("home/seg-2").unwrap()),
        owed: None,
    },
    Fixture {
        name: "damaged-cut-checkpoint",
        data_dirs: &[],
        bare: false,
        make: |fixture| fixture.some_events().close().unwrap(),
        damage: |files| {
            let newest = files.keys().rfind(|name| name.contains("checkpoint-")).unwrap().clone();
            let checkpoint = files.get_mut(&newest).unwrap();
            checkpoint.truncate(checkpoint.len() / 2);
        },
        owed: Some(&[1, 2, 3, 4]),
    },
    Fixture {
        name: "damaged-and-set-aside",
        data_dirs: &[],
        bare: false,
        make: |fixture| {
            drop(fixture.some_events());
            let path = Path::new("home/seg-1");
            let mut segment = fs::read(path).unwrap();
            flip_second_put(&mut segment);
            fs::write(path, segment).unwrap();
            // What is lost is found at the latest by who takes, recorded, and committed as a gap.
            let channel = fixture.open();
            drop(channel.begin_take(TakeLimit::events(10)).unwrap());
            assert!(!channel.quarantined().is_empty());
            put(&channel, &["after"]);
            channel.close().unwrap();
        },
        damage: SOUND,
        owed: Some(&[1, 4, 5]),
    },
];

/// A transaction of these events.
fn put(channel: &Channel, events: &[&str]) {
    let mut put = channel.begin_put();
    events.iter().for_each(|event| put.push(event.as_bytes()).unwrap());
    put.commit().unwrap();
}

/// Each transaction, each kind of frame, takes in the middle: 2, 4 and 5, 8 are gone.
fn out_of_order(channel: &Channel) {
    for number in 0..5 {
        let mut put = channel.begin_put();
        put.push(format!("event {}", number * 2).as_bytes()).unwrap();
        put.push(format!("event {}", number * 2 + 1).as_bytes()).unwrap();
        put.set_mark(b"position", format!("{number}").as_bytes()).unwrap();
        put.set_mark(format!("of {}", number % 3).as_bytes(), &[number]).unwrap();
        put.commit().unwrap();
    }
    let mut all = channel.begin_take(TakeLimit::events(10)).unwrap();
    let mut behind_8 = all.split_off(8);
    drop(behind_8.split_off(1));
    behind_8.commit().unwrap();
    let behind_6 = all.split_off(6);
    let from_4 = all.split_off(4);
    channel.checkpoint().unwrap();
    from_4.commit().unwrap();
    drop(behind_6);
    drop(all.split_off(3));
    all.split_off(2).commit().unwrap();
}

/// A segment for each open; the oldest keeps an event, so that none goes.
fn several_segments(fixture: &Fixture) {
    let channel = fixture.some_events();
    channel.close().unwrap();
    for event in ["five", "six", "seven"] {
        let channel = fixture.open();
        put(&channel, &[event]);
        channel.close().unwrap();
    }
}

/// Where frames of `kind` begin.
fn frames(segment: &[u8], kind: u8) -> Vec<usize> {
    let (mut at, mut found) = (64, Vec::new());
    while segment.get(at..at + 8).is_some_and(|salt| salt == &segment[24..32]) {
        if segment[at + 48] == kind {
            found.push(at);
        }
        let body_len = u32::from_le_bytes(segment[at + 36..at + 40].try_into().unwrap());
        at += (64 + body_len as usize).next_multiple_of(8);
    }
    found
}

/// The put of events 2 and 3 has a flipped bit in its body.
fn flip_second_put(segment: &mut [u8]) {
    let second = frames(segment, 1)[1];
    segment[second + 64 + 14] ^= 0x20;
}

impl Fixture {
    fn options(&self, on_damage: OnDamage) -> Options {
        Options {
            data_dirs: self.data_dirs.iter().map(PathBuf::from).collect(),
            segment_bytes_max: 64 << 10,
            free_space_min_bytes: 0,
            on_damage,
            ..Options::default()
        }
    }

    /// In the current directory, by a name without a root: the manifests keep the names of the directories.
    fn open(&self) -> Channel {
        let options = self.options(OnDamage::Quarantine);
        Channel::open_on(Arc::new(StdVfs::default()), Path::new("home"), options).unwrap()
    }

    fn open_bare(&self) -> Result<(Wal, String), fchannel::Error> {
        open_bare(Path::new("home"), OnDamage::Quarantine)
    }

    /// Events 0 to 4, of which the first is taken; a mark.
    fn some_events(&self) -> Channel {
        let channel = self.open();
        let mut first = channel.begin_put();
        first.push(b"zero").unwrap();
        first.push(b"one").unwrap();
        first.set_mark(b"at", b"2").unwrap();
        first.commit().unwrap();
        put(&channel, &["two", "three"]);
        channel.begin_take(TakeLimit::events(1)).unwrap().commit().unwrap();
        channel.checkpoint().unwrap();
        put(&channel, &["four"]);
        channel
    }

    fn dir(&self) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/v1").join(self.name)
    }

    /// What is read from the files: opened as strict as can be, and going on around damage.
    fn describe(&self, files: &Files) -> String {
        let mut text = String::new();
        for on_damage in [OnDamage::Refuse, OnDamage::Quarantine] {
            let root = tempfile::tempdir().unwrap();
            unpack(files, root.path());
            let home = root.path().join("home");
            let verified = Inspector::open(&home).unwrap().verify(Verify::default(), |_| {});
            let worst = verified.unwrap().worst;
            writeln!(text, "on damage {on_damage:?}: verify {worst:?}").unwrap();
            if self.bare {
                match open_bare(&home, on_damage) {
                    Ok((_, replayed)) => text += &replayed,
                    Err(error) => writeln!(text, "  refused: {:?}", error.kind()).unwrap(),
                }
                continue;
            }
            let mut options = self.options(on_damage);
            options.data_dirs.iter_mut().for_each(|dir| *dir = root.path().join(&*dir));
            match Channel::open(&home, options) {
                Ok(channel) => text += &describe(channel),
                Err(error) => writeln!(text, "  refused: {:?}", error.kind()).unwrap(),
            }
        }
        text
    }
}

fn open_bare(home: &Path, on_damage: OnDamage) -> Result<(Wal, String), fchannel::Error> {
    let options = WalOptions {
        segment_bytes_max: 64 << 10,
        free_space_min_bytes: 0,
        on_damage,
        ..WalOptions::default()
    };
    let mut replayed = String::new();
    let wal = Wal::open_on(Arc::new(StdVfs::default()), home, options, |lsn, kind, body| {
        writeln!(replayed, "  {lsn} kind {kind} {}", body.escape_ascii()).unwrap();
        Ok(())
    })?;
    Ok((wal, replayed))
}

/// All that a channel says, and then gives.
fn describe(channel: Channel) -> String {
    let mut text = format!("  verdict {:?}\n", channel.recovery().verdict);
    for (key, value) in channel.marks() {
        writeln!(text, "  mark {} = {}", key.escape_ascii(), value.escape_ascii()).unwrap();
    }
    loop {
        match channel.begin_take(TakeLimit::events(1)) {
            Ok(take) if take.records().is_empty() => break,
            Ok(take) => {
                let record = &take.records()[0];
                writeln!(text, "  {} {}", record.seq, record.payload.escape_ascii()).unwrap();
                take.commit().unwrap();
            }
            Err(error) => {
                writeln!(text, "  refused: {:?}", error.kind()).unwrap();
                break;
            }
        }
    }
    for damage in channel.quarantined() {
        let (lsns, events) = (damage.lsns, damage.events);
        writeln!(
            text,
            "  set aside: {} at {}, lsn {} to {}, events {} to {}",
            damage.verdict, damage.at, lsns.0, lsns.1, events.0, events.1
        )
        .unwrap();
    }
    writeln!(text, "  next event {}", channel.stats().next_seq).unwrap();
    channel.close().unwrap();
    text
}

/// The sequences or LSNs of a description, of each of its halves.
fn read_in(text: &str) -> Vec<Vec<u64>> {
    let halves = text.split("on damage ").skip(1);
    let number = |line: &str| line.split_whitespace().next()?.parse().ok();
    halves.map(|half| half.lines().filter_map(number).collect()).collect()
}

fn unpack(files: &Files, root: &Path) {
    for (name, bytes) in files {
        let path = root.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
}

fn pack(root: &Path, below: &Path, files: &mut Files) {
    for entry in fs::read_dir(below).unwrap() {
        let path = entry.unwrap().path();
        let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
        if path.is_dir() {
            pack(root, &path, files);
        } else if !name.ends_with("in_use.lock") {
            files.insert(name, fs::read(&path).unwrap());
        }
    }
}

/// A file is its name with its length, then lines of 32 bytes with their offsets; lines of zeros are left out.
fn to_hex(files: &Files) -> String {
    let mut text = String::new();
    for (name, bytes) in files {
        writeln!(text, "{name} {}", bytes.len()).unwrap();
        for (number, line) in bytes.chunks(32).enumerate() {
            if line.iter().any(|byte| *byte != 0) {
                write!(text, "{:06x} ", number * 32).unwrap();
                line.iter().for_each(|byte| write!(text, "{byte:02x}").unwrap());
                text.push('\n');
            }
        }
    }
    text
}

fn from_hex(text: &str) -> Files {
    let mut files = Files::new();
    let mut bytes = &mut Vec::new();
    for line in text.lines() {
        let (left, right) = line.split_once(' ').unwrap();
        if left.contains('/') {
            bytes = files.entry(left.to_owned()).or_default();
            bytes.resize(right.parse().unwrap(), 0);
            continue;
        }
        let at = usize::from_str_radix(left, 16).unwrap();
        for (place, digits) in bytes[at..].iter_mut().zip(right.as_bytes().chunks(2)) {
            let digits = std::str::from_utf8(digits).unwrap();
            *place = u8::from_str_radix(digits, 16).unwrap();
        }
    }
    files
}

fn check_owed(fixture: &Fixture, text: &str) {
    for half in read_in(text) {
        if let Some(owed) = fixture.owed {
            assert_eq!(half, owed, "{}: {text}", fixture.name);
        }
    }
}

/// Makes a fixture that is missing. It is the business of the release that writes this version, once.
fn bless(fixture: &Fixture) {
    let root = tempfile::tempdir().unwrap();
    let before = std::env::current_dir().unwrap();
    std::env::set_current_dir(root.path()).unwrap();
    (fixture.make)(fixture);
    std::env::set_current_dir(before).unwrap();
    let mut files = Files::new();
    pack(root.path(), root.path(), &mut files);
    (fixture.damage)(&mut files);
    assert_eq!(from_hex(&to_hex(&files)), files);
    let text = fixture.describe(&files);
    check_owed(fixture, &text);
    fs::create_dir_all(fixture.dir()).unwrap();
    fs::write(fixture.dir().join("files.hex"), to_hex(&files)).unwrap();
    fs::write(fixture.dir().join("expected.txt"), text).unwrap();
}

#[test]
fn directories_of_version_1_are_read_as_they_were_written() {
    for fixture in V1 {
        let dir = fixture.dir();
        let missing = !dir.join("files.hex").exists() || !dir.join("expected.txt").exists();
        if missing && std::env::var_os("FCHANNEL_BLESS").is_some() {
            bless(fixture);
        }
        let read = |name: &str| {
            fs::read_to_string(dir.join(name)).unwrap_or_else(|error| {
                panic!("{}/{name}: {error}; a fixture is never left out", fixture.name)
            })
        };
        let found = fixture.describe(&from_hex(&read("files.hex")));
        assert_eq!(found, read("expected.txt"), "{}", fixture.name);
        check_owed(fixture, &found);
    }
}

#[test]
fn no_directory_lies_here_unread() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/v1");
    for entry in fs::read_dir(fixtures).unwrap() {
        let name = entry.unwrap().file_name();
        assert!(V1.iter().any(|fixture| *fixture.name == *name), "{name:?} is in no table");
    }
}
