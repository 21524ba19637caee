//! From directories to a log that can be written: one straight line, no branch visits an earlier step.
//!
//! The steps are those of docs/RECOVERY.md. Nothing is written to the log before the new segment is made, and that is one atomic step:
//! a crash before it changes nothing, and after it the next recovery finds the same frames under the new name.

use super::{
    Apply, Frame, Log,
    dirs::Directories,
    reader::{Found, SegmentReader},
    scan::{Scan, Start, scan},
    segments::{
        Blocks, Listing, Segment, Segments, Spares, create_segment, directory_holding, directory_of,
    },
    verdict::Verdict,
    writer::{Writer, append_frame, segment_head},
};
use crate::{
    error::{Error, ErrorKind, Result},
    format::{FrameHeader, Kind, LogImage, SEGMENT_HEADER_LEN, SegmentHeader},
    ids::{EventSeq, FramePtr, Lsn, SegmentId},
    io::Vfs,
    options::LogOptions,
};
use std::{path::PathBuf, sync::Arc, time::Duration};

/// What an open found and did.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RecoveryReport {
    /// The identity of the log, drawn when it was made: with an event's sequence it names a durable event for ever.
    pub log_id: [u8; 16],
    /// True if there was nothing: a new log. If there should have been something, its disk may not be mounted.
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
    /// What the operator should know about the directories.
    pub warnings: Vec<String>,
    /// How long it took.
    pub took: Duration,
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
}

/// Recovers the log in `dirs`. `checkpoints` are its owner's, newest first; `replay` gets the durable frames behind the image, in order,
/// before anything is written to the log, and then those that were written anew.
///
/// # Errors
/// `Corrupt`, with the verdict; `NotAChannel`; `NewerFormat`; `DiskFull`; `Io`. Nothing is changed then.
pub(crate) fn open(
    dirs: Directories,
    listing: Listing,
    options: LogOptions,
    checkpoints: Vec<Candidate>,
    apply: Arc<dyn Apply>,
    replay: &mut dyn FnMut(&Frame) -> Result<()>,
) -> Result<(Arc<Log>, RecoveryReport)> {
    let started = dirs.vfs.monotonic();
    let Listing { mut segments, spares, spare_number, temporary, .. } = listing;
    let new = segments.newest().is_none();
    let mut passed_over = Vec::new();
    let mut restore = |image: Option<&LogImage>| apply.restore(image);
    let chosen =
        choose_image(&*dirs.vfs, &segments, checkpoints, &mut restore, &mut |_, error| {
            passed_over.push(error.to_string());
        })?;
    let mut next_item = chosen.next_item;
    let scan = scan(&*dirs.vfs, &segments, chosen.start, &mut |frame: &Frame| {
        next_item = frame.header.next_item();
        replay(frame)
    })?;
    if let Some(oldest) = segments.oldest() {
        apply.check(&oldest.header, &scan.held_back).map_err(|error| error.in_file(&dirs.home))?;
    }
    for path in temporary {
        dirs.vfs.remove(&path).map_err(|error| {
            Error::io("cannot remove what a crash left half-made", &path, error)
        })?;
    }
    let mut spares = Spares::new(spares, spare_number);
    let header = next_header(&dirs, &segments, &scan, next_item);
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
        warnings: dirs.warnings.clone(),
        took: dirs.vfs.monotonic().saturating_sub(started),
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
        free_space: None,
    };
    let log = Log::new(dirs, options, apply, segments, spares, writer);
    log.set_on_reserve(on_reserve);
    Ok((Arc::new(log), report))
}

/// The newest image that its owner can read: checkpoints first, then the heads of segments, then nothing at all. `restore` is
/// [`Apply::restore`]; `passed_over` learns which ones it could not be, and why.
///
/// # Errors
/// `NotAChannel` (@F), `Corrupt` (@J), `NewerFormat`, `Io`.
pub(crate) fn choose_image(
    vfs: &dyn Vfs,
    segments: &Segments,
    checkpoints: Vec<Candidate>,
    restore: &mut dyn FnMut(Option<&LogImage>) -> Result<Lsn>,
    passed_over: &mut dyn FnMut(&ImageSource, Error),
) -> Result<Chosen> {
    if segments.newest().is_none() && !checkpoints.is_empty() {
        let what = "@F: there are checkpoints but no segments: the data directories are empty. Are their disks mounted?";
        return Err(Error::new(ErrorKind::NotAChannel, what)
            .in_file(checkpoints.first().map_or(std::path::Path::new(""), |(path, _)| path)));
    }
    let newest = segments.newest().map(|newest| newest.header.id);
    for (path, image) in &checkpoints {
        if let Ok(image) = image
            && newest.is_some_and(|newest| image.next_frame.segment > newest)
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
        match image.and_then(|image| start_behind(segments, restore, &image)) {
            Ok((start, next_item)) => return Ok(Chosen { source, start, next_item }),
            // A newer format, or a disk that does not answer, is no reason to fall back to something older.
            Err(error) if matches!(error.kind(), ErrorKind::NewerFormat | ErrorKind::Io) => {
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
        return Err(Error::corrupt(what).in_file(&oldest.path));
    }
    restore(None)?;
    let place = FramePtr { segment: first, offset: SEGMENT_HEADER_LEN as u64 };
    let start = Start { after: Lsn::default(), place, image_lsn: Lsn::default() };
    Ok(Chosen { source: ImageSource::Nothing, start, next_item: EventSeq::default() })
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
    restore: &mut dyn FnMut(Option<&LogImage>) -> Result<Lsn>,
    image: &LogImage,
) -> Result<(Start, EventSeq)> {
    let segment = segments.get(image.next_frame.segment).ok_or_else(|| {
        Error::corrupt(format!(
            "an image leads to segment {}, which is not there",
            image.next_frame.segment
        ))
    })?;
    let after = restore(Some(image))?;
    let mut place = image.next_frame;
    if segment.header.first_lsn > image.lsn {
        // All of it is above the image; the offset may be that of a predecessor of the same name.
        place.offset = SEGMENT_HEADER_LEN as u64;
    }
    let mut after = after;
    if after < image.lsn {
        // The owner of a bare log replays all that is not released. What was released since is in the log itself, and its segments
        // may be gone; the owner checks afterwards that no others are.
        let first = segments.of_lsn(after.next()).or_else(|| segments.oldest()).unwrap_or(segment);
        place = FramePtr { segment: first.header.id, offset: SEGMENT_HEADER_LEN as u64 };
        after = after.max(first.header.first_lsn.previous());
    }
    Ok((Start { after, place, image_lsn: image.lsn }, image.next_item))
}

/// The header of the segment that recovery makes. If nothing in the newest segment was vouched for, the new one takes its place:
/// otherwise each crash would leave a segment behind.
fn next_header(
    dirs: &Directories,
    segments: &Segments,
    scan: &Scan,
    first_item: EventSeq,
) -> SegmentHeader {
    let first_lsn = scan.vouched.next();
    // The name can be taken over only where it is: since the last open a directory may have joined.
    let in_place = |newest: &Segment| {
        directory_holding(dirs, newest) == Some(directory_of(dirs, newest.header.id))
    };
    let id = match segments.newest() {
        Some(newest) if newest.header.first_lsn == first_lsn && in_place(newest) => {
            newest.header.id
        }
        Some(newest) => newest.header.id.next(),
        None => SegmentId::new(1),
    };
    let epoch = segments.newest().map_or(0, |newest| newest.header.epoch).saturating_add(1);
    SegmentHeader {
        id,
        salt: dirs.vfs.random(),
        first_lsn,
        cut_lsn: scan.vouched,
        first_item,
        epoch,
    }
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
