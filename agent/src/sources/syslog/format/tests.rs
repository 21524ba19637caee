use super::*;
use crate::sources::syslog::frame::Framer;
use jiff::Zoned;
use proptest::prelude::*;

fn events(keep: &str, text: &[u8], now: Timestamp) -> Vec<Event> {
    let format = Format::in_utc(KeepFields::parse(keep), None);
    let mut burst = Burst::new(&format, now, None);
    let mut out = Vec::new();
    Framer::new(2500).feed(&Bytes::copy_from_slice(text), |message| {
        let event = burst.event(&message);
        assert_eq!(event, format.event(&message, now), "what came before changes nothing");
        out.push(event);
    });
    out
}

fn event(keep: &str, text: &str) -> Event {
    events(keep, text.as_bytes(), Timestamp::now()).remove(0)
}

fn header<'a>(event: &'a Event, key: &str) -> Option<&'a str> {
    event.headers.get(key)
}

fn body(event: &Event) -> &str {
    std::str::from_utf8(&event.body).unwrap()
}

fn millis(text: &str) -> String {
    text.parse::<Timestamp>().unwrap().as_millisecond().to_string()
}

const HOST: &str = "ubuntu-11.cloudera.com";

#[test]
fn test_syslog_utils_header_0_to_8_and_11() {
    for (stamp, host, time, named) in [
        ("2012-04-13T11:11:11+08:00", HOST, Some("2012-04-13T11:11:11+08:00"), true),
        ("1 2012-04-13T11:11:11", HOST, Some("2012-04-13T11:11:11Z"), true),
        ("1 2012-04-13T11:11:11Z", HOST, Some("2012-04-13T11:11:11Z"), true),
        ("1 2012-04-13T11:11:11+08:00", HOST, Some("2012-04-13T11:11:11+08:00"), true),
        ("1 -", HOST, None, true),
        ("1 2012-04-13T11:11:11", "-", Some("2012-04-13T11:11:11Z"), false),
        ("1 2012-04-13T11:11:11+08:00", "-", Some("2012-04-13T11:11:11+08:00"), false),
        ("1 2012-04-13T11:11:11.999", HOST, Some("2012-04-13T11:11:11.999Z"), true),
        // Flume would ignore the zone here.
        ("2014-10-03T17:20:01.123456-07:00", HOST, Some("2014-10-03T17:20:01.123-07:00"), true),
    ] {
        let event = event("none", &format!("<10>{stamp} {host} some msg\n"));
        assert_eq!(header(&event, "timestamp"), time.map(millis).as_deref(), "{stamp}");
        assert_eq!(header(&event, "host"), named.then_some(HOST));
        assert_eq!(
            (header(&event, "Facility"), header(&event, "Severity")),
            (Some("1"), Some("2"))
        );
        assert_eq!(
            (header(&event, "priority"), header(&event, "version")),
            (Some("10"), stamp.starts_with("1 ").then_some("1"))
        );
        assert_eq!((body(&event), header(&event, "flume.syslog.status")), ("some msg", None));
    }
}

#[test]
fn test_syslog_utils_header_9_and_10_and_apache_log_with_nulls() {
    let now: Zoned = "2026-03-10T12:00:00[UTC]".parse().unwrap();
    for data in ["some msg", "- hyphen_null_breaks_5424_pattern [07/Jun/2012:14:46:44 -0600]"] {
        for (stamp, time) in [
            ("Mar  9 08:07:06", "2026-03-09T08:07:06Z"),
            ("Dec 31 23:59:59", "2025-12-31T23:59:59Z"),
        ] {
            let text = format!("<10>{stamp} {HOST} {data}\r\n");
            let event = events("none", text.as_bytes(), now.timestamp()).remove(0);
            assert_eq!(header(&event, "timestamp"), Some(millis(time).as_str()));
            assert_eq!((header(&event, "host"), body(&event)), (Some(HOST), data));
        }
    }
}

#[test]
fn test_syslog_utils_bad_events() {
    for bad in [
        "<10F> bad bad data",
        "hi guys! <10> bad bad data",
        "<> bad bad data",
        "<123123123123123123123123123123> bad bad data",
    ] {
        // After a good one, whose priority Flume would give it.
        let text = format!("<30>1 2012-04-13T11:11:11Z h x\n{bad}\n");
        let event = events("none", text.as_bytes(), Timestamp::now()).remove(1);
        let headers: Vec<_> = event.headers.iter().collect();
        assert_eq!(
            headers,
            [("Facility", "0"), ("Severity", "0"), ("flume.syslog.status", "Invalid")]
        );
        assert_eq!(body(&event), bad);
    }
}

#[test]
fn test_syslog_utils_extract_good_event_without_a_pattern() {
    let event = event("none", "<20>Good really good data\n");
    let headers: Vec<_> = event.headers.iter().collect();
    assert_eq!(headers, [("Facility", "2"), ("Severity", "4")]);
    assert_eq!(body(&event), "<20>Good really good data");
}

#[test]
fn test_syslog_utils_keep_fields() {
    let text = format!("<10>1 2012-04-13T11:11:11+08:00 {HOST} some msg\n");
    let all = text.trim_end();
    for (keep, expected) in [
        ("none", "some msg".to_owned()),
        ("false", "some msg".to_owned()),
        ("hostname", format!("{HOST} some msg")),
        ("timestamp hostname", format!("2012-04-13T11:11:11+08:00 {HOST} some msg")),
        ("priority timestamp hostname", format!("<10>2012-04-13T11:11:11+08:00 {HOST} some msg")),
        ("Priority, VERSION timestamp hostname", all.to_owned()),
        ("all", all.to_owned()),
        ("true", all.to_owned()),
    ] {
        assert_eq!(body(&event(keep, &text)), expected, "{keep}");
    }
    assert_eq!(body(&event("hostname timestamp", "<10>1 - - x\n")), "- - x", "Flume writes null");
    let body_and_blank = event("priority version timestamp hostname", "<10>1- - x\n");
    assert_eq!(body(&body_and_blank), "<10>1 - - x", "longer than the message");
}

#[test]
fn test_syslog_parser_message_parsing() {
    for text in [
        "<34>Oct 11 22:14:15 mymachine su: 'su root' failed for lonvick on /dev/pts/8",
        "<13>Feb  5 17:32:18 10.0.0.99 Use the BFG!",
        "<165>Aug 24 05:34:00 CST 1987 mymachine myproc[10]: %% It's time to make the do-nuts.  %%  Ingredients: Mix=OK, Jelly=OK # %%",
        "<0>Oct 22 10:52:12 scapegoat 1990 Oct 22 10:52:01 TZ-6 scapegoat.dmz.example.org 10.1.2.3 sched[0]: That's All Folks!",
        "<34>1 2003-10-11T22:14:15.003Z mymachine.example.com su - ID47 - BOM'su root' failed for lonvick on /dev/pts/8",
        "<165>1 2003-08-24T05:14:15.000003-07:00 192.0.2.1 myproc 8710 - - %% It's time to make the do-nuts.",
        "<13>2003-08-24T05:14:15Z localhost snarf?",
        "<13>2012-08-16T14:34:03-08:00 127.0.0.1 test shnap!",
    ] {
        let line = format!("{text}\n");
        let plain = event("none", &line);
        assert_eq!(header(&plain, "flume.syslog.status"), None);
        assert!(
            header(&plain, "timestamp").is_some() && header(&plain, "host").is_some(),
            "{text}"
        );
        assert_eq!(body(&event("all", &line)), text);
        let host = event("hostname", &line);
        assert!(body(&host).starts_with(header(&host, "host").unwrap()));
    }
}

#[test]
fn an_empty_text_behind_the_host_gives_the_whole_message_as_flume_does() {
    assert_eq!(
        body(&event("none", "<10>1 2012-04-13T11:11:11Z h \n")),
        "<10>1 2012-04-13T11:11:11Z h "
    );
}

#[test]
fn bytes_that_are_no_text_stay_as_they_are() {
    let event = events("none", b"<10>1 - h caf\xE9\n", Timestamp::now()).remove(0);
    assert_eq!(&event.body[..], b"caf\xE9");
}

#[test]
fn a_burst_reads_a_head_once_and_every_text() {
    let texts = ["a", "b\rc", "", "d", "- e"];
    let burst: String =
        texts.iter().map(|text| format!("<10>1 2012-04-13T11:11:11Z h {text}\n")).collect();
    let events = events("none", format!("{burst}<11>1 - h f\n").as_bytes(), Timestamp::now());
    let bodies: Vec<_> = events.iter().map(body).collect();
    let whole = "<10>1 2012-04-13T11:11:11Z h ";
    assert_eq!(bodies, ["a", &format!("{whole}b\rc"), whole, "d", "- e", "f"]);
    assert_eq!(header(&events[3], "host"), Some("h"));
    assert_eq!(header(&events[5], "priority"), Some("11"));
}

proptest! {
    #[test]
    fn a_burst_makes_the_events_that_its_messages_make_alone(
        lines in prop::collection::vec("<[12]{1,3}>(1 )?(2012-04-13T11:11:1[12]Z|Apr 13 11:11:11|-) [ab-] ?[ab\r-]{0,3}", 1..6),
    ) {
        // The helper compares.
        let events = events("none", format!("{}\n", lines.join("\n")).as_bytes(), Timestamp::UNIX_EPOCH);
        prop_assert_eq!(events.len(), lines.len());
    }

    #[test]
    fn no_message_makes_it_panic(
        stamp in "[0-9T:.+Z-]{0,30}|[A-Z][a-z]{2} [ 0-9]{1,3} [0-9:]{5,9}",
        rest in r"[a-z-]{0,3} .{0,9}",
        priority in "[0-9]{0,4}",
    ) {
        for version in ["", "1 "] {
            let text = format!("<{priority}>{version}{stamp} {rest}\n");
            events("timestamp", text.as_bytes(), Timestamp::now());
        }
    }

    #[test]
    fn no_number_in_a_time_makes_it_panic(
        numbers in prop::collection::vec(0_u32..100, 7),
        year in 0_u32..10_000,
        fraction in 0_u32..1_000_000,
        sign in prop::sample::select(&["+", "-"][..]),
    ) {
        let [month, day, hour, minute, second, hours, minutes] = numbers[..] else { unreachable!() };
        let date = format!("{year:04}-{month:02}-{day:02}");
        let time = format!("{hour:02}:{minute:02}:{second:02}.{fraction}{sign}{hours:02}:{minutes:02}");
        let event = event("none", &format!("<10>1 {date}T{time} h x\n"));
        prop_assert_eq!(body(&event), "x");
    }
}
