//! Properties against the key table of their component.

use super::Checker;
use crate::{
    component::{Entry, Gravity, Key, KeyKind, Problem, Settings},
    config::{
        codes, conf_file::Span, diagnostics::Diagnostic, document::Property, sections::Properties,
        suggest::nearest,
    },
    registry::Kind,
    text::java_regex::{self, REGEX_HELP},
};
use std::{borrow::Cow, collections::BTreeMap};

/// The keys that the validator knows itself.
pub(super) const fn common(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::Source => &["type", "channels", "interceptors", "selector.type"],
        Kind::Sink => &["type", "channel"],
        _ => &["type"],
    }
}

/// True for keys that are not the component's own, but its wiring. The wrong number of the right word counts, too: the check of the
/// wiring says all about it.
pub(super) fn is_common(kind: Kind, key: &str, properties: &Properties<'_>) -> bool {
    let stands_for = |missing: &str| !properties.contains_key(missing);
    match (kind, key) {
        (Kind::Source, "channel") => stands_for("channels"),
        (Kind::Sink, "channels") => stands_for("channel"),
        (Kind::Source, _) if key.starts_with("interceptors.") || key.starts_with("selector.") => {
            true
        }
        _ => common(kind).contains(&key),
    }
}

/// What a message is about.
#[derive(Clone, Copy)]
pub(super) struct Owner<'a> {
    /// As messages call it.
    pub(super) subject: &'a str,
    /// What cannot run if it cannot be built: itself, or the source it belongs to.
    pub(super) dropped: &'a str,
}

impl<'a> Owner<'a> {
    /// A component that stands for itself.
    pub(super) const fn itself(subject: &'a str) -> Self {
        Self { subject, dropped: subject }
    }
}

/// Whose properties are checked.
pub(super) struct Scope<'a> {
    pub(super) owner: Owner<'a>,
    /// The name of its settings.
    pub(super) name: &'a str,
    pub(super) entry: &'static Entry,
    /// The value of its `type`.
    pub(super) type_span: Span,
    /// Legal keys besides the table's, for suggestions.
    pub(super) common: &'a [&'static str],
}

impl Scope<'_> {
    fn type_name(&self) -> &'static str {
        self.entry.names.first().copied().unwrap_or_default()
    }
}

/// What is to become of a value.
enum Verdict {
    Good,
    /// Used although it is odd.
    Odd(Diagnostic),
    /// The default is used instead.
    Replaced(Diagnostic),
    /// The component cannot be built.
    Refused(Diagnostic),
}

impl Checker<'_> {
    /// The settings of a component, or `None` if it cannot be built. All problems are reported.
    pub(super) fn settings<'d>(
        &mut self,
        scope: &Scope<'_>,
        properties: impl Iterator<Item = (&'d str, &'d Property)>,
    ) -> Option<Settings> {
        let mut values = BTreeMap::new();
        let mut faulty: Vec<&str> = Vec::new();
        let mut given = Properties::new();
        let mut rows: Vec<&str> = Vec::new();
        let mut secrets: Vec<(String, String)> = Vec::new();
        let mut strangers: Vec<(Option<&str>, &Property)> = Vec::new();
        for (key, property) in properties {
            let Some(row) = scope.entry.keys.iter().find(|row| row.matches(key)) else {
                strangers.push((meant(scope, key), property));
                continue;
            };
            rows.push(row.pattern);
            given.insert(key, property);
            match verdict(row, property) {
                Verdict::Good => self.report_unresolved(property),
                Verdict::Odd(warning) => self.found.push(warning),
                Verdict::Replaced(warning) => {
                    self.found.push(warning);
                    continue;
                }
                Verdict::Refused(error) => {
                    self.fault(scope.owner.dropped, error);
                    faulty.push(key);
                    continue;
                }
            }
            self.found.extend(without_effect(row, property));
            values.insert(key.to_owned(), property.resolved().to_owned());
            secrets.extend(property.secrets().map(|secret| (key.to_owned(), secret.to_owned())));
        }
        for row in scope.entry.keys.iter().filter(|row| row.required) {
            if !rows.contains(&row.pattern) {
                // A misspelled required property is one mistake, not two.
                let misspelled =
                    strangers.iter().position(|(meant, _)| *meant == Some(row.pattern));
                let misspelled = misspelled.map(|index| strangers.remove(index).1);
                self.fault(scope.owner.dropped, missing(scope, row, misspelled));
                faulty.push(row.pattern);
            }
        }
        let strangers = strangers.into_iter();
        self.found.extend(strangers.map(|(meant, property)| unknown(scope, meant, property)));
        let settings = Settings::new(scope.name, values, scope.entry.keys).hiding(secrets);
        let is_verified = self.verify(scope, &settings, &given, &faulty);
        (is_verified && faulty.is_empty()).then_some(settings)
    }

    /// False if the component's own rules refuse its settings. Keys in `faulty` have been reported.
    fn verify(
        &mut self,
        scope: &Scope<'_>,
        settings: &Settings,
        given: &Properties<'_>,
        faulty: &[&str],
    ) -> bool {
        let Some(verify) = scope.entry.verify else { return true };
        let mut is_sound = true;
        for problem in verify(settings) {
            let property = given.get(problem.key.as_str()).copied();
            if faulty.contains(&problem.key.as_str()) {
                continue;
            }
            match problem.gravity {
                Gravity::Refused => {
                    self.fault(scope.owner.dropped, refused_by(scope, &problem, property));
                    is_sound = false;
                }
                _ if property.is_some_and(|property| !property.unresolved.is_empty()) => {}
                Gravity::OfHost => self.found.push(not_ready(scope, &problem, property)),
                Gravity::NoEffect => {
                    self.found
                        .extend(property.map(|property| no_effect(property, &problem.message)));
                }
            }
        }
        is_sound
    }
}

/// The error for what the component itself says of its settings.
fn refused_by(scope: &Scope<'_>, problem: &Problem, property: Option<&Property>) -> Diagnostic {
    let why = &problem.message;
    let label = format!("refused by `{}`", scope.type_name());
    let Some(property) = property else {
        let message = format!("{} needs `{}`: {why}", scope.owner.subject, problem.key);
        return Diagnostic::error(codes::INVALID_VALUE, message).at(scope.type_span, label);
    };
    let key = property.shown_key();
    let words = property.words();
    let word = words.iter().find(|word| problem.name.as_deref() == Some(word.text));
    let (message, at) = match word {
        Some(word) => (format!("`{}` in `{key}` cannot be used: {why}", word.shown), word.span),
        None => (format!("`{key}` cannot be used: {why}"), property.value.span()),
    };
    let error = Diagnostic::error(codes::INVALID_VALUE, message).at(at, label);
    with_unresolved(error.maybe_help(problem.help.clone()), property)
}

/// The warning about a host that does not have what the conf names.
fn not_ready(scope: &Scope<'_>, problem: &Problem, property: Option<&Property>) -> Diagnostic {
    let key = property.map_or_else(|| problem.key.clone(), Property::shown_key);
    let at = property.map_or(scope.type_span, |property| property.value.span());
    Diagnostic::warning(codes::HOST_NOT_READY, format!("`{key}`: {}", problem.message))
        .at(at, "looked for just now")
}

/// The key that was meant, perhaps.
fn meant<'a>(scope: &Scope<'a>, key: &str) -> Option<&'a str> {
    let rows = scope.entry.keys.iter().map(|row| row.pattern).filter(|key| !key.contains('*'));
    nearest(key, rows.chain(scope.common.iter().copied()))
}

fn unknown(scope: &Scope<'_>, meant: Option<&str>, property: &Property) -> Diagnostic {
    let message = format!("unknown property `{}`", property.shown_key());
    Diagnostic::warning(codes::UNKNOWN_PROPERTY, message)
        .at(property.key.span(), format!("`{}` has no such property", scope.type_name()))
        .maybe_help(meant.map(|key| format!("did you mean `{key}`?")))
        .note("Flume ignores it, too")
}

fn missing(scope: &Scope<'_>, row: &Key, misspelled: Option<&Property>) -> Diagnostic {
    let message = format!("{} lacks the required property `{}`", scope.owner.subject, row.pattern);
    let error = Diagnostic::error(codes::MISSING_PROPERTY, message)
        .at(scope.type_span, format!("`{}` needs `{}`", scope.type_name(), row.pattern));
    match misspelled {
        Some(property) => {
            error.and(property.key.span(), format!("did you mean `{}`?", row.pattern))
        }
        None => error.help(format!("`{}`: {}", row.pattern, row.doc)),
    }
}

/// What to say of a property that is accepted and does nothing; nothing if it asks for nothing.
fn without_effect(row: &Key, property: &Property) -> Option<Diagnostic> {
    let why = row.ignored?;
    let asks = row.default.is_none_or(|default| !default.eq_ignore_ascii_case(property.resolved()));
    asks.then(|| no_effect(property, why))
}

fn no_effect(property: &Property, why: &str) -> Diagnostic {
    let message = format!("`{}` has no effect here", property.shown_key());
    Diagnostic::warning(codes::NO_EFFECT, message)
        .at(property.key.span(), "accepted and not used")
        .note(why)
}

fn verdict(row: &Key, property: &Property) -> Verdict {
    let value = property.resolved();
    let refused = |message: String, label: Cow<'_, str>| {
        let error =
            Diagnostic::error(codes::INVALID_VALUE, message).at(property.value.span(), label);
        Verdict::Refused(with_unresolved(error, property))
    };
    let key = property.shown_key();
    match row.kind {
        KeyKind::Text | KeyKind::Names | KeyKind::Paths => Verdict::Good,
        KeyKind::Flag => flag(property),
        KeyKind::Whole { min, max, replaced } => match value.parse::<i64>() {
            Ok(number) if (min..=max).contains(&number) => Verdict::Good,
            _ if replaced => {
                Verdict::Replaced(with_unresolved(replacement(row, property, min, max), property))
            }
            Ok(_) => refused(format!("`{key}` is out of range"), range(min, max).into()),
            Err(_) => refused(format!("`{key}` is not a whole number"), range(min, max).into()),
        },
        KeyKind::Choice(choices) => {
            if choices.iter().any(|choice| choice.eq_ignore_ascii_case(value)) {
                return Verdict::Good;
            }
            let all: Vec<String> = choices.iter().map(|choice| format!("`{choice}`")).collect();
            let label = format!("expected {}", all.join(" or "));
            refused(format!("`{key}` is none of the values there are"), label.into())
        }
        KeyKind::Regex => match java_regex::compile(value) {
            Ok(_) => Verdict::Good,
            Err(why) => {
                let message = format!("`{key}` is not a regular expression that this build knows");
                let error = Diagnostic::error(codes::INVALID_VALUE, message)
                    .at(property.value.span(), why)
                    .help(REGEX_HELP);
                Verdict::Refused(with_unresolved(error, property))
            }
        },
    }
}

fn with_unresolved(diagnostic: Diagnostic, property: &Property) -> Diagnostic {
    if property.unresolved.is_empty() {
        return diagnostic;
    }
    diagnostic.note("the `${...}` in it cannot be resolved")
}

fn flag(property: &Property) -> Verdict {
    let value = property.resolved();
    let is = |words: &[&str]| words.iter().any(|word| value.eq_ignore_ascii_case(word));
    if is(&["true", "false"]) {
        return Verdict::Good;
    }
    let meant = if is(&["yes", "1", "on", "y", "t", "enabled"]) { "true" } else { "false" };
    let message = format!("`{}` counts as `false`", property.shown_key());
    let warning = Diagnostic::warning(codes::ODD_FLAG, message)
        .at(property.value.span(), "only `true` is true")
        .help(format!("write `{meant}` if you mean that"));
    Verdict::Odd(with_unresolved(warning, property))
}

fn replacement(row: &Key, property: &Property, min: i64, max: i64) -> Diagnostic {
    let key = property.shown_key();
    let message = match row.default {
        Some(default) => format!("`{key}` is replaced by the default {default}"),
        None => format!("`{key}` is out of range and ignored"),
    };
    Diagnostic::warning(codes::REPLACED_VALUE, message)
        .at(property.value.span(), range(min, max))
        .note("Flume does the same")
}

/// What whole numbers there are.
fn range(min: i64, max: i64) -> String {
    if max >= i64::from(i32::MAX) {
        format!("expected a whole number of at least {min}")
    } else {
        format!("expected a whole number from {min} to {max}")
    }
}
