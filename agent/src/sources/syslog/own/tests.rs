use super::*;
use crate::{
    component::Gravity,
    sources::syslog::{TCP, UDP, format::*, frame::Framer},
    testing::settings,
};
use fchannel::Event;

const NOW: &str = "2026-03-10T12:00:00Z";

/// What comes out under these keys.
fn event(keys: &[(&str, &str)], message: &[u8]) -> Event {
    let mut all = vec![("port", "0")];
    all.extend(keys);
    let settings = settings(&TCP, &all);
    assert_eq!(Own::problems(&settings), []);
    let keep = KeepFields::parse(settings.text("keepFields").unwrap());
    let format = Format::in_utc(keep, Own::of(&settings));
    let mut out = Vec::new();
    let line = [message, b"\n"].concat();
    Framer::new(2500).feed(&line.into(), |message| {
        out.push(format.event(&message, NOW.parse().unwrap()));
    });
    out.remove(0)
}

/// The headers without the two that every event has, in the order of their names, and the body.
fn seen(event: &Event) -> (String, String) {
    let mut headers: Vec<_> = event
        .headers
        .iter()
        .filter(|(name, _)| !["Facility", "Severity"].contains(name))
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    headers.sort();
    (headers.join(" "), String::from_utf8_lossy(&event.body).into_owned())
}

const ROUTER: &[(&str, &str)] = &[
    (
        "format.regex",
        r"\<(\d{1,3})\>(\d)?\s?(\d{4}/\d{2}/\d{2} \d{2}h\d{2}:\d{2}(?:\.\d+)?)\s([\w.-]+):\s(.*)",
    ),
    ("format.search", r"(\d{2})h"),
    ("format.replace", "$1:"),
    ("format.dateFormat", "yyyy/MM/dd HH:mm:ss"),
    ("keepFields", "timestamp hostname"),
];

/// Seen on Flume 1.11 with the same keys, but for the priority of a message before that no format fits.
#[test]
fn a_format_of_ones_own_is_tried_first_as_in_flume() {
    for (message, headers, body) in [
        (
            "<10>1 2024/03/05 06h07:08 web-1: hello",
            "host=web-1 priority=10 timestamp=1709618828000 version=1",
            "2024/03/05 06h07:08 web-1 hello",
        ),
        (
            "<10>2024/03/05 06h07:08.5 web-1: x",
            "host=web-1 priority=10 timestamp=1709618828000",
            "2024/03/05 06h07:08.5 web-1 x",
        ),
        (
            "<10>2024/03/05 06h07:08 web-1: ",
            "host=web-1 priority=10 timestamp=1709618828000",
            "2024/03/05 06h07:08 web-1 ",
        ),
        (
            "<10>1 2012-04-13T11:11:11Z h builtin",
            "host=h priority=10 timestamp=1334315471000 version=1",
            "2012-04-13T11:11:11Z h builtin",
        ),
        ("<10>nothing fits", "", "<10>nothing fits"),
        (
            "2024/03/05 06h07:08 web-1: bad",
            "flume.syslog.status=Invalid",
            "2024/03/05 06h07:08 web-1: bad",
        ),
    ] {
        let event = event(ROUTER, message.as_bytes());
        assert_eq!(seen(&event), (headers.to_owned(), body.to_owned()), "{message}");
    }
}

#[test]
fn without_a_fifth_group_the_body_is_the_whole_message() {
    let keys = [
        ("format.regex", r"<(\d+)>\[(\w*)\](.*?) ([^ ]+)"),
        ("format.dateFormat", "MMM d HH:mm:ss"),
        ("keepFields", "priority hostname"),
    ];
    for (message, headers) in [
        // Flume: of 1970.
        ("<10>[v]Mar  9 08:07:06 h1", "host=h1 priority=10 timestamp=1773043626000 version=v"),
        ("<10>[]never h2", "host=h2 priority=10"),
        ("<10>[]Mar  9 08:07:06 h\u{e9}", "host=h\u{e9} priority=10 timestamp=1773043626000"),
    ] {
        let event = event(&keys, message.as_bytes());
        assert_eq!(seen(&event), (headers.to_owned(), message.to_owned()));
    }
}

#[test]
fn bytes_that_are_no_text_match_and_stay_as_they_are() {
    let keys = [("format.regex", r"<(\d+)>()()(.{2}) (.*)")];
    let event = event(&keys, b"<10>\xE9\xFF caf\xE9 \xC3\xA9\xFF!");
    assert_eq!(&event.body[..], b"caf\xE9 \xC3\xA9\xFF!");
    assert_eq!(event.headers.get("host"), Some("\u{FFFD}\u{FFFD}"));
}

fn problems(keys: &[(&str, &str)]) -> Vec<Problem> {
    let mut all = vec![("port", "0")];
    all.extend(keys);
    let settings = settings(&UDP, &all);
    let problems = Own::problems(&settings);
    let is_refused = problems.iter().any(|problem| problem.gravity == Gravity::Refused);
    assert_eq!(crate::sources::syslog::Maker::new(&settings).is_err(), is_refused);
    problems
}

#[test]
fn what_cannot_be_honoured_is_refused_and_what_does_nothing_is_said() {
    let regex = ("format.regex", r"<(\d+)>(\d)?(\S+) (\S+) (.*)");
    for (key, value, why) in [
        ("format.regex", r"<(\d+)>(?!x).*", "look-around"),
        ("format.search", "(", "unclosed"),
        ("format.search", "x", "drops every message"),
        ("format.dateFormat", "YYYY-MM-dd", "year of a week"),
    ] {
        let mut keys = vec![regex, (key, value)];
        if key == "format.regex" {
            keys.remove(0);
        }
        if value == "(" {
            keys.push(("format.replace", "x"));
        }
        let found = problems(&keys);
        assert_eq!((found.len(), found[0].key.as_str()), (1, key), "{found:?}");
        assert!(found[0].message.contains(why) && found[0].help.is_some(), "{found:?}");
        assert_eq!(found[0].gravity, Gravity::Refused);
    }
    let replace = [regex, ("format.search", "(a)"), ("format.replace", "$2")];
    assert!(problems(&replace)[0].message.contains("group"));
    for keys in [
        &[("format.dateFormat", "yyyy")][..],
        &[regex, ("format.replace", "x")],
        &[("format.regex", "<.*"), ("format.dateFormat", "yyyy")],
    ] {
        let found = problems(keys);
        assert_eq!((found.len(), found[0].gravity), (1, Gravity::NoEffect), "{found:?}");
    }
}
