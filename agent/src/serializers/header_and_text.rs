//! Flume's HEADER_AND_TEXT: the headers as Java prints a map, a blank, the body, a line end.

use crate::component::{Build, ComponentError, Entry, Key, KeyKind, Parts, Serializer, Settings};
use fchannel::Event;

pub(crate) static ENTRY: Entry = Entry {
    names: &[
        "header_and_text",
        "org.apache.flume.serialization.HeaderAndBodyTextEventSerializer$Builder",
        "org.apache.flume.serialization.HeaderAndBodyTextEventSerializer",
    ],
    doc: "`{k=v, k2=v2} body` for each event, and a line end; headers in the order they were set (Flume: none).",
    keys: &[Key::new("appendNewline", KeyKind::Flag, "Ends each event with a line end.").or("true")],
    batch_key: None,
    verify: None,
    build: Build::Serializer(build),
};

struct HeaderAndText {
    newline: bool,
}

fn build(settings: &Settings, _: &Parts) -> Result<Box<dyn Serializer>, ComponentError> {
    Ok(Box::new(HeaderAndText { newline: settings.flag("appendNewline") }))
}

impl Serializer for HeaderAndText {
    fn write(&mut self, event: &Event, out: &mut Vec<u8>) {
        out.push(b'{');
        for (index, (key, value)) in event.headers.iter().enumerate() {
            out.extend_from_slice(if index == 0 { b"" } else { b", " });
            out.extend_from_slice(key.as_bytes());
            out.push(b'=');
            out.extend_from_slice(value.as_bytes());
        }
        out.extend_from_slice(b"} ");
        out.extend_from_slice(&event.body);
        if self.newline {
            out.push(b'\n');
        }
    }
}
