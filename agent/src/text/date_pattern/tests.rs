use super::*;
use proptest::prelude::*;

fn read(pattern: &str, text: &str) -> String {
    let now = "2026-03-10T12:00:00Z".parse().unwrap();
    let found = DatePattern::new(pattern).unwrap().read(text, now, &TimeZone::UTC);
    found.map_or("-".to_owned(), |found| found.to_string())
}

/// What Java 17 makes of each.
const AS_IN_JAVA: &[(&str, &str, &str)] = &[
    ("yyyy/MM/dd HH:mm:ss", "2024/03/05 06:07:08", "2024-03-05T06:07:08Z"),
    ("yyyy/MM/dd HH:mm:ss", "2024/3/5 6:7:8 trailing", "2024-03-05T06:07:08Z"),
    ("yyyy/MM/dd HH:mm:ss", "  2024/ 3/ 5  6:7:8", "2024-03-05T06:07:08Z"),
    ("yy-M-d", "24-12-31", "2024-12-31T00:00:00Z"),
    ("yy-M-d", "77-1-1", "1977-01-01T00:00:00Z"),
    ("yy-M-d", "2024-1-1", "2024-01-01T00:00:00Z"),
    ("y-M-d", "24-1-1", "2024-01-01T00:00:00Z"),
    ("d.M.yy", "1.2.24", "2024-02-01T00:00:00Z"),
    ("MMM d yyyy HH:mm:ss", "Oct 11 2003 22:14:15", "2003-10-11T22:14:15Z"),
    ("MMM d yyyy HH:mm:ss", "october 11 2003 22:14:15", "2003-10-11T22:14:15Z"),
    ("MMMM d yyyy", "Oct 11 2003", "2003-10-11T00:00:00Z"),
    ("MMM d yyyy", "10 11 2003", "-"),
    ("LLL d yyyy", "May 1 2003", "2003-05-01T00:00:00Z"),
    ("yyyyMMM d", "2024Oct 11", "2024-10-11T00:00:00Z"),
    ("MMMdd yyyy", "Oct11 2024", "2024-10-11T00:00:00Z"),
    ("ddMMMyyyy", "1Oct2024", "2024-10-01T00:00:00Z"),
    ("EEE MMM dd HH:mm:ss zzz yyyy", "Tue Oct 11 22:14:15 EST 2003", "2003-10-12T03:14:15Z"),
    ("EEE MMM dd HH:mm:ss z yyyy", "Tuesday Oct 11 22:14:15 CEST 2003", "2003-10-11T20:14:15Z"),
    ("EEE MMM dd HH:mm:ss Z yyyy", "Mon Oct 11 22:14:15 +0200 2003", "2003-10-11T20:14:15Z"),
    ("yyyy-MM-dd'T'HH:mm:ss.SSSZ", "2024-01-02T03:04:05.678-0130", "2024-01-02T04:34:05.678Z"),
    (
        concat!("yyyy-MM-dd'T'HH:mm:ss.SSSXX", "X"),
        "2024-01-02T03:04:05.678-01:30",
        "2024-01-02T04:34:05.678Z",
    ),
    (
        concat!("yyyy-MM-dd'T'HH:mm:ss.SSSXX", "X"),
        "2024-01-02T03:04:05.678Z",
        "2024-01-02T03:04:05.678Z",
    ),
    ("yyyy-MM-dd'T'HH:mm:ssX", "2024-01-02T03:04:05+02", "2024-01-02T01:04:05Z"),
    ("yyyy-MM-dd'T'HH:mm:ssX", "2024-01-02T03:04:05+0230", "2024-01-02T01:04:05Z"),
    ("yyyy-MM-dd'T'HH:mm:ssXX", "2024-01-02T03:04:05+0230", "2024-01-02T00:34:05Z"),
    ("yyyy-MM-dd'T'HH:mm:ssZ", "2024-01-02T03:04:05Z", "-"),
    ("yyyy-MM-dd'T'HH:mm:ssz", "2024-01-02T03:04:05GMT+2:30", "2024-01-02T00:34:05Z"),
    ("yyyy-MM-dd'T'HH:mm:ssz", "2024-01-02T03:04:05GMT", "2024-01-02T03:04:05Z"),
    ("yyyy-MM-dd'T'HH:mm:ssZ", "2024-01-02T03:04:05UTC", "2024-01-02T03:04:05Z"),
    ("yyyy-MM-dd'T'HH:mm:ssZ", "2024-01-02T03:04:05+02:30", "-"),
    ("yyyy-MM-dd'T'HH:mm:ssz", "2024-01-02T03:04:05 XYZ", "-"),
    ("yyyy-MM-dd HH:mm:ss z", "2024-01-02 03:04:05 msk", "2024-01-02T00:04:05Z"),
    ("yyyy-MM-ddZ", "2024-01-02+2400", "-"),
    ("yyyy-MM-ddZ", "2024-01-02+9", "-"),
    (concat!("yyyy-MM-ddXX", "X"), "2024-01-02+1:00", "-"),
    ("yyyy-MM-ddX", "2024-01-02z", "-"),
    ("yyyy-MM-dd HH:mm:ss,SSS", "2024-01-02 03:04:05,123", "2024-01-02T03:04:05.123Z"),
    ("yyyy-MM-dd HH:mm:ssSSS", "2024-01-02 03:04:05123", "2024-01-02T03:04:05.123Z"),
    ("yyyyMMddHHmmss", "20240102030405", "2024-01-02T03:04:05Z"),
    ("yyyyMMddHHmmssSSS", "20240102030405006", "2024-01-02T03:04:05.006Z"),
    ("yyyyMMddHHmmss", "202401020304", "-"),
    ("yyyyMMdd HHmm", "202401021 0304", "2024-01-21T03:04:00Z"),
    ("yyyyMMdd", "2024 1 2", "2024-01-02T00:00:00Z"),
    ("hh:mm:ss a dd/MM/yyyy", "11:30:00 PM 01/02/2024", "2024-02-01T23:30:00Z"),
    ("hh:mm:ss a dd/MM/yyyy", "12:30:00 am 01/02/2024", "2024-02-01T00:30:00Z"),
    ("h:mm dd/MM/yyyy", "12:30 01/02/2024", "2024-02-01T00:30:00Z"),
    ("KK:mm a dd/MM/yyyy", "11:30 PM 01/02/2024", "2024-02-01T23:30:00Z"),
    ("kk:mm dd/MM/yyyy", "24:30 01/02/2024", "2024-02-01T00:30:00Z"),
    ("HH:mm a dd/MM/yyyy", "11:30 PM 01/02/2024", "2024-02-01T11:30:00Z"),
    ("a dd/MM/yyyy", "PM 01/02/2024", "2024-02-01T12:00:00Z"),
    ("hh:mm HH dd/MM/yyyy", "11:30 13 01/02/2024", "2024-02-01T13:30:00Z"),
    ("yyyy-MM-dd", "2024-02-31", "2024-03-02T00:00:00Z"),
    ("yyyy-MM-dd", "2024-13-01", "2025-01-01T00:00:00Z"),
    ("yyyy-MM-dd", "2024-00-10", "2023-12-10T00:00:00Z"),
    ("yyyy-MM-dd", "2024-01-00", "2023-12-31T00:00:00Z"),
    ("yyyy-MM-dd HH", "2024-01-01 25", "2024-01-02T01:00:00Z"),
    ("yyyy-MM-dd HH", "2024-01-02   03", "2024-01-02T03:00:00Z"),
    ("yyyy-MM-dd   HH", "2024-01-02 03", "-"),
    ("yyyy-MM-dd", "2024-01", "-"),
    ("'at' yyyy", "at 2024", "2024-01-01T00:00:00Z"),
    ("''yyyy''", "'2024'", "2024-01-01T00:00:00Z"),
    ("yyyy 'o''clock'", "2024 o'clock", "2024-01-01T00:00:00Z"),
];

#[test]
fn dates_are_read_as_java_reads_them() {
    for (pattern, text, expected) in AS_IN_JAVA {
        assert_eq!(read(pattern, text), *expected, "{text} by {pattern}");
    }
}

#[test]
fn a_fraction_is_a_fraction() {
    for (pattern, fraction, expected) in [
        ("ss.S", "5", "05.5Z"),
        ("ss.SSS", "123456", "05.123Z"),
        ("ss.SSSSSSZ", "678901+0000", "05.678Z"),
        ("ss,SSS", "7", "05.7Z"),
    ] {
        let point = &pattern[2..3];
        let text = format!("2024-01-02 03:04:05{point}{fraction}");
        let expected = format!("2024-01-02T03:04:{expected}");
        assert_eq!(read(&format!("yyyy-MM-dd HH:mm:{pattern}"), &text), expected);
    }
}

#[test]
fn without_a_year_it_is_the_nearest_one() {
    assert_eq!(read("MMM d HH:mm", "Mar  9 08:07"), "2026-03-09T08:07:00Z");
    assert_eq!(read("dd/MM HH:mm z", "31/12 23:59 PST"), "2026-01-01T07:59:00Z");
}

#[test]
fn a_pattern_that_cannot_be_honoured_is_an_error() {
    for (pattern, why) in [
        ("yyyy 'open", "not closed"),
        ("yyyy b", "`b` is no letter"),
        (concat!("yyyyXX", "XX"), "three `X`"),
        ("YYYY-MM-dd", "year of a week"),
        ("yyyy.DDD", "`D` is not supported"),
        ("HH:mm:ss", "neither a year nor a month"),
        ("EEE, yyyy-MM", "day of the week"),
        ("", "neither"),
    ] {
        let error = DatePattern::new(pattern).unwrap_err();
        assert!(error.contains(why), "{pattern}: {error}");
    }
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(
        pattern in "([yMLdEHkhKamsSzZX]{1,4}|[ :/.-]|'[T']'){1,8}",
        text in "([0-9]{1,12}|[ :/.+-]|Oct|PM|GMT|é){0,12}",
    ) {
        if let Ok(pattern) = DatePattern::new(&pattern) {
            pattern.read(&text, Timestamp::now(), &TimeZone::UTC);
        }
    }
}
