//! What Flume's own tests assert about configurations, ported: the names start with the upstream test class.
//!
//! Where this agent is stricter on purpose (it refuses what Flume runs without) the test says so.

#[path = "support/registry.rs"]
mod support;

use fchannel_agent::config::{Loaded, Mode, Request, Severity, load};

fn read(conf: &str, mode: Mode) -> Loaded {
    let registry = support::registry();
    let env = |name: &str| (name == "NC_PORT").then(|| "6667".to_owned());
    let request = Request {
        file_name: "test.conf",
        agent: Some("agent1"),
        mode,
        registry: &registry,
        env: &env,
    };
    load(conf.as_bytes(), &request)
}

fn codes(loaded: &Loaded) -> Vec<(&str, &str)> {
    loaded.diagnostics.items().iter().map(|item| (item.severity.as_str(), item.code)).collect()
}

const AGENT: &str = "\
agent1.channels = c1
agent1.channels.c1.type = memory
agent1.sources = r1
agent1.sources.r1.type = netcat
agent1.sources.r1.bind = localhost
agent1.sources.r1.port = 1
agent1.sources.r1.channels = c1
agent1.sinks = k1
agent1.sinks.k1.type = null
agent1.sinks.k1.channel = c1
";

/// A value with blanks survives (upstream: the ports of a multiport source).
#[test]
fn test_flume_configuration_values_with_blanks_survive() {
    let conf = AGENT.replace("bind = localhost", "bind = 10001 10002 10003");
    let loaded = read(&conf, Mode::Strict);
    let agent = &loaded.agents[0];
    assert_eq!((agent.sources.len(), agent.channels.len(), agent.sinks.len()), (1, 1, 1));
    assert_eq!(agent.sources[0].component.settings.text("bind"), Some("10001 10002 10003"));
}

#[test]
fn test_flume_configuration_odd_keys_are_reported_and_ignored() {
    for (line, code) in [
        ("agent1.sources.r1.bind.x =", "FC1003"),
        ("nodot = x", "FC1006"),
        (".something = x", "FC1006"),
        ("= x", "FC1006"),
        ("agent1. = x", "FC1006"),
        ("agent1.sources.r1. = x", "FC1006"),
        ("agent1.sources..x = x", "FC1006"),
        ("agent1.sources.r1 = x", "FC1006"),
        ("agent1.channel.c1 = x", "FC1006"),
    ] {
        let loaded = read(&format!("{AGENT}{line}\n"), Mode::Strict);
        assert_eq!(codes(&loaded), [("warning", code)], "{line}");
        assert_eq!(loaded.agents.len(), 1, "{line}");
    }
}

/// Upstream: exactly four errors. Two of them follow from the others; here each mistake is reported once, the missing sources too.
#[test]
fn test_flume_configuration_channel_without_s() {
    let loaded = read("agent1.channels=c1\nagent1.channel.c1=cc1\n", Mode::Strict);
    assert_eq!(codes(&loaded), [("error", "FC1106"), ("error", "FC1102"), ("warning", "FC1006")]);
    assert!(loaded.agents.is_empty());
}

#[test]
fn test_agent_configuration_minimum() {
    let without = |kind: &str| -> String {
        let prefix = format!("agent1.{kind}");
        AGENT
            .lines()
            .filter(|line| !line.starts_with(&prefix))
            .map(|line| format!("{line}\n"))
            .collect()
    };
    let only_sinks = read(&without("sources"), Mode::Strict);
    assert_eq!(codes(&only_sinks), [("warning", "FC1108")]);
    assert_eq!(only_sinks.agents.len(), 1);
    let only_sources = read(&without("sinks"), Mode::Strict);
    assert_eq!(codes(&only_sources), [("warning", "FC1108")]);
    assert_eq!(only_sources.agents.len(), 1);
    for mode in [Mode::Strict, Mode::Lenient] {
        let no_channels = read(&without("channels"), mode);
        assert!(codes(&no_channels).contains(&("error", "FC1106")));
        assert!(no_channels.agents.is_empty());
        let neither = read("agent1.channels = c1\nagent1.channels.c1.type = memory\n", mode);
        assert!(codes(&neither).contains(&("error", "FC1106")));
    }
}

#[test]
fn test_source_configuration_properties_with_dots_are_kept() {
    let conf = format!(
        "{AGENT}\
agent1.sources.r1.interceptors = i1
agent1.sources.r1.interceptors.i1.type = org.apache.flume.interceptor.StaticInterceptor$Builder
agent1.sources.r1.interceptors.i1.key = a.b.c
agent1.sources.r1.selector.type = multiplexing
agent1.sources.r1.selector.mapping.x.y.z = c1
"
    );
    let loaded = read(&conf, Mode::Strict);
    assert_eq!(codes(&loaded), []);
    let source = &loaded.agents[0].sources[0];
    assert_eq!(source.interceptors[0].settings.text("key"), Some("a.b.c"));
    assert_eq!(source.interceptors[0].entry.names[0], "static");
    assert_eq!(source.selector.settings.text("mapping.x.y.z"), Some("c1"));
    assert_eq!(source.selector.entry.names[0], "multiplexing");
}

#[test]
fn test_source_configuration_selector_is_replicating_by_default() {
    let loaded = read(AGENT, Mode::Strict);
    assert_eq!(loaded.agents[0].sources[0].selector.entry.names[0], "replicating");
}

/// Upstream: the source and the sink are dropped, the others stay. So it is with `--lenient`; else it is an error.
#[test]
fn test_abstract_configuration_provider_batch_above_transaction_capacity() {
    let conf = format!("{AGENT}agent1.sinks.k1.batchSize = 101\n");
    let lenient = read(&conf, Mode::Lenient);
    assert_eq!(codes(&lenient), [("warning", "FC1104")]);
    assert_eq!((lenient.agents[0].sources.len(), lenient.agents[0].sinks.len()), (1, 0));
    let strict = read(&conf, Mode::Strict);
    assert_eq!(codes(&strict), [("error", "FC1104")]);
    assert!(strict.agents.is_empty());
}

#[test]
fn test_environment_lookup_in_a_value() {
    for text in ["${NC_PORT}", "${env:NC_PORT}", "${env:NOTHING:-6667}"] {
        let conf = AGENT.replace("port = 1", &format!("port = {text}"));
        let loaded = read(&conf, Mode::Strict);
        assert_eq!(loaded.agents[0].sources[0].component.settings.whole("port"), Ok(6667));
    }
}

#[test]
fn test_properties_file_configuration_provider_two_agents_in_one_file() {
    let conf =
        format!("{AGENT}{}", AGENT.replace("agent1", "agent2").replace("netcat", "nonsense"));
    let loaded = read(&conf, Mode::Strict);
    assert_eq!(loaded.diagnostics.count(Severity::Error), 0);
    assert_eq!(&*loaded.agents[0].name, "agent1");
    assert_eq!(loaded.agents.len(), 1);
}

#[test]
fn test_context_typed_getters_trim_and_fall_back() {
    let conf = AGENT.replace("port = 1", "port =   42\\t ")
        + "agent1.sources.r1.ack-every-event = False\n";
    let loaded = read(&conf, Mode::Strict);
    let settings = &loaded.agents[0].sources[0].component.settings;
    assert_eq!(settings.whole("port"), Ok(42));
    assert!(!settings.flag("ack-every-event"));
    assert_eq!(settings.whole("max-line-length"), Ok(512));
    assert_eq!(settings.text("keystore-password"), None);
}

#[test]
fn test_context_values_flume_replaces_are_gone_from_the_settings() {
    let loaded = read(&format!("{AGENT}agent1.channels.c1.capacity = zero\n"), Mode::Strict);
    assert_eq!(codes(&loaded), [("warning", "FC1008")]);
    assert_eq!(loaded.agents[0].channels[0].settings.whole("capacity"), Ok(100));
}
