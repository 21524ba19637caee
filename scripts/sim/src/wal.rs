//! A bare log on a simulated disk, driven through a history and held against a list of records.

use crate::{
    history::{Attempt, End, Ending, Fate, History, Leave, Plan, Step},
    model::{Check, Event, ensure},
    seen::Seen,
};
use fchannel::{
    CommitError, Committed, Durability, ErrorKind, Lsn, Ticket, Verdict, Wal, WalOptions,
    io::sim::{Fault, SimVfs},
};
use std::{path::Path, sync::Arc};

const HOME: &str = "/disk/wal";
const KIND: u8 = 7;

/// A record that was appended, with its place if that is known.
#[derive(Clone, Copy, Debug)]
struct Appended {
    event: Event,
    lsn: Option<u64>,
    write: u64,
}

/// What an open replayed, as far as it can be read.
type Replayed = Vec<(u64, Check<Event>)>;

/// All records ever, in the order of the log, and what is known about them.
#[derive(Default)]
struct Model {
    records: Vec<Appended>,
    /// Those before survive a power cut.
    durable: usize,
    /// Those before are acknowledged.
    acknowledged: usize,
    /// Records below this LSN may be gone.
    released: u64,
}

pub(crate) struct Log<'a> {
    history: &'a History,
    disk: SimVfs,
    model: Model,
    options: WalOptions,
    wal: Option<Wal>,
    pending: Vec<(Event, Option<Ticket>)>,
    ending: Option<Ending>,
    numbers: u64,
    errors: bool,
    power_lost: bool,
    opened_before: bool,
    /// The last writes to the disk are those of the model: nothing was opened since.
    current: bool,
    seen: &'a mut Seen,
}

impl<'a> Log<'a> {
    /// A log that went on in its reserve looks for room now and then.
    fn make_room(&self) {
        self.disk.set_full(false);
        self.disk.advance_ms(1_000);
    }

    pub(crate) fn new(history: &'a History, disk_salt: u64, seen: &'a mut Seen) -> Self {
        let disk = SimVfs::new(history.disk_seed ^ disk_salt);
        disk.set_restless();
        let options = WalOptions {
            durability: history.options.durability,
            segment_bytes_max: history.options.segment_bytes_max,
            ..WalOptions::default()
        };
        Self {
            history,
            disk,
            model: Model::default(),
            options,
            wal: None,
            pending: Vec::new(),
            ending: None,
            numbers: 0,
            errors: false,
            power_lost: false,
            opened_before: false,
            current: false,
            seen,
        }
    }

    pub(crate) fn disk(&self) -> &SimVfs {
        &self.disk
    }

    pub(crate) fn run(&mut self) -> Check {
        if let Some(Step::Plan { plan, ending }) = self.history.steps.first() {
            self.plan(*plan, ending);
        }
        self.try_open()?;
        for step in &self.history.steps {
            self.disk.note(|| format!("  {step:?}"));
            if self.wal.is_none() {
                self.end_by_crash()?;
            }
            self.step(step)?;
            self.look_at_disk()?;
            if self.disk.is_dead() || self.is_poisoned() {
                self.end_by_crash()?;
            }
        }
        self.finish()
    }

    fn is_poisoned(&self) -> bool {
        // A bare log says so when it is asked to sync, and does nothing else then.
        (self.errors || self.disk.has_capacity())
            && self.wal.as_ref().is_none_or(|wal| wal.sync().is_err())
    }

    fn plan(&mut self, plan: Plan, ending: &Ending) {
        self.disk.clear_plans();
        self.arm(plan);
        self.ending = Some(ending.clone());
    }

    fn arm(&mut self, plan: Plan) {
        match plan {
            Plan::Fault(after, fault) => {
                self.errors |= fault != Fault::Crash;
                self.disk.plan(self.disk.operations() + after, fault);
            }
            Plan::ReadError(after) => {
                self.errors = true;
                self.disk.plan_read_error(self.disk.reads() + after);
            }
        }
    }

    fn wal(&self) -> Check<&Wal> {
        self.wal.as_ref().ok_or_else(|| "a step without a log: a bug of the simulation".to_owned())
    }

    fn step(&mut self, step: &Step) -> Check {
        self.disk.set_phase("life of a bare log");
        match step {
            Step::Put { events, fate, .. } => self.append(events, *fate),
            Step::Lead | Step::Wait { .. } => self.wait(),
            Step::Take { events, .. } => self.release(u64::from(*events)),
            Step::Hold { .. } | Step::Checkpoint { .. } => self.read_all(),
            Step::Sync | Step::Tick { .. } => {
                let answer = self.wal()?.sync();
                self.allowed("a sync", answer)
            }
            Step::Room(room) => {
                self.lead_the_forgotten()?;
                match room {
                    Some(bytes) => self.disk.set_room(*bytes),
                    None => self.make_room(),
                }
                Ok(())
            }
            Step::Plan { plan, ending } => {
                self.lead_the_forgotten()?;
                if !self.disk.is_dead() {
                    self.plan(*plan, ending);
                }
                Ok(())
            }
            Step::Reopen { leave, attempts, .. } => {
                self.leave(*leave)?;
                self.reopen(attempts)
            }
            Step::Extend { .. } | Step::LetGo { .. } | Step::Capacity(_) => Ok(()),
        }
    }

    /// What becomes of a ticket that nobody holds can be told only while nothing goes wrong.
    fn lead_the_forgotten(&mut self) -> Check {
        let forgotten = self.pending.iter().any(|(_, ticket)| ticket.is_none());
        if forgotten { self.append(&[5], Fate::Commit) } else { Ok(()) }
    }

    fn allowed<T>(&self, call: &str, answer: fchannel::Result<T>) -> Check {
        let Err(error) = answer else { return Ok(()) };
        let kind =
            matches!(error.kind(), ErrorKind::Io | ErrorKind::DiskFull | ErrorKind::Poisoned);
        let reason = self.disk.is_dead() || self.errors || self.disk.has_capacity();
        ensure!(kind && reason, "{call} failed: {error:?}");
        Ok(())
    }

    fn append(&mut self, lens: &[u32], fate: Fate) -> Check {
        for (left, len) in (0..lens.len()).rev().zip(lens) {
            self.numbers += 1;
            let event = Event { number: self.numbers, len: *len };
            match fate {
                Fate::RollBack => {}
                Fate::Commit if left == 0 => {
                    let answer = self.wal()?.append(KIND, &event.payload());
                    self.answers(answer.is_ok())?;
                    self.answered(event, answer)?;
                }
                _ => {
                    let ticket = self.wal()?.submit(KIND, &event.payload());
                    let ticket = ticket.map_err(|error| format!("a submit failed: {error}"))?;
                    let forget =
                        fate == Fate::SubmitAndForget && !self.errors && !self.disk.has_capacity();
                    self.pending.push((event, (!forget).then_some(ticket)));
                }
            }
        }
        Ok(())
    }

    fn wait(&mut self) -> Check {
        let Some(at) = self.pending.iter().rposition(|(_, ticket)| ticket.is_some()) else {
            return Ok(());
        };
        let Some(ticket) = self.pending.get_mut(at).and_then(|(_, ticket)| ticket.take()) else {
            return Ok(());
        };
        let answer = ticket.wait();
        let rest = self.pending.split_off(at + 1);
        let last = self.pending.pop();
        self.answers(answer.is_ok())?;
        if let Some((event, _)) = last {
            self.answered(event, answer)?;
        }
        self.pending = rest;
        self.answers(false)
    }

    /// All that was submitted has been led: takes the answers. `well`: a commit behind them all went well.
    fn answers(&mut self, well: bool) -> Check {
        let pending = std::mem::take(&mut self.pending);
        let mut answers = Vec::new();
        for (event, ticket) in pending {
            // It is answered already: this does not lead.
            answers.push((event, ticket.map(Ticket::wait)));
        }
        let failed = self.disk.is_dead() || self.errors;
        let last_well = answers.iter().rposition(|(_, answer)| matches!(answer, Some(Ok(_))));
        for (at, (event, answer)) in answers.into_iter().enumerate() {
            match answer {
                Some(answer) => self.answered(event, answer)?,
                None if well || !failed || last_well.is_some_and(|last| last > at) => {
                    self.acknowledged(event, None)?;
                }
                None => self.unknown(event),
            }
        }
        Ok(())
    }

    fn answered(&mut self, event: Event, answer: Result<Committed, CommitError>) -> Check {
        match answer {
            Ok(committed) => {
                ensure!(
                    committed.durable || self.options.durability != Durability::EachCommit,
                    "acknowledged and not durable"
                );
                self.acknowledged(event, Some(committed.lsn.get()))
            }
            Err(CommitError::Unknown(_)) => {
                self.unknown(event);
                Ok(())
            }
            Err(CommitError::NotCommitted(error)) => self.allowed("an append", Err::<(), _>(error)),
            Err(other) => Err(format!("an answer of a kind that is new: {other}")),
        }
    }

    fn acknowledged(&mut self, event: Event, lsn: Option<u64>) -> Check {
        let model = &mut self.model;
        ensure!(
            model.acknowledged == model.records.len(),
            "acknowledged behind an append that is unknown"
        );
        let last = model.records.iter().rev().find_map(|record| record.lsn);
        ensure!(lsn.is_none() || last < lsn, "LSN {lsn:?} came after {last:?}");
        let write = self.disk.writes().last;
        model.records.push(Appended { event, lsn, write });
        model.acknowledged = model.records.len();
        self.seen.transactions += 1;
        Ok(())
    }

    fn unknown(&mut self, event: Event) {
        let write = self.disk.writes().last;
        self.model.records.push(Appended { event, lsn: None, write });
    }

    fn look_at_disk(&mut self) -> Check {
        // What a recovery writes says nothing of what it may not have found.
        if self.current {
            let durable = self.disk.writes().durable;
            let model = &mut self.model;
            let known = model.records.iter().take(model.acknowledged);
            let covered = known.take_while(|record| record.write <= durable).count();
            model.durable = model.durable.max(covered);
        }
        let complaints = self.disk.complaints();
        ensure!(complaints.is_empty(), "{}", complaints.join("; "));
        Ok(())
    }

    /// Releases all but the last few records.
    fn release(&mut self, keep: u64) -> Check {
        let model = &self.model;
        let at = model.acknowledged.saturating_sub(keep as usize);
        let Some(lsn) = model.records.get(at).and_then(|record| record.lsn) else { return Ok(()) };
        // It is released whatever the answer, if it is answered at all.
        self.model.released = self.model.released.max(lsn);
        let answer = self.wal()?.release_before(Lsn::new(lsn));
        self.answers(answer.is_ok())?;
        self.allowed("a release", answer.map_err(|error| error.error().clone()))
    }

    /// What can be read is what is there, in order.
    fn read_all(&mut self) -> Check {
        let mut found = Vec::new();
        for record in self.wal()?.iter(Lsn::default()) {
            match record {
                Ok(record) => found.push((record.lsn.get(), Event::read(&record.body)?)),
                Err(error) => return self.allowed("a read", Err::<(), _>(error)),
            }
        }
        self.compare(&found, self.model.acknowledged, self.model.acknowledged).map(drop)
    }

    /// What was found is the records from some that may be released on, up to one of `at_least..=at_most`. Answers that end.
    fn compare(&self, found: &[(u64, Event)], at_least: usize, at_most: usize) -> Check<usize> {
        let records = &self.model.records;
        // A release names a record whose place is known: what lies before that is released, also where nobody heard its place.
        let released = self.model.released;
        let kept = |record: &Appended| record.lsn.is_some_and(|lsn| lsn >= released);
        let below = |record: &Appended| record.lsn.is_some_and(|lsn| lsn < released);
        let must_begin = match records.iter().position(kept) {
            Some(first) if released > 0 => first,
            _ => records.iter().rposition(below).map_or(0, |last| last + 1),
        };
        let begin = match found.first() {
            Some((_, first)) => {
                let at = records.iter().position(|record| record.event == *first);
                at.ok_or_else(|| format!("record {first:?} is not there, and was found"))?
            }
            None => must_begin,
        };
        ensure!(
            begin <= must_begin,
            "records from {must_begin} to {begin} are gone, and not released"
        );
        let end = begin + found.len();
        for (record, (lsn, event)) in records.iter().skip(begin).zip(found) {
            ensure!(record.event == *event, "found {event:?}, expected {:?}", record.event);
            ensure!(
                record.lsn.is_none_or(|own| own == *lsn),
                "LSN {lsn}, expected {:?}",
                record.lsn
            );
        }
        ensure!(
            (at_least..=at_most).contains(&end) || (found.is_empty() && must_begin >= at_least),
            "found the records up to number {end}, expected {at_least} to {at_most}"
        );
        // Of what is released nobody can tell whether it was there.
        Ok(if found.is_empty() { at_least } else { end })
    }

    fn open(&mut self) -> fchannel::Result<(Wal, Replayed)> {
        self.disk.set_phase("open of a bare log");
        self.current = false;
        self.seen.opens += 1;
        let mut found = Vec::new();
        let vfs = Arc::new(self.disk.clone());
        let wal = Wal::open_on(vfs, Path::new(HOME), self.options.clone(), |lsn, kind, body| {
            let event = if kind == KIND { Event::read(body) } else { Err(format!("kind {kind}")) };
            found.push((lsn.get(), event));
            Ok(())
        })?;
        Ok((wal, found))
    }

    /// Opens, and compares what was replayed, unless the disk says no.
    fn try_open(&mut self) -> Check {
        match self.open() {
            Ok((wal, found)) if !self.disk.is_dead() => {
                let found: Check<Vec<_>> =
                    found.into_iter().map(|(lsn, event)| Ok((lsn, event?))).collect();
                let found = found?;
                let model = &self.model;
                let lost = self.power_lost;
                let at_least = if lost { model.durable } else { model.acknowledged };
                let end = self.compare(&found, at_least, model.records.len())?;
                let model = &mut self.model;
                model.records.truncate(end);
                for (record, (lsn, _)) in model.records.iter_mut().rev().zip(found.iter().rev()) {
                    record.lsn = Some(*lsn);
                }
                model.durable = model.records.len();
                model.acknowledged = model.records.len();
                let report = wal.recovery();
                self.seen.recovered(report);
                ensure!(
                    !(report.new && self.opened_before),
                    "a log that was there is reported as new"
                );
                ensure!(
                    matches!(report.verdict, Verdict::A | Verdict::B),
                    "it opens, and reports {}",
                    report.verdict
                );
                self.opened_before = true;
                self.current = true;
                self.power_lost = false;
                self.wal = Some(wal);
                Ok(())
            }
            Ok(_) => Ok(()),
            Err(error) => self.allowed("an open", Err::<(), _>(error)),
        }
    }

    fn die(&mut self, end: End) -> Check {
        self.seen.ends += u64::from(!self.disk.is_dead());
        self.disk.halt();
        self.pending.clear();
        drop(self.wal.take());
        match end {
            End::Kill => self.disk.kill(),
            End::PowerCut => self.disk.power_cut(),
        }
        self.power_lost |= end == End::PowerCut || self.errors;
        self.look_at_disk()
    }

    fn end_by_crash(&mut self) -> Check {
        let failed: Vec<_> = std::mem::take(&mut self.pending);
        let unheard = failed.into_iter().map(|(event, _)| event);
        unheard.for_each(|event| self.unknown(event));
        let ending =
            self.ending.take().unwrap_or(Ending { end: End::PowerCut, attempts: Vec::new() });
        self.seen.crashes += 1;
        self.die(ending.end)?;
        self.reopen(&ending.attempts)
    }

    fn leave(&mut self, leave: Leave) -> Check {
        let end = self.ending.take().map_or(End::Kill, |ending| ending.end);
        match leave {
            Leave::Kill => return self.die(End::Kill),
            Leave::PowerCut => return self.die(End::PowerCut),
            Leave::Close | Leave::Drop => {}
        }
        self.disk.set_phase("close of a bare log");
        if let Some(wal) = self.wal.take() {
            let mut answer = Ok(());
            if leave == Leave::Close {
                answer = wal.close();
            } else {
                drop(wal);
            }
            self.answers(false)?;
            self.allowed("a close", answer)?;
        }
        self.look_at_disk()?;
        if self.disk.is_dead() || self.errors { self.die(end) } else { Ok(()) }
    }

    fn reopen(&mut self, attempts: &[Attempt]) -> Check {
        for attempt in attempts {
            self.disk.clear_plans();
            self.arm(attempt.plan);
            self.seen.attempts += 1;
            self.try_open()?;
            self.die(attempt.end)?;
        }
        self.disk.clear_plans();
        self.ending = None;
        self.try_open()?;
        if self.wal.is_none() {
            ensure!(self.disk.has_capacity(), "it does not open again");
            self.make_room();
            self.errors = false;
            self.try_open()?;
        }
        self.errors = false;
        Ok(())
    }

    fn finish(&mut self) -> Check {
        self.disk.clear_plans();
        self.make_room();
        self.leave(Leave::Close)?;
        self.reopen(&[])?;
        self.read_all()?;
        // All is released, twice, so that the release itself is behind the place that counts.
        for _ in 0..3 {
            self.append(&[20], Fate::Commit)?;
            self.release(0)?;
            self.release(1)?;
        }
        self.leave(Leave::Close)?;
        self.reopen(&[])?;
        let segments = self
            .disk
            .paths()
            .iter()
            .filter(|path| path.to_string_lossy().contains("/seg-"))
            .count();
        ensure!(segments <= 3, "all is released, and {segments} segments are kept");
        Ok(())
    }
}
