//! The targets that are more than one decoder.

mod operations;
mod segment_scan;

pub(crate) use operations::operations;
pub(crate) use segment_scan::segment_scan;

use arbitrary::{Arbitrary, Unstructured};
use fchannel::fuzzing::AnyFrame;

#[derive(Arbitrary, Debug)]
struct Range {
    first: u8,
    count: u8,
    wild: Option<u64>,
}

#[derive(Arbitrary, Debug)]
enum FrameOf {
    Put { off_by: bool, events: u8, marks: Vec<(u8, u8)> },
    Take(Vec<Range>),
    Gap(Vec<Range>),
    Any { kind: u8, off_by: u8, events: u32, body: Vec<u8> },
}

impl FrameOf {
    /// Kind, distance from the event that comes next, events, body.
    fn frame(&self) -> (u8, u8, u32, Vec<u8>) {
        match self {
            Self::Put { off_by, events, marks } => {
                let mut body = [0, marks.len() as u32].map(u32::to_le_bytes).concat();
                for (key, value) in marks {
                    body.extend([1, 0, 0, 0, *key, *value, 0, 0, 0]);
                    body.resize(body.len() + usize::from(*value), 7);
                }
                (1, u8::from(*off_by), (*events).into(), body)
            }
            Self::Take(ranges) => (2, 0, 0, body_of(ranges)),
            Self::Gap(ranges) => (3, 0, 0, body_of(ranges)),
            Self::Any { kind, off_by, events, body } => (*kind, *off_by, *events, body.clone()),
        }
    }
}

fn body_of(ranges: &[Range]) -> Vec<u8> {
    let mut body = [ranges.len() as u32, 0].map(u32::to_le_bytes).concat();
    for range in ranges {
        let first = range.wild.unwrap_or(range.first.into());
        for number in [first, range.count.into(), 1, 64] {
            body.extend(number.to_le_bytes());
        }
    }
    body
}

/// Any frames, folded into a state.
pub(crate) fn fold(input: &[u8]) {
    let Ok(frames) = Vec::<FrameOf>::arbitrary(&mut Unstructured::new(input)) else { return };
    let frames: Vec<_> = frames.iter().map(FrameOf::frame).collect();
    fchannel::fuzzing::fold(frames.iter().map(|(kind, off_by, events, body)| AnyFrame {
        kind: *kind,
        first_item_off_by: *off_by,
        item_count: *events,
        body,
    }));
}

/// A decoder as a tired engineer would write it: who reports that all targets are sound must have found this one not to be.
pub(crate) fn canary(input: &[u8]) {
    let Some((len, rest)) = input.split_first_chunk::<4>() else { return };
    let headers_len = u32::from_le_bytes(*len) as usize;
    // Missing: that they are longer than the payload.
    if headers_len.is_multiple_of(8) && headers_len > 8 {
        assert!(rest[..headers_len].len() == headers_len);
    }
}
