//! `cargo x torn`: a small log, cut at every length and with every bit of every byte flipped, and what came of each.
//!
//! The work is done by engine/tests/torn.rs, which fails where an outcome cannot be explained: an event lost in silence, invented, out
//! of order, or a panic. Here its counts are added up.

use crate::shell::{Answer, Arguments, cargo};
use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader},
    process::Stdio,
};

pub(crate) fn run(arguments: &Arguments) -> Answer<()> {
    let quick = arguments.has("--quick");
    let (bits, stride) = if quick { ("1", "7") } else { ("8", "1") };
    eprintln!("torn: {bits} bits of each byte of a log in three segments; minutes");
    let mut child = cargo(&[
        "test",
        "--release",
        "-q",
        "-p",
        "fchannel",
        "--test",
        "torn",
        "--",
        "--nocapture",
    ])
    .env("FCHANNEL_BITS", bits)
    .env("FCHANNEL_STRIDE", stride)
    .stdout(Stdio::piped())
    .spawn()?;
    let mut totals: BTreeMap<String, BTreeMap<String, u64>> = BTreeMap::new();
    let out = child.stdout.take().ok_or("no output")?;
    for line in BufReader::new(out).lines() {
        add(&mut totals, &line?);
    }
    if !child.wait()?.success() {
        return Err("an outcome could not be explained: see above".into());
    }
    if totals.is_empty() {
        return Err("the test said nothing".into());
    }
    for (test, counts) in &totals {
        let told: Vec<String> =
            counts.iter().map(|(kind, count)| format!("{kind} {count}")).collect();
        println!("{test:10} {}", told.join("   "));
    }
    println!("unexplained 0");
    Ok(())
}

/// Adds a line `torn: TEST KIND=COUNT ...`, which may stand behind what the test runner prints.
fn add(totals: &mut BTreeMap<String, BTreeMap<String, u64>>, line: &str) {
    let Some((_, told)) = line.split_once("torn: ") else { return };
    let mut words = told.split(' ');
    let counts = totals.entry(words.next().unwrap_or_default().to_owned()).or_default();
    for (kind, count) in words.filter_map(|word| word.split_once('=')) {
        *counts.entry(kind.to_owned()).or_default() += count.parse::<u64>().unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_added_up_by_test() {
        let mut totals = BTreeMap::new();
        for line in ["running 3 tests", ".torn: closed cuts=2 @C=1", "torn: closed cuts=3 @B=7"] {
            add(&mut totals, line);
        }
        let expected =
            [("@B", 7), ("@C", 1), ("cuts", 5)].map(|(kind, count)| (kind.to_owned(), count));
        assert_eq!(totals, BTreeMap::from([("closed".to_owned(), BTreeMap::from(expected))]));
    }
}
