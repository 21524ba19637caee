//! Reading frames: one segment forward, and a cursor over all of them.

use super::{Frame, segments::Segment};
use crate::{
    error::{Error, ErrorKind, Result},
    format::{
        FRAME_ALIGN, FRAME_HEADER_LEN, FrameHeader, Kind, NotAHeader, SEGMENT_HEADER_LEN, crc32,
    },
    ids::{FramePtr, Lsn, SegmentId},
    io::{File, Vfs, read_exact_or_end},
};
use bytes::Bytes;
use std::{ops::ControlFlow, path::PathBuf, sync::Arc};

/// How much is read at once: large enough that a spinning disk streams, small enough to be nothing in memory.
const CHUNK_BYTES: usize = 1 << 20;

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
            window_start: 0,
            window: Bytes::new(),
        })
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
        if self.file_len < offset + len as u64 {
            self.file_len()?;
        }
        let left = usize::try_from(self.file_len.min(self.limit).saturating_sub(offset))
            .unwrap_or(usize::MAX);
        let mut chunk = vec![0; len.max(CHUNK_BYTES).min(left)];
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
    expected: Option<Lsn>,
    reader: Option<SegmentReader>,
}

impl Cursor {
    pub(crate) fn at(next: FramePtr) -> Self {
        Self { next, expected: None, reader: None }
    }

    /// Passes `frame`, which lies at the cursor.
    pub(crate) fn pass(&mut self, header: &FrameHeader) {
        self.next.offset += header.frame_len();
        self.expected = Some(header.lsn.next());
    }
}

/// One step of a cursor over the segments.
pub(crate) enum Step {
    /// A frame with a place in the order of the log.
    Frame(Frame),
    /// Nothing more.
    End,
}

/// Gives the next frame at `cursor`, going from segment to segment, passing images and whatever a later segment declared void.
/// `segment_of` answers a segment, the one behind it, and what is void in it; `until` is where the log ends.
///
/// # Errors
/// `Corrupt` if a frame that must be there is not; `Io`.
pub(crate) fn next_frame(
    vfs: &dyn Vfs,
    cursor: &mut Cursor,
    until: FramePtr,
    look_up: impl Fn(SegmentId) -> Option<Neighbourhood>,
) -> Result<Step> {
    loop {
        if cursor.next >= until {
            return Ok(Step::End);
        }
        let Some(here) = look_up(cursor.next.segment) else {
            return Err(Error::corrupt(format!(
                "segment {} is gone, though events in it are owed",
                cursor.next.segment
            )));
        };
        let reader = match &mut cursor.reader {
            Some(reader) if reader.id() == here.segment.header.id => reader,
            other => other.insert(SegmentReader::open(vfs, &here.segment)?),
        };
        if cursor.next.offset == SEGMENT_HEADER_LEN as u64 {
            cursor.expected.get_or_insert(here.segment.header.first_lsn);
        }
        reader.limit = if cursor.next.segment == until.segment { until.offset } else { u64::MAX };
        let found = reader.frame(cursor.next.offset)?;
        let void = |lsn: Lsn| here.void_above.is_some_and(|cut| lsn > cut);
        match found {
            Found::Frame(frame) if frame.header.kind == Kind::IMAGE => {
                cursor.next.offset += frame.header.frame_len()
            }
            Found::Frame(frame)
                if !void(frame.header.lsn)
                    && cursor.expected.is_none_or(|lsn| lsn == frame.header.lsn) =>
            {
                cursor.pass(&frame.header);
                return Ok(Step::Frame(frame));
            }
            // The end of a segment: its successor says that nothing is missing.
            _ => match &here.next {
                Some(next) if cursor.expected == Some(next.header.first_lsn) => {
                    cursor.next =
                        FramePtr { segment: next.header.id, offset: SEGMENT_HEADER_LEN as u64 };
                }
                _ => {
                    let what = match found {
                        Found::BrokenBody(header) => {
                            format!("the body of frame {} is damaged", header.lsn)
                        }
                        _ => format!("frame {} is missing", cursor.expected.unwrap_or_default()),
                    };
                    return Err(Error::corrupt(format!("@H: {what}, though it was durable"))
                        .in_file(&here.segment.path)
                        .at(cursor.next.offset));
                }
            },
        }
    }
}

/// A segment and what lies behind it.
pub(crate) struct Neighbourhood {
    pub(crate) segment: Segment,
    pub(crate) next: Option<Segment>,
    pub(crate) void_above: Option<Lsn>,
}
