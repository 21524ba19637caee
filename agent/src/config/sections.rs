//! Which component of which agent a property belongs to.

use super::{
    codes,
    diagnostics::Diagnostic,
    document::{Document, Property, short},
    suggest::nearest,
};
use std::collections::{BTreeMap, HashSet};

/// The second part of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Group {
    Sources,
    Channels,
    Sinks,
    SinkGroups,
    ConfigFilters,
}

impl Group {
    const ALL: [Self; 5] =
        [Self::Sources, Self::Channels, Self::Sinks, Self::SinkGroups, Self::ConfigFilters];

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Sources => "sources",
            Self::Channels => "channels",
            Self::Sinks => "sinks",
            Self::SinkGroups => "sinkgroups",
            Self::ConfigFilters => "configfilters",
        }
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|group| group.as_str() == text)
    }
}

/// The properties of a component by what is behind its name in the key.
pub(super) type Properties<'d> = BTreeMap<&'d str, &'d Property>;

/// What a file says about one agent.
#[derive(Default)]
pub(super) struct Section<'d> {
    /// `a1.sources` and its like.
    pub(super) lists: BTreeMap<Group, &'d Property>,
    /// Also the ones that are in no list.
    pub(super) components: BTreeMap<Group, BTreeMap<&'d str, Properties<'d>>>,
    /// What belongs to no component.
    pub(super) malformed: Vec<Diagnostic>,
    /// Every property of this agent.
    pub(super) all: Vec<&'d Property>,
    /// Components that have properties and are in no list.
    unlisted: BTreeMap<Group, Vec<&'d str>>,
}

impl<'d> Section<'d> {
    /// True if there is anything in it that makes an agent.
    pub(super) fn is_agent(&self) -> bool {
        !self.lists.is_empty() || !self.components.is_empty()
    }

    pub(super) fn component(&self, group: Group, name: &str) -> Option<&Properties<'d>> {
        self.components.get(&group)?.get(name)
    }

    /// Components that have properties and are in no list.
    pub(super) fn unlisted(&self, group: Group) -> impl Iterator<Item = &'d str> + '_ {
        self.unlisted.get(&group).into_iter().flatten().copied()
    }

    /// To be called after the last [`add`](Self::add).
    fn find_unlisted(&mut self) {
        for (group, named) in &self.components {
            let words = self.lists.get(group).map_or_else(Vec::new, |list| list.words());
            let listed: HashSet<&str> = words.iter().map(|word| word.text).collect();
            let unlisted = named.keys().copied().filter(|name| !listed.contains(name));
            self.unlisted.insert(*group, unlisted.collect());
        }
    }

    fn add(&mut self, agent: &str, rest: &'d str, property: &'d Property) {
        self.all.push(property);
        if property.resolved().is_empty() {
            self.malformed.push(empty_value(property));
            return;
        }
        let (kind, rest) = match rest.split_once('.') {
            Some((kind, rest)) => (kind, Some(rest)),
            None => (rest, None),
        };
        let Some(group) = Group::parse(kind) else {
            if !property.is_referred_to {
                self.malformed.push(unknown_group(agent, kind, property));
            }
            return;
        };
        match rest.map(|rest| rest.split_once('.')) {
            None => {
                self.lists.insert(group, property);
            }
            Some(Some((name, key))) if !name.is_empty() && !key.is_empty() => {
                let named = self.components.entry(group).or_default();
                named.entry(name).or_default().insert(key, property);
            }
            Some(_) => self.malformed.push(no_property(group, property)),
        }
    }
}

/// All agents of a file, and the keys that are no agent's.
pub(super) fn sections(document: &Document) -> (BTreeMap<&str, Section<'_>>, Vec<Diagnostic>) {
    let mut agents: BTreeMap<&str, Section<'_>> = BTreeMap::new();
    let mut orphans = Vec::new();
    for property in &document.properties {
        match property.key.as_str().split_once('.') {
            Some((agent, rest)) if !agent.is_empty() => {
                agents.entry(agent).or_default().add(agent, rest, property);
            }
            _ if property.is_referred_to => {}
            _ => orphans.push(no_agent(property)),
        }
    }
    agents.values_mut().for_each(Section::find_unlisted);
    (agents, orphans)
}

fn empty_value(property: &Property) -> Diagnostic {
    let message = format!("`{}` has no value", property.shown_key());
    let (at, label) = if property.value.as_str().is_empty() {
        (property.key.span(), "nothing behind it")
    } else {
        (property.value.span(), "stands for nothing")
    };
    Diagnostic::warning(codes::EMPTY_VALUE, message)
        .at(at, label)
        .note("Flume ignores it, so the default is used")
}

fn unknown_group(agent: &str, kind: &str, property: &Property) -> Diagnostic {
    let message = format!("`{}` belongs to no component", property.shown_key());
    let kinds = Group::ALL.map(Group::as_str);
    let help = nearest(kind, kinds).map(|kind| format!("did you mean `{}.{kind}`?", short(agent)));
    Diagnostic::warning(codes::MALFORMED_KEY, message)
        .at(property.key.span(), "neither a source, nor a channel, nor a sink")
        .maybe_help(help)
        .note("Flume ignores it")
}

fn no_property(group: Group, property: &Property) -> Diagnostic {
    let message = format!("`{}` names no property", property.shown_key());
    Diagnostic::warning(codes::MALFORMED_KEY, message)
        .at(property.key.span(), format!("expected `<agent>.{}.<name>.<property>`", group.as_str()))
        .note("Flume ignores it")
}

fn no_agent(property: &Property) -> Diagnostic {
    let message = format!("`{}` belongs to no agent", property.shown_key());
    Diagnostic::warning(codes::MALFORMED_KEY, message)
        .at(property.key.span(), "expected `<agent>.<kind>.<name>.<property>`")
        .note("Flume ignores it")
}
