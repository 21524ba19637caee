//! Reading frames: one segment forward, and a cursor over all of them.

use super::{Frame, segments::Segment};
use crate::{
    error::{Error, ErrorKind, Result},
    format::{
        FRAME_ALIGN, FRAME_HEADER_LEN, FrameHeader, Kind, NotAHeader, SEGMENT_HEADER_LEN, crc32,
    },
    ids::{EventSeq, FramePtr, Lsn, SegmentId},
    io::{File, Vfs, read_exact_or_end},
};
use bytes::Bytes;
use std::{ops::ControlFlow, path::PathBuf, sync::Arc};

/// How much is read at once: large enough that a spinning disk streams, small enough to be nothing in memory.
const CHUNK_BYTES: usize = 1 << 20;
/// How much is read for a single frame: its header, and its body if it is small.
const ONE_FRAME_BYTES: usize = 16 << 10;

/// What lies at an offset of a segment.
#[derive(Clone, Debug)]
pub(crate) enum Found {
    /// A whole frame, header and body checked.
    Frame(Frame),
    /// A sound header whose body is damaged or cut off.
    BrokenBody(FrameHeader),
    /// No frame of this segment: the end, a torn header, old bytes of a donor, damage. What follows tells which.
    Nothing,
}

/// Reads one segment, through a window of [`CHUNK_BYTES`].
pub(crate) struct SegmentReader {
    file: Arc<dyn File>,
    path: PathBuf,
    segment: SegmentId,
    salt: u64,
    /// As of the last look: a segment that is being written grows.
    file_len: u64,
    /// Nothing behind it is kept: it is not written yet, and will be other than it is now.
    limit: u64,
    chunk_bytes: usize,
    window_start: u64,
    window: Bytes,
}

impl SegmentReader {
    /// Opens `segment` to read.
    ///
    /// # Errors
    /// `Io`.
    pub(crate) fn open(vfs: &dyn Vfs, segment: &Segment) -> Result<Self> {
        let path = segment.path.clone();
        let file =
            vfs.open(&path).map_err(|error| Error::io("cannot open the segment", &path, error))?;
        let (segment, salt) = (segment.header.id, segment.header.salt);
        Ok(Self {
            file,
            path,
            segment,
            salt,
            file_len: 0,
            limit: u64::MAX,
            chunk_bytes: CHUNK_BYTES,
            window_start: 0,
            window: Bytes::new(),
        })
    }

    /// Opens `segment` to read a frame here and there, not to go on from one.
    ///
    /// # Errors
    /// `Io`.
    pub(crate) fn open_for_one(vfs: &dyn Vfs, segment: &Segment) -> Result<Self> {
        Ok(Self { chunk_bytes: ONE_FRAME_BYTES, ..Self::open(vfs, segment)? })
    }

    /// Reads nothing at or behind `end`.
    pub(crate) fn limit_to(&mut self, end: FramePtr) {
        self.limit = if self.segment == end.segment { end.offset } else { u64::MAX };
    }

    /// The segment's id.
    pub(crate) fn id(&self) -> SegmentId {
        self.segment
    }

    /// The size of the file now.
    ///
    /// # Errors
    /// `Io`.
    pub(crate) fn file_len(&mut self) -> Result<u64> {
        self.file_len = self
            .file
            .len()
            .map_err(|error| Error::io("cannot tell the size of the segment", &self.path, error))?;
        Ok(self.file_len)
    }

    /// Up to `len` bytes at `offset`; fewer at the end of the file.
    fn bytes(&mut self, offset: u64, len: usize) -> Result<Bytes> {
        let inside = |start: u64, window: &Bytes| {
            let from = usize::try_from(offset.checked_sub(start)?).ok()?;
            (from.checked_add(len)? <= window.len()).then(|| window.slice(from..from + len))
        };
        if let Some(bytes) = inside(self.window_start, &self.window) {
            return Ok(bytes);
        }
        // The place may be a hint, which is checked by being looked up.
        if self.file_len < offset.saturating_add(len as u64) {
            self.file_len()?;
        }
        let left = usize::try_from(self.file_len.min(self.limit).saturating_sub(offset))
            .unwrap_or(usize::MAX);
        let mut chunk = vec![0; len.max(self.chunk_bytes).min(left)];
        let read = read_exact_or_end(&*self.file, offset, &mut chunk)
            .map_err(|error| Error::io("cannot read the segment", &self.path, error).at(offset))?;
        chunk.truncate(read);
        self.window_start = offset;
        self.window = chunk.into();
        Ok(self.window.slice(..len.min(read)))
    }

    /// The header at `offset`, without a look at the body.
    ///
    /// # Errors
    /// `NewerFormat`, `Io`.
    pub(crate) fn header(&mut self, offset: u64) -> Result<Option<FrameHeader>> {
        let bytes = self.bytes(offset, FRAME_HEADER_LEN)?;
        let Some(bytes) = bytes.first_chunk::<FRAME_HEADER_LEN>() else { return Ok(None) };
        match FrameHeader::decode(bytes, self.salt) {
            Ok(header) => Ok(Some(header)),
            Err(NotAHeader::Invalid) => Ok(None),
            Err(NotAHeader::Newer) => {
                Err(Error::new(ErrorKind::NewerFormat, "the frame was written by a newer release")
                    .in_file(&self.path)
                    .at(offset))
            }
        }
    }

    /// What lies at `offset`.
    ///
    /// # Errors
    /// `NewerFormat`, `Io`.
    pub(crate) fn frame(&mut self, offset: u64) -> Result<Found> {
        let Some(header) = self.header(offset)? else { return Ok(Found::Nothing) };
        let body_at = offset + FRAME_HEADER_LEN as u64;
        // Checked against the file before anything is allocated: the length is only as good as its checksum.
        if body_at + u64::from(header.body_len) > self.file_len
            && body_at + u64::from(header.body_len) > self.file_len()?
        {
            return Ok(Found::BrokenBody(header));
        }
        let body = self.bytes(body_at, header.body_len as usize)?;
        if body.len() < header.body_len as usize || crc32(&[&body]) != header.body_crc {
            return Ok(Found::BrokenBody(header));
        }
        Ok(Found::Frame(Frame { header, ptr: FramePtr { segment: self.segment, offset }, body }))
    }

    /// True if frame `lsn` lies at `offset` on a second look at the file.
    ///
    /// # Errors
    /// As [`frame`](Self::frame).
    pub(crate) fn holds_by_now(&mut self, offset: u64, lsn: Lsn) -> Result<bool> {
        self.window = Bytes::new();
        Ok(matches!(self.frame(offset)?, Found::Frame(frame) if frame.header.lsn == lsn))
    }

    /// Calls `found` with each sound header of this segment at or behind `offset`, wherever it lies. Bytes of an old donor carry other
    /// salts, and payload cannot guess one. `found` says when it has seen enough.
    ///
    /// # Errors
    /// `Io`.
    pub(crate) fn search(
        &mut self,
        offset: u64,
        mut found: impl FnMut(u64, &FrameHeader) -> ControlFlow<()>,
    ) -> Result<()> {
        let salt = self.salt.to_le_bytes();
        let mut at = offset.next_multiple_of(FRAME_ALIGN as u64);
        let end = self.file_len()?;
        while at + FRAME_HEADER_LEN as u64 <= end {
            let len = usize::try_from(end - at).unwrap_or(usize::MAX).min(CHUNK_BYTES);
            let chunk = self.bytes(at, len)?;
            if chunk.len() < FRAME_HEADER_LEN {
                break;
            }
            // A header that begins in the last bytes of a chunk is seen at the start of the next one.
            let last = chunk.len() - FRAME_HEADER_LEN;
            for (step, word) in chunk
                .chunks_exact(FRAME_ALIGN)
                .enumerate()
                .take_while(|(step, _)| step * FRAME_ALIGN <= last)
            {
                if word == salt {
                    let here = at + (step * FRAME_ALIGN) as u64;
                    let bytes = chunk
                        .get(step * FRAME_ALIGN..)
                        .and_then(|rest| rest.first_chunk::<FRAME_HEADER_LEN>());
                    if let Some(Ok(header)) =
                        bytes.map(|bytes| FrameHeader::decode(bytes, self.salt))
                        && found(here, &header).is_break()
                    {
                        return Ok(());
                    }
                }
            }
            at += (last / FRAME_ALIGN * FRAME_ALIGN + FRAME_ALIGN) as u64;
        }
        Ok(())
    }
}

/// Where a reader stands: behind the last frame it gave.
pub(crate) struct Cursor {
    /// The next frame.
    pub(crate) next: FramePtr,
    /// The LSN it must have; `None` until the first one was read.
    pub(crate) expected: Option<Lsn>,
    /// The item behind the last frame, as far as it is known.
    pub(crate) next_item: Option<EventSeq>,
    reader: Option<OpenSegment>,
}

/// A segment that a cursor reads.
struct OpenSegment {
    reader: SegmentReader,
    /// Frames above are void, as of when the log ended in this segment: a writer that leaves a full one makes what it left there void.
    void_above: Option<Lsn>,
    as_of: SegmentId,
}

impl Cursor {
    pub(crate) fn at(next: FramePtr) -> Self {
        Self { next, expected: None, next_item: None, reader: None }
    }

    /// Goes on behind damage: at `next`, where frame `lsn` lies.
    pub(crate) fn jump(&mut self, next: FramePtr, lsn: Option<Lsn>) {
        *self = Self { expected: lsn, ..Self::at(next) };
    }

    /// Forgets what was read ahead.
    pub(crate) fn look_again(&mut self) {
        self.reader = None;
    }

    /// Passes `frame`, which lies at the cursor.
    pub(crate) fn pass(&mut self, header: &FrameHeader) {
        self.next.offset += header.frame_len();
        self.expected = Some(header.lsn.next());
        self.next_item = Some(header.next_item());
    }

    /// The segment at the cursor, opened.
    fn open(
        &mut self,
        vfs: &dyn Vfs,
        newest: SegmentId,
        look_up: impl Fn(SegmentId) -> Option<Neighbourhood>,
    ) -> Result<&mut OpenSegment> {
        let id = self.next.segment;
        let open = match self.reader.take().filter(|open| open.reader.id() == id) {
            Some(open) if open.as_of == newest => open,
            Some(OpenSegment { reader, .. }) => {
                let here = look_up(id).ok_or_else(|| gone(id))?;
                OpenSegment { reader, void_above: here.void_above, as_of: newest }
            }
            None => {
                let here = look_up(id).ok_or_else(|| gone(id))?;
                if self.next.offset == SEGMENT_HEADER_LEN as u64 {
                    self.expected.get_or_insert(here.segment.header.first_lsn);
                    self.next_item.get_or_insert(here.segment.header.first_item);
                }
                let reader = SegmentReader::open(vfs, &here.segment)?;
                OpenSegment { reader, void_above: here.void_above, as_of: newest }
            }
        };
        Ok(self.reader.insert(open))
    }

    /// Goes on with the next segment. A segment may end only where its successor says that nothing is missing.
    fn next_segment(&mut self, found: &Found, here: Neighbourhood) -> Result<()> {
        if let Some(next) = here.next
            && self.expected == Some(next.header.first_lsn)
        {
            self.next = FramePtr { segment: next.header.id, offset: SEGMENT_HEADER_LEN as u64 };
            return Ok(());
        }
        let what = match found {
            Found::BrokenBody(header) => format!("the body of frame {} is damaged", header.lsn),
            _ => format!("frame {} is missing", self.expected.unwrap_or_default()),
        };
        Err(Error::corrupt(format!("@H: {what}, though it was durable"))
            .in_file(&here.segment.path)
            .at(self.next.offset))
    }
}

fn gone(id: SegmentId) -> Error {
    Error::corrupt(format!("segment {id} is gone, though events in it are owed"))
}

/// One step of a cursor over the segments.
pub(crate) enum Step {
    /// A frame with a place in the order of the log.
    Frame(Frame),
    /// Nothing more.
    End,
}

/// Gives the next frame at `cursor`, going from segment to segment, passing images and whatever a later segment declared void.
/// `look_up` answers a segment, the one behind it, and what is void in it; `until` is where the log ends.
///
/// # Errors
/// `Corrupt` if a frame that must be there is not; `Io`.
pub(crate) fn next_frame(
    vfs: &dyn Vfs,
    cursor: &mut Cursor,
    until: FramePtr,
    look_up: impl Fn(SegmentId) -> Option<Neighbourhood>,
) -> Result<Step> {
    while cursor.next < until {
        let FramePtr { segment, offset } = cursor.next;
        let OpenSegment { reader, void_above, .. } = cursor.open(vfs, until.segment, &look_up)?;
        reader.limit_to(until);
        let (found, void_above) = (reader.frame(offset)?, *void_above);
        match found {
            Found::Frame(frame) if frame.header.kind == Kind::IMAGE => {
                cursor.next.offset += frame.header.frame_len();
            }
            Found::Frame(frame)
                if void_above.is_none_or(|cut| frame.header.lsn <= cut)
                    && cursor.expected.is_none_or(|lsn| lsn == frame.header.lsn) =>
            {
                cursor.pass(&frame.header);
                return Ok(Step::Frame(frame));
            }
            other => cursor.next_segment(&other, look_up(segment).ok_or_else(|| gone(segment))?)?,
        }
    }
    Ok(Step::End)
}

/// A segment and what lies behind it.
pub(crate) struct Neighbourhood {
    pub(crate) segment: Segment,
    pub(crate) next: Option<Segment>,
    pub(crate) void_above: Option<Lsn>,
}
