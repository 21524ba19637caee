//! The processor's share: the same calls on a disk of memory, so that a slower commit here is a slower program, not a slower disk.

use bytes::Bytes;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use fchannel::{Channel, Event, Headers, Options, TakeLimit, io::Vfs};
use fchannel_benches::{EVENT_BYTES, memory::MemoryVfs, noise};
use std::{
    hint::black_box,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

const DIR: &str = "/channel";

fn options() -> Options {
    Options {
        capacity_events: 1 << 40,
        free_space_min_bytes: 0,
        // Nothing but what is measured: no checkpoint, no rotation in between.
        checkpoint_log_bytes: u64::MAX,
        segment_bytes_max: 8 << 30,
        checkpoint_on_close: false,
        ..Options::default()
    }
}

fn open(vfs: &Arc<MemoryVfs>) -> Channel {
    let vfs: Arc<dyn Vfs> = Arc::clone(vfs) as _;
    Channel::open_on(vfs, Path::new(DIR), options()).expect("memory can be opened")
}

fn put(channel: &Channel, payload: &[u8], events: u32) {
    let mut put = channel.begin_put();
    for _ in 0..events {
        put.push(payload).expect("the transaction is small");
    }
    put.commit().expect("memory takes every commit");
}

/// Times `work` on channels that are opened anew, untimed, after so many rounds: memory does not fill up.
fn timed(iterations: u64, rounds_max: u64, work: impl Fn(&Channel)) -> Duration {
    let (mut took, mut left) = (Duration::ZERO, iterations);
    while left > 0 {
        let rounds = left.min(rounds_max);
        let channel = open(&Arc::new(MemoryVfs::default()));
        let started = Instant::now();
        for _ in 0..rounds {
            work(&channel);
        }
        took += started.elapsed();
        left -= rounds;
    }
    took
}

/// Frame, checksum, group, apply: all of a put but the disk.
fn puts(criterion: &mut Criterion) {
    let payload = noise(1, EVENT_BYTES);
    let mut group = criterion.benchmark_group("put");
    for events in [1u32, 100] {
        group.throughput(Throughput::Elements(u64::from(events)));
        group.bench_function(format!("commit of {events}"), |bencher| {
            bencher.iter_custom(|iterations| {
                let rounds_max = 100_000 / u64::from(events);
                timed(iterations, rounds_max, |channel| put(channel, &payload, events))
            });
        });
    }
    group.finish();
}

/// A put and the take of what it brought: the lease, the tail cache, the take frame.
fn put_and_take(criterion: &mut Criterion) {
    let payload = noise(2, EVENT_BYTES);
    let mut group = criterion.benchmark_group("put and take");
    group.throughput(Throughput::Elements(100));
    group.bench_function("100", |bencher| {
        bencher.iter_custom(|iterations| {
            timed(iterations, 1_000, |channel| {
                put(channel, &payload, 100);
                let take = channel.begin_take(TakeLimit::events(100)).expect("memory can be read");
                assert_eq!(take.records().len(), 100);
                take.commit().expect("memory takes every commit");
            })
        });
    });
    group.finish();
}

/// An open that replays 10,000 frames: the scan, both checksums of each frame, the fold.
fn replay(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("replay");
    for (frames, events) in [(10_000u64, 1u32), (1_000, 100)] {
        let vfs = Arc::new(MemoryVfs::default());
        let channel = open(&vfs);
        let payload = noise(3, EVENT_BYTES);
        for _ in 0..frames {
            put(&channel, &payload, events);
        }
        drop(channel);
        group.throughput(Throughput::Bytes(frames * u64::from(events) * EVENT_BYTES as u64));
        group.bench_function(format!("{frames} frames of {events}"), |bencher| {
            bencher.iter_batched(
                || Arc::new(vfs.copy()),
                |vfs| black_box(open(&vfs)),
                BatchSize::PerIteration,
            );
        });
    }
    group.finish();
}

/// The one codec of an event.
fn codec(criterion: &mut Criterion) {
    let event = Event::new(
        Headers::from_iter([("host", "web1"), ("level", "info")]),
        noise(4, EVENT_BYTES),
    );
    let mut payload = Vec::new();
    event.encode_into(&mut payload);
    let payload = Bytes::from(payload);
    let mut group = criterion.benchmark_group("event");
    group.throughput(Throughput::Elements(1));
    group.bench_function("encode", |bencher| {
        let mut out = Vec::with_capacity(1024);
        bencher.iter(|| {
            out.clear();
            black_box(&event).encode_into(&mut out);
        });
    });
    group.bench_function("decode", |bencher| {
        bencher.iter(|| Event::decode(black_box(&payload).clone()).expect("an event"));
    });
    group.finish();
}

criterion_group!(benches, puts, put_and_take, replay, codec);
criterion_main!(benches);
