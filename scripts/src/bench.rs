//! `cargo x bench`: the commit benchmark.

use crate::shell::{Answer, Arguments, cargo, must};

pub(crate) fn run(arguments: &Arguments) -> Answer<()> {
    let mut command = cargo(&["bench", "--package", "fchannel-benches", "--bench", "commit", "--"]);
    must(command.args(arguments.words()))
}
