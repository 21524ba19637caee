//! One agent after another: lists, components, wiring, all against the registry.
//!
//! A part that Flume would leave out is a *fault*: an error, or with [`Mode::Lenient`] a warning, and the part is left out. What
//! follows from a fault alone (a sink whose channel is broken) is reported in lenient mode only: in strict mode the cause says it all.

mod cross;
mod keys;
mod lists;
mod parts;
mod types;
mod wiring;

use self::keys::Owner;
use super::{
    AgentConfig, ComponentConfig, Mode, Request, codes,
    conf_file::Span,
    diagnostics::Diagnostic,
    document::{Document, Property, Word, short},
    sections::{Group, Properties, Section, sections},
    suggest::nearest,
};
use crate::registry::{Kind, Registry};
use std::{collections::BTreeMap, sync::Arc};

/// Further findings do without "did you mean".
const FINDINGS_WITH_SUGGESTIONS_MAX: usize = 500;

/// How many agents the answer to a wrong name lists.
const AGENTS_SHOWN_MAX: usize = 20;

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
    let shown = agents.iter().take(AGENTS_SHOWN_MAX);
    let mut list: Vec<String> = shown.map(|name| format!("`{}`", short(name))).collect();
    if agents.len() > AGENTS_SHOWN_MAX {
        list.push("...".to_owned());
    }
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
        self.found.extend(section.all.iter().filter_map(|property| lists::duplicate(property)));
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
        let has_serializer =
            kind != Kind::Sink || self.check_serializer(&subject, (entry, type_span), properties);
        let settings = settings.filter(|_| has_serializer)?;
        let config = ComponentConfig { name: Arc::from(word.text), entry, settings };
        Some(Built { config, properties, type_span, subject })
    }
}
