//! Flume's TEXT: the body and a line end.

use crate::component::{Build, ComponentError, Entry, Key, KeyKind, Parts, Serializer, Settings};
use fchannel::Event;

pub(crate) static ENTRY: Entry = Entry {
    names: &[
        "text",
        "org.apache.flume.serialization.BodyTextEventSerializer$Builder",
        "org.apache.flume.serialization.BodyTextEventSerializer",
    ],
    doc: "The body of each event, and a line end.",
    keys: &[Key::new("appendNewline", KeyKind::Flag, "Ends each event with a line end.").or("true")],
    batch_key: None,
    verify: None,
    build: Build::Serializer(build),
};

struct Text {
    newline: bool,
}

fn build(settings: &Settings, _: &Parts) -> Result<Box<dyn Serializer>, ComponentError> {
    Ok(Box::new(Text { newline: settings.flag("appendNewline") }))
}

impl Serializer for Text {
    fn write(&mut self, event: &Event, out: &mut Vec<u8>) {
        out.extend_from_slice(&event.body);
        if self.newline {
            out.push(b'\n');
        }
    }
}
