//! The lists of an agent: who is in them, who is missing, who is there for nothing.

use super::Checker;
use crate::config::{
    codes,
    conf_file::Span,
    diagnostics::Diagnostic,
    document::{self, Property, Word, short},
    sections::{Group, Section},
};
use std::collections::{HashMap, HashSet};

impl Checker<'_> {
    /// The names of a list, each once.
    pub(super) fn active<'d>(&mut self, section: &Section<'d>, group: Group) -> Vec<Word<'d>> {
        section.lists.get(&group).map_or_else(Vec::new, |list| {
            self.report_unresolved(list);
            self.names(list)
        })
    }

    pub(super) fn names<'d>(&mut self, list: &'d Property) -> Vec<Word<'d>> {
        let mut first_at: HashMap<&str, Span> = HashMap::new();
        let mut names = Vec::new();
        for word in list.words() {
            let Some(first) = first_at.get(word.text) else {
                first_at.insert(word.text, word.span);
                names.push(word);
                continue;
            };
            let message = format!("`{}` stands twice in `{}`", word.shown, list.shown_key());
            let mut warning =
                Diagnostic::warning(codes::DUPLICATE_NAME, message).at(word.span, "again");
            if *first != word.span {
                warning = warning.and(*first, "first here");
            }
            self.found.push(warning.note("it counts once"));
        }
        names
    }

    pub(super) fn report_unresolved(&mut self, property: &Property) {
        let all = property.unresolved.iter();
        self.found.extend(all.map(|expression| document::unresolved(property, *expression)));
    }

    /// Sink groups and config filters: nothing of this build can run them.
    pub(super) fn refuse_groups(&mut self, agent: &str, section: &Section<'_>) {
        for (group, what, without) in [
            (Group::SinkGroups, "sink groups are", "sink groups: their sinks run on their own"),
            (
                Group::ConfigFilters,
                "config filters are",
                "config filters: their expressions stay as they are",
            ),
        ] {
            if let Some(list) = section.lists.get(&group) {
                let message = format!("{what} not available in this build");
                let error = Diagnostic::error(codes::NOT_AVAILABLE, message)
                    .at(list.key.span(), format!("listed for agent `{}`", short(agent)));
                self.fault(without, error);
            }
        }
    }

    /// Components with properties that no list names: Flume says nothing about them, and they do not run.
    pub(super) fn report_unlisted(&mut self, agent: &str, section: &Section<'_>) {
        for group in section.components.keys() {
            for name in section.unlisted(*group) {
                let Some(properties) = section.component(*group, name) else { continue };
                let first = properties.values().min_by_key(|property| property.key.span().start);
                let Some(first) = first else { continue };
                let (name, list) = (short(name), format!("{}.{}", short(agent), group.as_str()));
                let message = format!("`{name}` has properties but is not in `{list}`");
                let warning = Diagnostic::warning(codes::NOT_LISTED, message)
                    .at(first.key.span(), "the first of them")
                    .help(format!("add `{name}` to `{list}`, or remove its properties"))
                    .note("Flume ignores them silently");
                self.found.push(warning);
            }
        }
    }

    /// True if the agent has channels and something to use them.
    pub(super) fn report_missing_lists(&mut self, agent: &str, section: &Section<'_>) -> bool {
        let agent = short(agent);
        let has = |group| {
            section.lists.get(&group).is_some_and(|list: &&Property| !list.resolved().is_empty())
        };
        let any_list = section.lists.values().map(|list| list.key.span()).min();
        let first_key = section.all.iter().map(|property| property.key.span()).min();
        let at = any_list.or(first_key).unwrap_or_default();
        if !has(Group::Channels) {
            let error =
                Diagnostic::error(codes::EMPTY_AGENT, format!("agent `{agent}` has no channels"));
            self.found.push(
                error.at(at, "the agent").help(format!("add a line `{agent}.channels = ...`")),
            );
        }
        match (has(Group::Sources), has(Group::Sinks)) {
            (false, false) => {
                let message = format!("agent `{agent}` has neither sources nor sinks");
                let help = format!("add a line `{agent}.sources = ...` or `{agent}.sinks = ...`");
                self.found.push(
                    Diagnostic::error(codes::EMPTY_AGENT, message).at(at, "the agent").help(help),
                );
            }
            (false, true) => {
                let message = format!("agent `{agent}` has no sources: nothing comes in");
                self.found.push(Diagnostic::warning(codes::UNUSED, message).at(at, "the agent"));
            }
            (true, false) => {
                let message = format!("agent `{agent}` has no sinks: its channels fill up");
                self.found.push(Diagnostic::warning(codes::UNUSED, message).at(at, "the agent"));
            }
            (true, true) => {}
        }
        has(Group::Channels) && (has(Group::Sources) || has(Group::Sinks))
    }

    /// Channels that no source fills or no sink empties.
    pub(super) fn report_unused(&mut self, section: &Section<'_>, channels: &[Word<'_>]) {
        let used = |group: Group, key: &str| -> Option<HashSet<&str>> {
            let list = section.lists.get(&group)?;
            let words = list.words();
            let components = words.iter().filter_map(|word| section.component(group, word.text));
            let values = components.filter_map(|properties| properties.get(key));
            Some(values.flat_map(|property| property.words()).map(|word| word.text).collect())
        };
        let filled = used(Group::Sources, "channels");
        let emptied = used(Group::Sinks, "channel");
        for word in channels {
            let is_in = |names: &Option<HashSet<&str>>| {
                names.as_ref().is_none_or(|names| names.contains(word.text))
            };
            let (message, label) = match (is_in(&filled), is_in(&emptied)) {
                (true, true) => continue,
                (true, false) => ("is emptied by no sink: it fills up", "no sink takes from it"),
                (false, true) => ("is filled by no source", "no source puts into it"),
                (false, false) => ("is used by no source and no sink", "unused"),
            };
            let message = format!("channel `{}` {message}", word.shown);
            self.found.push(Diagnostic::warning(codes::UNUSED, message).at(word.span, label));
        }
    }
}

/// The warning about a key that is set several times.
pub(super) fn duplicate(property: &Property) -> Option<Diagnostic> {
    let earlier = *property.earlier.last()?;
    let times = match property.earlier.len() {
        1 => "twice".to_owned(),
        more => format!("{} times", more + 1),
    };
    let message = format!("`{}` is set {times}", property.shown_key());
    let warning = Diagnostic::warning(codes::DUPLICATE_KEY, message)
        .at(property.key.span(), "this one counts")
        .and(earlier, "this one is ignored");
    Some(warning)
}
