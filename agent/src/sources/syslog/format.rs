//! From a message to an event: Flume's headers.

use super::{
    frame::Message,
    head::{Head, Time},
    own::Own,
    time::{rfc3164, rfc5424},
};
use bytes::Bytes;
use fchannel::{Event, Headers};
use jiff::{Timestamp, tz::TimeZone};
use memchr::memchr2;
use std::borrow::Cow;

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
    local: TimeZone,
}

impl Format {
    pub(super) fn new(keep: KeepFields, own: Option<Own>) -> Self {
        Self { keep, own, local: TimeZone::system() }
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
            .map(|fields| self.body(fields, &message.text))
            .filter(|body| !body.is_empty());
        Event::new(
            headers.into_iter().collect::<Headers>(),
            body.unwrap_or_else(|| message.text.clone()),
        )
    }

    fn fields<'a>(&self, text: &'a [u8], now: Timestamp) -> Option<Fields<'a>> {
        let own = self.own.as_ref().and_then(|own| own.fields(text, now, &self.local));
        own.or_else(|| Some(Fields::of(&Head::parse(text)?, now, &self.local)))
    }

    /// True if what stands before the body says all that an event has beside it.
    fn is_plain(&self) -> bool {
        self.own.is_none() && self.keep == KeepFields::default()
    }

    /// The text behind the fields, with the ones to be kept before it.
    fn body(&self, fields: &Fields<'_>, text: &Bytes) -> Bytes {
        if self.keep == KeepFields::default() {
            return text.slice_ref(fields.body);
        }
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
        out.into()
    }
}

/// What was found before the text; empty: absent, or `-`.
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
    fn of(head: &Head<'a>, now: Timestamp, local: &TimeZone) -> Self {
        let (time_text, time) = match head.time {
            Time::Rfc5424(text) => (text, rfc5424(text, local)),
            Time::Rfc3164(text) => (text, rfc3164(text, now, local)),
        };
        Self {
            priority: head.priority.into(),
            version: head.version.into(),
            time_text: time_text.into(),
            time,
            host: head.host.into(),
            body: head.body,
            has_body: true,
        }
    }
}

/// Makes the events of one burst of messages of one peer. Many have the same fields before their text; these are read once.
pub(super) struct Burst<'a> {
    format: &'a Format,
    now: Timestamp,
    /// Set in each event, behind the other headers.
    header: Option<(&'a str, String)>,
    last: Option<Last>,
}

struct Last {
    /// All up to the text.
    head: Bytes,
    headers: Headers,
}

impl<'a> Burst<'a> {
    pub(super) fn new(
        format: &'a Format,
        now: Timestamp,
        header: Option<(&'a str, String)>,
    ) -> Self {
        Self { format, now, header, last: None }
    }

    pub(super) fn event(&mut self, message: &Message) -> Event {
        if let Some(event) = self.as_the_last(message) {
            return event;
        }
        let mut event = self.format.event(message, self.now);
        if let Some((key, value)) = &self.header {
            event.headers.insert(key, value);
        }
        // A message whose body is all of it has no head.
        let head_len = message.text.len().saturating_sub(event.body.len());
        let has_head = self.format.is_plain() && !message.incomplete && head_len > 0;
        self.last = has_head
            .then(|| Last { head: message.text.slice(..head_len), headers: event.headers.clone() });
        event
    }

    /// The event of a message that has the same head as the one before: fields are read from the left, so they are the same, too.
    fn as_the_last(&self, message: &Message) -> Option<Event> {
        let Last { head, headers } = self.last.as_ref()?;
        let body = message.text.strip_prefix(&head[..])?;
        // These are not the head's, and decide whether there is one.
        let is_text = !body.is_empty() && memchr2(b'\n', b'\r', body).is_none();
        (is_text && !message.incomplete)
            .then(|| Event::new(headers.clone(), message.text.slice(head.len()..)))
    }
}

#[cfg(test)]
mod tests;
