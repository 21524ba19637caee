//! Dates as leniently as Java's calendar: a 31st of February is a 3rd of March.

use jiff::{Span, Timestamp, Zoned, civil::DateTime, tz::TimeZone};

/// Months as English writes them: the first three letters are their short names.
pub(crate) const MONTHS: [&str; 12] = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
];

/// The parts of a time; what is absent is as on 1970-01-01 at midnight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Civil {
    pub(crate) year: i64,
    /// From 1.
    pub(crate) month: i64,
    /// From 1.
    pub(crate) day: i64,
    pub(crate) hour: i64,
    pub(crate) minute: i64,
    pub(crate) second: i64,
    pub(crate) millis: i64,
}

impl Default for Civil {
    fn default() -> Self {
        Self { year: 1970, month: 1, day: 1, hour: 0, minute: 0, second: 0, millis: 0 }
    }
}

impl Civil {
    /// `None`: beyond all years that there are.
    pub(crate) fn lenient(self) -> Option<DateTime> {
        let year = DateTime::new(i16::try_from(self.year).ok()?, 1, 1, 0, 0, 0, 0).ok()?;
        let days = Span::new().try_days(self.day - 1).ok()?;
        let time = Span::new()
            .try_hours(self.hour)
            .and_then(|span| span.try_minutes(self.minute))
            .and_then(|span| span.try_seconds(self.second))
            .and_then(|span| span.try_milliseconds(self.millis));
        // One after the other: in one span a month 0 would turn the sign of all.
        let month = year.checked_add(Span::new().try_months(self.month - 1).ok()?).ok()?;
        month.checked_add(days).ok()?.checked_add(time.ok()?).ok()
    }

    /// With the year that brings it next to `now`: at most eleven months before, at most one after.
    pub(crate) fn in_the_nearest_year(self, now: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let year = i64::from(now.to_zoned(TimeZone::UTC).year());
        let parsed = zone.to_zoned(Self { year, ..self }.lenient()?).ok()?;
        nearest_year(&parsed, now).map(|zoned| zoned.timestamp())
    }
}

fn nearest_year(parsed: &Zoned, now: Timestamp) -> Option<Zoned> {
    let shifted = |span: Span| parsed.checked_add(span).ok();
    if parsed.timestamp() > now && shifted(Span::new().months(-1))?.timestamp() > now {
        return shifted(Span::new().years(-1));
    }
    if parsed.timestamp() < now && shifted(Span::new().months(11))?.timestamp() < now {
        return shifted(Span::new().years(1));
    }
    Some(parsed.clone())
}
