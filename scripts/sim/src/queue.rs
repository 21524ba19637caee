//! A channel on a simulated disk, driven through a history and held against the model.

mod around;
mod disk;
mod life;
mod open;

use crate::{
    history::{Class, End, Ending, History, Step},
    model::{Check, Effect, Event, Floor, Model, Transaction, ensure},
    seen::Seen,
};
use fchannel::{
    Channel, CommitError, Committed, Durability, ErrorKind, Options, Quarantined, TakeSync,
    TakeTransaction, Ticket, io::sim::SimVfs,
};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    path::PathBuf,
};

/// A channel, what is known about it, and what befalls it.
pub(crate) struct Queue<'a> {
    pub(super) history: &'a History,
    pub(super) disk: SimVfs,
    pub(super) model: Model,
    pub(super) options: Options,
    pub(super) spare_dirs: VecDeque<PathBuf>,
    pub(super) life: Option<Life>,
    /// What follows when the world ends.
    pub(super) ending: Option<Ending>,
    pub(super) numbers: u64,
    /// An error of the disk is planned: calls may fail, and pages that nobody synced may be gone without a power cut.
    pub(super) errors: bool,
    /// The disk had a capacity since there was a reserve: a log that went on in it takes no puts until it has another.
    pub(super) short: bool,
    pub(super) opened_before: bool,
    /// The end of the log as the last open found it, if nothing was committed since.
    pub(super) idle_end: Option<u64>,
    /// What must be there at the next open.
    pub(super) floor: Floor,
    /// The last life ended by a close.
    pub(super) closed: bool,
    /// The newest segment when the checkpoints were made, the older one first; `None` while one may have failed.
    pub(super) checkpoints: (Option<u64>, Option<u64>),
    pub(super) checkpoint_file: Option<PathBuf>,
    /// For each event a segment that is not newer than its own.
    pub(super) homes: BTreeMap<u64, u64>,
    /// The newest segment before this step.
    pub(super) newest_segment: u64,
    /// It is a reserve.
    pub(super) in_reserve: bool,
    /// The last writes to the disk are those of the model: nothing was opened since.
    pub(super) current: bool,
    /// The damage that was set aside, and is not settled.
    pub(super) known: Vec<Quarantined>,
    /// The puts that a full disk refused, in order: they may lie in front of a segment whose head says that they are void.
    pub(super) refused: Vec<Effect>,
    pub(super) seen: &'a mut Seen,
}

/// What is in flight while a process lives.
pub(super) struct Life {
    pub(super) channel: Channel,
    pub(super) takes: Vec<TakeTransaction>,
    pub(super) pending: VecDeque<Pending>,
    /// Events in takers' hands, those of pending takes too.
    pub(super) leased: BTreeSet<u64>,
    pub(super) capacity: u64,
    pub(super) last_lsn: u64,
    /// Each directory had a reserve, and the disk was never full since.
    pub(super) reserve: bool,
    /// Each directory had both its reserves, once.
    pub(super) both_reserves: bool,
}

/// A transaction that is submitted and not answered.
pub(super) struct Pending {
    pub(super) effect: Effect,
    /// `None`: dropped.
    pub(super) ticket: Option<Ticket>,
    pub(super) woken: std::sync::Arc<life::Witness>,
}

impl<'a> Queue<'a> {
    pub(crate) fn new(history: &'a History, disk_salt: u64, seen: &'a mut Seen) -> Self {
        let disk = SimVfs::new(history.disk_seed ^ disk_salt);
        disk.set_restless();
        Self {
            history,
            disk,
            model: Model::default(),
            options: history.options.clone(),
            spare_dirs: history.spare_dirs.iter().cloned().collect(),
            life: None,
            ending: None,
            numbers: 0,
            errors: false,
            short: false,
            opened_before: false,
            idle_end: None,
            floor: Floor::Acknowledged,
            closed: false,
            checkpoints: (None, None),
            checkpoint_file: None,
            homes: BTreeMap::new(),
            newest_segment: 0,
            in_reserve: false,
            current: false,
            known: Vec::new(),
            refused: Vec::new(),
            seen,
        }
    }

    pub(crate) fn disk(&self) -> &SimVfs {
        &self.disk
    }

    /// Runs the whole history.
    pub(crate) fn run(&mut self) -> Check {
        // The first open may end like any other.
        let first = self.history.steps.first();
        if let Some(Step::Plan { plan, ending }) = first {
            self.plan(*plan, ending);
        }
        self.come_to_life()?;
        for step in &self.history.steps {
            self.disk.note(|| format!("  {step:?}"));
            self.before_step();
            self.step(step)?;
            self.after_step()?;
        }
        self.finish()
    }

    fn before_step(&mut self) {
        self.newest_segment = self.newest_segment();
        self.in_reserve = self.disk.has_capacity() && self.goes_on_in_a_reserve();
    }

    fn after_step(&mut self) -> Check {
        self.look_at_disk()?;
        let poisoned = self.life.as_ref().and_then(|life| life.channel.poisoned());
        if self.disk.is_dead() {
            return self.end_by_crash();
        }
        if let Some(poison) = poisoned {
            ensure!(
                self.errors || self.disk.has_capacity(),
                "it stopped itself for nothing: {poison}"
            );
            self.stays_poisoned(&poison)?;
            return self.end_by_crash();
        }
        self.compare_stats()
    }

    /// What the disk itself has to say.
    pub(super) fn look_at_disk(&mut self) -> Check {
        // What a recovery writes says nothing of what it may not have found.
        if self.current {
            let writes = self.disk.writes();
            self.model.written(writes.durable, writes.vouched);
        }
        let complaints = self.disk.complaints();
        ensure!(complaints.is_empty(), "{}", complaints.join("; "));
        Ok(())
    }

    /// The world has ended, or the log has stopped itself.
    fn end_by_crash(&mut self) -> Check {
        self.answers(true)?;
        let ending =
            self.ending.take().unwrap_or(Ending { end: End::PowerCut, attempts: Vec::new() });
        self.seen.crashes += 1;
        self.die(ending.end)?;
        self.reopen(&ending.attempts)
    }

    /// An answer, in the order of the commits.
    pub(super) fn answered(
        &mut self,
        effect: Effect,
        answer: Result<Committed, CommitError>,
    ) -> Check {
        let write = self.disk.writes().last;
        let transaction = Transaction { effect, write };
        match answer {
            Ok(committed) => {
                let rides = matches!(transaction.effect, Effect::Take { .. })
                    && self.options.take_sync != TakeSync::EachCommit;
                ensure!(
                    committed.durable || rides || self.options.durability != Durability::EachCommit,
                    "acknowledged and not durable"
                );
                self.check_place(&transaction.effect, committed)?;
                self.seen.transactions += 1;
                self.idle_end = None;
                self.model.acknowledge(transaction)
            }
            Err(CommitError::Unknown(error)) => {
                let poisoned =
                    self.life.as_ref().is_none_or(|life| life.channel.poisoned().is_some());
                ensure!(poisoned, "unknown, and the log goes on: {error}");
                self.idle_end = None;
                self.model.not_answered(transaction);
                Ok(())
            }
            Err(CommitError::NotCommitted(error)) => {
                self.check_refusal(&transaction.effect, &error)?;
                if error.kind() == &ErrorKind::DiskFull
                    && matches!(transaction.effect, Effect::Put { .. })
                {
                    self.refused.push(transaction.effect);
                }
                Ok(())
            }
            Err(other) => Err(format!("an answer of a kind that is new: {other}")),
        }
    }

    fn check_place(&mut self, effect: &Effect, committed: Committed) -> Check {
        let next_seq = self.model.live().next_seq;
        if let Some(life) = &mut self.life {
            ensure!(
                committed.lsn.get() > life.last_lsn,
                "LSN {} came after {}",
                committed.lsn,
                life.last_lsn
            );
            life.last_lsn = committed.lsn.get();
        }
        if let Effect::Put { events, .. } = effect {
            let in_reserve = self.in_reserve
                && self.newest_segment == self.newest_segment()
                && self.goes_on_in_a_reserve();
            ensure!(!in_reserve, "a put was written in the reserve of those who drain a full disk");
            ensure!(
                committed.events as usize == events.len(),
                "{} events put, {} acknowledged",
                events.len(),
                committed.events
            );
            let first = committed.first.map(fchannel::EventSeq::get);
            let expected = (!events.is_empty()).then_some(next_seq);
            for seq in next_seq..next_seq + events.len() as u64 {
                self.homes.insert(seq, self.newest_segment);
            }
            ensure!(first == expected, "put at {first:?}, expected {expected:?}");
        }
        Ok(())
    }

    fn check_refusal(&self, effect: &Effect, error: &fchannel::Error) -> Check {
        let dead = self.disk.is_dead();
        let allowed = match error.kind() {
            ErrorKind::Poisoned => dead || self.errors || self.disk.has_capacity(),
            ErrorKind::DiskFull => {
                let is_put = matches!(effect, Effect::Put { .. });
                // Takes wait for room only when the reserve that is theirs is used up: one spare is for an open.
                // One that an error left with its name, nobody counts on.
                let made = self.life.as_ref().is_some_and(|life| life.both_reserves);
                let there = self.data_dirs().iter().all(|dir| self.spares_in(dir) >= 2);
                let none_for_takes = !(made && there);
                (self.errors || self.short) && (is_put || none_for_takes)
            }
            _ => false,
        };
        ensure!(allowed || dead, "refused for nothing: {error}");
        Ok(())
    }

    /// After the first failure nothing is acknowledged, and every call says why.
    fn stays_poisoned(&mut self, poison: &fchannel::Error) -> Check {
        let Some(life) = &self.life else { return Ok(()) };
        let channel = &life.channel;
        let operations = self.disk.operations();
        let says_why = |error: Option<&fchannel::Error>, call: &str| {
            let why = error.is_some_and(|error| {
                error.kind() == &ErrorKind::Poisoned && error.what() == poison.what()
            });
            ensure!(why, "{call} of a log that stopped itself answers {error:?}, not {poison}");
            Ok(())
        };
        ensure!(poison.to_string().contains("First error"), "no first error in: {poison}");
        says_why(channel.put(b"x").err().as_ref().map(CommitError::error), "a put")?;
        let take = channel.begin_take(fchannel::TakeLimit::events(1));
        says_why(take.err().as_ref(), "a take")?;
        says_why(channel.checkpoint().err().as_ref(), "a checkpoint")?;
        says_why(channel.sync().err().as_ref(), "a sync")?;
        ensure!(!channel.lead_once(), "a log that stopped itself commits");
        ensure!(self.disk.operations() == operations, "a log that stopped itself writes");
        Ok(())
    }

    /// Which of the acknowledged transactions must be there after an end of this kind.
    pub(super) fn floor_of(&self, end: End) -> Floor {
        if end == End::PowerCut || self.errors { Floor::Durable } else { Floor::Acknowledged }
    }

    pub(super) fn new_events(&mut self, lens: &[u32]) -> Vec<Event> {
        lens.iter()
            .map(|len| {
                self.numbers += 1;
                Event { number: self.numbers, len: *len }
            })
            .collect()
    }

    /// Drains what is left, and looks whether the space comes back.
    fn finish(&mut self) -> Check {
        self.disk.clear_plans();
        self.ending = None;
        if self.history.class == Class::Damage {
            return self.damage();
        }
        if self.history.class == Class::Around {
            return self.go_around();
        }
        self.make_room();
        self.errors = false;
        // Whatever was planned may have poisoned it a moment ago: then a new life begins.
        let healthy = self.life.as_ref().is_some_and(|life| life.channel.poisoned().is_none());
        if !healthy {
            self.die(End::Kill)?;
            self.reopen(&[])?;
        }
        self.drain()?;
        self.space_came_back()?;
        self.close_and_reopen()
    }
}
