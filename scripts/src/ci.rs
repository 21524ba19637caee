//! `cargo x ci`: everything that must be green before a merge. The continuous integration calls nothing else but the tests.
//!
//! Every step runs, whatever became of those before it. What is left out is said, with the reason.

use crate::{
    bench, fuzz, instructions, loom, restart, rivals,
    shell::{Answer, Arguments, cargo, exists, must, output_of, root},
    sim, tidy, torn, torture, weblog,
};
use std::{
    fs,
    process::{Command, Stdio},
    time::Instant,
};

/// How a step ended.
enum Ended {
    Well,
    /// Not done, and why.
    Skipped(String),
}

type Step = (&'static str, fn() -> Answer<Ended>);

const STEPS: [Step; 19] = [
    ("fmt", || {
        must(&mut cargo(&["fmt", "--all", "--check"]))?;
        done(rivals::is_formatted())
    }),
    ("clippy", || {
        done(must(&mut cargo(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"])))
    }),
    ("tidy", || done(tidy::run(&words(&[])))),
    ("doc", || {
        done(must(cargo(&["doc", "--workspace", "--no-deps"]).env("RUSTDOCFLAGS", "-D warnings")))
    }),
    ("config-doc", || is_printed("docs/CONFIG.md", "components")),
    ("findings-doc", || is_printed("docs/FINDINGS.md", "explain")),
    ("deny", deny),
    ("fuzz", fuzz_smoke),
    ("loom", || done(loom::run(&words(&[])))),
    ("loom-plants", || done(loom::run(&words(&["--plants"])))),
    ("bench", benches),
    ("instructions", || done(instructions::run(&words(&[])))),
    ("torn", || done(torn::run(&words(&["--quick"])))),
    ("sim", || done(sim::quick())),
    ("kill9", || done(torture::run("kill9", &words(&["--rounds", "20"])))),
    ("powercut", || mounting("powercut", "/dev/fuse", &["--rounds", "20"])),
    ("diskfull", || mounting("diskfull", "/dev/loop-control", &[])),
    ("restart", || done(restart::run(&words(&[])))),
    ("weblog", || done(weblog::run(&words(&[])))),
];

pub(crate) fn run(arguments: &Arguments) -> Answer<()> {
    let skip: Vec<&str> = arguments.values("--skip").collect();
    if let Some(unknown) = skip.iter().find(|name| !STEPS.iter().any(|(step, _)| step == *name)) {
        return Err(format!("--skip {unknown}: there is no such step").into());
    }
    let mut rows = Vec::new();
    let mut failed = 0;
    for (name, step) in STEPS {
        println!("\n=== {name}");
        let started = Instant::now();
        let answer =
            if skip.contains(&name) { Ok(Ended::Skipped("asked for".into())) } else { step() };
        let told = match answer {
            Ok(Ended::Well) => "ok".to_owned(),
            Ok(Ended::Skipped(why)) => format!("SKIPPED: {why}"),
            Err(error) => {
                failed += 1;
                format!("FAILED: {error}")
            }
        };
        println!("{name}: {told}");
        rows.push(format!("{name:<12} {:>4} s  {told}", started.elapsed().as_secs()));
    }
    println!("\n=== ci\n{}", rows.join("\n"));
    if failed == 0 {
        println!("ci: all green");
        Ok(())
    } else {
        Err(format!("{failed} steps failed").into())
    }
}

fn words(words: &[&str]) -> Arguments {
    Arguments::new(words.iter().map(|word| (*word).to_owned()))
}

fn done(answer: Answer<()>) -> Answer<Ended> {
    answer.map(|()| Ended::Well)
}

/// A proof that mounts a file system.
fn mounting(proof: &str, device: &str, arguments: &[&str]) -> Answer<Ended> {
    match torture::hindrance(device) {
        Some(why) => Ok(Ended::Skipped(why)),
        None => done(torture::run(proof, &words(arguments))),
    }
}

/// A document is what `fchannel VERB -o markdown` prints.
fn is_printed(document: &str, verb: &str) -> Answer<Ended> {
    let mut program = cargo(&[
        "run",
        "--quiet",
        "--package",
        "fchannel-agent",
        "--bin",
        "fchannel",
        "--",
        verb,
        "-o",
        "markdown",
    ]);
    let printed = output_of(&mut program)?;
    let path = root().join(document);
    let kept = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    if kept == printed {
        return Ok(Ended::Well);
    }
    let line =
        kept.lines().zip(printed.lines()).take_while(|(kept, printed)| kept == printed).count() + 1;
    Err(format!(
        "{document} differs from line {line} on; write it anew: fchannel {verb} -o markdown > {document}"
    )
    .into())
}

/// Licences, bans and sources always; advisories where their data can be had.
fn deny() -> Answer<Ended> {
    if !exists("cargo-deny") {
        return Ok(Ended::Skipped(
            "cargo-deny is not installed: cargo install --locked cargo-deny".into(),
        ));
    }
    let check = |what: &[&str]| {
        let mut command = Command::new("cargo-deny");
        command.args(["--all-features", "--config", "scripts/deny.toml", "check"]).args(what);
        command.current_dir(root());
        command
    };
    must(&mut check(&["bans", "licenses", "sources"]))?;
    let reachable = Command::new("git")
        .args(["ls-remote", "--exit-code", "https://github.com/rustsec/advisory-db", "HEAD"])
        .env("GIT_TERMINAL_PROMPT", "0")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if !reachable {
        return Ok(Ended::Skipped(
            "advisories only: their data cannot be reached; bans, licences and sources are right"
                .into(),
        ));
    }
    done(must(&mut check(&["advisories"])))
}

/// The crate of the targets is of its own: formats, lints, and each target for a moment.
fn fuzz_smoke() -> Answer<Ended> {
    let home = root().join("fuzz");
    must(cargo(&["fmt", "--check"]).current_dir(&home))?;
    must(cargo(&["clippy", "--all-targets", "--", "-D", "warnings"]).current_dir(&home))?;
    done(fuzz::run(&words(&["--smoke"])))
}

/// That the benchmarks run. Their figures are for people: a shared machine is no judge.
fn benches() -> Answer<Ended> {
    bench::run(&words(&["--quick", "--dir", &std::env::temp_dir().to_string_lossy()]))?;
    done(must(&mut cargo(&[
        "bench",
        "--package",
        "fchannel-benches",
        "--bench",
        "micro",
        "--",
        "--test",
    ])))
}
