//! Doors to the decoders for the fuzz targets in `fuzz/`: each takes any bytes, and panics where a promise of the format is broken.
//!
//! Behind a checksum random bytes come to nothing. So each door tries them as they are and once more with the checksum made right: what a
//! decoder makes of well-sealed nonsense is the interesting part.

use crate::{
    event::Event,
    format::{
        FRAME_HEADER_LEN, Fields, FrameHeader, Kind, LogImage, PutBody, SEGMENT_HEADER_LEN,
        SegmentHeader, checkpoint_from_bytes, checkpoint_to_bytes, crc32, manifest_from_bytes,
        manifest_to_bytes, take_body, take_ranges,
    },
    ids::{EventSeq, FramePtr, Lsn, SegmentId},
    log::{Frame, Quarantined},
    queue::State,
};
use bytes::Bytes;

/// A copy with the checksum of `sealed` and all behind `body` at `at`.
fn sealed(bytes: &[u8], at: usize, body: usize) -> Option<Vec<u8>> {
    let mut copy = bytes.to_vec();
    let crc = crc32(&[copy.get(..at)?, copy.get(body..)?]);
    copy.get_mut(at..at + 4)?.copy_from_slice(&crc.to_le_bytes());
    Some(copy)
}

/// The first 64 bytes are a frame's header, the rest its body.
pub fn frame(bytes: &[u8]) {
    let Some((head, body)) = bytes.split_first_chunk::<FRAME_HEADER_LEN>() else { return };
    let salt = Fields::new(head).u64().unwrap_or_default();
    for head in [Some(head.to_vec()), sealed(head, FRAME_HEADER_LEN - 4, FRAME_HEADER_LEN)] {
        let head = head.and_then(|head| head.try_into().ok());
        let Some(Ok(header)) = head.map(|head| FrameHeader::decode(&head, salt)) else { continue };
        assert_eq!(FrameHeader::decode(&header.encode(), salt), Ok(header));
        assert!(header.frame_len() >= FRAME_HEADER_LEN as u64 + u64::from(header.body_len));
        assert!(header.next_item() >= header.first_item);
        assert!(FrameHeader::decode(&header.encode(), !salt).is_err(), "another salt is believed");
    }
    put_body(body);
    take(body);
}

fn put_body(body: &[u8]) {
    let Ok(put) = PutBody::decode(Bytes::copy_from_slice(body)) else { return };
    // More events than there are bytes: each has a length of four.
    let count = u32::try_from(body.len() / 4 + 1).unwrap_or(u32::MAX);
    let total: usize = put.events(count).map_while(Result::ok).map(|event| event.len()).sum();
    assert!(total <= body.len());
    if let Ok(marks) = put.marks() {
        assert!(marks.len() <= body.len() / 8);
    }
}

fn take(body: &[u8]) {
    let Ok(ranges) = take_ranges(body) else { return };
    assert!(ranges.iter().all(|range| range.end() > range.first));
    let mut again = Vec::new();
    take_body(&ranges, &mut again);
    assert_eq!(again, body);
}

pub fn segment_header(bytes: &[u8]) {
    let Some((head, _)) = bytes.split_first_chunk::<SEGMENT_HEADER_LEN>() else { return };
    for head in [Some(head.to_vec()), sealed(head, SEGMENT_HEADER_LEN - 4, SEGMENT_HEADER_LEN)] {
        let head = head.and_then(|head| head.try_into().ok());
        if let Some(Ok(header)) = head.map(|head| SegmentHeader::decode(&head)) {
            assert_eq!(header.encode().as_slice(), head.unwrap_or([0; SEGMENT_HEADER_LEN]));
        }
    }
}

pub fn checkpoint(bytes: &[u8]) {
    let mut long = bytes.to_vec();
    if let Ok(body_len) = u32::try_from(bytes.len().saturating_sub(32))
        && let Some(place) = long.get_mut(24..28)
    {
        place.copy_from_slice(&body_len.to_le_bytes());
    }
    for bytes in [Some(bytes.to_vec()), sealed(&long, 28, 32)].into_iter().flatten() {
        let Ok((generation, image)) = checkpoint_from_bytes(&bytes) else { continue };
        // The rest of a longer, older one may follow.
        assert!(bytes.starts_with(&checkpoint_to_bytes(generation, &image)));
        owner_image(&image.owner);
    }
    // An image frame holds one without a header.
    if let Ok(image) = LogImage::decode(bytes) {
        assert_eq!(image.encode(), bytes);
        owner_image(&image.owner);
    }
}

fn owner_image(bytes: &[u8]) {
    let Ok(state) = State::from_image(bytes) else { return };
    assert_eq!(state.to_image(), bytes);
    assert_state(&state);
}

fn assert_state(state: &State) {
    assert!(state.head() <= state.next_seq());
    let (mut owed, mut next) = (0, state.head());
    while let Some((first, end)) = state.owed_run(next) {
        assert!(first >= next && end > first && end <= state.next_seq());
        owed += end.get() - first.get();
        next = end;
    }
    assert_eq!(owed, state.owed());
}

pub fn manifest(bytes: &[u8]) {
    let mut long = bytes.to_vec();
    if let Ok(body_len) = u32::try_from(bytes.len().saturating_sub(24))
        && let Some(place) = long.get_mut(16..20)
    {
        place.copy_from_slice(&body_len.to_le_bytes());
    }
    for bytes in [Some(bytes.to_vec()), sealed(&long, 20, 24)].into_iter().flatten() {
        let Ok(manifest) = manifest_from_bytes(&bytes) else { continue };
        if let Ok(again) = manifest_to_bytes(&manifest) {
            assert_eq!(manifest_from_bytes(&again).ok(), Some(manifest));
        }
    }
}

pub fn quarantine_record(bytes: &[u8]) {
    let crc = format!("crc {:08x}\n", crc32(&[bytes]));
    for bytes in [bytes.to_vec(), [bytes, crc.as_bytes()].concat()] {
        let Some(mut record) = Quarantined::from_text(&bytes) else { continue };
        // The writer keeps its lines whole, whatever is in them.
        record.what = record.what.replace('\r', " ");
        record.file = record.file.to_string_lossy().replace('\r', " ").into();
        let again = Quarantined::from_text(record.to_text().as_bytes());
        assert_eq!(again, Some(record));
    }
}

pub fn event(bytes: &[u8]) {
    let payload = Bytes::copy_from_slice(bytes);
    let Ok(event) = Event::decode(payload) else { return };
    let mut again = Vec::new();
    event.encode_into(&mut again);
    assert_eq!(again, bytes);
    assert_eq!(event.headers.iter().count(), event.headers.len());
    let mut headers = event.headers.clone();
    let keys: Vec<String> = headers.iter().map(|(key, _)| key.to_owned()).collect();
    for key in keys {
        assert!(headers.get(&key).is_some() || event.headers.get(&key).is_some());
        headers.insert(&key, "new");
        assert_eq!(headers.get(&key), Some("new"));
        assert!(headers.remove(&key));
        assert_eq!(headers.get(&key), None);
    }
    assert!(headers.is_empty());
}

/// A frame for [`fold`].
pub struct AnyFrame<'a> {
    pub kind: u8,
    /// Beside the one that is expected.
    pub first_item_off_by: u8,
    pub item_count: u32,
    pub body: &'a [u8],
}

/// The fold of any frames: the state stays one, whatever they say.
pub fn fold<'a>(frames: impl Iterator<Item = AnyFrame<'a>>) {
    let mut state = State::default();
    for (lsn, frame) in (1..).zip(frames) {
        let first_item = state.next_seq().get().saturating_add(frame.first_item_off_by.into());
        let header = FrameHeader {
            salt: 1,
            lsn: Lsn::new(lsn),
            durable_lsn: Lsn::new(lsn - 1),
            first_item: EventSeq::new(first_item),
            item_count: frame.item_count,
            body_len: u32::try_from(frame.body.len()).unwrap_or(u32::MAX),
            time_ms: 0,
            kind: Kind(frame.kind),
            body_crc: 0,
        };
        let ptr = FramePtr { segment: SegmentId::new(1), offset: lsn * 8 };
        let frame = Frame { header, ptr, body: Bytes::copy_from_slice(frame.body) };
        let before = state.owed();
        // What contradicts the state stops a log: but nothing may be counted wrong by it.
        match state.apply(&frame) {
            Ok(crate::queue::Change::Put(events)) => {
                assert_eq!(state.owed(), before + u64::from(events));
            }
            Ok(crate::queue::Change::Took(events)) => assert_eq!(state.owed() + events, before),
            Ok(crate::queue::Change::Nothing) => assert_eq!(state.owed(), before),
            Err(_) => {}
        }
        assert_state(&state);
    }
    let image = state.to_image();
    assert_eq!(State::from_image(&image).ok().map(|state| state.to_image()), Some(image));
}
