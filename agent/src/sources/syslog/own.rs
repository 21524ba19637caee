//! A format of one's own (`format.*`): tried before the built-in ones, with the same groups.

use super::format::Fields;
use crate::{
    component::{Key, KeyKind, Problem, Settings},
    text::{
        DATE_HELP, DatePattern,
        java_regex::{self, REGEX_HELP, Replacement},
    },
};
use jiff::{Timestamp, tz::TimeZone};
use regex::Regex;
use std::{
    borrow::Cow,
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

pub(super) const REGEX: Key = Key::new(
    "format.regex",
    KeyKind::Text,
    "A format tried before the built-in ones: a regular expression for a whole message with its `<priority>`. Groups: 1 priority, \
     2 version, 3 time, 4 host, 5 text.",
);
pub(super) const SEARCH: Key = Key::new(
    "format.search",
    KeyKind::Text,
    "A regular expression: what it finds in the time is replaced by `format.replace`.",
);
pub(super) const REPLACE: Key = Key::new(
    "format.replace",
    KeyKind::Text,
    "What is put there; `$1` is a group of `format.search`.",
);
pub(super) const DATE: Key = Key::new(
    "format.dateFormat",
    KeyKind::Text,
    "The time as a pattern of Java's SimpleDateFormat, with English names. Without it no `timestamp` is set. A fraction of a second is \
     one, and without a year it is the nearest one (Flume: milliseconds, and 1970).",
);

/// The group of the time, and how many are used.
const TIME: usize = 3;
const BODY: usize = 5;

pub(super) struct Own {
    source: Arc<str>,
    regex: Regex,
    replace: Option<(Regex, Replacement)>,
    date: Option<DatePattern>,
    /// A time that does not fit was logged.
    warned: AtomicBool,
}

impl Own {
    /// `None`: the conf has no such format, or one with [`problems`](Self::problems).
    pub(super) fn of(settings: &Settings) -> Option<Self> {
        Self::read(settings, &mut Vec::new())
    }

    /// All that is to be said about the keys.
    pub(super) fn problems(settings: &Settings) -> Vec<Problem> {
        let mut problems = Vec::new();
        Self::read(settings, &mut problems);
        problems
    }

    fn read(settings: &Settings, problems: &mut Vec<Problem>) -> Option<Self> {
        let helpers = [SEARCH.pattern, REPLACE.pattern, DATE.pattern];
        let idle = |why: &str| {
            let given = helpers.into_iter().filter(|key| settings.text(key).is_some());
            given.map(|key| Problem::new(key, why).without_effect()).collect::<Vec<_>>()
        };
        let Some(regex) = settings.text(REGEX.pattern) else {
            problems.extend(idle("without `format.regex` there is no format of one's own"));
            return None;
        };
        let regex = java_regex::compile_whole(regex)
            .map_err(|why| problems.push(Problem::new(REGEX.pattern, why).help(REGEX_HELP)))
            .ok();
        if regex.as_ref().is_some_and(|regex| regex.captures_len() <= TIME) {
            problems
                .extend(idle("`format.regex` has no third group, which is the one of the time"));
        }
        let replace = read_replace(settings, problems);
        let date = settings.text(DATE.pattern).and_then(|pattern| {
            let wrong = |why| problems.push(Problem::new(DATE.pattern, why).help(DATE_HELP));
            DatePattern::new(pattern).map_err(wrong).ok()
        });
        let source = Arc::clone(settings.name());
        regex.map(|regex| Self { source, regex, replace, date, warned: AtomicBool::new(false) })
    }

    /// `None`: the message is none of this format.
    pub(super) fn fields<'a>(
        &self,
        text: &'a [u8],
        now: Timestamp,
        local: &TimeZone,
    ) -> Option<Fields<'a>> {
        // Java sees text, with U+FFFD for what is none. The body keeps its bytes.
        let readable = String::from_utf8_lossy(text);
        let found = self.regex.captures(&readable)?;
        let group = |group| {
            Cow::Owned(found.get(group).map_or_else(String::new, |found| found.as_str().to_owned()))
        };
        let time_text = group(TIME);
        let body = found.get(BODY).map(|found| original(text, found.range()));
        Some(Fields {
            priority: group(1),
            version: group(2),
            time: self.time(&time_text, now, local),
            time_text,
            host: group(4),
            body: body.unwrap_or_default(),
            has_body: self.regex.captures_len() > BODY,
        })
    }

    fn time(&self, text: &str, now: Timestamp, local: &TimeZone) -> Option<Timestamp> {
        let date = self.date.as_ref().filter(|_| !text.is_empty())?;
        let text = match &self.replace {
            Some((search, replacement)) => Cow::Owned(replacement.replace_all(search, text)),
            None => Cow::Borrowed(text),
        };
        let time = date.read(&text, now, local);
        if time.is_none() && !self.warned.swap(true, Ordering::Relaxed) {
            tracing::warn!(source = %self.source, time = ?text,
                "a time does not fit `format.dateFormat`: the event gets no timestamp; said once");
        }
        time
    }
}

fn read_replace(settings: &Settings, problems: &mut Vec<Problem>) -> Option<(Regex, Replacement)> {
    let (search, replacement) = match (
        settings.text(SEARCH.pattern),
        settings.text(REPLACE.pattern),
    ) {
        (Some(search), Some(replacement)) => (search, replacement),
        (Some(_), None) => {
            let why = "`format.replace` is missing: Flume drops every message of this format then";
            let help = "to cut something out, let groups find what stays, and name these in `format.replace`";
            problems.push(Problem::new(SEARCH.pattern, why).help(help));
            return None;
        }
        (None, Some(_)) => {
            let why = "without `format.search` there is nothing to replace";
            problems.push(Problem::new(REPLACE.pattern, why).without_effect());
            return None;
        }
        (None, None) => return None,
    };
    let mut wrong = |key: &str, why, help| problems.push(Problem::new(key, why).help(help));
    let search =
        java_regex::compile(search).map_err(|why| wrong(SEARCH.pattern, why, REGEX_HELP)).ok()?;
    let help = "`$1` is the first group of `format.search`, and in a conf `\\\\$` is a `$`";
    let replacement = Replacement::new(replacement, &search)
        .map_err(|why| wrong(REPLACE.pattern, why, help))
        .ok()?;
    Some((search, replacement))
}

/// The bytes of `text` that stand for a part of it as it was made readable.
fn original(text: &[u8], part: Range<usize>) -> &[u8] {
    let at = |wanted: usize| {
        let (mut readable, mut bytes) = (0, 0);
        for chunk in text.utf8_chunks() {
            let valid = chunk.valid().len();
            if wanted <= readable + valid {
                return bytes + wanted - readable;
            }
            readable += valid + char::REPLACEMENT_CHARACTER.len_utf8();
            bytes += valid + chunk.invalid().len();
        }
        bytes
    };
    text.get(at(part.start)..at(part.end)).unwrap_or_default()
}

#[cfg(test)]
mod tests;
