//! The properties of a conf: duplicates settled, substitutions made, secrets known.

use super::{
    codes,
    conf_file::{ConfFile, Span},
    diagnostics::Diagnostic,
    lookups::{Env, Reason, Resolver, Unresolved},
    properties::{self, Fault, Text},
    render::printable,
    secrets::secret_span,
};
use crate::registry::Registry;
use std::{collections::HashMap, rc::Rc};

/// A quoted value is cut behind this many characters.
const SHOWN_CHARS_MAX: usize = 60;

/// One key of the file and what it is worth.
#[derive(Clone, Debug)]
pub struct Property {
    /// As in the file.
    pub key: Text,
    /// As in the file, before substitution.
    pub value: Text,
    /// What is left of `${...}`.
    pub unresolved: Vec<Unresolved>,
    /// Places of the same key further up.
    pub earlier: Vec<Span>,
    /// True if another value refers to this key.
    pub is_referred_to: bool,
    resolved: Rc<str>,
    is_secret: bool,
    /// Parts of `resolved` that came from secrets by substitution.
    secrets: Vec<Rc<str>>,
}

impl Property {
    /// The value after substitution. Never to be printed: see [`shown`](Self::shown).
    #[must_use]
    pub fn resolved(&self) -> &str {
        &self.resolved
    }

    /// What must not be printed of the value after substitution: all of it, or what came from a secret.
    pub(super) fn secrets(&self) -> impl Iterator<Item = &str> {
        let own = self.is_secret.then_some(self.resolved());
        own.into_iter().chain(self.secrets.iter().map(|secret| &**secret))
    }

    /// The value as it may be quoted: as written in the file, short, secrets masked.
    #[must_use]
    pub fn shown(&self) -> String {
        if self.is_secret { "***".to_owned() } else { short(self.value.as_str()) }
    }

    /// The key as it may be quoted.
    #[must_use]
    pub fn shown_key(&self) -> String {
        match self.key.behind_separator() {
            Some((offset, _)) if self.is_secret => {
                format!("{}***", short(&self.key.as_str()[..offset]))
            }
            _ => short(self.key.as_str()),
        }
    }

    /// The names in the value.
    #[must_use]
    pub fn words(&self) -> Vec<Word<'_>> {
        if self.resolved() == self.value.as_str() {
            let word = |(text, span)| Word { text, span, shown: short(text) };
            return self.value.words().into_iter().map(word).collect();
        }
        let names = self.resolved.split(properties::is_java_space).filter(|name| !name.is_empty());
        names.map(|text| Word { text, span: self.value.span(), shown: self.shown() }).collect()
    }
}

/// A name in a list.
#[derive(Clone, Debug)]
pub struct Word<'a> {
    /// The name.
    pub text: &'a str,
    /// Where it stands, or the whole value if it came by substitution.
    pub span: Span,
    /// The name as it may be quoted.
    pub shown: String,
}

/// Text of the file in a message: on one line, not too long.
#[must_use]
pub(super) fn short(text: &str) -> String {
    match text.char_indices().nth(SHOWN_CHARS_MAX) {
        Some((end, _)) => format!("{}...", printable(&text[..end])),
        None => printable(text),
    }
}

/// The properties of a file.
#[derive(Clone, Debug)]
pub struct Document {
    /// Each key once.
    pub properties: Vec<Property>,
    /// Bytes of the file that are never shown.
    pub secrets: Vec<Span>,
    /// What concerns the file as a whole.
    pub diagnostics: Vec<Diagnostic>,
}

impl Document {
    /// Reads a file. `registry` says which keys are secret, `env` is what `${env:NAME}` means.
    #[must_use]
    pub fn read(file: &ConfFile, registry: &Registry, env: Env<'_>) -> Self {
        let lexed = properties::lex(file);
        let mut secrets = Vec::new();
        let mut properties: Vec<Property> = Vec::new();
        let mut index_of: HashMap<String, usize> = HashMap::new();
        for entry in lexed.entries {
            let secret = secret_span(&entry, registry);
            secrets.extend(secret);
            let next = properties.len();
            let index = *index_of.entry(entry.key.as_str().to_owned()).or_insert(next);
            let earlier = properties.get_mut(index).map(|old| {
                let mut earlier = std::mem::take(&mut old.earlier);
                earlier.push(old.key.span());
                earlier
            });
            let is_duplicate = earlier.is_some();
            let property = Property {
                key: entry.key,
                value: entry.value,
                unresolved: Vec::new(),
                earlier: earlier.unwrap_or_default(),
                is_referred_to: false,
                resolved: Rc::from(""),
                is_secret: secret.is_some(),
                secrets: Vec::new(),
            };
            if is_duplicate {
                properties[index] = property;
            } else {
                properties.push(property);
            }
        }
        resolve(&mut properties, env);
        let diagnostics = lexed.faults.into_iter().map(fault).collect();
        Self { properties, secrets, diagnostics }
    }
}

fn resolve(properties: &mut [Property], env: Env<'_>) {
    let is_secret: Vec<bool> = properties.iter().map(|property| property.is_secret).collect();
    let all = {
        let values: Vec<&str> = properties.iter().map(|property| property.value.as_str()).collect();
        let keys = properties.iter().enumerate();
        let by_key = keys.map(|(index, property)| (property.key.as_str(), index)).collect();
        Resolver::new(&values, &by_key, env).with_secrets(&is_secret).resolve_all()
    };
    for (property, (resolved, is_referred_to)) in properties.iter_mut().zip(all) {
        property.resolved = Rc::clone(&resolved.value);
        property.unresolved.clone_from(&resolved.unresolved);
        property.secrets.clone_from(&resolved.secrets);
        property.is_referred_to = is_referred_to;
    }
}

fn fault((fault, span): (Fault, Span)) -> Diagnostic {
    match fault {
        Fault::MalformedEscape => {
            Diagnostic::error(codes::SYNTAX, "`\\u` is not followed by four hexadecimal digits")
                .at(span, "malformed escape")
                .help("write `\\\\u` for a backslash and a `u`")
                .note("Flume refuses the whole file")
        }
        Fault::LoneSurrogate => {
            Diagnostic::warning(codes::SYNTAX, "half of a surrogate pair is no character")
                .at(span, "read as U+FFFD")
        }
    }
}

/// The warning about an expression that stays as it is.
#[must_use]
pub(super) fn unresolved(property: &Property, expression: Unresolved) -> Diagnostic {
    let text = property.value.as_str().get(expression.start..expression.end).unwrap_or_default();
    let shown = if property.is_secret { "${...}".to_owned() } else { short(text) };
    let span = property.value.slice(expression.start, expression.end);
    let warning = |what: &str| {
        Diagnostic::warning(codes::UNRESOLVED, format!("`{shown}` {what}"))
            .note("the text stays as it is written, as in Flume")
    };
    match expression.reason {
        Reason::NotFound => warning("cannot be resolved").at(span, "no such variable or key").help(
            "set the variable for the agent's process, or give a default: `${env:NAME:-default}`",
        ),
        Reason::NotSupported => {
            warning("is not supported").at(span, "only `env:`, `sys:` and keys of this file are")
        }
        Reason::Cycle => warning("needs itself").at(span, "goes round in a circle"),
        Reason::TooLarge => {
            Diagnostic::error(codes::TOO_LARGE, format!("`{shown}` makes the value too large"))
                .at(span, "not put together")
        }
    }
}
