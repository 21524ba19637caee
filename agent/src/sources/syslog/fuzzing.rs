//! A door for the fuzz targets in `fuzz/`.

use super::{
    format::{Burst, Format, KeepFields},
    frame::{Framer, Message},
};
use bytes::Bytes;
use jiff::Timestamp;

/// Bytes of a stream to messages to events. The first byte says where the stream is cut in pieces, the second how long a message may be.
pub fn syslog(bytes: &[u8]) {
    let [cut, bytes_max, stream @ ..] = bytes else { return };
    let whole = messages(stream, usize::MAX, usize::from(*bytes_max));
    let pieces = messages(stream, usize::from(*cut).max(1), usize::from(*bytes_max));
    assert_eq!(whole, pieces, "pieces make other messages than the whole");
    let now = Timestamp::UNIX_EPOCH;
    for keep in ["none", "all", "priority version timestamp hostname"] {
        let format = Format::new(KeepFields::parse(keep), None);
        let mut burst = Burst::new(&format, now, None);
        for message in &whole {
            let event = format.event(message, now);
            assert_eq!(burst.event(message), event, "what came before changes nothing");
            assert!(event.headers.get("Facility").is_some());
            if keep == "all" {
                assert_eq!(event.body, message.text);
            }
        }
    }
}

fn messages(stream: &[u8], piece: usize, bytes_max: usize) -> Vec<Message> {
    let (mut framer, mut out) = (Framer::new(bytes_max), Vec::new());
    for piece in stream.chunks(piece) {
        framer.feed(&Bytes::copy_from_slice(piece), |message| out.push(message));
    }
    out.extend(framer.finish(true));
    out
}
