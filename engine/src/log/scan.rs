//! The sequential scan of recovery: what is durable, what is void, what is damaged. It never writes.
//!
//! A frame counts as durable only if something written later vouches for it: the `durable_lsn` of a later frame, the `first_lsn` of a
//! later segment, a checkpoint. The last group of a log has no voucher. Its frames may be whole, torn, or in the page cache of a kernel
//! that has already forgotten that it could not write them; so they are held back, and recovery writes them anew.

use super::{
    Frame,
    reader::{Found, SegmentReader},
    segments::{Segment, Segments},
    verdict::{End, Verdict, judge},
};
use crate::{
    error::{Error, Result},
    format::{FRAME_ALIGN, FrameHeader, Kind, SEGMENT_HEADER_LEN},
    ids::{EventSeq, FramePtr, Lsn},
    io::Vfs,
};
use std::{collections::VecDeque, ops::ControlFlow};

/// What a scan found.
#[derive(Debug)]
pub(crate) struct Scan {
    /// `V`: all up to here was durable before the crash.
    pub(crate) vouched: Lsn,
    /// The last of the dense run.
    pub(crate) end: Lsn,
    /// The frames above `vouched`: valid, but nobody vouches for them.
    pub(crate) held_back: Vec<Frame>,
    /// How the log ends.
    pub(crate) verdict: Verdict,
    /// The first place behind the run.
    pub(crate) stopped_at: FramePtr,
    /// Frames given to `apply`, and bytes passed.
    pub(crate) frames: u64,
    pub(crate) bytes: u64,
}

/// Where a scan begins.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Start {
    /// The frames above `after` are wanted...
    pub(crate) after: Lsn,
    /// ...and begin here.
    pub(crate) place: FramePtr,
    /// `c`: the image that was loaded vouches for all up to here.
    pub(crate) image_lsn: Lsn,
}

/// Who watches a scan. A closure over frames is one: it refuses damage, as recovery must.
pub(crate) trait Visit {
    /// A frame that was durable, in the order of the log.
    fn frame(&mut self, frame: &Frame) -> Result<()>;

    /// The image at the head of a segment, after all frames below it.
    fn image(&mut self, _image: &Frame) -> Result<()> {
        Ok(())
    }

    /// From `at` on, what its segment holds is void.
    fn void(&mut self, _at: FramePtr, _first: Lsn) -> Result<()> {
        Ok(())
    }

    /// Frames that were durable cannot be read. After `Ok` the scan goes on behind them.
    fn damage(&mut self, damage: Damage) -> Result<()> {
        Err(damage.error)
    }
}

impl<F: FnMut(&Frame) -> Result<()>> Visit for F {
    fn frame(&mut self, frame: &Frame) -> Result<()> {
        self(frame)
    }
}

/// A hole in the run of frames that were durable.
pub(crate) struct Damage {
    /// Where the first missing frame was looked for.
    pub(crate) at: FramePtr,
    /// The first LSN that is missing.
    pub(crate) missing: Lsn,
    /// Its header, if that is sound and only the body is damaged: it tells which items were in it.
    pub(crate) broken: Option<FrameHeader>,
    /// The next sound frame in the same segment.
    pub(crate) next: Option<FramePtr>,
    /// The first LSN behind the hole.
    pub(crate) until: Lsn,
    /// The first item behind the hole, if anything behind it tells.
    pub(crate) until_item: Option<EventSeq>,
    pub(crate) verdict: Verdict,
    /// What is wrong, and who says so.
    pub(crate) what: String,
    /// What recovery says about it.
    pub(crate) error: Error,
}

struct Scanner<'a> {
    segments: &'a Segments,
    visit: &'a mut dyn Visit,
    after: Lsn,
    scan: Scan,
    held_back: VecDeque<Frame>,
    /// A sound header follows the end of the run in the newest segment; `None` until it was searched for.
    follows: Option<bool>,
    /// Where a header lies that vouches for more than the run holds.
    voucher: Option<u64>,
}

/// Reads from `start` to the end, and shows `visit` each frame that was durable, in order.
///
/// # Errors
/// `Corrupt` for damage (@C, @E, @G), naming place, LSN and voucher, unless `visit` goes on; whatever `visit` says; `Io`.
pub(crate) fn scan(
    vfs: &dyn Vfs,
    segments: &Segments,
    start: Start,
    visit: &mut dyn Visit,
) -> Result<Scan> {
    let from_headers =
        segments.newest().map_or(Lsn::default(), |segment| segment.header.first_lsn.previous());
    let scan = Scan {
        vouched: start.image_lsn.max(from_headers),
        end: start.after,
        held_back: Vec::new(),
        verdict: Verdict::A,
        stopped_at: start.place,
        frames: 0,
        bytes: 0,
    };
    let mut scanner = Scanner {
        segments,
        visit,
        after: start.after,
        scan,
        held_back: VecDeque::new(),
        follows: None,
        voucher: None,
    };
    for segment in segments.from(start.place.segment) {
        let offset = if segment.header.id == start.place.segment {
            start.place.offset
        } else {
            SEGMENT_HEADER_LEN as u64
        };
        scanner.segment(vfs, segment, offset)?;
    }
    scanner.release()?;
    let Scanner { mut scan, held_back, .. } = scanner;
    scan.held_back = held_back.into();
    Ok(scan)
}

impl Scanner<'_> {
    fn segment(&mut self, vfs: &dyn Vfs, segment: &Segment, offset: u64) -> Result<()> {
        let mut reader = SegmentReader::open(vfs, segment)?;
        let mut next = Some(offset);
        while let Some(offset) = next {
            let (offset, stop) = self.run(&mut reader, offset)?;
            self.scan.stopped_at = FramePtr { segment: segment.header.id, offset };
            next = self.end_of_run(&mut reader, segment, offset, stop)?;
        }
        Ok(())
    }

    /// Passes frames as long as each is the one that is expected; answers where and why that ended.
    fn run(&mut self, reader: &mut SegmentReader, mut offset: u64) -> Result<(u64, Stop)> {
        let void_above = self.segments.void_above(reader.id());
        let void = |lsn: Lsn| void_above.is_some_and(|cut| lsn > cut);
        let stop = loop {
            match reader.frame(offset)? {
                Found::Frame(frame) if frame.header.kind == Kind::IMAGE => {
                    offset += frame.header.frame_len();
                    self.visit.image(&frame)?;
                }
                Found::Frame(Frame { header, .. }) | Found::BrokenBody(header)
                    if void(header.lsn) =>
                {
                    break Stop::Void(header.lsn);
                }
                Found::Frame(frame)
                    if frame.header.lsn == self.scan.end.next()
                        || frame.header.lsn <= self.after =>
                {
                    offset += frame.header.frame_len();
                    self.accept(frame)?;
                }
                Found::Frame(frame) => break Stop::OutOfOrder(frame.header.lsn),
                // Another image served. But a segment is made with the whole of its image: one that ends in it is no torn one.
                Found::BrokenBody(header)
                    if header.kind == Kind::IMAGE
                        && offset + header.frame_len() <= reader.file_len()? =>
                {
                    offset += header.frame_len();
                }
                Found::BrokenBody(_) | Found::Nothing if offset == SEGMENT_HEADER_LEN as u64 => {
                    break Stop::NoImage;
                }
                Found::BrokenBody(header) => break Stop::Broken(header),
                Found::Nothing => break Stop::Nothing,
            }
        };
        Ok((offset, stop))
    }

    fn accept(&mut self, frame: Frame) -> Result<()> {
        self.scan.bytes += frame.header.frame_len();
        if frame.header.lsn <= self.after {
            return Ok(());
        }
        self.scan.vouched = self.scan.vouched.max(frame.header.durable_lsn);
        self.scan.end = frame.header.lsn;
        self.held_back.push_back(frame);
        self.release()
    }

    /// Applies what is vouched for by now.
    fn release(&mut self) -> Result<()> {
        while self.held_back.front().is_some_and(|frame| frame.header.lsn <= self.scan.vouched) {
            if let Some(frame) = self.held_back.pop_front() {
                self.visit.frame(&frame)?;
                self.scan.frames += 1;
            }
        }
        Ok(())
    }

    /// Judges the end of a run. `None` ends the segment; else the scan goes on there.
    fn end_of_run(
        &mut self,
        reader: &mut SegmentReader,
        segment: &Segment,
        offset: u64,
        stop: Stop,
    ) -> Result<Option<u64>> {
        let at = FramePtr { segment: segment.header.id, offset };
        if let Stop::Void(first) = stop {
            self.visit.void(at, first)?;
        }
        let successor = self.segments.after(segment.header.id);
        if let Some(successor) = successor
            && self.scan.end.next() == successor.header.first_lsn
        {
            // All of it is here; what follows, if anything, is void.
            return Ok(None);
        }
        let mut follows = matches!(stop, Stop::Broken(_) | Stop::Void(_));
        if successor.is_none() {
            follows |= self.look_behind(reader, offset)?;
        }
        let missing = self.scan.end.next();
        let verdict = judge(End {
            vouched_for: missing <= self.scan.vouched || matches!(stop, Stop::NoImage),
            in_newest_segment: successor.is_none(),
            something_follows: follows,
            impossible_order: matches!(stop, Stop::OutOfOrder(_)),
        });
        self.scan.verdict = verdict;
        if verdict.row().consequence == super::verdict::Consequence::Opens {
            return Ok(None);
        }
        if verdict == Verdict::C && reader.holds_by_now(offset, missing)? {
            // Only without the lock: the log is being written while it is read.
            return Ok(Some(offset));
        }
        self.release()?;
        let what = self.describe(&stop, successor);
        let error = refusal(verdict, &what).in_file(&segment.path).at(offset).of_lsn(missing);
        let damage = Damage {
            at,
            missing,
            broken: None,
            next: None,
            until: missing,
            until_item: None,
            verdict,
            what,
            error,
        };
        self.pass(reader, damage, &stop, successor)
    }

    /// Looks once for headers behind the run in the newest segment, and for what they vouch for. True if there is one.
    fn look_behind(&mut self, reader: &mut SegmentReader, offset: u64) -> Result<bool> {
        if let Some(follows) = self.follows {
            return Ok(follows);
        }
        let mut follows = false;
        reader.search(offset, |at, header| {
            follows = true;
            if header.durable_lsn > self.scan.vouched {
                self.scan.vouched = header.durable_lsn;
                self.voucher = Some(at);
            }
            ControlFlow::Continue(())
        })?;
        // Once is enough, and must be: behind a hole, and behind what a live writer adds meanwhile, nothing older follows.
        self.follows = Some(false);
        Ok(follows)
    }

    /// Finds out how far the damage goes, shows it, and answers where in the segment the scan goes on if the visitor wants that.
    fn pass(
        &mut self,
        reader: &mut SegmentReader,
        mut damage: Damage,
        stop: &Stop,
        successor: Option<&Segment>,
    ) -> Result<Option<u64>> {
        let (at, missing) = (damage.at, damage.missing);
        let void_above = self.segments.void_above(at.segment);
        let broken = match stop {
            Stop::Broken(header) if header.lsn == missing => Some(*header),
            _ => None,
        };
        let next = match stop {
            Stop::OutOfOrder(_) => first_sound(reader, at.offset, missing, void_above)?,
            _ => sound_behind(reader, at.offset, broken.as_ref(), missing, void_above)?,
        };
        let after = successor.map(|next| (next.header.first_lsn, next.header.first_item));
        let found = next.map(|(_, header)| (header.lsn, header.first_item)).or(after);
        let vouched_end = self.scan.vouched.next();
        // What lies above all that was vouched for was never promised: there the log ends, as it does without damage.
        let next = next.filter(|(_, header)| header.lsn <= vouched_end);
        let until = found.map_or(vouched_end, |(lsn, _)| lsn.min(vouched_end).max(missing));
        damage.broken = broken;
        damage.next = next.map(|(offset, _)| FramePtr { segment: at.segment, offset });
        damage.until = until;
        // Where nothing that was promised is missing, what lies behind says nothing of the items before it: they may be in frames that are
        // held back, and come anew.
        let item = found.map(|(_, item)| item).or(broken.map(|header| header.next_item()));
        damage.until_item = item.filter(|_| until > missing);
        self.visit.damage(damage)?;
        self.scan.end = until.previous();
        Ok(next.map(|(offset, _)| offset))
    }

    fn describe(&self, stop: &Stop, successor: Option<&Segment>) -> String {
        let missing = self.scan.end.next();
        let by = match (stop, self.voucher, successor) {
            (Stop::OutOfOrder(lsn), ..) => {
                format!("a sound frame with LSN {lsn} lies where {missing} belongs")
            }
            (Stop::NoImage, ..) => {
                "the segment was made with its image, which is damaged".to_owned()
            }
            (_, _, Some(next)) => format!(
                "the header of {} says that all below {} was durable",
                next.path.display(),
                next.header.first_lsn
            ),
            (_, Some(at), None) => format!(
                "a frame at offset {at} says that all up to {} was durable",
                self.scan.vouched
            ),
            (_, None, None) => format!(
                "a checkpoint or a later frame says that all up to {} was durable",
                self.scan.vouched
            ),
        };
        format!("frame {missing} is missing or damaged, though {by}")
    }
}

/// The first sound header behind the damaged frame at `offset`, whose header is `broken` if only its body is damaged. Nobody looks at the
/// body: should that be damaged, it is a damage of its own, and whoever goes on there comes across it.
///
/// # Errors
/// `NewerFormat`, `Io`.
pub(crate) fn sound_behind(
    reader: &mut SegmentReader,
    offset: u64,
    broken: Option<&FrameHeader>,
    missing: Lsn,
    void_above: Option<Lsn>,
) -> Result<Option<(u64, FrameHeader)>> {
    let behind = match broken {
        Some(header) if reader.header(offset + header.frame_len())?.is_some() => {
            offset + header.frame_len()
        }
        _ => offset + FRAME_ALIGN as u64,
    };
    first_sound(reader, behind, missing, void_above)
}

/// The first sound header at or behind `from` that is no image's, not void, and not below `missing`; the body is not looked at.
///
/// # Errors
/// `Io`.
pub(crate) fn first_sound(
    reader: &mut SegmentReader,
    from: u64,
    missing: Lsn,
    void_above: Option<Lsn>,
) -> Result<Option<(u64, FrameHeader)>> {
    let mut next = None;
    reader.search(from, |offset, header| {
        let fits = header.lsn >= missing && void_above.is_none_or(|cut| header.lsn <= cut);
        if !fits || header.kind == Kind::IMAGE {
            return ControlFlow::Continue(());
        }
        next = Some((offset, *header));
        ControlFlow::Break(())
    })?;
    Ok(next)
}

fn refusal(verdict: Verdict, what: &str) -> Error {
    Error::corrupt(format!(
        "{verdict}: {what}. Nothing was changed; `fchannel inspect verify` lists what can be read, and `fchannel inspect events` shows \
         what is owed up to there"
    ))
}

/// Why the run ended in a segment.
enum Stop {
    Nothing,
    Broken(FrameHeader),
    /// No image at the head of the segment.
    NoImage,
    Void(Lsn),
    OutOfOrder(Lsn),
}
