//! Every public future, in each state that it can be in, polled k times and then dropped, for each k: nothing that is not its own goes with
//! it. After each the channel is *whole*: every credit is there or an event's, every event is there once, no lease is left, and those who
//! wait are woken.
#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod common;

use common::{
    Flag, block_on, drain, eventually,
    gate::{Gate, GateVfs, Writes},
    now, poll, put_all, put_of, submit, texts,
};
use fchannel::{Channel, ErrorKind, Options, TakeLimit, Ticket, Wal, WalOptions};
use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
    thread::{Builder, JoinHandle},
};

/// The first poll registers, the second replaces its waker, a third one proves that nothing piles up.
const POLLS: usize = 4;
const CAPACITY: u64 = 6;

fn options() -> Options {
    Options {
        segment_bytes_max: 64 << 10,
        free_space_min_bytes: 0,
        capacity_events: CAPACITY,
        transaction_events_max: 6,
        keep_alive_ms: 0,
        ..Options::default()
    }
}

struct World {
    dir: tempfile::TempDir,
    gate: Gate,
    channel: Channel,
    leaders: Vec<JoinHandle<()>>,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let vfs = GateVfs::default();
        let gate = vfs.gate.clone();
        let channel = Channel::open_on(Arc::new(vfs), dir.path(), options()).unwrap();
        Self { dir, gate, channel, leaders: Vec::new() }
    }

    /// A thread leads, and stands at its write: what comes now waits for the next group.
    fn leader_at_work(&mut self) {
        self.gate.set(Writes::Wait);
        let put = put_of(&self.channel, &["leader"]);
        let body = move || drop(put.commit());
        self.leaders.push(Builder::new().spawn(body).unwrap());
        eventually("the leader writes", || self.gate.waiting() == 1);
    }

    fn go_on(&mut self) {
        self.gate.set(Writes::Pass);
        for leader in self.leaders.drain(..) {
            leader.join().unwrap();
        }
    }

    /// Nothing is lost: these events wait, every other credit is there, and nobody sleeps who should not.
    fn must_be_whole(mut self, mut expected: Vec<&str>) {
        self.go_on();
        let channel = &self.channel;
        eventually("the commits", || channel.stats().events == expected.len() as u64);
        let stats = channel.stats();
        assert_eq!((stats.used, stats.leased), (stats.events, 0));
        let free = u32::try_from(CAPACITY - stats.used).unwrap();
        drop(now(channel.reserve(free)).expect("what is not used can be had"));
        // Who waits for an event, and who waits for room, is woken by the next put and the next take.
        let taken = drain(channel);
        assert_eq!(taken, expected);
        let mut ready = Box::pin(channel.ready());
        assert!(poll(ready.as_mut()).is_pending());
        let all = texts("next", 6);
        put_all(channel, &all);
        block_on(ready).expect("a wake-up was lost");
        let mut room = Box::pin(channel.reserve(6));
        assert!(poll(room.as_mut()).is_pending());
        assert_eq!(drain(channel), all);
        drop(block_on(room).expect("a wake-up was lost").unwrap());
        assert_eq!(channel.stats().used, 0);
        put_all(channel, &expected);
        // And so it is on disk.
        drop(self.channel);
        let channel = Channel::open(self.dir.path(), options()).unwrap();
        let mut found = drain(&channel);
        found.sort();
        expected.sort_unstable();
        assert_eq!(found, expected);
    }
}

fn poll_times<F: Future + ?Sized>(mut future: Pin<&mut F>, polls: usize) -> bool {
    (0..polls).all(|_| poll(future.as_mut()).is_pending())
}

fn give_up_ticket(mut ticket: Ticket, polls: usize) {
    let _all_pending = poll_times(Pin::new(&mut ticket), polls);
}

#[test]
fn a_ticket_of_nothing() {
    for polls in 0..POLLS {
        let world = World::new();
        let room = now(world.channel.reserve(3)).unwrap();
        give_up_ticket(world.channel.begin_put().submit(room).unwrap(), polls);
        world.must_be_whole(vec![]);
    }
}

#[test]
fn a_ticket_of_a_put_in_its_queue_in_flight_and_answered() {
    for polls in 0..POLLS {
        // It waits for the leader to end.
        let mut world = World::new();
        world.leader_at_work();
        give_up_ticket(submit(&world.channel, &["put"]), polls);
        world.must_be_whole(vec!["leader", "put"]);

        // The committer thread writes it.
        let world = World::new();
        world.gate.set(Writes::Wait);
        let ticket = submit(&world.channel, &["put"]);
        eventually("the committer writes", || world.gate.waiting() == 1);
        give_up_ticket(ticket, polls);
        world.must_be_whole(vec!["put"]);

        // It is answered, and nobody has looked; or one poll before, one after.
        let world = World::new();
        let mut ticket = submit(&world.channel, &["put"]);
        let _pending = poll(Pin::new(&mut ticket));
        eventually("the commit", || world.channel.stats().events == 1);
        give_up_ticket(ticket, polls);
        world.must_be_whole(vec!["put"]);
    }
}

#[test]
fn a_ticket_of_a_take_and_of_a_mark() {
    for polls in 0..POLLS {
        let mut world = World::new();
        put_all(&world.channel, &["a", "b", "c"]);
        world.leader_at_work();
        let take = world.channel.begin_take(TakeLimit::events(2)).unwrap();
        give_up_ticket(take.submit().unwrap(), polls);
        let mut mark = world.channel.begin_put();
        mark.set_mark(b"at", b"2").unwrap();
        let none = now(world.channel.reserve(0)).unwrap();
        give_up_ticket(mark.submit(none).unwrap(), polls);
        world.go_on();
        eventually("the mark", || world.channel.mark(b"at").is_some());
        world.must_be_whole(vec!["c", "leader"]);
    }
}

#[test]
fn one_ticket_of_a_group_and_the_others_are_answered() {
    for polls in 0..POLLS {
        for which in 0..3 {
            let mut world = World::new();
            world.leader_at_work();
            let mut tickets: Vec<Ticket> =
                (["a", "b", "c"].iter().map(|event| submit(&world.channel, &[event]))).collect();
            give_up_ticket(tickets.remove(which), polls);
            let others: Vec<_> = (tickets.into_iter())
                .map(|ticket| Builder::new().spawn(move || block_on(ticket)).unwrap())
                .collect();
            world.go_on();
            for other in others {
                other.join().unwrap().expect("an answer was lost").unwrap();
            }
            world.must_be_whole(vec!["leader", "a", "b", "c"]);
        }
    }
}

#[test]
fn a_ticket_of_a_log_that_is_closed_or_has_stopped() {
    for polls in 0..POLLS {
        // Submitted before the close: finished by it, whether or not somebody looks.
        let mut world = World::new();
        world.leader_at_work();
        let ticket = submit(&world.channel, &["put"]);
        let (closer, gate) = (world.channel.clone(), world.gate.clone());
        let closing = Builder::new().spawn(move || closer.close()).unwrap();
        eventually("the close", || world.channel.begin_take(TakeLimit::events(1)).is_err());
        give_up_ticket(ticket, polls);
        gate.set(Writes::Pass);
        closing.join().unwrap().unwrap();
        world.go_on();
        let World { dir, channel, .. } = world;
        drop(channel);
        assert_eq!(drain(&Channel::open(dir.path(), options()).unwrap()), ["leader", "put"]);

        // The write fails: the credits come back all the same.
        let mut world = World::new();
        world.leader_at_work();
        let ticket = submit(&world.channel, &["put"]);
        world.gate.set(Writes::Fail);
        eventually("the log stops itself", || world.channel.poisoned().is_some());
        give_up_ticket(ticket, polls);
        world.leaders.drain(..).for_each(|leader| leader.join().unwrap());
        eventually("the credits are back", || world.channel.stats().used == 0);
    }
}

#[test]
fn a_ticket_of_a_bare_log() {
    for polls in 0..POLLS {
        let dir = tempfile::tempdir().unwrap();
        let wal = Wal::open(dir.path(), WalOptions::default(), |_, _, _| Ok(())).unwrap();
        give_up_ticket(wal.submit(1, b"one").unwrap(), polls);
        assert_eq!(wal.append(1, b"two").unwrap().lsn.get(), 2);
        wal.close().unwrap();
        let mut replayed = Vec::new();
        Wal::open(dir.path(), WalOptions::default(), |_, _, body| {
            replayed.push(body.to_vec());
            Ok(())
        })
        .unwrap();
        assert_eq!(replayed, [b"one", b"two"]);
    }
}

#[test]
fn a_reservation_that_is_granted_at_once() {
    for polls in 0..2 {
        let world = World::new();
        let mut reserve = Box::pin(world.channel.reserve(4));
        for _ in 0..polls {
            // The room goes as it comes.
            assert!(matches!(poll(reserve.as_mut()), Poll::Ready(Ok(room)) if room.events() == 4));
        }
        drop(reserve);
        world.must_be_whole(vec![]);
    }
}

#[test]
fn a_reservation_that_is_refused() {
    for polls in 0..2 {
        let world = World::new();
        let mut reserve = Box::pin(world.channel.reserve(7));
        for _ in 0..polls {
            assert!(
                matches!(poll(reserve.as_mut()), Poll::Ready(Err(error)) if error.kind() == &ErrorKind::TooLarge)
            );
        }
        drop(reserve);
        world.must_be_whole(vec![]);
    }
}

/// First, in the middle and last in the queue; given up while it waits, and after it was granted without knowing.
#[test]
fn a_reservation_at_each_place_of_the_queue() {
    for polls in 1..POLLS {
        for which in 0..3 {
            for granted in [false, true] {
                let world = World::new();
                let held = now(world.channel.reserve(6)).unwrap();
                let mut waiting: Vec<_> =
                    (0..3).map(|_| Box::pin(world.channel.reserve(2))).collect();
                for one in &mut waiting {
                    assert!(poll_times(one.as_mut(), polls));
                }
                let one = waiting.remove(which);
                let both = if granted {
                    drop(held);
                    drop(one);
                    waiting
                } else {
                    drop(one);
                    drop(held);
                    waiting
                };
                let rooms: Vec<_> = both
                    .into_iter()
                    .map(|other| block_on(other).expect("a wake-up was lost").unwrap())
                    .collect();
                assert_eq!(world.channel.stats().used, 4);
                drop(rooms);
                world.must_be_whole(vec![]);
            }
        }
    }
}

#[test]
fn a_reservation_while_the_capacity_changes_and_the_channel_closes() {
    for polls in 1..POLLS {
        let world = World::new();
        put_all(&world.channel, &["a", "b", "c"]);
        let mut reserve = Box::pin(world.channel.reserve(4));
        assert!(poll_times(reserve.as_mut(), polls));
        world.channel.set_capacity(2);
        assert!(poll(reserve.as_mut()).is_pending());
        world.channel.set_capacity(CAPACITY);
        drop(reserve);
        world.must_be_whole(vec!["a", "b", "c"]);

        let world = World::new();
        put_all(&world.channel, &["a", "b", "c"]);
        let other = world.channel.clone();
        let mut reserve = Box::pin(other.reserve(4));
        assert!(poll_times(reserve.as_mut(), polls));
        let World { channel, .. } = world;
        channel.close().unwrap();
        drop(reserve);
        assert_eq!(other.stats().used, 3);
    }
}

/// Woken and gone, woken by a rollback and gone, gone without a word; somebody else waits behind it.
#[test]
fn a_ready_in_each_state() {
    for polls in 0..POLLS {
        for told in ["by nothing", "by a put", "by a rollback", "by what a taker leaves"] {
            let world = World::new();
            let lease = if told == "by nothing" || told == "by a put" {
                None
            } else {
                put_all(&world.channel, &["a", "b"]);
                Some(world.channel.begin_take(TakeLimit::events(2)).unwrap())
            };
            let mut first = Box::pin(world.channel.ready());
            assert!(poll_times(first.as_mut(), polls));
            let flag = Arc::new(Flag::default());
            let waker = Waker::from(Arc::clone(&flag));
            let mut second = Box::pin(world.channel.ready());
            assert!(second.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
            match told {
                "by a put" => put_all(&world.channel, &["a", "b"]),
                "by nothing" => {}
                "by a rollback" => drop(lease),
                _ => {
                    // One is told of the rollback and goes; the take leaves one event, and tells the next.
                    drop(lease);
                    let take = world.channel.begin_take(TakeLimit::events(1)).unwrap();
                    assert_eq!(take.records().len(), 1);
                    drop(take);
                }
            }
            drop(first);
            if told == "by nothing" {
                put_all(&world.channel, &["a", "b"]);
            }
            assert!(flag.is_woken(), "{told}, {polls} polls: the word is lost");
            assert!(poll(second.as_mut()).is_ready());
            drop(second);
            world.must_be_whole(vec!["a", "b"]);
        }
    }
}

#[test]
fn a_ready_of_a_channel_that_closes() {
    for polls in 0..POLLS {
        let World { channel, .. } = World::new();
        let other = channel.clone();
        let mut first = Box::pin(other.ready());
        let mut second = Box::pin(other.ready());
        assert!(poll_times(first.as_mut(), polls) && poll_times(second.as_mut(), 1));
        channel.close().unwrap();
        drop(first);
        assert!(poll(second.as_mut()).is_ready());
    }
}

/// Rooms that are held, transactions that are begun, leases in hands: dropped in each order, they leave nothing.
#[test]
fn what_is_held_when_the_future_is_through() {
    for order in 0..6 {
        let world = World::new();
        put_all(&world.channel, &["a", "b"]);
        let mut held: Vec<Box<dyn std::any::Any>> = vec![
            Box::new(now(world.channel.reserve(3)).unwrap()),
            Box::new(put_of(&world.channel, &["never"])),
            Box::new(world.channel.begin_take(TakeLimit::events(1)).unwrap()),
        ];
        drop(held.remove(order % 3));
        drop(held.remove(order / 3));
        drop(held);
        world.must_be_whole(vec!["a", "b"]);
    }
}

/// Four tasks race for room and give up at random points, while others put and take: no credit is lost.
#[test]
fn futures_given_up_in_a_race_lose_no_credit() {
    let world = World::new();
    let done = Arc::new(AtomicUsize::new(0));
    let rounds = 400;
    let threads: Vec<_> = (0..4)
        .map(|number| {
            let (channel, done) = (world.channel.clone(), Arc::clone(&done));
            let body = move || {
                for round in 0..rounds {
                    let events = 1 + u32::try_from((round + number) % 6).unwrap();
                    let mut reserve = Box::pin(channel.reserve(events));
                    let polls = (round * 7 + number) % 4;
                    let room = (0..polls).find_map(|_| match poll(reserve.as_mut()) {
                        Poll::Ready(room) => Some(room.unwrap()),
                        Poll::Pending => None,
                    });
                    if let Some(room) = room
                        && round % 3 == 0
                    {
                        let put = put_of(&channel, &texts("event", events as usize));
                        give_up_ticket(put.submit(room).unwrap(), round % 3);
                    }
                    drop(reserve);
                    let mut ready = Box::pin(channel.ready());
                    let _all_pending = poll_times(ready.as_mut(), round % 3);
                    let take = channel.begin_take(TakeLimit::events(events)).unwrap();
                    if round % 2 == 0 {
                        give_up_ticket(take.submit().unwrap(), polls);
                    }
                }
                done.fetch_add(1, Ordering::SeqCst);
            };
            Builder::new().spawn(body).unwrap()
        })
        .collect();
    eventually("the race", || done.load(Ordering::SeqCst) == 4);
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    // Commits that nobody waits for end by themselves.
    eventually("the last commits", || {
        let stats = world.channel.stats();
        stats.leased == 0 && stats.used == stats.events
    });
    drain(&world.channel);
    world.must_be_whole(vec![]);
}
