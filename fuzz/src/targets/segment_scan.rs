//! A whole directory with damage of any kind: opened both ways, looked into, drained.
//!
//! The images that are damaged were written by the engine itself, so that most of what a case says leads somewhere. Unless the case makes
//! checksums right again, nothing may come out of the directory that was not put into it, at its own place, in order.

use crate::MemoryVfs;
use arbitrary::{Arbitrary, Unstructured};
use fchannel::{
    Channel, Inspector, OnDamage, Options, Position, TakeLimit, Verify, Wal, WalOptions, Which,
};
use std::{
    collections::BTreeMap,
    ops::ControlFlow::Continue,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
};

type Files = BTreeMap<PathBuf, Vec<u8>>;

const HOME: &str = "/home";

/// A directory as it was left, and what was acknowledged in it.
struct Image {
    files: Files,
    data_dirs: Vec<PathBuf>,
    /// All events that were ever put, by sequence.
    put: BTreeMap<u64, Vec<u8>>,
    /// Those that are owed.
    owed: Vec<u64>,
    bare: bool,
}

fn options(data_dirs: &[PathBuf], on_damage: OnDamage) -> Options {
    Options {
        data_dirs: data_dirs.to_vec(),
        segment_bytes_max: 64 << 10,
        checkpoint_log_bytes: 64 << 10,
        free_space_min_bytes: 0,
        tail_cache_bytes: 0,
        keep_alive_ms: 0,
        transaction_bytes_max: 1 << 20,
        on_damage,
        ..Options::default()
    }
}

fn wal_options(on_damage: OnDamage) -> WalOptions {
    WalOptions {
        segment_bytes_max: 64 << 10,
        free_space_min_bytes: 0,
        on_damage,
        ..WalOptions::default()
    }
}

struct Maker {
    vfs: MemoryVfs,
    image: Image,
}

impl Maker {
    fn new(data_dirs: &[&str]) -> Self {
        let data_dirs = data_dirs.iter().map(PathBuf::from).collect();
        let image = Image {
            files: Files::new(),
            data_dirs,
            put: BTreeMap::new(),
            owed: Vec::new(),
            bare: false,
        };
        Self { vfs: MemoryVfs::default(), image }
    }

    fn open(&self) -> Channel {
        let options = options(&self.image.data_dirs, OnDamage::Quarantine);
        Channel::open_on(Arc::new(self.vfs.clone()), Path::new(HOME), options).expect("an open")
    }

    fn put(&mut self, channel: &Channel, sizes: &[usize]) {
        let mut put = channel.begin_put();
        for size in sizes {
            let seq = self.image.put.len() as u64;
            let mut payload = format!("event {seq} ").into_bytes();
            payload.resize(payload.len() + size, b'.');
            put.push(&payload).expect("room");
            self.image.put.insert(seq, payload);
            self.image.owed.push(seq);
        }
        put.set_mark(b"at", &self.image.put.len().to_le_bytes()).expect("a mark");
        put.commit().expect("a commit");
    }

    /// Takes `count` events behind the first `skip`.
    fn take(&mut self, channel: &Channel, skip: u32, count: u32) {
        let mut take = channel.begin_take(TakeLimit::events(skip + count)).expect("a take");
        let rest = take.split_off(skip as usize);
        for record in rest.records() {
            self.image.owed.retain(|seq| *seq != record.seq.get());
        }
        rest.commit().expect("a commit");
    }

    fn done(self) -> Image {
        Image { files: self.vfs.files(), ..self.image }
    }
}

/// One segment, marks, takes out of order, a checkpoint, more: and killed.
fn small() -> Image {
    let mut maker = Maker::new(&[]);
    let channel = maker.open();
    for sizes in [&[5, 6, 7][..], &[100], &[0, 0], &[300, 2]] {
        maker.put(&channel, sizes);
    }
    maker.take(&channel, 2, 2);
    channel.checkpoint().expect("a checkpoint");
    maker.take(&channel, 0, 1);
    maker.put(&channel, &[9, 9]);
    drop(channel);
    maker.done()
}

/// Several segments in two directories, killed twice: frames that were written anew, void ones, spares.
fn large() -> Image {
    let mut maker = Maker::new(&["/data/a", "/data/b"]);
    let channel = maker.open();
    for _ in 0..7 {
        maker.put(&channel, &[20_000, 10]);
    }
    maker.take(&channel, 0, 7);
    maker.take(&channel, 1, 2);
    channel.checkpoint().expect("a checkpoint");
    maker.put(&channel, &[50]);
    drop(channel);
    let channel = maker.open();
    for _ in 0..4 {
        maker.put(&channel, &[15_000]);
    }
    maker.take(&channel, 0, 1);
    drop(channel);
    maker.done()
}

/// Closed cleanly, behind damage that was set aside.
fn settled() -> Image {
    let mut maker = Maker::new(&[]);
    let channel = maker.open();
    for _ in 0..6 {
        maker.put(&channel, &[40, 400]);
    }
    drop(channel);
    let mut files = maker.vfs.files();
    let segment = files.keys().find(|path| is_segment(path)).cloned().expect("a segment");
    let bytes = files.get_mut(&segment).expect("its bytes");
    let frame = frames(bytes)[3];
    bytes[frame + 70] ^= 1;
    maker.vfs = MemoryVfs::of(&files);
    let channel = maker.open();
    maker.put(&channel, &[7, 8]);
    let owed = channel.peek(None, TakeLimit::events(100)).expect("a look");
    maker.image.owed = owed.iter().map(|record| record.seq.get()).collect();
    channel.close().expect("a close");
    maker.done()
}

/// A bare log with released records, closed.
fn bare() -> Image {
    let mut maker = Maker::new(&[]);
    let wal = Wal::open_on(
        Arc::new(maker.vfs.clone()),
        Path::new(HOME),
        wal_options(OnDamage::Quarantine),
        |_, _, _| Ok(()),
    )
    .expect("an open");
    for number in 0..8u8 {
        let lsn = wal.append(number, &vec![number; 9_000]).expect("an append").lsn;
        maker.image.put.insert(lsn.get(), vec![number; 9_000]);
        if number == 3 {
            wal.release_before(lsn).expect("a release");
        }
    }
    drop(wal);
    maker.image.bare = true;
    maker.done()
}

fn images() -> &'static [Image] {
    static IMAGES: OnceLock<Vec<Image>> = OnceLock::new();
    IMAGES.get_or_init(|| vec![small(), large(), settled(), bare()])
}

fn name(path: &Path) -> &str {
    path.file_name().and_then(|name| name.to_str()).unwrap_or_default()
}

fn is_segment(path: &Path) -> bool {
    name(path).starts_with("seg-")
}

fn u32_at(bytes: &[u8], at: usize) -> usize {
    bytes
        .get(at..at + 4)
        .map_or(0, |four| u32::from_le_bytes([four[0], four[1], four[2], four[3]]) as usize)
}

/// Where the frames of a segment begin, as far as their lengths lead; the header counts as the first.
fn frames(bytes: &[u8]) -> Vec<usize> {
    let (mut at, mut found) = (64, vec![0]);
    while at + 64 <= bytes.len() && bytes[at..at + 8] != [0; 8] {
        found.push(at);
        at += (64 + u32_at(bytes, at + 36)).next_multiple_of(8);
    }
    found
}

/// A place in a file: a frame and an offset in it, so that a case means the same when lengths change.
#[derive(Arbitrary, Debug)]
struct Place {
    file: u8,
    frame: u8,
    offset: u16,
}

#[derive(Arbitrary, Debug)]
enum Damage {
    Flip(Place, u8),
    Write(Place, Vec<u8>),
    Number(Place, u64),
    Zero(Place, u16),
    Cut(Place),
    Copy {
        from: Place,
        to: Place,
        len: u16,
    },
    Append(u8, Vec<u8>),
    Remove(u8),
    Exchange(u8, u8),
    /// A file under a name that may mean something.
    Add {
        name: u8,
        number: u64,
        copy_of: u8,
    },
    /// Makes the checksums of a frame, a header, a checkpoint or a manifest right.
    Seal(Place),
}

#[derive(Arbitrary, Debug)]
struct Case {
    image: u8,
    damages: Vec<Damage>,
}

fn nth(files: &Files, number: u8) -> Option<PathBuf> {
    let number = usize::from(number).checked_rem(files.len())?;
    files.keys().nth(number).cloned()
}

/// The file of a place, where its frame begins and where it is.
fn find(files: &Files, place: &Place) -> Option<(PathBuf, usize, usize)> {
    let path = nth(files, place.file)?;
    let bytes = files.get(&path)?;
    let frames = if is_segment(&path) { frames(bytes) } else { vec![0] };
    let start = frames[usize::from(place.frame) % frames.len()];
    let at = (start + usize::from(place.offset)).min(bytes.len().saturating_sub(1));
    Some((path, start, at))
}

fn write(bytes: &mut Vec<u8>, at: usize, new: &[u8]) {
    if bytes.len() < at + new.len() {
        bytes.resize(at + new.len(), 0);
    }
    bytes[at..at + new.len()].copy_from_slice(new);
}

/// Does the damage; false if there is nothing to be damaged.
fn inflict(files: &mut Files, damage: &Damage) -> Option<()> {
    match damage {
        Damage::Flip(place, bit) => {
            let (path, _, at) = find(files, place)?;
            *files.get_mut(&path)?.get_mut(at)? ^= 1 << (bit % 8);
        }
        Damage::Write(place, new) => {
            let (path, _, at) = find(files, place)?;
            write(files.get_mut(&path)?, at, new);
        }
        Damage::Number(place, new) => {
            let (path, _, at) = find(files, place)?;
            write(files.get_mut(&path)?, at & !7, &new.to_le_bytes());
        }
        Damage::Zero(place, len) => {
            let (path, _, at) = find(files, place)?;
            let bytes = files.get_mut(&path)?;
            let end = (at + usize::from(*len)).min(bytes.len());
            bytes[at..end].fill(0);
        }
        Damage::Cut(place) => {
            let (path, _, at) = find(files, place)?;
            files.get_mut(&path)?.truncate(at);
        }
        Damage::Copy { from, to, len } => {
            let (path, _, at) = find(files, from)?;
            let bytes = files.get(&path)?;
            let copied = bytes[at..(at + usize::from(*len)).min(bytes.len())].to_vec();
            let (path, _, at) = find(files, to)?;
            write(files.get_mut(&path)?, at, &copied);
        }
        Damage::Append(file, new) => files.get_mut(&nth(files, *file)?)?.extend(new),
        Damage::Remove(file) => drop(files.remove(&nth(files, *file)?)),
        Damage::Exchange(one, other) => {
            let (one, other) = (nth(files, *one)?, nth(files, *other)?);
            let bytes = files.get(&one)?.clone();
            let bytes = files.insert(other, bytes)?;
            files.insert(one, bytes);
        }
        Damage::Add { name, number, copy_of } => {
            let path = nth(files, *copy_of)?;
            let names = [
                "seg-N",
                "checkpoint-N",
                "spare-N",
                "seg-N.tmp",
                "quarantine/N.damage",
                "quarantine/N.bytes",
            ];
            let name = names[usize::from(*name) % names.len()].replace('N', &number.to_string());
            let bytes = files.get(&path)?.clone();
            files.insert(path.parent()?.join(name), bytes);
        }
        Damage::Seal(place) => {
            let (path, start, _) = find(files, place)?;
            seal(name(&path).to_owned().as_str(), files.get_mut(&path)?, start)?;
        }
    }
    Some(())
}

fn seal(name: &str, bytes: &mut [u8], start: usize) -> Option<()> {
    if name.starts_with("checkpoint-") || name.starts_with("manifest") {
        let at = if name.starts_with("checkpoint-") { 28 } else { 20 };
        let mut crc = crc32fast::Hasher::new();
        let mut copy = bytes.to_vec();
        let len = u32::try_from(copy.len().checked_sub(at + 4)?).ok()?;
        copy.get_mut(at - 4..at)?.copy_from_slice(&len.to_le_bytes());
        bytes.copy_from_slice(&copy);
        crc.update(bytes.get(..at)?);
        crc.update(bytes.get(at + 4..)?);
        let crc = crc.finalize();
        bytes.get_mut(at..at + 4)?.copy_from_slice(&crc.to_le_bytes());
        return Some(());
    }
    if start > 0 {
        let body_len = u32_at(bytes, start + 36);
        let body = bytes.get(start + 64..start + 64 + body_len)?;
        let crc = crc32fast::hash(body);
        bytes.get_mut(start + 52..start + 56)?.copy_from_slice(&crc.to_le_bytes());
    }
    let crc = crc32fast::hash(bytes.get(start..start + 60)?);
    bytes.get_mut(start + 60..start + 64)?.copy_from_slice(&crc.to_le_bytes());
    Some(())
}

/// What comes out of a channel until it is empty or says no.
fn drain(channel: &Channel) -> (Vec<(u64, Vec<u8>)>, bool) {
    let mut out = Vec::new();
    for _ in 0..200 {
        let Ok(take) = channel.begin_take(TakeLimit::events(3)) else { return (out, false) };
        if take.records().is_empty() {
            return (out, true);
        }
        out.extend(take.records().iter().map(|record| (record.seq.get(), record.payload.to_vec())));
        if take.commit().is_err() {
            return (out, false);
        }
    }
    panic!("a channel that is never empty");
}

fn content(files: &Files) -> Files {
    // An open may write a manifest that is missing.
    let keep = |path: &Path| name(path) != "manifest";
    files
        .iter()
        .filter(|(path, _)| keep(path))
        .map(|(path, bytes)| (path.clone(), bytes.clone()))
        .collect()
}

fn look(vfs: &MemoryVfs) {
    let Ok(inspector) = Inspector::open_on(Arc::new(vfs.clone()), Path::new(HOME)) else { return };
    let _unused = inspector.verify(Verify::default(), |_| {}).is_ok();
    let _unused = inspector.verify(Verify { deep: false, findings_max: 3 }, |_| {}).is_ok();
    let _unused = inspector.summary().is_ok();
    let (oldest, newest) = (Position::Oldest, Position::Newest);
    let _unused = inspector.events(Which::Pending, oldest, newest, |_| Continue(())).is_ok();
    let _unused = inspector.frames(oldest, newest, |_| Continue(())).is_ok();
}

pub(crate) fn segment_scan(input: &[u8]) {
    let Ok(case) = Case::arbitrary(&mut Unstructured::new(input)) else { return };
    let images = images();
    let image = &images[usize::from(case.image) % images.len()];
    let mut files = image.files.clone();
    for damage in case.damages.iter().take(24) {
        let _nothing_there = inflict(&mut files, damage);
    }
    let honest = !case.damages.iter().any(|damage| matches!(damage, Damage::Seal(_)));
    let vfs = MemoryVfs::of(&files);
    look(&vfs);
    assert_eq!(vfs.files(), files, "a look changed something");
    if image.bare {
        return bare_log(image, &files, honest);
    }
    let only_checkpoints = honest && only_checkpoints_differ(image, &files);
    for on_damage in [OnDamage::Refuse, OnDamage::Quarantine] {
        let vfs = MemoryVfs::of(&files);
        let open = || {
            Channel::open_on(
                Arc::new(vfs.clone()),
                Path::new(HOME),
                options(&image.data_dirs, on_damage),
            )
        };
        let channel = match open() {
            Ok(channel) => channel,
            Err(error) => {
                assert!(!only_checkpoints, "a checkpoint is all that is damaged: {error}");
                if on_damage == OnDamage::Refuse {
                    assert_eq!(
                        content(&vfs.files()),
                        content(&files),
                        "refused, and changed: {error}"
                    );
                }
                continue;
            }
        };
        let (drained, to_the_end) = drain(&channel);
        let rising = drained.windows(2).all(|pair| pair[0].0 < pair[1].0);
        if honest {
            assert!(rising, "out of order");
            for (seq, payload) in &drained {
                assert!(image.put.get(seq) == Some(payload), "event {seq} was never put");
            }
        }
        if only_checkpoints {
            let seqs: Vec<u64> = drained.iter().map(|(seq, _)| *seq).collect();
            assert_eq!(seqs, image.owed, "lost with a checkpoint");
        }
        look(&vfs);
        let closed = channel.close().is_ok();
        if honest && to_the_end && closed {
            match open() {
                Ok(channel) => assert_eq!(channel.stats().events, 0, "taken, and there again"),
                Err(error) => {
                    assert!(
                        on_damage == OnDamage::Refuse,
                        "opened, closed, and not opened again: {error}"
                    );
                }
            }
        }
        look(&vfs);
    }
}

fn only_checkpoints_differ(image: &Image, files: &Files) -> bool {
    let is_checkpoint = |path: &Path| name(path).starts_with("checkpoint-");
    let rest = |files: &Files| -> Files {
        files
            .iter()
            .filter(|(path, _)| !is_checkpoint(path))
            .map(|(path, bytes)| (path.clone(), bytes.clone()))
            .collect()
    };
    // No other checkpoints than there were, and none that is another one's.
    let known = files.iter().filter(|(path, _)| is_checkpoint(path)).all(|(path, bytes)| {
        image.files.contains_key(path)
            && !image.files.iter().any(|(other, theirs)| other != path && theirs == bytes)
    });
    known && rest(files) == rest(&image.files)
}

fn bare_log(image: &Image, files: &Files, honest: bool) {
    for on_damage in [OnDamage::Refuse, OnDamage::Quarantine] {
        let vfs = MemoryVfs::of(files);
        let mut last = 0;
        let opened = Wal::open_on(
            Arc::new(vfs.clone()),
            Path::new(HOME),
            wal_options(on_damage),
            |lsn, kind, body| {
                if honest {
                    assert!(lsn.get() > last, "out of order");
                    let known = image.put.get(&lsn.get());
                    assert!(
                        known.is_some_and(|known| known == body && known[0] == kind),
                        "record {lsn} was never written"
                    );
                }
                last = lsn.get();
                Ok(())
            },
        );
        let Ok(wal) = opened else { continue };
        let _unused = wal.append(9, b"more").is_ok();
        let _unused = wal.close().is_ok();
        look(&vfs);
    }
}
