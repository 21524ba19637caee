//! What stands between a source and its channels: interceptors and the selector.

use super::{
    Checker,
    keys::{Owner, Scope},
};
use crate::{
    component::KeyKind,
    config::{
        ComponentConfig, codes,
        conf_file::Span,
        diagnostics::Diagnostic,
        document::{Property, Word, short},
        sections::Properties,
    },
    registry::Kind,
};
use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

/// Flume's choice where a conf makes none.
const DEFAULT_SELECTOR: &str = "replicating";

/// The helpers of a source.
pub(super) struct SourceParts {
    pub(super) interceptors: Vec<ComponentConfig>,
    pub(super) selector: ComponentConfig,
}

impl Checker<'_> {
    /// `None` if the source cannot be built because of one of them.
    pub(super) fn parts(
        &mut self,
        source: &Word<'_>,
        subject: &str,
        properties: &Properties<'_>,
        channels: &Property,
    ) -> Option<SourceParts> {
        let interceptors = self.interceptors(source, subject, properties);
        let selector = self.selector(source, subject, properties, channels);
        Some(SourceParts { interceptors: interceptors?, selector: selector? })
    }

    fn interceptors(
        &mut self,
        source: &Word<'_>,
        subject: &str,
        properties: &Properties<'_>,
    ) -> Option<Vec<ComponentConfig>> {
        let mut named = by_name(properties);
        let words = properties.get("interceptors").map_or_else(Vec::new, |list| {
            self.report_unresolved(list);
            self.names(list)
        });
        let mut chain = Vec::new();
        for word in &words {
            let own = named.remove(word.text).unwrap_or_default();
            chain.push(self.interceptor(source, subject, word, &own));
        }
        for (name, own) in named {
            let first = own.values().min_by_key(|property| property.key.span().start);
            let Some(first) = first else { continue };
            let message = format!(
                "interceptor `{}` of {subject} has properties but is not listed",
                short(name)
            );
            let warning = Diagnostic::warning(codes::NOT_LISTED, message)
                .at(first.key.span(), "the first of them")
                .help(format!("add `{}` to the `interceptors` of {subject}", short(name)));
            self.found.push(warning);
        }
        chain.into_iter().collect()
    }

    fn interceptor(
        &mut self,
        source: &Word<'_>,
        subject: &str,
        word: &Word<'_>,
        own: &Properties<'_>,
    ) -> Option<ComponentConfig> {
        let part = format!("interceptor `{}` of {subject}", word.shown);
        let owner = Owner { subject: &part, dropped: subject };
        let (entry, type_span) = self.entry_of(Kind::Interceptor, owner, word.span, own)?;
        let name = format!("{} {}", source.text, word.text);
        let scope = Scope { owner, name: &name, entry, type_span, common: &["type"] };
        let values = own.iter().filter(|(key, _)| **key != "type");
        let settings = self.settings(&scope, values.map(|(key, property)| (*key, *property)))?;
        Some(ComponentConfig { name: Arc::from(word.text), entry, settings })
    }

    fn selector(
        &mut self,
        source: &Word<'_>,
        subject: &str,
        properties: &Properties<'_>,
        channels: &Property,
    ) -> Option<ComponentConfig> {
        let own: Properties<'_> = properties
            .iter()
            .filter_map(|(key, property)| Some((key.strip_prefix("selector.")?, *property)))
            .collect();
        let part = format!("the selector of {subject}");
        let owner = Owner { subject: &part, dropped: subject };
        let (entry, type_span) = if own.contains_key("type") {
            self.entry_of(Kind::Selector, owner, source.span, &own)?
        } else {
            (self.default_selector(subject, source.span)?, source.span)
        };
        let name = format!("{} selector", source.text);
        let scope = Scope { owner, name: &name, entry, type_span, common: &["type"] };
        let values = own.iter().filter(|(key, _)| **key != "type");
        let settings = self.settings(&scope, values.map(|(key, property)| (*key, *property)));
        let is_wired = self.check_selected(subject, entry, &own, channels);
        settings.filter(|_| is_wired).map(|settings| ComponentConfig {
            name: Arc::from("selector"),
            entry,
            settings,
        })
    }

    fn default_selector(
        &mut self,
        subject: &str,
        at: Span,
    ) -> Option<&'static crate::component::Entry> {
        let entry = self.registry.find(Kind::Selector, DEFAULT_SELECTOR);
        if entry.is_none() {
            let message =
                format!("the `{DEFAULT_SELECTOR}` selector is not available in this build");
            let error = Diagnostic::error(codes::NOT_AVAILABLE, message);
            self.fault(subject, error.at(at, "uses it, as it names no other"));
        }
        entry
    }

    /// The names in a selector's settings are channels: each must be one of its source's.
    fn check_selected(
        &mut self,
        subject: &str,
        entry: &'static crate::component::Entry,
        own: &Properties<'_>,
        channels: &Property,
    ) -> bool {
        let words = channels.words();
        let known: HashSet<&str> = words.iter().map(|word| word.text).collect();
        let mut is_wired = true;
        for (key, property) in own {
            let row = entry.keys.iter().find(|row| row.matches(key));
            if row.is_none_or(|row| row.kind != KeyKind::Names) {
                continue;
            }
            for word in property.words().iter().filter(|word| !known.contains(word.text)) {
                let message = format!(
                    "the selector of {subject} names `{}`, which is not one of its channels",
                    word.shown
                );
                let meant = self.suggest(word.text, words.iter().map(|word| word.text));
                let error = Diagnostic::error(codes::NO_SUCH_CHANNEL, message)
                    .at(word.span, "not a channel of this source")
                    .and(channels.value.span(), "its channels")
                    .maybe_help(meant.map(|name| format!("did you mean `{}`?", short(name))));
                self.fault(subject, error);
                is_wired = false;
            }
        }
        is_wired
    }
}

/// `interceptors.N.rest` by `N`.
fn by_name<'d>(properties: &Properties<'d>) -> BTreeMap<&'d str, Properties<'d>> {
    let mut named: BTreeMap<&str, Properties<'_>> = BTreeMap::new();
    for (key, property) in properties {
        let parts = key.strip_prefix("interceptors.").and_then(|rest| rest.split_once('.'));
        if let Some((name, rest)) = parts {
            named.entry(name).or_default().insert(rest, property);
        }
    }
    named
}
