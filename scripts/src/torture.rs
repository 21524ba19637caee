//! `cargo x kill9`, `powercut`, `diskfull`: the proofs of `scripts/torture`, which is a package of its own so that this one stays quick to
//! build.

use crate::shell::{Answer, Arguments, cargo, must};
use std::{fs, path::Path};

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

/// Why a proof that mounts something cannot be done here, if it cannot.
pub(crate) fn hindrance(device: &str) -> Option<String> {
    if !Path::new(device).exists() {
        return Some(format!("there is no {device}"));
    }
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let user = status.lines().find(|line| line.starts_with("Uid:")).unwrap_or_default();
    let is_root = user.split_whitespace().nth(2) == Some("0");
    if !is_root {
        return Some("only root may mount".to_owned());
    }
    // A container's root is none.
    let opened = fs::File::options().read(true).write(true).open(device);
    opened.err().map(|error| format!("{device}: {error}"))
}
