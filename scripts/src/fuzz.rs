//! `cargo x fuzz`: the targets in `fuzz/`, under libFuzzer on nightly, or by `--smoke` on stable.
//!
//! `cargo fuzz` is not needed, only its library; who has it may use it: the targets lie where it looks for them.

use crate::shell::{Answer, Arguments, cargo, must, root};
use std::{
    fs,
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Command, Stdio},
    time::Instant,
};

/// What cargo-fuzz passes, without a sanitizer: the targets run no unsafe code of ours.
const COVERAGE: &str = "--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
     -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
     -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=4";
const TRIPLE: &str = "x86_64-unknown-linux-gnu";
const CANARY: &str = "canary";
const SECONDS: u64 = 180;
const CANARY_SECONDS: u64 = 20;
/// An input that takes longer is a finding.
const INPUT_SECONDS_MAX: u64 = 10;

fn home() -> PathBuf {
    root().join("fuzz")
}

pub(crate) fn run(arguments: &Arguments) -> Answer<()> {
    match arguments.words() {
        [word] if word == "seeds" => smoke(&["seeds"]),
        [word, target, file] if word == "replay" => smoke(&["replay", target, file]),
        _ if arguments.has("--smoke") => {
            let seconds = arguments.number("--seconds", 2)?.to_string();
            smoke(&["--seconds", &seconds])
        }
        _ => soak(arguments),
    }
}

/// The driver for stable, with these words.
fn smoke(words: &[&str]) -> Answer<()> {
    let mut all = vec!["run", "--quiet", "--release", "--bin", "smoke", "--"];
    all.extend(words);
    must(cargo(&all).current_dir(home()))
}

/// The names of the targets: a file each.
fn targets() -> Answer<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(home().join("fuzz_targets"))? {
        let path = entry?.path();
        names.extend(path.file_stem().map(|name| name.to_string_lossy().into_owned()));
    }
    names.sort();
    Ok(names)
}

fn soak(arguments: &Arguments) -> Answer<()> {
    let all = targets()?;
    let chosen: Vec<String> = match arguments.values("--target").next() {
        Some(name) if all.iter().any(|target| target == name) => vec![name.to_owned()],
        Some(name) => return Err(format!("--target {name}: one of {}", all.join(" ")).into()),
        None => all,
    };
    let hours = arguments.number("--hours", 0)?;
    let shared = (hours * 3600).checked_div(chosen.len() as u64).unwrap_or_default();
    let seconds = if hours > 0 { shared } else { arguments.number("--seconds", SECONDS)? };
    build()?;
    let mut failed = Vec::new();
    let mut rows = Vec::new();
    for name in &chosen {
        let ran = Run::of(name, if name == CANARY { CANARY_SECONDS } else { seconds })?;
        // A target that must fail and does not says that the others prove nothing.
        let told = match (ran.found, name == CANARY) {
            (true, true) => "found, as it must be",
            (false, true) => "NOT FOUND: this proves nothing",
            (true, false) => "FAILED: see fuzz/artifacts",
            (false, false) => "ok",
        };
        if ran.found != (name == CANARY) {
            failed.push(name.as_str());
        }
        rows.push(format!(
            "{name:<18} {:>12} executions {:>6} edges {:>6.1} min  {told}",
            ran.executions, ran.edges, ran.minutes
        ));
        println!("{}", rows.last().map_or("", String::as_str));
    }
    println!("\n{}", rows.join("\n"));
    if failed.is_empty() { Ok(()) } else { Err(format!("failed: {}", failed.join(", ")).into()) }
}

fn build() -> Answer<()> {
    let mut build = Command::new("rustup");
    build.args(["run", "nightly", "cargo", "build", "--release", "--bins", "--target", TRIPLE]);
    build.args(["--no-default-features", "--features", "libfuzzer"]).current_dir(home());
    // What runs this is another toolchain, and the targets are looked for below `fuzz/`.
    for variable in ["CARGO", "RUSTC", "RUSTDOC", "RUSTUP_TOOLCHAIN", "CARGO_TARGET_DIR"] {
        build.env_remove(variable);
    }
    must(build.env("RUSTFLAGS", COVERAGE))
}

/// What libFuzzer said at its end.
#[derive(Default)]
struct Run {
    executions: u64,
    edges: u64,
    minutes: f64,
    found: bool,
}

impl Run {
    fn of(name: &str, seconds: u64) -> Answer<Self> {
        let work = home().join("target/corpus").join(name);
        let artifacts = home().join("artifacts").join(name);
        fs::create_dir_all(&work)?;
        fs::create_dir_all(&artifacts)?;
        let mut fuzzer =
            Command::new(home().join("target").join(TRIPLE).join("release").join(name));
        // The first one is where new inputs go: the kept corpora stay small.
        fuzzer.arg(&work);
        for kept in ["corpus", "regressions"] {
            let dir = home().join(kept).join(name);
            if dir.is_dir() {
                fuzzer.arg(dir);
            }
        }
        fuzzer.args([
            format!("-max_total_time={seconds}"),
            format!("-timeout={INPUT_SECONDS_MAX}"),
            format!("-artifact_prefix={}/", artifacts.display()),
            "-print_final_stats=1".to_owned(),
        ]);
        let started = Instant::now();
        let mut child = fuzzer.stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
        let mut ran = Self::default();
        let mut last = Vec::new();
        for line in child.stderr.take().into_iter().flat_map(|text| BufReader::new(text).lines()) {
            let line = line?;
            ran.read(&line);
            if !line.starts_with('#') {
                last.push(line);
            }
        }
        ran.found = !child.wait()?.success();
        ran.minutes = started.elapsed().as_secs_f64() / 60.0;
        if ran.found && name != CANARY {
            println!("{}", last.join("\n"));
        }
        Ok(ran)
    }

    /// `#123 NEW cov: 45 ft: ...`, and the statistics at the end.
    fn read(&mut self, line: &str) {
        let mut words = line.split_whitespace();
        let executions = match words.next() {
            Some("stat::number_of_executed_units:") => words.next(),
            Some(word) => word.strip_prefix('#'),
            None => None,
        };
        if let Some(executions) = executions.and_then(|word| word.parse().ok()) {
            self.executions = executions;
        }
        if let Some(edges) = words.skip_while(|word| *word != "cov:").nth(1) {
            self.edges = edges.parse().unwrap_or(self.edges);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_libfuzzer_says_is_read() {
        let mut run = Run::default();
        run.read(
            "#4194304	pulse  cov: 912 ft: 3009 corp: 2/5b lim: 4096 exec/s: 2097152 rss: 27Mb",
        );
        assert_eq!((run.executions, run.edges), (4_194_304, 912));
        run.read("stat::number_of_executed_units: 5000000");
        run.read("INFO: seed corpus: files: 3");
        assert_eq!((run.executions, run.edges), (5_000_000, 912));
    }
}
