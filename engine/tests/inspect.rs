//! Looking into a log: everything readable is found, everything damaged is told, and nothing in the directories changes.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a helper that fails fails its test")]
#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "the damage comes from outside the engine"
)]

use fchannel::{
    Channel, Error, ErrorKind, Event, EventRow, EventSeq, Finding, FramePtr, FrameRow, Headers,
    Inspector, Lsn, OnDamage, Options, Position, Severity, TakeLimit, Verdict, Verification,
    Verify, Wal, WalOptions, Which, io::Holder,
};
use std::{
    collections::BTreeMap,
    ops::ControlFlow::{Break, Continue},
    os::unix::fs::{FileExt, MetadataExt},
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
};

const SEGMENT_BYTES: u64 = 64 << 10;

fn options(data: &[PathBuf]) -> Options {
    Options {
        data_dirs: data.to_vec(),
        segment_bytes_max: SEGMENT_BYTES,
        free_space_min_bytes: 0,
        checkpoint_interval_ms: 3_600_000,
        ..Options::default()
    }
}

/// Puts `transactions` of three events each; event `n` has the body `body n` and some filling.
fn fill(channel: &Channel, transactions: u64) {
    for transaction in 0..transactions {
        let mut put = channel.begin_put();
        for event in 0..3 {
            let body = format!("body {}{}", transaction * 3 + event, " ".repeat(300));
            let event = Event::new(Headers::from_iter([("n", "1")]), body);
            put.push_with(|buffer| event.encode_into(buffer)).unwrap();
        }
        put.commit().unwrap();
    }
}

fn take(channel: &Channel, events: u32) {
    channel.begin_take(TakeLimit::events(events)).unwrap().commit().unwrap();
}

/// Owed sequences, and the owed events that damage hides.
fn pending(inspector: &Inspector) -> (Vec<u64>, u64) {
    let (mut seqs, mut hidden) = (Vec::new(), 0);
    inspector
        .events(Which::Pending, Position::Oldest, Position::Newest, |row| {
            match row {
                EventRow::Event(event) => {
                    let text = Event::decode(event.payload).unwrap().body;
                    assert!(text.starts_with(format!("body {} ", event.seq).as_bytes()));
                    seqs.push(event.seq.get());
                }
                EventRow::Hole(_, owed) => hidden += owed,
                other => panic!("{other:?}"),
            }
            Continue(())
        })
        .unwrap();
    (seqs, hidden)
}

fn verify(dir: &Path) -> Verification {
    Inspector::open(dir).unwrap().verify(Verify::default(), |_| {}).unwrap()
}

fn find<'a>(found: &'a Verification, code: &str) -> &'a Finding {
    let finding = found.findings.iter().find(|finding| finding.code == code);
    finding.unwrap_or_else(|| panic!("no {code} in {:#?}", found.findings))
}

/// The place of the `nth` frame of a kind.
fn frame(dir: &Path, kind: &str, nth: usize) -> FramePtr {
    let mut places = Vec::new();
    Inspector::open(dir)
        .unwrap()
        .frames(Position::Oldest, Position::Newest, |row| {
            if let FrameRow::Frame(frame) = row
                && frame.kind() == kind
            {
                places.push(frame.ptr);
            }
            Continue(())
        })
        .unwrap();
    places[nth]
}

fn flip(path: &Path, offset: u64) {
    let file = std::fs::File::options().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, offset).unwrap();
    file.write_all_at(&[byte[0] ^ 0x20], offset).unwrap();
}

fn segment(dir: &Path, ptr: FramePtr) -> PathBuf {
    dir.join(format!("seg-{}", ptr.segment))
}

/// Name, size, times and content of everything below `root`.
fn picture(root: &Path) -> BTreeMap<PathBuf, (u64, i64, i64, Vec<u8>)> {
    let mut files = BTreeMap::new();
    let mut left = vec![root.to_path_buf()];
    while let Some(dir) = left.pop() {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            let meta = path.metadata().unwrap();
            let content = if meta.is_dir() { Vec::new() } else { std::fs::read(&path).unwrap() };
            if meta.is_dir() {
                left.push(path.clone());
            }
            files.insert(path, (meta.len(), meta.mtime_nsec(), meta.ctime_nsec(), content));
        }
    }
    files
}

/// Everything an inspector can do.
fn look_at_everything(dir: &Path) {
    let inspector = Inspector::open(dir).unwrap();
    inspector.summary().unwrap();
    inspector.segments().unwrap();
    inspector.checkpoints().unwrap();
    inspector.state_at(Lsn::new(5)).unwrap();
    for which in [Which::Pending, Which::Any] {
        let answer = inspector.events(which, Position::Oldest, Position::Newest, |_| Continue(()));
        answer.unwrap();
    }
    inspector.frames(Position::Oldest, Position::Newest, |_| Continue(())).unwrap();
    for deep in [true, false] {
        inspector.verify(Verify { deep, ..Verify::default() }, |_| {}).unwrap();
    }
}

#[test]
fn a_sound_channel_is_clean_and_unchanged() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("c");
    let channel = Channel::open(&dir, options(&[])).unwrap();
    fill(&channel, 200);
    take(&channel, 100);
    let held = channel.begin_take(TakeLimit::events(50)).unwrap();
    take(&channel, 30);
    drop(held);
    let stats = channel.stats();
    channel.close().unwrap();

    let before = picture(root.path());
    look_at_everything(&dir);
    assert_eq!(picture(root.path()), before, "nothing in the directory changes");

    let inspector = Inspector::open(&dir).unwrap();
    let state = inspector.state().unwrap();
    assert_eq!((state.owed, state.next_seq), (stats.events, stats.next_seq));
    assert_eq!(state.taken, [(EventSeq::new(150), EventSeq::new(180))]);
    let owed: Vec<u64> = (100..150).chain(180..600).collect();
    assert_eq!(pending(&inspector), (owed, 0));
    let segments = inspector.segments().unwrap();
    assert!(segments.len() > 2);
    assert_eq!(segments.iter().map(|segment| segment.owed).sum::<u64>(), stats.events);
    let found = verify(&dir);
    assert_eq!(found.findings, []);
    assert_eq!((found.owed, found.owed_lost, found.exact), (Some(stats.events), 0, true));
    assert_eq!(inspector.summary().unwrap().holder, Holder::Nobody);
}

#[test]
fn a_selection_shows_what_lies_in_it() {
    let root = tempfile::tempdir().unwrap();
    let channel = Channel::open(root.path(), options(&[])).unwrap();
    fill(&channel, 50);
    channel.close().unwrap();
    let inspector = Inspector::open(root.path()).unwrap();
    let seqs = |from: &str, to: &str| {
        let mut seqs = Vec::new();
        let answer =
            inspector.events(Which::Any, from.parse().unwrap(), to.parse().unwrap(), |row| {
                if let EventRow::Event(event) = row {
                    seqs.push(event.seq.get());
                }
                Continue(())
            });
        answer.unwrap();
        seqs
    };
    assert_eq!(seqs("seq:4", "seq:7"), [4, 5, 6, 7]);
    assert_eq!(seqs("lsn:2", "lsn:3"), [3, 4, 5, 6, 7, 8]);
    let place = frame(root.path(), "put", 1).to_string();
    assert_eq!(seqs(&place, &place), [3, 4, 5]);
    assert_eq!(seqs("checkpoint", "newest"), [] as [u64; 0]);
    assert_eq!(seqs("oldest", "oldest"), [0, 1, 2]);
    let mut rows = 0;
    let answer = inspector.frames(Position::Oldest, Position::Newest, |_| {
        rows += 1;
        if rows == 3 { Break(()) } else { Continue(()) }
    });
    answer.unwrap();
    assert_eq!(rows, 3, "a break ends it");
}

#[test]
fn the_state_at_a_frame_is_the_fold_up_to_it() {
    let root = tempfile::tempdir().unwrap();
    let channel = Channel::open(root.path(), options(&[])).unwrap();
    fill(&channel, 100);
    take(&channel, 7);
    channel.close().unwrap();
    let inspector = Inspector::open(root.path()).unwrap();
    for lsn in [1, 50, 100] {
        let state = inspector.state_at(Lsn::new(lsn)).unwrap().unwrap();
        assert_eq!((state.lsn.get(), state.owed), (lsn, lsn * 3));
    }
    assert_eq!(inspector.state_at(Lsn::new(101)).unwrap().unwrap().owed, 293);
}

#[test]
fn a_damaged_body_hides_its_events_and_no_others() {
    let root = tempfile::tempdir().unwrap();
    let channel = Channel::open(root.path(), options(&[])).unwrap();
    fill(&channel, 100);
    take(&channel, 6);
    channel.close().unwrap();
    let at = frame(root.path(), "put", 10);
    flip(&segment(root.path(), at), at.offset + 64 + 100);

    let before = picture(root.path());
    look_at_everything(root.path());
    assert_eq!(picture(root.path()), before);
    let owed: Vec<u64> = (6..30).chain(33..300).collect();
    assert_eq!(pending(&Inspector::open(root.path()).unwrap()), (owed, 3));
    let found = verify(root.path());
    let finding = find(&found, "FC2101");
    assert_eq!((finding.severity, finding.verdict), (Severity::Error, Some(Verdict::H)));
    assert_eq!(finding.at, Some(at));
    assert_eq!(finding.stake, "3 owed of 3 events: seq 30-32");
    assert_eq!((found.owed_lost, found.exact, found.findings.len()), (3, true, 1));
}

/// A put whose body is damaged still tells its events, and not its marks. The checkpoint behind it has them, and was called wrong.
#[test]
fn a_checkpoint_behind_a_damaged_put_may_know_marks_that_nobody_else_does() {
    let root = tempfile::tempdir().unwrap();
    let channel = Channel::open(root.path(), options(&[])).unwrap();
    let mut put = channel.begin_put();
    put.push(b"an event that will be damaged").unwrap();
    put.set_mark(b"mark", b"value").unwrap();
    put.commit().unwrap();
    channel.put(b"another one").unwrap();
    channel.checkpoint().unwrap();
    drop(channel);
    let ptr = frame(root.path(), "put", 0);
    flip(&segment(root.path(), ptr), ptr.offset + 64 + 20);
    let found = verify(root.path());
    let codes: Vec<&str> = found.findings.iter().map(|finding| finding.code).collect();
    assert!(!codes.contains(&"FC2403"), "{codes:?}");
    assert!(codes.iter().any(|code| code.starts_with("FC21")), "the damage is told: {codes:?}");
}

#[test]
fn a_damaged_header_hides_its_frame_and_no_others() {
    let root = tempfile::tempdir().unwrap();
    let channel = Channel::open(root.path(), options(&[])).unwrap();
    fill(&channel, 100);
    drop(channel);
    let at = frame(root.path(), "put", 20);
    flip(&segment(root.path(), at), at.offset + 16);
    let owed: Vec<u64> = (0..60).chain(63..300).collect();
    assert_eq!(pending(&Inspector::open(root.path()).unwrap()), (owed, 3));
    let found = verify(root.path());
    let finding = find(&found, "FC2103");
    assert_eq!(
        finding.stake,
        "3 owed of 3 events: seq 60-62; events taken there may be delivered again"
    );
    assert!(finding.what.contains("next good frame at seg-"), "{}", finding.what);
    let refusing = Options { on_damage: OnDamage::Refuse, ..options(&[]) };
    let refused = Channel::open(root.path(), refusing).err().unwrap();
    assert_eq!(refused.kind(), &ErrorKind::Corrupt, "recovery refuses what the inspector passes");
}

#[test]
fn a_torn_end_is_no_damage() {
    let root = tempfile::tempdir().unwrap();
    let channel = Channel::open(root.path(), options(&[])).unwrap();
    fill(&channel, 10);
    drop(channel);
    let last = frame(root.path(), "put", 9);
    let file = std::fs::File::options().write(true).open(segment(root.path(), last)).unwrap();
    file.set_len(last.offset + 100).unwrap();
    let found = verify(root.path());
    assert_eq!(found.worst, Some(Severity::Info));
    assert_eq!(find(&found, "FC2105").verdict, Some(Verdict::B));
    assert_eq!(found.owed, Some(27));
}

#[test]
fn a_missing_segment_in_the_middle_is_told_with_what_was_in_it() {
    let root = tempfile::tempdir().unwrap();
    let channel = Channel::open(root.path(), options(&[])).unwrap();
    fill(&channel, 300);
    channel.close().unwrap();
    let segments = Inspector::open(root.path()).unwrap().segments().unwrap();
    let gone = &segments[2];
    std::fs::remove_file(&gone.path).unwrap();
    let found = verify(root.path());
    assert_eq!(find(&found, "FC2010").verdict, Some(Verdict::J));
    assert_eq!((found.owed, found.owed_lost), (Some(900), gone.events));
    let (seqs, hidden) = pending(&Inspector::open(root.path()).unwrap());
    assert_eq!(hidden, gone.events);
    assert_eq!(seqs.len() as u64 + hidden, 900);
}

#[test]
fn a_damaged_segment_header_is_told() {
    let root = tempfile::tempdir().unwrap();
    let channel = Channel::open(root.path(), options(&[])).unwrap();
    fill(&channel, 300);
    channel.close().unwrap();
    flip(&root.path().join("seg-2"), 20);
    let found = verify(root.path());
    assert!(find(&found, "FC2001").file.as_ref().unwrap().ends_with("seg-2"));
    assert_eq!(found.worst, Some(Severity::Error));
}

#[test]
fn a_damaged_checkpoint_loses_nothing() {
    let root = tempfile::tempdir().unwrap();
    let channel = Channel::open(root.path(), options(&[])).unwrap();
    fill(&channel, 20);
    channel.checkpoint().unwrap();
    take(&channel, 3);
    channel.close().unwrap();
    let newest = Inspector::open(root.path()).unwrap().checkpoints().unwrap();
    flip(&newest[0].path, 40);
    let inspector = Inspector::open(root.path()).unwrap();
    assert_eq!(inspector.state().unwrap().owed, 57);
    assert!(inspector.checkpoints().unwrap()[0].content.is_err());
    let found = verify(root.path());
    assert_eq!(find(&found, "FC2401").severity, Severity::Warn);
    assert_eq!((found.owed, found.exact), (Some(57), true));
}

#[test]
fn a_damaged_image_is_told_and_hides_no_event() {
    let root = tempfile::tempdir().unwrap();
    let channel = Channel::open(root.path(), options(&[])).unwrap();
    fill(&channel, 100);
    channel.close().unwrap();
    for (offset, severity) in [(64 + 70, Severity::Warn), (64 + 9, Severity::Warn)] {
        flip(&root.path().join("seg-2"), offset);
        let found = verify(root.path());
        let finding = find(&found, "FC2404");
        assert_eq!((finding.severity, found.findings.len()), (severity, 1), "{found:#?}");
        assert!(finding.file.as_ref().unwrap().ends_with("seg-2"));
        assert_eq!((found.owed, found.owed_lost, found.exact), (Some(300), 0, true));
        assert_eq!(pending(&Inspector::open(root.path()).unwrap()).0.len(), 300);
    }
}

#[test]
fn any_directory_leads_to_the_others_and_a_missing_one_is_told() {
    let root = tempfile::tempdir().unwrap();
    let places: Vec<PathBuf> =
        ["ck", "d1", "d2"].iter().map(|name| root.path().join(name)).collect();
    let channel = Channel::open(&places[0], options(&places[1..])).unwrap();
    fill(&channel, 300);
    channel.close().unwrap();
    for place in &places {
        assert_eq!(pending(&Inspector::open(place).unwrap()).0.len(), 900);
    }
    let moved = tempfile::tempdir().unwrap();
    std::fs::rename(root.path(), moved.path().join("all")).unwrap();
    std::fs::create_dir(root.path()).unwrap();
    let all = moved.path().join("all");
    assert_eq!(pending(&Inspector::open(all.join("d2")).unwrap()).0.len(), 900, "moved as a whole");
    std::fs::rename(all.join("d1"), all.join("elsewhere")).unwrap();
    let found = verify(&all.join("d2"));
    assert_eq!(find(&found, "FC2003").verdict, Some(Verdict::F));
    assert!(found.owed_lost > 0, "its events are owed and cannot be read");
    let (seqs, hidden) = pending(&Inspector::open(all.join("ck")).unwrap());
    assert_eq!(seqs.len() as u64 + hidden, 900);
    let summary = Inspector::open(all.join("ck")).unwrap().summary().unwrap();
    assert_eq!(summary.data.iter().filter(|dir| !dir.present).count(), 1);
}

#[test]
fn what_is_not_a_channel_is_refused_untouched() {
    let kind = |dir: &Path| Inspector::open(dir).map(drop).map_err(|error: Error| error);
    let root = tempfile::tempdir().unwrap();
    assert_eq!(kind(root.path()).unwrap_err().kind(), &ErrorKind::NotAChannel);
    assert_eq!(kind(&root.path().join("none")).unwrap_err().kind(), &ErrorKind::NotAChannel);
    std::fs::write(root.path().join("log-1"), b"x").unwrap();
    std::fs::write(root.path().join("log-1.meta"), b"x").unwrap();
    let flume = kind(root.path()).unwrap_err();
    assert_eq!(flume.kind(), &ErrorKind::NotAChannel);
    assert!(flume.to_string().contains("Flume"), "{flume}");
    assert_eq!(picture(root.path()).len(), 2);
}

#[test]
fn a_lost_manifest_does_not_hide_the_segments() {
    let root = tempfile::tempdir().unwrap();
    let channel = Channel::open(root.path(), options(&[])).unwrap();
    fill(&channel, 5);
    channel.close().unwrap();
    std::fs::remove_file(root.path().join("manifest")).unwrap();
    assert_eq!(pending(&Inspector::open(root.path()).unwrap()).0.len(), 15);
    assert_eq!(find(&verify(root.path()), "FC2002").severity, Severity::Error);
}

#[test]
fn a_bare_log_has_frames_and_no_events() {
    let root = tempfile::tempdir().unwrap();
    let wal = Wal::open(root.path(), WalOptions::default(), |_, _, _| Ok(())).unwrap();
    for _ in 0..5 {
        wal.append(1, b"a record of somebody else").unwrap();
    }
    wal.close().unwrap();
    let inspector = Inspector::open(root.path()).unwrap();
    assert_eq!(inspector.state(), None);
    let all = |_| Continue(());
    let error = inspector.events(Which::Any, Position::Oldest, Position::Newest, all).unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::NotAChannel);
    let found = verify(root.path());
    assert_eq!((found.owed, found.findings.len()), (None, 0));
    assert!(found.frames >= 5);
    inspector.summary().unwrap();
}

#[test]
fn a_restart_after_a_kill_leaves_void_frames_and_no_damage() {
    let root = tempfile::tempdir().unwrap();
    for round in 0..4 {
        let channel = Channel::open(root.path(), options(&[])).unwrap();
        assert_eq!(channel.stats().events, round * 30);
        let mut put = channel.begin_put();
        for event in 0..30 {
            let body = format!("body {} ", round * 30 + event);
            put.push_with(|buffer| Event::of_body(body).encode_into(buffer)).unwrap();
        }
        put.commit().unwrap();
    }
    let found = verify(root.path());
    assert!(found.worst <= Some(Severity::Info), "{:#?}", found.findings);
    assert_eq!(pending(&Inspector::open(root.path()).unwrap()).0, (0..120).collect::<Vec<_>>());
}

struct StopOnDrop<'a>(&'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_channel_at_work_is_never_called_damaged() {
    let root = tempfile::tempdir().unwrap();
    let channel = Channel::open(root.path(), options(&[])).unwrap();
    let stop = AtomicBool::new(false);
    std::thread::scope(|threads| {
        threads.spawn(|| {
            let mut next = 0u64;
            while !stop.load(Ordering::Relaxed) {
                let mut put = channel.begin_put();
                for _ in 0..3 {
                    let body = format!("body {next}{}", " ".repeat(300));
                    put.push_with(|buffer| Event::of_body(body).encode_into(buffer)).unwrap();
                    next += 1;
                }
                put.commit().unwrap();
                take(&channel, 2 + u32::from(next.is_multiple_of(9)) * 20);
                if next.is_multiple_of(300) {
                    channel.checkpoint().unwrap();
                }
            }
        });
        // A reader that fails must end the writer, or the scope waits for ever.
        let _end = StopOnDrop(&stop);
        // Until segments have come and gone under the reader.
        let mut newest = 0;
        while newest < 40 {
            let inspector = Inspector::open(root.path()).unwrap();
            newest = inspector.horizon().1.segment.get();
            assert_eq!(inspector.holder(), Holder::Process { pid: Some(std::process::id()) });
            let found = inspector.verify(Verify::default(), |_| {}).unwrap();
            assert!(found.worst <= Some(Severity::Info), "{:#?}", found.findings);
            let (seqs, hidden) = pending(&inspector);
            assert_eq!(hidden, 0);
            assert!(seqs.is_sorted() && seqs.len() as u64 <= inspector.state().unwrap().owed);
            let summary = inspector.summary().unwrap();
            assert_eq!(summary.findings, []);
            assert!(inspector.state().unwrap().exact);
        }
    });
    channel.close().unwrap();
    assert_eq!(verify(root.path()).findings, []);
}
