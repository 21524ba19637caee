//! What the tests share: a gate before each write, and small helpers.
#![allow(dead_code, reason = "which helpers a test binary uses differs from binary to binary")]
#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    clippy::indexing_slicing,
    reason = "a helper that fails fails its test"
)]

pub(crate) mod full;
pub(crate) mod gate;
pub(crate) mod place;

use fchannel::{Channel, PutTransaction, TakeLimit, Ticket};
use std::{
    future::Future,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    time::{Duration, Instant},
};

/// Long enough for any machine; a test that needs it has failed.
pub(crate) const SOON: Duration = Duration::from_secs(30);

/// A number from the environment: how much a test does, or which seed it replays.
pub(crate) fn env(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// The seeds of a randomised test: `count` of them, or `FCHANNEL_SEEDS` many, or the one of `FCHANNEL_SEED`.
pub(crate) fn seeds(count: u64) -> std::ops::Range<u64> {
    match env("FCHANNEL_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..env("FCHANNEL_SEEDS").unwrap_or(count),
    }
}

/// A waker that remembers whether it was woken.
#[derive(Default)]
pub(crate) struct Flag {
    woken: AtomicBool,
    thread: Option<std::thread::Thread>,
}

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.woken.store(true, Ordering::SeqCst);
        if let Some(thread) = &self.thread {
            thread.unpark();
        }
    }
}

impl Flag {
    pub(crate) fn is_woken(&self) -> bool {
        self.woken.load(Ordering::SeqCst)
    }
}

/// Polls once.
pub(crate) fn poll<F: Future + ?Sized>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

/// Polls a future that is ready at once.
pub(crate) fn now<F: Future>(future: F) -> F::Output {
    match poll(pin!(future)) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("the future is not ready"),
    }
}

/// Waits for a future on this thread; `None` if it is not ready [`SOON`]: a wake-up was lost.
pub(crate) fn block_on<F: Future>(future: F) -> Option<F::Output> {
    let flag =
        Arc::new(Flag { woken: AtomicBool::new(false), thread: Some(std::thread::current()) });
    let waker = Waker::from(Arc::clone(&flag));
    let deadline = Instant::now() + SOON;
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return Some(output);
        }
        while !flag.woken.swap(false, Ordering::SeqCst) {
            let left = deadline.checked_duration_since(Instant::now())?;
            std::thread::park_timeout(left);
        }
    }
}

/// Waits for `condition` to become true.
pub(crate) fn eventually(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + SOON;
    while !condition() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        std::thread::yield_now();
    }
}

/// A put transaction of these payloads.
pub(crate) fn put_of<T: AsRef<[u8]>>(channel: &Channel, payloads: &[T]) -> PutTransaction {
    let mut put = channel.begin_put();
    for payload in payloads {
        put.push(payload.as_ref()).unwrap();
    }
    put
}

/// Commits these payloads as one transaction.
pub(crate) fn put_all<T: AsRef<[u8]>>(channel: &Channel, payloads: &[T]) {
    put_of(channel, payloads).commit().unwrap();
}

/// Submits these payloads as one transaction; there must be room.
pub(crate) fn submit<T: AsRef<[u8]>>(channel: &Channel, payloads: &[T]) -> Ticket {
    let room = now(channel.reserve(u32::try_from(payloads.len()).unwrap())).unwrap();
    put_of(channel, payloads).submit(room).unwrap()
}

/// `count` texts that begin with `prefix` and are told apart by their number.
pub(crate) fn texts(prefix: &str, count: usize) -> Vec<String> {
    (0..count).map(|number| format!("{prefix}{number}")).collect()
}

/// Takes everything for good, `at_once` events in each transaction.
pub(crate) fn drain_by(channel: &Channel, at_once: u32) -> Vec<String> {
    let mut taken = Vec::new();
    loop {
        let take = channel.begin_take(TakeLimit::events(at_once)).unwrap();
        if take.records().is_empty() {
            return taken;
        }
        taken.extend(payloads(take.records()));
        take.commit().unwrap();
    }
}

/// Takes everything for good.
pub(crate) fn drain(channel: &Channel) -> Vec<String> {
    drain_by(channel, 100)
}

/// Payloads as text.
pub(crate) fn payloads(records: &[fchannel::Record]) -> Vec<String> {
    records.iter().map(|record| String::from_utf8_lossy(&record.payload).into_owned()).collect()
}
