//! `cargo x rivals`: us, rivals and the raw floor of the disk in one run. The rivals are a crate of their own, outside the workspace, since
//! what they are made of compiles for minutes.

use crate::shell::{Answer, Arguments, cargo, install, must, root};
use std::process::Command;

pub(crate) fn run(arguments: &Arguments) -> Answer<()> {
    if arguments.has("--help") {
        // Without a build of minutes.
        print!("{}", include_str!("../../benches/rivals/src/usage.txt"));
        return Ok(());
    }
    if arguments.has("--check") {
        is_formatted()?;
        must(of_rivals(&["clippy", "--release", "--all-targets"]).args(["--", "-D", "warnings"]))?;
        return must(&mut of_rivals(&["test", "--release"]));
    }
    if arguments.has("--strace") {
        install("strace", "strace")?;
    }
    let (features, words) = match arguments.words() {
        [flag, name, words @ ..] if flag == "--features" => (Some(name), words),
        words => (None, words),
    };
    let mut command = of_rivals(&["run", "--quiet", "--release"]);
    command.args(features.map(|name| format!("--features={name}")));
    // Files and commands are named from where this was called.
    must(command.current_dir(std::env::current_dir()?).arg("--").args(words))
}

/// Cheap enough for every run of the integration, which does not build the rivals.
pub(crate) fn is_formatted() -> Answer<()> {
    must(&mut of_rivals(&["fmt", "--check"]))
}

fn of_rivals(words: &[&str]) -> Command {
    let mut command = cargo(words);
    command.arg("--manifest-path").arg(root().join("benches/rivals/Cargo.toml"));
    command
}
