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
    format::{Kind, SEGMENT_HEADER_LEN},
    ids::{FramePtr, Lsn},
    io::Vfs,
};
use std::collections::VecDeque;

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

struct Scanner<'a> {
    segments: &'a Segments,
    apply: &'a mut dyn FnMut(&Frame) -> Result<()>,
    after: Lsn,
    scan: Scan,
    held_back: VecDeque<Frame>,
}

/// Reads from `start` to the end, and calls `apply` with each frame that was durable, in order.
///
/// # Errors
/// `Corrupt` for damage (@C, @E, @G), naming place, LSN and voucher; whatever `apply` says; `Io`.
pub(crate) fn scan(
    vfs: &dyn Vfs,
    segments: &Segments,
    start: Start,
    apply: &mut dyn FnMut(&Frame) -> Result<()>,
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
    let mut scanner =
        Scanner { segments, apply, after: start.after, scan, held_back: VecDeque::new() };
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
    fn segment(&mut self, vfs: &dyn Vfs, segment: &Segment, mut offset: u64) -> Result<()> {
        let mut reader = SegmentReader::open(vfs, segment)?;
        let void_above = self.segments.void_above(segment.header.id);
        let stop = loop {
            match reader.frame(offset)? {
                Found::Frame(frame) if frame.header.kind == Kind::IMAGE => {
                    offset += frame.header.frame_len()
                }
                Found::Frame(frame) if void_above.is_some_and(|cut| frame.header.lsn > cut) => {
                    break Stop::Void;
                }
                Found::Frame(frame)
                    if frame.header.lsn == self.scan.end.next()
                        || frame.header.lsn <= self.after =>
                {
                    offset += frame.header.frame_len();
                    self.accept(frame)?;
                }
                Found::Frame(frame) => break Stop::OutOfOrder(frame.header.lsn),
                Found::BrokenBody(header) if void_above.is_some_and(|cut| header.lsn > cut) => {
                    break Stop::Void;
                }
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
                Found::BrokenBody(_) => break Stop::Broken,
                Found::Nothing => break Stop::Nothing,
            }
        };
        self.scan.stopped_at = FramePtr { segment: segment.header.id, offset };
        self.judge(&mut reader, segment, offset, stop)
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
                (self.apply)(&frame)?;
                self.scan.frames += 1;
            }
        }
        Ok(())
    }

    fn judge(
        &mut self,
        reader: &mut SegmentReader,
        segment: &Segment,
        offset: u64,
        stop: Stop,
    ) -> Result<()> {
        let successor = self.segments.after(segment.header.id);
        if let Some(successor) = successor
            && self.scan.end.next() == successor.header.first_lsn
        {
            // All of it is here; what follows, if anything, is void.
            return Ok(());
        }
        let mut follows = matches!(stop, Stop::Broken | Stop::Void);
        let mut voucher = None;
        if successor.is_none() {
            reader.search(offset, |at, header| {
                follows = true;
                if header.durable_lsn > self.scan.vouched {
                    self.scan.vouched = header.durable_lsn;
                    voucher = Some(at);
                }
            })?;
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
            return Ok(());
        }
        let by = match (&stop, voucher, successor) {
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
        let what = format!(
            "{verdict}: frame {missing} is missing or damaged, though {by}. Nothing was changed; `fchannel inspect verify` lists what can be \
             read, and `fchannel inspect events` shows what is owed up to there"
        );
        Err(Error::corrupt(what).in_file(&segment.path).at(offset).of_lsn(missing))
    }
}

/// Why the run ended in a segment.
enum Stop {
    Nothing,
    Broken,
    NoImage,
    Void,
    OutOfOrder(Lsn),
}
