//! One agent after another: lists, components, wiring, all against the registry.
//!
//! A part that Flume would leave out is a *fault*: an error, or with [`Mode::Lenient`] a warning, and the part is left out. What
//! follows from a fault alone (a sink whose channel is broken) is reported in lenient mode only: in strict mode the cause says it all.

mod cross;
mod keys;
mod parts;
mod wiring;

use self::keys::Owner;
use super::{
    AgentConfig, ComponentConfig, Mode, Request, codes,
    conf_file::Span,
    diagnostics::Diagnostic,
    document::{self, Document, Property, Word, short},
    flume,
    sections::{Group, Properties, Section, sections},
    suggest::nearest,
};
use crate::{
    component::Entry,
    registry::{Kind, Registry},
};
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

/// Further findings do without "did you mean".
const FINDINGS_WITH_SUGGESTIONS_MAX: usize = 500;

/// Validates the agents that are asked for. The configs are what is sound; they count only if nothing found is an error.
pub(super) fn agents(
    document: &Document,
    request: &Request<'_>,
) -> (Vec<AgentConfig>, Vec<Diagnostic>) {
    let (sections, orphans) = sections(document);
    let mut checker = Checker {
        registry: request.registry,
        mode: request.mode,
        home: (request.env)("HOME"),
        found: orphans,
    };
    let mut configs = Vec::new();
    let mut is_found = false;
    for (name, section) in &sections {
        let is_wanted = request.agent.map_or_else(|| section.is_agent(), |agent| agent == *name);
        is_found |= is_wanted;
        if is_wanted {
            configs.extend(checker.agent(name, section));
        } else if request.agent.is_none() {
            checker.found.extend(section.malformed.iter().cloned());
        }
    }
    if !is_found {
        checker.found.push(no_such_agent(request.agent, &sections));
    }
    (configs, checker.found)
}

fn no_such_agent(wanted: Option<&str>, sections: &BTreeMap<&str, Section<'_>>) -> Diagnostic {
    let agents: Vec<&str> =
        sections.iter().filter(|(_, section)| section.is_agent()).map(|(name, _)| *name).collect();
    let Some(wanted) = wanted else {
        return Diagnostic::error(codes::NO_SUCH_AGENT, "the file describes no agent")
            .help("an agent is made of lines like `a1.sources = r1`");
    };
    let message = format!("there is no agent `{}` in the file", short(wanted));
    let error = Diagnostic::error(codes::NO_SUCH_AGENT, message);
    if agents.is_empty() {
        return error.help("the file describes no agent at all");
    }
    let list: Vec<String> = agents.iter().map(|name| format!("`{}`", short(name))).collect();
    let meant = nearest(wanted, agents.iter().copied());
    error
        .maybe_help(meant.map(|name| format!("did you mean `-n {}`?", short(name))))
        .note(format!("agents in the file: {}", list.join(", ")))
}

/// What is found while agents are validated.
struct Checker<'a> {
    registry: &'a Registry,
    mode: Mode,
    /// What `~` stands for.
    home: Option<String>,
    found: Vec<Diagnostic>,
}

/// A component that can be built, and where the file speaks about it.
struct Built<'s, 'd> {
    config: ComponentConfig,
    properties: &'s Properties<'d>,
    /// The value of its `type`.
    type_span: Span,
    /// `sink `k1``, for messages.
    subject: String,
}

impl Built<'_, '_> {
    /// The place and the text of the value of `key`, be it from the file or a default.
    fn place_of(&self, key: &str) -> (Span, String) {
        let default = || {
            let value = self.config.settings.text(key).unwrap_or_default();
            (self.type_span, format!("{value} by default"))
        };
        let has_effect =
            |property: &&&Property| self.config.settings.text(key) == Some(property.resolved());
        let property = self.properties.get(key).filter(has_effect);
        property.map_or_else(default, |property| (property.value.span(), property.shown()))
    }
}

/// The channels of an agent: which names are in its list, and which of these are sound.
type Channels<'s, 'd> = BTreeMap<&'s str, Option<Built<'s, 'd>>>;

impl Checker<'_> {
    /// Reports that `subject` cannot run.
    fn fault(&mut self, subject: &str, diagnostic: Diagnostic) {
        self.found.push(match self.mode {
            Mode::Strict => diagnostic,
            Mode::Lenient => Diagnostic {
                severity: super::Severity::Warning,
                ..diagnostic.note(format!("`--lenient` goes on without {subject}"))
            },
        });
    }

    /// Reports what follows from a fault.
    fn cascade(&mut self, code: &'static str, subject: &str, why: &str, at: Span) {
        if self.mode == Mode::Lenient {
            let message = format!("{subject} is left out");
            self.found.push(Diagnostic::warning(code, message).at(at, why));
        }
    }

    /// The name that was meant, perhaps. A file with hundreds of findings has other problems, and this takes time.
    fn suggest<'n>(&self, name: &str, names: impl Iterator<Item = &'n str>) -> Option<&'n str> {
        if self.found.len() < FINDINGS_WITH_SUGGESTIONS_MAX { nearest(name, names) } else { None }
    }

    fn agent(&mut self, name: &str, section: &Section<'_>) -> Option<AgentConfig> {
        self.found.extend(section.malformed.iter().cloned());
        self.found.extend(section.all.iter().filter_map(|property| duplicate(property)));
        self.refuse_groups(name, section);
        self.report_unlisted(name, section);
        let channel_words = self.active(section, Group::Channels);
        let source_words = self.active(section, Group::Sources);
        let sink_words = self.active(section, Group::Sinks);
        let is_complete = self.report_missing_lists(name, section);
        let channels = self.channels(section, &channel_words);
        let sources = self.sources(section, &source_words, &channels);
        let sinks = self.sinks(section, &sink_words, &channels);
        if is_complete {
            self.report_unused(section, &channel_words);
        }
        let sound = channel_words.iter().filter_map(|word| channels.get(word.text)?.as_ref());
        let channels: Vec<_> = sound.map(|built| built.config.clone()).collect();
        if self.mode == Mode::Lenient
            && is_complete
            && (channels.is_empty() || sources.is_empty() && sinks.is_empty())
        {
            let message = format!("nothing of agent `{}` is left to run", short(name));
            self.found.push(Diagnostic::error(codes::EMPTY_AGENT, message));
        }
        (!channels.is_empty()).then(|| AgentConfig {
            name: Arc::from(name),
            channels,
            sources,
            sinks,
        })
    }

    /// The names of a list, each once.
    fn active<'d>(&mut self, section: &Section<'d>, group: Group) -> Vec<Word<'d>> {
        section.lists.get(&group).map_or_else(Vec::new, |list| {
            self.report_unresolved(list);
            self.names(list)
        })
    }

    fn names<'d>(&mut self, list: &'d Property) -> Vec<Word<'d>> {
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

    fn report_unresolved(&mut self, property: &Property) {
        let all = property.unresolved.iter();
        self.found.extend(all.map(|expression| document::unresolved(property, *expression)));
    }

    /// A component of a list, built from its properties.
    fn component<'s, 'd>(
        &mut self,
        kind: Kind,
        group: Group,
        word: &Word<'_>,
        section: &'s Section<'d>,
    ) -> Option<Built<'s, 'd>> {
        let subject = format!("{kind} `{}`", word.shown);
        let Some(properties) = section.component(group, word.text) else {
            let help = self
                .suggest(word.text, section.unlisted(group))
                .map(|name| format!("did you mean `{}`?", short(name)));
            let message = format!("{subject} has no properties");
            let error = Diagnostic::error(codes::NO_TYPE, message).at(word.span, "listed here");
            self.fault(&subject, error.maybe_help(help));
            return None;
        };
        let (entry, type_span) =
            self.entry_of(kind, Owner::itself(&subject), word.span, properties)?;
        let common = keys::common(kind);
        let own = properties.iter().filter(|(key, _)| !keys::is_common(kind, key, properties));
        let scope = keys::Scope {
            owner: Owner::itself(&subject),
            name: word.text,
            entry,
            type_span,
            common,
        };
        let settings = self.settings(&scope, own.map(|(key, property)| (*key, *property)));
        let has_serializer = kind != Kind::Sink || self.check_serializer(&subject, properties);
        let settings = settings.filter(|_| has_serializer)?;
        let config = ComponentConfig { name: Arc::from(word.text), entry, settings };
        Some(Built { config, properties, type_span, subject })
    }

    /// False if a sink names a serializer that there is not. Its settings are rows of the sink's own table.
    fn check_serializer(&mut self, subject: &str, properties: &Properties<'_>) -> bool {
        let is_serializer = |key: &str| key == "serializer" || key.ends_with(".serializer");
        let mut named = properties.iter().filter(|(key, _)| is_serializer(key));
        named.all(|(_, property)| {
            let is_known = self.registry.find(Kind::Serializer, property.resolved()).is_some();
            if !is_known {
                let error = self.unknown_type(Kind::Serializer, property);
                self.fault(subject, error);
            }
            is_known
        })
    }

    /// The registry's row for the `type` among `properties`, and where it stands.
    fn entry_of(
        &mut self,
        kind: Kind,
        owner: Owner<'_>,
        listed: Span,
        properties: &Properties<'_>,
    ) -> Option<(&'static Entry, Span)> {
        let Some(property) = properties.get("type") else {
            let error =
                Diagnostic::error(codes::NO_TYPE, format!("{} has no `type`", owner.subject))
                    .at(listed, "listed here")
                    .maybe_help(nearest("type", properties.keys().copied()).map(|key| {
                        format!("did you mean `type` where you wrote `{}`?", short(key))
                    }));
            self.fault(owner.dropped, error);
            return None;
        };
        let entry = self.registry.find(kind, property.resolved());
        if entry.is_none() {
            let error = self.unknown_type(kind, property);
            self.fault(owner.dropped, error);
        } else {
            self.report_unresolved(property);
        }
        Some((entry?, property.value.span()))
    }

    fn unknown_type(&self, kind: Kind, property: &Property) -> Diagnostic {
        let (name, shown, at) = (property.resolved(), property.shown(), property.value.span());
        if flume::find(kind, name).is_some() {
            let message = format!("Flume's `{shown}` {kind} is not available in this build");
            return Diagnostic::error(codes::NOT_AVAILABLE, message)
                .at(at, "not available")
                .help("`fchannel components` lists what is");
        }
        if name.contains('.') && property.unresolved.is_empty() {
            let message = format!("the Java class `{shown}` cannot be loaded");
            return Diagnostic::error(codes::JAVA_CLASS, message)
                .at(at, "not one of Flume's own classes")
                .note("this agent does not run Java: only the types of `fchannel components` can be used");
        }
        let known = self.registry.of(kind).iter().filter_map(|entry| entry.names.first().copied());
        let flumes =
            flume::KNOWN_TYPES.iter().filter(|row| row.kind == kind).filter_map(|row| row.alias);
        let meant =
            nearest(name, known.chain(flumes)).map(|name| format!("did you mean `{name}`?"));
        let others = Kind::ALL.into_iter().filter(|other| *other != kind);
        let other = others.into_iter().find(|other| self.registry.find(*other, name).is_some());
        Diagnostic::error(codes::NOT_AVAILABLE, format!("there is no {kind} type `{shown}`"))
            .at(at, "unknown type")
            .maybe_help(meant.or_else(|| other.map(|other| format!("`{shown}` is a {other} type"))))
            .help("`fchannel components` lists all types")
    }
}

fn duplicate(property: &Property) -> Option<Diagnostic> {
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
