//! Properties against the key table of their component.

use super::Checker;
use crate::{
    component::{Entry, Key, KeyKind, Settings},
    config::{
        codes, conf_file::Span, diagnostics::Diagnostic, document::Property, suggest::nearest,
    },
    registry::Kind,
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

/// True for keys that are not the component's own.
pub(super) fn is_common(kind: Kind, key: &str) -> bool {
    let is_part = key.starts_with("interceptors.") || key.starts_with("selector.");
    common(kind).contains(&key) || (kind == Kind::Source && is_part)
}

/// Whose properties are checked.
pub(super) struct Scope<'a> {
    /// As messages call it.
    pub(super) subject: &'a str,
    /// The name of its settings.
    pub(super) name: &'a str,
    pub(super) entry: &'static Entry,
    /// The value of its `type`.
    pub(super) type_span: Span,
    /// Legal keys besides the table's, for suggestions.
    pub(super) common: &'a [&'static str],
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
        let mut is_sound = true;
        let mut given: Vec<&str> = Vec::new();
        for (key, property) in properties {
            let Some(row) = scope.entry.keys.iter().find(|row| row.matches(key)) else {
                self.found.push(unknown(scope, key, property));
                continue;
            };
            given.push(row.pattern);
            match verdict(row, property) {
                Verdict::Good => self.report_unresolved(property),
                Verdict::Odd(warning) => self.found.push(warning),
                Verdict::Replaced(warning) => {
                    self.found.push(warning);
                    continue;
                }
                Verdict::Refused(error) => {
                    self.fault(scope.subject, error);
                    is_sound = false;
                    continue;
                }
            }
            values.insert(key.to_owned(), property.resolved().to_owned());
        }
        for row in scope.entry.keys.iter().filter(|row| row.required) {
            if !given.contains(&row.pattern) {
                self.fault(scope.subject, missing(scope, row));
                is_sound = false;
            }
        }
        is_sound.then(|| Settings::new(scope.name, values, scope.entry.keys))
    }
}

fn unknown(scope: &Scope<'_>, key: &str, property: &Property) -> Diagnostic {
    let rows = scope.entry.keys.iter().map(|row| row.pattern).filter(|key| !key.contains('*'));
    let meant = nearest(key, rows.chain(scope.common.iter().copied()));
    let type_name = scope.entry.names.first().copied().unwrap_or_default();
    Diagnostic::warning(
        codes::UNKNOWN_PROPERTY,
        format!("unknown property `{}`", property.shown_key()),
    )
    .at(property.key.span(), format!("`{type_name}` has no such property"))
    .maybe_help(meant.map(|key| format!("did you mean `{key}`?")))
    .note("Flume ignores it, too")
}

fn missing(scope: &Scope<'_>, row: &Key) -> Diagnostic {
    let message = format!("{} lacks the required property `{}`", scope.subject, row.pattern);
    let type_name = scope.entry.names.first().copied().unwrap_or_default();
    Diagnostic::error(codes::MISSING_PROPERTY, message)
        .at(scope.type_span, format!("`{type_name}` needs `{}`", row.pattern))
        .help(format!("`{}`: {}", row.pattern, row.doc))
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
            refused(format!("`{key}` has no such choice"), label.into())
        }
        KeyKind::Regex => match regex::Regex::new(value) {
            Ok(_) => Verdict::Good,
            Err(error) => {
                refused(format!("`{key}` is no regular expression"), regex_fault(&error).into())
            }
        },
    }
}

/// What is wrong with an expression. The parser's own words quote it, which a secret does not allow.
fn regex_fault(error: &regex::Error) -> &'static str {
    match error {
        regex::Error::CompiledTooBig(_) => "too large",
        _ => "cannot be parsed, or needs look-around or back-references, which this build lacks",
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
        Some(default) => format!("`{key}` cannot be used: the default {default} is"),
        None => format!("`{key}` cannot be used and is ignored"),
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
