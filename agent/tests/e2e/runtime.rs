//! From a source through a channel to a sink, through the real runtime.

use crate::common::{
    Running, agent, collector, collector_that, component, kept, memory, sink, source,
};
use fchannel_agent::{
    channels,
    runtime::{self, Ended, RunOptions},
};
use rustix::process::{Signal, getpid, kill_process};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

fn numbers(end: usize) -> Vec<String> {
    (0..end).map(|number| number.to_string()).collect()
}

fn bodies(under: &str, events: usize) -> Vec<String> {
    kept(under, events).into_iter().map(|(_, body)| body).collect()
}

#[test]
fn seq_through_memory_comes_out_in_order() {
    let config = agent(
        vec![memory("c1", &[])],
        vec![source("r1", "seq", &[("totalEvents", "5000"), ("batchSize", "7")], &["c1"])],
        vec![collector("in_order", "c1")],
    );
    let running = Running::start(config);
    assert_eq!(bodies("in_order", 5000), numbers(5000));
    assert_eq!(running.stop(), Ended { signal: None, stuck: Vec::new(), failed: Vec::new() });
}

#[test]
fn a_source_with_two_channels_feeds_both() {
    let config = agent(
        vec![memory("c1", &[]), memory("c2", &[("capacity", "10"), ("transactionCapacity", "3")])],
        vec![source("r1", "seq", &[("totalEvents", "500"), ("batchSize", "100")], &["c1", "c2"])],
        vec![collector("both_1", "c1"), collector("both_2", "c2"), sink("k3", "logger", &[], "c1")],
    );
    let running = Running::start(config);
    assert_eq!(bodies("both_2", 500), numbers(500));
    assert!(running.stop().stuck.is_empty());
}

#[test]
fn a_sink_that_panics_is_built_again_and_loses_nothing() {
    let config = agent(
        vec![memory("c1", &[])],
        vec![source("r1", "seq", &[("totalEvents", "50")], &["c1"])],
        vec![collector_that("panics", "panics", "c1")],
    );
    let running = Running::start(config);
    assert_eq!(bodies("panics", 50), numbers(50));
    assert!(running.stop().stuck.is_empty());
}

#[test]
fn a_channel_that_does_not_open_is_named() {
    let config = agent(
        vec![memory("c9", &[("capacity", "1"), ("transactionCapacity", "2")])],
        vec![],
        vec![],
    );
    let error =
        runtime::run(config, RunOptions { signals: false, ..RunOptions::default() }).unwrap_err();
    assert!(
        error.message.contains("channel c9") && error.message.contains("transactionCapacity"),
        "{error}"
    );
}

#[test]
fn a_signal_stops_the_agent_in_order() {
    let config = agent(
        vec![memory("c1", &[])],
        vec![source("r1", "netcat", &[("bind", "127.0.0.1"), ("port", "0")], &["c1"])],
        vec![sink("k1", "logger", &[], "c1")],
    );
    let options = RunOptions {
        // The handlers are there before any source is.
        on_listening: Some(Arc::new(|_, _| kill_process(getpid(), Signal::TERM).unwrap())),
        ..RunOptions::default()
    };
    assert_eq!(
        runtime::run(config, options),
        Ok(Ended { signal: Some(15), stuck: Vec::new(), failed: Vec::new() })
    );
}

#[test]
fn a_sink_that_is_stuck_is_named_and_left_behind() {
    let config = agent(
        vec![memory("c1", &[])],
        vec![source("r1", "seq", &[("totalEvents", "1")], &["c1"])],
        vec![collector_that("blocks", "stuck", "c1")],
    );
    let running = Running::start_with_grace(config, Duration::from_millis(200));
    assert_eq!(bodies("stuck", 1), numbers(1));
    assert_eq!(running.stop().stuck, ["k1".into()]);
}

#[test]
fn a_delivery_that_fails_comes_again_in_order() {
    let config = agent(
        vec![memory("c1", &[])],
        vec![source("r1", "seq", &[("totalEvents", "500")], &["c1"])],
        vec![collector_that("fails", "fails", "c1")],
    );
    let running = Running::start(config);
    assert_eq!(bodies("fails", 500), numbers(500));
    assert!(running.stop().stuck.is_empty());
}

#[test]
fn an_agent_that_cannot_be_built_leaves_no_directories() {
    let dir = tempfile::tempdir().unwrap();
    let [home, data] = ["checkpoint", "data"].map(|name| dir.path().join(name));
    let keys = [("checkpointDir", home.to_str().unwrap()), ("dataDirs", data.to_str().unwrap())];
    let file = component("c1", channels::ENTRIES[0], &keys);
    // As if nobody had checked the conf.
    let exec = source("r1", "exec", &[("command", "true"), ("charset", "hunter2")], &["c1"]);
    let config = agent(vec![file], vec![exec], vec![collector_that("", "unbuilt", "c1")]);
    let options = RunOptions { signals: false, ..RunOptions::default() };
    let error = runtime::run(config, options).unwrap_err();
    assert!(error.message.contains("`charset`") && !error.message.contains("hunter2"), "{error}");
    assert!(!home.exists() && !data.exists());
}

#[test]
fn a_stop_does_not_wait_for_room_in_a_channel() {
    let dir = tempfile::tempdir().unwrap();
    let [home, data] = ["checkpoint", "data"].map(|name| dir.path().join(name));
    let small = [("capacity", "5"), ("transactionCapacity", "5"), ("keep-alive", "3600")];
    let mut keys =
        vec![("checkpointDir", home.to_str().unwrap()), ("dataDirs", data.to_str().unwrap())];
    keys.extend(small);
    for (under, small) in [
        ("no_room_file", component("c2", channels::ENTRIES[0], &keys)),
        ("no_room_memory", memory("c2", &small)),
    ] {
        let config = agent(
            vec![memory("c1", &[]), small],
            vec![source("r1", "seq", &[], &["c1", "c2"])],
            vec![collector(under, "c1")],
        );
        let running = Running::start_with_grace(config, Duration::from_secs(60));
        // The first channel has the sixth event, and the second one has no room for it.
        kept(under, 6);
        let start = Instant::now();
        assert_eq!(running.stop(), Ended { signal: None, stuck: Vec::new(), failed: Vec::new() });
        assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    }
}
