//! The paths of the engine one at a time, to be counted: `cargo x instructions`. A count is true on a noisy machine, where no time is.
//!
//! All runs on one thread and a disk of memory, and what goes before is the same for each number of rounds: so the counts of two runs
//! differ by what the path itself needs.
#![expect(unsafe_code, reason = "an allocator is unsafe by its nature; this one only counts")]

use fchannel::{Channel, Options, TakeLimit, io::Vfs};
use fchannel_benches::{EVENT_BYTES, memory::MemoryVfs, noise};
use std::{
    alloc::{GlobalAlloc, Layout, System},
    error::Error,
    hint::black_box,
    path::Path as FilePath,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);
static BYTES: AtomicU64 = AtomicU64::new(0);

fn count(bytes: usize) {
    ALLOCATIONS.fetch_add(1, Relaxed);
    BYTES.fetch_add(bytes as u64, Relaxed);
}

// SAFETY: all calls go to the system's allocator as they come.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: the caller keeps the contract of `alloc`, which is the same one.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: as in `alloc`.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size.saturating_sub(layout.size()));
        // SAFETY: the caller keeps the contract of `realloc`, and the block came from `System`.
        unsafe { System.realloc(block, layout, size) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: as in `realloc`.
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

type Round = Box<dyn FnMut()>;

struct Path {
    name: &'static str,
    /// What its figures are for each of, and how many of these a round is.
    unit: &'static str,
    units: u32,
    /// The most that are asked for: `prepare` makes ready for so many.
    rounds: u32,
    prepare: fn(&Path) -> Round,
}

const PATHS: [Path; 6] = [
    Path {
        name: "put-1",
        unit: "event",
        units: 1,
        rounds: 4_000,
        prepare: |_| puts(1, EVENT_BYTES),
    },
    Path {
        name: "put-100",
        unit: "event",
        units: 100,
        rounds: 200,
        prepare: |_| puts(100, EVENT_BYTES),
    },
    // An event of no bytes: what is left is the commit.
    Path { name: "commit", unit: "commit", units: 1, rounds: 4_000, prepare: |_| puts(1, 0) },
    Path {
        name: "take-100-memory",
        unit: "event",
        units: 100,
        rounds: 200,
        prepare: |path| takes(path, 1 << 30),
    },
    Path {
        name: "take-1000-backlog",
        unit: "event",
        units: 1_000,
        rounds: 40,
        prepare: |path| takes(path, 0),
    },
    Path { name: "recovery", unit: "frame", units: FRAMES, rounds: 6, prepare: recoveries },
];

/// What a recovery replays.
const FRAMES: u32 = 1_000;

fn open(vfs: &Arc<MemoryVfs>, tail_cache_bytes: u64) -> Channel {
    let vfs: Arc<dyn Vfs> = Arc::clone(vfs) as _;
    let options = Options {
        capacity_events: 1 << 40,
        free_space_min_bytes: 0,
        tail_cache_bytes,
        // Nothing but what is counted: no checkpoint, no rotation in between.
        checkpoint_log_bytes: u64::MAX,
        segment_bytes_max: 8 << 30,
        checkpoint_on_close: false,
        ..Options::default()
    };
    Channel::open_on(vfs, FilePath::new("/channel"), options).expect("memory can be opened")
}

fn put(channel: &Channel, payload: &[u8], events: u32) {
    let mut put = channel.begin_put();
    for _ in 0..events {
        put.push(payload).expect("the transaction is small");
    }
    put.commit().expect("memory takes every commit");
}

fn puts(events: u32, event_bytes: usize) -> Round {
    // So little that frames leave it all the time, as they do in a long life.
    let channel = open(&Arc::default(), 1 << 20);
    let payload = noise(1, event_bytes);
    // The first commit makes what later ones find.
    put(&channel, &payload, events);
    Box::new(move || put(&channel, &payload, events))
}

fn takes(path: &Path, tail_cache_bytes: u64) -> Round {
    let channel = open(&Arc::default(), tail_cache_bytes);
    let payload = noise(2, EVENT_BYTES);
    for _ in 0..=path.rounds {
        put(&channel, &payload, path.units);
    }
    let events = path.units;
    let round = move || {
        let take = channel.begin_take(TakeLimit::events(events)).expect("memory can be read");
        assert_eq!(black_box(take.records()).len(), events as usize);
        take.commit().expect("memory takes every commit");
    };
    round();
    Box::new(round)
}

fn recoveries(path: &Path) -> Round {
    let vfs = Arc::new(MemoryVfs::default());
    let channel = open(&vfs, 0);
    let payload = noise(3, EVENT_BYTES);
    for _ in 0..path.units {
        put(&channel, &payload, 1);
    }
    drop(channel);
    let mut copies: Vec<_> = (0..path.rounds).map(|_| Arc::new(vfs.copy())).collect();
    Box::new(move || {
        let vfs = copies.pop().expect("as many as rounds");
        let channel = open(&vfs, 0);
        assert_eq!(channel.stats().events, u64::from(FRAMES));
    })
}

/// Runs so many rounds; answers the allocations of these, and their bytes.
fn run(path: &Path, rounds: u32) -> (u64, u64) {
    let mut round = (path.prepare)(path);
    let before = (ALLOCATIONS.load(Relaxed), BYTES.load(Relaxed));
    for _ in 0..rounds {
        round();
    }
    (ALLOCATIONS.load(Relaxed) - before.0, BYTES.load(Relaxed) - before.1)
}

fn main() -> Result<(), Box<dyn Error>> {
    // What `cargo bench` adds.
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    match words.as_slice() {
        // NAME ROUNDS, for who counts.
        [name, rounds] => {
            let path =
                PATHS.iter().find(|path| path.name == name).ok_or("there is no such path")?;
            let (allocations, bytes) = run(path, rounds.parse::<u32>()?.min(path.rounds));
            println!("{allocations} {bytes}");
        }
        // What there is to count.
        _ => {
            for Path { name, unit, units, rounds, .. } in &PATHS {
                println!("{name} {unit} {units} {rounds}");
            }
        }
    }
    Ok(())
}
