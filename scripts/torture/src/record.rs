//! What the killed processes said in all rounds, and what follows for what must be in the channel.
//!
//! The model is a map from sequence to event: what is owed. An acknowledged put adds to it, an acknowledged take removes from it; what a
//! process did not hear the end of may have happened or not, whole; all else is a finding. A commit that an open puts behind the end of
//! the log was lost; that is allowed only to what was never said to be durable.

use crate::words::{Batch, Id, Put, Run, Said};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    ops::AddAssign,
};

/// What is counted over all rounds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Events whose put was acknowledged.
    pub puts: u64,
    /// Events whose take was acknowledged.
    pub takes: u64,
    /// Events whose put was refused, with a typed error.
    pub refused: u64,
    /// Acknowledged, not taken, and not there.
    pub lost: u64,
    /// Behind an event of the same producer that was put later.
    pub out_of_order: u64,
    /// Given to a taker once more.
    pub doubled: u64,
    /// Of these, the ones whose earlier take had not been committed.
    pub doubled_uncommitted: u64,
    /// Acknowledged as "written, not durable yet", and lost with a power cut.
    pub undone: u64,
    /// Findings of any other kind.
    pub others: u64,
}

impl AddAssign for Totals {
    fn add_assign(&mut self, other: Self) {
        self.puts += other.puts;
        self.takes += other.takes;
        self.refused += other.refused;
        self.lost += other.lost;
        self.out_of_order += other.out_of_order;
        self.doubled += other.doubled;
        self.doubled_uncommitted += other.doubled_uncommitted;
        self.undone += other.undone;
        self.others += other.others;
    }
}

/// What an open found after a death.
#[derive(Clone, Debug, Default)]
pub struct Sight {
    /// The last LSN of the log.
    pub end: u64,
    /// The sequence of the next event.
    pub next_seq: u64,
    /// How many events the channel says are waiting.
    pub events: u64,
    /// How the log ended.
    pub verdict: String,
    /// Frames that nobody vouched for.
    pub rewritten: u64,
    /// By producer, its mark: round and number.
    pub marks: BTreeMap<u32, (u64, u64)>,
    /// What waits, in order.
    pub there: Vec<(u64, Id)>,
}

/// What a death may have taken with it, of what was acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// Nothing.
    Nothing,
    /// What was never said to be durable, as a suffix.
    Unsynced,
    /// Anything, as a suffix: the disk lied.
    Anything,
}

/// The record of all rounds.
#[derive(Default)]
pub struct Record {
    owed: BTreeMap<u64, Id>,
    /// Events owed that a taker had in its hands.
    delivered: HashSet<u64>,
    marks: BTreeMap<u32, (u64, u64)>,
    next_seq: u64,
    round: Round,
    /// The counts.
    pub totals: Totals,
    /// What is wrong, in words.
    pub findings: Vec<String>,
}

/// What was said in the present round.
#[derive(Default)]
struct Round {
    number: u64,
    puts: Vec<Put>,
    refused: Vec<Batch>,
    /// What each taker has in its hands.
    taking: HashMap<u32, Vec<Run>>,
    taken: Vec<(u64, bool, Vec<Run>)>,
    /// Takes that were neither acknowledged nor refused.
    undecided: Vec<Vec<Run>>,
    /// All that was in the hands of takers.
    seen: HashMap<u64, Id>,
    gone: HashSet<u64>,
    synced: u64,
    stopped: Option<String>,
    logged: Vec<String>,
    failed: Vec<String>,
}

impl Round {
    /// The last LSN that was acknowledged, of those with such a "durable".
    fn last_lsn(&self, which: impl Fn(bool) -> bool) -> u64 {
        let puts = self.puts.iter().map(|put| (put.lsn, put.durable));
        let takes = self.taken.iter().map(|(lsn, durable, _)| (*lsn, *durable));
        let acknowledged = puts.chain(takes).filter(|(_, durable)| which(*durable));
        acknowledged.map(|(lsn, _)| lsn).max().unwrap_or_default()
    }
}

const FINDINGS_MAX: usize = 20;

impl Record {
    /// The next process lives: its events carry this number.
    pub fn begin(&mut self, round: u64) {
        self.round = Round { number: round, ..Round::default() };
    }

    /// Notes that something is wrong.
    pub fn find(&mut self, what: String) {
        self.totals.others += 1;
        self.note(what);
    }

    fn note(&mut self, what: String) {
        if self.findings.len() < FINDINGS_MAX {
            self.findings.push(what);
        }
    }

    /// Why the channel stopped itself in this round, if it said so.
    #[must_use]
    pub fn stopped(&self) -> Option<&str> {
        self.round.stopped.as_deref()
    }

    /// The errors that were logged in this round.
    #[must_use]
    pub fn logged(&self) -> &[String] {
        &self.round.logged
    }

    /// Calls that failed in this round.
    #[must_use]
    pub fn failed(&self) -> &[String] {
        &self.round.failed
    }

    /// Puts that were refused in this round.
    #[must_use]
    pub fn refusals(&self) -> usize {
        self.round.refused.len()
    }

    /// The last LSN that was acknowledged in this round.
    #[must_use]
    pub fn acknowledged(&self) -> u64 {
        self.round.last_lsn(|_| true)
    }

    /// How many events wait.
    #[must_use]
    pub fn owed(&self) -> usize {
        self.owed.len()
    }

    /// Takes down a line of the process that lives.
    pub fn hear(&mut self, said: Said) {
        match said {
            Said::Put(put) => self.round.puts.push(put),
            Said::Refused(batch, kind) => {
                self.totals.refused += batch.last + 1 - batch.first;
                // After it has stopped itself it refuses all; before, only a full disk is a reason.
                if !["DiskFull", "Poisoned"].iter().any(|known| kind.starts_with(known)) {
                    self.find(format!("a put was refused, and not for a full disk: {kind}"));
                }
                self.round.refused.push(batch);
            }
            Said::Taking(taker, runs) => self.hear_taking(taker, runs),
            Said::Taken(taker, lsn, durable) => {
                if let Some(runs) = self.round.taking.remove(&taker) {
                    self.round
                        .gone
                        .extend(runs.iter().flat_map(|run| run.events()).map(|(seq, _)| seq));
                    self.round.taken.push((lsn, durable, runs));
                }
            }
            Said::Back(taker) => drop(self.round.taking.remove(&taker)),
            Said::UnknownTake(taker) => {
                self.round.undecided.extend(self.round.taking.remove(&taker));
            }
            Said::Synced(lsn) => self.round.synced = self.round.synced.max(lsn),
            Said::Stopped(why) => self.round.stopped = Some(why),
            Said::Log(what) => self.round.logged.push(what),
            Said::Failed(what) if what.starts_with("capacity") => self.find(what),
            Said::Failed(what) => self.round.failed.push(what),
            Said::Up | Said::Unknown(_) | Said::Done => {}
            other => self.find(format!("a process that puts and takes said: {other}")),
        }
    }

    fn hear_taking(&mut self, taker: u32, runs: Vec<Run>) {
        let mut last: BTreeMap<u32, (u64, u64)> = BTreeMap::new();
        let mut last_seq = None;
        for (seq, id) in runs.iter().flat_map(|run| run.events()) {
            let again = self.round.gone.contains(&seq)
                || (seq < self.next_seq && !self.owed.contains_key(&seq));
            if again {
                self.totals.doubled += 1;
                self.note(format!(
                    "event {id} (seq {seq}) came again after its take was acknowledged"
                ));
            } else if !self.delivered.insert(seq) {
                self.totals.doubled += 1;
                self.totals.doubled_uncommitted += 1;
            }
            let known = self.owed.get(&seq).or_else(|| self.round.seen.get(&seq));
            if let Some(other) = known.filter(|other| **other != id) {
                let what = format!("event {id} was taken as number {seq}, which was {other}");
                self.find(what);
            }
            let before = last.insert(id.producer, id.place());
            if before.is_some_and(|before| before >= id.place())
                || last_seq.is_some_and(|last| last >= seq)
            {
                self.totals.out_of_order += 1;
                self.note(format!("event {id} was taken out of its producer's order"));
            }
            last_seq = Some(seq);
            self.round.seen.insert(seq, id);
        }
        if let Some(left) = self.round.taking.insert(taker, runs) {
            self.round.undecided.push(left);
        }
    }

    /// The process is dead: holds what an open found against all that was said.
    pub fn settle(&mut self, sight: &Sight, loss: Loss) {
        let mut round = std::mem::take(&mut self.round);
        round.undecided.extend(round.taking.drain().map(|(_, runs)| runs));
        let before = self.owed.clone();
        self.settle_commits(&mut round, sight, loss);
        self.settle_undecided(&round, sight);
        self.compare(&round, sight);
        self.check_marks(&round, sight);
        if self.totals.lost > 0 && self.owed.len() < before.len() / 2 {
            self.note(format!("{} events were owed before this round", before.len()));
        }
        // What is there is what is owed from now on: the open made it durable.
        self.owed = sight.there.iter().copied().collect();
        self.delivered.retain(|seq| self.owed.contains_key(seq));
        self.next_seq = sight.next_seq;
        self.marks.clone_from(&sight.marks);
        self.round = round;
    }

    /// Applies the acknowledged commits up to the end of the log; what lies behind it was lost.
    fn settle_commits(&mut self, round: &mut Round, sight: &Sight, loss: Loss) {
        let promised = match loss {
            Loss::Nothing => round.last_lsn(|_| true),
            Loss::Unsynced => round.last_lsn(|durable| durable).max(round.synced),
            Loss::Anything => 0,
        };
        if sight.end < promised {
            let end = sight.end;
            self.find(format!("the log ends at LSN {end}, and {promised} was acknowledged"));
        }
        // What was promised is held against what is there, wherever the log says that it ends.
        let undone = |lsn: u64| lsn > sight.end && lsn > promised;
        for put in std::mem::take(&mut round.puts) {
            let Batch { producer, first, last } = put.batch;
            let id = Id { producer, round: round.number, number: first, first, last };
            let count = last + 1 - first;
            self.totals.puts += count;
            if undone(put.lsn) {
                self.totals.undone += count;
                continue;
            }
            self.owed.extend(Run { seq: put.seq, count, id }.events());
            round.puts.push(put);
        }
        for (lsn, durable, runs) in std::mem::take(&mut round.taken) {
            let count: u64 = runs.iter().map(|run| run.count).sum();
            self.totals.takes += count;
            if undone(lsn) {
                self.totals.undone += count;
                continue;
            }
            for (seq, _) in runs.iter().flat_map(|run| run.events()) {
                self.owed.remove(&seq);
            }
            round.taken.push((lsn, durable, runs));
        }
    }

    /// A take whose end was not heard happened whole or not at all.
    fn settle_undecided(&mut self, round: &Round, sight: &Sight) {
        let there: HashSet<u64> = sight.there.iter().map(|(seq, _)| *seq).collect();
        for runs in &round.undecided {
            let events: Vec<(u64, Id)> = runs
                .iter()
                .flat_map(|run| run.events())
                .filter(|(seq, _)| *seq < sight.next_seq)
                .collect();
            let (back, gone): (Vec<_>, Vec<_>) =
                events.into_iter().partition(|(seq, _)| there.contains(seq));
            if let (Some((_, back)), Some((_, gone))) = (back.first(), gone.first()) {
                self.find(format!("half a take: event {gone} is gone and event {back} is not"));
            }
            for (seq, _) in gone {
                self.owed.remove(&seq);
            }
        }
    }

    fn compare(&mut self, round: &Round, sight: &Sight) {
        let there: BTreeMap<u64, Id> = sight.there.iter().copied().collect();
        if sight.events != sight.there.len() as u64 || there.len() != sight.there.len() {
            let (said, read) = (sight.events, sight.there.len());
            self.find(format!(
                "{said} events wait, {read} can be read, {} are different",
                there.len()
            ));
        }
        let lost: Vec<(u64, Id)> = self
            .owed
            .iter()
            .filter(|(seq, id)| there.get(seq) != Some(id))
            .map(|(seq, id)| (*seq, *id))
            .collect();
        self.totals.lost += lost.len() as u64;
        if let Some((seq, id)) = lost.first() {
            let now = there.get(seq).map_or("nothing".to_owned(), ToString::to_string);
            self.note(format!(
                "{} events are lost; the first is {id} (seq {seq}), where now is {now}",
                lost.len()
            ));
        }
        let mut last: BTreeMap<u32, Id> = BTreeMap::new();
        for (seq, id) in &sight.there {
            if last.insert(id.producer, *id).is_some_and(|last| last.place() >= id.place()) {
                self.totals.out_of_order += 1;
                self.note(format!("event {id} (seq {seq}) waits out of its producer's order"));
            }
        }
        let unheard: Vec<(u64, Id)> =
            sight.there.iter().filter(|(seq, _)| !self.owed.contains_key(seq)).copied().collect();
        self.check_unheard(round, sight, &unheard);
    }

    /// Events that are there though no put of them was acknowledged: of this round, of a put that was not refused, and whole.
    fn check_unheard(&mut self, round: &Round, sight: &Sight, unheard: &[(u64, Id)]) {
        let mut batches: BTreeSet<(u32, u64, u64)> = BTreeSet::new();
        for (seq, id) in unheard {
            let is_in = |batch: &Batch| {
                batch.producer == id.producer && (batch.first..=batch.last).contains(&id.number)
            };
            if id.round != round.number || round.puts.iter().any(|put| is_in(&put.batch)) {
                self.totals.doubled += 1;
                self.note(format!(
                    "event {id} (seq {seq}) is there, and its take was acknowledged"
                ));
            } else if round.refused.iter().any(is_in) {
                self.find(format!("event {id} (seq {seq}) is there, and its put was refused"));
            } else {
                batches.insert((id.producer, id.first, id.last));
            }
        }
        let seen = round.seen.iter().filter(|(seq, _)| **seq < sight.next_seq).map(|(_, id)| *id);
        for id in seen.clone() {
            let refused = |batch: &&Batch| {
                batch.producer == id.producer && (batch.first..=batch.last).contains(&id.number)
            };
            if id.round == round.number && round.refused.iter().any(|batch| refused(&batch)) {
                self.find(format!("event {id} was taken, and its put was refused"));
            }
        }
        let known: HashSet<(u32, u64)> = seen
            .chain(sight.there.iter().map(|(_, id)| *id))
            .filter(|id| id.round == round.number)
            .map(|id| (id.producer, id.number))
            .collect();
        for (producer, first, last) in batches {
            let missing = (first..=last).find(|number| !known.contains(&(producer, *number)));
            if let Some(number) = missing {
                self.find(format!(
                    "half a put: of {producer}:{}:{first}-{last} there is no {number}",
                    round.number
                ));
            }
        }
    }

    /// A mark is the one of the last put that set it: never older than the last that was acknowledged, never of a put that is not there.
    fn check_marks(&mut self, round: &Round, sight: &Sight) {
        let mut due = self.marks.clone();
        for put in round.puts.iter().filter(|put| put.marked) {
            let mark = due.entry(put.batch.producer).or_default();
            *mark = (*mark).max((round.number, put.batch.last));
        }
        for (producer, due) in due {
            let mark = sight.marks.get(&producer).copied().unwrap_or_default();
            let is_put = |(_, id): (&u64, &Id)| id.producer == producer && id.place() == mark;
            let there = sight.there.iter().any(|(seq, id)| is_put((seq, id)));
            let of_an_unheard_put =
                mark > due && mark.0 == round.number && (there || round.seen.iter().any(is_put));
            if mark != due && !of_an_unheard_put {
                self.find(format!("the mark of producer {producer} is {mark:?}, not {due:?}"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u64) -> Id {
        Id { producer: 0, round: 1, number, first: number, last: number }
    }

    fn put(number: u64, lsn: u64) -> Said {
        let batch = Batch { producer: 0, first: number, last: number };
        Said::Put(Put { batch, seq: number - 1, lsn, durable: true, marked: false })
    }

    fn taking(taker: u32, numbers: &[u64]) -> Said {
        let runs = numbers.iter().map(|n| Run { seq: n - 1, count: 1, id: id(*n) });
        Said::Taking(taker, runs.collect())
    }

    fn heard(said: impl IntoIterator<Item = Said>) -> Record {
        let mut record = Record::default();
        record.begin(1);
        for said in said {
            record.hear(said);
        }
        record
    }

    fn sight(numbers: &[u64], next: u64, end: u64) -> Sight {
        Sight {
            end,
            next_seq: next - 1,
            events: numbers.len() as u64,
            there: numbers.iter().map(|number| (number - 1, id(*number))).collect(),
            ..Sight::default()
        }
    }

    fn judged(said: &[Said], sight: &Sight) -> Totals {
        let mut record = heard(said.iter().cloned());
        record.settle(sight, Loss::Nothing);
        let Totals { lost, out_of_order, doubled, doubled_uncommitted, others, .. } = record.totals;
        let counted = lost + out_of_order + (doubled - doubled_uncommitted) + others;
        assert_eq!(counted == 0, record.findings.is_empty(), "{:?}", record.findings);
        record.totals
    }

    #[test]
    fn what_was_acknowledged_must_be_there_or_taken() {
        let said = [put(1, 1), put(2, 2), put(3, 3), taking(0, &[1]), Said::Taken(0, 4, true)];
        assert_eq!(judged(&said, &sight(&[2, 3], 4, 4)).lost, 0);
        assert_eq!(judged(&said, &sight(&[2], 4, 4)).lost, 1);
        assert_eq!(judged(&said, &sight(&[3], 4, 4)).lost, 1);
        assert_eq!(judged(&said, &sight(&[2, 3], 4, 3)).others, 1, "the take is behind the end");
    }

    #[test]
    fn what_was_taken_must_not_come_again() {
        let said = [put(1, 1), put(2, 2), taking(0, &[1]), Said::Taken(0, 3, true)];
        let totals = judged(&said, &sight(&[1, 2], 3, 3));
        assert_eq!((totals.doubled, totals.doubled_uncommitted), (1, 0));
        let mut again = said.to_vec();
        again.push(taking(1, &[1]));
        let totals = judged(&again, &sight(&[2], 3, 3));
        assert_eq!((totals.doubled, totals.doubled_uncommitted), (1, 0));
    }

    #[test]
    fn what_was_rolled_back_may_come_again() {
        let said = [put(1, 1), taking(0, &[1]), Said::Back(0), taking(1, &[1])];
        let totals = judged(&said, &sight(&[1], 2, 1));
        assert_eq!((totals.doubled, totals.doubled_uncommitted), (1, 1));
    }

    #[test]
    fn an_unheard_take_is_whole() {
        let said = [put(1, 1), put(2, 2), taking(0, &[1, 2])];
        assert_eq!(judged(&said, &sight(&[], 3, 3)).lost, 0);
        assert_eq!(judged(&said, &sight(&[1, 2], 3, 2)).lost, 0);
        assert_eq!(judged(&said, &sight(&[2], 3, 3)).others, 1);
    }

    #[test]
    fn order_is_per_producer() {
        let there = |numbers: [u64; 2]| Sight {
            end: 2,
            next_seq: 2,
            events: 2,
            there: numbers.into_iter().zip(0..).map(|(number, seq)| (seq, id(number))).collect(),
            ..Sight::default()
        };
        assert_eq!(judged(&[], &there([1, 2])).out_of_order, 0);
        assert_eq!(judged(&[], &there([2, 1])).out_of_order, 1);
        assert_eq!(
            judged(&[put(1, 1), put(2, 2), taking(0, &[2, 1])], &there([1, 2])).out_of_order,
            1
        );
    }

    #[test]
    fn an_unheard_put_is_whole_and_was_not_refused() {
        let part = |number| Id { number, first: 1, last: 2, ..id(1) };
        let there = |numbers: &[u64]| Sight {
            end: 1,
            next_seq: 2,
            events: numbers.len() as u64,
            there: numbers.iter().map(|number| (number - 1, part(*number))).collect(),
            ..Sight::default()
        };
        assert_eq!(judged(&[], &there(&[1, 2])).others, 0);
        assert_eq!(judged(&[], &there(&[1])).others, 1);
        let refused = Said::Refused(Batch { producer: 0, first: 1, last: 2 }, "DiskFull".into());
        assert_eq!(judged(&[refused], &there(&[1, 2])).others, 2);
    }

    #[test]
    fn only_what_was_not_durable_may_be_lost_with_a_power_cut() {
        let written = |number, lsn| match put(number, lsn) {
            Said::Put(put) => Said::Put(Put { durable: false, ..put }),
            other => other,
        };
        let said = [written(1, 1), written(2, 2), Said::Synced(1)];
        let judged = |sight: &Sight| {
            let mut record = heard(said.iter().cloned());
            record.settle(sight, Loss::Unsynced);
            record.totals
        };
        let totals = judged(&sight(&[1], 2, 1));
        assert_eq!((totals.undone, totals.lost, totals.others), (1, 0, 0));
        let totals = judged(&sight(&[], 1, 0));
        assert_eq!((totals.lost, totals.others), (1, 1), "it was synced");
        let totals = judged(&sight(&[2], 3, 2));
        assert_eq!(totals.lost, 1, "not from the middle");
    }

    #[test]
    fn a_mark_is_the_one_of_the_last_put() {
        let marked = |number, lsn| match put(number, lsn) {
            Said::Put(put) => Said::Put(Put { marked: true, ..put }),
            other => other,
        };
        let with = |mark: u64| {
            let marks = BTreeMap::from([(0, (1, mark))]);
            Sight { marks, ..sight(&[1, 2, 3], 4, 3) }
        };
        let said = [marked(1, 1), marked(2, 2)];
        assert_eq!(judged(&said, &with(2)).others, 0);
        assert_eq!(judged(&said, &with(3)).others, 0, "of a put that nobody heard of");
        assert_eq!(judged(&said, &with(1)).others, 1);
        assert_eq!(judged(&said, &with(4)).others, 1);
    }
}
