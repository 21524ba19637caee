//! The threads of a log, their chores, and their end.

use super::{Log, closed, group::Chores, writer::Writer};
use crate::error::{Error, ErrorKind, Result};
use std::sync::Arc;

impl Log {
    /// Starts the threads of the log, where there are threads: one leads for futures, one prepares segments.
    ///
    /// # Errors
    /// `Io` if none can be had.
    pub(crate) fn start_threads(self: &Arc<Self>) -> Result<()> {
        let log = Arc::clone(self);
        let committer = self.start_thread("fchannel-commit", move || {
            log.group.committer(&log, log.sync_interval(), log.idle_time());
        })?;
        if committer {
            self.group.set_has_committer();
        }
        let log = Arc::clone(self);
        self.start_thread("fchannel-ahead", move || log.prepare_segments()).map(drop)
    }

    /// False where there are no threads.
    fn start_thread(&self, name: &str, body: impl FnOnce() + Send + 'static) -> Result<bool> {
        let handle = self.dirs.vfs.spawn(name, Box::new(body)).map_err(|error| {
            Error::io(format!("cannot start the thread {name}"), &self.dirs.home, error)
        })?;
        let is_there = handle.is_some();
        self.threads.lock().extend(handle);
        Ok(is_there)
    }

    /// Takes no more frames, and has the log's own threads end: they wait for nobody who leads.
    pub(crate) fn begin_end(&self) {
        self.group.stop(&closed());
        self.group.end_committer();
        self.preparer.end();
    }

    /// Ends the threads of the log. Frames that wait are finished first, unless the log is poisoned.
    pub(crate) fn end_threads(&self) {
        self.begin_end();
        let handles = std::mem::take(&mut *self.threads.lock());
        // The last owner may go away in a callback of such a thread, which then ends by itself.
        let others = handles
            .into_iter()
            .filter(|handle| handle.thread().id() != std::thread::current().id());
        for handle in others {
            if handle.join().is_err() {
                self.poison(&Error::new(
                    ErrorKind::Poisoned,
                    "a thread of the log panicked: this is a bug",
                ));
            }
        }
        // What was begun by hand, where there was no thread for it, goes. Its temporary name is all that an error of this leaves.
        drop(self.prepare());
        // Where there was no such thread, or a frame came while it ended. Who leads now goes on by itself.
        while self.lead_once() {}
    }
}

impl Chores for Arc<Log> {
    fn lead(&self) {
        Log::lead(self);
    }

    /// A failed sync has poisoned the log: every later call says so.
    fn sync(&self) {
        if self.group.lead_unless_ending() {
            drop(self.as_leader(|| self.with_writer(Writer::sync)));
        }
    }

    fn vouch(&self) {
        if self.group.lead_unless_ending() {
            let log = &**self;
            drop(
                self.as_leader(|| self.with_writer(|writer| writer.vouch_where_there_is_room(log))),
            );
        }
    }
}
