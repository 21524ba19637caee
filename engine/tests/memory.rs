//! Memory and restart time do not grow with what waits.
//!
//! Peak memory is counted by the allocator of this test binary, so its tests run one at a time: another thread's memory would count too.
#![expect(unsafe_code, reason = "an allocator is unsafe by its nature; this one only counts")]
#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

use fchannel::{Channel, Options, TakeLimit};
use std::{
    alloc::{GlobalAlloc, Layout, System},
    future::Future,
    path::Path,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    task::{Context, Poll, Waker},
};

struct Counting;

static LIVE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

// SAFETY: all calls go to the system's allocator as they come.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let live = LIVE.fetch_add(layout.size(), SeqCst) + layout.size();
        PEAK.fetch_max(live, SeqCst);
        // SAFETY: the caller keeps the contract of `alloc`, which is the same one.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), SeqCst);
        // SAFETY: the caller keeps the contract of `dealloc`, and the block came from `System`.
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// What `work` needed at its peak beyond what was there before.
fn peak_of<T>(work: impl FnOnce() -> T) -> (T, usize) {
    let before = LIVE.load(SeqCst);
    PEAK.store(before, SeqCst);
    let answer = work();
    (answer, PEAK.load(SeqCst) - before)
}

fn options() -> Options {
    Options {
        segment_bytes_max: 4 << 20,
        free_space_min_bytes: 0,
        checkpoint_log_bytes: 4 << 20,
        tail_cache_bytes: 1 << 20,
        capacity_events: 10_000_000,
        ..Options::default()
    }
}

#[derive(Debug)]
struct Cost {
    fill: usize,
    open: usize,
    take: usize,
    scanned_after_close: u64,
    scanned_after_kill: u64,
    checkpoint: u64,
}

fn largest_checkpoint(dir: &Path) -> u64 {
    let files = dir.read_dir().unwrap().map(|entry| entry.unwrap());
    let checkpoints =
        files.filter(|file| file.file_name().to_string_lossy().starts_with("checkpoint-"));
    checkpoints.map(|file| file.metadata().unwrap().len()).max().unwrap()
}

fn cost_of(events: u64) -> Cost {
    let dir = tempfile::tempdir().unwrap();
    let open = || Channel::open(dir.path(), options()).unwrap();
    let ((), fill) = peak_of(|| {
        let channel = open();
        for _ in 0..events / 1_000 {
            let mut put = channel.begin_put();
            (0..1_000).for_each(|_| put.push(&[7; 100]).unwrap());
            put.commit().unwrap();
        }
        channel.close().unwrap();
    });
    let (channel, open_peak) = peak_of(open);
    assert_eq!(channel.stats().events, events);
    let scanned_after_close = channel.recovery().bytes_scanned;
    let ((), take) = peak_of(|| {
        for round in 0..20 {
            let take = channel.begin_take(TakeLimit::events(1_000)).unwrap();
            assert_eq!(take.records().len(), 1_000);
            if round % 2 == 0 {
                take.commit().map(drop).unwrap()
            }
        }
    });
    drop(channel);
    let scanned_after_kill = open().recovery().bytes_scanned;
    Cost {
        fill,
        open: open_peak,
        take,
        scanned_after_close,
        scanned_after_kill,
        checkpoint: largest_checkpoint(dir.path()),
    }
}

#[test]
fn neither_memory_nor_restarts_nor_checkpoints_grow_with_what_waits() {
    let _alone = ONE_AT_A_TIME.lock();
    let few = cost_of(20_000);
    let many = cost_of(200_000);
    println!("{few:?}\n{many:?}");
    let bound = 8 << 20; // the tail cache, a transaction, a few read windows
    for cost in [&few, &many] {
        assert!(cost.fill < bound && cost.open < bound && cost.take < bound, "{cost:?}");
        assert!(cost.checkpoint < 1 << 10, "{cost:?}");
        assert!(cost.scanned_after_close == 0, "{cost:?}");
        assert!(cost.scanned_after_kill < options().checkpoint_log_bytes + (1 << 20), "{cost:?}");
    }
    assert!(
        many.open < few.open + (256 << 10),
        "an open with ten times as many events: {few:?}, {many:?}"
    );
    assert_eq!(many.checkpoint, few.checkpoint);
}

/// What a put costs that waits for room: its own buffer, which the caller filled, and its place in the queue.
#[test]
fn a_put_that_waits_for_room_costs_its_events_and_little_more() {
    let _alone = ONE_AT_A_TIME.lock();
    const WAITING: usize = 5_000;
    const EVENT_BYTES: usize = 500;
    let dir = tempfile::tempdir().unwrap();
    let channel = Channel::open(
        dir.path(),
        Options { capacity_events: 1, transaction_events_max: 1, ..options() },
    )
    .unwrap();
    channel.put(b"full").unwrap();
    let mut cx = Context::from_waker(Waker::noop());
    let (mut waiting, cost) = peak_of(|| {
        let mut waiting = Vec::with_capacity(WAITING);
        for _ in 0..WAITING {
            let mut put = channel.begin_put();
            put.push(&[7; EVENT_BYTES]).unwrap();
            let mut room = Box::pin(channel.reserve(1));
            assert!(room.as_mut().poll(&mut cx).is_pending());
            waiting.push((put, room));
        }
        waiting
    });
    println!("{} bytes for each of {WAITING} blocked puts of {EVENT_BYTES} bytes", cost / WAITING);
    assert!(cost / WAITING < 2 * EVENT_BYTES + 512, "{} bytes each", cost / WAITING);
    // Each is served in its turn, and none is left behind.
    let served = waiting.drain(..).filter_map(|(put, mut room)| {
        channel.begin_take(TakeLimit::events(1)).unwrap().commit().unwrap();
        match room.as_mut().poll(&mut cx) {
            Poll::Ready(room) => Some(put.submit(room.unwrap()).unwrap().wait().unwrap()),
            Poll::Pending => None,
        }
    });
    assert_eq!(served.take(200).count(), 200);
    assert_eq!(channel.stats().used, 1, "those that gave up left nothing");
}
