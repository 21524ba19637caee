//! Buffers that serve again: what was in them is not seen, and what is still read is not written over.

#![expect(clippy::cast_possible_truncation, reason = "places in a file of some MiB")]

use fchannel::{
    Channel, FrameRow, Inspector, Options, Position, TakeLimit,
    io::sim::{Rng, SimVfs},
};
use std::{collections::VecDeque, ops::ControlFlow, path::Path, sync::Arc};

const HOME: &str = "/disk";
const FRAME_HEADER_BYTES: u64 = 64;

fn open(world: &SimVfs) -> Channel {
    let options = Options {
        segment_bytes_max: 16 << 20,
        free_space_min_bytes: 0,
        keep_alive_ms: 0,
        // A few large frames: the others leave it, and so do their buffers.
        tail_cache_bytes: 256 << 10,
        ..Options::default()
    };
    Channel::open_on(Arc::new(world.clone()), Path::new(HOME), options).expect("it opens")
}

/// Of an odd length, and no two alike.
fn event(rng: &mut Rng, number: u64) -> Vec<u8> {
    let len = if rng.chance(70) { 20_000 + rng.below(30_000) } else { rng.below(400) };
    let mut bytes = number.to_le_bytes().to_vec();
    bytes.resize(8 + len as usize, 1 + (number % 255) as u8);
    bytes
}

#[test]
fn frames_of_all_lengths_in_buffers_that_served_others() {
    let world = SimVfs::new(31);
    let channel = open(&world);
    let mut rng = Rng::new(31);
    let mut waiting = VecDeque::new();
    let mut held = Vec::new();
    for number in 0..600 {
        let event = event(&mut rng, number);
        channel.put(&event).unwrap();
        waiting.push_back(event);
        if rng.chance(60) {
            let take = channel.begin_take(TakeLimit::events(1)).unwrap();
            let expected = waiting.pop_front().unwrap();
            assert_eq!(take.records()[0].payload[..], expected[..]);
            if rng.chance(10) {
                // Who still reads it long after its frame has left.
                held.push((take.records()[0].payload.clone(), expected));
            }
            take.commit().unwrap();
        }
    }
    assert!(held.len() > 10);
    for (payload, expected) in held {
        assert_eq!(payload[..], expected[..]);
    }
    channel.close().unwrap();
    world.kill();

    let inspector = Inspector::open_on(Arc::new(world.clone()), Path::new(HOME)).unwrap();
    let mut seen = 0;
    let mut row = |row: FrameRow| {
        let FrameRow::Frame(frame) = row else { panic!("damage: {row:?}") };
        let file = Path::new(HOME).join(format!("seg-{}", frame.ptr.segment));
        let content = world.content(&file).expect("the segment is there");
        let end = frame.ptr.offset + FRAME_HEADER_BYTES + frame.body.len() as u64;
        let padding = &content[end as usize..end.next_multiple_of(8) as usize];
        assert!(padding.iter().all(|byte| *byte == 0), "{padding:?} behind {:?}", frame.ptr);
        seen += u32::from(frame.kind() == "put");
        ControlFlow::Continue(())
    };
    inspector.frames(Position::Oldest, Position::Newest, &mut row).unwrap();
    assert!(seen > 100, "{seen}");

    let channel = open(&world);
    for expected in waiting {
        let take = channel.begin_take(TakeLimit::events(1)).unwrap();
        assert_eq!(take.records()[0].payload[..], expected[..]);
        take.commit().unwrap();
    }
    assert_eq!(channel.stats().events, 0);
}
