//! Which rows are shown, and how their bodies are.

use super::text::{base64, escaped_bytes, hex, put_bytes};
use fchannel::{Event, Position};
use regex::bytes::Regex;
use serde_json::{Map, Value};
use std::ops::ControlFlow::{self, Break, Continue};

/// The options that all streaming verbs share.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Select {
    pub(crate) from: Position,
    pub(crate) to: Position,
    pub(crate) limit: Option<u64>,
    pub(crate) skip: u64,
    /// Show how many rows there are, and none of them.
    pub(crate) count: bool,
}

/// What a matching row is: its number decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// Not yet, or only counted.
    Pass,
    /// To be shown.
    Show,
    /// One too many.
    Enough,
}

impl Select {
    /// What becomes of the row with this number, counted from 0.
    pub(super) fn turn(&self, number: u64) -> Turn {
        match (number.checked_sub(self.skip), self.limit) {
            (None, _) => Turn::Pass,
            (Some(shown), Some(limit)) if shown >= limit => Turn::Enough,
            _ if self.count => Turn::Pass,
            _ => Turn::Show,
        }
    }
}

/// How a body is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum BodyForm {
    /// Text if it is UTF-8, else hex (in JSON: base64)
    Auto,
    /// Text, with what is not UTF-8 escaped
    Text,
    /// Hexadecimal digits
    Hex,
    /// Base64
    Base64,
    /// Not at all
    None,
}

impl BodyForm {
    /// A cell of a table: at most `bytes_max` bytes of the body.
    pub(super) fn cell(self, body: &[u8], bytes_max: usize) -> String {
        let cut = body.get(..cut_at(body, bytes_max)).unwrap_or(body);
        let mut cell = match self {
            Self::None => return String::new(),
            Self::Auto if std::str::from_utf8(body).is_err() => hex(cut),
            Self::Auto | Self::Text => escaped_bytes(cut),
            Self::Hex => hex(cut),
            Self::Base64 => base64(cut),
        };
        if cut.len() < body.len() {
            cell.push('…');
        }
        cell
    }

    /// A field of an object. A program gets all of it unless it asked for less.
    pub(super) fn put(self, row: &mut Map<String, Value>, body: &[u8], bytes_max: Option<usize>) {
        let cut = body.get(..cut_at(body, bytes_max.unwrap_or(usize::MAX))).unwrap_or(body);
        match self {
            Self::None => return,
            // By the whole body, so that a limit does not change the name of the field.
            Self::Auto if std::str::from_utf8(body).is_err() => {
                row.insert("body_b64".to_owned(), base64(cut).into());
            }
            Self::Auto => put_bytes(row, "body", cut),
            Self::Text => drop(row.insert("body".to_owned(), escaped_bytes(cut).into())),
            Self::Hex => drop(row.insert("body_hex".to_owned(), hex(cut).into())),
            Self::Base64 => drop(row.insert("body_b64".to_owned(), base64(cut).into())),
        }
        if cut.len() < body.len() {
            row.insert("body_cut".to_owned(), true.into());
        }
    }
}

/// At most `max`, and not inside a character.
fn cut_at(body: &[u8], max: usize) -> usize {
    let mut at = max.min(body.len());
    // A character has at most three bytes that continue it.
    for _ in 0..3 {
        if at == 0 || body.get(at).is_none_or(|byte| byte & 0xc0 != 0x80) {
            break;
        }
        at -= 1;
    }
    at
}

/// Which events match: all conditions must hold.
#[derive(Clone, Debug, Default)]
pub(crate) struct Filter {
    headers: Vec<HeaderCondition>,
    body: Option<Regex>,
}

#[derive(Clone, Debug)]
enum HeaderCondition {
    Is(String, String),
    Matches(String, Regex),
    Present(String),
    Absent(String),
}

impl Filter {
    /// Of `K=V`, `K~RE`, `K` and `!K`; a regular expression or a fixed text for the body.
    ///
    /// # Errors
    /// Says which regular expression is none.
    pub(crate) fn new(
        headers: &[String],
        grep: Option<&str>,
        fixed: Option<&str>,
    ) -> Result<Self, String> {
        let headers =
            headers.iter().map(|text| HeaderCondition::parse(text)).collect::<Result<_, _>>()?;
        let body = match (grep, fixed) {
            (Some(grep), _) => Some(regex(grep)?),
            (None, Some(fixed)) => Some(regex(&regex::escape(fixed))?),
            (None, None) => None,
        };
        Ok(Self { headers, body })
    }

    pub(super) fn matches(&self, event: &Event) -> bool {
        self.headers.iter().all(|condition| condition.holds(event))
            && self.body.as_ref().is_none_or(|regex| regex.is_match(&event.body))
    }
}

impl HeaderCondition {
    fn parse(text: &str) -> Result<Self, String> {
        if let Some(key) = text.strip_prefix('!') {
            return Ok(Self::Absent(key.to_owned()));
        }
        // The first of the two signs decides: a value may hold the other one.
        match text.find(['=', '~']).map(|at| text.split_at(at)) {
            None => Ok(Self::Present(text.to_owned())),
            Some((key, value)) => match value.strip_prefix('=') {
                Some(value) => Ok(Self::Is(key.to_owned(), value.to_owned())),
                None => Ok(Self::Matches(key.to_owned(), regex(value.trim_start_matches('~'))?)),
            },
        }
    }

    fn holds(&self, event: &Event) -> bool {
        let value = |key: &str| event.headers.get(key);
        match self {
            Self::Is(key, wanted) => value(key) == Some(wanted),
            Self::Matches(key, regex) => {
                value(key).is_some_and(|value| regex.is_match(value.as_bytes()))
            }
            Self::Present(key) => value(key).is_some(),
            Self::Absent(key) => value(key).is_none(),
        }
    }
}

fn regex(text: &str) -> Result<Regex, String> {
    Regex::new(text).map_err(|error| error.to_string())
}

/// Whether to go on after a turn that showed nothing.
pub(super) fn after(turn: Turn) -> ControlFlow<()> {
    if turn == Turn::Enough { Break(()) } else { Continue(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fchannel::Headers;

    #[test]
    fn all_conditions_must_hold() {
        let event = Event::new(Headers::from_iter([("host", "web1"), ("a", "b=c~d")]), "GET /x");
        let matches = |headers: &[&str], grep| {
            let headers: Vec<String> = headers.iter().map(|text| (*text).to_owned()).collect();
            Filter::new(&headers, grep, None).unwrap().matches(&event)
        };
        assert!(matches(&["host=web1", "host~^web", "host", "!level", "a=b=c~d"], Some("^GET")));
        for wrong in ["host=web", "host~^x", "level", "!host"] {
            assert!(!matches(&[wrong], None), "{wrong}");
        }
        assert!(!matches(&[], Some("POST")));
        assert!(Filter::new(&[], None, Some("/x")).unwrap().matches(&event));
        assert!(Filter::new(&["host~(".to_owned()], None, None).is_err());
    }

    #[test]
    fn a_body_is_cut_between_characters() {
        assert_eq!(BodyForm::Auto.cell("aä".as_bytes(), 2), "a…");
        assert_eq!(BodyForm::Auto.cell(&[0xff, 1], 1), "ff…");
        assert_eq!(BodyForm::Text.cell(&[0xff, b'x'], 9), "\\xffx");
        assert_eq!(BodyForm::None.cell(b"x", 9), "");
        let mut row = Map::new();
        BodyForm::Auto.put(&mut row, b"\xff\xfe", None);
        assert_eq!(Value::from(row).to_string(), r#"{"body_b64":"//4="}"#);
    }
}
