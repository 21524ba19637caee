//! The `type` of a component: ours, Flume's but not ours, somebody's Java class, or a slip.

use super::{
    Checker, Properties,
    keys::{Owner, Scope},
};
use crate::{
    component::Entry,
    config::{
        codes,
        conf_file::Span,
        diagnostics::Diagnostic,
        document::{Property, short},
        flume,
        suggest::nearest,
    },
    registry::Kind,
};

impl Checker<'_> {
    /// False if a sink names a serializer that there is not, or one with settings that it refuses. The sink's own table takes any key of
    /// a serializer: which ones there are is for the serializer's table to say.
    pub(super) fn check_serializer(
        &mut self,
        subject: &str,
        (sink, type_span): (&'static Entry, Span),
        properties: &Properties<'_>,
    ) -> bool {
        let is_serializer = |key: &str| key == "serializer" || key.ends_with(".serializer");
        let mut is_sound = true;
        for row in sink.keys.iter().filter(|row| is_serializer(row.pattern)) {
            let named = properties.get(row.pattern).copied();
            let Some(name) = named.map(Property::resolved).or(row.default) else { continue };
            let Some(entry) = self.registry.find(Kind::Serializer, name) else {
                if let Some(property) = named {
                    let error = self.unknown_type(Kind::Serializer, property);
                    self.fault(subject, error);
                    is_sound = false;
                }
                continue;
            };
            let prefix = format!("{}.", row.pattern);
            let own = properties
                .iter()
                .filter_map(|(key, property)| Some((key.strip_prefix(prefix.as_str())?, *property)))
                // What does not resolve has been reported with the sink's own keys.
                .filter(|(_, property)| property.unresolved.is_empty());
            let part = format!("the serializer of {subject}");
            let owner = Owner { subject: &part, dropped: subject };
            let type_span = named.map_or(type_span, |property| property.value.span());
            let scope = Scope { owner, name: &part, entry, type_span, common: &[] };
            is_sound &= self.settings(&scope, own).is_some();
        }
        is_sound
    }

    /// The registry's row for the `type` among `properties`, and where it stands.
    pub(super) fn entry_of(
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
