//! The bodies of the queue's frames.
//!
//! ```text
//! put   = events_len: u32 | mark_count: u32 | { len: u32 | payload } ... | { len: u32 | key | len: u32 | value } ...
//! take  = range_count: u32 | 0: u32 | { first: u64 | count: u64 | segment: u64 | offset: u64 } ...
//! ```
//! The number of events of a put is in the frame header. `segment` and `offset` lead to the frame of the range's last event: a hint
//! that spares the walk from the start of a segment, checked when it is used.

use super::fields::{Fields, put_bytes};
use crate::{
    error::{Error, Result},
    ids::{EventSeq, FramePtr, SegmentId},
};
use bytes::Bytes;

/// Bytes that [`finish_put_body`] fills in at the front of a put body.
pub(crate) const PUT_PREAMBLE_LEN: usize = 8;
const TAKE_PREAMBLE_LEN: usize = 8;
const TAKEN_RANGE_LEN: usize = 32;

/// The length that stands before each payload in a put body.
pub(crate) fn put_event_prefix(payload_len: u32) -> [u8; 4] {
    payload_len.to_le_bytes()
}

/// Completes a put body: `body` begins with [`PUT_PREAMBLE_LEN`] free bytes and holds the events behind them.
///
/// # Panics
/// If the body takes 4 GiB; `transaction_bytes_max` is far below.
pub(crate) fn finish_put_body(body: &mut Vec<u8>, preamble_at: usize, marks: &[(Bytes, Bytes)]) {
    let events_len = u32::try_from(body.len() - preamble_at - PUT_PREAMBLE_LEN)
        .expect("a transaction is shorter than 4 GiB");
    let mark_count = u32::try_from(marks.len()).expect("marks are fewer than 2^32");
    if let Some(preamble) = body.get_mut(preamble_at..preamble_at + PUT_PREAMBLE_LEN) {
        let (low, high) = preamble.split_at_mut(4);
        low.copy_from_slice(&events_len.to_le_bytes());
        high.copy_from_slice(&mark_count.to_le_bytes());
    }
    for (key, value) in marks {
        put_bytes(body, key);
        put_bytes(body, value);
    }
}

/// A put body: events and marks are slices of it.
#[derive(Clone, Debug)]
pub(crate) struct PutBody {
    body: Bytes,
    events_len: usize,
    mark_count: u32,
}

impl PutBody {
    /// Reads the front of a put body.
    ///
    /// # Errors
    /// `Corrupt` if a length points outside.
    pub(crate) fn decode(body: Bytes) -> Result<Self> {
        let mut fields = Fields::new(&body);
        let (Some(events_len), Some(mark_count)) = (fields.u32(), fields.u32()) else {
            return Err(Error::corrupt("a put frame is shorter than its first fields"));
        };
        let events_len = events_len as usize;
        if events_len > fields.rest().len() {
            return Err(Error::corrupt("the events of a put frame are longer than the frame"));
        }
        Ok(Self { body, events_len, mark_count })
    }

    /// Offset of the first event's length.
    pub(crate) fn first_event(&self) -> usize {
        PUT_PREAMBLE_LEN
    }

    /// The payload whose length stands at `at`, and where the next one's does.
    ///
    /// # Errors
    /// `Corrupt` if it does not fit into the events of this frame.
    pub(crate) fn event_at(&self, at: usize) -> Result<(Bytes, usize)> {
        let end = PUT_PREAMBLE_LEN + self.events_len;
        let events = self.body.get(at..end).unwrap_or_default();
        let payload = Fields::new(events)
            .sized_bytes()
            .ok_or_else(|| Error::corrupt("an event of a put frame is longer than the frame"))?;
        Ok((self.body.slice_ref(payload), at + 4 + payload.len()))
    }

    /// All payloads of a frame that holds `count`.
    ///
    /// # Errors
    /// As [`event_at`](Self::event_at).
    pub(crate) fn events(&self, count: u32) -> impl Iterator<Item = Result<Bytes>> {
        let mut at = self.first_event();
        (0..count).map(move |_| {
            let (payload, next) = self.event_at(at)?;
            at = next;
            Ok(payload)
        })
    }

    /// The marks, as slices of the body.
    ///
    /// # Errors
    /// `Corrupt` if a length points outside.
    pub(crate) fn marks(&self) -> Result<Vec<(&[u8], &[u8])>> {
        let mut fields =
            Fields::new(self.body.get(PUT_PREAMBLE_LEN + self.events_len..).unwrap_or_default());
        let mut marks = Vec::new();
        for _ in 0..self.mark_count {
            match (fields.sized_bytes(), fields.sized_bytes()) {
                (Some(key), Some(value)) => marks.push((key, value)),
                _ => return Err(Error::corrupt("a mark of a put frame is longer than the frame")),
            }
        }
        if fields.is_empty() {
            Ok(marks)
        } else {
            Err(Error::corrupt("bytes behind the last mark of a put frame"))
        }
    }
}

/// Consecutive events that a transaction took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TakenRange {
    /// The first of them.
    pub(crate) first: EventSeq,
    /// How many, at least 1.
    pub(crate) count: u64,
    /// The frame of the last of them, or one before it: a hint.
    pub(crate) last_frame: FramePtr,
}

impl TakenRange {
    /// The first event behind the range.
    pub(crate) fn end(&self) -> EventSeq {
        self.first.plus(self.count)
    }
}

/// Appends a take body.
///
/// # Panics
/// At 2^32 ranges; a transaction is bounded by its event limit.
pub(crate) fn take_body(ranges: &[TakenRange], out: &mut Vec<u8>) {
    let count = u32::try_from(ranges.len()).expect("ranges are fewer than 2^32");
    out.reserve(TAKE_PREAMBLE_LEN + ranges.len() * TAKEN_RANGE_LEN);
    out.extend_from_slice(&count.to_le_bytes());
    out.extend_from_slice(&0u32.to_le_bytes());
    for range in ranges {
        out.extend_from_slice(&range.first.get().to_le_bytes());
        out.extend_from_slice(&range.count.to_le_bytes());
        out.extend_from_slice(&range.last_frame.segment.get().to_le_bytes());
        out.extend_from_slice(&range.last_frame.offset.to_le_bytes());
    }
}

/// Reads a take body.
///
/// # Errors
/// `Corrupt` if a length points outside, or a range is empty or passes 2^64.
pub(crate) fn take_ranges(body: &[u8]) -> Result<Vec<TakenRange>> {
    let mut fields = Fields::new(body);
    let (Some(range_count), Some(0)) = (fields.u32(), fields.u32()) else {
        return Err(Error::corrupt("a take frame is shorter than its first fields"));
    };
    if fields.rest().len() != range_count as usize * TAKEN_RANGE_LEN {
        return Err(Error::corrupt("a take frame is not as long as its ranges"));
    }
    let mut range = || {
        let (first, count) = (fields.u64()?, fields.u64()?);
        let last_frame = FramePtr { segment: SegmentId::new(fields.u64()?), offset: fields.u64()? };
        (count > 0 && first.checked_add(count).is_some()).then_some(TakenRange {
            first: EventSeq::new(first),
            count,
            last_frame,
        })
    };
    (0..range_count)
        .map(|_| {
            range().ok_or_else(|| Error::corrupt("a range of a take frame is empty or too long"))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn put(events: &[Vec<u8>], marks: &[(Bytes, Bytes)]) -> Bytes {
        let mut body = vec![0; PUT_PREAMBLE_LEN];
        for event in events {
            body.extend_from_slice(&put_event_prefix(u32::try_from(event.len()).unwrap()));
            body.extend_from_slice(event);
        }
        finish_put_body(&mut body, 0, marks);
        body.into()
    }

    proptest! {
        #[test]
        fn a_put_body_is_read_back(events: Vec<Vec<u8>>, marks: Vec<(Vec<u8>, Vec<u8>)>) {
            let marks: Vec<(Bytes, Bytes)> = marks.into_iter().map(|(key, value)| (key.into(), value.into())).collect();
            let body = PutBody::decode(put(&events, &marks)).unwrap();
            let count = u32::try_from(events.len()).unwrap();
            let read: Vec<Vec<u8>> = body.events(count).map(|event| event.unwrap().to_vec()).collect();
            prop_assert_eq!(read, events);
            let read: Vec<(Bytes, Bytes)> =
                body.marks().unwrap().into_iter().map(|(key, value)| (key.to_vec().into(), value.to_vec().into())).collect();
            prop_assert_eq!(read, marks);
        }

        #[test]
        fn a_take_body_is_read_back(ranges in prop::collection::vec((0u64..1 << 60, 1u64..1 << 60, any::<u64>(), any::<u64>()), 0..9)) {
            let ranges: Vec<TakenRange> = ranges
                .into_iter()
                .map(|(first, count, segment, offset)| TakenRange {
                    first: EventSeq::new(first),
                    count,
                    last_frame: FramePtr { segment: SegmentId::new(segment), offset },
                })
                .collect();
            let mut body = Vec::new();
            take_body(&ranges, &mut body);
            prop_assert_eq!(take_ranges(&body).unwrap(), ranges);
        }

        #[test]
        fn no_body_makes_a_decoder_panic(body: Vec<u8>, count: u32) {
            let _unused = take_ranges(&body).is_ok();
            if let Ok(put) = PutBody::decode(body.into()) {
                let _unused = put.marks().is_ok();
                let _unused = put.events(count.min(100)).filter(Result::is_ok).count();
            }
        }
    }
}
