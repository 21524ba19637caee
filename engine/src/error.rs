//! What can go wrong, where, and what to do about it.

use crate::ids::Lsn;
use std::{fmt, io, path::Path, path::PathBuf, sync::Arc};

/// The result of an engine call.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of the engine: its kind, a sentence for the operator, and the place on disk.
///
/// One opaque type with a [`kind`](Error::kind) to branch on: callers of a log do the same few things about a failure (wait, stop,
/// repair), whatever the call was. It is cheap to clone, since a poisoned log gives the same one to every caller.
///
/// # Examples
/// ```
/// use fchannel::{Channel, ErrorKind, Options};
/// let dir = tempfile::tempdir()?;
/// let held = Channel::open(dir.path(), Options::default())?;
/// let error = Channel::open(dir.path(), Options::default()).err().ok_or("opened twice")?;
/// assert!(matches!(error.kind(), ErrorKind::Locked { pid: Some(_) }));
/// assert!(error.to_string().contains("in_use.lock"));
/// held.close()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Error(Box<Inner>);

#[derive(Clone)]
struct Inner {
    kind: ErrorKind,
    what: String,
    file: Option<PathBuf>,
    offset: Option<u64>,
    lsn: Option<Lsn>,
    source: Option<Arc<io::Error>>,
}

/// What a caller can do about an [`Error`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// Another process holds the directory. Stop it, or inspect the channel read-only.
    Locked {
        /// The holder, as far as its lock file tells.
        pid: Option<u32>,
    },
    /// The directory holds no channel of ours, somebody else's files, or is not the one that belongs here.
    NotAChannel,
    /// Written by a later release in a format that this one does not know. Nothing was changed.
    NewerFormat,
    /// Bytes that were durable are damaged. `fchannel inspect verify` says what is lost.
    Corrupt,
    /// The channel holds as many events as its capacity allows. Take some, or wait.
    Full,
    /// The disk is full, or its free-space floor is reached: puts are refused, takes go on until the reserve is used up. Wait for room.
    DiskFull,
    /// The transaction or event is larger than an option allows; the message names the option.
    TooLarge,
    /// The operating system refused an operation.
    Io,
    /// An earlier I/O error stopped the log; the message repeats it. Only a reopen can say what is durable.
    Poisoned,
    /// The channel was closed.
    Closed,
    /// Options that contradict each other or lie outside their range.
    InvalidOptions,
}

impl Error {
    /// An error of `kind`, told in a sentence without a full stop.
    #[must_use]
    pub fn new(kind: ErrorKind, what: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            kind,
            what: what.into(),
            file: None,
            offset: None,
            lsn: None,
            source: None,
        }))
    }

    /// An operating-system error on `file`; a full disk gets a kind of its own.
    #[must_use]
    pub fn io(what: impl Into<String>, file: &Path, source: io::Error) -> Self {
        let kind = match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ErrorKind::DiskFull,
            _ => ErrorKind::Io,
        };
        let mut error = Self::new(kind, what).in_file(file);
        error.0.source = Some(Arc::new(source));
        error
    }

    /// Bytes that are not what was written.
    #[must_use]
    pub fn corrupt(what: impl Into<String>) -> Self {
        Self::new(ErrorKind::Corrupt, what)
    }

    /// The same error, said to be about `file`.
    #[must_use]
    pub fn in_file(mut self, file: &Path) -> Self {
        self.0.file = Some(file.to_path_buf());
        self
    }

    /// The same error, said to be at `offset` bytes.
    #[must_use]
    pub fn at(mut self, offset: u64) -> Self {
        self.0.offset = Some(offset);
        self
    }

    /// The same error, said to be about `lsn`.
    #[must_use]
    pub fn of_lsn(mut self, lsn: Lsn) -> Self {
        self.0.lsn = Some(lsn);
        self
    }

    /// What a log answers once this error has stopped it.
    #[must_use]
    pub fn as_poison(&self) -> Self {
        let mut poison = self.clone();
        poison.0.kind = ErrorKind::Poisoned;
        poison.0.what = format!(
            "the log has stopped itself; reopen it to learn what is durable. First error: {}",
            self.0.what
        );
        poison
    }

    /// What a caller can do about it.
    #[must_use]
    pub fn kind(&self) -> &ErrorKind {
        &self.0.kind
    }

    /// The sentence, without the place.
    #[must_use]
    pub fn what(&self) -> &str {
        &self.0.what
    }

    /// The file or directory it is about.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        self.0.file.as_deref()
    }

    /// The offset in that file, in bytes.
    #[must_use]
    pub fn offset(&self) -> Option<u64> {
        self.0.offset
    }

    /// The LSN it is about.
    #[must_use]
    pub fn lsn(&self) -> Option<Lsn> {
        self.0.lsn
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.what)?;
        if let Some(source) = &self.0.source {
            write!(f, ": {source}")?;
        }
        let offset = self.0.offset.map(|offset| format!("@{offset}")).unwrap_or_default();
        let lsn = self.0.lsn.map(|lsn| format!("lsn {lsn}"));
        match (&self.0.file, lsn) {
            (Some(file), Some(lsn)) => write!(f, " ({}{offset}, {lsn})", file.display()),
            (Some(file), None) => write!(f, " ({}{offset})", file.display()),
            (None, Some(lsn)) => write!(f, " ({lsn})"),
            (None, None) => Ok(()),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {self}", self.0.kind)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}

/// Why a commit did not answer "durable".
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum CommitError {
    /// Nothing was written: the transaction did not happen, now or after any crash.
    NotCommitted(Error),
    /// The write or its sync failed half-way: only the next open can say whether it happened.
    Unknown(Error),
}

impl CommitError {
    /// The error behind either answer.
    #[must_use]
    pub fn error(&self) -> &Error {
        match self {
            Self::NotCommitted(error) | Self::Unknown(error) => error,
        }
    }
}

impl fmt::Display for CommitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotCommitted(error) => write!(f, "not committed: {error}"),
            Self::Unknown(error) => {
                write!(f, "commit unknown until the channel is reopened: {error}")
            }
        }
    }
}

impl std::error::Error for CommitError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(self.error())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_what_where_and_why() {
        let source = io::Error::from_raw_os_error(5);
        let error = Error::io("cannot read the frame", Path::new("/d/seg-1"), source)
            .at(64)
            .of_lsn(Lsn::new(9));
        assert_eq!(
            error.to_string(),
            "cannot read the frame: Input/output error (os error 5) (/d/seg-1@64, lsn 9)"
        );
        assert_eq!(error.kind(), &ErrorKind::Io);
        assert_eq!(error.as_poison().kind(), &ErrorKind::Poisoned);
        assert!(error.as_poison().to_string().contains("cannot read the frame"));
    }

    #[test]
    fn a_full_disk_is_told_by_its_kind_not_its_message() {
        let error =
            Error::io("cannot write", Path::new("/d/seg-1"), io::Error::from_raw_os_error(28));
        assert_eq!(error.kind(), &ErrorKind::DiskFull);
    }
}
