//! `cargo x kill9`, `powercut`, `diskfull`: the proofs of `scripts/torture`, which is a package of its own so that this one stays quick to
//! build.

use crate::shell::{Answer, Arguments, cargo, must};

pub(crate) fn run(proof: &str, arguments: &Arguments) -> Answer<()> {
    let mut words = vec![
        "run",
        "--quiet",
        "--release",
        "--package",
        "fchannel-torture",
        "--bin",
        "torture",
        "--",
        proof,
    ];
    words.extend(arguments.words().iter().map(String::as_str));
    must(&mut cargo(&words))
}
