//! The load: numbered lines appended to a file, at a rate.

use std::{
    fs::File,
    io::{self, Write},
    path::Path,
    sync::{Condvar, Mutex},
    time::Duration,
};

/// What a line looks like behind its number.
const TEXT: &str = "GET /shop/cart?item=42 HTTP/1.1 200 1532 \"Mozilla/5.0 (X11; Linux x86_64)\"";

/// Writes lines.
pub(super) struct Load {
    file: File,
    written: u64,
    lines: Vec<u8>,
}

impl Load {
    pub(super) fn new(path: &Path) -> io::Result<Self> {
        Ok(Self { file: File::create(path)?, written: 0, lines: Vec::new() })
    }

    /// How many lines were written.
    pub(super) fn written(&self) -> u64 {
        self.written
    }

    /// Writes what is due by `elapsed` at `rate` lines a second, and pauses for a moment.
    pub(super) fn write_until(&mut self, elapsed: Duration, rate: u64) -> io::Result<()> {
        let due =
            u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX).saturating_mul(rate) / 1000;
        self.write(due.saturating_sub(self.written))?;
        self.pause();
        Ok(())
    }

    /// Writes the next `count` lines at once.
    pub(super) fn write(&mut self, count: u64) -> io::Result<()> {
        self.lines.clear();
        for number in self.written..self.written + count {
            writeln!(self.lines, "{number:010} {TEXT}")?;
        }
        self.file.write_all(&self.lines)?;
        self.written += count;
        Ok(())
    }

    /// Gives the processor to the agent for a few milliseconds.
    pub(super) fn pause(&self) {
        let never = Mutex::new(());
        if let Ok(guard) = never.lock() {
            drop(Condvar::new().wait_timeout(guard, Duration::from_millis(5)));
        }
    }
}
