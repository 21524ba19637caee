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

const KITCHEN: &str = "# everything at once
a1.sources = r1 r2 r1 r9
a1.channels = c1 c2 c3
a1.sinks = k1 k2 k3
a1.source.r1.x = 1
nodot = 1
a1.sources.r1.type = taildir
a1.sources.r1.filegroups = f1
a1.sources.r1.filegroups.f1 = /var/log/.*\\\\.log
a1.sources.r1.batchSize = ${env:BATCH}
a1.sources.r1.fileHeader = yes
a1.sources.r1.channels = c1 \\
    c2 cc2
a1.sources.r1.interceptors = i1 i2
a1.sources.r1.interceptors.i1.type = regex_filter
a1.sources.r1.interceptors.i1.regex = (unclosed
a1.sources.r1.interceptors.i3.type = timestamp
a1.sources.r2.type = com.example.MySource
a1.sources.r2.channels = c1
a1.sources.r2.selector.type = multiplexing
a1.sources.r2.selector.mapping.x = c1 c7
a1.channels.c1.type = memory
a1.channels.c1.capacity = -5
a1.channels.c1.capacity = lots
a1.channels.c2.type = file
a1.channels.c2.checkpointIntervall = 10
a1.channels.c3.type = file
a1.channels.c3.dataDirs = /home/flume/.flume/file-channel/data/,/x
a1.sinks.k1.type = file_roll
a1.sinks.k1.sink.directory = ${env:NOWHERE}/x
a1.sinks.k1.sink.pathManager = weird
a1.sinks.k1.channels = c1
a1.sinks.k2.type = seq
a1.sinks.k2.channel = c1 c2
a1.sinks.k3.channel = c2
a1.sinks.k4.type = null
a1.sinkgroups = g1
a1.sinks.k1.password = hunter2\\
    more-hunter2
";
#[test]
fn print() {
    println!("{}", check(KITCHEN));
    println!("{}", check("agent.channels=c1\nagent.channel.c1=cc1"));
    println!(
        "{}",
        check_as("agent.channels=c1\nagent.channel.c1=cc1\n", Some("agent"), Mode::Strict).1
    );
}
