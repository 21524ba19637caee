//! `${...}` in values: the environment, a few Java system properties, other keys of the file, with defaults and nesting.
//!
//! As in Flume 1.10: `${env:NAME}`, `${sys:user.home}`, `${other.key}`, `${env:PORT:-41414}`, `${${env:X}_Y}`, and `$${` for a literal
//! `${`; and `${NAME}` from the environment, which was Flume 1.9's. What comes from the environment is not searched again. What cannot
//! be resolved stays as it is and is listed. Every loop is bounded: values cannot grow or nest without end.

use super::secrets::looks_secret;
use std::{collections::HashMap, rc::Rc};

/// Values larger than this are not put together.
const VALUE_BYTES_MAX: usize = 1 << 20;
/// All values together.
const TOTAL_BYTES_MAX: usize = 16 << 20;
/// How deep an expression may be nested, and how long a chain of keys may be.
const DEPTH_MAX: usize = 32;
/// How many expressions of one value are listed.
const LISTED_MAX: usize = 16;

/// Looks a variable of the environment up.
pub type Env<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Why an expression stays as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// There is no such variable or key.
    NotFound,
    /// `date:` and `java:`, which this agent does not have.
    NotSupported,
    /// It needs itself, or the chain is too long.
    Cycle,
    /// The value would be too large.
    TooLarge,
}

/// An expression that stays as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unresolved {
    /// First byte within the value.
    pub start: usize,
    /// One behind the last byte.
    pub end: usize,
    /// Why.
    pub reason: Reason,
}

/// A value after substitution.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resolved {
    /// The value, trimmed.
    pub value: Rc<str>,
    /// What stayed, in order; the first few only.
    pub unresolved: Vec<Unresolved>,
    /// Parts of the value that came from a secret: the value of a secret key, a variable whose name looks like one. All of the value if
    /// there are many.
    pub secrets: Vec<Rc<str>>,
}

/// The values of a file, of which each may need others.
pub struct Resolver<'a> {
    values: &'a [&'a str],
    by_key: &'a HashMap<&'a str, usize>,
    env: Env<'a>,
    /// Which of the values are secret.
    is_secret: &'a [bool],
    states: Vec<State>,
    used: Vec<bool>,
    total_bytes: usize,
}

#[derive(Clone)]
enum State {
    New,
    Open,
    Done(Rc<Resolved>),
}

impl<'a> Resolver<'a> {
    /// `by_key` gives the index of a key's value in `values`.
    #[must_use]
    pub fn new(values: &'a [&'a str], by_key: &'a HashMap<&'a str, usize>, env: Env<'a>) -> Self {
        let states = vec![State::New; values.len()];
        let used = vec![false; values.len()];
        Self { values, by_key, env, is_secret: &[], states, used, total_bytes: 0 }
    }

    /// Of each value, whether it is secret.
    #[must_use]
    pub fn with_secrets(self, is_secret: &'a [bool]) -> Self {
        Self { is_secret, ..self }
    }

    /// All values in their order, and for each whether another one refers to it.
    #[must_use]
    pub fn resolve_all(mut self) -> Vec<(Rc<Resolved>, bool)> {
        let all: Vec<_> = (0..self.values.len()).map(|index| self.resolve(index, 0)).collect();
        let resolved = all.into_iter().map(|value| value.unwrap_or_default());
        resolved.zip(self.used).collect()
    }

    fn resolve(&mut self, index: usize, depth: usize) -> Result<Rc<Resolved>, Reason> {
        match self.states.get(index) {
            Some(State::Done(resolved)) => return Ok(Rc::clone(resolved)),
            Some(State::New) if depth < DEPTH_MAX => {}
            _ => return Err(Reason::Cycle),
        }
        self.states[index] = State::Open;
        let text = self.values[index];
        let closes = matching_braces(text);
        let mut run = Run { closes, text, unresolved: Vec::new(), secrets: Vec::new() };
        let value = self.evaluate(&mut run, 0, text.len(), depth);
        self.total_bytes += value.len();
        let value: Rc<str> = value.trim_matches(|c| c <= ' ').into();
        let Run { unresolved, mut secrets, .. } = run;
        if secrets.len() > LISTED_MAX {
            secrets = vec![Rc::clone(&value)];
        }
        let resolved = Rc::new(Resolved { value, unresolved, secrets });
        self.states[index] = State::Done(Rc::clone(&resolved));
        Ok(resolved)
    }

    fn evaluate(&mut self, run: &mut Run<'_>, start: usize, end: usize, depth: usize) -> String {
        let mut out = String::new();
        let mut at = start;
        while let Some(found) = run.text[at..end].find("${") {
            let open = at + found;
            if open > at && run.text.as_bytes()[open - 1] == b'$' {
                // `$${`: one dollar is the escape.
                out.push_str(&run.text[at..open - 1]);
                out.push_str("${");
                at = open + 2;
                continue;
            }
            out.push_str(&run.text[at..open]);
            let close = run.closes.get(&open).copied().filter(|close| *close < end);
            let Some(close) = close else {
                out.push_str("${");
                at = open + 2;
                continue;
            };
            at = close + 1;
            match self.expression(run, open, close, depth) {
                Ok(value) if self.fits(out.len() + value.len()) => out.push_str(&value),
                Ok(_) => run.keep(&mut out, open, at, Reason::TooLarge),
                Err(reason) => run.keep(&mut out, open, at, reason),
            }
        }
        out.push_str(&run.text[at..end]);
        out
    }

    fn fits(&self, value_bytes: usize) -> bool {
        value_bytes <= VALUE_BYTES_MAX && self.total_bytes + value_bytes <= TOTAL_BYTES_MAX
    }

    fn expression(
        &mut self,
        run: &mut Run<'_>,
        open: usize,
        close: usize,
        depth: usize,
    ) -> Result<Rc<str>, Reason> {
        if depth >= DEPTH_MAX {
            return Err(Reason::Cycle);
        }
        let (name_end, default) = run.split_default(open + 2, close);
        let listed = run.unresolved.len();
        let name = self.evaluate(run, open + 2, name_end, depth + 1);
        let is_named = run.unresolved.len() == listed;
        let found = if is_named { self.look_up(run, &name, depth) } else { Err(Reason::NotFound) };
        match (found, default) {
            (Ok(value), _) => Ok(value),
            (Err(_), Some(start)) => {
                // The default makes up for what its name lacked.
                run.unresolved.truncate(listed);
                Ok(self.evaluate(run, start, close, depth + 1).into())
            }
            (Err(reason), None) => {
                run.unresolved.truncate(listed);
                Err(reason)
            }
        }
    }

    fn look_up(&mut self, run: &mut Run<'_>, name: &str, depth: usize) -> Result<Rc<str>, Reason> {
        let found = match name.split_once(':') {
            Some(("env", variable)) => self.variable(run, variable),
            Some(("sys", property)) => self.system_property(property),
            Some(("date" | "java", _)) => return Err(Reason::NotSupported),
            _ => {
                if let Some(index) = self.by_key.get(name).copied() {
                    self.used[index] = true;
                    let resolved = self.resolve(index, depth + 1)?;
                    if self.is_secret.get(index).is_some_and(|is_secret| *is_secret) {
                        run.note_secret(&resolved.value);
                    }
                    resolved.secrets.iter().for_each(|secret| run.note_secret(secret));
                    return Ok(Rc::clone(&resolved.value));
                }
                self.variable(run, name)
            }
        };
        found.ok_or(Reason::NotFound)
    }

    fn variable(&self, run: &mut Run<'_>, name: &str) -> Option<Rc<str>> {
        let value: Rc<str> = (self.env)(name)?.into();
        if looks_secret(name) {
            run.note_secret(&value);
        }
        Some(value)
    }

    /// The system properties that have a meaning without a JVM.
    fn system_property(&self, name: &str) -> Option<Rc<str>> {
        let value = match name {
            "user.home" => (self.env)("HOME"),
            "user.name" => (self.env)("USER"),
            "java.io.tmpdir" => (self.env)("TMPDIR").or_else(|| Some("/tmp".to_owned())),
            "file.separator" => Some("/".to_owned()),
            "path.separator" => Some(":".to_owned()),
            _ => None,
        };
        value.map(Rc::from)
    }
}

/// One value while it is put together.
struct Run<'t> {
    text: &'t str,
    closes: HashMap<usize, usize>,
    unresolved: Vec<Unresolved>,
    secrets: Vec<Rc<str>>,
}

impl Run<'_> {
    fn note_secret(&mut self, secret: &Rc<str>) {
        // One more than is listed says that there are too many to tell them apart.
        let has_room = self.secrets.len() <= LISTED_MAX;
        if has_room && !secret.is_empty() && !self.secrets.contains(secret) {
            self.secrets.push(Rc::clone(secret));
        }
    }

    fn keep(&mut self, out: &mut String, start: usize, end: usize, reason: Reason) {
        out.push_str(&self.text[start..end]);
        if self.unresolved.len() < LISTED_MAX {
            self.unresolved.push(Unresolved { start, end, reason });
        }
    }

    /// Where the name ends and the default starts: at the first `:-` that is not inside a nested expression.
    fn split_default(&self, start: usize, close: usize) -> (usize, Option<usize>) {
        let mut at = start;
        while at < close {
            if let Some(nested) = self.closes.get(&at) {
                at = nested + 1;
            } else if self.text[at..close].starts_with(":-") {
                return (at, Some(at + 2));
            } else {
                at += self.text[at..].chars().next().map_or(1, char::len_utf8);
            }
        }
        (close, None)
    }
}

/// The closing brace of every `${` that has one. One pass: nested and unclosed expressions cost no more than others.
fn matching_braces(text: &str) -> HashMap<usize, usize> {
    let bytes = text.as_bytes();
    let mut open = Vec::new();
    let mut closes = HashMap::new();
    for (at, byte) in bytes.iter().enumerate() {
        let is_open = *byte == b'$' && bytes.get(at + 1) == Some(&b'{');
        if is_open && (at == 0 || bytes[at - 1] != b'$') {
            open.push(at);
        } else if *byte == b'}'
            && let Some(start) = open.pop()
        {
            closes.insert(start, at);
        }
    }
    closes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(name: &str) -> Option<String> {
        match name {
            "PORT" => Some("4141".to_owned()),
            "HOME" => Some("/home/flume".to_owned()),
            "WHICH" => Some("PORT".to_owned()),
            "RAW" => Some("${env:PORT}".to_owned()),
            _ => None,
        }
    }

    fn resolve(pairs: &[(&str, &str)]) -> Vec<Rc<Resolved>> {
        let values: Vec<_> = pairs.iter().map(|(_, value)| *value).collect();
        let by_key = pairs.iter().enumerate().map(|(index, (key, _))| (*key, index)).collect();
        let all = Resolver::new(&values, &by_key, &env).resolve_all();
        all.into_iter().map(|(resolved, _)| resolved).collect()
    }

    fn value(text: &str) -> String {
        resolve(&[("k", text)])[0].value.to_string()
    }

    /// TestEnvVarResolverProperties, TestMapResolver, TestEnvLookup, TestRecursiveLookup.
    #[test]
    fn flume_lookups_are_resolved() {
        assert_eq!(value("${env:PORT}"), "4141");
        assert_eq!(value("a ${PORT} b ${PORT}"), "a 4141 b 4141");
        assert_eq!(value("${sys:user.home}/x"), "/home/flume/x");
        assert_eq!(value("${env:NONE:-41414}"), "41414");
        assert_eq!(value("${env:NONE:-${env:PORT}}"), "4141");
        assert_eq!(value("${env:${env:WHICH}}"), "4141");
        assert_eq!(value("${env:${NONE}:-x}"), "x");
        assert_eq!(value("$${env:PORT}"), "${env:PORT}");
        assert_eq!(value("plain $ { } text"), "plain $ { } text");
        assert_eq!(value("${env:RAW}"), "${env:PORT}");
    }

    #[test]
    fn what_cannot_be_resolved_stays_and_is_listed() {
        for (text, reason) in [
            ("x ${env:NONE} y", Reason::NotFound),
            ("x ${date:yyyy} y", Reason::NotSupported),
            ("x ${f[\"key\"]} y", Reason::NotFound),
            ("x ${k} y", Reason::Cycle),
        ] {
            let resolved = &resolve(&[("k", text)])[0];
            assert_eq!(&*resolved.value, text);
            let unresolved = Unresolved { start: 2, end: text.len() - 2, reason };
            assert_eq!(resolved.unresolved, [unresolved]);
        }
        assert_eq!(value("${unclosed"), "${unclosed");
    }

    #[test]
    fn keys_of_the_file_are_resolved_whatever_their_order() {
        let all = resolve(&[("a", "${b}!"), ("b", "<${c}>"), ("c", "1")]);
        assert_eq!(&*all[0].value, "<1>!");
    }

    #[test]
    fn what_came_from_a_secret_is_known() {
        let pairs = [("a", "x ${b}"), ("b", "<${k}>"), ("k", "hunter2"), ("p", "${env:PORT}")];
        let values: Vec<_> = pairs.iter().map(|(_, value)| *value).collect();
        let by_key = pairs.iter().enumerate().map(|(index, (key, _))| (*key, index)).collect();
        let is_secret = [false, false, true, false];
        let all = Resolver::new(&values, &by_key, &env).with_secrets(&is_secret).resolve_all();
        let secrets: Vec<Vec<&str>> = all
            .iter()
            .map(|(resolved, _)| resolved.secrets.iter().map(|secret| &**secret).collect())
            .collect();
        assert_eq!(secrets, [vec!["hunter2"], vec!["hunter2"], vec![], vec![]]);
        let env = |name: &str| (name == "DB_PASSWORD").then(|| "hunter3".to_owned());
        let values = ["u:${env:DB_PASSWORD}"];
        let all = Resolver::new(&values, &HashMap::new(), &env).resolve_all();
        assert_eq!(*all[0].0.secrets, [Rc::from("hunter3")]);
    }

    #[test]
    fn values_cannot_grow_without_end() {
        let pairs: Vec<_> =
            (0..40).map(|n| (format!("k{n}"), format!("${{k{0}}}${{k{0}}}", n + 1))).collect();
        let mut pairs: Vec<_> = pairs.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        pairs.push(("k40", "0123456789"));
        pairs.reverse();
        let all = resolve(&pairs);
        assert!(all.iter().all(|resolved| resolved.value.len() <= VALUE_BYTES_MAX));
        assert!(all.iter().flat_map(|r| &r.unresolved).any(|u| u.reason == Reason::TooLarge));
    }
}
