//! From directories to a log that can be written: one straight line, no branch visits an earlier step.
//!
//! The steps are those of docs/RECOVERY.md. Nothing is written to the log before the new segment is made, and that is one atomic step:
//! a crash before it changes nothing, and after it the next recovery finds the same frames under the new name.

use super::{
    Apply, Frame, Log,
    aside::{Aside, beginning_gone, files_aside, passed_by, with_frames},
    dirs::Directories,
    quarantine::{Extent, Quarantine, Quarantined},
    reader::{Found, SegmentReader},
    recovering::{PassedDamage, Recovering},
    scan::{Scan, Start, scan},
    segments::{
        FileDamage, FileState, Listing, Segment, Segments, directory_holding, directory_of,
    },
    spares::{Blocks, Spares, create_segment},
    verdict::Verdict,
    writer::{Writer, append_frame, segment_head},
};
use crate::{
    error::{Error, ErrorKind, Result},
    format::{FrameHeader, Kind, LogImage, SEGMENT_HEADER_LEN, SegmentHeader},
    ids::{BEYOND_ANY_LOG, EventSeq, FramePtr, Lsn, SegmentId},
    io::Vfs,
    options::{LogOptions, OnDamage, Purpose},
};
use std::{path::PathBuf, sync::Arc, time::Duration};

/// What an open found and did.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RecoveryReport {
    /// The identity of the log, drawn when it was made: with an event's sequence it names a durable event for ever.
    pub log_id: [u8; 16],
    /// True if there was nothing, and no record of what there was: a new log. If there should have been something, its disk may not be
    /// mounted.
    pub new: bool,
    /// How the log ended.
    pub verdict: Verdict,
    /// Where the state came from.
    pub image: ImageSource,
    /// Checkpoints that could not be used, and why. Nothing is lost by that.
    pub images_passed_over: Vec<String>,
    /// Frames read and applied behind the image.
    pub frames_replayed: u64,
    /// Bytes of them.
    pub bytes_scanned: u64,
    /// Valid frames that nobody vouched for, written anew. Their commits may not have been acknowledged.
    pub frames_rewritten: u64,
    /// The last LSN of the log.
    pub end: Lsn,
    /// Where the run of frames ended.
    pub stopped_at: FramePtr,
    /// Damage that was found and gone around this time.
    pub damages: Vec<Quarantined>,
    /// All damage that was set aside and is not settled, that of earlier opens too.
    pub quarantined: Vec<Quarantined>,
    /// What the operator should know about the directories.
    pub warnings: Vec<String>,
    /// How long it took.
    pub took: Duration,
    /// The items in all damage that was gone around, known or new, and where the log goes on behind each: who set one aside before may
    /// have died before the log said that they are lost.
    pub(crate) passed: Vec<((EventSeq, EventSeq), FramePtr)>,
}

/// Where recovered state came from.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ImageSource {
    /// Nothing was there, or everything was read from the first frame on.
    Nothing,
    /// This checkpoint file.
    Checkpoint(PathBuf),
    /// The image at the head of this segment.
    Segment(SegmentId),
}

/// A checkpoint file and what it holds.
pub(crate) type Candidate = (PathBuf, Result<LogImage>);

/// The image that a restart begins with.
pub(crate) struct Chosen {
    pub(crate) source: ImageSource,
    pub(crate) start: Start,
    pub(crate) next_item: EventSeq,
    /// The segment to which the image leads, if that and all behind the newest one here are gone.
    pub(crate) missing: Option<SegmentId>,
    /// False if there was no image, and what lay before the oldest segment is gone.
    pub(crate) exact: bool,
}

/// What the state of a log's owner begins with.
#[derive(Clone, Copy)]
pub(crate) enum Beginning<'a> {
    /// This image.
    Image(&'a LogImage),
    /// Nothing: a new log, or one that is read from its first frame on.
    Empty,
    /// The frames of this segment: no image can be read, and those before it are gone.
    At(&'a SegmentHeader),
}

/// Recovers the log in `dirs`. `checkpoints` are its owner's, newest first; `replay` gets the durable frames behind the image, in order,
/// before anything is written to the log, and then those that were written anew.
///
/// # Errors
/// `Corrupt`, with the verdict, unless damage is to be set aside; `NotAChannel`; `NewerFormat`; `DiskFull`; `Io`. The log is not changed
/// then; damage may be recorded already, and the next open finds it again.
pub(crate) fn open(
    dirs: Directories,
    listing: Listing,
    mut quarantine: Quarantine,
    options: LogOptions,
    checkpoints: Vec<Candidate>,
    apply: Arc<dyn Apply>,
    replay: &mut dyn FnMut(&Frame) -> Result<()>,
) -> Result<(Arc<Log>, RecoveryReport)> {
    let started = dirs.vfs.monotonic();
    let Listing { mut segments, spares, spare_number, temporary, damages, .. } = listing;
    segments.find_torn_ends(&*dirs.vfs, checkpoints.iter(), &quarantine)?;
    let policy = options.on_damage;
    let mut passed_over = Vec::new();
    let some_unreadable = some_unreadable(&damages, &checkpoints, &quarantine);
    let nothing = segments.newest().is_none() && damages.is_empty() && !some_unreadable;
    let new = is_new(nothing, &checkpoints, &spares, &quarantine)?;
    let chosen = choose_image(
        &*dirs.vfs,
        &segments,
        some_unreadable,
        checkpoints,
        &mut |beginning| apply.restore(beginning).map_err(|error| error.in_file(&dirs.home)),
        &mut |_, error| passed_over.push(error.to_string()),
        &|damage| policy == OnDamage::Quarantine || quarantine.covering(damage).is_some(),
    )?;
    let mut recovering = Recovering::behind(&chosen, policy, &quarantine, &*apply, &mut *replay);
    let scan = scan(&*dirs.vfs, &segments, chosen.start, &mut recovering)?;
    let Recovering { mut next_item, damages: in_frames, .. } = recovering;
    let mut set_aside = Vec::new();
    if let Some(oldest) = segments.oldest()
        && let Some(missing) = apply.missing_before(&oldest.header, &scan.held_back)?
    {
        let aside = beginning_gone(&dirs, &oldest.header, missing);
        if policy == OnDamage::Refuse && quarantine.covering(aside.0.extent()).is_none() {
            return Err(Error::corrupt(aside.0.what).in_file(&dirs.home));
        }
        set_aside.push(aside);
    }
    let unreadable =
        damages.iter().filter(|damage| !matches!(damage.state, FileState::Salvaged { .. }));
    let lost = unreadable.map(|damage| damage.segment).chain(chosen.missing);
    let highest_name = lost.chain(quarantine.last_lost()).max();
    let may_replace = options.purpose == Purpose::Use
        && !keeps_its_name(&segments, &damages, &in_frames, &quarantine);
    let header = next_header(&dirs, &segments, &scan, next_item, highest_name, may_replace)?;
    let in_files = news(&damages, &quarantine);
    let files = files_aside(&dirs, &segments, &in_files, &*apply, &scan, &chosen, &header)?;
    set_aside.extend(with_frames(files, &in_frames, &segments, &quarantine, &*apply, &header));
    let passed = set_aside.iter().map(passed_by).collect();
    let mut warnings = dirs.warnings.clone();
    let repair = options.purpose == Purpose::Repair;
    for path in temporary.into_iter().filter(|_| !repair) {
        dirs.vfs.remove(&path).map_err(|error| {
            Error::io("cannot remove what a crash left half-made", &path, error)
        })?;
    }
    let damages_found = put_aside(&dirs, &mut quarantine, set_aside, damages, &mut warnings);
    // A repair touches none.
    let spares = if repair { vec![Vec::new(); spares.len()] } else { spares };
    let mut spares = Spares::new(&*dirs.vfs, spares, spare_number, &options);
    let (head, frames) = head_of(&header, &scan, apply.image(), dirs.vfs.wall_ms());
    let (segment, file, on_reserve) =
        create_segment(&dirs, &mut spares, &header, &head, Blocks::OrLast)?;
    for frame in &frames {
        next_item = frame.header.next_item();
        replay(frame)?;
    }
    let path = segment.path.clone();
    segments.insert(segment);
    let report = RecoveryReport {
        log_id: dirs.log_id,
        new,
        verdict: scan.verdict,
        image: chosen.source,
        images_passed_over: passed_over,
        frames_replayed: scan.frames,
        bytes_scanned: scan.bytes,
        frames_rewritten: frames.len() as u64,
        end: scan.end,
        stopped_at: scan.stopped_at,
        damages: damages_found,
        quarantined: quarantine.records().to_vec(),
        warnings,
        took: dirs.vfs.monotonic().saturating_sub(started),
        passed,
    };
    let head_len = head.len() as u64;
    let file_len = file
        .len()
        .map_err(|error| Error::io("cannot tell the size of the segment", &path, error))?;
    let writer = Writer {
        header,
        path,
        file,
        offset: head_len,
        file_len,
        head_len,
        next_lsn: scan.end.next(),
        next_item,
        durable_lsn: scan.end,
        unsynced_bytes: 0,
        last_kind: frames.last().map_or(Kind::IMAGE, |frame| frame.header.kind),
        left_behind: false,
        last_write_at: dirs.vfs.monotonic(),
        free_space: None,
    };
    let log = Log::new(dirs, options, apply, segments, spares, quarantine, writer);
    log.set_on_reserve(on_reserve);
    Ok((Arc::new(log), report))
}

/// True if there is, or was, a segment in which nothing can be read. One that has got its other name by now counts: an open may have ended
/// before it made the next segment. One that was salvaged, and is gone since, does not.
fn some_unreadable(
    damages: &[FileDamage],
    checkpoints: &[Candidate],
    quarantine: &Quarantine,
) -> bool {
    let images = checkpoints.iter().filter_map(|(_, image)| image.as_ref().ok());
    damages.iter().any(|damage| damage.state == FileState::Unreadable)
        || images
            .map(|image| image.next_frame.segment)
            .any(|segment| quarantine.covering(gone(segment, segment)).is_some())
}

/// True if there are no segments, and there is no trace of any but checkpoints. Spares are made behind the first segment: beside none they
/// are witnesses that there was one, where its checkpoint could not be made.
///
/// # Errors
/// `NotAChannel` (@F).
fn is_new(
    no_segments: bool,
    checkpoints: &[Candidate],
    spares: &[Vec<PathBuf>],
    quarantine: &Quarantine,
) -> Result<bool> {
    let new = no_segments && quarantine.last_lost().is_none();
    match spares.iter().flatten().next() {
        Some(spare) if new && checkpoints.is_empty() => {
            let what = "@F: there are spares but no segments: the segments are gone. Are the disks of all data directories mounted? \
                        (If the log shall begin anew, move the spares elsewhere.)";
            Err(Error::new(ErrorKind::NotAChannel, what).in_file(spare))
        }
        _ => Ok(new),
    }
}

/// Segments are gone, from `first` to `last`.
fn gone(first: SegmentId, last: SegmentId) -> Extent {
    Extent::of_files(first, first_frame_of(last.next()))
}

/// True if the newest segment keeps its name, though nothing in it was vouched for.
fn keeps_its_name(
    segments: &Segments,
    files: &[FileDamage],
    frames: &[PassedDamage],
    quarantine: &Quarantine,
) -> bool {
    let Some(newest) = segments.newest().map(|newest| &newest.header) else { return false };
    let is_damaged_file = |id| files.iter().any(|file| file.segment == id);
    // The bytes of what is damaged stay, whether or not there was room for a copy; and a record would say of a new file of that name what
    // was true of the old one.
    let is_damaged = is_damaged_file(newest.id)
        || frames.iter().any(|passed| passed.damage.at.segment == newest.id)
        || quarantine.names(newest.id);
    // The segment that began its epoch may be lost: then it alone says what is void before that.
    let is_same = |before: &SegmentHeader| {
        let is_sound = !is_damaged_file(before.id);
        is_sound && (before.epoch, before.cut_lsn) == (newest.epoch, newest.cut_lsn)
    };
    let before = segments.before(newest.id).map(|before| &before.header);
    let begins_its_epoch = newest.cut_lsn == newest.first_lsn.previous();
    is_damaged || !(begins_its_epoch || before.is_some_and(is_same))
}

/// What is not recorded yet. A segment that cannot be read has its name until it can have another, and what follows it may be given back
/// meanwhile: that takes no more from the log.
fn news<'a>(damages: &'a [FileDamage], quarantine: &Quarantine) -> Vec<&'a FileDamage> {
    let is_news = |damage: &&FileDamage| {
        damage.state != FileState::Unreadable || quarantine.covering(damage.extent()).is_none()
    };
    damages.iter().filter(is_news).collect()
}

/// Where a segment that is gone should be.
pub(super) fn path_of(dirs: &Directories, id: SegmentId) -> PathBuf {
    let home = dirs.data.get(directory_of(dirs, id)).unwrap_or(&dirs.home);
    home.join(super::names::segment(id))
}

pub(crate) fn first_frame_of(segment: SegmentId) -> FramePtr {
    FramePtr { segment, offset: SEGMENT_HEADER_LEN as u64 }
}

/// Writes the records of all that was found damaged, and gives files that cannot be read another name. Answers what is new. What cannot
/// be set aside stays where it is: no reason to keep the log shut.
fn put_aside(
    dirs: &Directories,
    quarantine: &mut Quarantine,
    found: Vec<Aside>,
    files: Vec<FileDamage>,
    warnings: &mut Vec<String>,
) -> Vec<Quarantined> {
    let vfs = &*dirs.vfs;
    let mut new = Vec::new();
    for (mut damage, until) in found {
        let known = quarantine.covering(damage.extent()).is_some();
        damage.found_ms = vfs.wall_ms();
        match quarantine.add_or_remember(vfs, damage.clone(), until) {
            Ok(_) if known => {}
            Ok(damage) => {
                if damage.id == 0 {
                    warnings.push(format!(
                        "the disk has no room for a record of the damage at {}",
                        damage.at
                    ));
                }
                new.push(damage);
            }
            Err(error) => {
                warnings.push(format!("damage at {} could not be set aside: {error}", damage.at));
                new.push(damage);
            }
        }
    }
    for file in files.iter().filter(|file| file.state == FileState::Unreadable) {
        // Without a record its name would lead nowhere: the next open renames it. Nobody takes the old one meanwhile.
        let record = quarantine.covering(file.extent()).filter(|record| record.id != 0);
        let Some(record) = record else { continue };
        let name = super::names::damaged(&super::names::segment(file.segment), record.id);
        let name = file.path.with_file_name(name);
        let renamed = if super::is_absent(vfs, &name) {
            vfs.retire(&file.path, &name)
        } else {
            // One that turned up again after another one of its name.
            Err(std::io::ErrorKind::AlreadyExists.into())
        };
        if let Err(error) = renamed {
            warnings.push(format!("{} could not be renamed: {error}", file.path.display()));
        }
    }
    new
}

/// The newest image that its owner can read: checkpoints first, then the heads of segments, then nothing at all. `restore` is
/// [`Apply::restore`]; `passed_over` learns which ones it could not be, and why; `go_on` says whether segments that are missing are
/// known, or may be passed; `some_unreadable`, that there are segments beside `segments`, in which nothing can be read.
///
/// # Errors
/// `NotAChannel` (@F, or another owner's), `Corrupt` (@J), `NewerFormat`, `Io`.
pub(crate) fn choose_image(
    vfs: &dyn Vfs,
    segments: &Segments,
    some_unreadable: bool,
    checkpoints: Vec<Candidate>,
    restore: &mut dyn FnMut(Beginning<'_>) -> Result<Lsn>,
    passed_over: &mut dyn FnMut(&ImageSource, Error),
    go_on: &dyn Fn(Extent) -> bool,
) -> Result<Chosen> {
    if segments.newest().is_none() && !some_unreadable && !checkpoints.is_empty() {
        let what = "@F: there are checkpoints but no segments: the data directories are empty. Are their disks mounted?";
        return Err(Error::new(ErrorKind::NotAChannel, what)
            .in_file(checkpoints.first().map_or(std::path::Path::new(""), |(path, _)| path)));
    }
    let newest = segments.newest().map(|newest| newest.header.id);
    // The first segment that is missing, if the one to which `image` leads is.
    let missing = |image: &LogImage| match newest {
        Some(newest) => Some(newest.next()).filter(|first| image.next_frame.segment >= *first),
        None => Some(image.next_frame.segment),
    };
    for (path, image) in &checkpoints {
        if let Ok(image) = image
            && missing(image).is_some_and(|first| !go_on(gone(first, image.next_frame.segment)))
        {
            // It is sound, so the segment was there: an older image would open, and lose what lay in it.
            let what = format!(
                "@J: segment {} is missing, to which a checkpoint leads",
                image.next_frame.segment
            );
            return Err(Error::corrupt(what).in_file(path));
        }
    }
    let in_files =
        checkpoints.into_iter().map(|(path, image)| (ImageSource::Checkpoint(path), image));
    let in_segments = segments
        .iter()
        .rev()
        .map(|segment| (ImageSource::Segment(segment.header.id), image_of(vfs, segment)));
    for (source, image) in in_files.chain(in_segments) {
        let lost = image.as_ref().ok().filter(|image| missing(image).is_some());
        let lost = lost.map(|image| image.next_frame.segment);
        match image.and_then(|image| start_behind(segments, restore, &image)) {
            Ok((start, next_item)) => {
                return Ok(Chosen { source, start, next_item, missing: lost, exact: true });
            }
            // A newer format, another owner, or a disk that does not answer, is no reason to fall back to something older.
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::NewerFormat | ErrorKind::NotAChannel | ErrorKind::Io
                ) =>
            {
                return Err(error);
            }
            Err(error) => passed_over(&source, error),
        }
    }
    let first = SegmentId::new(1);
    if let Some(oldest) = segments.oldest().filter(|oldest| oldest.header.id != first) {
        let what = format!(
            "@J: no image can be read, and the segments before {} are gone",
            oldest.header.id
        );
        let error = Error::corrupt(what).in_file(&oldest.path);
        // That those before were lost is no word on the images of all that are there.
        if !go_on(gone(oldest.header.id.previous(), newest.unwrap_or_default())) {
            return Err(error);
        }
        passed_over(&ImageSource::Nothing, error);
        let after = restore(Beginning::At(&oldest.header))?;
        let start = Start { after, place: first_frame_of(oldest.header.id), image_lsn: after };
        let next_item = oldest.header.first_item;
        let source = ImageSource::Nothing;
        return Ok(Chosen { source, start, next_item, missing: None, exact: false });
    }
    restore(Beginning::Empty)?;
    let start =
        Start { after: Lsn::default(), place: first_frame_of(first), image_lsn: Lsn::default() };
    let next_item = EventSeq::default();
    Ok(Chosen { source: ImageSource::Nothing, start, next_item, missing: None, exact: true })
}

/// The image at the head of `segment`.
///
/// # Errors
/// `Corrupt` if there is none, `NewerFormat`, `Io`.
pub(crate) fn image_of(vfs: &dyn Vfs, segment: &Segment) -> Result<LogImage> {
    let offset = SEGMENT_HEADER_LEN as u64;
    let id = segment.header.id;
    match SegmentReader::open(vfs, segment)?.frame(offset)? {
        Found::Frame(frame)
            if frame.header.kind == Kind::IMAGE
                && frame.header.lsn.next() == segment.header.first_lsn =>
        {
            let mut image = LogImage::decode(&frame.body)?;
            image.next_frame = FramePtr { segment: id, offset: offset + frame.header.frame_len() };
            Ok(image)
        }
        _ => Err(Error::corrupt("the image at the head of the segment cannot be read")
            .in_file(&segment.path)
            .at(offset)),
    }
}

/// Gives `image` to its owner, and says where the frames that it wants begin.
fn start_behind(
    segments: &Segments,
    restore: &mut dyn FnMut(Beginning<'_>) -> Result<Lsn>,
    image: &LogImage,
) -> Result<(Start, EventSeq)> {
    let segment = segments.get(image.next_frame.segment);
    // Where the segment is gone with all that would follow, or whoever went around that began the next one right behind the image, nothing
    // is missing behind it.
    let behind = segments.after(image.next_frame.segment);
    let goes_on = behind.is_none_or(|behind| behind.header.first_lsn == image.lsn.next());
    if segment.is_none() && !goes_on {
        return Err(Error::corrupt(format!(
            "an image leads to segment {}, which is not there",
            image.next_frame.segment
        )));
    }
    let after = restore(Beginning::Image(image))?;
    let mut place = image.next_frame;
    match (segment, behind) {
        // All of it is above the image; the offset may be that of a predecessor of the same name.
        (Some(segment), _) if segment.header.first_lsn > image.lsn => {
            place.offset = SEGMENT_HEADER_LEN as u64;
        }
        (None, Some(behind)) => place = first_frame_of(behind.header.id),
        _ => {}
    }
    let mut after = after;
    if after < image.lsn {
        // The owner of a bare log replays all that is not released. What was released since is in the log itself, and its segments
        // may be gone; the owner checks afterwards that no others are.
        if let Some(first) = segments.of_lsn(after.next()).or_else(|| segments.oldest()) {
            place = first_frame_of(first.header.id);
            after = after.max(first.header.first_lsn.previous());
        }
    }
    Ok((Start { after, place, image_lsn: image.lsn }, image.next_item))
}

/// The header of the segment that recovery makes. If nothing in the newest segment was vouched for, the new one takes its place:
/// otherwise each crash would leave a segment behind.
///
/// # Errors
/// `Corrupt` if no number is left for it.
fn next_header(
    dirs: &Directories,
    segments: &Segments,
    scan: &Scan,
    first_item: EventSeq,
    highest_name: Option<SegmentId>,
    may_replace: bool,
) -> Result<SegmentHeader> {
    let first_lsn = scan.vouched.next();
    // The name can be taken over only where it is: since the last open a directory may have joined.
    let in_place = |newest: &Segment| {
        may_replace && directory_holding(dirs, newest) == Some(directory_of(dirs, newest.header.id))
    };
    let id = match segments.newest() {
        // A name that a missing segment had stays free: it may turn up.
        Some(newest) if highest_name.is_some_and(|name| name > newest.header.id) => {
            highest_name.unwrap_or_default().next()
        }
        Some(newest) if newest.header.first_lsn == first_lsn && in_place(newest) => {
            newest.header.id
        }
        Some(newest) => newest.header.id.next(),
        None => highest_name.unwrap_or_default().next(),
    };
    if id.get() >= BEYOND_ANY_LOG {
        let what = "@J: the number of this segment is the highest there is, and no log of ours came so far: move the file elsewhere";
        return Err(Error::corrupt(what).in_file(&path_of(dirs, id.previous())));
    }
    let epoch = segments.newest().map_or(0, |newest| newest.header.epoch).saturating_add(1);
    // One that is lost may have begun an epoch, with another cut.
    let is_lost = |newest: &Segment| highest_name.is_some_and(|name| name > newest.header.id);
    let epoch = epoch.saturating_add(u32::from(segments.newest().is_some_and(is_lost)));
    let (salt, cut_lsn) = (dirs.vfs.random(), scan.vouched);
    Ok(SegmentHeader { id, salt, first_lsn, cut_lsn, first_item, epoch })
}

/// The head of the new segment, and the frames in it that were held back, at their new places.
fn head_of(
    header: &SegmentHeader,
    scan: &Scan,
    image: Vec<u8>,
    time_ms: u64,
) -> (Vec<u8>, Vec<Frame>) {
    let mut head = segment_head(header, image, time_ms);
    let mut frames = Vec::with_capacity(scan.held_back.len());
    for old in &scan.held_back {
        let ptr = FramePtr { segment: header.id, offset: head.len() as u64 };
        let stamped = FrameHeader { salt: header.salt, durable_lsn: scan.vouched, ..old.header };
        append_frame(&mut head, &stamped, &old.body);
        frames.push(Frame { header: stamped, ptr, body: old.body.clone() });
    }
    (head, frames)
}
