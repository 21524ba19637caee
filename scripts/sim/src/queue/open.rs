//! How lives end and begin, and what must be there then.

use super::{Life, Queue};
use crate::{
    history::{Attempt, Change, End, HOME, durability},
    model::{Check, Event, Floor, Fold, ensure},
};
use fchannel::{
    Channel, ErrorKind, Inspector, OnDamage, RecoveryReport, Severity, TakeLimit, Verdict, Verify,
    io::sim::Trouble,
};
use std::{
    collections::{BTreeSet, VecDeque},
    path::{Path, PathBuf},
    sync::Arc,
};

impl Queue<'_> {
    pub(super) fn open(&mut self) -> fchannel::Result<Channel> {
        self.disk.set_phase("open");
        self.current = false;
        self.seen.opens += 1;
        Channel::open_on(Arc::new(self.disk.clone()), Path::new(HOME), self.options.clone())
    }

    /// The first open of all.
    pub(super) fn come_to_life(&mut self) -> Check {
        match self.open() {
            Ok(channel) if !self.disk.is_dead() && channel.poisoned().is_none() => {
                self.begin_life(channel, Floor::Acknowledged)
            }
            Ok(channel) => {
                drop(channel);
                self.give_up_open()
            }
            Err(error) => {
                self.allowed("the first open", Err::<(), _>(error))?;
                self.give_up_open()
            }
        }
    }

    fn give_up_open(&mut self) -> Check {
        let ending = self.ending.take();
        let (end, attempts) = ending.map_or((End::PowerCut, Vec::new()), |e| (e.end, e.attempts));
        self.seen.crashes += 1;
        self.die(end)?;
        self.reopen(&attempts)
    }

    /// The process or the machine ends here, whatever is in flight.
    pub(super) fn die(&mut self, end: End) -> Check {
        self.look_at_disk()?;
        let was_dead = self.disk.is_dead();
        self.disk.halt();
        if let Some(mut life) = self.life.take() {
            for pending in life.pending.drain(..) {
                // What was never led is nowhere. What a failure has answered was taken note of.
                pending.woken.leave();
            }
            drop(life);
        }
        self.disk.clear_interrupt();
        self.seen.ends += u64::from(!was_dead);
        match end {
            End::Kill => self.disk.kill(),
            End::PowerCut => self.disk.power_cut(),
        }
        let floor = self.floor_of(end);
        self.floor = self.floor.max(floor);
        self.look_at_disk()
    }

    /// The process ends by itself: what was submitted is finished first.
    pub(super) fn leave_in_order(&mut self, close: bool, end: End) -> Check {
        self.look_at_disk()?;
        let Some(mut life) = self.life.take() else { return Ok(()) };
        life.pending.iter().for_each(|pending| pending.woken.leave());
        let mut answer = Ok(());
        if close {
            answer = life.channel.close();
            self.closed = answer.is_ok();
        } else {
            // The last handle finishes what waits.
            life.takes.clear();
            drop(life.channel);
        }
        let failed = self.disk.is_dead() || self.errors || self.disk.has_capacity();
        let answers: Vec<_> = life.pending.iter_mut().map(super::Pending::answer).collect();
        let last_well = answers.iter().rposition(|answer| matches!(answer, Some(Ok(_))));
        for (at, (pending, answer)) in life.pending.into_iter().zip(answers).enumerate() {
            let well = !failed || last_well.is_some_and(|last| last > at);
            match answer {
                Some(answer) => self.answered(pending.effect, answer)?,
                None if pending.ticket.is_none() && well => {
                    self.acknowledged_unheard(pending.effect)?;
                }
                None if pending.ticket.is_none() => self.nobody_knows(pending.effect),
                None if failed => {}
                None => return Err("the end of a channel left a ticket without an answer".into()),
            }
        }
        self.allowed("a close", answer)?;
        drop(life.takes);
        let half_made = self.half_made();
        // What could not be removed stays till the next open.
        let excuse = failed || self.failed([Trouble::NameError, Trouble::NoSpace]) > 0;
        ensure!(half_made.is_empty() || excuse, "a channel ended, and left {half_made:?}");
        self.look_at_disk()?;
        if self.disk.is_dead() || self.errors {
            self.closed = false;
            self.seen.crashes += 1;
            return self.die(end);
        }
        Ok(())
    }

    pub(super) fn change(&mut self, changes: &[Change]) {
        for change in changes {
            let options = &mut self.options;
            match *change {
                Change::Capacity(events) => options.capacity_events = events,
                Change::Durability(interval) => options.durability = durability(interval),
                Change::TailCache(bytes) => options.tail_cache_bytes = bytes,
                Change::SegmentBytes(bytes) => options.segment_bytes_max = bytes,
                Change::CheckpointOnClose(close) => options.checkpoint_on_close = close,
                Change::DirectoryJoins => {
                    if let Some(dir) = self.spare_dirs.pop_front() {
                        if options.data_dirs.is_empty() {
                            options.data_dirs.push(PathBuf::from(HOME));
                        }
                        options.data_dirs.push(dir);
                    }
                }
            }
        }
    }

    /// Opens again, perhaps after attempts that something befalls.
    pub(super) fn reopen(&mut self, attempts: &[Attempt]) -> Check {
        let segments = self.segment_files().len();
        for attempt in attempts {
            self.inspect()?;
            self.disk.clear_plans();
            self.arm(attempt.plan);
            self.seen.attempts += 1;
            match self.open() {
                Ok(channel) if !self.disk.is_dead() && channel.poisoned().is_none() => {
                    // It was spared, or nothing but its checkpoint failed.
                    self.begin_life(channel, self.floor)?;
                }
                Ok(channel) => drop(channel),
                Err(error) => {
                    let kind = matches!(
                        error.kind(),
                        ErrorKind::Io | ErrorKind::Poisoned | ErrorKind::DiskFull
                    );
                    ensure!(kind, "an open in which the disk failed says {error:?}");
                    let reason = self.disk.is_dead() || self.errors || self.disk.has_capacity();
                    ensure!(reason, "an open failed for nothing: {error:?}");
                }
            }
            self.closed = false;
            self.idle_end = None;
            self.die(attempt.end)?;
        }
        if attempts.len() > 2 {
            // What an attempt leaves behind, the next one takes over.
            let now = self.segment_files().len();
            ensure!(
                now <= segments + 2,
                "{} attempts left {now} segments, from {segments}",
                attempts.len()
            );
        }
        self.inspect()?;
        self.disk.clear_plans();
        self.ending = None;
        let channel = self.open_well()?;
        self.errors = false;
        self.begin_life(channel, self.floor)
    }

    /// An open that must succeed, but for a disk without a byte and without a reserve.
    fn open_well(&mut self) -> Check<Channel> {
        let enough = self.reserve_is_enough();
        match self.open() {
            Ok(channel) => Ok(channel),
            Err(error) if error.kind() == &ErrorKind::DiskFull && self.disk.has_capacity() => {
                ensure!(
                    !enough,
                    "it does not open on a full disk, though it has a reserve: {error:?}"
                );
                self.disk.set_full(false);
                self.open().map_err(|error| format!("it does not open again: {error:?}"))
            }
            Err(error) if self.disk.has_capacity() => {
                // The last bytes went to something else: a manifest of a directory that joins, say.
                self.disk.set_full(false);
                let again = self.open();
                again.map_err(|again| format!("it does not open again: {again:?}, after {error:?}"))
            }
            Err(error) => Err(format!("it does not open again: {error:?}")),
        }
    }

    fn begin_life(&mut self, channel: Channel, floor: Floor) -> Check {
        self.seen.recovered(channel.recovery());
        self.check_report(channel.recovery())?;
        // A planned error may hide it, once.
        let found = match self.state_of(&channel)? {
            None => self.state_of(&channel)?,
            found => found,
        };
        self.model.settle(floor, &found.ok_or("an error of the disk came twice")?)?;
        for (seq, _) in &self.model.live().owed {
            self.homes.entry(*seq).or_default();
        }
        self.floor = Floor::Acknowledged;
        self.opened_before = true;
        self.current = true;
        self.life = Some(Life {
            capacity: self.options.capacity_events,
            last_lsn: channel.recovery().end.get(),
            channel,
            takes: Vec::new(),
            pending: VecDeque::new(),
            leased: BTreeSet::new(),
            reserve: false,
            both_reserves: false,
        });
        self.compare_stats()?;
        let checkpoint =
            self.life.as_ref().is_some_and(|life| life.channel.recovery().warnings.is_empty());
        self.check_files_after_open(checkpoint)
    }

    fn check_report(&mut self, report: &RecoveryReport) -> Check {
        ensure!(!(report.new && self.opened_before), "a log that was there is reported as new");
        ensure!(report.damages.is_empty(), "damage where there is none: {:?}", report.damages);
        ensure!(
            report.quarantined == self.known,
            "it tells of {:?}, and {:?} is set aside",
            report.quarantined,
            self.known
        );
        let excuse = self.errors || self.disk.has_capacity();
        ensure!(
            report.images_passed_over.is_empty() || excuse,
            "checkpoints passed over: {:?}",
            report.images_passed_over
        );
        ensure!(report.warnings.is_empty() || excuse, "warnings: {:?}", report.warnings);
        ensure!(
            matches!(report.verdict, Verdict::A | Verdict::B),
            "it opens, and reports {}",
            report.verdict
        );
        // A full disk has no room for the frame that vouches for the last one.
        if std::mem::take(&mut self.closed) && !self.short {
            ensure!(
                report.verdict == Verdict::A && report.frames_rewritten <= 2,
                "after a close: {}, {} frames written anew",
                report.verdict,
                report.frames_rewritten
            );
            let end = report.end.get();
            if let Some(before) = self.idle_end {
                ensure!(end <= before, "the log grew from {before} to {end} by opens and closes");
            } else {
                self.idle_end = Some(end);
            }
        } else {
            self.idle_end = None;
        }
        Ok(())
    }

    /// What the channel holds; `None` if a planned error hid it.
    pub(super) fn state_of(&mut self, channel: &Channel) -> Check<Option<Fold>> {
        let stats = channel.stats();
        let everything = TakeLimit { events: u32::MAX, bytes: u64::MAX };
        let records = match channel.peek(None, everything) {
            Ok(records) => records,
            Err(error) if error.kind() == &ErrorKind::Io && self.errors => return Ok(None),
            Err(error) => return Err(format!("what is owed cannot be read: {error:?}")),
        };
        ensure!(
            records.len() as u64 == stats.events,
            "{} events are owed, {} can be read",
            stats.events,
            records.len()
        );
        let mut found = Fold { next_seq: stats.next_seq.get(), ..Fold::default() };
        for record in &records {
            found.owed.push_back((record.seq.get(), Event::read(&record.payload)?));
        }
        for (key, value) in channel.marks() {
            let (Some(key), Ok(value)) = (key.first(), value[..].try_into()) else {
                return Err("a mark that nobody set".into());
            };
            found.marks.insert(*key, u64::from_le_bytes(value));
        }
        Ok(Some(found))
    }

    /// The tool that looks at a directory finds no damage where there is none.
    fn inspect(&mut self) -> Check {
        // Behind a damage it compares images with a replay that lacks what was lost.
        let sound = self.options.on_damage == OnDamage::Refuse;
        if !self.opened_before || !sound || !self.disk.operations().is_multiple_of(4) {
            return Ok(());
        }
        let vfs = Arc::new(self.disk.clone());
        let inspector = Inspector::open_on(vfs, Path::new(HOME));
        let inspector =
            inspector.map_err(|error| format!("inspect does not open it: {error:?}"))?;
        let verified = inspector.verify(Verify::default(), |_| {});
        let verified = verified.map_err(|error| format!("inspect verify failed: {error:?}"))?;
        for finding in &verified.findings {
            ensure!(
                finding.severity < Severity::Error,
                "inspect finds damage where there is none: {finding:?}"
            );
            if finding.verdict == Some(Verdict::D) {
                self.seen.verdict(Verdict::D);
            }
        }
        Ok(())
    }
}
