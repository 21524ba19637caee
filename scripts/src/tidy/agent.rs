//! Who may import whom in the agent: components do not know each other, and few files know the engine.

use super::{Finding, source::Source};

const AGENT: &str = "agent/src/";
/// Each file or folder in one of these is a component.
const SIBLINGS: [&str; 5] = ["sources", "sinks", "channels", "interceptors", "serializers"];
/// What opens a channel or a log. Events, headers and errors are for everybody.
const ENGINE_ITEMS: [&str; 6] =
    ["Channel", "Wal", "Inspector", "Options", "PutTransaction", "TakeTransaction"];
const ENGINE_MAY_BE_OPENED_IN: [&str; 5] =
    ["channels/file.rs", "channels/file/", "inspect", "cli/", "bench/"];

/// The folder of a component, and its name; `None` for a folder's own `mod.rs`.
fn component_of<'a>(folder: &str, rest: &'a str) -> Option<&'a str> {
    let name = rest.split('/').next()?.trim_end_matches(".rs");
    (SIBLINGS.contains(&folder) && name != "mod").then_some(name)
}

pub(crate) fn check(source: &Source, all: &[Source]) -> Vec<Finding> {
    let Some(inside) = source.file.strip_prefix(AGENT).filter(|_| !source.is_test()) else {
        return Vec::new();
    };
    let mut findings = check_engine(source, inside);
    if let Some((folder, rest)) = inside.split_once('/')
        && let Some(component) = component_of(folder, rest)
    {
        findings.extend(check_siblings(source, inside, (folder, component), all));
    }
    findings
}

fn check_engine(source: &Source, inside: &str) -> Vec<Finding> {
    if ENGINE_MAY_BE_OPENED_IN.iter().any(|place| inside.starts_with(place)) {
        return Vec::new();
    }
    let paths = source.paths().into_iter();
    paths
        .filter(|path| path.segments.first().is_some_and(|root| root == "fchannel"))
        .filter_map(|path| {
            let item = path.segments.get(1).filter(|item| ENGINE_ITEMS.contains(&item.as_str()))?;
            let what =
                format!("fchannel::{item} belongs to channels/file.rs, inspect/, cli/ and bench/");
            Some(source.finding(path.line, what))
        })
        .collect()
}

fn check_siblings(
    source: &Source,
    inside: &str,
    own: (&str, &str),
    all: &[Source],
) -> Vec<Finding> {
    let is_component = |folder: &str, name: &str| {
        let file = format!("{AGENT}{folder}/{name}");
        all.iter().any(|other| {
            other.file == format!("{file}.rs") || other.file.starts_with(&format!("{file}/"))
        })
    };
    let mut findings = Vec::new();
    for (line, path) in source.crate_paths(inside) {
        if let [folder, name, ..] = path.as_slice()
            && (folder.as_str(), name.as_str()) != own
            && SIBLINGS.contains(&folder.as_str())
            && is_component(folder, name)
            && !is_shared(folder, name, all)
        {
            let what = format!("{} may not import its sibling {folder}::{name}", own.1);
            findings.push(source.finding(line, what));
        }
    }
    findings
}

/// A module of a folder that is no component: it has no table entry of its own.
fn is_shared(folder: &str, name: &str, all: &[Source]) -> bool {
    let files = [format!("{AGENT}{folder}/{name}.rs"), format!("{AGENT}{folder}/{name}/mod.rs")];
    let component = all.iter().find(|other| files.contains(&other.file));
    component.is_none_or(|component| component.words("ENTRY").next().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(file: &str, text: &str) -> Vec<String> {
        let all = vec![
            Source::new("agent/src/sources/exec.rs".into(), "static ENTRY: Entry = E;".into()),
            Source::new("agent/src/sources/listen.rs".into(), "fn bind() {}".into()),
            Source::new("agent/src/sinks/null.rs".into(), "static ENTRY: Entry = E;".into()),
        ];
        check(&Source::new(file.into(), text.into()), &all)
            .into_iter()
            .map(|finding| finding.what)
            .collect()
    }

    #[test]
    fn a_component_does_not_know_its_siblings() {
        for text in
            ["use super::exec::Exec;", "use crate::sources::exec;", "use crate::sinks::null::Null;"]
        {
            assert_eq!(findings("agent/src/sources/seq.rs", text).len(), 1, "{text}");
        }
        assert!(
            findings("agent/src/sources/mod.rs", "use self::exec::Exec; use crate::sinks::null;")
                .is_empty()
        );
        assert!(
            findings(
                "agent/src/sources/taildir/mod.rs",
                "use super::listen::bind; use crate::component::Source;"
            )
            .is_empty()
        );
    }

    #[test]
    fn few_files_open_the_engine() {
        let text = "use fchannel::{Channel, Event};";
        assert_eq!(findings("agent/src/sources/seq.rs", text).len(), 1);
        assert!(findings("agent/src/channels/file.rs", text).is_empty());
        assert!(findings("agent/src/sources/seq.rs", "use fchannel::{Event, Headers};").is_empty());
    }
}
