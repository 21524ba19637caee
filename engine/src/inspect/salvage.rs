//! What can still be read in the raw bytes of a damage: a guess as good as the bytes, never more.
//!
//! Frames are found by their own salts and checksums. A body whose checksum is wrong is taken apart as far as its lengths lead: an event
//! has no checksum of its own, so that nobody can say which event of such a frame the damage lies in.

use super::Inspector;
use crate::{
    error::Result,
    format::{FRAME_ALIGN, FRAME_HEADER_LEN, Fields, FrameHeader, Kind, PUT_PREAMBLE_LEN, crc32},
    ids::{EventSeq, Lsn},
    log::Quarantined,
};
use bytes::Bytes;

/// Zeros at the end of a copy are not kept; a body is given back so many of them at most.
const ZEROS_BYTES_MAX: usize = 64 << 20;
const HEADER_LEN_AT: std::ops::Range<usize> = 50..52;

/// How the body of a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyState {
    /// Its checksum is right.
    Sound,
    /// Its checksum is wrong.
    Damaged,
    /// The bytes end before it does.
    Cut,
    /// It is not a frame of the damage: nobody looked.
    NotRead,
}

/// A frame that was found in raw bytes.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SalvagedFrame {
    /// Where its header begins, from the first of the raw bytes on.
    pub offset: u64,
    /// False for what an older file left in the same blocks: it was settled long ago, and nothing of it is owed.
    pub own: bool,
    /// True if the checksum of its header is right. Only for the first frame a wrong one is tried: where its body proves it.
    pub header_sound: bool,
    /// How its body is.
    pub body: BodyState,
    /// Its place in the order of the log.
    pub lsn: Lsn,
    /// The first event in it, or the next one to come if it holds none.
    pub first: EventSeq,
    /// How many events it says it holds.
    pub items: u32,
    /// The length of its body, as it says.
    pub body_len: u32,
    /// Wall clock of its commit, in milliseconds since 1970.
    pub time_ms: u64,
    /// Its events, as far as the structure holds. Nothing for frames that are not its own, and for other kinds than `put`.
    pub events: Vec<SalvagedEvent>,
    salt: u64,
    kind: Kind,
    body_crc: u32,
}

/// An event that was found in raw bytes.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SalvagedEvent {
    /// Its sequence, while it was in the log.
    pub seq: EventSeq,
    /// True if it is one of those that the damage names as lost. The others were never owed, or are delivered.
    pub lost: bool,
    /// True if the checksum of its frame's body is right.
    pub verified: bool,
    /// What was put, if that is not where the damage is.
    pub payload: Bytes,
}

impl SalvagedFrame {
    /// `put`, `take`, and so on, as [`FrameInfo::kind`](crate::FrameInfo::kind).
    #[must_use]
    pub fn kind(&self) -> String {
        self.kind.name()
    }

    pub(crate) fn is_take(&self) -> bool {
        self.kind == Kind::TAKE
    }

    fn new(at: usize, header: &FrameHeader) -> Self {
        Self {
            offset: at as u64,
            own: false,
            header_sound: true,
            body: BodyState::NotRead,
            lsn: header.lsn,
            first: header.first_item,
            items: header.item_count,
            body_len: header.body_len,
            time_ms: header.time_ms,
            events: Vec::new(),
            salt: header.salt,
            kind: header.kind,
            body_crc: header.body_crc,
        }
    }

    /// The body, as far as it is there; its state is known from here on.
    fn read_body(&mut self, raw: &Bytes) -> Bytes {
        let start = usize::try_from(self.offset).unwrap_or(usize::MAX);
        let start = start.saturating_add(FRAME_HEADER_LEN).min(raw.len());
        let end = start.saturating_add(self.body_len as usize);
        let body = raw.slice(start..end.min(raw.len()));
        let missing = end.saturating_sub(raw.len());
        let (body, is_whole) = match missing {
            0 => (body, true),
            // A copy ends where the last byte that is not zero does.
            1..=ZEROS_BYTES_MAX => (with_zeros(&body, missing), false),
            _ => (body, false),
        };
        self.body = match (crc32(&[&body]) == self.body_crc, is_whole) {
            (true, _) => BodyState::Sound,
            (false, true) => BodyState::Damaged,
            (false, false) => BodyState::Cut,
        };
        body
    }

    fn read_events(&mut self, body: &Bytes, damage: &Quarantined) {
        let verified = self.body == BodyState::Sound;
        let mut fields = Fields::new(body.get(PUT_PREAMBLE_LEN..).unwrap_or_default());
        let mut seq = self.first;
        for _ in 0..self.items {
            let Some(payload) = fields.sized_bytes() else { break };
            let lost = damage.events.0 <= seq && seq < damage.events.1;
            let payload = body.slice_ref(payload);
            self.events.push(SalvagedEvent { seq, lost, verified, payload });
            seq = EventSeq::new(seq.get().saturating_add(1));
        }
    }
}

impl Inspector {
    /// The frames in the raw bytes of `damage`, in their order, with the events that can still be read.
    ///
    /// # Errors
    /// `Io`.
    ///
    /// # Examples
    /// ```
    /// use fchannel::Inspector;
    /// # let dir = tempfile::tempdir()?;
    /// # fchannel::Channel::open(dir.path(), fchannel::Options::default())?.close()?;
    /// let inspector = Inspector::open(dir.path())?;
    /// for damage in inspector.quarantined() {
    ///     for frame in inspector.salvage(damage)? {
    ///         println!("{} events at {}", frame.events.len(), frame.offset);
    ///     }
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn salvage(&self, damage: &Quarantined) -> Result<Vec<SalvagedFrame>> {
        let segment = self.view.segments.get(damage.at.segment);
        let raw = self.quarantined_bytes(damage)?;
        Ok(salvage(&raw, damage, segment.map(|segment| segment.header.salt)))
    }
}

/// The frames in the `raw` bytes of `damage`. `salt` is that of its segment, if that can still be asked.
fn salvage(raw: &Bytes, damage: &Quarantined, salt: Option<u64>) -> Vec<SalvagedFrame> {
    let mut found = Vec::new();
    for at in (0..raw.len()).step_by(FRAME_ALIGN) {
        if let Some(header) = header_at(raw, at) {
            found.push(SalvagedFrame::new(at, &header));
        } else if at == 0
            && let Some(frame) = first_by_its_body(raw, damage)
        {
            found.push(frame);
        }
    }
    let salt = salt.or_else(|| likely_salt(&found, damage));
    let mut frames = Vec::new();
    let mut end = 0;
    for mut frame in found {
        if frame.offset < end {
            continue; // Bytes of an event that look like a frame.
        }
        frame.own = Some(frame.salt) == salt && is_within(frame.lsn, damage);
        // Bodies of others are not read: what is put on purpose to look like frames must not cost more than its length.
        if frame.own {
            end = frame.offset + FRAME_HEADER_LEN as u64 + u64::from(frame.body_len);
            let body = frame.read_body(raw);
            if frame.kind == Kind::PUT {
                frame.read_events(&body, damage);
            }
        }
        frames.push(frame);
    }
    frames
}

fn header_at(raw: &Bytes, at: usize) -> Option<FrameHeader> {
    let bytes = raw.get(at..)?.first_chunk::<FRAME_HEADER_LEN>()?;
    // Cheaper than a checksum, and wrong nearly everywhere.
    let header_len = Fields::new(bytes.get(HEADER_LEN_AT)?).u16()?;
    if usize::from(header_len) != FRAME_HEADER_LEN {
        return None;
    }
    let salt = Fields::new(bytes).u64()?;
    FrameHeader::decode(bytes, salt).ok()
}

/// The first frame, where its header is damaged and its body is not: the body's checksum is right by the header's own word.
fn first_by_its_body(raw: &Bytes, damage: &Quarantined) -> Option<SalvagedFrame> {
    let mut header = FrameHeader::decode_unsealed(raw.first_chunk::<FRAME_HEADER_LEN>()?)?;
    // Where the damage begins, its record knows better.
    header.first_item = damage.events.0;
    header.lsn = damage.lsns.0;
    let mut frame = SalvagedFrame { header_sound: false, ..SalvagedFrame::new(0, &header) };
    frame.read_body(raw);
    (header.body_len > 0 && frame.body == BodyState::Sound).then_some(frame)
}

fn is_within(lsn: Lsn, damage: &Quarantined) -> bool {
    damage.lsns.0 <= lsn && lsn < damage.lsns.1
}

/// The salt of a segment that is gone: that of the frame with which the damage begins, else of the newest one, since a segment is written
/// over older bytes.
fn likely_salt(found: &[SalvagedFrame], damage: &Quarantined) -> Option<u64> {
    let candidates = found.iter().filter(|frame| is_within(frame.lsn, damage));
    candidates
        .max_by_key(|frame| (frame.offset == 0, frame.time_ms, frame.lsn))
        .map(|frame| frame.salt)
}

fn with_zeros(bytes: &Bytes, count: usize) -> Bytes {
    let mut padded = bytes.to_vec();
    padded.resize(bytes.len() + count, 0);
    padded.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        format::{finish_put_body, put_event_prefix},
        ids::{FramePtr, SegmentId},
        log::Verdict,
    };
    use proptest::prelude::*;
    use std::path::PathBuf;

    fn damage(lsns: (u64, u64), events: (u64, u64)) -> Quarantined {
        let at = FramePtr { segment: SegmentId::new(1), offset: 64 };
        Quarantined {
            id: 1,
            found_ms: 0,
            verdict: Verdict::C,
            file: PathBuf::new(),
            at,
            next: None,
            lsns: (Lsn::new(lsns.0), Lsn::new(lsns.1)),
            events: (EventSeq::new(events.0), EventSeq::new(events.1)),
            what: String::new(),
            bytes: 0,
        }
    }

    fn frame(salt: u64, lsn: u64, first: u64, time_ms: u64, events: &[&[u8]]) -> Vec<u8> {
        let mut body = vec![0; PUT_PREAMBLE_LEN];
        for event in events {
            body.extend_from_slice(&put_event_prefix(u32::try_from(event.len()).unwrap()));
            body.extend_from_slice(event);
        }
        finish_put_body(&mut body, 0, &[]);
        let header = FrameHeader {
            salt,
            lsn: Lsn::new(lsn),
            durable_lsn: Lsn::new(lsn - 1),
            first_item: EventSeq::new(first),
            item_count: u32::try_from(events.len()).unwrap(),
            body_len: u32::try_from(body.len()).unwrap(),
            time_ms,
            kind: Kind::PUT,
            body_crc: crc32(&[&body]),
        };
        let mut bytes = header.encode().to_vec();
        bytes.extend_from_slice(&body);
        bytes.resize(bytes.len().next_multiple_of(FRAME_ALIGN), 0);
        bytes
    }

    fn payloads(frames: &[SalvagedFrame]) -> Vec<(u64, bool, &[u8])> {
        let events = frames.iter().flat_map(|frame| &frame.events);
        events.map(|event| (event.seq.get(), event.verified, &event.payload[..])).collect()
    }

    #[test]
    fn a_flip_in_the_body_leaves_all_events_of_it_unverified() {
        let mut raw = frame(7, 5, 10, 1, &[b"one", b"two"]);
        let at = raw.windows(3).position(|window| window == b"two").unwrap();
        raw[at] = b'T';
        raw.extend(frame(7, 6, 12, 2, &[b"three"]));
        let frames = salvage(&raw.into(), &damage((5, 7), (11, 13)), None);
        assert_eq!(
            payloads(&frames),
            [(10, false, &b"one"[..]), (11, false, b"Two"), (12, true, b"three")]
        );
        let lost: Vec<bool> =
            frames.iter().flat_map(|frame| &frame.events).map(|event| event.lost).collect();
        assert_eq!(lost, [false, true, true], "what the damage names");
    }

    #[test]
    fn a_flip_in_the_header_is_seen_and_the_body_speaks_for_itself() {
        let mut raw = frame(7, 5, 10, 1, &[b"one", b"two"]);
        raw[17] ^= 1;
        let frames = salvage(&raw.into(), &damage((5, 6), (10, 12)), None);
        assert!(!frames[0].header_sound && frames[0].own);
        assert_eq!(payloads(&frames), [(10, true, &b"one"[..]), (11, true, b"two")]);
    }

    #[test]
    fn old_bytes_of_another_file_are_not_taken_for_events() {
        let mut raw = frame(7, 5, 10, 9, &[b"one"]);
        raw.extend(frame(3, 5, 2, 1, &[b"old"]));
        let frames = salvage(&raw.into(), &damage((0, 6), (10, 11)), None);
        assert_eq!(payloads(&frames), [(10, true, &b"one"[..])]);
        assert_eq!(frames[1].body, BodyState::NotRead);
        assert_eq!(frames.iter().map(|frame| frame.own).collect::<Vec<_>>(), [true, false]);
    }

    #[test]
    fn a_frame_inside_an_event_is_a_body() {
        let inner = frame(7, 5, 10, 1, &[b"inner"]);
        let raw = frame(7, 5, 10, 1, &[b"1234", &inner]);
        let frames = salvage(&raw.into(), &damage((5, 6), (10, 12)), None);
        assert_eq!(frames.len(), 1);
        assert_eq!(frames[0].events.len(), 2);
    }

    #[test]
    fn zeros_at_the_end_that_were_not_copied_are_given_back() {
        let whole = frame(7, 5, 10, 1, &[b"zeros\0\0\0\0\0\0\0\0\0"]);
        let last = whole.iter().rposition(|byte| *byte != 0).unwrap();
        let frames = salvage(&whole[..=last].to_vec().into(), &damage((5, 6), (10, 11)), None);
        assert_eq!(frames[0].body, BodyState::Sound);
        assert_eq!(payloads(&frames), [(10, true, &b"zeros\0\0\0\0\0\0\0\0\0"[..])]);
        let frames = salvage(&whole[..last - 2].to_vec().into(), &damage((5, 6), (10, 11)), None);
        assert_eq!(frames[0].body, BodyState::Cut);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(
            events: Vec<Vec<u8>>,
            flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..20),
            cut: prop::sample::Index,
            noise: Vec<u8>,
            lsns: (u64, u64),
            seqs: (u64, u64),
        ) {
            let events: Vec<&[u8]> = events.iter().map(Vec::as_slice).collect();
            let mut raw = frame(7, 5, 10, 1, &events);
            raw.extend(frame(7, 6, 12, 2, &events));
            raw.extend(noise);
            for (place, with) in flips {
                let at = place.index(raw.len());
                raw[at] ^= with;
            }
            raw.truncate(cut.index(raw.len()) + 1);
            for damage in [damage((5, 7), (10, 20)), damage(lsns, seqs)] {
                let frames = salvage(&raw.clone().into(), &damage, Some(7));
                let bytes: usize = frames.iter().flat_map(|frame| &frame.events).map(|event| event.payload.len()).sum();
                prop_assert!(bytes <= raw.len() + ZEROS_BYTES_MAX);
            }
        }
    }
}
