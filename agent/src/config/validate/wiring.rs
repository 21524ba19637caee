//! How the parts of an agent hang together.

use super::{Built, Channels, Checker, cross};
use crate::{
    config::{
        SinkConfig, SourceConfig, codes,
        diagnostics::Diagnostic,
        document::{Property, Word, short},
        sections::{Group, Properties, Section},
    },
    registry::Kind,
};
use std::sync::Arc;

/// `Targets` has a bit for each.
const CHANNELS_OF_SOURCE_MAX: usize = 64;

impl Checker<'_> {
    pub(super) fn channels<'s, 'd>(
        &mut self,
        section: &'s Section<'d>,
        words: &'s [Word<'_>],
    ) -> Channels<'s, 'd> {
        let mut directories = cross::Directories::default();
        let mut channels = Channels::new();
        for word in words {
            let built = self.component(Kind::Channel, Group::Channels, word, section);
            let built = built.filter(|channel| self.check_capacity(channel));
            let built = built.filter(|channel| self.check_directories(channel, &mut directories));
            channels.insert(word.text, built);
        }
        channels
    }

    pub(super) fn sources(
        &mut self,
        section: &Section<'_>,
        words: &[Word<'_>],
        channels: &Channels<'_, '_>,
    ) -> Vec<SourceConfig> {
        let mut positions = cross::Directories::default();
        let one = |word| self.source(section, word, channels, &mut positions);
        words.iter().filter_map(one).collect()
    }

    fn source(
        &mut self,
        section: &Section<'_>,
        word: &Word<'_>,
        channels: &Channels<'_, '_>,
        positions: &mut cross::Directories,
    ) -> Option<SourceConfig> {
        let source = self.component(Kind::Source, Group::Sources, word, section);
        let source = source.filter(|source| self.check_positions(source, positions));
        // Without its type a source still has a wiring to be checked.
        let properties = section.component(Group::Sources, word.text)?;
        let subject = format!("source `{}`", word.shown);
        let Some(list) = properties.get("channels") else {
            let message = format!("{subject} has no `channels`");
            let error = Diagnostic::error(codes::SOURCE_WITHOUT_CHANNEL, message)
                .at(word.span, "listed here");
            let error = match properties.get("channel") {
                Some(singular) => error.and(singular.key.span(), "a source has `channels`"),
                None => {
                    error.help(format!("add `{}.channels = ...`", component_prefix(properties)))
                }
            };
            self.fault(&subject, error);
            return None;
        };
        let names = self.source_channels(&subject, list, channels);
        let parts = self.parts(word, &subject, properties, list);
        let source = source?;
        if names.is_empty() {
            let why = "none of these can be used";
            self.cascade(codes::SOURCE_WITHOUT_CHANNEL, &subject, why, list.value.span());
            return None;
        }
        let mut sound = names.iter().filter_map(|name| channels.get(name.as_ref())?.as_ref());
        let fits = sound.all(|channel| self.check_batch(&source, channel, "put"));
        let parts = parts.filter(|_| fits)?;
        Some(SourceConfig {
            component: source.config,
            channels: names,
            interceptors: parts.interceptors,
            selector: parts.selector,
        })
    }

    /// The channels of a source that can be used.
    fn source_channels(
        &mut self,
        subject: &str,
        list: &Property,
        channels: &Channels<'_, '_>,
    ) -> Vec<Arc<str>> {
        self.report_unresolved(list);
        let words = self.names(list);
        if words.len() > CHANNELS_OF_SOURCE_MAX {
            let message = format!("{subject} has more than {CHANNELS_OF_SOURCE_MAX} channels");
            let error = Diagnostic::error(codes::INVALID_VALUE, message);
            self.fault(subject, error.at(list.value.span(), format!("{} channels", words.len())));
            return Vec::new();
        }
        let usable = words.iter().filter(|word| self.is_usable(subject, word, channels));
        usable.map(|word| Arc::from(word.text)).collect()
    }

    fn is_usable(&mut self, subject: &str, word: &Word<'_>, channels: &Channels<'_, '_>) -> bool {
        match channels.get(word.text) {
            Some(Some(_)) => true,
            Some(None) => {
                let what = format!("channel `{}` of {subject}", word.shown);
                self.cascade(codes::NO_SUCH_CHANNEL, &what, "this channel is left out", word.span);
                false
            }
            None => {
                let meant = self.suggest(word.text, channels.keys().copied());
                let error = no_such_channel(subject, word, meant);
                self.fault(&format!("channel `{}` of {subject}", word.shown), error);
                false
            }
        }
    }

    pub(super) fn sinks(
        &mut self,
        section: &Section<'_>,
        words: &[Word<'_>],
        channels: &Channels<'_, '_>,
    ) -> Vec<SinkConfig> {
        words.iter().filter_map(|word| self.sink(section, word, channels)).collect()
    }

    fn sink(
        &mut self,
        section: &Section<'_>,
        word: &Word<'_>,
        channels: &Channels<'_, '_>,
    ) -> Option<SinkConfig> {
        let sink = self.component(Kind::Sink, Group::Sinks, word, section);
        let properties = section.component(Group::Sinks, word.text)?;
        let subject = format!("sink `{}`", word.shown);
        let Some(property) = properties.get("channel") else {
            let error = Diagnostic::error(
                codes::SINK_WITHOUT_CHANNEL,
                format!("{subject} has no `channel`"),
            )
            .at(word.span, "listed here");
            let error = match properties.get("channels") {
                Some(plural) => error.and(plural.key.span(), "a sink takes from one `channel`"),
                None => error.help(format!("add `{}.channel = ...`", component_prefix(properties))),
            };
            self.fault(&subject, error);
            return None;
        };
        self.report_unresolved(property);
        let words = property.words();
        let [channel_word] = words.as_slice() else {
            let error = Diagnostic::error(
                codes::SINK_WITHOUT_CHANNEL,
                format!("{subject} has more than one channel"),
            )
            .at(property.value.span(), "a sink takes from exactly one channel")
            .help("list one sink for each channel");
            self.fault(&subject, error);
            return None;
        };
        let channel = self.is_usable(&subject, channel_word, channels);
        let channel = channels.get(channel_word.text).filter(|_| channel)?.as_ref()?;
        let sink = sink?;
        self.check_batch(&sink, channel, "take")
            .then(|| SinkConfig { component: sink.config, channel: Arc::from(channel_word.text) })
    }
}

/// `a1.sinks.k1`, from any of its keys.
fn component_prefix(properties: &Properties<'_>) -> String {
    let key = properties.values().next().map_or("", |property| property.key.as_str());
    short(&key.splitn(4, '.').take(3).collect::<Vec<_>>().join("."))
}

fn no_such_channel(subject: &str, word: &Word<'_>, meant: Option<&str>) -> Diagnostic {
    let message = format!("{subject} needs channel `{}`, which is not listed", word.shown);
    Diagnostic::error(codes::NO_SUCH_CHANNEL, message)
        .at(word.span, "not among the agent's channels")
        .maybe_help(meant.map(|name| format!("did you mean `{}`?", short(name))))
}

impl Built<'_, '_> {
    /// The number that is in effect for `key`, if the component has such a key.
    pub(super) fn whole(&self, key: &str) -> Option<u64> {
        self.config.settings.whole(key).ok()
    }
}
