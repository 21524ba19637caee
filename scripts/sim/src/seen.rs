//! What a run went through, counted.

use crate::history::Class;
use fchannel::{RecoveryReport, Verdict, io::sim::Tally};
use std::collections::BTreeMap;

/// Counts of one history, or of all.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) tally: Tally,
    pub(crate) verdicts: BTreeMap<Verdict, u64>,
    pub(crate) classes: BTreeMap<Class, u64>,
    /// What became of damage, by its kind.
    pub(crate) damages: BTreeMap<String, u64>,
    /// Histories run, each variant of one by itself.
    pub(crate) runs: u64,
    pub(crate) opens: u64,
    pub(crate) transactions: u64,
    /// Lives that ended in the midst of a call.
    pub(crate) crashes: u64,
    /// Lives that ended between two calls.
    pub(crate) ends: u64,
    /// Opens for which something was planned.
    pub(crate) attempts: u64,
}

impl Seen {
    pub(crate) fn verdict(&mut self, verdict: Verdict) {
        *self.verdicts.entry(verdict).or_default() += 1;
    }

    pub(crate) fn recovered(&mut self, report: &RecoveryReport) {
        self.verdict(report.verdict);
        if !report.images_passed_over.is_empty() {
            self.verdict(Verdict::I);
        }
    }

    /// The verdict that an error names.
    pub(crate) fn refused(&mut self, error: &fchannel::Error) {
        let text = error.to_string();
        let all = fchannel::VERDICTS.iter().map(|row| row.verdict);
        let named = all.into_iter().find(|verdict| text.contains(&format!("{verdict}:")));
        let absent = error.kind() == &fchannel::ErrorKind::NotAChannel;
        if let Some(verdict) = named.or(absent.then_some(Verdict::F)) {
            self.verdict(verdict);
        }
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.tally.add(&other.tally);
        for (verdict, count) in &other.verdicts {
            *self.verdicts.entry(*verdict).or_default() += count;
        }
        for (class, count) in &other.classes {
            *self.classes.entry(*class).or_default() += count;
        }
        for (what, count) in &other.damages {
            *self.damages.entry(what.clone()).or_default() += count;
        }
        self.runs += other.runs;
        self.opens += other.opens;
        self.transactions += other.transactions;
        self.crashes += other.crashes;
        self.ends += other.ends;
        self.attempts += other.attempts;
    }
}
