//! Flume's rolling file sink: events into files of a directory, a new file after each interval.
//!
//! What differs from Flume, on purpose: a file is synced before its events count as delivered (`sink.sync = false` gives Flume's way); it
//! rolls when its time has come, not with the first event after that; it is created with its first event, so that a quiet night leaves no
//! empty files; a file that exists already is never cut, the next free number is taken.

mod names;

use crate::{
    component::{
        Batch, BoxFuture, Build, ComponentError, Entry, Key, KeyKind, Parts, Problem, Serializer,
        Settings, Sink, SinkError, TakeLimit,
    },
    serializers,
};
use names::Names;
use std::{
    fs::{File, OpenOptions},
    io::{self, ErrorKind, Write},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

pub(crate) static ENTRY: Entry = Entry {
    names: &["file_roll", "org.apache.flume.sink.RollingFileSink"],
    doc: "Writes events into files of a local directory.",
    keys: &[
        Key::new("sink.directory", KeyKind::Paths, "The directory; it must exist.").required(),
        Key::new(
            "sink.rollInterval",
            KeyKind::Whole { min: 0, max: i32::MAX as i64, replaced: false },
            "Seconds until a new file; 0 means one file for ever.",
        )
        .or("30"),
        Key::new(
            "sink.batchSize",
            KeyKind::Whole { min: 1, max: i32::MAX as i64, replaced: false },
            "Events in one transaction.",
        )
        .or("100"),
        Key::new("sink.serializer", KeyKind::Text, "How events are written.").or("TEXT"),
        Key::new("sink.serializer.**", KeyKind::Text, "Keys of the serializer."),
        Key::new(
            "sink.pathManager",
            KeyKind::Text,
            "How files are named: DEFAULT, or ROLLTIME for the local time of the roll.",
        )
        .or("DEFAULT"),
        Key::new("sink.pathManager.prefix", KeyKind::Text, "The start of each name."),
        Key::new(
            "sink.pathManager.extension",
            KeyKind::Text,
            "The end of each name, without its dot.",
        ),
        Key::new(
            "sink.sync",
            KeyKind::Flag,
            "Syncs the file before its events count as delivered. Flume does not: a power cut \
             loses what it delivered.",
        )
        .or("true"),
    ],
    batch_key: Some("sink.batchSize"),
    verify: Some(verify),
    build: Build::Sink(build),
};

/// Bytes of one transaction, whose events are in memory.
const BATCH_BYTES_MAX: usize = 4 << 20;

/// Bytes of one write: what the serializer has just written is still in the cache then, and memory stays small.
const WRITE_BYTES: usize = 256 << 10;

struct FileRoll {
    name: Arc<str>,
    directory: PathBuf,
    names: Names,
    roll_after: Option<Duration>,
    batch_events: usize,
    sync: bool,
    serializer: Box<dyn Serializer>,
    open: Option<Open>,
    /// Text on its way into the file.
    text: Vec<u8>,
}

struct Open {
    file: File,
    path: PathBuf,
    /// Bytes of whole batches.
    len: u64,
    /// Bytes of a batch that is not whole.
    part: u64,
    roll_at: Option<Instant>,
}

fn verify(settings: &Settings) -> Vec<Problem> {
    let mut problems: Vec<Problem> = Names::new(settings).err().into_iter().collect();
    if !settings.text("sink.directory").is_some_and(|path| Path::new(path).is_dir()) {
        let why = "there is no such directory on this host: no event is delivered until there is";
        problems.push(Problem::new("sink.directory", why).of_host());
    }
    problems
}

fn build(settings: &Settings, _: &Parts) -> Result<Box<dyn Sink>, ComponentError> {
    Ok(Box::new(FileRoll::new(settings)?))
}

impl FileRoll {
    fn new(settings: &Settings) -> Result<Self, ComponentError> {
        let interval = settings.whole("sink.rollInterval")?;
        Ok(Self {
            name: Arc::clone(settings.name()),
            directory: PathBuf::from(settings.required("sink.directory")?),
            names: settings.usable(Names::new(settings))?,
            roll_after: (interval > 0).then(|| Duration::from_secs(interval)),
            batch_events: usize::try_from(settings.whole("sink.batchSize")?).unwrap_or(usize::MAX),
            sync: settings.flag("sink.sync"),
            serializer: serializers::build(settings, "sink.serializer")?,
            open: None,
            text: Vec::new(),
        })
    }

    /// Creates the next file, durable as a name before anything in it counts.
    fn create(&mut self) -> io::Result<Open> {
        let (file, path) = loop {
            let path = self.directory.join(self.names.next());
            match OpenOptions::new().append(true).create_new(true).open(&path) {
                Ok(file) => break (file, path),
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(with_path(error, &path)),
            }
        };
        if self.sync
            && let Err(error) =
                File::open(&self.directory).and_then(|directory| directory.sync_all())
        {
            remove(&path);
            return Err(with_path(error, &self.directory));
        }
        tracing::info!(sink = %self.name, file = %path.display(), "file created");
        // An interval too long for the clock is as good as none.
        let roll_at = self.roll_after.and_then(|after| Instant::now().checked_add(after));
        Ok(Open { file, path, len: 0, part: 0, roll_at })
    }

    fn write(&mut self, batch: Batch<'_>) -> io::Result<()> {
        self.text.clear();
        let mut open = match self.open.take() {
            Some(open) => open,
            None => {
                let open = self.create()?;
                self.serializer.begin(&mut self.text);
                open
            }
        };
        let written = self.write_events(&mut open, batch);
        self.text.shrink_to(2 * WRITE_BYTES);
        match written {
            Ok(()) => self.open = Some(open),
            // Its events come again; a full disk must not make a file for each try.
            Err(Failed { error, .. }) if open.len == 0 => {
                remove(&open.path);
                return Err(error);
            }
            Err(Failed { error, usable }) => {
                self.open = usable.then_some(open);
                return Err(error);
            }
        }
        Ok(())
    }

    fn write_events(&mut self, open: &mut Open, batch: Batch<'_>) -> Result<(), Failed> {
        for event in batch.events {
            self.serializer.write(event, &mut self.text);
            if self.text.len() >= WRITE_BYTES {
                open.write(&self.text)?;
                self.text.clear();
            }
        }
        open.write(&self.text)?;
        open.finish(self.sync)
    }

    /// Ends the open file, if there is one.
    fn close(&mut self) -> io::Result<()> {
        let Some(mut open) = self.open.take() else { return Ok(()) };
        self.text.clear();
        self.serializer.end(&mut self.text);
        if !self.text.is_empty() {
            open.write(&self.text)
                .and_then(|()| open.finish(self.sync))
                .map_err(|failed| failed.error)?;
        }
        tracing::info!(sink = %self.name, file = %open.path.display(), bytes = open.len, "file closed");
        Ok(())
    }

    fn roll_if_due(&mut self) -> io::Result<()> {
        match self.deadline() {
            Some(deadline) if deadline <= Instant::now() => self.close(),
            _ => Ok(()),
        }
    }
}

/// An append that failed.
struct Failed {
    error: io::Error,
    /// The file is as it was before, and more can be appended.
    usable: bool,
}

impl Open {
    /// What is written to a file that somebody has removed is lost when it is closed: it must not count as delivered.
    fn has_name(&self) -> io::Result<()> {
        if self.file.metadata()?.nlink() > 0 || self.path.exists() {
            return Ok(());
        }
        Err(io::Error::new(ErrorKind::NotFound, "the file was removed while it was open"))
    }

    /// Appends a part of a batch.
    fn write(&mut self, text: &[u8]) -> Result<(), Failed> {
        self.file.write_all(text).map_err(|error| self.cut(error, true))?;
        self.part += text.len() as u64;
        Ok(())
    }

    /// From here on the batch counts.
    fn finish(&mut self, sync: bool) -> Result<(), Failed> {
        // What a failed sync leaves on the disk nobody knows: such a file ends there.
        let synced = if sync { self.file.sync_data() } else { Ok(()) };
        synced.and_then(|()| self.has_name()).map_err(|error| self.cut(error, false))?;
        self.len += std::mem::take(&mut self.part);
        Ok(())
    }

    /// Half a batch is no use to a reader. If this fails, too, the error that matters is the first.
    fn cut(&mut self, error: io::Error, known: bool) -> Failed {
        self.part = 0;
        let cut = self.file.set_len(self.len).is_ok();
        if !cut {
            tracing::warn!(file = %self.path.display(), from = self.len, "a part of a batch stays at the end of this file");
        }
        Failed { error: with_path(error, &self.path), usable: cut && known }
    }
}

/// Removes a file in which nothing counts.
fn remove(path: &std::path::Path) {
    if let Err(error) = std::fs::remove_file(path)
        && error.kind() != ErrorKind::NotFound
    {
        tracing::warn!(file = %path.display(), %error, "cannot remove a file without events");
    }
}

fn with_path(error: io::Error, path: &std::path::Path) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

impl Sink for FileRoll {
    fn take_limit(&self) -> TakeLimit {
        TakeLimit { events: self.batch_events, bytes: BATCH_BYTES_MAX }
    }

    fn start(&mut self) -> BoxFuture<'_, Result<(), ComponentError>> {
        let directory = &self.directory;
        let result = if directory.is_dir() {
            Ok(())
        } else {
            Err(ComponentError(format!(
                "`sink.directory` {} is not a directory",
                directory.display()
            )))
        };
        Box::pin(std::future::ready(result))
    }

    fn deliver<'a>(&'a mut self, batch: Batch<'a>) -> BoxFuture<'a, Result<(), SinkError>> {
        Box::pin(async move {
            self.roll_if_due()
                .and_then(|()| self.write(batch))
                .map_err(|error| SinkError(error.to_string()))
        })
    }

    fn deadline(&self) -> Option<Instant> {
        self.open.as_ref().and_then(|open| open.roll_at)
    }

    fn on_deadline(&mut self) -> BoxFuture<'_, Result<(), SinkError>> {
        Box::pin(async { self.roll_if_due().map_err(|error| SinkError(error.to_string())) })
    }

    fn stop(&mut self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            if let Err(error) = self.close() {
                tracing::error!(sink = %self.name, %error, "file did not close in order");
            }
        })
    }
}

#[cfg(test)]
mod tests;
