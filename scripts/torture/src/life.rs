//! The process that is killed: eight producers and two takers, until the end.
//!
//! Even producers block in their commits, odd ones submit and keep a few tickets; some put one event at a time, some many; some set a
//! mark with them. One taker often rolls back. Each says what it was told, after it was told, and what it takes before it commits.

use crate::{
    Answer,
    chance::Chance,
    log::Errors,
    role::{Policy, options_of_round, say},
    words::{Batch, Id, Put, Run, Said},
};
use fchannel::{
    Channel, CommitError, Committed, Error, ErrorKind, PutError, PutTransaction, TakeLimit,
    TakeTransaction, Ticket,
};
use std::{
    collections::VecDeque,
    future::Future,
    path::Path,
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
    thread::Thread,
    time::Duration,
};

const PRODUCERS: u32 = 8;
const TAKERS: u32 = 2;
const TICKETS_MAX: usize = 4;

/// Whether a thread of this process goes on.
#[derive(PartialEq, Eq)]
enum Then {
    GoesOn,
    Ends,
}

/// What one life is like: some fill the channel, some drain it, most do both.
#[derive(Clone, Copy)]
struct Mood {
    take_events_max: u64,
    pause_us: u64,
}

pub(crate) fn live(dir: &Path, round: u64, seed: u64, policy: Policy) -> Answer<()> {
    tracing::subscriber::set_global_default(Errors(|said| say(&said)))?;
    let mut chance = Chance::new(seed);
    let channel = match Channel::open(dir, options_of_round(round, policy)) {
        Ok(channel) => channel,
        Err(error) => {
            say(&Said::Shut(format!("{error:?}")));
            return Ok(());
        }
    };
    say(&Said::Up);
    let mood = chance.one_of(&[
        Mood { take_events_max: 30, pause_us: 20_000 },
        Mood { take_events_max: 200, pause_us: 2_000 },
        Mood { take_events_max: 300, pause_us: 0 },
        Mood { take_events_max: 60, pause_us: 0 },
    ]);
    std::thread::scope(|scope| {
        for producer in 0..PRODUCERS {
            let chance = Chance::new(chance.any());
            let channel = &channel;
            scope.spawn(move || Producer { channel, round, producer, number: 0, chance }.run());
        }
        for taker in 0..TAKERS {
            let chance = Chance::new(chance.any());
            let channel = &channel;
            scope.spawn(move || take_until_the_end(channel, taker, mood, chance));
        }
        look_after(&channel, &mut chance, policy);
    });
    say_why_it_stopped(&channel);
    loop {
        std::thread::park();
    }
}

/// What an operator and an owner of the channel do now and then. Ends when the channel has stopped itself.
fn look_after(channel: &Channel, chance: &mut Chance, policy: Policy) {
    while channel.poisoned().is_none() {
        std::thread::park_timeout(chance.microseconds(500, 30_000));
        if chance.percent(30)
            && let Err(error) = channel.checkpoint()
        {
            say(&Said::Failed(format!("checkpoint: {error:?}")));
        }
        if policy == Policy::Interval
            && chance.percent(30)
            && let Ok(lsn) = channel.sync()
        {
            say(&Said::Synced(lsn.get()));
        }
        let stats = channel.stats();
        if stats.used > stats.capacity {
            say(&Said::Failed(format!("capacity: {stats:?}")));
        }
    }
}

/// After it has stopped itself every call must say so, with the reason.
fn say_why_it_stopped(channel: &Channel) {
    let Some(poison) = channel.poisoned() else { return };
    let put = channel.put(b"after the end").map(drop);
    let take = channel.begin_take(TakeLimit::events(1)).map(drop);
    let sync = channel.sync().map(drop);
    let reason = poison.to_string();
    let refused = |error: &Error| {
        error.kind() == &ErrorKind::Poisoned && error.to_string().contains(poison.what())
    };
    let told = matches!(&put, Err(CommitError::NotCommitted(error)) if refused(error))
        && take.as_ref().is_err_and(refused)
        && sync.as_ref().is_err_and(refused);
    say(&Said::Stopped(if told {
        reason
    } else {
        format!("BUT NOT ALL CALLS SAY SO: put {put:?}, take {take:?}, sync {sync:?}, {reason}")
    }));
}

struct Producer<'a> {
    channel: &'a Channel,
    round: u64,
    producer: u32,
    number: u64,
    chance: Chance,
}

impl Producer<'_> {
    fn run(mut self) {
        let mut tickets: VecDeque<(Batch, bool, Ticket)> = VecDeque::new();
        loop {
            let (put, batch, marked) = self.fill();
            let then = if self.producer.is_multiple_of(2) {
                self.commit(put, batch, marked)
            } else {
                self.submit(put, batch, marked, &mut tickets)
            };
            if then == Then::Ends {
                break;
            }
        }
        for (batch, marked, ticket) in tickets {
            self.tell(batch, marked, block_on(ticket));
        }
    }

    /// A transaction of the next events.
    fn fill(&mut self) -> (PutTransaction, Batch, bool) {
        let many = match self.producer {
            0 | 1 => 1,
            2 | 3 => 1 + self.chance.below(3),
            _ => 1 + self.chance.below(20),
        };
        let batch =
            Batch { producer: self.producer, first: self.number + 1, last: self.number + many };
        let mut put = self.channel.begin_put();
        for number in batch.first..=batch.last {
            let id = Id {
                producer: self.producer,
                round: self.round,
                number,
                first: batch.first,
                last: batch.last,
            };
            put.push(&id.encode()).expect("a transaction has room for twenty events");
        }
        let marked = self.chance.percent(25);
        if marked {
            let value = format!("{} {}", self.round, batch.last);
            put.set_mark(self.producer.to_string().as_bytes(), value.as_bytes())
                .expect("eight marks are few");
        }
        self.number = batch.last;
        (put, batch, marked)
    }

    fn commit(&self, mut put: PutTransaction, batch: Batch, marked: bool) -> Then {
        loop {
            match put.commit() {
                Err(PutError::Full(again)) => put = again,
                Err(PutError::Commit(error)) => return self.tell(batch, marked, Err(error)),
                Err(error) => panic!("a put error of a new kind: {error}"),
                Ok(committed) => return self.tell(batch, marked, Ok(committed)),
            }
        }
    }

    fn submit(
        &self,
        put: PutTransaction,
        batch: Batch,
        marked: bool,
        tickets: &mut VecDeque<(Batch, bool, Ticket)>,
    ) -> Then {
        let submitted = match block_on(self.channel.reserve(put.len())) {
            Ok(room) => put.submit(room),
            Err(error) => Err(CommitError::NotCommitted(error)),
        };
        match submitted {
            Ok(ticket) => tickets.push_back((batch, marked, ticket)),
            Err(error) => return self.tell(batch, marked, Err(error)),
        }
        if tickets.len() < TICKETS_MAX {
            return Then::GoesOn;
        }
        match tickets.pop_front() {
            Some((batch, marked, ticket)) => self.tell(batch, marked, block_on(ticket)),
            None => Then::GoesOn,
        }
    }

    fn tell(&self, batch: Batch, marked: bool, answer: Result<Committed, CommitError>) -> Then {
        match answer {
            Ok(Committed { lsn, first, durable, .. }) => {
                let seq = first.map_or(0, fchannel::EventSeq::get);
                say(&Said::Put(Put { batch, seq, lsn: lsn.get(), durable, marked }));
                Then::GoesOn
            }
            Err(CommitError::NotCommitted(error)) => {
                say(&Said::Refused(batch, format!("{error:?}")));
                // A full disk is waited out, as a source does.
                std::thread::park_timeout(Duration::from_millis(2));
                if self.channel.poisoned().is_some() { Then::Ends } else { Then::GoesOn }
            }
            Err(CommitError::Unknown(error)) => {
                say(&Said::Unknown(batch));
                say(&Said::Failed(format!("put: {error:?}")));
                Then::Ends
            }
            Err(error) => panic!("a commit error of a new kind: {error}"),
        }
    }
}

fn take_until_the_end(channel: &Channel, taker: u32, mood: Mood, mut chance: Chance) {
    loop {
        let events = u32::try_from(1 + chance.below(mood.take_events_max)).unwrap_or(1);
        let limit = TakeLimit { events, bytes: 1 << 20 };
        let take = match channel.take_timeout(limit, Duration::from_millis(20)) {
            Ok(take) => take,
            Err(error) => {
                say(&Said::Failed(format!("take: {error:?}")));
                if channel.poisoned().is_some() {
                    return;
                }
                std::thread::park_timeout(Duration::from_millis(2));
                continue;
            }
        };
        if !take.records().is_empty() && finish(channel, take, taker, &mut chance) == Then::Ends {
            return;
        }
        if mood.pause_us > 0 {
            std::thread::park_timeout(chance.microseconds(0, mood.pause_us));
        }
    }
}

/// Commits a take, or a part of it, or nothing.
fn finish(channel: &Channel, mut take: TakeTransaction, taker: u32, chance: &mut Chance) -> Then {
    let rolls_back = chance.percent(if taker == 0 { 5 } else { 50 });
    let whole = take.records().len() == 1 || chance.percent(70);
    if rolls_back && !whole {
        drop(take.split_off(take.records().len() / 2));
    }
    let events = take.records().iter().map(|record| {
        let id = Id::decode(&record.payload).expect("every event that is taken was put by us");
        (record.seq.get(), id)
    });
    say(&Said::Taking(taker, Run::gather(events)));
    if rolls_back && whole {
        drop(take);
        say(&Said::Back(taker));
        return Then::GoesOn;
    }
    let answer = if chance.percent(50) { take.commit() } else { take.submit().and_then(block_on) };
    match answer {
        Ok(committed) => {
            say(&Said::Taken(taker, committed.lsn.get(), committed.durable));
            Then::GoesOn
        }
        Err(CommitError::NotCommitted(error)) => {
            say(&Said::Back(taker));
            say(&Said::Failed(format!("take: {error:?}")));
            if channel.poisoned().is_some() { Then::Ends } else { Then::GoesOn }
        }
        Err(error) => {
            say(&Said::UnknownTake(taker));
            say(&Said::Failed(format!("take: {error:?}")));
            Then::Ends
        }
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Waits for a future on this thread.
fn block_on<F: Future>(future: F) -> F::Output {
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return output;
        }
        std::thread::park();
    }
}
