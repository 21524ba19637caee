//! Damage that is gone around: what lies outside of it comes, in order and once; what lies in it is named, and told at each start.

use super::{
    Queue,
    disk::{Hit, Outcome},
};
use crate::{
    history::{Damage, DamageKind, End, HOME, Leave, Step},
    model::{Check, Event, Floor, Fold, Model, Recent, ensure, refused_events},
};
use fchannel::{
    Channel, Durability, ErrorKind, EventRow, FrameRow, Inspector, OnDamage, Options, Position,
    Quarantined, TakeLimit, TakeSync, Which,
    io::sim::{Fault, Rng, SimVfs},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    ops::{ControlFlow, Range},
    path::{Path, PathBuf},
    sync::Arc,
};

/// So many crashes may come, one after the other, before the channel is left alone.
const CRASHES_MAX: u64 = 4;

/// What is known of a log before it is damaged.
struct Before {
    /// What it holds.
    state: Fold,
    /// All events that can be read, taken ones too.
    events: BTreeMap<u64, Event>,
    frames: Vec<Frame>,
    /// What was set aside, and is not settled.
    known: Vec<Quarantined>,
    /// What was done since the last checkpoint. Where the head of a segment is gone nobody can tell where its torn end began: a frame that
    /// is whole behind that counts, though its commit was not answered (under `Interval`: though the power took one before it). Nobody was
    /// told that it is void.
    recent: Recent,
    /// What was put and refused for want of room. It may lie in front of the newest segment, whose head says that it is void.
    refused: BTreeMap<u64, Event>,
}

/// A frame of a put or a take.
struct Frame {
    file: String,
    bytes: Range<u64>,
    puts: Range<u64>,
    takes: Vec<Range<u64>>,
    marks: bool,
}

/// What came of it.
struct Came {
    /// Events whose take was acknowledged, and those whose take may be durable.
    events: BTreeSet<u64>,
    channel: Channel,
}

impl Before {
    fn look(disk: &SimVfs) -> Check<Self> {
        let failed = |error: fchannel::Error| format!("inspect failed: {error:?}");
        let inspector =
            Inspector::open_on(Arc::new(disk.clone()), Path::new(HOME)).map_err(failed)?;
        let (mut frames, mut events) = (Vec::new(), BTreeMap::new());
        let (mut wrong, mut holes) = (Ok(()), 0);
        let all = (Position::Oldest, Position::Newest);
        inspector
            .frames(all.0, all.1, |row| {
                let FrameRow::Frame(frame) = row else {
                    holes += 1;
                    return ControlFlow::Continue(());
                };
                let from = frame.ptr.offset;
                let takes = frame.taken().unwrap_or_default().into_iter();
                frames.push(Frame {
                    file: format!("seg-{}", frame.ptr.segment),
                    bytes: from..from + FRAME_HEADER_BYTES + frame.body.len() as u64,
                    puts: frame.first.get()..frame.first.get() + u64::from(frame.events),
                    takes: takes.map(|(first, end)| first.get()..end.get()).collect(),
                    marks: frame.marks().is_ok_and(|marks| !marks.is_empty()),
                });
                ControlFlow::Continue(())
            })
            .map_err(failed)?;
        inspector
            .events(Which::Any, all.0, all.1, |row| {
                if let EventRow::Event(event) = row {
                    match Event::read(&event.payload) {
                        Ok(read) => drop(events.insert(event.seq.get(), read)),
                        Err(what) => wrong = Err(what),
                    }
                }
                ControlFlow::Continue(())
            })
            .map_err(failed)?;
        wrong?;
        let known = inspector.quarantined().to_vec();
        ensure!(holes <= known.len(), "inspect finds {holes} holes, and {} are known", known.len());
        let recent = Recent::default();
        let refused = BTreeMap::new();
        Ok(Self { state: Fold::default(), events, frames, known, recent, refused })
    }

    fn damaged(&self, hit: Option<&Hit>) -> impl Iterator<Item = &Frame> {
        let hit = hit.cloned();
        self.frames.iter().filter(move |frame| {
            hit.as_ref().is_some_and(|hit| {
                hit.path.ends_with(&frame.file)
                    && hit.bytes.start < frame.bytes.end
                    && frame.bytes.start < hit.bytes.end
            })
        })
    }
}

const FRAME_HEADER_BYTES: u64 = 64;

fn named(record: &Quarantined) -> Range<u64> {
    record.events.0.get()..record.events.1.get()
}

fn is_in(ranges: &[Range<u64>], seq: u64) -> bool {
    ranges.iter().any(|range| range.contains(&seq))
}

impl Queue<'_> {
    /// One or two damages, and a life behind each.
    pub(super) fn go_around(&mut self) -> Check {
        for (number, damage) in self.history.damage.iter().enumerate() {
            if number > 0 {
                self.disk.note(|| "  some steps between two damages".to_owned());
                self.live_on()?;
            }
            if !self.around(*damage)? {
                return Ok(());
            }
        }
        self.drain()?;
        self.space_came_back()?;
        self.close_and_reopen()
    }

    fn live_on(&mut self) -> Check {
        let calm =
            |step: &&Step| !matches!(step, Step::Plan { .. } | Step::Room(_) | Step::Reopen { .. });
        for step in self.history.steps.iter().filter(calm).take(12) {
            self.before_step();
            self.step(step)?;
            self.after_step()?;
        }
        Ok(())
    }

    /// False if the log is not there any more, and says so.
    fn around(&mut self, damage: Damage) -> Check<bool> {
        let idle = self.is_idle();
        self.end_before(damage)?;
        let closed = std::mem::take(&mut self.closed);
        self.errors = false;
        let mut before = Before::look(&self.disk)?;
        before.state = self.state_of_copy()?;
        before.recent = self.model.since_checkpoint_at_most();
        before.refused = refused_events(&self.refused).map(|event| (event.number, event)).collect();
        self.model.settle(self.floor, &before.state)?;
        let Some(must) = self.hurt(damage, closed || idle) else {
            self.reopen(&[])?;
            return Ok(true);
        };
        let kind = format!("{:?}", damage.kind);
        let mut options = self.options.clone();
        options.on_damage = OnDamage::Quarantine;
        let gone = Gone {
            before: &before,
            hit: must.hit.as_ref(),
            early: must.floor > Floor::Acknowledged,
            content: must.hit.as_ref().and_then(|hit| self.disk.content(&hit.path)),
            options: &options,
            kind: &kind,
        };
        let mut rng = Rng::new(damage.pick ^ damage.at);
        // A disk may not be mounted: no option makes that an empty channel.
        let no_segment = self.segment_files().is_empty();
        // As a crash before the first segment leaves it.
        let as_if_new = no_segment && before.known.is_empty() && self.only_manifests_are_left();
        let absent =
            matches!(damage.kind, DamageKind::RemoveManifest | DamageKind::DirectoryAbsent);
        if absent || no_segment {
            let files = self.snapshot();
            match gone.open(&self.disk) {
                Err(error) => {
                    ensure!(error.kind() == &ErrorKind::NotAChannel, "{kind}: {error:?}");
                    ensure!(self.snapshot() == files, "refused, and something was changed");
                    self.seen.refused(&error);
                    self.count(&kind, "not gone around: refused");
                    return Ok(false);
                }
                Ok(channel) => {
                    ensure!(must.outcome != Outcome::Refused, "{kind} went unnoticed");
                    ensure!(!no_segment || as_if_new, "without a segment it is no log");
                    ensure!(!as_if_new || channel.recovery().new, "it does not say that it is new");
                    drop(channel);
                    self.disk.kill();
                }
            }
        }
        // In each operation of the open, at times.
        if rng.chance(12) {
            for at in 1.. {
                let copy = self.disk.copy();
                copy.set_phase("going around");
                copy.plan(copy.operations() + at, Fault::Crash);
                drop(gone.open(&copy));
                let crashed = copy.is_dead();
                // A kill, and then a power cut: what the open between them saw must not vanish.
                end(&copy, if rng.chance(70) { End::Kill } else { End::PowerCut });
                gone.check(&copy, &mut rng, 1, false)?;
                self.seen.tally.add(&copy.tally());
                self.seen.attempts += 1;
                if !crashed {
                    break;
                }
            }
        }
        self.disk.set_phase("going around");
        let lives = rng.below(CRASHES_MAX + 1);
        let (came, outcome) = gone.check(&self.disk, &mut rng, lives, true)?;
        self.count(&kind, outcome);
        self.settle_down(came, options, &mut rng)?;
        Ok(true)
    }

    fn end_before(&mut self, damage: Damage) -> Check {
        self.disk.set_full(false);
        let well = damage.at.is_multiple_of(3) && self.life.is_some() && !self.errors;
        if well {
            self.leave(Leave::Close)?;
        }
        // What only the page cache holds is not there to be damaged: a power cut in what follows would take it.
        if self.life.is_some() || !self.closed {
            return self.die(End::PowerCut);
        }
        // A close syncs the newest segment; what a kill left in an older one was written anew since, and no sync came for the old bytes.
        end(&self.disk, End::PowerCut);
        Ok(())
    }

    /// What the log holds while it is sound.
    fn state_of_copy(&mut self) -> Check<Fold> {
        let copy = Arc::new(self.disk.copy());
        let channel = Channel::open_on(copy, Path::new(HOME), self.options.clone())
            .map_err(|error| format!("it does not open again: {error:?}"))?;
        let found = channel.recovery().damages.len();
        ensure!(found == 0, "{found} damages are found, and there are none");
        self.state_of(&channel)?.ok_or_else(|| "an error of a disk that is well".to_owned())
    }

    /// All came: puts go on, and the next open finds nothing new.
    fn settle_down(&mut self, came: Came, options: Options, rng: &mut Rng) -> Check {
        let Came { channel, .. } = came;
        self.options = options;
        for _ in 0..1 + rng.below(3) {
            let event = self.new_events(&[rng.below(3_000) as u32])[0];
            channel.put(&event.payload()).map_err(|error| format!("puts do not go on: {error}"))?;
        }
        if rng.chance(30)
            && let Some(one) = channel.quarantined().first()
        {
            channel.settle(one.id).map_err(|error| format!("it cannot be settled: {error}"))?;
        }
        // Under `Interval` the power would take what was put just now, and gap frames: what they gave up would be owed again.
        channel.sync().map_err(|error| format!("a sync failed: {error}"))?;
        self.known = channel.quarantined();
        let state = self.state_of(&channel)?.ok_or("an error of a disk that is well")?;
        ensure!(channel.stats().used == state.owed.len() as u64, "room is lost with the events");
        self.model = Model::at(state);
        (self.floor, self.homes, self.checkpoints) =
            (Floor::Acknowledged, BTreeMap::new(), (None, None));
        self.idle_end = None;
        if rng.chance(50) {
            channel.close().map_err(|error| format!("a close failed: {error}"))?;
        } else {
            drop(channel);
        }
        end(&self.disk, if rng.chance(50) { End::Kill } else { End::PowerCut });
        self.disk.clear_plans();
        self.reopen(&[])
    }
}

fn end(disk: &SimVfs, end: End) {
    disk.halt();
    match end {
        End::Kill => disk.kill(),
        End::PowerCut => disk.power_cut(),
    }
}

/// A damaged log, and what must come of it.
struct Gone<'a> {
    before: &'a Before,
    hit: Option<&'a Hit>,
    /// The log may end at the damage without a word: nothing vouches for what was there.
    early: bool,
    /// The damaged file.
    content: Option<Vec<u8>>,
    options: &'a Options,
    kind: &'a str,
}

impl Gone<'_> {
    fn open(&self, disk: &SimVfs) -> fchannel::Result<Channel> {
        Channel::open_on(Arc::new(disk.clone()), Path::new(HOME), self.options.clone())
    }

    /// Opens and takes all, in the last of several lives that all end in a crash: in their midst, or when all is taken. Holds what came
    /// against what was there.
    fn check(
        &self,
        disk: &SimVfs,
        rng: &mut Rng,
        lives: u64,
        in_their_midst: bool,
    ) -> Check<(Came, &'static str)> {
        let mut acknowledged = BTreeSet::new();
        let mut perhaps = BTreeSet::new();
        let mut told: Vec<Quarantined> = Vec::new();
        for life in 0..=lives {
            disk.clear_plans();
            if life < lives && in_their_midst && rng.chance(80) {
                disk.plan(disk.operations() + 1 + rng.below(45), Fault::Crash);
            }
            match self.open(disk) {
                Ok(channel) => {
                    if !disk.is_dead() {
                        self.check_told(&channel, &mut told)?;
                    }
                    self.take_all(disk, &channel, rng, &mut acknowledged, &mut perhaps)?;
                    if life == lives {
                        let events = acknowledged.union(&perhaps).copied().collect();
                        let came = Came { events, channel };
                        let outcome = self.compare(disk, &came)?;
                        return Ok((came, outcome));
                    }
                }
                Err(_) if disk.is_dead() => {}
                Err(error) => {
                    return Err(format!("{} keeps the channel shut: {error:?}", self.kind));
                }
            }
            let kill = in_their_midst && rng.chance(50);
            let how = if kill { End::Kill } else { End::PowerCut };
            // Where takes need no sync the power takes back what was acknowledged in this life, or before it.
            let unsynced = self.options.durability != Durability::EachCommit
                || self.options.take_sync != TakeSync::EachCommit;
            if how == End::PowerCut && unsynced {
                perhaps.append(&mut acknowledged);
            }
            end(disk, how);
        }
        Err("no life was left: a bug of the simulation".to_owned())
    }

    /// What is told stays told, and each damage is news once.
    fn check_told(&self, channel: &Channel, told: &mut Vec<Quarantined>) -> Check {
        let report = channel.recovery();
        let all = &report.quarantined;
        ensure!(all.starts_with(told), "{}: it told of {told:?}, and now of {all:?}", self.kind);
        ensure!(
            all.starts_with(&self.before.known),
            "known was {:?}, and now it tells of {all:?}",
            self.before.known
        );
        for new in &report.damages {
            ensure!(!told.contains(new), "the same damage is found twice: {new:?}");
            ensure!(all.contains(new), "a damage was found, and is not set aside: {new:?}");
        }
        told.clone_from(&channel.quarantined());
        Ok(())
    }

    /// What may have come from behind a torn end.
    fn behind_a_torn_end(&self) -> Option<&Recent> {
        let head_gone = self.hit.is_some_and(|hit| hit.bytes.start < FRAME_HEADER_BYTES);
        head_gone.then_some(&self.before.recent)
    }

    fn was_put_behind_a_torn_end(&self, seq: u64, event: Event) -> bool {
        !self.before.events.contains_key(&seq)
            && self.behind_a_torn_end().is_some_and(|recent| {
                recent.puts.get(&seq) == Some(&event)
                    || self.before.refused.get(&event.number) == Some(&event)
            })
    }

    fn take_all(
        &self,
        disk: &SimVfs,
        channel: &Channel,
        rng: &mut Rng,
        acknowledged: &mut BTreeSet<u64>,
        perhaps: &mut BTreeSet<u64>,
    ) -> Check {
        let mut last = None;
        loop {
            let take = match channel.begin_take(TakeLimit::events(1 + rng.below(8) as u32)) {
                Ok(take) => take,
                Err(_) if disk.is_dead() => return Ok(()),
                Err(error) => return Err(format!("{}: a take failed: {error:?}", self.kind)),
            };
            let mut seqs = Vec::new();
            for record in take.records() {
                let (seq, event) = (record.seq.get(), Event::read(&record.payload)?);
                ensure!(last < Some(seq), "event {seq} came after {last:?}");
                last = Some(seq);
                let was = self.before.events.get(&seq);
                ensure!(
                    was == Some(&event) || self.was_put_behind_a_torn_end(seq, event),
                    "event {seq} is {event:?}, and was {was:?}"
                );
                ensure!(!acknowledged.contains(&seq), "event {seq} came again");
                seqs.push(seq);
            }
            if seqs.is_empty() {
                return Ok(());
            }
            if rng.chance(15) {
                drop(take);
                last = None;
                continue;
            }
            match take.commit() {
                Ok(_) => acknowledged.extend(seqs),
                Err(_) if disk.is_dead() => {
                    perhaps.extend(seqs);
                    return Ok(());
                }
                Err(error) => return Err(format!("{}: a take failed: {error}", self.kind)),
            }
        }
    }

    fn compare(&self, disk: &SimVfs, came: &Came) -> Check<&'static str> {
        let (kind, channel) = (self.kind, &came.channel);
        let stats = channel.stats();
        ensure!(
            (stats.events, stats.used, stats.leased) == (0, 0, 0),
            "{kind}: nothing can be taken any more, and it says {} events, {} used, {} leased",
            stats.events,
            stats.used,
            stats.leased
        );
        let records = channel.quarantined();
        let new = records.get(self.before.known.len()..).unwrap_or_default();
        let owed: BTreeSet<u64> = self.before.state.owed.iter().map(|(seq, _)| *seq).collect();
        let damaged: Vec<&Frame> = self.before.damaged(self.hit).collect();
        let puts: Vec<Range<u64>> = damaged.iter().map(|frame| frame.puts.clone()).collect();
        let takes: Vec<Range<u64>> =
            damaged.iter().flat_map(|frame| frame.takes.iter().cloned()).collect();
        let names: Vec<Range<u64>> = new.iter().map(named).collect();
        let taken =
            |seq: &&u64| self.behind_a_torn_end().is_some_and(|recent| recent.takes.contains(*seq));
        let lost: Vec<u64> =
            owed.difference(&came.events).filter(|seq| !taken(seq)).copied().collect();
        let again: Vec<u64> = came.events.difference(&owed).copied().collect();
        let sound: Vec<u64> = lost.iter().copied().filter(|seq| !is_in(&puts, *seq)).collect();
        ensure!(sound.is_empty(), "{kind}: events {sound:?} are sound, and did not come: {new:?}");
        let silent: Vec<u64> = lost.iter().copied().filter(|seq| !is_in(&names, *seq)).collect();
        ensure!(
            silent.is_empty() || self.early,
            "{kind}: events {silent:?} are lost in silence: {new:?}"
        );
        let twice: Vec<u64> = again
            .iter()
            .copied()
            .filter(|seq| !is_in(&takes, *seq) && self.before.events.contains_key(seq))
            .collect();
        ensure!(twice.is_empty(), "{kind}: events {twice:?} came again for nothing: {new:?}");
        let too_many: Vec<u64> = owed
            .iter()
            .copied()
            .filter(|seq| is_in(&names, *seq) && came.events.contains(seq))
            .collect();
        ensure!(
            too_many.is_empty(),
            "{kind}: events {too_many:?} came, and are named as lost: {new:?}"
        );
        let next = self.before.state.next_seq;
        ensure!(
            stats.next_seq.get() == next
                || !puts.is_empty()
                || came.events.iter().any(|seq| !self.before.events.contains_key(seq)),
            "{kind}: the next event is {}, and was {next}",
            stats.next_seq
        );
        let marks = channel.marks();
        let newer = self.behind_a_torn_end().is_some_and(|recent| recent.marks);
        if damaged.iter().all(|frame| !frame.marks) && !newer {
            let same = self.before.state.marks.iter().all(|(key, value)| {
                marks.iter().any(|(k, v)| k[..] == [*key] && v[..] == value.to_le_bytes())
            });
            ensure!(same, "{kind}: marks are lost, and lay elsewhere");
        }
        let mut numbers = BTreeSet::new();
        ensure!(
            records.iter().all(|record| numbers.insert(record.id)),
            "a number was given twice: {records:?}"
        );
        self.check_copies(disk, new)?;
        Ok(match (lost.is_empty(), again.is_empty()) {
            (true, true) if new.is_empty() => "gone around: nothing to tell",
            (true, true) => "gone around: nothing lost",
            (true, false) => "gone around: some came again",
            (false, _) if silent.is_empty() => "gone around: some lost and named",
            (false, _) => "gone around: the end was lost, and nobody vouched for it",
        })
    }

    /// What was damaged was copied before it could go.
    fn check_copies(&self, disk: &SimVfs, new: &[Quarantined]) -> Check {
        let (Some(hit), Some(content)) = (self.hit, &self.content) else { return Ok(()) };
        let inspector = Inspector::open_on(Arc::new(disk.clone()), Path::new(HOME))
            .map_err(|error| format!("inspect failed: {error:?}"))?;
        for record in new.iter().filter(|record| record.file == hit.path) {
            let raw = inspector
                .quarantined_bytes(record)
                .map_err(|error| format!("the copy cannot be read: {error:?}"))?;
            let from = record.at.offset as usize;
            let end = record.next.filter(|next| next.segment == record.at.segment);
            let end = end.map_or(content.len(), |next| next.offset as usize).min(content.len());
            let some =
                content.get(from..end).is_some_and(|bytes| bytes.iter().any(|byte| *byte != 0));
            ensure!(
                !(some && raw.is_empty()),
                "{}: nothing is kept of damage {}: {record:?}",
                self.kind,
                record.id
            );
            if record.bytes == 0 {
                continue;
            }
            let was = content.get(from..from + record.bytes as usize);
            ensure!(
                was == Some(&raw[..]),
                "{}: the copy of damage {} is not what was damaged: {} bytes, it says {}",
                self.kind,
                record.id,
                raw.len(),
                record.bytes
            );
        }
        Ok(())
    }
}

impl Hit {
    pub(super) fn of(path: &Path, bytes: Range<u64>) -> Option<Self> {
        Some(Self { path: PathBuf::from(path), bytes })
    }
}
