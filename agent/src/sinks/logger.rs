//! Flume's logger sink: one log line for each event, its body as a short hex dump.
//!
//! Its lines do not go through the queue of the log: an event counts as delivered when standard error has taken it, and while nobody reads
//! that, this sink waits and nobody else.

use crate::component::{
    Batch, BoxFuture, Build, ComponentError, Entry, Key, KeyKind, Parts, Settings, Sink, SinkError,
    TakeLimit,
};
use crate::log::EVENTS_TARGET;
use fchannel::Event;
use std::fmt::Write;

pub(crate) static ENTRY: Entry = Entry {
    names: &["logger", "org.apache.flume.sink.LoggerSink"],
    doc: "Logs every event at INFO, for trying out a conf.",
    keys: &[Key::new(
        "maxBytesToLog",
        KeyKind::Whole { min: 0, max: i32::MAX as i64, replaced: true },
        "Bytes of the body in the dump.",
    )
    .or("16")],
    batch_key: None,
    verify: None,
    build: Build::Sink(build),
};

struct Logger {
    bytes_max: usize,
}

fn build(settings: &Settings, _: &Parts) -> Result<Box<dyn Sink>, ComponentError> {
    Ok(Box::new(Logger {
        bytes_max: usize::try_from(settings.whole("maxBytesToLog")?).unwrap_or(usize::MAX),
    }))
}

impl Sink for Logger {
    fn take_limit(&self) -> TakeLimit {
        TakeLimit { events: 100, bytes: 1 << 20 }
    }

    fn deliver<'a>(&'a mut self, batch: Batch<'a>) -> BoxFuture<'a, Result<(), SinkError>> {
        for event in batch.events {
            tracing::info!(target: EVENTS_TARGET, "Event: {}", dump(event, self.bytes_max));
        }
        Box::pin(std::future::ready(Ok(())))
    }
}

const ROW_BYTES: usize = 16;

/// Flume's text of an event. Control characters in headers are escaped: a log line must not steer a terminal.
fn dump(event: &Event, bytes_max: usize) -> String {
    let mut out = String::from("{ headers:{");
    for (index, (key, value)) in event.headers.iter().enumerate() {
        out.push_str(if index == 0 { "" } else { ", " });
        push_escaped(&mut out, key);
        out.push('=');
        push_escaped(&mut out, value);
    }
    out.push_str("} body:");
    let body = event.body.get(..bytes_max).unwrap_or(&event.body);
    for (index, row) in body.chunks(ROW_BYTES).enumerate() {
        push_row(&mut out, index * ROW_BYTES, row);
    }
    out.push_str(" }");
    out
}

/// The offset of the first row is left out, as Flume does.
fn push_row(out: &mut String, offset: usize, row: &[u8]) {
    if offset > 0 {
        // Writing to a String cannot fail.
        write!(out, "\n{offset:08X}").unwrap_or_default();
    }
    out.push(' ');
    for index in 0..ROW_BYTES {
        match row.get(index) {
            Some(byte) => write!(out, "{byte:02X} ").unwrap_or_default(),
            None => out.push_str("   "),
        }
    }
    out.extend(
        row.iter().map(|byte| if matches!(byte, 0x20..=0x7E) { char::from(*byte) } else { '.' }),
    );
}

fn push_escaped(out: &mut String, text: &str) {
    for character in text.chars() {
        if character.is_control() {
            out.extend(character.escape_default());
        } else {
            out.push(character);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fchannel::Headers;

    fn body(body: &[u8], bytes_max: usize) -> String {
        dump(&Event::of_body(body.to_vec()), bytes_max)
    }

    #[test]
    fn test_event_helper_printable() {
        assert_eq!(
            body(b"Some text", 16),
            "{ headers:{} body: 53 6F 6D 65 20 74 65 78 74                      Some text }"
        );
    }

    #[test]
    fn test_event_helper_non_printable() {
        assert_eq!(
            body(&[0, 1, 127, 255], 16),
            "{ headers:{} body: 00 01 7F FF                                     .... }"
        );
    }

    #[test]
    fn test_logger_sink_default_and_custom_limit() {
        assert_eq!(
            body(b"0123456789abcdefXYZ", 16),
            "{ headers:{} body: 30 31 32 33 34 35 36 37 38 39 61 62 63 64 65 66 0123456789abcdef }"
        );
        assert_eq!(
            body(b"0123456789abcdefXYZ", 35),
            "{ headers:{} body: 30 31 32 33 34 35 36 37 38 39 61 62 63 64 65 66 0123456789abcdef\n\
             00000010 58 59 5A                                        XYZ }"
        );
    }

    #[test]
    fn an_empty_body_and_headers() {
        let event = Event::new(Headers::from_iter([("k", "v"), ("k2", "a\u{1b}[2Jb\n")]), "");
        assert_eq!(dump(&event, 16), "{ headers:{k=v, k2=a\\u{1b}[2Jb\\n} body: }");
    }
}
