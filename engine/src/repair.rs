//! Setting damage aside without an agent, so that it can be looked at first and undone after.
//!
//! A repair does what an open with [`OnDamage::Quarantine`] does, and no more: it writes the records of the damage, and one new segment
//! that begins behind it and says which events are lost. No file that was there is changed; one that cannot be read at all gets
//! another name. So an undo removes what was made, and gives back the names.

use crate::{
    channel::Channel,
    error::{Error, ErrorKind, Result},
    format::crc32,
    ids::Lsn,
    inspect::{Finding, Inspector, Severity, Verify},
    io::{StdVfs, Vfs},
    log::{Directories, Quarantine, Quarantined, Verdict, is_absent, names},
    options::{OnDamage, Options, Purpose},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

mod held;
mod overlay;

use held::Held;
use overlay::Overlay;

const CHUNK_BYTES: usize = 1 << 20;

/// What a repair did.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Repaired {
    /// The damage that was set aside, with what is lost.
    pub damages: Vec<Quarantined>,
    /// For each of them, what is left.
    pub left: Vec<Left>,
    /// What the verification before found.
    pub findings: Vec<Finding>,
    /// Events owed before, as far as could be told, and now.
    pub owed: (u64, u64),
    /// Events that were owed and cannot be read.
    pub lost: u64,
    /// How to take it back.
    pub undo: Undo,
    /// What an operator should know.
    pub warnings: Vec<String>,
}

/// What is left of a damage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Left {
    /// Of the events that it names, those in the bytes that were kept, with a right checksum.
    pub verified: u64,
    /// Those with a wrong one: one of them may be damaged, or all.
    pub unverified: u64,
    /// Frames that are gone and may have been takes: what they took comes again. 0 below a checkpoint, which knows of all takes.
    pub takes_at_most: u64,
}

/// What [`undo`] takes back. Who repairs for a user writes it to a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Undo {
    /// Where the log's lock and checkpoints lie.
    pub home: PathBuf,
    /// Where its segments lie, in the order of its manifest.
    pub data: Vec<PathBuf>,
    /// Files and directories that were made.
    pub made: Vec<Made>,
    /// Files that got another name: the old one, and the new one.
    pub renamed: Vec<(PathBuf, PathBuf)>,
}

/// Something that a repair made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Made {
    /// Where.
    pub path: PathBuf,
    /// Size in bytes and checksum (CRC-32) of a file; `None` for a directory. A file that is not like that any more is not removed.
    pub content: Option<(u64, u32)>,
}

/// Sets aside all damage of the channel that `dir` belongs to, and writes where the log goes on. Without damage nothing is changed, and
/// the answer names none.
///
/// # Errors
/// `Locked` while an agent has it open; `NotAChannel` if a directory is absent, or found at an old place only after others were moved or
/// copied, and for a bare log: only its user knows what its state is worth without a record; `Corrupt` if its manifest cannot be read and
/// other directories may belong to it;
/// `NewerFormat`; `DiskFull`; `Io`. What was done by then is taken back, or the error says so.
///
/// # Examples
/// ```
/// use fchannel::{Channel, Options, repair};
/// let dir = tempfile::tempdir()?;
/// let channel = Channel::open(dir.path(), Options::default())?;
/// channel.put(b"one")?;
/// channel.close()?;
/// assert!(repair::repair(dir.path())?.damages.is_empty());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn repair(dir: impl AsRef<Path>) -> Result<Repaired> {
    repair_on(Arc::new(StdVfs::default()), dir.as_ref())
}

/// As [`repair`], in another world.
///
/// # Errors
/// As [`repair`].
pub fn repair_on(vfs: Arc<dyn Vfs>, dir: &Path) -> Result<Repaired> {
    let inspector = Inspector::open_on(Arc::clone(&vfs), dir)?;
    let Some(before) = inspector.state() else {
        let what = "this is a bare log, not a channel: only its user knows what its state is worth without a record";
        return Err(Error::new(ErrorKind::NotAChannel, what).in_file(dir));
    };
    let (home, data) = inspector.directories_to_change()?;
    let (home, data) = (home.to_path_buf(), data.to_vec());
    let damaged = inspector.verify(Verify::default(), |_| {})?;
    drop(inspector);
    if damaged.worst.is_none_or(|worst| worst < Severity::Warn) {
        let undo = Undo { home, data, ..Undo::default() };
        let owed = (before.owed, before.owed);
        let findings = damaged.findings;
        let (damages, left, warnings) = (Vec::new(), Vec::new(), Vec::new());
        return Ok(Repaired { damages, left, findings, owed, lost: 0, undo, warnings });
    }
    // What lies there is what the undo brings back: nobody may be at work, from here to the end.
    let _held = Directories::hold(Arc::clone(&vfs), &home, &data, &|_| true)?;
    let vfs: Arc<dyn Vfs> = Arc::new(Held(vfs));
    let old = files(&*vfs, &home, &data)?;
    let known = Quarantine::read(&*vfs, &home, &mut |_| {})?;
    let known: BTreeSet<u64> = known.records().iter().map(|damage| damage.id).collect();
    let set_aside = set_aside(&vfs, &home, &data);
    let all = match set_aside.and_then(|all| Ok((all, undo_to(&*vfs, &home, &data, &old)?))) {
        Ok(all) => all,
        Err(error) => return Err(taken_back(&vfs, &home, &data, &old, error)),
    };
    let (SetAside { mut damages, mut warnings, owed, lost }, undo) = all;
    damages.retain(|damage| !known.contains(&damage.id));
    warnings.extend(half_made(&old, &undo));
    let left = left_of(&vfs, &home, &damages).unwrap_or_else(|error| {
        warnings.push(format!("what is left of the damage could not be told: {error}"));
        vec![Left::default(); damages.len()]
    });
    let (findings, owed) = (damaged.findings, (before.owed, owed));
    Ok(Repaired { damages, left, findings, owed, lost, undo, warnings })
}

/// What an open that sets damage aside leaves.
struct SetAside {
    damages: Vec<Quarantined>,
    warnings: Vec<String>,
    owed: u64,
    lost: u64,
}

/// Sets all damage aside, by who holds the log.
fn set_aside(vfs: &Arc<dyn Vfs>, home: &Path, data: &[PathBuf]) -> Result<SetAside> {
    let data_dirs = if data == [home.to_path_buf()] { Vec::new() } else { data.to_vec() };
    let options = Options {
        data_dirs,
        capacity_events: u64::MAX,
        free_space_min_bytes: 0,
        on_damage: OnDamage::Quarantine,
        ..Options::default()
    };
    let channel = Channel::open_for(Arc::clone(vfs), home, options, Purpose::Repair)?;
    let report = channel.recovery();
    // An agent goes on without a record where it must. A repair can wait for room.
    let all_recorded = || {
        if channel.quarantined().iter().chain(&report.damages).all(|damage| damage.id != 0) {
            return Ok(());
        }
        let what = format!("damage has no record: {}", report.warnings.join("; "));
        Err(Error::new(ErrorKind::Io, what).in_file(home))
    };
    all_recorded()?;
    channel.finish_repair()?;
    set_the_rest_aside(vfs, &channel, home)?;
    // What was found by reading, too: the undo takes back what was given up.
    all_recorded()?;
    let (damages, warnings) = (channel.quarantined(), report.warnings.clone());
    let stats = channel.stats();
    Ok(SetAside { damages, warnings, owed: stats.events, lost: stats.lost })
}

/// How to come back to the `old` files.
fn undo_to(
    vfs: &dyn Vfs,
    home: &Path,
    data: &[PathBuf],
    old: &BTreeMap<PathBuf, bool>,
) -> Result<Undo> {
    let new = files(vfs, home, data)?;
    let renamed = renamed(old, &new);
    let targets: BTreeSet<&PathBuf> = renamed.iter().map(|(_, to)| to).collect();
    let replaced: BTreeSet<&PathBuf> = renamed.iter().map(|(from, _)| from).collect();
    let mut made = Vec::new();
    for (path, is_dir) in &new {
        // What has the old name of a damaged file is new.
        if replaced.contains(path) || !old.contains_key(path) && !targets.contains(path) {
            let content = if *is_dir { None } else { Some(content_of(vfs, path)?) };
            made.push(Made { path: path.clone(), content });
        }
    }
    Ok(Undo { home: home.to_path_buf(), data: data.to_vec(), made, renamed })
}

/// What is said of files that a crash left half-made and that went with the making of those that they were to be.
fn half_made(old: &BTreeMap<PathBuf, bool>, undo: &Undo) -> Vec<String> {
    let made = |path: &Path| undo.made.iter().any(|made| made.path == path);
    let went = old.keys().filter(|path| {
        path.extension().is_some_and(|end| end == "tmp") && made(&path.with_extension(""))
    });
    let say = |path: &PathBuf| {
        format!("{} was half-made by a crash and is gone: no undo brings it back", path.display())
    };
    went.map(say).collect()
}

/// A repair that fails leaves nothing behind, if that is in its power; answers why it failed.
fn taken_back(
    vfs: &Arc<dyn Vfs>,
    home: &Path,
    data: &[PathBuf],
    old: &BTreeMap<PathBuf, bool>,
    error: Error,
) -> Error {
    if matches!(error.kind(), ErrorKind::Locked { .. }) {
        return error;
    }
    let back = undo_to(&**vfs, home, data, old).and_then(|undo| {
        let nothing = undo.made.is_empty() && undo.renamed.is_empty();
        if nothing { Ok(()) } else { undo_on(Arc::clone(vfs), &undo) }
    });
    match back {
        Ok(()) => error,
        Err(why) => {
            let what = format!(
                "{error}; what was done by then could not be taken back: {why}. No event is lost by that"
            );
            Error::new(error.kind().clone(), what)
        }
    }
}

/// What [`repair`] would do, exactly: it is done in memory, over the files as they are. Nothing is written, no lock is taken; of a channel
/// that an agent has open it says what holds at this moment.
///
/// # Errors
/// As [`repair`], but for `Locked`.
pub fn plan(dir: impl AsRef<Path>) -> Result<Repaired> {
    repair_on(Arc::new(Overlay::new(Arc::new(StdVfs::default()))), dir.as_ref())
}

/// Settles damage `id` of the channel that `dir` belongs to: its record is renamed, its bytes stay.
///
/// # Errors
/// `Locked`; `NotAChannel`; `InvalidOptions` if there is no such damage; `Io`.
pub fn settle(dir: impl AsRef<Path>, id: u64) -> Result<()> {
    let vfs: Arc<dyn Vfs> = Arc::new(StdVfs::default());
    let inspector = Inspector::open_on(Arc::clone(&vfs), dir.as_ref())?;
    let (home, data) = inspector.directories_to_change()?;
    let dirs = Directories::hold(vfs, home, data, &|_| false)?;
    Quarantine::read(&*dirs.vfs, &dirs.home, &mut |_| {})?.settle(&*dirs.vfs, id)
}

fn left_of(vfs: &Arc<dyn Vfs>, home: &Path, damages: &[Quarantined]) -> Result<Vec<Left>> {
    let inspector = Inspector::open_on(Arc::clone(vfs), home)?;
    let left = damages.iter().map(|damage| {
        let frames = inspector.salvage(damage)?;
        let mut left = Left::default();
        for event in frames.iter().flat_map(|frame| &frame.events).filter(|event| event.lost) {
            *(if event.verified { &mut left.verified } else { &mut left.unverified }) += 1;
        }
        let known = frames.iter().filter(|frame| frame.own && !frame.is_take()).count();
        let (first, end) = damage.lsns;
        if damage.verdict != Verdict::H && first > Lsn::default() {
            left.takes_at_most = end.get().saturating_sub(first.get()).saturating_sub(known as u64);
        }
        Ok(left)
    });
    left.collect()
}

/// What holds nothing that is owed: images, frames whose events are all taken, checkpoints. Nothing is lost by it, and once it is set
/// aside a verification no longer calls for anybody.
fn set_the_rest_aside(vfs: &Arc<dyn Vfs>, channel: &Channel, home: &Path) -> Result<()> {
    let inspector = Inspector::open_on(Arc::clone(vfs), home)?;
    let found =
        inspector.verify(Verify { findings_max: usize::MAX, ..Verify::default() }, |_| {})?;
    // An image that contradicts what was read before it is sound, and knows more.
    let is_damage =
        |finding: &&Finding| finding.severity >= Severity::Warn && finding.code != "FC2403";
    for finding in found.findings.iter().filter(is_damage) {
        match (finding.at, &finding.file) {
            (Some(at), _) => channel.set_aside(at, finding.lsn, &finding.what)?,
            (None, Some(path)) if is_checkpoint(path) => {
                let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
                let aside = path.with_file_name(names::damaged(name, 0));
                vfs.retire(path, &aside).map_err(|error| {
                    Error::io("cannot rename the damaged checkpoint", path, error)
                })?;
            }
            // What a repair cannot mend: a manifest, a directory that is absent.
            _ => {}
        }
    }
    Ok(())
}

fn is_checkpoint(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    matches!(names::Name::parse(name), names::Name::Checkpoint(_))
}

/// Takes a repair back: removes what it made and gives files their old names. Afterwards every file is what it was before the repair,
/// the lock file excepted, and what a crash had left half-made of a file that the repair made: [`Repaired::warnings`] names that.
///
/// # Errors
/// `Locked`; `Corrupt` if something that the repair made is not what it was, or segments have come since: then nothing is changed.
/// `Io`: it can be tried again.
pub fn undo(undo: &Undo) -> Result<()> {
    undo_on(Arc::new(StdVfs::default()), undo)
}

/// As [`undo`], in another world.
///
/// # Errors
/// As [`undo`].
pub fn undo_on(vfs: Arc<dyn Vfs>, undo: &Undo) -> Result<()> {
    within_the_channel(undo)?;
    let is_made = |path: &Path| undo.made.iter().any(|made| made.path == path);
    let dirs = Directories::hold(vfs, &undo.home, &undo.data, &is_made)?;
    let vfs = &*dirs.vfs;
    let aside_of = |path: &Path| {
        undo.renamed.iter().find(|(old, _)| old == path).map(|(_, aside)| aside.as_path())
    };
    let quarantine = undo.home.join(names::QUARANTINE);
    for made in &undo.made {
        let settled = made.path.file_name().and_then(|name| names::damage_id(name.to_str()?));
        let settled = settled.map(|id| quarantine.join(names::damage_settled(id)));
        if let Some(settled) = settled.filter(|settled| vfs.open(settled).is_ok()) {
            let what = "this damage was settled since the repair: there is no way back";
            return Err(Error::corrupt(what).in_file(&settled));
        }
        let Some(expected) = made.content else { continue };
        // By an undo that did not come to its end the file that was there before is back.
        if aside_of(&made.path).is_some_and(|aside| is_absent(vfs, aside)) {
            continue;
        }
        match content_of(vfs, &made.path) {
            Ok(content) if content == expected => {}
            // Gone by an undo that did not come to its end.
            Err(error) if is_gone(&error) => {}
            Err(error) => return Err(error),
            Ok(_) => {
                let what = "this file is not what the repair made: the channel was used since, and there is no way back";
                return Err(Error::corrupt(what).in_file(&made.path));
            }
        }
    }
    let here = files(vfs, &undo.home, &undo.data)?;
    let number = |path: &Path| {
        let name = path.file_name()?.to_str()?;
        match names::Name::parse(name) {
            names::Name::Segment(id) => Some(id),
            _ => None,
        }
    };
    let highest = undo.made.iter().filter_map(|made| number(&made.path)).max();
    if let Some(newer) = here.keys().find(|path| number(path) > highest && highest.is_some()) {
        let what = "this segment has come since the repair: there is no way back";
        return Err(Error::corrupt(what).in_file(newer));
    }
    // The segment goes behind the records: a damage that has one is known, and what is known keeps no agent from opening. Without it
    // the damage is news again, whatever becomes of the rest.
    let mut made: Vec<&Made> = undo.made.iter().collect();
    made.sort_by_key(|made| (made.content.is_none(), number(&made.path).is_some(), &made.path));
    // What has the name of a file that was there before is written over by that: at no moment is there none.
    for made in made.into_iter().filter(|made| aside_of(&made.path).is_none()) {
        // A note that somebody laid into the quarantine stays, and its directory with it.
        if made.content.is_none() && vfs.list(&made.path).is_ok_and(|names| !names.is_empty()) {
            continue;
        }
        match vfs.remove(&made.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(Error::io("cannot remove what the repair made", &made.path, error));
            }
            _ => {}
        }
    }
    for (old, new) in &undo.renamed {
        match vfs.retire(new, old) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(Error::io("cannot give the old name back to", new, error));
            }
            _ => {}
        }
    }
    Ok(())
}

/// What is to be removed or renamed was read from a file: nothing outside of the channel's directories is ours.
fn within_the_channel(undo: &Undo) -> Result<()> {
    let quarantine = undo.home.join(names::QUARANTINE);
    let ours = |path: &Path| {
        let dir = path.parent();
        let is_dir = |known: &PathBuf| dir == Some(known.as_path());
        path == quarantine
            || is_dir(&undo.home)
            || is_dir(&quarantine)
            || undo.data.iter().any(is_dir)
    };
    let made = undo.made.iter().map(|made| &made.path);
    let renamed = undo.renamed.iter().flat_map(|(old, new)| [old, new]);
    match made.chain(renamed).find(|path| !ours(path)) {
        None => Ok(()),
        Some(stranger) => {
            let what = "this path lies outside of the channel's directories: no repair made it";
            Err(Error::corrupt(what).in_file(stranger))
        }
    }
}

fn is_gone(error: &Error) -> bool {
    use std::error::Error as _;
    error
        .source()
        .and_then(|source| source.downcast_ref::<io::Error>())
        .is_some_and(|source| source.kind() == io::ErrorKind::NotFound)
}

/// What lies in the directories, and in the quarantine; true for a directory.
fn files(vfs: &dyn Vfs, home: &Path, data: &[PathBuf]) -> Result<BTreeMap<PathBuf, bool>> {
    let list = |dir: &Path| {
        vfs.list(dir).map_err(|error| Error::io("cannot list the directory", dir, error))
    };
    let mut files = BTreeMap::new();
    let quarantine = home.join(names::QUARANTINE);
    for dir in data.iter().map(PathBuf::as_path).chain([home]) {
        for name in list(dir)?.into_iter().filter(|name| name != "in_use.lock") {
            files.entry(dir.join(name)).or_insert(false);
        }
    }
    match vfs.list(&quarantine) {
        Ok(names) => {
            files.extend(names.into_iter().map(|name| (quarantine.join(name), false)));
            files.insert(quarantine, true);
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(Error::io("cannot list the directory", &quarantine, error)),
    }
    Ok(files)
}

/// Files that got the name of a damaged one.
fn renamed(
    old: &BTreeMap<PathBuf, bool>,
    new: &BTreeMap<PathBuf, bool>,
) -> Vec<(PathBuf, PathBuf)> {
    let pair = |to: &PathBuf| {
        let from = to.with_file_name(names::undamaged(to.file_name()?.to_str()?)?);
        old.contains_key(&from).then(|| (from, to.clone()))
    };
    new.keys().filter(|path| !old.contains_key(*path)).filter_map(pair).collect()
}

fn content_of(vfs: &dyn Vfs, path: &Path) -> Result<(u64, u32)> {
    let fail = |error| Error::io("cannot read what the repair made", path, error);
    let file = vfs.open(path).map_err(fail)?;
    let mut chunk = vec![0; CHUNK_BYTES];
    let (mut at, mut crc) = (0, 0);
    loop {
        let read = file.read_at(at, &mut chunk).map_err(fail)?;
        let Some(bytes) = chunk.get(..read).filter(|bytes| !bytes.is_empty()) else {
            return Ok((at, crc));
        };
        // Chained, so that it depends on all of it.
        crc = crc32(&[&crc.to_le_bytes(), bytes]);
        at += read as u64;
    }
}
