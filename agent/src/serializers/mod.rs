//! Serializers: how a sink writes an event into a file.

mod header_and_text;
mod text;

use crate::component::{Build, ComponentError, Entry, Parts, Serializer, Settings};

/// The serializers of this build.
pub static ENTRIES: &[&Entry] = &[&text::ENTRY, &header_and_text::ENTRY];

/// The serializer that `key` names, from the keys behind `<key>.`.
///
/// # Errors
/// There is no such serializer.
pub(crate) fn build(settings: &Settings, key: &str) -> Result<Box<dyn Serializer>, ComponentError> {
    let name = settings.required(key)?;
    let entry = ENTRIES
        .iter()
        .find(|entry| entry.names.iter().any(|known| known.eq_ignore_ascii_case(name)));
    let unknown =
        || ComponentError(format!("{}: property `{key}` names no serializer", settings.name()));
    match entry.ok_or_else(unknown)? {
        Entry { build: Build::Serializer(make), keys, .. } => {
            make(&settings.part("serializer", &format!("{key}."), keys), &Parts::default())
        }
        _ => Err(unknown()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::component::{Key, KeyKind};
    use fchannel::{Event, Headers};

    static KEYS: &[Key] = &[Key::new("s", KeyKind::Text, ""), Key::new("s.**", KeyKind::Text, "")];

    fn written(name: &str, newline: &str) -> String {
        let keys = [("s", name), ("s.appendNewline", newline)];
        let values =
            keys.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let mut serializer = build(&Settings::new("k1", values, KEYS), "s").unwrap();
        let mut out = Vec::new();
        serializer.begin(&mut out);
        for body in ["one", "two"] {
            serializer
                .write(&Event::new(Headers::from_iter([("a", "1"), ("b", "2")]), body), &mut out);
        }
        serializer.end(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn test_body_text_event_serializer() {
        assert_eq!(written("TEXT", "true"), "one\ntwo\n");
        assert_eq!(written("text", "false"), "onetwo");
    }

    #[test]
    fn test_header_and_body_text_event_serializer() {
        assert_eq!(written("HEADER_AND_TEXT", "true"), "{a=1, b=2} one\n{a=1, b=2} two\n");
        let class = "org.apache.flume.serialization.HeaderAndBodyTextEventSerializer$Builder";
        assert_eq!(written(class, "false"), "{a=1, b=2} one{a=1, b=2} two");
    }
}
