//! Where the world must have ended at least once in a long run: each step of each thing that the engine does to a disk.

use fchannel::io::sim::{Place, Tally};

/// The steps in which a file is made and named.
const NAMED: &[&str] = &["make", "fill", "sync", "rename to", "sync directory of"];
/// A group of commits, and a sync under `Interval`.
const WRITTEN: &[&str] = &["write", "sync"];
/// A new file, and then what is written to it.
const COPIED: &[&str] = &["make", "rename to", "sync directory of", "write", "sync"];
/// A spare that is written over, or made.
const FILLED: &[&str] = &["fill", "sync"];
/// One that is made bit by bit, or given up.
const AHEAD: &[&str] = &["fill", "sync", "rename to", "sync directory of", "unlink"];
const RETIRED: &[&str] = &["rename to"];
const REMOVED: &[&str] = &["unlink"];

/// Phase, kind of file, steps; and what that is.
const MUST: &[(&str, &str, &[&str], &str)] = &[
    ("life", "seg", WRITTEN, "a commit"),
    ("life", "seg", NAMED, "a rotation"),
    ("life", "spare", FILLED, "a rotation over a spare, and the reserve"),
    ("life", "checkpoint", NAMED, "a checkpoint"),
    ("life", "checkpoint", REMOVED, "the end of an old checkpoint"),
    ("life", "spare", RETIRED, "retention"),
    ("ahead", "spare", AHEAD, "the next segment, written ahead"),
    ("close", "seg", WRITTEN, "the last commits and their witness"),
    ("close", "checkpoint", NAMED, "the last checkpoint"),
    ("close", "spare", RETIRED, "retention at a close"),
    ("open", "", &["make directory"], "the first open"),
    ("open", "all", &["sync directory of"], "an open, before it lists"),
    ("open", "manifest", NAMED, "the identity of a log, and a directory that joins"),
    ("open", "seg", NAMED, "the segment of a recovery"),
    ("open", "seg", REMOVED, "what an earlier crash left half-made"),
    ("open", "spare", FILLED, "the segment of a recovery over a spare"),
    ("open", "checkpoint", NAMED, "the checkpoint of a recovery"),
    ("open", "checkpoint", REMOVED, "the end of an old checkpoint in a recovery"),
    ("open", "spare", RETIRED, "retention in a recovery"),
    ("going around", "", &["make directory"], "the first damage"),
    ("going around", "copy", COPIED, "a copy of damaged bytes"),
    ("going around", "record", NAMED, "a record of a damage"),
    ("going around", "seg", NAMED, "the segment behind a damage"),
    ("going around", "seg", WRITTEN, "a gap frame, and takes behind it"),
    ("going around", "checkpoint", NAMED, "the checkpoint behind a damage"),
    ("going around", "spare", RETIRED, "retention behind a damage"),
    ("life of a bare log", "seg", WRITTEN, "an append"),
    ("life of a bare log", "seg", NAMED, "a rotation of a bare log"),
    ("life of a bare log", "spare", RETIRED, "a release"),
    ("close of a bare log", "seg", WRITTEN, "the last appends and their witness"),
    ("open of a bare log", "manifest", NAMED, "the identity of a bare log"),
    ("open of a bare log", "seg", NAMED, "the segment of a recovery of a bare log"),
    ("open of a bare log", "spare", NAMED, "the reserve of a bare log"),
];

/// Prints how often the world ended where; answers where it never did and should have.
pub(crate) fn print(tally: &Tally) -> Vec<String> {
    let mut missing = Vec::new();
    for (phase, what, steps, doing) in MUST {
        let mut counts = Vec::new();
        for step in *steps {
            let place = Place { phase, step, what: (*what).to_owned() };
            let count = tally.ends.get(&place).copied().unwrap_or_default();
            counts.push(format!("{step} {count}"));
            if count == 0 {
                missing.push(place.to_string());
            }
        }
        println!("  {:<50} {}", format!("{phase}: {doing}"), counts.join(", "));
    }
    let listed = |place: &&Place| {
        MUST.iter().any(|(phase, what, steps, _)| {
            *phase == place.phase && *what == place.what && steps.contains(&place.step)
        })
    };
    let others: u64 =
        tally.ends.iter().filter(|(place, _)| !listed(place)).map(|(_, count)| count).sum();
    println!("  {:<50} {others}", "elsewhere");
    missing
}
