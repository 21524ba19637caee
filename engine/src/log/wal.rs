//! The log alone, as a write-ahead log: records in, in one order, durable; the state they make is the user's.

use super::{
    Apply, Beginning, Cursor, Directories, Frame, Listing, Log, Missing, Quarantine,
    RecoveryReport, Request, Step, Ticket, group::Committed,
};
use crate::{
    error::{CommitError, Error, ErrorKind, Result},
    format::{Fields, Kind, SEGMENT_HEADER_LEN, SegmentHeader},
    ids::{EventSeq, FramePtr, Lsn},
    io::{StdVfs, Vfs},
    options::{OnDamage, Purpose, WalOptions},
    stats::LogStats,
};
use bytes::Bytes;
use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

/// A record of a [`Wal`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WalRecord {
    /// Its place in the order of the log.
    pub lsn: Lsn,
    /// What its writer said it is.
    pub kind: u8,
    /// What its writer said.
    pub body: Bytes,
}

/// A write-ahead log: append records, have them durable, replay them at the next open, release what is no longer needed.
///
/// Use it to make a data structure of your own durable; for events that wait to be taken, use a [`Channel`](crate::Channel). It is
/// shared by reference between threads: concurrent appends share one sync.
///
/// # Examples
/// ```
/// use fchannel::{Wal, WalOptions};
/// let dir = tempfile::tempdir()?;
/// let wal = Wal::open(dir.path(), WalOptions::default(), |_, _, _| Ok(()))?;
/// wal.append(1, b"debit 5")?;
/// let last = wal.append(1, b"credit 5")?.lsn;
/// drop(wal); // as a crash would: nothing is flushed, for all is durable already
///
/// let mut replayed = Vec::new();
/// let wal = Wal::open(dir.path(), WalOptions::default(), |_, _, body| {
///     replayed.push(body.to_vec());
///     Ok(())
/// })?;
/// assert_eq!(replayed, [b"debit 5".to_vec(), b"credit 5".to_vec()]);
/// wal.release_before(last)?;
/// wal.close()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Wal {
    log: Arc<Log>,
    record_bytes_max: u64,
    report: RecoveryReport,
}

/// The image of a bare log is one number; that of a queue begins with six. So they are told apart.
pub(crate) const BARE_IMAGE_BYTES: usize = 8;

/// The state of a bare log: below which LSN all is released.
#[derive(Default)]
struct Released(AtomicU64);

impl Apply for Released {
    fn restore(&self, beginning: Beginning<'_>) -> Result<Lsn> {
        let released = match beginning {
            Beginning::Image(image) => {
                let owner: &[u8; BARE_IMAGE_BYTES] =
                    image.owner.as_slice().try_into().map_err(|_| {
                        let what = "this is a channel, not a bare log: open it as one";
                        Error::new(ErrorKind::NotAChannel, what)
                    })?;
                u64::from_le_bytes(*owner)
            }
            Beginning::Empty => 0,
            Beginning::At(oldest) => oldest.first_lsn.previous().get(),
        };
        self.0.store(released, Ordering::Release);
        Ok(Lsn::new(released))
    }

    fn pass(&self, _until: EventSeq) {}

    fn apply(&self, frame: &Frame) -> Result<()> {
        if frame.header.kind == Kind::RELEASE {
            self.0.fetch_max(released_by(frame)?, Ordering::AcqRel);
        }
        Ok(())
    }

    fn missing_before(
        &self,
        oldest: &SegmentHeader,
        held_back: &[Frame],
    ) -> Result<Option<Missing>> {
        let mut released = self.0.load(Ordering::Acquire);
        for frame in held_back.iter().filter(|frame| frame.header.kind == Kind::RELEASE) {
            released = released.max(released_by(frame)?);
        }
        if released >= oldest.first_lsn.previous().get() {
            return Ok(None);
        }
        let lsns = (Lsn::new(released + 1), oldest.first_lsn);
        let what = format!(
            "@J: the records from {} to {} are gone, though they were not released",
            lsns.0,
            lsns.1.previous()
        );
        Ok(Some(Missing { what, lsns, items: (oldest.first_item, oldest.first_item) }))
    }

    fn image(&self) -> Vec<u8> {
        self.0.load(Ordering::Acquire).to_le_bytes().to_vec()
    }
}

/// Up to which LSN a release frame releases: never beyond itself, whatever it says.
fn released_by(frame: &Frame) -> Result<u64> {
    let released = Fields::new(&frame.body).u64();
    let released = released.ok_or_else(|| Error::corrupt("a release frame is too short"))?;
    Ok(released.min(frame.header.lsn.get()))
}

impl Wal {
    /// Locks `dir`, recovers the log in it, and calls `replay` with LSN, kind and body of each durable record that is not released, once
    /// and in order. Records released shortly before a crash may be seen again.
    ///
    /// # Errors
    /// `Locked`, `NotAChannel`, `NewerFormat`, `Corrupt`, `InvalidOptions`, `DiskFull`, `Io`; whatever `replay` says.
    pub fn open(
        dir: impl AsRef<Path>,
        options: WalOptions,
        replay: impl FnMut(Lsn, u8, &[u8]) -> Result<()>,
    ) -> Result<Self> {
        let vfs = StdVfs::new(options.commit_calls);
        Self::open_on(Arc::new(vfs), dir.as_ref(), options, replay)
    }

    /// As [`open`](Self::open), in another world.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_on(
        vfs: Arc<dyn Vfs>,
        dir: &Path,
        options: WalOptions,
        mut replay: impl FnMut(Lsn, u8, &[u8]) -> Result<()>,
    ) -> Result<Self> {
        options.validate()?;
        let dirs = Directories::claim(vfs, dir, &[], options.on_damage, Purpose::Use)?;
        let mut warnings = Vec::new();
        let mut warn = |warning| warnings.push(warning);
        let mut quarantine = Quarantine::read(&*dirs.vfs, &dirs.home, &mut warn)?;
        quarantine.remove_temporary(&*dirs.vfs, &mut warn);
        let go_on = options.on_damage == OnDamage::Quarantine;
        let listing =
            Listing::read(&dirs, &|damage| go_on || quarantine.covering(damage).is_some())?;
        let owner = Arc::new(Released::default());
        let (log, mut report) = super::open(
            dirs,
            listing,
            quarantine,
            options.log_options(),
            Vec::new(),
            owner.clone(),
            &mut |frame| {
                owner.apply(frame)?;
                match frame.header.kind.0 {
                    Kind::FIRST_OF_LOG.. => Ok(()),
                    kind => replay(frame.header.lsn, kind, &frame.body),
                }
            },
        )?;
        report.warnings.extend(warnings);
        let wal = Self { log, record_bytes_max: options.record_bytes_max, report };
        wal.log.start_threads()?;
        wal.log.make_reserves()?;
        Ok(wal)
    }

    /// What the open found and did.
    #[must_use]
    pub fn recovery(&self) -> &RecoveryReport {
        &self.report
    }

    /// Appends a record of a `kind` below 240; durable on return. This thread may lead a group of commits meanwhile.
    ///
    /// # Errors
    /// `NotCommitted`: the record will not appear. `Unknown`: the next open decides.
    pub fn append(&self, kind: u8, record: &[u8]) -> Result<Committed, CommitError> {
        let request = self.request(kind, record).map_err(CommitError::NotCommitted)?;
        let slot = self.log.submit(request);
        self.log.wait(&slot)
    }

    /// As [`append`](Self::append), without waiting: the record has its place in the order when this returns.
    ///
    /// # Errors
    /// As [`append`](Self::append), but only what is known at once: a record that is too large, a kind that is reserved.
    pub fn submit(&self, kind: u8, record: &[u8]) -> Result<Ticket> {
        Ok(self.log.submit_ticket(self.request(kind, record)?))
    }

    fn request(&self, kind: u8, record: &[u8]) -> Result<Request> {
        if kind >= Kind::FIRST_OF_LOG {
            return Err(Error::new(
                ErrorKind::InvalidOptions,
                format!(
                    "record kind {kind} is the log's own; use one below {}",
                    Kind::FIRST_OF_LOG
                ),
            ));
        }
        if record.len() as u64 > self.record_bytes_max {
            let what = format!(
                "a record of {} bytes is larger than record_bytes_max ({})",
                record.len(),
                self.record_bytes_max
            );
            return Err(Error::new(ErrorKind::TooLarge, what));
        }
        Ok(Request::new(Kind(kind), 0, framed(record)).refusable())
    }

    /// The record at `lsn`; `None` if there is none: released, not written yet, or a frame of the log's own.
    ///
    /// # Errors
    /// `Corrupt`, `Io`.
    pub fn read(&self, lsn: Lsn) -> Result<Option<WalRecord>> {
        Ok(self.iter(lsn).next().transpose()?.filter(|record| record.lsn == lsn))
    }

    /// The records from `from` on, up to the end of the log when it is reached.
    ///
    /// # Errors
    /// Each item may be `Corrupt` or `Io`; the iterator ends there.
    pub fn iter(&self, from: Lsn) -> impl Iterator<Item = Result<WalRecord>> + '_ {
        let first = self.log.segment_of_lsn(from).or_else(|| self.log.oldest_segment());
        let mut cursor = first
            .map(|segment| Cursor::at(FramePtr { segment, offset: SEGMENT_HEADER_LEN as u64 }));
        std::iter::from_fn(move || {
            loop {
                match self.log.next(cursor.as_mut()?) {
                    Ok(Step::Frame(frame))
                        if frame.header.lsn < from || frame.header.kind.0 >= Kind::FIRST_OF_LOG => {
                    }
                    Ok(Step::Frame(frame)) => {
                        return Some(Ok(WalRecord {
                            lsn: frame.header.lsn,
                            kind: frame.header.kind.0,
                            body: frame.body,
                        }));
                    }
                    Ok(Step::End) => return None,
                    Err(error) => {
                        cursor = None;
                        return Some(Err(error));
                    }
                }
            }
        })
    }

    /// Says that records below `lsn` are no longer needed: durable on return, and their space is given back by whole segments. What is
    /// not written yet cannot be released: an LSN beyond the end means all that is there.
    ///
    /// # Errors
    /// As [`append`](Self::append).
    pub fn release_before(&self, lsn: Lsn) -> Result<(), CommitError> {
        let request = Request::new(Kind::RELEASE, 0, framed(&lsn.previous().get().to_le_bytes()));
        let slot = self.log.submit(request);
        let released = self.log.wait(&slot)?;
        // Under `Interval` it is only written by now, and what it releases must not go before it is durable (rule S1).
        self.log.sync().map_err(CommitError::Unknown)?;
        if let Some(keep) = self.log.segment_of_lsn(lsn.min(released.lsn)) {
            self.log.retain_from(keep).map_err(CommitError::Unknown)?;
        }
        if self.log.is_on_reserve() {
            self.log.make_reserves().map_err(CommitError::Unknown)?;
        }
        Ok(())
    }

    /// Makes all that is appended durable now: for [`Durability::Interval`](crate::Durability::Interval).
    ///
    /// # Errors
    /// `Io`, once; then `Poisoned`.
    pub fn sync(&self) -> Result<Lsn> {
        self.log.sync()
    }

    /// What the log has done since the open.
    #[must_use]
    pub fn stats(&self) -> LogStats {
        self.log.stats()
    }

    /// Finishes what was submitted and unlocks. Dropping does so too, without the last frame that lets a later open tell damage to the
    /// last record from a torn one.
    ///
    /// # Errors
    /// The error that poisoned the log, now or before.
    pub fn close(self) -> Result<()> {
        self.log.finish()
    }
}

impl Drop for Wal {
    fn drop(&mut self) {
        self.log.end_threads();
    }
}

impl std::fmt::Debug for Wal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Wal").field("dir", &self.log.dirs().home).finish_non_exhaustive()
    }
}

/// `body` behind room for a header.
fn framed(body: &[u8]) -> Vec<u8> {
    let mut buffer = Vec::with_capacity(Request::HEADER_ROOM + body.len() + 8);
    buffer.resize(Request::HEADER_ROOM, 0);
    buffer.extend_from_slice(body);
    buffer
}
