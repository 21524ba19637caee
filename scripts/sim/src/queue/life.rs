//! What a living channel is asked, and what it must answer.

use super::{Life, Pending, Queue};
use crate::{
    history::{End, Ending, Fate, HOME, Leave, Meanwhile, Plan, Step, TRANSACTION_EVENTS_MAX},
    model::{Check, Effect, Event, Transaction, ensure},
};
use fchannel::{
    Channel, CommitError, Committed, ErrorKind, FrameRow, Inspector, Position, PutError,
    PutTransaction, TakeLimit, TakeTransaction, io::sim::Fault,
};
use std::{
    future::Future,
    ops::ControlFlow,
    path::Path,
    pin::{Pin, pin},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Wake, Waker},
};

/// Looks at the channel in the moment when a ticket is answered: acknowledged means visible.
#[derive(Default)]
pub(crate) struct Witness(Mutex<Watch>);

#[derive(Default)]
struct Watch {
    channel: Option<Channel>,
    next_seq: Option<u64>,
}

impl Witness {
    fn watch(&self) -> MutexGuard<'_, Watch> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A clone of the channel keeps it open.
    pub(super) fn leave(&self) {
        let channel = self.watch().channel.take();
        drop(channel);
    }
}

impl Wake for Witness {
    fn wake(self: Arc<Self>) {
        let mut watch = self.watch();
        watch.next_seq = watch.channel.as_ref().map(|channel| channel.stats().next_seq.get());
    }
}

fn poll<F: Future + ?Sized>(future: Pin<&mut F>, waker: &Waker) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(waker))
}

type Answer = Result<Committed, CommitError>;
/// What another thread did while a checkpoint was written.
type Done = Arc<Mutex<Option<(Effect, Answer)>>>;

fn seqs(take: &TakeTransaction) -> Vec<u64> {
    take.records().iter().map(|record| record.seq.get()).collect()
}

fn put_of(channel: &Channel, events: &[Event], mark: Option<(u8, u64)>) -> Check<PutTransaction> {
    let mut put = channel.begin_put();
    for event in events {
        put.push(&event.payload()).map_err(|error| format!("a push failed: {error}"))?;
    }
    if let Some((key, value)) = mark {
        let set = put.set_mark(&[key], &value.to_le_bytes());
        set.map_err(|error| format!("a mark failed: {error}"))?;
    }
    Ok(put)
}

/// An idle log vouches for its last group after so long.
const IDLE_MS: u64 = 50;

impl Pending {
    pub(super) fn answer(&mut self) -> Option<Answer> {
        match poll(Pin::new(self.ticket.as_mut()?), Waker::noop()) {
            Poll::Ready(answer) => Some(answer),
            Poll::Pending => None,
        }
    }
}

impl Queue<'_> {
    pub(super) fn step(&mut self, step: &Step) -> Check {
        self.disk.set_phase("life");
        match step {
            Step::Put { events, mark, fate } => self.put(events, *mark, *fate),
            Step::Take { events, keep, fate } => self.take(*events, *keep, *fate),
            Step::Hold { events } => {
                if let Some(take) = self.begin(*events)? {
                    self.life()?.takes.push(take);
                }
                Ok(())
            }
            Step::Extend { which, events } => self.extend(*which, *events),
            Step::LetGo { which, fate } => match self.pick(*which)? {
                Some(take) => self.end_take(take, *fate),
                None => Ok(()),
            },
            Step::Lead => self.lead(),
            Step::Wait { which } => self.wait(*which),
            Step::Checkpoint { meanwhile } => self.checkpoint(meanwhile.as_ref()),
            Step::Sync => {
                let answer = self.channel()?.sync();
                self.allowed("a sync", answer)
            }
            Step::Tick { ms } => self.tick(*ms),
            Step::Capacity(events) => {
                self.channel()?.set_capacity(*events);
                self.options.capacity_events = *events;
                self.life()?.capacity = *events;
                Ok(())
            }
            Step::Room(room) => {
                self.short |= room.is_some();
                self.lead_the_forgotten()?;
                self.life()?.reserve = false;
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
            Step::Reopen { leave, attempts, changes } => {
                self.leave(*leave)?;
                self.change(changes);
                self.reopen(attempts)
            }
        }
    }

    pub(super) fn plan(&mut self, plan: Plan, ending: &Ending) {
        self.disk.clear_plans();
        self.arm(plan);
        self.ending = Some(ending.clone());
    }

    pub(super) fn arm(&mut self, plan: Plan) {
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

    pub(super) fn life(&mut self) -> Check<&mut Life> {
        self.life
            .as_mut()
            .ok_or_else(|| "a step without a life: a bug of the simulation".to_owned())
    }

    pub(super) fn channel(&mut self) -> Check<Channel> {
        Ok(self.life()?.channel.clone())
    }

    /// A call may fail when something was planned, or the disk is full.
    pub(super) fn allowed<T>(&self, call: &str, answer: fchannel::Result<T>) -> Check {
        let Err(error) = answer else { return Ok(()) };
        let kind =
            matches!(error.kind(), ErrorKind::Io | ErrorKind::DiskFull | ErrorKind::Poisoned);
        let reason = self.disk.is_dead() || self.errors || self.disk.has_capacity();
        ensure!(kind && reason, "{call} failed: {error:?}");
        Ok(())
    }

    /// Events owed or being committed.
    pub(super) fn used(&self) -> u64 {
        let pending = self.life.iter().flat_map(|life| &life.pending);
        let pending = pending.map(|pending| match &pending.effect {
            Effect::Put { events, .. } => events.len() as u64,
            Effect::Take { .. } => 0,
        });
        self.model.live().owed.len() as u64 + pending.sum::<u64>()
    }

    /// The newest segment has no frames yet: its head vouches for all before it.
    fn ends_with_a_head(&self) -> Check<bool> {
        let failed = |error: fchannel::Error| format!("inspect failed: {error:?}");
        let disk = Arc::new(self.disk.clone());
        let inspector = Inspector::open_on(disk, Path::new(HOME)).map_err(failed)?;
        let mut last = String::new();
        let look = |row| {
            if let FrameRow::Frame(frame) = row {
                last = frame.kind();
            }
            ControlFlow::Continue(())
        };
        inspector.frames(Position::Oldest, Position::Newest, look).map_err(failed)?;
        Ok(last == "image")
    }

    fn tick(&mut self, ms: u64) -> Check {
        self.disk.advance_ms(ms);
        if !self.half_made().is_empty() {
            self.disk.set_phase("ahead");
        }
        let answer = self.channel()?.tick();
        let well = answer.is_ok();
        // It says not whether it made a checkpoint: what that covers counts as not covered, which asks for less.
        self.allowed("a tick", answer)?;
        if well && !self.disk.has_capacity() && !self.errors {
            self.look_at_disk()?;
            let without = self.model.without_witness();
            ensure!(
                ms < IDLE_MS || without == 0 || self.ends_with_a_head()?,
                "the log was idle for {ms} ms, and nothing vouches for its last {without} transactions"
            );
            let both = self.every_directory_has_spares(2);
            let life = self.life()?;
            (life.reserve, life.both_reserves) = (true, both);
            self.short = false;
        }
        Ok(())
    }

    fn put(&mut self, lens: &[u32], mark: Option<u8>, fate: Fate) -> Check {
        let channel = self.channel()?;
        let events = self.new_events(lens);
        let mark = mark.map(|key| {
            self.numbers += 1;
            (key, self.numbers)
        });
        let put = put_of(&channel, &events, mark)?;
        match fate {
            Fate::RollBack => {
                drop(put);
                Ok(())
            }
            Fate::Commit => self.commit_put(put, Effect::Put { events, mark }),
            Fate::Submit | Fate::SubmitAndForget => {
                self.submit_put(&channel, put, Effect::Put { events, mark }, fate)
            }
        }
    }

    fn fits(&self, count: u64) -> bool {
        let capacity = self.life.as_ref().map_or(0, |life| life.capacity);
        count == 0 || self.used() + count <= capacity
    }

    fn commit_put(&mut self, put: PutTransaction, effect: Effect) -> Check {
        let Effect::Put { events, mark } = &effect else { return Ok(()) };
        let (count, empty) = (events.len() as u64, events.is_empty() && mark.is_none());
        let fits = self.fits(count);
        let answer = put.commit();
        match answer {
            Err(PutError::Full(put)) => {
                ensure!(!fits, "full, with room for {count}");
                ensure!(u64::from(put.len()) == count, "a put came back with {} events", put.len());
                Ok(())
            }
            Ok(_) if empty => Ok(()),
            Ok(committed) => {
                ensure!(fits, "{count} events passed the capacity");
                self.answers_before(true)?;
                self.answered(effect, Ok(committed))
            }
            Err(PutError::Commit(error)) => {
                self.answers(true)?;
                self.answered(effect, Err(error))
            }
            Err(other) => Err(format!("an answer of a kind that is new: {other}")),
        }
    }

    fn submit_put(
        &mut self,
        channel: &Channel,
        put: PutTransaction,
        effect: Effect,
        fate: Fate,
    ) -> Check {
        let Effect::Put { events, mark } = &effect else { return Ok(()) };
        let (count, empty) = (events.len() as u64, events.is_empty() && mark.is_none());
        let (fits, poisoned) = (self.fits(count), channel.poisoned().is_some());
        let room = match poll(pin!(channel.reserve(count as u32)), Waker::noop()) {
            Poll::Ready(Ok(room)) => Some(room),
            Poll::Ready(Err(error)) => {
                let too_large =
                    error.kind() == &ErrorKind::TooLarge && count > self.life()?.capacity;
                ensure!(too_large || poisoned, "no room: {error}");
                None
            }
            Poll::Pending => None,
        };
        ensure!(
            room.is_some() == fits || poisoned,
            "room for {count}: {}, expected {fits}",
            room.is_some()
        );
        let Some(room) = room else { return Ok(()) };
        match put.submit(room) {
            Ok(_) if empty => Ok(()),
            Ok(ticket) => self.pend(effect, ticket, fate),
            Err(error) => self.answered(effect, Err(error)),
        }
    }

    fn pend(&mut self, effect: Effect, mut ticket: fchannel::Ticket, fate: Fate) -> Check {
        // What is put without an event leaves no trace that would tell its fate; and a full disk refuses some and not others.
        let traceless = matches!(&effect, Effect::Put { events, .. } if events.is_empty());
        let tells = !traceless && !self.disk.has_capacity() && !self.errors;
        let woken: Arc<Witness> = Arc::default();
        woken.watch().channel = Some(self.channel()?);
        let first = poll(Pin::new(&mut ticket), &Waker::from(Arc::clone(&woken)));
        ensure!(
            first.is_pending() || self.life()?.channel.poisoned().is_some(),
            "a ticket is answered before anybody led"
        );
        let ticket = (fate != Fate::SubmitAndForget || !tells).then_some(ticket);
        self.life()?.pending.push_back(Pending { effect, ticket, woken });
        Ok(())
    }

    /// As many bytes as one likes; a look at the free space serves the engine for a while.
    pub(super) fn make_room(&self) {
        self.disk.set_full(false);
        self.disk.advance_ms(1_000);
    }

    fn lead(&mut self) -> Check {
        let channel = self.channel()?;
        while channel.lead_once() {}
        self.answers(true)
    }

    /// What becomes of a ticket that nobody holds can be told only while nothing goes wrong.
    fn lead_the_forgotten(&mut self) -> Check {
        let forgotten = self.life()?.pending.iter().any(|pending| pending.ticket.is_none());
        if forgotten { self.lead() } else { Ok(()) }
    }

    fn wait(&mut self, which: u64) -> Check {
        let pending = &mut self.life()?.pending;
        let Some(which) = (which as usize).checked_rem(pending.len()) else { return Ok(()) };
        let ticket = pending.get_mut(which).and_then(|one| one.ticket.take());
        let Some(ticket) = ticket else { return Ok(()) };
        let answer = ticket.wait();
        self.answers_with(Some((which, answer)), true, false)
    }

    /// Takes the answers of what was submitted. `led`: somebody has led since, so that all are answered.
    pub(super) fn answers(&mut self, led: bool) -> Check {
        self.answers_with(None, led, false)
    }

    /// As [`answers`](Self::answers), before the answer of a commit that was behind all of them: if that went well they did.
    fn answers_before(&mut self, well: bool) -> Check {
        self.answers_with(None, true, well)
    }

    fn answers_with(&mut self, known: Option<(usize, Answer)>, led: bool, well: bool) -> Check {
        let dead = self.disk.is_dead();
        let Some(life) = &mut self.life else { return Ok(()) };
        let look = |(at, pending): (usize, &mut Pending)| match &known {
            Some((which, answer)) if *which == at => Some(answer.clone()),
            _ => pending.answer(),
        };
        let answers: Vec<Option<Answer>> = life.pending.iter_mut().enumerate().map(look).collect();
        let failed = !well && (life.channel.poisoned().is_some() || dead);
        let last_well = answers.iter().rposition(|answer| matches!(answer, Some(Ok(_))));
        let last = answers.iter().rposition(Option::is_some);
        for (at, answer) in answers.into_iter().enumerate() {
            if answer.is_none() && !led && last.is_none_or(|last| last < at) {
                return Ok(());
            }
            let Some(pending) = self.life()?.pending.pop_front() else { return Ok(()) };
            pending.woken.leave();
            self.no_longer_leased(&pending.effect);
            match answer {
                Some(answer) => {
                    saw_in_time(&pending, &answer)?;
                    self.answered(pending.effect, answer)?;
                }
                None if pending.ticket.is_some() && !failed => {
                    return Err("a ticket without an answer, though all was led".into());
                }
                // Nobody heard the answer: it was "done" if it was for those behind it, or nothing went wrong.
                None if !failed || last_well.is_some_and(|last| last > at) => {
                    self.acknowledged_unheard(pending.effect)?;
                }
                None if pending.ticket.is_none() => self.nobody_knows(pending.effect),
                // Nobody led it: nothing of it is anywhere.
                None => {}
            }
        }
        Ok(())
    }

    pub(super) fn acknowledged_unheard(&mut self, effect: Effect) -> Check {
        let write = self.disk.writes().last;
        self.seen.transactions += 1;
        self.idle_end = None;
        self.model.acknowledge(Transaction { effect, write })
    }

    /// A ticket that was dropped, in a life that ended.
    pub(super) fn nobody_knows(&mut self, effect: Effect) {
        let write = self.disk.writes().last;
        self.idle_end = None;
        self.model.not_answered(Transaction { effect, write });
    }

    fn no_longer_leased(&mut self, effect: &Effect) {
        if let (Effect::Take { seqs }, Some(life)) = (effect, &mut self.life) {
            life.leased.retain(|seq| !seqs.contains(seq));
        }
    }

    /// A lease of this many events: those that nobody has, in order.
    fn leased(&mut self, take: &TakeTransaction, before: usize, count: u32) -> Check {
        let leased = &self.life.as_ref().ok_or("no life")?.leased;
        let free = self.model.live().owed.iter().filter(|(seq, _)| !leased.contains(seq));
        let expected: Vec<(u64, Event)> = free.take(count as usize).copied().collect();
        let mut found = Vec::new();
        for record in take.records().iter().skip(before) {
            found.push((record.seq.get(), Event::read(&record.payload)?));
        }
        let some = self.errors && expected.starts_with(&found);
        ensure!(found == expected || some, "leased {found:?}, expected {expected:?}");
        self.life()?.leased.extend(found.iter().map(|(seq, _)| *seq));
        Ok(())
    }

    pub(super) fn begin(&mut self, events: u32) -> Check<Option<TakeTransaction>> {
        let limit = TakeLimit { events, bytes: u64::MAX };
        match self.channel()?.begin_take(limit) {
            Ok(take) => {
                self.leased(&take, 0, events.min(TRANSACTION_EVENTS_MAX))?;
                Ok(Some(take))
            }
            Err(error) => self.allowed("a take", Err::<(), _>(error)).map(|()| None),
        }
    }

    fn pick(&mut self, which: u64) -> Check<Option<TakeTransaction>> {
        let takes = &mut self.life()?.takes;
        Ok((which as usize).checked_rem(takes.len()).map(|which| takes.remove(which)))
    }

    fn extend(&mut self, which: u64, events: u32) -> Check {
        let Some(mut take) = self.pick(which)? else { return Ok(()) };
        let before = take.records().len();
        let most = events.min(TRANSACTION_EVENTS_MAX).saturating_sub(before as u32);
        match take.extend(TakeLimit { events, bytes: u64::MAX }) {
            Ok(_) => self.leased(&take, before, most)?,
            Err(error) => self.allowed("a take", Err::<(), _>(error))?,
        }
        self.life()?.takes.push(take);
        Ok(())
    }

    fn take(&mut self, events: u32, keep: Option<u32>, fate: Fate) -> Check {
        let Some(mut take) = self.begin(events)? else { return Ok(()) };
        if let Some(keep) = keep {
            let rest = take.split_off(keep as usize);
            self.end_take(rest, Fate::RollBack)?;
        }
        self.end_take(take, fate)
    }

    pub(super) fn end_take(&mut self, take: TakeTransaction, fate: Fate) -> Check {
        let effect = Effect::Take { seqs: seqs(&take) };
        if take.records().is_empty() {
            return Ok(());
        }
        match fate {
            Fate::RollBack => {
                drop(take);
                self.no_longer_leased(&effect);
                Ok(())
            }
            Fate::Commit => {
                let answer = take.commit();
                self.answers_before(answer.is_ok())?;
                self.no_longer_leased(&effect);
                self.answered(effect, answer)
            }
            Fate::Submit | Fate::SubmitAndForget => match take.submit() {
                Ok(ticket) => self.pend(effect, ticket, fate),
                Err(error) => {
                    self.no_longer_leased(&effect);
                    self.answered(effect, Err(error))
                }
            },
        }
    }

    fn checkpoint(&mut self, meanwhile: Option<&Meanwhile>) -> Check {
        let channel = self.channel()?;
        let done = meanwhile.map(|meanwhile| self.at_next_replace(meanwhile)).transpose()?;
        let covers = self.model.since_checkpoint();
        let before = self.newest_checkpoint();
        let answer = channel.checkpoint();
        self.disk.clear_interrupt();
        let take = |done: Done| done.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some((effect, answer)) = done.and_then(take) {
            self.answers_before(answer.is_ok())?;
            self.answered(effect, answer)?;
        }
        if answer.is_ok() {
            self.model.checkpoint(covers)?;
            // One that would say the same as the last is not made.
            if self.newest_checkpoint() != before {
                self.check_checkpoints()?;
            }
            if self.newest_checkpoint() == before {
                // It is that of a tick, perhaps, and of an older segment.
                if self.checkpoint_file != before {
                    self.checkpoints = (None, None);
                }
            } else if meanwhile.is_none() {
                self.made_checkpoint(!self.disk.has_capacity())?;
            } else {
                self.checkpoints = (None, None);
            }
        }
        self.allowed("a checkpoint", answer)
    }

    /// Lets somebody else put or take while the file of the next checkpoint is written.
    fn at_next_replace(&mut self, meanwhile: &Meanwhile) -> Check<Done> {
        let done = Done::default();
        let (channel, theirs) = (self.channel()?, Arc::clone(&done));
        let tell = move |effect, answer| {
            *theirs.lock().unwrap_or_else(PoisonError::into_inner) = Some((effect, answer));
        };
        match meanwhile {
            Meanwhile::Put(lens) if lens.is_empty() || !self.fits(lens.len() as u64) => {}
            Meanwhile::Put(lens) => {
                let events = self.new_events(lens);
                let put = put_of(&channel, &events, None)?;
                let effect = Effect::Put { events, mark: None };
                self.disk.at_next_replace(move || match put.commit() {
                    Ok(committed) => tell(effect, Ok(committed)),
                    Err(PutError::Commit(error)) => tell(effect, Err(error)),
                    Err(_) => {}
                });
            }
            Meanwhile::Take(events) => {
                let Some(take) = self.begin(*events)? else { return Ok(done) };
                let effect = Effect::Take { seqs: seqs(&take) };
                // Should nothing be replaced it is rolled back, and till then nobody else takes.
                self.no_longer_leased(&effect);
                if !take.records().is_empty() {
                    self.disk.at_next_replace(move || tell(effect, take.commit()));
                }
            }
        }
        Ok(done)
    }

    pub(super) fn leave(&mut self, leave: Leave) -> Check {
        let end = self.ending.take().map_or(End::Kill, |ending| ending.end);
        self.disk.set_phase("close");
        match leave {
            Leave::Close | Leave::Drop => self.leave_in_order(leave == Leave::Close, end),
            Leave::Kill => self.die(End::Kill),
            Leave::PowerCut => self.die(End::PowerCut),
        }
    }
}

fn saw_in_time(pending: &Pending, answer: &Answer) -> Check {
    let Some(seen) = pending.woken.watch().next_seq else { return Ok(()) };
    if let Ok(Committed { first: Some(first), events, .. }) = answer {
        let end = first.get() + u64::from(*events);
        ensure!(
            seen >= end,
            "a put up to event {end} was acknowledged when {seen} was the next one"
        );
    }
    Ok(())
}
