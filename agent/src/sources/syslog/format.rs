//! From a message to an event: Flume's headers, by Flume's regular expressions.

use super::{
    frame::Message,
    own::Own,
    time::{rfc3164, rfc5424},
};
use fchannel::{Event, Headers};
use jiff::{Timestamp, tz::TimeZone};
use regex::bytes::{Captures, Regex};
use std::borrow::Cow;

/// Digits, blanks and word characters are ASCII, as in Java; and a `\r` in the middle matches nothing, as there.
const RFC5424: &str = concat!(
    r"(?-u)\A<(\d{1,3})>",
    r"(?:(\d?)\s?)",
    r"(?:(\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(?:\.\d{1,6})?(?:[+-]\d{2}:\d{2}|Z)?)|-)",
    r"\s",
    r"(?:(\w[\w.@-]*)|-)",
    r"\s",
    r"([^\n\r]*)\z"
);

const RFC3164: &str = concat!(
    r"(?-u)\A<(\d{1,3})>",
    r"(?:(\d)?\s?)",
    r"([A-Z][a-z][a-z]\s{1,2}\d{1,2}\s\d{2}:\d{2}:\d{2})",
    r"\s",
    r"(\w[\w.@-]*)",
    r"\s([^\n\r]*)\z"
);

/// Which fields stay in the body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct KeepFields {
    all: bool,
    priority: bool,
    version: bool,
    timestamp: bool,
    hostname: bool,
}

impl KeepFields {
    /// Flume looks for the words anywhere in the text.
    pub(super) fn parse(text: &str) -> Self {
        let text = text.trim().to_ascii_lowercase();
        match text.as_str() {
            "none" | "false" => Self::default(),
            "all" | "true" => Self { all: true, ..Self::default() },
            _ => Self {
                all: false,
                priority: text.contains("priority"),
                version: text.contains("version"),
                timestamp: text.contains("timestamp"),
                hostname: text.contains("hostname"),
            },
        }
    }
}

/// Makes events of messages.
pub(super) struct Format {
    keep: KeepFields,
    own: Option<Own>,
    rfc5424: Option<Regex>,
    rfc3164: Option<Regex>,
    local: TimeZone,
}

impl Format {
    pub(super) fn new(keep: KeepFields, own: Option<Own>) -> Self {
        // They do compile: each test below uses them.
        Self {
            keep,
            own,
            rfc5424: Regex::new(RFC5424).ok(),
            rfc3164: Regex::new(RFC3164).ok(),
            local: TimeZone::system(),
        }
    }

    #[cfg(test)]
    pub(super) fn in_utc(keep: KeepFields, own: Option<Own>) -> Self {
        Self { local: TimeZone::UTC, ..Self::new(keep, own) }
    }

    pub(super) fn event(&self, message: &Message, now: Timestamp) -> Event {
        let priority = message.priority.unwrap_or(0);
        let (facility, severity) = ((priority / 8).to_string(), (priority % 8).to_string());
        let mut headers = vec![("Facility", facility.as_str()), ("Severity", severity.as_str())];
        // Nothing of a bad message is taken for what it looks like (Flume even gives it the priority of the message before).
        let fields = message.priority.and_then(|_| self.fields(&message.text, now));
        let millis = fields
            .as_ref()
            .and_then(|fields| fields.time)
            .map(|time| time.as_millisecond().to_string());
        if let Some(fields) = &fields {
            let named = [
                ("priority", &*fields.priority),
                ("version", &*fields.version),
                ("timestamp", millis.as_deref().unwrap_or("")),
                ("host", &*fields.host),
            ];
            headers.extend(named.into_iter().filter(|(_, value)| !value.is_empty()));
        }
        match (message.priority, message.incomplete) {
            (None, _) => headers.push(("flume.syslog.status", "Invalid")),
            (Some(_), true) => headers.push(("flume.syslog.status", "Incomplete")),
            (Some(_), false) => {}
        }
        let body = fields
            .as_ref()
            .filter(|fields| fields.has_body && !self.keep.all)
            .map(|fields| self.body(fields))
            .filter(|body| !body.is_empty());
        Event::new(
            headers.into_iter().collect::<Headers>(),
            body.unwrap_or_else(|| message.text.clone()),
        )
    }

    fn fields<'a>(&self, text: &'a [u8], now: Timestamp) -> Option<Fields<'a>> {
        let own = self.own.as_ref().and_then(|own| own.fields(text, now, &self.local));
        if own.is_some() {
            return own;
        }
        let captures =
            |regex: &Option<Regex>| regex.as_ref().and_then(|regex| regex.captures(text));
        if let Some(found) = captures(&self.rfc5424) {
            return Some(Fields::of(&found, |time| rfc5424(time, &self.local)));
        }
        captures(&self.rfc3164)
            .map(|found| Fields::of(&found, |time| rfc3164(time, now, &self.local)))
    }

    /// The text behind the fields, with the ones to be kept before it.
    fn body(&self, fields: &Fields<'_>) -> Vec<u8> {
        let or_nil =
            |text: &str| if text.is_empty() { "- ".to_owned() } else { format!("{text} ") };
        let mut out = String::new();
        if self.keep.priority {
            out = format!("<{}>", fields.priority);
        }
        if self.keep.version && !fields.version.is_empty() {
            out += &or_nil(&fields.version);
        }
        if self.keep.timestamp {
            out += &or_nil(&fields.time_text);
        }
        if self.keep.hostname {
            out += &or_nil(&fields.host);
        }
        let mut out = out.into_bytes();
        out.extend_from_slice(fields.body);
        out
    }
}

/// What a regular expression found; empty: absent, or `-`.
pub(super) struct Fields<'a> {
    pub(super) priority: Cow<'a, str>,
    pub(super) version: Cow<'a, str>,
    pub(super) time_text: Cow<'a, str>,
    pub(super) time: Option<Timestamp>,
    pub(super) host: Cow<'a, str>,
    pub(super) body: &'a [u8],
    /// False: the regular expression has no group for it, and the body is the whole message.
    pub(super) has_body: bool,
}

impl<'a> Fields<'a> {
    fn of(found: &Captures<'a>, time: impl Fn(&str) -> Option<Timestamp>) -> Self {
        let bytes = |group| found.get(group).map_or(&b""[..], |found| found.as_bytes());
        // Their patterns are ASCII.
        let text = |group| std::str::from_utf8(bytes(group)).unwrap_or_default();
        let time_text = text(3);
        Self {
            priority: text(1).into(),
            version: text(2).into(),
            time_text: time_text.into(),
            time: time(time_text),
            host: text(4).into(),
            body: bytes(5),
            has_body: true,
        }
    }
}

#[cfg(test)]
mod tests;
