//! How far a long proof is, on stderr.

use fchannel_torture::record::Totals;
use std::{
    io::{IsTerminal, Write},
    time::{Duration, Instant},
};

/// Tells now and then how far it is, and when it will be done.
pub(crate) struct Progress {
    name: &'static str,
    rounds: u64,
    started: Instant,
    told: Option<Instant>,
}

impl Progress {
    pub(crate) fn new(name: &'static str, rounds: u64) -> Self {
        Self { name, rounds, started: Instant::now(), told: None }
    }

    pub(crate) fn took(&self) -> Duration {
        self.started.elapsed()
    }

    pub(crate) fn tell(&mut self, done: u64, totals: &Totals) {
        let on_a_screen = std::io::stderr().is_terminal();
        let pause = Duration::from_secs(if on_a_screen { 1 } else { 20 });
        let last = done == self.rounds;
        if self.told.is_some_and(|told| told.elapsed() < pause) && !last {
            return;
        }
        self.told = Some(Instant::now());
        let elapsed = self.started.elapsed();
        let rest = elapsed.as_secs() * self.rounds.saturating_sub(done) / done.max(1);
        let line = format!(
            "{}: round {done} of {}, {} s, {} s to go; {} puts, {} takes acknowledged",
            self.name,
            self.rounds,
            elapsed.as_secs(),
            rest,
            totals.puts,
            totals.takes
        );
        let (begin, end) =
            if on_a_screen { ("\r", if last { "\n" } else { "" }) } else { ("", "\n") };
        drop(write!(std::io::stderr(), "{begin}{line}{end}"));
    }
}
