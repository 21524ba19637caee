//! What recovery sets aside: of each damage what was in it, as far as what is left of the log tells.

use super::{
    Apply, Missing,
    dirs::Directories,
    quarantine::{Quarantine, Quarantined},
    reader::SegmentReader,
    recover::{Chosen, first_frame_of, path_of},
    recovering::PassedDamage,
    scan::{Scan, first_sound},
    segments::{FileDamage, FileState, Segment, Segments, start_of},
    verdict::Verdict,
};
use crate::{
    error::{ErrorKind, Result},
    format::{FrameHeader, SEGMENT_HEADER_LEN, SegmentHeader},
    ids::{EventSeq, FramePtr, Lsn, SegmentId},
    io::Vfs,
};
use std::path::Path;

/// What is set aside, and where the damaged bytes end in its file.
pub(super) type Aside = (Quarantined, Option<u64>);

/// The items in it, and where the log goes on.
pub(super) fn passed_by((damage, _): &Aside) -> ((EventSeq, EventSeq), FramePtr) {
    (damage.events, damage.next.unwrap_or(damage.at))
}

fn of_frames(segments: &Segments, passed: &PassedDamage, header: &SegmentHeader) -> Aside {
    let PassedDamage { damage, items } = passed;
    let behind = segments.after(damage.at.segment).map_or(header.id, |next| next.header.id);
    let next = damage.next.unwrap_or(first_frame_of(behind));
    let aside = Quarantined {
        id: 0,
        found_ms: 0,
        verdict: damage.verdict,
        file: segments
            .get(damage.at.segment)
            .map(|segment| segment.path.clone())
            .unwrap_or_default(),
        at: damage.at,
        next: Some(next),
        lsns: (damage.missing, damage.until),
        events: *items,
        what: damage.what.clone(),
        bytes: 0,
    };
    (aside, damage.next.map(|next| next.offset))
}

fn of_file(damage: &FileDamage, segments: &Segments, header: &SegmentHeader) -> Aside {
    let next = match damage.state {
        FileState::Salvaged { .. } => damage.next(),
        FileState::Unreadable | FileState::Missing => {
            let behind = segments.after(damage.segment);
            first_frame_of(behind.map_or(header.id, |behind| behind.header.id))
        }
    };
    let what = match damage.state {
        FileState::Salvaged { first_frame } if is_first(first_frame) => {
            format!("{}; its frames can be read all the same", damage.what)
        }
        FileState::Salvaged { first_frame } => {
            format!("{}; its frames can be read from {first_frame} on", damage.what)
        }
        FileState::Unreadable | FileState::Missing => damage.what.clone(),
    };
    let aside = whole_segments(damage.segment, next, &damage.path, what);
    // What cannot be read at all is kept whole, under another name.
    let until = match damage.state {
        FileState::Salvaged { first_frame } => first_frame,
        FileState::Unreadable | FileState::Missing => 0,
    };
    (aside, Some(until))
}

/// True for the place of the first frame of a segment, where its image is.
fn is_first(offset: u64) -> bool {
    offset == SEGMENT_HEADER_LEN as u64
}

/// `files`, and behind them what was damaged in `frames`, without the events that one of `files` names: news names no event twice.
pub(super) fn with_frames(
    mut files: Vec<Aside>,
    frames: &[PassedDamage],
    segments: &Segments,
    quarantine: &Quarantine,
    apply: &dyn Apply,
    header: &SegmentHeader,
) -> Vec<Aside> {
    let mut set_aside: Vec<Aside> =
        frames.iter().map(|passed| of_frames(segments, passed, header)).collect();
    for (frame, _) in &mut set_aside {
        let owed = apply.owed_of(frame.events);
        let names_all = |(file, _): &Aside| {
            file.at == start_of(frame.at.segment.next())
                && file.events.0 <= owed.0
                && owed.1 <= file.events.1
                && quarantine.covering(file.extent()).is_none()
        };
        if files.iter().any(names_all) {
            frame.events.1 = frame.events.0;
        }
    }
    files.append(&mut set_aside);
    files
}

/// What is damaged as files: the newest segments, if they are gone, and each in `damages`.
pub(super) fn files_aside(
    dirs: &Directories,
    segments: &Segments,
    damages: &[&FileDamage],
    apply: &dyn Apply,
    scan: &Scan,
    chosen: &Chosen,
    header: &SegmentHeader,
) -> Result<Vec<Aside>> {
    let vfs = &*dirs.vfs;
    let mut set_aside = Vec::new();
    if let Some(last) = chosen.missing {
        let lost = match segments.newest() {
            Some(newest) => between(vfs, segments, newest, header)?,
            None => {
                let (lsn, item) = (header.first_lsn, header.first_item);
                let missing = apply.missing_before(header, &scan.held_back)?;
                missing.map_or(((lsn, lsn), (item, item)), |missing| (missing.lsns, missing.items))
            }
        };
        set_aside.push(newest_gone(dirs, segments, last, header, lost));
    }
    for damage in damages {
        let mut aside = of_file(damage, segments, header);
        match damage.state {
            FileState::Salvaged { first_frame } if !is_first(first_frame) => {
                aside.0.events = lost_with_head(vfs, segments, apply, scan, damage.segment)?;
            }
            FileState::Salvaged { .. } => {}
            FileState::Unreadable | FileState::Missing => {
                if let Some(before) = segments.before(damage.segment) {
                    let behind = segments.after(damage.segment).map(|behind| &behind.header);
                    let (lsns, items) = between(vfs, segments, before, behind.unwrap_or(header))?;
                    (aside.0.lsns, aside.0.events) = (lsns, apply.owed_of(items));
                }
            }
        }
        set_aside.push(aside);
    }
    Ok(set_aside)
}

pub(super) fn beginning_gone(
    dirs: &Directories,
    oldest: &SegmentHeader,
    missing: Missing,
) -> Aside {
    let last = oldest.id.previous();
    let path = path_of(dirs, last);
    let mut aside = whole_segments(last, first_frame_of(oldest.id), &path, missing.what);
    (aside.lsns, aside.events) = (missing.lsns, missing.items);
    (aside, Some(0))
}

/// The items that may have been lost with the head of a segment, of which the rest was salvaged: frames that the image covers, and that
/// no scan will look for.
fn lost_with_head(
    vfs: &dyn Vfs,
    segments: &Segments,
    apply: &dyn Apply,
    scan: &Scan,
    segment: SegmentId,
) -> Result<(EventSeq, EventSeq)> {
    let Some(header) = segments.get(segment).map(|here| here.header) else {
        return Ok((EventSeq::default(), EventSeq::default()));
    };
    let until = header.first_item;
    let first = match segments.before(segment) {
        Some(before) => end_of(vfs, segments, before)?.1,
        None => {
            let missing = apply.missing_before(&header, &scan.held_back)?;
            missing.map_or(until, |missing| missing.items.0)
        }
    };
    Ok((first.min(until), until))
}

/// LSNs, and items: of each the first, and the first one behind.
type Lost = ((Lsn, Lsn), (EventSeq, EventSeq));

/// What lay between the segment `before` and `behind`, the next one that is there.
fn between(
    vfs: &dyn Vfs,
    segments: &Segments,
    before: &Segment,
    behind: &SegmentHeader,
) -> Result<Lost> {
    let (last, items_end) = end_of(vfs, segments, before)?;
    let lsns = (last.next().min(behind.first_lsn), behind.first_lsn);
    Ok((lsns, (items_end.min(behind.first_item), behind.first_item)))
}

/// The last LSN in `segment`, and the item behind the last one. Of a segment that the disk does not read any more, where it begins: it is
/// read for nothing but a record, which then names more than need be.
fn end_of(vfs: &dyn Vfs, segments: &Segments, segment: &Segment) -> Result<(Lsn, EventSeq)> {
    match readable_end_of(vfs, segments, segment) {
        Err(error) if error.kind() == &ErrorKind::Io => {
            Ok((segment.header.first_lsn.previous(), segment.header.first_item))
        }
        end => end,
    }
}

/// The last LSN in `segment` that can be read, and the item behind the last one. There may be damage before them, of another day even.
fn readable_end_of(
    vfs: &dyn Vfs,
    segments: &Segments,
    segment: &Segment,
) -> Result<(Lsn, EventSeq)> {
    let mut reader = SegmentReader::open(vfs, segment)?;
    let void_above = segments.void_above(segment.header.id);
    let counts = |header: &FrameHeader| void_above.is_none_or(|cut| header.lsn <= cut);
    let mut offset = SEGMENT_HEADER_LEN as u64;
    let mut end = (segment.header.first_lsn.previous(), segment.header.first_item);
    loop {
        let here = reader.header(offset)?.filter(counts).map(|header| (offset, header));
        let found = match here {
            Some(here) => Some(here),
            None => first_sound(&mut reader, offset, Lsn::default(), void_above)?,
        };
        let Some((at, header)) = found else { return Ok(end) };
        end = (end.0.max(header.lsn), end.1.max(header.next_item()));
        offset = at + header.frame_len();
    }
}

fn newest_gone(
    dirs: &Directories,
    segments: &Segments,
    last: SegmentId,
    header: &SegmentHeader,
    (lsns, events): Lost,
) -> Aside {
    let first = segments.newest().map_or(last, |newest| newest.header.id.next());
    let what = format!("@J: segment {last} is missing, to which a checkpoint leads");
    let mut aside = whole_segments(first, first_frame_of(header.id), &path_of(dirs, last), what);
    (aside.lsns, aside.events) = (lsns, events);
    (aside, Some(0))
}

fn whole_segments(first: SegmentId, next: FramePtr, file: &Path, what: String) -> Quarantined {
    Quarantined {
        id: 0,
        found_ms: 0,
        verdict: Verdict::J,
        file: file.to_path_buf(),
        at: start_of(first),
        next: Some(next),
        lsns: (Lsn::default(), Lsn::default()),
        events: (EventSeq::default(), EventSeq::default()),
        what,
        bytes: 0,
    }
}
