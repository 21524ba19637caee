//! Who may import whom in the engine: the arrows of docs/ARCHITECTURE.md, as data.

use super::{Finding, source::Source};
use std::collections::{BTreeMap, BTreeSet};

/// A room of engine/src, and the rooms that it may name. Every room may name the leaves.
const ARROWS: &[(&str, &[&str])] = &[
    ("io", &[]),
    ("format", &[]),
    ("log", &["format", "io"]),
    ("queue", &["log", "format", "io"]),
    ("channel", &["queue", "log", "format", "io"]),
    ("inspect", &["queue", "log", "format", "io"]),
    ("repair", &["channel", "inspect", "queue", "log", "format", "io"]),
    // Doors for the targets in fuzz/, behind a feature.
    ("fuzzing", &["queue", "log", "format"]),
    // The leaves, and the few arrows between them.
    ("ids", &[]),
    ("error", &["ids"]),
    ("event", &["error"]),
    ("options", &["error"]),
    ("stats", &[]),
    ("sync", &[]),
    ("trace", &[]),
];
const LEAVES: [&str; 7] = ["error", "ids", "event", "options", "stats", "sync", "trace"];
const ENGINE: &str = "engine/src/";

/// The room of a file: the first part of its path. `lib.rs` is the door, and names every room.
fn room_of(file: &str) -> Option<&str> {
    let inside = file.strip_prefix(ENGINE)?;
    let room = inside.split('/').next()?.trim_end_matches(".rs");
    (room != "lib").then_some(room)
}

fn may(from: &str, to: &str) -> bool {
    let leaf_above = |room: &str| LEAVES.contains(&room);
    from == to
        || ARROWS.iter().any(|(room, others)| *room == from && others.contains(&to))
        || (leaf_above(to) && !leaf_above(from))
}

/// The rooms that `source` names, with the line of each mention.
fn mentions(source: &Source) -> Vec<(usize, String)> {
    let inside = source.file.strip_prefix(ENGINE).unwrap_or_default();
    let paths = source.crate_paths(inside).into_iter();
    paths.filter_map(|(line, path)| Some((line, path.into_iter().next()?))).collect()
}

pub(crate) fn check(source: &Source) -> Vec<Finding> {
    let Some(from) = room_of(&source.file).filter(|_| !source.is_test()) else { return Vec::new() };
    if !ARROWS.iter().any(|(room, _)| *room == from) {
        return vec![source.finding(1, format!("room {from} is not in the table of arrows"))];
    }
    let mut findings = Vec::new();
    for (line, to) in mentions(source) {
        if !ARROWS.iter().any(|(room, _)| *room == to) {
            findings.push(source.finding(
                line,
                format!("crate::{to} is no room: name the room that it comes from"),
            ));
        } else if !may(from, &to) {
            findings.push(source.finding(line, format!("{from} may not import {to}")));
        }
    }
    findings
}

/// Prints how often each room names each other one.
pub(crate) fn print_matrix(sources: &[Source]) {
    let mut counts: BTreeMap<(&str, String), usize> = BTreeMap::new();
    let mut named = BTreeSet::new();
    for source in sources.iter().filter(|source| !source.is_test()) {
        let Some(from) = room_of(&source.file) else { continue };
        for (_, to) in mentions(source) {
            if to != from {
                named.insert(to.clone());
                *counts.entry((from, to)).or_default() += 1;
            }
        }
    }
    print!("{:<10}", "imports");
    for to in &named {
        print!("{to:>9}");
    }
    println!();
    for (from, _) in ARROWS {
        print!("{from:<10}");
        for to in &named {
            let count =
                counts.get(&(*from, to.clone())).map_or_else(|| ".".to_owned(), usize::to_string);
            print!("{count:>9}");
        }
        println!();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(file: &str, text: &str) -> Vec<String> {
        check(&Source::new(file.into(), text.into()))
            .into_iter()
            .map(|finding| finding.what)
            .collect()
    }

    #[test]
    fn upward_imports_are_found_however_they_are_written() {
        for text in [
            "use crate::queue::State;",
            "use crate::{error::Error, queue::State};",
            "fn f() { crate::queue::open() }",
            "use super::super::queue::State;",
        ] {
            assert_eq!(
                findings("engine/src/log/group.rs", text),
                ["log may not import queue"],
                "{text}"
            );
        }
        assert_eq!(
            findings("engine/src/io/mod.rs", "use super::format::Kind;"),
            ["io may not import format"]
        );
    }

    #[test]
    fn downward_imports_and_the_room_itself_are_free() {
        let text = "use super::{Frame, writer::Writer}; use crate::{format::Kind, io::Vfs, sync::Mutex, log::Log};";
        assert!(findings("engine/src/log/group.rs", text).is_empty());
        assert!(findings("engine/src/queue/tests.rs", "use crate::channel::Channel;").is_empty());
        assert!(findings("engine/src/lib.rs", "use crate::channel::Channel;").is_empty());
    }

    #[test]
    fn names_of_the_root_and_unknown_rooms_are_found() {
        assert_eq!(findings("engine/src/log/mod.rs", "use crate::Wal;").len(), 1);
        assert_eq!(findings("engine/src/attic.rs", "").len(), 1);
        assert_eq!(
            findings("engine/src/event.rs", "use crate::options::Options;").len(),
            1,
            "between leaves too"
        );
    }
}
