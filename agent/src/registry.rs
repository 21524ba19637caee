//! The one table of components: conf validation, `fchannel components` and docs/CONFIG.md are made from it.

use crate::{
    channels, component::Entry, config::flume, interceptors, selectors, serializers, sinks, sources,
};
use std::fmt;

/// What a component is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Brings events in.
    Source,
    /// Keeps events.
    Channel,
    /// Delivers events.
    Sink,
    /// Changes events behind a source.
    Interceptor,
    /// Says which channels an event goes to.
    Selector,
    /// Turns events into the bytes of a file.
    Serializer,
}

impl Kind {
    /// In the order of an event's way, then the helpers.
    pub const ALL: [Self; 6] = [
        Self::Source,
        Self::Channel,
        Self::Sink,
        Self::Interceptor,
        Self::Selector,
        Self::Serializer,
    ];

    /// The noun of messages.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Channel => "channel",
            Self::Sink => "sink",
            Self::Interceptor => "interceptor",
            Self::Selector => "selector",
            Self::Serializer => "serializer",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The components there are. A value, not a global, so that tests bring their own.
#[derive(Clone, Copy)]
pub struct Registry {
    /// In the order of docs/CONFIG.md, as are all.
    pub sources: &'static [&'static Entry],
    /// See [`Kind::Channel`].
    pub channels: &'static [&'static Entry],
    /// See [`Kind::Sink`].
    pub sinks: &'static [&'static Entry],
    /// See [`Kind::Interceptor`].
    pub interceptors: &'static [&'static Entry],
    /// See [`Kind::Selector`].
    pub selectors: &'static [&'static Entry],
    /// See [`Kind::Serializer`].
    pub serializers: &'static [&'static Entry],
}

impl Registry {
    /// What this build has.
    #[must_use]
    pub fn builtin() -> Self {
        Self {
            sources: sources::ENTRIES,
            channels: channels::ENTRIES,
            sinks: sinks::ENTRIES,
            interceptors: interceptors::ENTRIES,
            selectors: selectors::ENTRIES,
            serializers: serializers::ENTRIES,
        }
    }

    /// The components of one kind.
    #[must_use]
    pub fn of(&self, kind: Kind) -> &'static [&'static Entry] {
        match kind {
            Kind::Source => self.sources,
            Kind::Channel => self.channels,
            Kind::Sink => self.sinks,
            Kind::Interceptor => self.interceptors,
            Kind::Selector => self.selectors,
            Kind::Serializer => self.serializers,
        }
    }

    /// All components with their kinds.
    pub fn iter(&self) -> impl Iterator<Item = (Kind, &'static Entry)> + use<> {
        let registry = *self;
        Kind::ALL
            .into_iter()
            .flat_map(move |kind| registry.of(kind).iter().map(move |entry| (kind, *entry)))
    }

    /// The component that a conf calls `type_name`: its alias or one of its Java class names in any case, with or without `$Builder`.
    #[must_use]
    pub fn find(&self, kind: Kind, type_name: &str) -> Option<&'static Entry> {
        let named = |name: &str| {
            let is_name = |candidate: &&str| {
                flume::without_builder(candidate).eq_ignore_ascii_case(flume::without_builder(name))
            };
            self.of(kind).iter().copied().find(|entry| entry.names.iter().any(is_name))
        };
        // An entry need not repeat the class names that Flume's own table has.
        named(type_name).or_else(|| named(flume::find(kind, type_name)?.alias?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::testing;

    #[test]
    fn types_are_found_by_alias_and_class_name() {
        let registry = testing::registry();
        let found = |kind, name| registry.find(kind, name).map(|entry| entry.names[0]);
        assert_eq!(found(Kind::Source, "SEQ"), Some("seq"));
        assert_eq!(
            found(Kind::Source, "org.apache.flume.source.SequenceGeneratorSource"),
            Some("seq")
        );
        let builder = "org.apache.flume.interceptor.TimestampInterceptor$Builder";
        assert_eq!(found(Kind::Interceptor, builder), Some("timestamp"));
        assert_eq!(found(Kind::Interceptor, &builder[..builder.len() - 8]), Some("timestamp"));
        assert_eq!(found(Kind::Sink, "seq"), None);
        assert_eq!(found(Kind::Sink, ""), None);
    }
}
