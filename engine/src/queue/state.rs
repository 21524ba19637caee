//! Which events are owed: the fold of the frames, and nothing else.
//!
//! A FIFO needs no index. Sequences are dense, so what is owed is "everything from `head` on, except the ranges taken out of order".
//! The events between are read forward by a cursor when takers come to them. So memory, checkpoints and restarts cost the same
//! whether a hundred events wait or a hundred million.

use crate::{
    error::{Error, Result},
    format::{Fields, Kind, PutBody, TakenRange, put_bytes, take_ranges},
    ids::{EventSeq, FramePtr, SegmentId},
    log::Frame,
};
use bytes::Bytes;
use std::collections::BTreeMap;

/// The durable state of a queue. Pure: no I/O, no clock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct State {
    /// The sequence of the next event to come. `head <= next_seq`.
    next_seq: EventSeq,
    /// The oldest event still owed; `next_seq` if none is.
    head: EventSeq,
    /// The frame of `head`, or one before it: a hint, checked by who follows it.
    head_frame: FramePtr,
    /// Ranges above `head` that are taken, by their first sequence. They neither touch `head` nor each other.
    taken: BTreeMap<EventSeq, Taken>,
    /// Events in `taken`.
    taken_count: u64,
    /// Small key-values, each set by a put.
    marks: BTreeMap<Bytes, Bytes>,
    /// False behind damage: a take may then name events that are not known to be owed.
    exact: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Taken {
    end: EventSeq,
    last_frame: FramePtr,
}

/// What a frame did to the state: what the volatile side has to follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// So many events came.
    Put(u32),
    /// So many events went.
    Took(u64),
    /// Nothing that a queue sees.
    Nothing,
}

impl Default for State {
    fn default() -> Self {
        Self::empty_at(EventSeq::default())
    }
}

impl State {
    /// An empty queue whose next event is `seq`.
    pub(crate) fn empty_at(seq: EventSeq) -> Self {
        Self {
            next_seq: seq,
            head: seq,
            head_frame: FramePtr { segment: SegmentId::new(0), offset: 0 },
            taken: BTreeMap::new(),
            taken_count: 0,
            marks: BTreeMap::new(),
            exact: true,
        }
    }

    /// What can be said behind segments that are gone with every image: nothing that lay before `seq` is known.
    pub(crate) fn behind_what_is_gone(seq: EventSeq) -> Self {
        Self { exact: false, ..Self::empty_at(seq) }
    }

    /// Counts the events up to `seq` as put, though their frames cannot be read: behind damage.
    pub(crate) fn pass_to(&mut self, seq: EventSeq) {
        self.next_seq = self.next_seq.max(seq);
        self.exact = false;
    }

    /// The only function that changes durable state of an open queue: live after a frame is durable, and in recovery.
    ///
    /// # Errors
    /// `Corrupt` if the frame contradicts the state: then it was not our own writer that made it, or there is a bug.
    pub(crate) fn apply(&mut self, frame: &Frame) -> Result<Change> {
        match frame.header.kind {
            Kind::PUT => self.apply_put(frame),
            Kind::TAKE => self.apply_take(frame),
            Kind::GAP => self.apply_gap(frame),
            _ => Ok(Change::Nothing),
        }
        .map_err(|error| error.of_lsn(frame.header.lsn))
    }

    fn apply_put(&mut self, frame: &Frame) -> Result<Change> {
        let header = &frame.header;
        if header.first_item != self.next_seq {
            return Err(Error::corrupt(format!(
                "a put begins with event {}, expected {}",
                header.first_item, self.next_seq
            )));
        }
        for (key, value) in PutBody::decode(frame.body.clone())?.marks()? {
            if value.is_empty() {
                self.marks.remove(key);
            } else {
                // A copy: a slice would keep the whole frame in memory.
                self.marks.insert(Bytes::copy_from_slice(key), Bytes::copy_from_slice(value));
            }
        }
        if self.head == self.next_seq {
            self.head_frame = frame.ptr;
        }
        self.next_seq = header.next_item();
        Ok(Change::Put(header.item_count))
    }

    fn apply_take(&mut self, frame: &Frame) -> Result<Change> {
        let ranges = take_ranges(&frame.body)?;
        if !self.exact {
            return self.take_what_is_owed(&ranges);
        }
        for range in &ranges {
            self.take_range(*range)?;
        }
        Ok(Change::Took(ranges.iter().map(|range| range.count).sum()))
    }

    /// Events that are lost are owed no more. Those that are not owed by now were taken after all: a frame behind the damage said so.
    fn apply_gap(&mut self, frame: &Frame) -> Result<Change> {
        self.take_what_is_owed(&take_ranges(&frame.body)?)
    }

    fn take_what_is_owed(&mut self, ranges: &[TakenRange]) -> Result<Change> {
        let mut taken = 0;
        for range in ranges {
            while let Some((first, end)) =
                self.owed_run(range.first).filter(|run| run.0 < range.end())
            {
                let count = end.min(range.end()).get() - first.get();
                self.take_range(TakenRange { first, count, ..*range })?;
                taken += count;
            }
        }
        Ok(Change::Took(taken))
    }

    fn take_range(&mut self, range: TakenRange) -> Result<()> {
        let (first, end) = (range.first, range.end());
        let before =
            self.taken.range(..=first).next_back().map_or(self.head, |(_, taken)| taken.end);
        let after = self.taken.range(first..).next().map_or(self.next_seq, |(first, _)| *first);
        if first < self.head || first < before || end > after {
            return Err(Error::corrupt(format!(
                "a take names events {first} to {}, which are not all owed",
                end.previous()
            )));
        }
        let mut merged = Taken { end, last_frame: range.last_frame };
        if let Some(next) = self.taken.remove(&end) {
            self.taken_count -= next.end.get() - end.get();
            merged = next;
        }
        if first == self.head {
            self.head = merged.end;
            self.head_frame = merged.last_frame;
            return Ok(());
        }
        // Joined to its left neighbour if they touch, else on its own.
        let joined = self
            .taken
            .range(..first)
            .next_back()
            .filter(|(_, left)| left.end == first)
            .map(|(left, _)| *left);
        self.taken_count += merged.end.get() - first.get();
        self.taken.insert(joined.unwrap_or(first), merged);
        Ok(())
    }

    /// The sequence of the next event to come.
    pub(crate) fn next_seq(&self) -> EventSeq {
        self.next_seq
    }

    /// The oldest event owed, or `next_seq`.
    pub(crate) fn head(&self) -> EventSeq {
        self.head
    }

    /// The frame of `head`, or one before it: a hint.
    pub(crate) fn head_frame(&self) -> FramePtr {
        self.head_frame
    }

    /// How many events are owed, leased ones included.
    pub(crate) fn owed(&self) -> u64 {
        self.next_seq.get() - self.head.get() - self.taken_count
    }

    /// The first owed event at or after `seq`, and the end of the run of owed events that it begins. `None` if there is none.
    pub(crate) fn owed_run(&self, seq: EventSeq) -> Option<(EventSeq, EventSeq)> {
        let mut first = seq.max(self.head);
        if let Some((_, taken)) = self.taken.range(..=first).next_back() {
            first = first.max(taken.end);
        }
        let end = self.taken.range(first..).next().map_or(self.next_seq, |(next, _)| *next);
        (first < end).then_some((first, end))
    }

    /// Of the events from one to before another, from the first to the last one owed. Equal if none is.
    pub(crate) fn owed_of(&self, (first, until): (EventSeq, EventSeq)) -> (EventSeq, EventSeq) {
        let mut owed = (first, first);
        let mut next = first;
        while let Some((run, end)) = self.owed_run(next).filter(|(run, _)| *run < until) {
            let first = if owed.0 < owed.1 { owed.0 } else { run };
            owed = (first, end.min(until));
            next = end;
        }
        owed
    }

    /// Ranges taken out of order, for tools: first and end.
    pub(crate) fn taken_ranges(&self) -> impl Iterator<Item = (EventSeq, EventSeq)> {
        self.taken.iter().map(|(first, taken)| (*first, taken.end))
    }

    /// The value of a mark.
    pub(crate) fn mark(&self, key: &[u8]) -> Option<Bytes> {
        self.marks.get(key).cloned()
    }

    /// All marks.
    pub(crate) fn marks(&self) -> &BTreeMap<Bytes, Bytes> {
        &self.marks
    }

    /// Bytes of all keys and values.
    pub(crate) fn marks_bytes(&self) -> usize {
        self.marks.iter().map(|(key, value)| key.len() + value.len()).sum()
    }

    /// The state as bytes, for an image.
    pub(crate) fn to_image(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(64 + self.taken.len() * 32 + self.marks_bytes());
        for number in [
            self.next_seq.get(),
            self.head.get(),
            self.head_frame.segment.get(),
            self.head_frame.offset,
        ] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out.extend_from_slice(&(self.taken.len() as u64).to_le_bytes());
        out.extend_from_slice(&(self.marks.len() as u64).to_le_bytes());
        for (first, taken) in &self.taken {
            for number in [
                first.get(),
                taken.end.get(),
                taken.last_frame.segment.get(),
                taken.last_frame.offset,
            ] {
                out.extend_from_slice(&number.to_le_bytes());
            }
        }
        for (key, value) in &self.marks {
            put_bytes(&mut out, key);
            put_bytes(&mut out, value);
        }
        out
    }

    /// Reads an image.
    ///
    /// # Errors
    /// `Corrupt` if it is none.
    pub(crate) fn from_image(image: &[u8]) -> Result<Self> {
        Self::read_image(Fields::new(image))
            .ok_or_else(|| Error::corrupt("the image of the queue is not one"))
    }

    fn read_image(mut fields: Fields<'_>) -> Option<Self> {
        let ptr = |fields: &mut Fields<'_>| {
            Some(FramePtr { segment: SegmentId::new(fields.u64()?), offset: fields.u64()? })
        };
        let (next_seq, head) = (EventSeq::new(fields.number()?), EventSeq::new(fields.number()?));
        let head_frame = ptr(&mut fields)?;
        let (range_count, mark_count) = (fields.u64()?, fields.u64()?);
        let mut state = Self { next_seq, head, head_frame, ..Self::default() };
        let mut above = head;
        for _ in 0..range_count {
            let (first, end) = (EventSeq::new(fields.u64()?), EventSeq::new(fields.u64()?));
            let last_frame = ptr(&mut fields)?;
            // Neither touching nor empty, and inside the queue: as `take_range` leaves them.
            if first <= above || end <= first || end > next_seq {
                return None;
            }
            above = end;
            state.taken_count += end.get() - first.get();
            state.taken.insert(first, Taken { end, last_frame });
        }
        let mut last: Option<&[u8]> = None;
        for _ in 0..mark_count {
            let (key, value) = (fields.sized_bytes()?, fields.sized_bytes()?);
            // Rising, as they are written: of a key that comes twice nobody could say which value is the last.
            if last.replace(key).is_some_and(|last| last >= key) {
                return None;
            }
            state.marks.insert(Bytes::copy_from_slice(key), Bytes::copy_from_slice(value));
        }
        (fields.is_empty() && head <= next_seq).then_some(state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::{
        FrameHeader, PUT_PREAMBLE_LEN, finish_put_body, put_event_prefix, take_body,
    };
    use crate::ids::Lsn;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn frame(lsn: u64, kind: Kind, first_item: u64, item_count: u32, body: Vec<u8>) -> Frame {
        let ptr = FramePtr { segment: SegmentId::new(1), offset: lsn * 1000 };
        let header = FrameHeader {
            salt: 1,
            lsn: Lsn::new(lsn),
            durable_lsn: Lsn::new(lsn - 1),
            first_item: EventSeq::new(first_item),
            item_count,
            body_len: u32::try_from(body.len()).unwrap(),
            time_ms: 0,
            kind,
            body_crc: 0,
        };
        Frame { header, ptr, body: body.into() }
    }

    fn put(lsn: u64, first: u64, count: u32, marks: &[(Bytes, Bytes)]) -> Frame {
        let mut body = vec![0; PUT_PREAMBLE_LEN];
        for _ in 0..count {
            body.extend_from_slice(&put_event_prefix(1));
            body.push(7);
        }
        finish_put_body(&mut body, 0, marks);
        frame(lsn, Kind::PUT, first, count, body)
    }

    fn take(lsn: u64, ranges: &[(u64, u64)]) -> Frame {
        let last_frame = FramePtr { segment: SegmentId::new(1), offset: lsn };
        let ranges: Vec<TakenRange> = ranges
            .iter()
            .map(|(first, count)| TakenRange {
                first: EventSeq::new(*first),
                count: *count,
                last_frame,
            })
            .collect();
        let mut body = Vec::new();
        take_body(&ranges, &mut body);
        frame(lsn, Kind::TAKE, 0, 0, body)
    }

    #[test]
    fn takes_out_of_order_close_ranks() {
        let mut state = State::default();
        assert_eq!(state.apply(&put(1, 0, 10, &[])).unwrap(), Change::Put(10));
        assert_eq!(state.apply(&take(2, &[(4, 2)])).unwrap(), Change::Took(2));
        state.apply(&take(3, &[(6, 1)])).unwrap();
        assert_eq!(
            state.taken_ranges().collect::<Vec<_>>(),
            [(EventSeq::new(4), EventSeq::new(7))]
        );
        assert_eq!(state.owed(), 7);
        state.apply(&take(4, &[(0, 4)])).unwrap();
        assert_eq!((state.head(), state.owed()), (EventSeq::new(7), 3));
        assert_eq!(
            state.head_frame().offset,
            3,
            "the frame of the last event taken before the head"
        );
        assert_eq!(state.taken_ranges().count(), 0);
    }

    #[test]
    fn a_take_of_what_is_not_owed_is_refused() {
        let mut state = State::default();
        state.apply(&put(1, 0, 10, &[])).unwrap();
        state.apply(&take(2, &[(4, 2)])).unwrap();
        for ranges in [[(5, 1)], [(3, 2)], [(3, 4)], [(9, 2)], [(5, 3)]] {
            assert!(state.clone().apply(&take(3, &ranges)).is_err(), "{ranges:?}");
        }
        assert!(state.apply(&put(3, 11, 1, &[])).is_err(), "a gap in the sequence");
    }

    #[test]
    fn marks_are_set_and_removed_with_puts() {
        let mark = |key: &'static str, value: &'static str| (Bytes::from(key), Bytes::from(value));
        let mut state = State::default();
        state.apply(&put(1, 0, 1, &[mark("a", "1"), mark("b", "2")])).unwrap();
        state.apply(&put(2, 1, 0, &[mark("a", "3"), mark("b", "")])).unwrap();
        assert_eq!(state.mark(b"a"), Some(Bytes::from("3")));
        assert_eq!(state.mark(b"b"), None);
    }

    proptest! {
        /// Against a set of sequences, which is obviously right.
        #[test]
        fn the_state_is_the_fold_of_its_frames(operations in prop::collection::vec((any::<bool>(), 0u64..40, 1u64..6), 0..60)) {
            let (mut state, mut owed, mut next) = (State::default(), BTreeSet::new(), 0);
            for (lsn, (is_put, at, count)) in (1..).zip(operations) {
                if is_put {
                    state.apply(&put(lsn, next, u32::try_from(count).unwrap(), &[])).unwrap();
                    owed.extend(next..next + count);
                    next += count;
                } else if (at..at + count).all(|seq| owed.contains(&seq)) {
                    state.apply(&take(lsn, &[(at, count)])).unwrap();
                    owed.retain(|seq| *seq < at || *seq >= at + count);
                } else {
                    prop_assert!(state.clone().apply(&take(lsn, &[(at, count)])).is_err());
                }
                prop_assert_eq!(state.owed(), owed.len() as u64);
                prop_assert_eq!(state.head().get(), owed.first().copied().unwrap_or(next));
                prop_assert_eq!(&State::from_image(&state.to_image()).unwrap(), &state);
                let mut seen = BTreeSet::new();
                let mut from = EventSeq::new(0);
                while let Some((first, end)) = state.owed_run(from) {
                    seen.extend(first.get()..end.get());
                    from = end;
                }
                prop_assert_eq!(&seen, &owed);
            }
        }

        #[test]
        fn no_image_makes_the_decoder_panic(image: Vec<u8>) {
            let _unused = State::from_image(&image).is_ok();
        }
    }
}
