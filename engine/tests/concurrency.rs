//! Threads and futures: no event, credit or wake-up is lost, whoever comes, waits, gives up or panics.
#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod common;

use common::{
    Flag, SOON, block_on, drain, eventually,
    gate::{Gate, GateVfs, Writes},
    now, poll, put_all, put_of, submit, texts,
};
use fchannel::{
    Channel, CommitError, Committed, Durability, ErrorKind, Options, PutError, TakeLimit,
};
use std::{
    collections::BTreeMap,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, Wake, Waker},
    thread::{Builder, JoinHandle},
    time::{Duration, Instant},
};

fn options() -> Options {
    Options {
        segment_bytes_max: 64 << 10,
        free_space_min_bytes: 0,
        keep_alive_ms: 30_000,
        ..Options::default()
    }
}

/// A channel whose writes go through a gate.
fn gated(options: Options) -> (tempfile::TempDir, Gate, Channel) {
    let dir = tempfile::tempdir().unwrap();
    let vfs = GateVfs::default();
    let gate = vfs.gate.clone();
    let channel = Channel::open_on(Arc::new(vfs), dir.path(), options).unwrap();
    (dir, gate, channel)
}

/// A thread that is not joined when a test fails.
fn thread<T: Send + 'static>(body: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    Builder::new().spawn(body).unwrap()
}

/// What a thread answered; it must end soon.
fn join<T>(what: &str, thread: JoinHandle<T>) -> T {
    eventually(what, || thread.is_finished());
    thread.join().unwrap()
}

type Answer = Result<Committed, PutError>;

fn committing(channel: &Channel, payload: &str) -> JoinHandle<Answer> {
    let put = put_of(channel, &[payload]);
    thread(move || put.commit())
}

#[test]
fn eight_committers_and_two_takers_lose_and_double_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let channel = Channel::open(
        dir.path(),
        Options { capacity_events: 64, transaction_events_max: 16, ..options() },
    )
    .unwrap();
    let (producers, each) = (8, 150);
    let committers: Vec<_> = (0..producers)
        .map(|producer| {
            let channel = channel.clone();
            thread(move || {
                for number in 0..each {
                    put_all(
                        &channel,
                        &[format!("{producer}/{number}"), format!("{producer}/{number}b")],
                    );
                }
            })
        })
        .collect();
    let total = producers * each * 2;
    let taken = Arc::new(Mutex::new(BTreeMap::new()));
    let takers: Vec<_> = (0..2)
        .map(|taker| {
            let (channel, taken) = (channel.clone(), Arc::clone(&taken));
            thread(move || {
                for round in 0.. {
                    if taken.lock().unwrap().len() == total {
                        return;
                    }
                    let wait = std::time::Duration::from_millis(20);
                    let take = channel.take_timeout(TakeLimit::events(7), wait).unwrap();
                    if (round + taker) % 3 == 0 {
                        continue; // a rollback
                    }
                    let records = take.records().to_vec();
                    take.commit().unwrap();
                    let mut taken = taken.lock().unwrap();
                    for record in records {
                        assert!(
                            taken.insert(record.seq.get(), record.payload).is_none(),
                            "taken twice"
                        );
                    }
                }
            })
        })
        .collect();
    committers.into_iter().for_each(|committer| join("a committer", committer));
    takers.into_iter().for_each(|taker| join("a taker", taker));
    // By sequence, the events of one producer are in the order in which it committed them.
    let mut last = vec![None; producers];
    for payload in taken.lock().unwrap().values() {
        let text = String::from_utf8(payload.to_vec()).unwrap();
        let (producer, number) = text.split_once('/').unwrap();
        let number =
            (number.trim_end_matches('b').parse::<usize>().unwrap(), number.ends_with('b'));
        let last = &mut last[producer.parse::<usize>().unwrap()];
        assert!(*last < Some(number), "{last:?} before {number:?}");
        *last = Some(number);
    }
    assert_eq!((channel.stats().events, channel.stats().used, channel.stats().leased), (0, 0, 0));
}

#[test]
fn a_ticket_polled_k_times_and_dropped_gives_up_the_answer_not_the_commit() {
    for polls in 0..4 {
        let (_dir, gate, channel) = gated(options());
        gate.set(Writes::Wait);
        let mut ticket = submit(&channel, &["event"]);
        for _ in 0..polls {
            assert!(poll(Pin::new(&mut ticket)).is_pending());
        }
        drop(ticket);
        gate.set(Writes::Pass);
        eventually("the commit", || channel.stats().events == 1);
        assert_eq!(channel.stats().used, 1);
    }
}

#[test]
fn a_reservation_polled_k_times_and_dropped_gives_its_credits_back() {
    for polls in 0..4 {
        let (_dir, _gate, channel) =
            gated(Options { capacity_events: 10, transaction_events_max: 10, ..options() });
        put_all(&channel, &texts("a", 8));
        let mut large = Box::pin(channel.reserve(5));
        for _ in 0..polls {
            assert!(poll(large.as_mut()).is_pending());
        }
        let small = channel.reserve(2);
        if polls == 0 {
            assert_eq!(
                now(small).unwrap().events(),
                2,
                "a future that was never polled stands in no queue"
            );
        } else {
            let mut small = Box::pin(small);
            assert!(poll(small.as_mut()).is_pending(), "behind the large one");
            drop(large);
            assert_eq!(now(small).unwrap().events(), 2);
        }
        assert_eq!(channel.stats().used, 8);
        // Granted, and dropped before it was looked at.
        let mut waiting = Box::pin(channel.reserve(3));
        assert!(poll(waiting.as_mut()).is_pending());
        channel.begin_take(TakeLimit::events(8)).unwrap().commit().unwrap();
        drop(waiting);
        assert_eq!(channel.stats().used, 0);
    }
}

#[test]
fn a_ready_future_dropped_after_its_wake_up_passes_it_on() {
    for polls in 1..4 {
        let (_dir, _gate, channel) = gated(options());
        let mut first = Box::pin(channel.ready());
        for _ in 0..polls {
            assert!(poll(first.as_mut()).is_pending());
        }
        let flag = Arc::new(Flag::default());
        let waker = Waker::from(Arc::clone(&flag));
        let mut second = Box::pin(channel.ready());
        assert!(second.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        put_all(&channel, &["event"]);
        drop(first);
        assert!(flag.is_woken(), "the word went to the first, which is gone: it must come here");
        assert!(poll(second.as_mut()).is_ready());
    }
}

#[test]
fn hand_over_between_threads_futures_and_checkpoints_never_hangs() {
    for durability in [Durability::EachCommit, Durability::Interval { sync_interval_ms: 1 }] {
        let dir = tempfile::tempdir().unwrap();
        let channel = Channel::open(dir.path(), Options { durability, ..options() }).unwrap();
        let rounds = common::env("FCHANNEL_ROUNDS").unwrap_or(1_500);
        let worker = |kind: u64| {
            let channel = channel.clone();
            thread(move || {
                for round in 0..rounds {
                    match kind {
                        0 => put_all(&channel, &["blocking"]),
                        1 => submit(&channel, &["waited for"]).wait().map(drop).unwrap(),
                        2 => drop(
                            block_on(submit(&channel, &["awaited"]))
                                .expect("no answer came")
                                .unwrap(),
                        ),
                        3 => drop(submit(&channel, &["not looked at"])),
                        _ if round % 8 == 0 => channel.checkpoint().map(drop).unwrap(),
                        _ => channel.sync().map(drop).unwrap(),
                    }
                }
            })
        };
        let threads: Vec<_> = [0, 0, 1, 2, 2, 3, 4].into_iter().map(worker).collect();
        let takers: Vec<_> = (0..2)
            .map(|_| {
                let channel = channel.clone();
                thread(move || {
                    // Half of what six workers put, and not one more: the other half is the other taker's.
                    let mut taken = 0;
                    while taken < rounds * 3 {
                        block_on(channel.ready()).expect("a wake-up was lost");
                        // Not one more than its half: the other taker waits for the rest.
                        let most = u32::try_from((rounds * 3 - taken).min(50)).unwrap();
                        let take = channel.begin_take(TakeLimit::events(most)).unwrap();
                        taken += take.records().len() as u64;
                        take.commit().unwrap();
                    }
                })
            })
            .collect();
        threads.into_iter().for_each(|thread| join("a worker", thread));
        takers.into_iter().for_each(|taker| join("a taker", taker));
    }
}

/// The committer thread was called to lead at the moment when it began its own sync: it waited for itself, and everybody for it.
#[test]
fn a_sync_by_time_and_a_ticket_at_the_same_moment_do_not_wait_for_each_other() {
    let dir = tempfile::tempdir().unwrap();
    let durability = Durability::Interval { sync_interval_ms: 1 };
    let channel = Channel::open(dir.path(), Options { durability, ..options() }).unwrap();
    let until = Instant::now() + std::time::Duration::from_millis(700);
    while Instant::now() < until {
        block_on(submit(&channel, &["event"])).expect("no answer came").unwrap();
        if channel.stats().events >= 1_000 {
            drain(&channel);
        }
    }
}

#[test]
fn closing_tells_those_who_wait_for_room() {
    let (_dir, _gate, channel) =
        gated(Options { capacity_events: 1, transaction_events_max: 1, ..options() });
    put_all(&channel, &["full"]);
    let waiting = committing(&channel, "too much");
    let mut reserving = Box::pin({
        let channel = channel.clone();
        async move { channel.reserve(1).await.map(drop) }
    });
    assert!(poll(reserving.as_mut()).is_pending());
    let mut ready_elsewhere = Box::pin({
        let channel = channel.clone();
        async move { channel.ready().await }
    });
    let lease = channel.begin_take(TakeLimit::events(1)).unwrap();
    assert!(poll(ready_elsewhere.as_mut()).is_pending());
    channel.close().unwrap();
    let answer = join("who waits for room", waiting);
    assert!(
        matches!(&answer, Err(PutError::Commit(CommitError::NotCommitted(error))) if error.kind() == &ErrorKind::Closed),
        "{answer:?}"
    );
    assert!(
        matches!(poll(reserving.as_mut()), Poll::Ready(Err(error)) if error.kind() == &ErrorKind::Closed)
    );
    assert!(poll(ready_elsewhere.as_mut()).is_ready());
    assert!(matches!(lease.commit(), Err(CommitError::NotCommitted(_))));
}

#[test]
fn closing_finishes_what_was_submitted() {
    for tickets in [0, 1, 5] {
        let (dir, gate, channel) = gated(options());
        gate.set(Writes::Wait);
        let leader = committing(&channel, "leader");
        eventually("the leader writes", || gate.waiting() == 1);
        let blocked = committing(&channel, "blocked");
        let tickets: Vec<_> = (0..tickets).map(|_| submit(&channel, &["ticket"])).collect();
        let expected = 2 + tickets.len() as u64;
        eventually("all are queued", || channel.stats().used == expected);
        let closer = {
            let channel = channel.clone();
            thread(move || channel.close())
        };
        eventually("the close has begun", || channel.begin_take(TakeLimit::events(1)).is_err());
        gate.set(Writes::Pass);
        join("close", closer).unwrap();
        for ticket in tickets {
            now(ticket).expect("what was submitted before the close is finished by it");
        }
        join("the leader", leader).unwrap();
        // Between asking for room and being queued a commit may meet the close; then it is not committed.
        let blocked = join("the blocked one", blocked).is_ok();
        drop(channel);
        let channel = Channel::open(dir.path(), options()).unwrap();
        assert_eq!(channel.stats().events, if blocked { expected } else { expected - 1 });
        assert_eq!(channel.recovery().frames_rewritten, 0, "close vouched for all of it");
    }
}

/// The last clone of the channel went while a thread led a group and a future waited for the next one. The committer thread saw nothing
/// to do and ended; the leader handed over to it; the future waited for ever.
#[test]
fn dropping_the_last_clone_leaves_no_ticket_without_an_answer() {
    let (dir, gate, channel) = gated(options());
    gate.set(Writes::Wait);
    let leader = committing(&channel, "leader");
    eventually("the leader writes", || gate.waiting() == 1);
    let ticket = submit(&channel, &["ticket"]);
    let dropper = thread(move || drop(channel));
    // The drop may wait for the leader or not: give it the time to decide.
    let started = Instant::now();
    while !dropper.is_finished() && started.elapsed().as_millis() < 50 {
        std::thread::yield_now();
    }
    gate.set(Writes::Pass);
    block_on(ticket).expect("no answer came").unwrap();
    join("the leader", leader).unwrap();
    join("the drop", dropper);
    let channel = Channel::open(dir.path(), options()).unwrap();
    assert_eq!(drain(&channel), ["leader", "ticket"]);
}

#[test]
fn dropping_a_channel_without_threads_answers_its_tickets() {
    let world = fchannel::io::sim::SimVfs::new(1);
    let path = std::path::Path::new("/disk");
    let channel = Channel::open_on(Arc::new(world), path, options()).unwrap();
    let ticket = submit(&channel, &["ticket"]);
    drop(channel);
    now(ticket).expect("committed");
}

#[test]
fn a_panic_in_a_leader_poisons_and_every_ticket_gets_an_answer() {
    let (dir, gate, channel) = gated(options());
    put_all(&channel, &["before"]);
    gate.set(Writes::Wait);
    let leader = committing(&channel, "leader");
    eventually("the leader writes", || gate.waiting() == 1);
    let blocked = committing(&channel, "blocked");
    let tickets: Vec<_> = (0..3).map(|_| submit(&channel, &["ticket"])).collect();
    eventually("all are queued", || channel.stats().used == 6);
    gate.set(Writes::Panic);
    eventually("the leader unwinds", || leader.is_finished());
    assert!(leader.join().is_err());
    assert!(matches!(join("the blocked one", blocked), Err(PutError::Commit(_))));
    for ticket in tickets {
        let answer = block_on(ticket).expect("no answer came");
        assert!(
            matches!(answer, Err(CommitError::NotCommitted(error)) if error.kind() == &ErrorKind::Poisoned)
        );
    }
    assert!(channel.poisoned().is_some_and(|error| error.to_string().contains("panicked")));
    assert!(channel.put(b"after").is_err());
    assert!(channel.close().is_err());
    let channel = Channel::open(dir.path(), options()).unwrap();
    assert_eq!(drain(&channel), ["before"]);
}

/// Polls a `ready()` in the middle of a take, with a waker that panics: it is told when the lease of the take ends.
struct PanicsAtTheEndOfATake(Mutex<Pin<Box<dyn Future<Output = ()> + Send>>>);

struct Panics;

impl Wake for Panics {
    fn wake(self: Arc<Self>) {
        panic!("planned by the test: a waker panics");
    }
}

impl Wake for PanicsAtTheEndOfATake {
    fn wake(self: Arc<Self>) {
        let waker = Waker::from(Arc::new(Panics));
        assert!(
            self.0.lock().unwrap().as_mut().poll(&mut Context::from_waker(&waker)).is_pending()
        );
    }
}

/// The take was applied, and a waker panicked before it was answered: who waited for it waited for ever.
#[test]
fn a_panic_behind_an_applied_take_leaves_no_ticket_without_an_answer() {
    let (_dir, gate, channel) =
        gated(Options { capacity_events: 4, transaction_events_max: 4, ..options() });
    put_all(&channel, &texts("event", 4));
    let take = channel.begin_take(TakeLimit::events(2)).unwrap();
    let clone = channel.clone();
    let ready = Box::pin(async move { clone.ready().await });
    // The take gives room: so the word comes between its application and the end of its lease.
    let waker = Waker::from(Arc::new(PanicsAtTheEndOfATake(Mutex::new(ready))));
    let mut room = Box::pin(channel.reserve(1));
    assert!(room.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    gate.set(Writes::Wait);
    let mut marks = channel.begin_put();
    marks.set_mark(b"key", b"value").unwrap();
    let leader = thread(move || marks.commit());
    eventually("the leader writes", || gate.waiting() == 1);
    let ticket = take.submit().unwrap();
    gate.set(Writes::Pass);
    join("the leader", leader).unwrap();
    // The committer's thread led it.
    assert!(matches!(block_on(ticket).expect("no answer came"), Err(CommitError::Unknown(_))));
    eventually("the log stops itself", || channel.poisoned().is_some());
}

/// A write failed, and the log told all who waited for the next group. The first one's waker panicked, and the others waited for ever.
#[test]
fn a_waker_that_panics_takes_no_answer_from_others() {
    let (_dir, gate, channel) = gated(options());
    gate.set(Writes::Wait);
    let leader = committing(&channel, "leader");
    eventually("the leader writes", || gate.waiting() == 1);
    let mut first = Box::pin(submit(&channel, &["first"]));
    let waker = Waker::from(Arc::new(Panics));
    assert!(first.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    let second = submit(&channel, &["second"]);
    gate.set(Writes::Fail);
    assert!(matches!(join("the leader", leader), Err(PutError::Commit(CommitError::Unknown(_)))));
    for ticket in [first, Box::pin(second)] {
        let answer = block_on(ticket).expect("no answer came");
        assert!(matches!(answer, Err(CommitError::NotCommitted(_))), "{answer:?}");
    }
}

/// A log that stops itself gives no credit back any more: who waits for one, or for an event, must hear of it.
#[test]
fn a_failed_write_tells_everybody_who_waits() {
    let (_dir, gate, channel) =
        gated(Options { capacity_events: 2, transaction_events_max: 2, ..options() });
    put_all(&channel, &["one"]);
    let lease = channel.begin_take(TakeLimit::events(1)).unwrap();
    let waiting = {
        let put = put_of(&channel, &["two", "three"]);
        thread(move || put.commit())
    };
    let reserving = channel.reserve(2);
    let ready = channel.ready();
    let (mut reserving, mut ready) = (Box::pin(reserving), Box::pin(ready));
    assert!(poll(reserving.as_mut()).is_pending());
    assert!(poll(ready.as_mut()).is_pending());
    gate.set(Writes::Fail);
    assert!(matches!(lease.commit(), Err(CommitError::Unknown(_))));
    let answer = block_on(reserving).expect("who waits for room was not told");
    assert_eq!(answer.unwrap_err().kind(), &ErrorKind::Poisoned);
    block_on(ready).expect("who waits for an event was not told");
    let started = Instant::now();
    let answer = join("who waits for room on a thread", waiting);
    assert!(matches!(&answer, Err(PutError::Commit(CommitError::NotCommitted(_)))), "{answer:?}");
    assert!(started.elapsed() < SOON / 2);
}

/// A waker of a small executor holds the task, and the task the future: waking the last one drops the future, and with it whatever the
/// future holds of the channel. That must not meet a lock that the waking side still holds.
struct DropsItsFuture(Mutex<Option<Pin<Box<dyn Future<Output = ()> + Send>>>>);

impl Wake for DropsItsFuture {
    fn wake(self: Arc<Self>) {
        drop(self.0.lock().unwrap().take());
    }
}

fn park(future: impl Future<Output = ()> + Send + 'static) {
    let task = Arc::new(DropsItsFuture(Mutex::new(None)));
    let waker = Waker::from(Arc::clone(&task));
    let mut future: Pin<Box<dyn Future<Output = ()> + Send>> = Box::pin(future);
    assert!(future.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    *task.0.lock().unwrap() = Some(future);
}

#[test]
fn a_waker_may_drop_the_future_that_it_wakes() {
    let (_dir, _gate, channel) =
        gated(Options { capacity_events: 2, transaction_events_max: 2, ..options() });
    let clone = channel.clone();
    park(async move { clone.ready().await });
    let putting = committing(&channel, "one");
    join("a put that wakes who waits for an event", putting).unwrap();
    let clone = channel.clone();
    park(async move { drop(clone.reserve(2).await) });
    let taking = {
        let channel = channel.clone();
        thread(move || channel.begin_take(TakeLimit::events(1)).unwrap().commit())
    };
    join("a take that wakes who waits for room", taking).unwrap();
    assert_eq!(channel.stats().used, 0, "the credits of the future that is gone came back");
}

#[test]
fn the_last_clone_may_go_inside_a_wake_up() {
    let (_dir, gate, channel) = gated(options());
    gate.set(Writes::Wait);
    let leader = committing(&channel, "leader");
    eventually("the leader writes", || gate.waiting() == 1);
    let ticket = submit(&channel, &["ticket"]);
    park(async move {
        let _answer = ticket.await;
        drop(channel);
    });
    gate.set(Writes::Pass);
    join("the leader", leader).unwrap();
}

/// As before, while the background thread waits to lead, for a checkpoint: the leader waited for the end of that thread, and that thread
/// for the end of the lead.
#[test]
fn the_last_clone_may_go_inside_a_wake_up_while_a_checkpoint_is_due() {
    let (_dir, gate, channel) = gated(Options { checkpoint_interval_ms: 10, ..options() });
    gate.set(Writes::Wait);
    let leader = committing(&channel, "leader");
    eventually("the leader writes", || gate.waiting() == 1);
    park(async move { channel.ready().await });
    // Nothing tells when the background thread waits: give it the time.
    let started = Instant::now();
    while started.elapsed().as_millis() < 100 {
        std::thread::yield_now();
    }
    gate.set(Writes::Pass);
    join("the leader", leader).unwrap();
}

/// Two releases at once both took the oldest segment for theirs to remove; the second found it gone, and stopped the log.
#[test]
fn releases_of_a_bare_log_at_once_keep_their_order() {
    use fchannel::{Wal, WalOptions};
    let dir = tempfile::tempdir().unwrap();
    let options = WalOptions { segment_bytes_max: 64 << 10, ..WalOptions::default() };
    let wal = Arc::new(Wal::open(dir.path(), options.clone(), |_, _, _| Ok(())).unwrap());
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let wal = Arc::clone(&wal);
            thread(move || {
                for _ in 0..60 {
                    let lsn = wal.append(1, &[1; 20_000]).unwrap().lsn;
                    wal.release_before(lsn).unwrap();
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| join("a writer", thread));
    drop(wal);
    Wal::open(dir.path(), options, |_, _, _| Ok(())).unwrap();
}

/// A taker stood at the end of a segment whose events were all taken. While it looked for the next one, that segment was removed.
#[test]
fn segments_removed_under_a_taker_are_stepped_over() {
    let dir = tempfile::tempdir().unwrap();
    let channel = Channel::open(dir.path(), Options { tail_cache_bytes: 0, ..options() }).unwrap();
    let total = 300;
    let taker = {
        let channel = channel.clone();
        thread(move || {
            let mut taken = 0;
            while taken < total {
                block_on(channel.ready()).expect("a wake-up was lost");
                let take = channel.begin_take(TakeLimit::events(1)).unwrap();
                taken += take.records().len();
                take.commit().unwrap();
            }
        })
    };
    let checkpoints = {
        let channel = channel.clone();
        thread(move || {
            while channel.stats().next_seq.get() < total as u64 || channel.stats().events > 0 {
                channel.checkpoint().unwrap();
            }
        })
    };
    for _ in 0..total {
        put_all(&channel, &["x".repeat(30_000)]);
    }
    join("the taker", taker);
    join("the checkpoints", checkpoints);
}

/// Who waits for an event was told, again and again, of one that another taker is just giving up as lost: it neither found anything nor
/// looked at the time.
#[test]
#[expect(clippy::disallowed_methods, reason = "damages a file")]
fn a_taker_with_a_deadline_keeps_it_though_it_is_told() {
    let (dir, gate, channel) = gated(Options { tail_cache_bytes: 0, ..options() });
    put_all(&channel, &["an event that is damaged"]);
    let path = dir.path().join("seg-1");
    let mut bytes = std::fs::read(&path).unwrap();
    let at = bytes.windows(8).position(|bytes| bytes == b"an event").unwrap();
    bytes[at] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    // Who peeks sets it aside; who takes has only to give it up, and stands at that write.
    assert!(channel.peek(None, TakeLimit::events(1)).unwrap().is_empty());
    gate.set(Writes::Wait);
    let (giving_up, waiting) = (channel.clone(), channel.clone());
    let giving_up = thread(move || drop(giving_up.begin_take(TakeLimit::events(1)).unwrap()));
    eventually("the write", || gate.waiting() == 1);
    let wait = Duration::from_millis(5);
    let waiting = thread(move || waiting.take_timeout(TakeLimit::events(1), wait).unwrap());
    assert!(join("the deadline", waiting).records().is_empty());
    gate.set(Writes::Pass);
    join("the write", giving_up);
    assert_eq!(channel.stats().events, 0);
}
