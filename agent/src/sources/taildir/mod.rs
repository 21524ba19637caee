//! Flume's taildir source: follows files of directories, line by line.
//!
//! inotify says when a file grows, so a line is on its way at once; a slow scan finds what inotify cannot see (links, network file
//! systems).
//! The position of a file is committed with its events as a mark, so that a crash doubles nothing on the way in; see [`position`].
//!
//! Identity is inode and path, as in Flume. A file that was renamed to a name that no group follows is read to its end, through the open
//! descriptor or at its new place, also when the rename happened while the agent was down. One that is renamed to a name that matches is
//! read again from its start, with a warning.

mod matcher;
mod position;
mod print;
mod reader;
mod settings;
mod tails;
mod watch;

use crate::component::{BoxFuture, ComponentError, PutBatch, Retry, Source, SourceContext};
use bytes::Bytes;
use fchannel::{Event, Headers};
use matcher::FileId;
use reader::Read;
use settings::{Rules, Taildir};

#[cfg(feature = "fuzzing")]
pub use position::fuzzing::position_file;
pub(crate) use settings::ENTRY;
use std::{
    collections::{BTreeSet, HashMap},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};
use tails::Tails;
use watch::{Change, Watch};

/// Between two looks at everything. Also how often idle files are looked for, as in Flume.
const SCAN_INTERVAL: Duration = Duration::from_secs(5);

/// As the former, where inotify is not to be had.
const SCAN_INTERVAL_BLIND: Duration = Duration::from_secs(1);

/// Between two writes of the position file at least, whatever the conf says: each one waits for the disk.
const SAVE_INTERVAL_MIN: Duration = Duration::from_millis(100);

/// How often we listen to the kernel while there is much to read. A new file is opened once it is heard of, and until then it can be lost.
const LISTEN_INTERVAL: Duration = Duration::from_millis(100);

impl Source for Taildir {
    fn run(self: Box<Self>, cx: SourceContext) -> BoxFuture<'static, Result<(), ComponentError>> {
        Box::pin(async move {
            let mut running = Running::start(*self, cx)?;
            running.save().await;
            running.cx.ready();
            running.follow().await;
            running.save().await;
            Ok(())
        })
    }
}

struct Running {
    cx: SourceContext,
    rules: Rules,
    tails: Tails,
    watch: Option<Watch>,
    /// When everything is looked at again.
    scan_at: Instant,
    /// When we listen to the kernel again, at the latest.
    listen_at: Instant,
    /// When the position file is due, if positions have moved.
    save_at: Option<Instant>,
    save_failed: bool,
    /// Directories that could not be watched or read when they were last looked at.
    unreadable: BTreeSet<PathBuf>,
}

/// The agent stops.
struct Stopped;

impl Running {
    fn start(taildir: Taildir, cx: SourceContext) -> Result<Self, ComponentError> {
        let Taildir { groups, rules } = taildir;
        let failed = |what: &str, error: std::io::Error| ComponentError(format!("{what}: {error}"));
        if let Some(parent) = rules.position_file.parent() {
            std::fs::create_dir_all(parent)
                .map_err(|error| failed("cannot create the directory of `positionFile`", error))?;
        }
        let mut watch = Watch::new()
            .inspect_err(|error| tracing::warn!(source = %cx.name, %error, "no inotify: files are looked at every second"))
            .ok();
        // Watched before they are read, so that nothing is missed between.
        for group in &groups {
            if let Some(Err(error)) = watch.as_mut().map(|watch| watch.add(&group.directory)) {
                if matches!(
                    error.kind(),
                    std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory
                ) {
                    return Err(failed(&format!("directory {}", group.directory.display()), error));
                }
                tracing::warn!(source = %cx.name, directory = %group.directory.display(), %error, "cannot watch: looked at every second");
                watch = None;
            }
        }
        let saved = position::load(&rules.position_file);
        let tails = Tails::find(
            groups,
            Arc::clone(&cx.name),
            Arc::clone(&cx.pipeline),
            saved,
            rules.skip_to_end,
        )
        .map_err(|error| failed("cannot read a directory", error))?;
        let now = Instant::now();
        let mut running = Self {
            cx,
            rules,
            tails,
            watch,
            scan_at: now,
            listen_at: now + LISTEN_INTERVAL,
            save_at: None,
            save_failed: false,
            unreadable: BTreeSet::new(),
        };
        running.scan_at = now + running.scan_every();
        Ok(running)
    }

    fn scan_every(&self) -> Duration {
        let every = if self.watch.is_some() { SCAN_INTERVAL } else { SCAN_INTERVAL_BLIND };
        every.min(self.rules.idle_after.max(Duration::from_millis(10)))
    }

    async fn follow(&mut self) {
        loop {
            if self.read_pending().await.is_err() {
                return;
            }
            let due = self.save_at.map_or(self.scan_at, |save_at| self.scan_at.min(save_at));
            let stop = self.cx.stop.clone();
            let changes = tokio::select! {
                biased;
                () = stop.stopped() => return,
                changes = changes(self.watch.as_ref()) => changes,
                () = tokio::time::sleep_until(due.into()) => Vec::new(),
            };
            self.apply(changes);
            if self.do_due().await.is_err() {
                return;
            }
        }
    }

    /// What its time has come for: the slow scan, idle files, the position file. A long backlog must not put it off.
    async fn do_due(&mut self) -> Result<(), Stopped> {
        if self.scan_at <= Instant::now() {
            self.scan_all();
            self.close_idle().await?;
            self.scan_at = Instant::now() + self.scan_every();
        }
        if self.tails.changed
            || !self.tails.stale.is_empty()
            || self.save_at.is_some_and(|at| at <= Instant::now())
        {
            self.save().await;
        }
        Ok(())
    }

    /// Takes in what the kernel has said by now.
    fn listen(&mut self) {
        let changes = self.watch.as_ref().and_then(|watch| watch.changes_now().ok());
        self.apply(changes.unwrap_or_default());
        self.listen_at = Instant::now() + LISTEN_INTERVAL;
    }

    /// Takes in what the kernel said. One pass over the files, however many changes there are.
    fn apply(&mut self, changes: Vec<Change>) {
        let mut touched = HashMap::new();
        let mut scans = BTreeSet::new();
        for change in changes {
            let (directory, name, named) = match change {
                Change::Written(directory, name) => (directory, name, false),
                Change::Named(directory, name) => (directory, name, true),
                Change::Anything => {
                    scans.extend(self.tails.directories());
                    continue;
                }
            };
            let path = directory.join(&name).into_os_string();
            touched.entry(path).or_insert((directory, name, false)).2 |= named;
        }
        if touched.is_empty() && scans.is_empty() {
            return;
        }
        for tail in self.tails.files.values_mut() {
            if let Some((directory, _, named)) = touched.remove(tail.lies_at.as_os_str()) {
                tail.pending = true;
                scans.extend(named.then_some(directory));
            }
        }
        for (directory, name, _) in touched.into_values() {
            if self.tails.group_of(&directory, &name).is_some() {
                scans.insert(directory);
            }
        }
        for directory in scans {
            self.scan(&directory);
        }
        self.tails.open_ahead();
    }

    fn scan(&mut self, directory: &Path) {
        let scanned = self.tails.scan(directory);
        self.note(directory, scanned);
    }

    /// Says once that a directory cannot be read, and once that it can be again.
    fn note(&mut self, directory: &Path, result: std::io::Result<()>) {
        match result {
            Err(error) => {
                if self.unreadable.insert(directory.to_owned()) {
                    tracing::warn!(source = %self.cx.name, directory = %directory.display(), %error, "cannot read a directory");
                }
            }
            Ok(()) => {
                if self.unreadable.remove(directory) {
                    tracing::info!(source = %self.cx.name, directory = %directory.display(), "directory read again");
                }
            }
        }
    }

    fn scan_all(&mut self) {
        for directory in self.tails.directories() {
            // A directory that was replaced needs a new watch.
            let watched = self.watch.as_mut().map_or(Ok(()), |watch| watch.add(&directory));
            let scanned = self.tails.scan(&directory);
            self.note(&directory, watched.and(scanned));
        }
        // The ones that have no name left.
        for tail in self.tails.files.values_mut().filter(|tail| tail.gone) {
            tail.look_again();
        }
    }

    /// Reads all files to their ends, a turn each.
    async fn read_pending(&mut self) -> Result<(), Stopped> {
        loop {
            let pending = self.tails.pending();
            if pending.is_empty() {
                return Ok(());
            }
            for id in pending {
                self.read_turn(id).await?;
            }
            // A rotation shall not wait for the end of a file that grows as fast as we read.
            self.listen();
            self.tails.open_ahead();
        }
    }

    async fn read_turn(&mut self, id: FileId) -> Result<(), Stopped> {
        for _ in 0..self.rules.turn_batches {
            if self.listen_at <= Instant::now() {
                self.listen();
            }
            self.do_due().await?;
            if !self.read_batch(id, false).await? {
                break;
            }
        }
        Ok(())
    }

    /// One transaction; false at the end of the file. One without events only puts the mark of a file that was cut back.
    async fn read_batch(&mut self, id: FileId, last: bool) -> Result<bool, Stopped> {
        if self.cx.stop.is_stopped() {
            return Err(Stopped);
        }
        let Some(tail) = self.tails.files.get_mut(&id) else { return Ok(false) };
        let read = match tail.read(self.rules.batch_events, last) {
            Ok(read) => read,
            Err(error) => {
                self.read_failed(id, &error);
                return Ok(false);
            }
        };
        tail.failures = 0;
        if read.lines.is_empty() && !read.back {
            return Ok(false);
        }
        let end = read.end;
        let mut batch = self.batch(id, read);
        self.cx.pipeline.put(&mut batch, Retry::UntilStopped).await.map_err(|_| Stopped)?;
        if let Some(tail) = self.tails.files.get_mut(&id) {
            tail.position = end;
            tail.mark_ahead = false;
        }
        if self.save_at.is_none() {
            self.save_at = Instant::now().checked_add(self.rules.save_every.max(SAVE_INTERVAL_MIN));
        }
        Ok(true)
    }

    fn read_failed(&mut self, id: FileId, error: &std::io::Error) {
        let Some(tail) = self.tails.files.get_mut(&id) else { return };
        tail.failed();
        let (path, failures) = (tail.path.clone(), tail.failures);
        if error.kind() == std::io::ErrorKind::NotFound {
            // Renamed or removed since we looked.
            if let Some(directory) = path.parent() {
                self.scan(directory);
            }
        } else if failures.is_power_of_two() {
            tracing::warn!(source = %self.cx.name, file = %path.display(), failures, %error, "cannot read a file, will try again");
        }
    }

    fn batch(&self, id: FileId, read: Read) -> PutBatch {
        let Some(tail) = self.tails.files.get(&id) else { return PutBatch::default() };
        let path = tail.path.to_string_lossy();
        let mut headers: Vec<(&str, &str)> = Vec::new();
        if let Some(group) = self.tails.groups.get(tail.group) {
            headers.extend(group.headers.iter().map(|(key, value)| (key.as_str(), value.as_str())));
        }
        if let Some(key) = &self.rules.file_header {
            headers.push((key, &path));
        }
        let common: Headers = headers.into_iter().collect();
        let event = |(offset, body): (u64, Bytes)| {
            let mut headers = common.clone();
            if self.rules.byte_offset_header {
                headers.insert("byteoffset", &offset.to_string());
            }
            Event::new(headers, body)
        };
        let mark = (self.tails.key_of(tail), tail.mark(read.end).encode());
        PutBatch { events: read.lines.into_iter().map(event).collect(), marks: vec![mark] }
    }

    /// Closes files that did not grow for a while, and forgets the ones that are gone.
    async fn close_idle(&mut self) -> Result<(), Stopped> {
        let after = self.rules.idle_after;
        // One that waits for its turn is not idle. One that cannot be read may be read through a new descriptor.
        let idle =
            self.tails.files.values().filter(|tail| {
                tail.grown.elapsed() >= after && (!tail.pending || tail.failures > 0)
            });
        let idle: Vec<_> =
            idle.filter(|tail| tail.is_open() || tail.gone).map(|tail| tail.id).collect();
        for id in idle {
            // The last look, which also takes a line without an end.
            while self.read_batch(id, true).await? {}
            let Some(tail) = self.tails.files.get_mut(&id) else { continue };
            if tail.gone && tail.failures == 0 {
                tracing::info!(source = %self.cx.name, file = %tail.path.display(), position = tail.position,
                    "file is gone and read to its end");
                self.tails.forget(id);
            } else if let Some(error) = tail.is_given_up(after) {
                tracing::warn!(source = %self.cx.name, file = %tail.lies_at.display(), position = tail.position,
                    unread_bytes_min = tail.unread(tail.position), %error,
                    "file was renamed and cannot be opened: it is followed no longer, and what it has from this position on is not read");
                self.tails.forget(id);
            } else {
                tail.close();
            }
        }
        Ok(())
    }

    /// Removes marks that are about nothing, then writes the position file: until then it says which marks there are.
    async fn save(&mut self) {
        let stale = std::mem::take(&mut self.tails.stale);
        if !stale.is_empty() {
            let marks = stale.iter().map(|key| (key.clone(), Bytes::new())).collect();
            let mut batch = PutBatch { events: Vec::new(), marks };
            if self.cx.pipeline.put(&mut batch, Retry::UntilStopped).await.is_err() {
                self.tails.stale = stale;
                return;
            }
        }
        self.tails.changed = false;
        self.save_at = None;
        let saved = position::save(&self.rules.position_file, &self.tails.rows());
        match &saved {
            Err(error) if !self.save_failed => {
                tracing::error!(source = %self.cx.name, file = %self.rules.position_file.display(), %error,
                    "cannot write the position file");
            }
            Ok(()) if self.save_failed => {
                tracing::info!(source = %self.cx.name, "the position file is written again")
            }
            _ => {}
        }
        self.save_failed = saved.is_err();
    }
}

/// What the kernel says; never anything without inotify.
async fn changes(watch: Option<&Watch>) -> Vec<Change> {
    match watch {
        // An error here is about the descriptor itself: the slow scan goes on.
        Some(watch) => match watch.changes().await {
            Ok(changes) => changes,
            Err(_) => std::future::pending().await,
        },
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
