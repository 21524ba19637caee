//! `cargo x bench`: what users run as `fchannel bench`, built for release.

use crate::shell::{Answer, Arguments, cargo, must};

/// `--quick`: rounds so short that they only show that it runs.
const QUICK: &[&str] = &["--rounds", "1", "--slice-ms", "50"];

pub(crate) fn run(arguments: &Arguments) -> Answer<()> {
    let mut command = cargo(&[
        "run",
        "--release",
        "--package",
        "fchannel-agent",
        "--bin",
        "fchannel",
        "--",
        "bench",
    ]);
    for word in arguments.words() {
        match word.as_str() {
            "--quick" => command.args(QUICK),
            word => command.arg(word),
        };
    }
    must(&mut command)
}
