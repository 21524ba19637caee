//! The settings that a component is built from, and the tables that say which there are.

use super::{
    Channel, ComponentError, Interceptor, Placement, Selector, Serializer, Sink, Source, StartError,
};
use std::{collections::BTreeMap, sync::Arc};

/// What values a key takes, so that a conf is checked before anything is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    /// Any text.
    Text,
    /// `true` in any case is true; any other text is false, and a warning.
    Flag,
    /// A whole number. Flume either replaces one outside its range by the default (a warning) or drops the component (an error).
    Whole {
        /// Smallest value allowed.
        min: i64,
        /// Largest value allowed.
        max: i64,
        /// True: a value outside is a warning and the default is used. False: an error.
        replaced: bool,
    },
    /// One of these, in any case.
    Choice(&'static [&'static str]),
    /// Names or values separated by blanks.
    Names,
    /// A path, or several separated by commas.
    Paths,
    /// A Java regular expression.
    Regex,
}

/// One row of a component's key table: what `check` knows, `fchannel components` prints and docs/CONFIG.md says.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// The key behind the component's prefix. `*` stands for one part without a dot, a final `**` for anything.
    pub pattern: &'static str,
    /// What values it takes.
    pub kind: KeyKind,
    /// The value when it is absent.
    pub default: Option<&'static str>,
    /// The component cannot be built without it.
    pub required: bool,
    /// Its value is never printed.
    pub secret: bool,
    /// One sentence; units and the difference to Flume, if any.
    pub doc: &'static str,
    /// It is accepted and does nothing: what a conf that sets it is told.
    pub ignored: Option<&'static str>,
}

impl Key {
    /// An optional key without a default.
    #[must_use]
    pub const fn new(pattern: &'static str, kind: KeyKind, doc: &'static str) -> Self {
        Self { pattern, kind, default: None, required: false, secret: false, doc, ignored: None }
    }

    /// With a default.
    #[must_use]
    pub const fn or(mut self, default: &'static str) -> Self {
        self.default = Some(default);
        self
    }

    /// Required.
    #[must_use]
    pub const fn required(mut self) -> Self {
        self.required = true;
        self
    }

    /// Never printed.
    #[must_use]
    pub const fn secret(mut self) -> Self {
        self.secret = true;
        self
    }

    /// Accepted without effect; a conf that sets it is told why.
    #[must_use]
    pub const fn ignored(mut self, why: &'static str) -> Self {
        self.ignored = Some(why);
        self
    }

    /// True if this row is about `key`.
    #[must_use]
    pub fn matches(&self, key: &str) -> bool {
        let mut parts = key.split('.');
        for pattern in self.pattern.split('.') {
            match pattern {
                "**" => return parts.next().is_some(),
                "*" if parts.next().is_some_and(|part| !part.is_empty()) => {}
                "*" => return false,
                literal if parts.next() == Some(literal) => {}
                _ => return false,
            }
        }
        parts.next().is_none()
    }
}

/// The validated settings of one component.
#[derive(Clone, Debug)]
pub struct Settings {
    name: Arc<str>,
    values: BTreeMap<String, String>,
    keys: &'static [Key],
    /// What must not be printed, each with the key whose value it is or is in.
    secrets: Arc<[(String, String)]>,
}

impl Settings {
    /// `values` are the conf's, keys without the component's prefix, already checked against `keys`; values that Flume would replace
    /// by a default are gone.
    #[must_use]
    pub fn new(
        name: impl Into<Arc<str>>,
        values: BTreeMap<String, String>,
        keys: &'static [Key],
    ) -> Self {
        Self { name: name.into(), values, keys, secrets: Arc::default() }
    }

    /// With what must not be printed: keys, and what is secret in their values.
    #[must_use]
    pub fn hiding(self, mut secrets: Vec<(String, String)>) -> Self {
        secrets.retain(|(_, secret)| !secret.is_empty());
        // The longest first: one may be a part of another.
        secrets.sort_by_key(|(_, secret)| std::cmp::Reverse(secret.len()));
        Self { secrets: secrets.into(), ..self }
    }

    /// What a component says of itself, without the secrets among its values.
    #[must_use]
    pub fn mask(&self, text: &str) -> String {
        let mut masked = text.to_owned();
        let mut keys: Vec<&str> = Vec::new();
        for (key, secret) in self.secrets.iter() {
            if masked.contains(secret.as_str()) {
                masked = masked.replace(secret.as_str(), "***");
                keys.push(key);
            }
        }
        keys.sort_unstable();
        keys.dedup();
        if !keys.is_empty() {
            masked.push_str(&format!(" (***: a secret, in the value of `{}`)", keys.join("`, `")));
        }
        masked
    }

    /// The component's name in the conf.
    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// The conf's value of `key`, else its default.
    #[must_use]
    pub fn text(&self, key: &str) -> Option<&str> {
        let row = || self.keys.iter().find(|row| row.matches(key)).and_then(|row| row.default);
        self.values.get(key).map(String::as_str).or_else(row)
    }

    /// As [`text`](Self::text), for a key that must be there.
    ///
    /// # Errors
    /// Names the key.
    pub fn required(&self, key: &str) -> Result<&str, ComponentError> {
        self.text(key).ok_or_else(|| {
            ComponentError(format!("{}: required property `{key}` is missing", self.name))
        })
    }

    /// True if the value is `true` in any case.
    #[must_use]
    pub fn flag(&self, key: &str) -> bool {
        self.text(key).is_some_and(|value| value.eq_ignore_ascii_case("true"))
    }

    /// A whole number.
    ///
    /// # Errors
    /// Names the key if it is absent without a default, negative, or not a number.
    pub fn whole(&self, key: &str) -> Result<u64, ComponentError> {
        let value = self.required(key)?;
        // Signed, as the check reads it: `-0` is a number, too.
        let number = value.parse::<i64>().ok().and_then(|number| u64::try_from(number).ok());
        number.ok_or_else(|| {
            ComponentError(format!("{}: property `{key}` is not a whole number", self.name))
        })
    }

    /// For a component that is about to be built: the first of the `problems` that keep it from that. A conf that was checked has none.
    ///
    /// # Errors
    /// Names the key.
    pub fn sound(&self, problems: Vec<Problem>) -> Result<(), ComponentError> {
        let fatal = problems.into_iter().find(|problem| problem.gravity == Gravity::Refused);
        self.usable(fatal.map_or(Ok(()), Err))
    }

    /// As [`sound`](Self::sound), for a value that is made on the way.
    ///
    /// # Errors
    /// Names the key.
    pub fn usable<T>(&self, value: Result<T, Problem>) -> Result<T, ComponentError> {
        value.map_err(|Problem { key, message, .. }| {
            ComponentError(format!("{}: property `{key}`: {message}", self.name))
        })
    }

    /// The words of a blank-separated list.
    pub fn names(&self, key: &str) -> impl Iterator<Item = &str> {
        self.text(key).unwrap_or_default().split_whitespace()
    }

    /// All keys of the conf that start with `prefix`, without it, and their values.
    pub fn with_prefix<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.values
            .iter()
            .filter_map(move |(key, value)| Some((key.strip_prefix(prefix)?, value.as_str())))
    }

    /// The settings of a part of this component (a serializer, an interceptor): the keys behind `prefix`, checked against `keys`.
    #[must_use]
    pub fn part(&self, name: &str, prefix: &str, keys: &'static [Key]) -> Self {
        let values = self
            .with_prefix(prefix)
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect();
        let secrets = Arc::clone(&self.secrets);
        Self { secrets, ..Self::new(format!("{} {name}", self.name), values, keys) }
    }
}

/// One component: the row of the registry from which conf validation, `fchannel components` and docs/CONFIG.md are made.
#[derive(Clone, Copy)]
pub struct Entry {
    /// The alias first, then the Java class names that a conf may use instead. Compared without case.
    pub names: &'static [&'static str],
    /// One sentence.
    pub doc: &'static str,
    /// Every key it knows; the common ones of its kind (`type`, `channels`, ...) are the validator's.
    pub keys: &'static [Key],
    /// The key that holds its batch size, to be checked against the channel's transaction capacity.
    pub batch_key: Option<&'static str>,
    /// What the key table cannot say about its values. The component is built from the same rules: see [`Settings::sound`].
    pub verify: Option<Verify>,
    /// How it is made.
    pub build: Build,
}

/// What is wrong with settings whose every value is one that the key table allows. It looks and changes nothing.
pub type Verify = fn(&Settings) -> Vec<Problem>;

/// Something that keeps a component from being built, or from working where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The key, without the component's prefix, whose value is to be changed or that is missing.
    pub key: String,
    /// Of a list, the name that is wrong.
    pub name: Option<String>,
    /// What is wrong or what is allowed, in half a sentence. Never a value: it could have come from a secret.
    pub message: String,
    /// What can be done instead, if that can be said.
    pub help: Option<String>,
    /// What comes of it.
    pub gravity: Gravity,
}

/// What comes of a [`Problem`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gravity {
    /// The component cannot be built: an error.
    Refused,
    /// The conf is fine, but the host is not ready for it: a warning.
    OfHost,
    /// The value does nothing: a warning.
    NoEffect,
}

impl Problem {
    /// The value of `key` cannot be used.
    #[must_use]
    pub fn new(key: impl Into<String>, message: impl Into<String>) -> Self {
        let (key, message) = (key.into(), message.into());
        Self { key, name: None, message, help: None, gravity: Gravity::Refused }
    }

    /// About one name of the list that the key holds.
    #[must_use]
    pub fn of_name(mut self, name: &str) -> Self {
        self.name = Some(name.to_owned());
        self
    }

    /// As a warning: it may be right when the agent starts.
    #[must_use]
    pub const fn of_host(mut self) -> Self {
        self.gravity = Gravity::OfHost;
        self
    }

    /// As a warning: the value is accepted and not used, and the message says why.
    #[must_use]
    pub const fn without_effect(mut self) -> Self {
        self.gravity = Gravity::NoEffect;
        self
    }

    /// What can be done instead. Like the message it never holds a value.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

/// How a component is made from its settings.
#[derive(Clone, Copy)]
pub enum Build {
    /// A source, and where it runs.
    Source(Placement, Make<Box<dyn Source>>),
    /// A channel. Opening one may take a lock and recover a directory.
    Channel(Open),
    /// A sink; it runs on a thread of its own.
    Sink(Make<Box<dyn Sink>>),
    /// An interceptor.
    Interceptor(Make<Box<dyn Interceptor>>),
    /// A selector over the channels named in [`Parts`].
    Selector(Make<Box<dyn Selector>>),
    /// A serializer.
    Serializer(Make<Box<dyn Serializer>>),
}

/// A function that builds a component.
pub type Make<T> = fn(&Settings, &Parts) -> Result<T, ComponentError>;

/// A function that opens a channel.
pub type Open = fn(&Settings, &Parts) -> Result<Arc<dyn Channel>, StartError>;

/// What a component is made of besides its settings.
#[derive(Clone, Default)]
pub struct Parts {
    /// The agent's name.
    pub agent: Arc<str>,
    /// For a selector: the source's channels, in the order of its list.
    pub channels: Vec<Arc<str>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_tell_unknown_keys_from_legal_ones() {
        let matches = |pattern, key| Key::new(pattern, KeyKind::Text, "").matches(key);
        assert!(matches("batchSize", "batchSize"));
        assert!(!matches("batchSize", "batchsize"));
        assert!(matches("filegroups.*", "filegroups.f1"));
        assert!(!matches("filegroups.*", "filegroups"));
        assert!(!matches("filegroups.*", "filegroups.f1.x"));
        assert!(matches("headers.*.**", "headers.f1.a.b"));
        assert!(!matches("headers.*.**", "headers.f1"));
    }

    #[test]
    fn secrets_are_not_in_what_a_component_says() {
        let secret = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        let settings = Settings::new("r1", BTreeMap::new(), &[]);
        assert_eq!(settings.mask("cannot bind host:1"), "cannot bind host:1");
        let settings =
            settings.hiding(vec![secret("a", ""), secret("b", "hunter"), secret("b", "hunter2")]);
        let masked = "cannot bind ***:1 (***: a secret, in the value of `b`)";
        assert_eq!(settings.mask("cannot bind hunter2:1"), masked);
        assert_eq!(settings.mask("cannot bind host:1"), "cannot bind host:1");
    }

    #[test]
    fn settings_fall_back_to_the_defaults_of_the_table() {
        static KEYS: &[Key] = &[
            Key::new("batchSize", KeyKind::Whole { min: 1, max: 100, replaced: true }, "").or("20"),
            Key::new("restart", KeyKind::Flag, "").or("false"),
            Key::new("command", KeyKind::Text, "").required(),
        ];
        let settings =
            Settings::new("r1", BTreeMap::from([("restart".to_owned(), "TRUE".to_owned())]), KEYS);
        assert_eq!(settings.whole("batchSize"), Ok(20));
        assert!(settings.flag("restart"));
        let odd = BTreeMap::from([("batchSize".to_owned(), "-0".to_owned())]);
        assert_eq!(Settings::new("r1", odd, KEYS).whole("batchSize"), Ok(0));
        assert!(
            settings.required("command").unwrap_err().0.contains("r1: required property `command`")
        );
    }
}
