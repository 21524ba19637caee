//! What lies on the disk: space that comes back, and damage that is told.

use super::Queue;
use crate::{
    history::{Damage, DamageKind, End, HOME, Leave},
    model::{Check, Event, Floor, ensure},
};
use fchannel::{ErrorKind, TakeLimit, Verdict, io::sim::Trouble};
use std::{
    ops::Range,
    path::{Path, PathBuf},
};

fn is(path: &Path, kind: &str) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(kind))
}

fn number(path: &Path) -> u64 {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    name.rsplit('-').next().and_then(|digits| digits.parse().ok()).unwrap_or_default()
}

impl Queue<'_> {
    fn files(&self, kind: &str) -> Vec<PathBuf> {
        let mut files: Vec<PathBuf> = self
            .disk
            .paths()
            .into_iter()
            .filter(|path| is(path, kind) && !is_temporary(path) && !is_set_aside(path))
            .collect();
        files.sort_by_key(|path| number(path));
        files
    }

    /// How often the disk failed so.
    pub(super) fn failed<const N: usize>(&self, troubles: [Trouble; N]) -> u64 {
        let counts = self.disk.tally().troubles;
        troubles.iter().filter_map(|trouble| counts.get(trouble)).sum()
    }

    pub(super) fn half_made(&self) -> Vec<PathBuf> {
        self.disk.paths().into_iter().filter(|path| is_temporary(path)).collect()
    }

    pub(super) fn only_manifests_are_left(&self) -> bool {
        self.disk.paths().iter().all(|path| is(path, "manifest") || is_temporary(path))
    }

    /// Oldest first.
    pub(super) fn segment_files(&self) -> Vec<PathBuf> {
        self.files("seg-")
    }

    pub(super) fn data_dirs(&self) -> Vec<PathBuf> {
        match self.options.data_dirs.as_slice() {
            [] => vec![PathBuf::from(HOME)],
            dirs => dirs.to_vec(),
        }
    }

    pub(super) fn every_directory_has_spares(&self, count: usize) -> bool {
        self.data_dirs().iter().all(|dir| self.spares_in(dir) >= count)
    }

    pub(super) fn spares_in(&self, dir: &Path) -> usize {
        self.files("spare-").iter().filter(|spare| spare.parent() == Some(dir)).count()
    }

    /// Where puts go there is a reserve missing, though there were all: it is in use.
    pub(super) fn goes_on_in_a_reserve(&self) -> bool {
        let both = self.life.as_ref().is_some_and(|life| life.both_reserves) && !self.errors;
        let newest = self.segment_files().pop();
        both && newest.is_some_and(|path| path.parent().is_some_and(|dir| self.spares_in(dir) < 2))
    }

    /// What a full disk needs to be opened: a spare in each directory that takes the head of a segment and what is written anew.
    pub(super) fn reserve_is_enough(&self) -> bool {
        const IMAGE_BYTES_MAX: u64 = 8_192;
        let head = self.disk.unvouched_bytes() + IMAGE_BYTES_MAX;
        let spares = self.files("spare-").into_iter();
        let large: Vec<PathBuf> =
            spares.filter(|spare| self.disk.len(spare).is_some_and(|len| len >= head)).collect();
        self.data_dirs().iter().all(|dir| large.iter().any(|spare| spare.parent() == Some(dir)))
    }

    pub(super) fn compare_stats(&mut self) -> Check {
        let used = self.used();
        let Some(life) = &self.life else { return Ok(()) };
        let (stats, live) = (life.channel.stats(), self.model.live());
        ensure!(
            stats.events == live.owed.len() as u64 && stats.next_seq.get() == live.next_seq,
            "it says {} events and next {}, expected {} and {}",
            stats.events,
            stats.next_seq,
            live.owed.len(),
            live.next_seq
        );
        ensure!(stats.used == used, "{} credits are used, expected {used}", stats.used);
        ensure!(
            stats.leased == life.leased.len() as u64,
            "{} events are leased, expected {}",
            stats.leased,
            life.leased.len()
        );
        ensure!(stats.capacity == life.capacity, "the capacity is {}", stats.capacity);
        ensure!(
            !life.reserve || self.errors || self.every_directory_has_spares(1),
            "the reserve is gone, though the disk was not full"
        );
        Ok(())
    }

    /// After a checkpoint there are two, and not more (rule K4).
    pub(super) fn check_checkpoints(&self) -> Check {
        let files = self.files("checkpoint-");
        ensure!(files.len() <= 2 || self.errors, "{} checkpoints are kept: {files:?}", files.len());
        Ok(())
    }

    pub(super) fn check_files_after_open(&mut self, report_says_so: bool) -> Check {
        let excuse = self.errors || self.disk.has_capacity();
        let temporary = self.half_made();
        ensure!(temporary.len() <= 1 || excuse, "half-made files stay: {temporary:?}");
        if !excuse {
            self.check_checkpoints()?;
        }
        // An open makes one, whatever was there (rule S3).
        self.checkpoint_file = None;
        self.made_checkpoint(report_says_so && !excuse)
    }

    pub(super) fn newest_checkpoint(&self) -> Option<PathBuf> {
        self.files("checkpoint-").pop()
    }

    pub(super) fn newest_segment(&self) -> u64 {
        self.segment_files().last().map_or(0, |path| number(path))
    }

    /// A checkpoint gives back the segments before the older one of two, unless they hold what is owed (rules S1, S3).
    pub(super) fn made_checkpoint(&mut self, well: bool) -> Check {
        let file = self.newest_checkpoint();
        if well && file == self.checkpoint_file {
            return Ok(());
        }
        self.checkpoint_file = file;
        let (_, newest) = self.checkpoints;
        self.checkpoints = (newest, well.then(|| self.newest_segment()));
        let (Some(older), true) = (newest, well) else { return Ok(()) };
        let owed = self.model.live().owed.front();
        let home = owed.map_or(u64::MAX, |(seq, _)| self.homes.get(seq).copied().unwrap_or(0));
        let oldest = self.segment_files().first().map_or(0, |path| number(path));
        ensure!(
            oldest >= older.min(home) || self.errors,
            "segment {oldest} is kept: the older checkpoint needs {older}, what is owed needs {home}"
        );
        Ok(())
    }

    /// Takes all, in order, each once.
    pub(super) fn drain(&mut self) -> Check {
        let life = self.life()?;
        life.takes.clear();
        let channel = life.channel.clone();
        while channel.lead_once() {}
        self.answers(true)?;
        self.life()?.leased.clear();
        while !self.model.live().owed.is_empty() {
            let Some(take) = self.begin(u32::MAX)? else { return Err("nothing to take".into()) };
            ensure!(!take.records().is_empty(), "events are owed, and none can be taken");
            self.end_take(take, crate::history::Fate::Commit)?;
        }
        self.compare_stats()
    }

    /// Of a queue that is empty, and has two checkpoints since, little is left on the disk.
    pub(super) fn space_came_back(&mut self) -> Check {
        for _ in 0..2 {
            let channel = self.channel()?;
            let committed = channel.begin_put();
            drop(committed);
            self.step(&crate::history::Step::Put {
                events: vec![10],
                mark: None,
                fate: crate::history::Fate::Commit,
            })?;
            self.step(&crate::history::Step::Take {
                events: 9,
                keep: None,
                fate: crate::history::Fate::Commit,
            })?;
            self.step(&crate::history::Step::Checkpoint { meanwhile: None })?;
        }
        let segments = self.segment_files();
        ensure!(
            segments.len() <= 2,
            "an empty queue keeps {} segments after two checkpoints: {segments:?}",
            segments.len()
        );
        // What a crash left too many goes when the background thread looks after the reserves.
        self.step(&crate::history::Step::Tick { ms: 1000 })?;
        let spares = self.files("spare-");
        // Two reserves, and two to write the next segments over.
        let most = 4 * self.data_dirs().len();
        // A reserve whose last step failed is there, and nobody knows of it till the next open.
        let failed = self.failed([Trouble::DirSyncError, Trouble::NameError, Trouble::NoSpace]);
        ensure!(spares.len() as u64 <= most as u64 + failed, "{} spares are kept", spares.len());
        Ok(())
    }

    pub(super) fn close_and_reopen(&mut self) -> Check {
        for _ in 0..2 {
            self.leave(Leave::Close)?;
            self.reopen(&[])?;
        }
        Ok(())
    }

    /// One thing on the disk changes while nobody uses it. It is refused, or told by who reads it, or all is there.
    pub(super) fn damage(&mut self) -> Check {
        let Some(damage) = self.history.damage.first().copied() else { return Ok(()) };
        let idle = self.is_idle();
        self.disk.set_full(false);
        let ended_well = damage.at.is_multiple_of(3) && self.life.is_some() && !self.errors;
        match damage.at % 3 {
            0 if ended_well => self.leave(Leave::Close)?,
            1 => self.die(End::PowerCut)?,
            _ => self.die(End::Kill)?,
        }
        let closed = std::mem::take(&mut self.closed);
        self.errors = false;
        let Some(must) = self.hurt(damage, closed || idle) else {
            return self.reopen(&[]);
        };
        let before = self.snapshot();
        let kind = format!("{:?}", damage.kind);
        match self.open() {
            Err(error) => {
                let told = matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::NotAChannel);
                ensure!(told, "damage is told as {error:?}");
                ensure!(error.file().is_some(), "damage without a place: {error}");
                ensure!(must.outcome != Outcome::Opens, "{kind} stopped an open: {error:?}");
                ensure!(self.snapshot() == before, "an open was refused, and changed something");
                self.seen.refused(&error);
                self.count(&kind, "refused");
                Ok(())
            }
            Ok(channel) => {
                ensure!(must.outcome != Outcome::Refused, "{kind} went unnoticed");
                self.seen.recovered(channel.recovery());
                match self.state_or_damage(&channel)? {
                    Some(found) => {
                        let floor = self.floor.max(must.floor);
                        if floor == Floor::Checkpoint
                            && self.model.holds_refused(&self.refused, &found)
                        {
                            // With the newest segment went what says that the end of the one before it was refused: a known limit.
                            self.count(&kind, "what was refused is there");
                            return Ok(());
                        }
                        self.model.settle(floor, &found)?;
                        self.count(&kind, "harmless");
                        self.check_checkpoints()
                    }
                    None => {
                        self.seen.verdict(Verdict::H);
                        self.count(&kind, "told by who reads it");
                        self.take_up_to_the_damage(&channel)
                    }
                }
            }
        }
    }

    pub(super) fn count(&mut self, kind: &str, outcome: &str) {
        *self.seen.damages.entry(format!("{kind}: {outcome}")).or_default() += 1;
    }

    pub(super) fn snapshot(&self) -> Vec<(PathBuf, Option<Vec<u8>>)> {
        let files = self.disk.paths().into_iter();
        files.map(|path| (path.clone(), self.disk.content(&path))).collect()
    }

    /// What the channel holds; `None` if who reads it is told of damage.
    fn state_or_damage(
        &mut self,
        channel: &fchannel::Channel,
    ) -> Check<Option<crate::model::Fold>> {
        match channel.peek(None, TakeLimit { events: u32::MAX, bytes: u64::MAX }) {
            Err(error) if error.kind() == &ErrorKind::Corrupt => {
                ensure!(error.file().is_some(), "damage without a place: {error}");
                Ok(None)
            }
            _ => self.state_of(channel),
        }
    }

    /// What lies before the damage comes, in order, as it was put; then the error.
    fn take_up_to_the_damage(&mut self, channel: &fchannel::Channel) -> Check {
        let mut last = None;
        for _ in 0..100_000 {
            match channel.begin_take(TakeLimit::events(1)) {
                Ok(take) => {
                    let Some(record) = take.records().first() else {
                        return Err("the damage is gone: all was taken".into());
                    };
                    let event = Event::read(&record.payload)?;
                    let seq = record.seq.get();
                    ensure!(last < Some(seq), "event {seq} came after {last:?}");
                    let known = self.model.knows(seq, event);
                    ensure!(known, "event {seq} is not what was put: {event:?}");
                    last = Some(seq);
                    take.commit().map_err(|error| format!("a take failed: {error}"))?;
                }
                Err(error) => {
                    ensure!(error.kind() == &ErrorKind::Corrupt, "damage is told as {error:?}");
                    return Ok(());
                }
            }
        }
        Err("takes without an end".into())
    }

    /// The log has written a witness for all that this life committed, in a block of its own.
    pub(super) fn is_idle(&self) -> bool {
        self.model.is_vouched() && !self.disk.has_capacity() && !self.errors
    }

    /// Does the damage; answers what must come of it, `None` if there was nothing to damage.
    pub(super) fn hurt(&mut self, damage: Damage, witnessed: bool) -> Option<Must> {
        let Damage { kind, pick, at } = Damage { at: damage.at / 3, ..damage };
        let any = |files: &[PathBuf]| {
            (pick as usize).checked_rem(files.len()).and_then(|at| files.get(at).cloned())
        };
        let is_newest =
            |path: &Path| self.segment_files().last().is_some_and(|newest| newest == path);
        let all_there = || Must { outcome: Outcome::Any, floor: Floor::Acknowledged, hit: None };
        match kind {
            DamageKind::FlipInSegment | DamageKind::BlockOfSegment => {
                let path = any(&self.segment_files())?;
                let len = self.disk.len(&path)?;
                let size = if kind == DamageKind::FlipInSegment { 1 } else { 4096 };
                // Half of them in the last bytes that mean something.
                let used =
                    self.disk.content(&path)?.iter().rposition(|byte| *byte != 0)? as u64 + 1;
                let from = if at.is_multiple_of(2) { used.saturating_sub(9_000) } else { 0 };
                let offset = (from + (at / 2) % (used - from).max(1)) / size * size;
                // A close and an idle log leave a witness in a block of its own. Else a block may hold a group and its witness.
                let floor = match self.disk.is_unvouched(&path, offset, size) {
                    true if witnessed => Floor::Acknowledged,
                    true if size > 1 => Floor::Checkpoint,
                    true => Floor::Vouched,
                    false => Floor::Acknowledged,
                };
                if size == 1 {
                    self.disk.flip(&path, offset * 8 + at % 8);
                } else {
                    self.disk.lose_block(&path, offset, size.min(len - offset));
                }
                // Where the log may end early, it ends with all that follows.
                let end = if floor == Floor::Acknowledged { offset + size } else { u64::MAX };
                Some(Must { floor, hit: Hit::of(&path, offset..end), ..all_there() })
            }
            DamageKind::FlipInNewestCheckpoint => {
                let path = self.newest_checkpoint()?;
                self.disk.flip(&path, at % (8 * self.disk.len(&path)?));
                Some(Must { outcome: Outcome::Opens, ..all_there() })
            }
            DamageKind::RemoveNewestCheckpoint => {
                self.disk.delete(&self.newest_checkpoint()?);
                Some(Must { outcome: Outcome::Opens, ..all_there() })
            }
            DamageKind::FlipInManifest => {
                let path = any(&self.files("manifest"))?;
                self.disk.flip(&path, at % (8 * self.disk.len(&path)?));
                Some(Must { outcome: Outcome::Refused, ..all_there() })
            }
            DamageKind::RemoveManifest => {
                self.disk.delete(&any(&self.files("manifest"))?);
                Some(all_there())
            }
            DamageKind::FlipInSpare => {
                let path = any(&self.files("spare-"))?;
                self.disk.flip(&path, at % (8 * self.disk.len(&path)?));
                Some(Must { outcome: Outcome::Opens, ..all_there() })
            }
            DamageKind::CutSegment | DamageKind::RemoveSegment => {
                let path = any(&self.segment_files())?;
                let floor = if is_newest(&path) { Floor::Checkpoint } else { Floor::Acknowledged };
                let len = if kind == DamageKind::CutSegment {
                    let len = at % self.disk.len(&path)?;
                    self.disk.cut(&path, len);
                    len
                } else {
                    self.disk.delete(&path);
                    0
                };
                Some(Must { floor, hit: Hit::of(&path, len..u64::MAX), ..all_there() })
            }
            DamageKind::DirectoryAbsent => {
                let dirs = self.data_dirs();
                if dirs.len() < 2 && dirs.iter().any(|dir| dir == Path::new(HOME)) {
                    return None;
                }
                self.disk.unmount(&any(&dirs)?);
                Some(Must { outcome: Outcome::Refused, ..all_there() })
            }
        }
    }
}

/// What must come of damage.
pub(super) struct Must {
    pub(super) outcome: Outcome,
    pub(super) floor: Floor,
    /// The part of a segment that is not what it was.
    pub(super) hit: Option<Hit>,
}

/// Bytes of a segment.
#[derive(Clone)]
pub(super) struct Hit {
    pub(super) path: PathBuf,
    pub(super) bytes: Range<u64>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It is refused.
    Refused,
    /// It opens.
    Opens,
    /// Either, but never with less than there was.
    Any,
}

fn is_temporary(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "tmp")
}

/// A file that could not be read at all, under the name that it got.
fn is_set_aside(path: &Path) -> bool {
    path.to_string_lossy().contains(".damage-")
}
