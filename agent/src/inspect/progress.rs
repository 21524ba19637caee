//! How long it will take, on standard error.

use std::{
    io::{self, IsTerminal, Write},
    time::{Duration, Instant},
};

const ON_TERMINAL: Duration = Duration::from_millis(200);
const ELSEWHERE: Duration = Duration::from_secs(10);

/// Says from time to time how far a work is: a line that is written over on a terminal, a line each ten seconds elsewhere.
pub(super) struct Progress {
    what: &'static str,
    started: Instant,
    last: Instant,
    is_terminal: bool,
    is_shown: bool,
    calls: u32,
}

impl Progress {
    pub(super) fn new(what: &'static str) -> Self {
        let now = Instant::now();
        let is_terminal = io::stderr().is_terminal();
        Self { what, started: now, last: now, is_terminal, is_shown: false, calls: 0 }
    }

    /// `done` of `total` is done.
    pub(super) fn tell(&mut self, done: u64, total: u64) {
        self.calls = self.calls.wrapping_add(1);
        // A look at the clock for each of ten million rows would be the work.
        if !self.calls.is_multiple_of(256) {
            return;
        }
        let every = if self.is_terminal { ON_TERMINAL } else { ELSEWHERE };
        if self.last.elapsed() < every {
            return;
        }
        self.last = Instant::now();
        self.is_shown = true;
        let line = line(self.what, self.started.elapsed(), done, total);
        let (start, end) = if self.is_terminal { ("\r", "\u{1b}[K") } else { ("", "\n") };
        // Nobody is left to tell if this fails.
        if write!(io::stderr().lock(), "{start}{line}{end}").is_err() {}
    }
}

fn line(what: &str, took: Duration, done: u64, total: u64) -> String {
    let percent = done.saturating_mul(100) / total.max(1);
    let left = total.saturating_sub(done);
    let ms = u128::from(left) * took.as_millis() / u128::from(done.max(1));
    let eta = super::text::age(u64::try_from(ms / 1000).unwrap_or(u64::MAX));
    format!("{what}  {percent} %  eta {eta}")
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.is_shown && self.is_terminal && write!(io::stderr().lock(), "\r\u{1b}[K").is_err() {
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rest_takes_as_long_as_its_share() {
        assert_eq!(line("verify", Duration::from_secs(10), 25, 100), "verify  25 %  eta 30 s");
        assert_eq!(line("verify", Duration::ZERO, 0, 0), "verify  0 %  eta 0 s");
    }
}
