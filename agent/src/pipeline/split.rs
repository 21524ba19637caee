//! Cuts one channel's part of a batch into transactions that fit it.

use crate::component::{ChannelLimits, PutBatch};
use bytes::Bytes;
use fchannel::Event;
use std::collections::VecDeque;

/// The transactions still to be made. The marks go with the last one: what they say is true only once all events are in.
pub(super) struct Split {
    events: VecDeque<Event>,
    marks: Vec<(Bytes, Bytes)>,
    events_max: usize,
    bytes_max: u64,
    /// The last event was too large with the marks: they go after it.
    marks_apart: bool,
}

impl Split {
    pub(super) fn new(events: Vec<Event>, marks: &[(Bytes, Bytes)], limits: ChannelLimits) -> Self {
        let events_max = limits.transaction_events_max.unwrap_or(u64::MAX).max(1);
        Self {
            events: events.into(),
            marks: marks.to_vec(),
            events_max: usize::try_from(events_max).unwrap_or(usize::MAX),
            bytes_max: limits.transaction_bytes_max.unwrap_or(u64::MAX),
            marks_apart: false,
        }
    }

    /// The next transaction; `None` when all are made. An event over the byte limit stands alone: the channel says what is wrong with it.
    pub(super) fn next(&mut self) -> Option<PutBatch> {
        if self.events.is_empty() && self.marks.is_empty() {
            return None;
        }
        let mut count = 0;
        let mut bytes = 0_u64;
        for event in self.events.iter().take(self.events_max) {
            bytes = bytes.saturating_add(event.encoded_len() as u64);
            if bytes > self.bytes_max && count > 0 {
                break;
            }
            count += 1;
        }
        let rest = self.events.split_off(count);
        let events = std::mem::replace(&mut self.events, rest).into();
        let with_marks = self.events.is_empty() && (count == 0 || !self.marks_apart);
        let marks = if with_marks { std::mem::take(&mut self.marks) } else { Vec::new() };
        Some(PutBatch { events, marks })
    }

    /// Takes back a transaction that was too large for the channel though not by the limits it states, to cut it smaller: fewer events, or
    /// a last event without the marks. False if there is nothing left to cut.
    pub(super) fn cut(&mut self, part: &mut PutBatch) -> bool {
        let marked = !part.marks.is_empty();
        match part.events.len() {
            0 => return false,
            1 if !marked => return false,
            1 => self.marks_apart = true,
            events => self.events_max = events / 2,
        }
        for event in part.events.drain(..).rev() {
            self.events.push_front(event);
        }
        self.marks.append(&mut part.marks);
        true
    }
}
