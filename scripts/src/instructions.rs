//! `cargo x instructions`: what the processor has to do for each path of the engine, counted under valgrind, beside what it was.
//!
//! A count is the same on a busy machine, so a slow-down is seen where no time could be trusted. It changes with the compiler: then look,
//! and `--bless`.

use crate::shell::{Answer, Arguments, cargo, install, output_of, root};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

const KEPT: &str = "benches/instructions.txt";
/// More than what is kept by so much is a failure, less is worth keeping.
const TOLERANCE: f64 = 0.05;
/// Allocations that come once in a while, as something grows.
const ALLOCATIONS_APART: f64 = 0.02;

/// Valgrind counts one instruction of this kind for each byte that it copies.
const NO_STRING_INSTRUCTIONS: &str = "glibc.cpu.hwcaps=-ERMS,-FSRM";

/// A path that can be counted, as `benches/paths.rs` lists it.
struct Counted {
    name: String,
    unit: String,
    units: u64,
    rounds: u64,
}

/// For each unit of a path.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Cost {
    instructions: f64,
    allocations: f64,
    allocated_bytes: f64,
}

pub(crate) fn run(arguments: &Arguments) -> Answer<()> {
    install("valgrind", "valgrind")?;
    let program = build()?;
    let compiler = output_of(Command::new("rustc").arg("--version").current_dir(root()))?;
    let kept_in = root().join(KEPT);
    let kept = fs::read_to_string(&kept_in).unwrap_or_default();
    let mut table = format!(
        "# What each path of the engine needs: `cargo x instructions`, which fails above it, and keeps it anew with --bless.\n\
         # {}, {}\n# path, instructions, allocations, allocated bytes; each for one:\n",
        compiler.trim(),
        std::env::consts::ARCH,
    );
    let mut worse = Vec::new();
    println!(
        "| path | for each | instructions | kept | change | allocations | kept | allocated bytes |\n|---|---|---|---|---|---|---|---|"
    );
    for path in list(&program)? {
        let cost = cost_of(&program, &path)?;
        table += &line(&path, cost);
        let before = parse(&kept, &path.name);
        print_row(&path, cost, before);
        match before {
            None => worse.push(format!("{}: nothing is kept", path.name)),
            Some(before) => worse.extend(complaints(&path.name, cost, before)),
        }
    }
    if arguments.has("--bless") {
        fs::write(&kept_in, table)?;
        println!("kept in {KEPT}");
        return Ok(());
    }
    if worse.is_empty() {
        return Ok(());
    }
    let kept_by = kept.lines().nth(1).unwrap_or("# nobody").trim_start_matches("# ");
    Err(format!(
        "{}; if that is meant, or the compiler's doing (kept by {kept_by}; this is {}): cargo x instructions --bless",
        worse.join(", "),
        compiler.trim(),
    )
    .into())
}

/// The program whose paths are counted.
fn build() -> Answer<PathBuf> {
    let messages = output_of(&mut cargo(&[
        "bench",
        "--quiet",
        "--package",
        "fchannel-benches",
        "--bench",
        "paths",
        "--no-run",
        "--message-format",
        "json",
    ]))?;
    let built = messages.rsplit("\"executable\":\"").next().and_then(|rest| rest.split('"').next());
    let program = PathBuf::from(built.unwrap_or_default());
    if program.is_file() { Ok(program) } else { Err("cargo does not say what it built".into()) }
}

fn list(program: &Path) -> Answer<Vec<Counted>> {
    let printed = output_of(&mut Command::new(program))?;
    let path = |line: &str| {
        let mut words = line.split_whitespace();
        let mut word = || words.next().map(str::to_owned);
        let (name, unit) = (word()?, word()?);
        Some(Counted { name, unit, units: word()?.parse().ok()?, rounds: word()?.parse().ok()? })
    };
    printed
        .lines()
        .map(|line| path(line).ok_or_else(|| format!("{line:?}: not a path").into()))
        .collect()
}

/// The difference of two runs: start, preparation and end are in both.
#[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
fn cost_of(program: &Path, path: &Counted) -> Answer<Cost> {
    let half = path.rounds / 2;
    let (less, more) =
        (counts(program, &path.name, half)?, counts(program, &path.name, path.rounds)?);
    let units = ((path.rounds - half) * path.units) as f64;
    let [instructions, allocations, allocated_bytes] =
        [0, 1, 2].map(|at: usize| more[at].saturating_sub(less[at]) as f64 / units);
    Ok(Cost { instructions, allocations, allocated_bytes })
}

/// Instructions, allocations and their bytes of one run.
fn counts(program: &Path, name: &str, rounds: u64) -> Answer<[u64; 3]> {
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]).arg(program);
    valgrind.env("GLIBC_TUNABLES", NO_STRING_INSTRUCTIONS);
    let ran = valgrind
        .args([name, &rounds.to_string()])
        .output()
        .map_err(|e| format!("valgrind: {e}"))?;
    let (printed, said) =
        (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    let instructions =
        said.lines().find_map(|line| line.split_once("Collected :")?.1.trim().parse().ok());
    let mut words = printed.split_whitespace().map(|word| word.parse().ok());
    match (ran.status.success(), instructions, words.next().flatten(), words.next().flatten()) {
        (true, Some(instructions), Some(allocations), Some(bytes)) => {
            Ok([instructions, allocations, bytes])
        }
        _ => Err(format!("valgrind, {name}: {}\n{said}", ran.status).into()),
    }
}

fn line(path: &Counted, cost: Cost) -> String {
    let Cost { instructions, allocations, allocated_bytes } = cost;
    format!("{} {instructions:.1} {allocations:.3} {allocated_bytes:.1} {}\n", path.name, path.unit)
}

/// What `kept` has of the path `name`.
fn parse(kept: &str, name: &str) -> Option<Cost> {
    kept.lines().find_map(|line| {
        let mut words = line.split_whitespace();
        (words.next()? == name).then_some(())?;
        let mut figure = || words.next()?.parse().ok();
        Some(Cost { instructions: figure()?, allocations: figure()?, allocated_bytes: figure()? })
    })
}

fn print_row(path: &Counted, cost: Cost, before: Option<Cost>) {
    let was = |figure: fn(Cost) -> f64, digits: usize| {
        before.map_or_else(|| "-".to_owned(), |cost| format!("{:.digits$}", figure(cost)))
    };
    let change = before.map_or_else(
        || "-".to_owned(),
        |before| format!("{:+.1} %", (cost.instructions / before.instructions - 1.0) * 100.0),
    );
    println!(
        "| {:<17} | {:<6} | {:>8.1} | {:>8} | {change:>8} | {:>6.3} | {:>6} | {:>8.1} |",
        path.name,
        path.unit,
        cost.instructions,
        was(|cost| cost.instructions, 1),
        cost.allocations,
        was(|cost| cost.allocations, 3),
        cost.allocated_bytes,
    );
}

fn complaints(name: &str, cost: Cost, before: Cost) -> Vec<String> {
    let mut complaints = Vec::new();
    if cost.instructions > before.instructions * (1.0 + TOLERANCE) {
        complaints.push(format!(
            "{name}: {:.0} instructions, not {:.0}",
            cost.instructions, before.instructions
        ));
    }
    if cost.allocations > before.allocations + ALLOCATIONS_APART {
        complaints.push(format!(
            "{name}: {:.2} allocations, not {:.2}",
            cost.allocations, before.allocations
        ));
    }
    complaints
}

#[cfg(test)]
mod tests {
    use super::*;

    const COST: Cost = Cost { instructions: 1000.0, allocations: 0.5, allocated_bytes: 64.0 };

    #[test]
    fn what_is_kept_is_read_again() {
        let path =
            Counted { name: "put-1".to_owned(), unit: "event".to_owned(), units: 1, rounds: 2 };
        let kept = format!("# put-1 in a comment\nput-10 1 2 3 event\n{}", line(&path, COST));
        assert_eq!(parse(&kept, "put-1"), Some(COST));
        assert_eq!(parse(&kept, "put"), None);
    }

    #[test]
    fn more_than_the_tolerance_is_said_and_less_is_not() {
        let with = |instructions, allocations| Cost { instructions, allocations, ..COST };
        assert_eq!(complaints("put-1", with(1049.0, 0.51), COST), Vec::<String>::new());
        assert_eq!(complaints("put-1", with(1051.0, 0.0), COST).len(), 1);
        assert_eq!(complaints("put-1", with(500.0, 1.5), COST).len(), 1);
    }
}
