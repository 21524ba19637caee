//! What an operator reads when a conf is wrong, word for word.

#[path = "support/registry.rs"]
mod support;

use fchannel_agent::config::{Loaded, Mode, Request, Severity, load, render};

fn env(name: &str) -> Option<String> {
    match name {
        "HOME" => Some("/home/flume".to_owned()),
        "EMPTY" => Some(String::new()),
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

/// Its own lines of a rendered text, and whether the conf could run.
fn heads(text: &str) -> Vec<&str> {
    text.lines().filter(|line| line.starts_with("error[") || line.starts_with("warning[")).collect()
}

#[test]
fn five_mistakes_are_five_diagnostics_in_the_order_of_the_file() {
    let (loaded, text) = check_as(FIVE, Some("a1"), Mode::Strict);
    assert!(loaded.agents.is_empty());
    assert_eq!(loaded.diagnostics.summary(), "5 errors, 0 warnings");
    assert_eq!(
        text,
        "\
error[FC1007]: `a1.sources.r1.port` is out of range
 --> flume.conf:6:22
  |
6 | a1.sources.r1.port = 444444
  |                      ^^^^^^ expected a whole number from 0 to 65535

error[FC1107]: a transaction of channel `c1` may hold more than the channel
  --> flume.conf:10:38
   |
 9 | a1.channels.c1.capacity = 1000
   |                           ---- `capacity`: 1000
10 | a1.channels.c1.transactionCapacity = 10000
   |                                      ^^^^^ `transactionCapacity`: 10000
   |
   = help: raise `capacity` or lower `transactionCapacity`

error[FC1310]: Flume's `hdfs` sink is not available in this build
  --> flume.conf:11:20
   |
11 | a1.sinks.k1.type = hdfs
   |                    ^^^^ not available
   |
   = help: `fchannel components` lists what is

error[FC1103]: sink `k2` lacks the required property `sink.directory`
  --> flume.conf:13:20
   |
13 | a1.sinks.k2.type = file_roll
   |                    ^^^^^^^^^ `file_roll` needs `sink.directory`
   |
   = help: `sink.directory`: An existing directory.

error[FC1105]: sink `k2` needs channel `c2`, which is not listed
  --> flume.conf:14:23
   |
14 | a1.sinks.k2.channel = c2
   |                       ^^ not among the agent's channels
   |
   = help: did you mean `c1`?

"
    );
}

#[test]
fn each_kind_of_mistake_has_its_code() {
    let expected = [
        "warning[FC1005]: `r1` stands twice in `a1.sources`",
        "error[FC1102]: source `r9` has no properties",
        "warning[FC1108]: channel `c3` is used by no source and no sink",
        "error[FC1115]: sink `k1` has no `channel`",
        "error[FC1102]: sink `k3` has no `type`",
        "warning[FC1006]: `a1.source.r1.x` belongs to no component",
        "warning[FC1006]: `nodot` belongs to no agent",
        "error[FC1104]: batches of source `r1` are larger than the transactions of channel `c1`",
        "warning[FC1011]: `a1.sources.r1.fileHeader` counts as `false`",
        "error[FC1105]: source `r1` needs channel `cc2`, which is not listed",
        "error[FC1102]: interceptor `i2` of source `r1` has no `type`",
        "error[FC1007]: `a1.sources.r1.interceptors.i1.regex` is not a regular expression that this build knows",
        "warning[FC1012]: interceptor `i3` of source `r1` has properties but is not listed",
        "error[FC1320]: the Java class `com.example.MySource` cannot be loaded",
        "error[FC1105]: the selector of source `r2` names `c7`, which is not one of its channels",
        "warning[FC1004]: `a1.channels.c1.capacity` is set twice",
        "warning[FC1008]: `a1.channels.c1.capacity` is replaced by the default 100",
        "warning[FC1002]: unknown property `a1.channels.c2.checkpointIntervall`",
        "error[FC1112]: channel `c3` and channel `c2` share a directory",
        "warning[FC1009]: `${env:NOWHERE}` cannot be resolved",
        "error[FC1007]: `a1.sinks.k1.sink.pathManager` is none of the values there are",
        "error[FC1310]: there is no sink type `seq`",
        "error[FC1115]: sink `k2` has more than one channel",
        "warning[FC1012]: `k4` has properties but is not in `a1.sinks`",
        "error[FC1310]: sink groups are not available in this build",
        "warning[FC1002]: unknown property `a1.sinks.k1.password`",
    ];
    let text = check(KITCHEN);
    let found = heads(&text);
    assert_eq!(found, expected, "{text}");
}

#[test]
fn a_label_in_a_continued_line_points_into_that_line() {
    let text = check(KITCHEN);
    assert!(
        text.contains(" --> flume.conf:13:8\n   |\n13 |     c2 cc2\n   |        ^^^ not among"),
        "{text}"
    );
}

#[test]
fn a_batch_larger_than_the_transaction_shows_both_lines_and_no_value_of_the_environment() {
    let text = check(SOUND);
    assert_eq!(text, "");
    let text = check(&SOUND.replace("batchSize = 100", "batchSize = ${env:BATCH}"));
    assert_eq!(
        text,
        "\
error[FC1104]: batches of sink `k1` are larger than the transactions of channel `c1`
  --> flume.conf:12:25
   |
 9 | a1.channels.c1.type = memory
   |                       ------ `transactionCapacity`: 100 by default
...
12 | a1.sinks.k1.batchSize = ${env:BATCH}
   |                         ^^^^^^^^^^^^ `batchSize`: events per take transaction, ${env:BATCH}
   |
   = help: lower `batchSize`, or raise `transactionCapacity` of the channel
   = note: Flume leaves it out

"
    );
}

const SOUND: &str = "# sound
a1.sources = r1
a1.channels = c1
a1.sinks = k1
a1.sources.r1.type = seq
a1.sources.r1.channels = c1
a1.sources.r1.interceptors = i1
a1.sources.r1.interceptors.i1.type = timestamp
a1.channels.c1.type = memory
a1.sinks.k1.type = null
a1.sinks.k1.channel = c1
a1.sinks.k1.batchSize = 100
";

#[test]
fn a_misspelled_required_property_is_one_mistake() {
    let conf = SOUND.replace("type = null", "type = file_roll\na1.sinks.k1.sink.directry = /x");
    let text = check(&conf.replace("a1.sinks.k1.batchSize = 100\n", ""));
    assert_eq!(
        heads(&text),
        ["error[FC1103]: sink `k1` lacks the required property `sink.directory`"]
    );
    assert!(
        text.contains(
            "a1.sinks.k1.sink.directry = /x\n   | ------------------------- did you mean"
        ),
        "{text}"
    );
}

#[test]
fn an_unknown_agent_is_an_error_that_lists_the_agents_there_are() {
    let text = check_as(SOUND, Some("a2"), Mode::Strict).1;
    assert_eq!(
        text,
        "\
error[FC1101]: there is no agent `a2` in the file
  --> flume.conf
   = help: did you mean `-n a1`?
   = note: agents in the file: `a1`

"
    );
}

#[test]
fn errors_of_other_agents_are_reported_only_when_all_are_asked_for() {
    let conf = format!("{SOUND}a2.channels = c1\na2.sinks = k1\n");
    assert_eq!(check(&conf), "");
    let (loaded, text) = check_as(&conf, None, Mode::Strict);
    assert!(loaded.agents.is_empty());
    assert!(text.contains("channel `c1` has no properties"), "{text}");
    let (loaded, _) = check_as(SOUND, None, Mode::Strict);
    assert_eq!(loaded.agents.len(), 1);
}

#[test]
fn lenient_runs_what_is_sound_and_names_what_it_leaves_out() {
    let conf = SOUND
        .replace("a1.sinks = k1", "a1.sinks = k1 k2")
        .replace("a1.channels = c1", "a1.channels = c1 c2")
        .replace("r1.channels = c1", "r1.channels = c1 c2");
    let conf = format!(
        "{conf}a1.channels.c2.type = jdbc\na1.sinks.k2.type = logger\na1.sinks.k2.channel = c2\n"
    );
    let (loaded, text) = check_as(&conf, Some("a1"), Mode::Lenient);
    assert_eq!(loaded.diagnostics.count(Severity::Error), 0, "{text}");
    assert!(text.contains("= note: `--lenient` goes on without channel `c2`"), "{text}");
    let agent = &loaded.agents[0];
    assert_eq!(agent.channels.len(), 1);
    assert_eq!(agent.sources[0].channels.len(), 1);
    assert_eq!(agent.sinks.len(), 1);
    assert!(check_as(&conf, Some("a1"), Mode::Strict).0.agents.is_empty());
}

#[test]
fn lenient_does_not_run_an_agent_of_which_nothing_is_left() {
    let conf = SOUND.replace("c1.type = memory", "c1.type = kafka");
    let (loaded, text) = check_as(&conf, Some("a1"), Mode::Lenient);
    assert!(loaded.agents.is_empty());
    assert!(text.contains("error[FC1106]: nothing of agent `a1` is left to run"), "{text}");
}

#[test]
fn a_malformed_escape_is_an_error_in_both_modes() {
    let conf = format!("{SOUND}a1.sinks.k1.logEveryNEvents = 1\\u00x0\n");
    for mode in [Mode::Strict, Mode::Lenient] {
        let (loaded, text) = check_as(&conf, Some("a1"), mode);
        assert!(loaded.agents.is_empty());
        assert!(text.contains("error[FC1001]") && text.contains("^^^^ malformed escape"), "{text}");
    }
}

#[test]
fn values_that_need_the_environment_say_so_when_they_are_wrong() {
    let text = check(&SOUND.replace("batchSize = 100", "batchSize = ${env:NOWHERE}"));
    assert_eq!(heads(&text), ["error[FC1007]: `a1.sinks.k1.batchSize` is not a whole number"]);
    assert!(text.contains("= note: the `${...}` in it cannot be resolved"), "{text}");
}

#[test]
fn a_serializer_that_there_is_not_is_an_error_of_its_sink() {
    let conf = SOUND.replace("type = null", "type = file_roll\na1.sinks.k1.sink.directory = /x\na1.sinks.k1.sink.serializer = avro_event");
    let text = check(&conf.replace("a1.sinks.k1.batchSize = 100\n", ""));
    assert_eq!(
        heads(&text),
        ["error[FC1310]: Flume's `avro_event` serializer is not available in this build"]
    );
}

#[test]
fn a_variable_that_is_empty_is_an_empty_value() {
    let text = check(&SOUND.replace("batchSize = 100", "batchSize = ${env:EMPTY}"));
    assert_eq!(heads(&text), ["warning[FC1003]: `a1.sinks.k1.batchSize` has no value"]);
    assert!(text.contains("^^^^^^^^^^^^ stands for nothing"), "{text}");
}

#[test]
fn channels_share_a_directory_however_it_is_written() {
    let file = "a1.channels.c1.type = file\na1.channels.c2.type = file\na1.channels.c1.checkpointDir = /a\n\
        a1.channels.c2.checkpointDir = /b\na1.channels.c1.dataDirs = /x,/y/./z//\na1.channels.c2.dataDirs = /w, ";
    for (dir, is_shared) in
        [("/y/z", true), ("/a", true), ("/y", false), ("/y/z2", false), ("~/../x", false)]
    {
        let conf = SOUND
            .replace("a1.channels = c1", "a1.channels = c1 c2")
            .replace("r1.channels = c1", "r1.channels = c1 c2")
            .replace("a1.channels.c1.type = memory", &format!("{file}{dir}"));
        let text = check_as(&conf, Some("a1"), Mode::Strict).1;
        assert_eq!(
            text.contains("error[FC1112]: channel `c2` and channel `c1` share a directory"),
            is_shared,
            "{text}"
        );
    }
}

#[test]
fn keys_used_by_lookups_are_no_mistakes() {
    let conf = SOUND.replace("batchSize = 100", "batchSize = ${base.batch}");
    assert_eq!(check(&format!("base.batch = ${{size}}\nsize = 50\n{conf}")), "");
    let text = check_as(&format!("base.batch = 50\n{conf}"), None, Mode::Strict).1;
    assert_eq!(text, "");
}

#[test]
fn long_lines_are_cut_around_the_label_and_control_characters_are_visible() {
    let long = "x".repeat(100_000);
    let text = check(&format!("{SOUND}a1.sinks.k1.y = \u{1b}[31m\na1.sinks.k1.{long} = 1\n"));
    assert!(text.lines().all(|line| line.chars().count() < 250), "{text}");
    assert!(text.contains("a1.sinks.k1.y = \u{241b}[31m"), "{text}");
}

#[test]
fn carets_stand_under_their_word_behind_tabs_and_masks() {
    let text =
        check(&SOUND.replace("a1.sinks.k1.batchSize = 100", "\ta1.sinks.k1.batchSize\t=\tmany"));
    assert!(
        text.contains(
            "12 |     a1.sinks.k1.batchSize    =    many\n   |                                   ^^^^ expected"
        ),
        "{text}"
    );
}

#[test]
fn colour_only_repeats_what_the_text_says() {
    let (loaded, plain) = check_as(KITCHEN, Some("a1"), Mode::Strict);
    let colored = render(&loaded.diagnostics, true);
    assert!(colored.starts_with("\u{1b}[1;33mwarning[FC1005]\u{1b}[0m\u{1b}[1m: "));
    let styles = ["\u{1b}[1m", "\u{1b}[1;31m", "\u{1b}[1;33m", "\u{1b}[1;34m", "\u{1b}[0m"];
    assert_eq!(styles.iter().fold(colored, |text, style| text.replace(style, "")), plain);
}

#[test]
fn a_file_of_nothing_but_mistakes_is_read_in_linear_time() {
    let names: Vec<String> = (0..60_000).map(|n| format!("k{n}")).collect();
    let conf = format!(
        "a1.channels = c1\na1.sinks = {}\n{}",
        names.join(" "),
        "a1.sinks.k1.type = x\n".repeat(20_000)
    );
    let (loaded, text) = check_as(&conf, Some("a1"), Mode::Strict);
    assert!(loaded.diagnostics.count(Severity::Error) > 59_000);
    assert!(text.contains("more findings are not shown"));
    let nested = format!("a1.x = {}{}", "${".repeat(200_000), "}".repeat(200_000));
    assert!(check(&nested).len() < 10_000);
}

mod secrets {
    use super::{Mode, SOUND, check_as};
    use proptest::prelude::*;

    fn assert_hidden(conf: &str, secrets: &[&str]) {
        for (agent, mode) in [(Some("a1"), Mode::Strict), (None, Mode::Lenient)] {
            let (loaded, text) = check_as(conf, agent, mode);
            let all = format!("{text}{:?}", loaded.diagnostics.items());
            for secret in secrets {
                assert!(!all.contains(secret), "{secret} in:\n{text}");
            }
        }
    }

    #[test]
    fn a_secret_is_masked_wherever_a_label_shows_its_line() {
        let (_, text) =
            check_as(&format!("{SOUND}a1.sinks.k1.passwd = hunter2\n"), Some("a1"), Mode::Strict);
        assert!(
            text.contains("13 | a1.sinks.k1.passwd = ***\n   | ^^^^^^^^^^^^^^^^^^ `null` has no"),
            "{text}"
        );
        for line in [
            "a1.sinks.k1.password = hunter2",
            "a1.sinks.k1.password hunter2",
            "a1.sinks.k1.password\\=hunter2",
            "a1.sinks.k1.password\\ hunter2 = x",
            "a1.sinks.k1.password = x\\\n   hunter2\\\n hunter2",
            "a1.sinks.k1.password = hunter2\na1.sinks.k1.password = hunter2",
            "a1.sinks.password = hunter2",
            "a1.password = hunter2",
            "a1.sinks.k1.password = x\\\n   hunter2 \\u12",
            "a1.sources.r1.type = netcat\na1.sources.r1.pin = x\\\n hunter2 ${nothing} hunter2",
            "password = hunter2",
            "a1.sinks.k1.pa\\u0073sword = \\u12 hunter2",
            "a1.sinks.k1.url = http://me:hunter2@host/",
            "a1.sinks.k1.kafka.x = a;password=\"hunter2\"",
            "a1.sinks.k1.secret = ${nothing:hunter2}",
            "a1.sinks.k1.tokens = hunter2 hunter2\na1.sinks.k1.token = ${a1.sinks.k1.tokens}",
            "a1.sources.r1.interceptors.i1.secret = hunter2",
            "a1.sources.r1.selector.secret = hunter2",
            "a1.sources.r7.pin = hunter2",
            "a1.sinks.k9.keystore-pasword = hunter2",
        ] {
            assert_hidden(&format!("{SOUND}{line}\n"), &["hunter2"]);
        }
    }

    #[test]
    fn what_the_environment_says_is_never_shown() {
        let secret = "s3cr3t-from-env";
        for (from, to) in [
            ("batchSize = 100", "batchSize = ${env:PASSWORD}"),
            ("type = null", "type = ${env:PASSWORD}"),
            ("k1.channel = c1", "k1.channel = ${env:PASSWORD}"),
            ("a1.sinks = k1", "a1.sinks = ${PASSWORD} ${PASSWORD}"),
            ("r1.channels = c1", "r1.channels = c1 ${env:PASSWORD}"),
            ("interceptors = i1", "interceptors = ${env:PASSWORD}"),
            (
                "i1.type = timestamp",
                "i1.type = regex_filter\na1.sources.r1.interceptors.i1.regex = (${env:PASSWORD}",
            ),
        ] {
            let conf = SOUND.replace(from, to);
            assert_ne!(conf, SOUND);
            assert!(check_as(&conf, Some("a1"), Mode::Strict).0.diagnostics.has_errors());
            assert_hidden(&conf, &[secret]);
        }
    }

    proptest! {
        #[test]
        fn no_part_of_a_secret_is_shown(
            key in "(a1\\.)?(sinks\\.k1\\.|sources\\.r1\\.|x\\.)?[a-z]{0,3}(password|Secret|api-key|token)",
            separator in "( |=|:| = |\\t: ?)",
            breaks in prop::collection::vec(0_usize..3, 6),
            tail in "[a-z\\\\ \t=:$\\{\\}u]{0,12}",
        ) {
            let gaps = ["", "\\\n   ", "\\\r\n\t"];
            let value: String = breaks.iter().map(|gap| format!("QZ7QZ{}", gaps[*gap])).collect();
            let conf = format!("{SOUND}{key}{separator}{value}{tail}\na1.sinks = k1");
            assert_hidden(&conf, &["QZ7", "7QZ"]);
        }
    }
}

mod never_panics {
    use super::{Mode, check_as, env, load, render, support};
    use fchannel_agent::config::Request;
    use proptest::prelude::*;

    const WORDS: &[&str] = &[
        "a1",
        "a1.sources",
        "a1.channels",
        "a1.sinks",
        "a1.sources.r1",
        "a1.channels.c1",
        "a1.sinks.k1",
        ".type",
        ".channels",
        ".channel",
        ".interceptors",
        ".interceptors.i1.type",
        ".selector.type",
        ".selector.mapping.x",
        ".batchSize",
        ".capacity",
        ".transactionCapacity",
        ".dataDirs",
        ".password",
        "r1",
        "c1",
        "k1",
        "i1",
        "seq",
        "memory",
        "file",
        "null",
        "multiplexing",
        "static",
        " = ",
        "=",
        ":",
        " ",
        "\n",
        "\n",
        "\n",
        "\\\n",
        "\r\n",
        "\\",
        "\\u00e9",
        "\\ud83d",
        "\\u",
        "${",
        "${env:HOME}",
        "${a1.sources}",
        "}",
        ":-",
        "$",
        "#",
        "!",
        ".",
        "ü",
        "\u{1f600}",
        "\t",
        "-1",
        "99999999999999999999",
        "~",
        "/x",
        ",",
        "\u{feff}",
    ];

    proptest! {
        #[test]
        fn on_any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let registry = support::registry();
            let request = Request { file_name: "x", agent: None, mode: Mode::Lenient, registry: &registry, env: &env };
            prop_assert!(!render(&load(&bytes, &request).diagnostics, true).is_empty());
        }

        #[test]
        fn on_anything_that_looks_like_a_conf(words in prop::collection::vec(prop::sample::select(WORDS), 0..120)) {
            let conf = words.concat();
            check_as(&conf, None, Mode::Strict);
            check_as(&conf, Some("a1"), Mode::Lenient);
        }
    }
}
