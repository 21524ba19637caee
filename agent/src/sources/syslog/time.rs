//! The two kinds of time stamps, read as leniently as Java does: a 31st of February is a 3rd of March.

use crate::text::calendar::{Civil, MONTHS};
use jiff::{Timestamp, tz::Offset, tz::TimeZone};

/// `yyyy-MM-ddTHH:mm:ss`, perhaps a fraction, perhaps `Z` or `±hh:mm`; in `local` time without a zone. Digits are where the pattern of
/// [`super::format`] wants them. Unlike in Flume a fraction is a fraction, and a zone counts beside it.
pub(super) fn rfc5424(text: &str, local: &TimeZone) -> Option<Timestamp> {
    let number = |from: usize, len: usize| text.get(from..from + len)?.parse::<i64>().ok();
    let mut rest = text.get(19..)?;
    let mut millis = 0;
    if let Some(fraction) = rest.strip_prefix('.') {
        let digits = fraction.bytes().take_while(u8::is_ascii_digit).count();
        let three: String = fraction.chars().take(digits).chain("000".chars()).take(3).collect();
        millis = three.parse().ok()?;
        rest = fraction.get(digits..)?;
    }
    let civil = Civil {
        year: number(0, 4)?,
        month: number(5, 2)?,
        day: number(8, 2)?,
        hour: number(11, 2)?,
        minute: number(14, 2)?,
        second: number(17, 2)?,
        millis,
    };
    let zone = zone(rest).unwrap_or_else(|| local.clone());
    zone.to_timestamp(civil.lenient()?).ok()
}

/// `None`: there is none, or one that no clock has; Java then takes the local one, too.
fn zone(text: &str) -> Option<TimeZone> {
    if text == "Z" {
        return Some(TimeZone::UTC);
    }
    let (hours, minutes) = text.get(1..)?.split_once(':')?;
    let (hours, minutes) = (hours.parse::<i32>().ok()?, minutes.parse::<i32>().ok()?);
    let sign = if text.starts_with('-') { -1 } else { 1 };
    let seconds = (hours < 24 && minutes < 60).then_some(sign * (hours * 60 + minutes) * 60)?;
    Offset::from_seconds(seconds).ok().map(TimeZone::fixed)
}

/// `MMM d HH:mm:ss` in `local` time, of the year that brings it next to `now`.
pub(super) fn rfc3164(text: &str, now: Timestamp, local: &TimeZone) -> Option<Timestamp> {
    let mut words = text.split_ascii_whitespace();
    let name = words.next()?.to_ascii_lowercase();
    let month = MONTHS.iter().position(|month| month.get(..3) == Some(name.as_str()))?;
    let day = words.next()?.parse().ok()?;
    let mut clock = words.next()?.split(':').map(|part| part.parse::<i64>().ok());
    let (hour, minute, second) = (clock.next()??, clock.next()??, clock.next()??);
    let month = i64::try_from(month).ok()? + 1;
    Civil { month, day, hour, minute, second, ..Civil::default() }.in_the_nearest_year(now, local)
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::{ToSpan, Zoned};

    fn millis(text: &str) -> i64 {
        rfc5424(text, &TimeZone::UTC).unwrap().as_millisecond()
    }

    fn exact(text: &str) -> i64 {
        text.parse::<Timestamp>().unwrap().as_millisecond()
    }

    #[test]
    fn test_syslog_parser_rfc5424_date_parsing() {
        for text in [
            "1985-04-12T23:20:50.52Z",
            "1985-04-12T19:20:50.52-04:00",
            "2003-10-11T22:14:15.003Z",
            "2012-04-13T11:11:11-08:00",
            "2012-04-13T08:08:08.251+00:00",
        ] {
            assert_eq!(millis(text), exact(text), "{text}");
        }
        assert_eq!(millis("2003-08-24T05:14:15.000003-07:00"), exact("2003-08-24T05:14:15-07:00"));
        assert_eq!(millis("2012-04-13T08:08:08.0001+00:00"), exact("2012-04-13T08:08:08Z"));
    }

    #[test]
    fn the_zone_is_local_without_one_and_days_are_lenient() {
        let local = TimeZone::fixed(Offset::constant(2));
        assert_eq!(
            rfc5424("2012-04-13T11:11:11.5", &local).unwrap(),
            "2012-04-13T09:11:11.5Z".parse().unwrap()
        );
        assert_eq!(
            rfc5424("2012-04-13T11:11:11+99:00", &local).unwrap(),
            "2012-04-13T09:11:11Z".parse().unwrap()
        );
        assert_eq!(millis("2011-02-31T25:00:60Z"), exact("2011-03-04T01:01:00Z"));
        assert_eq!(millis("2011-00-10T01:00:00Z"), exact("2010-12-10T01:00:00Z"));
    }

    #[test]
    fn test_syslog_utils_rfc3164_dates() {
        let start: Zoned = "2026-01-15T12:00:00[UTC]".parse().unwrap();
        for month in 0..=13 {
            let now = start.checked_add(month.months()).unwrap();
            for offset in -10_i32..=1 {
                let mut at = now.checked_add(offset.months()).unwrap();
                if offset == 1 {
                    at = at.checked_sub(1.day()).unwrap();
                }
                let text = at.strftime("%b %e %H:%M:%S").to_string();
                assert_eq!(
                    rfc3164(&text, now.timestamp(), &TimeZone::UTC),
                    Some(at.timestamp()),
                    "{text} at {now}"
                );
            }
        }
    }

    #[test]
    fn what_is_no_month_is_no_time() {
        assert_eq!(rfc3164("Foo  1 00:00:00", Timestamp::UNIX_EPOCH, &TimeZone::UTC), None);
    }
}
