//! What an operator reads when a conf is wrong, word for word.

#[path = "support/registry.rs"]
mod support;

use fchannel_agent::config::{Loaded, Mode, Request, load, render};

fn env(name: &str) -> Option<String> {
    match name {
        "HOME" => Some("/home/flume".to_owned()),
        "BATCH" => Some("987654".to_owned()),
        "PASSWORD" => Some("s3cr3t-from-env".to_owned()),
        _ => None,
    }
}

fn check_as(conf: &str, agent: Option<&str>, mode: Mode) -> (Loaded, String) {
    let registry = support::registry();
    let request = Request { file_name: "flume.conf", agent, mode, registry: &registry, env: &env };
    let loaded = load(conf.as_bytes(), &request);
    let text = render(&loaded.diagnostics, false);
    (loaded, text)
}

fn check(conf: &str) -> String {
    check_as(conf, Some("a1"), Mode::Strict).1
}

const FIVE: &str = "a1.sources = r1
a1.channels = c1
a1.sinks = k1 k2
a1.sources.r1.type = netcat
a1.sources.r1.bind = 0.0.0.0
a1.sources.r1.port = 444444
a1.sources.r1.channels = c1
a1.channels.c1.type = memory
a1.channels.c1.capacity = 1000
a1.channels.c1.transactionCapacity = 10000
a1.sinks.k1.type = hdfs
a1.sinks.k1.channel = c1
a1.sinks.k2.type = file_roll
a1.sinks.k2.channel = c2
";
#[test]
fn print() {
    println!("{}", check(FIVE));
    println!("{}", check_as(FIVE, Some("a1"), Mode::Lenient).1);
}
