//! Dates by a pattern of Java's `SimpleDateFormat`, read as leniently as there, with English names.
//!
//! Two things differ, because what Java makes of them is of no use: digits behind the seconds and a `.` or `,` are a fraction (Java
//! counts them as milliseconds, so that `.5` is 5 ms and six digits are minutes), and a date without a year is of the year that brings it
//! next to now (Java: 1970).

use super::calendar::{Civil, MONTHS};
use jiff::{
    Timestamp,
    tz::{Offset, TimeZone},
};

/// A pattern that was understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DatePattern {
    parts: Vec<Part>,
    has_year: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Text(char),
    /// `digits`: exactly so many characters, because another number follows at once.
    Number(Number, Option<usize>),
    MonthName,
    DayName,
    HalfOfDay,
    /// `Z` and `z`: an offset or a name.
    Zone,
    /// One to three `X`.
    IsoZone(usize),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Number {
    Year {
        of_century: bool,
    },
    Month,
    Day,
    /// 0 to 23, and 1 to 24.
    Hour,
    /// 0 to 11, and 1 to 12.
    HalfHour,
    Minute,
    Second,
    Millis,
    Fraction,
}

const DAYS: [&str; 7] =
    ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];

/// Names that mean one offset wherever the agent runs, in minutes. (`IST` and `BST` mean what Java's own zone makes of them.)
const ZONES: [(&str, i32); 29] = [
    ("utc", 0),
    ("gmt", 0),
    ("wet", 0),
    ("west", 60),
    ("cet", 60),
    ("cest", 120),
    ("eet", 120),
    ("eest", 180),
    ("msk", 180),
    ("sast", 120),
    ("sgt", 480),
    ("hkt", 480),
    ("jst", 540),
    ("kst", 540),
    ("aest", 600),
    ("aedt", 660),
    ("nzst", 720),
    ("nzdt", 780),
    ("est", -300),
    ("edt", -240),
    ("cst", -360),
    ("cdt", -300),
    ("mst", -420),
    ("mdt", -360),
    ("pst", -480),
    ("pdt", -420),
    ("akst", -540),
    ("akdt", -480),
    ("hst", -600),
];

/// What a conf is told whose pattern cannot be used.
pub(crate) const DATE_HELP: &str = "the letters are y M L d E H k h K a m s S z Z X; \
     other letters stand between quotes, as in `yyyy-MM-dd'T'HH:mm:ss`";

impl DatePattern {
    /// The error says what is wrong, without a part of the pattern but the letter.
    pub(crate) fn new(pattern: &str) -> Result<Self, String> {
        let tokens = tokens(pattern)?;
        let mut parts = Vec::new();
        for (at, token) in tokens.iter().enumerate() {
            let (letter, count) = match *token {
                Token::Text(character) => {
                    parts.push(Part::Text(character));
                    continue;
                }
                Token::Letters(letter, count) => (letter, count),
            };
            let is_followed_by_number = tokens.get(at + 1).is_some_and(Token::is_number);
            let part = part(letter, count, &parts)?;
            parts.push(match part {
                Part::Number(number, _) if is_followed_by_number => {
                    Part::Number(number, Some(count))
                }
                other => other,
            });
        }
        let has = |is: fn(&Number) -> bool| {
            parts.iter().any(|part| matches!(part, Part::Number(number, _) if is(number)))
        };
        let has_year = has(|number| matches!(number, Number::Year { .. }));
        let has_month = has(|number| *number == Number::Month) || parts.contains(&Part::MonthName);
        if !has_year && !has_month {
            return Err("it names neither a year nor a month: all would be of 1970".to_owned());
        }
        if parts.contains(&Part::DayName) && !has(|number| *number == Number::Day) {
            return Err("it names a day of the week, but no day of the month".to_owned());
        }
        Ok(Self { parts, has_year })
    }

    /// The time that `text` begins with; `None` if it begins otherwise. Without a zone it is in `local` time.
    pub(crate) fn read(&self, text: &str, now: Timestamp, local: &TimeZone) -> Option<Timestamp> {
        let mut reader = Reader { text, at: 0, now };
        let mut found = Found::default();
        for part in &self.parts {
            reader.part(*part, &mut found)?;
        }
        let zone = found.zone.unwrap_or_else(|| local.clone());
        let half = found.half_hour + if found.is_afternoon { 12 } else { 0 };
        let civil = Civil { hour: found.hour.unwrap_or(half), ..found.civil };
        if self.has_year {
            return zone.to_timestamp(civil.lenient()?).ok();
        }
        civil.in_the_nearest_year(now, &zone)
    }
}

#[derive(Clone, Copy, Debug)]
enum Token {
    Text(char),
    Letters(char, usize),
}

impl Token {
    fn is_number(&self) -> bool {
        match *self {
            Self::Text(_) => false,
            Self::Letters('M' | 'L', count) => count <= 2,
            Self::Letters(letter, _) => "yYdDFwWuHkhKmsS".contains(letter),
        }
    }
}

fn tokens(pattern: &str) -> Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    let mut rest = pattern.chars().peekable();
    let mut quoted = false;
    while let Some(character) = rest.next() {
        if character == '\'' {
            if rest.next_if_eq(&'\'').is_some() {
                tokens.push(Token::Text('\''));
            } else {
                quoted = !quoted;
            }
        } else if quoted || !character.is_ascii_alphabetic() {
            tokens.push(Token::Text(character));
        } else {
            let mut count = 1;
            while rest.next_if_eq(&character).is_some() {
                count += 1;
            }
            tokens.push(Token::Letters(character, count));
        }
    }
    if quoted {
        return Err("a `'` is not closed".to_owned());
    }
    Ok(tokens)
}

/// What `count` times a letter mean behind `before`.
fn part(letter: char, count: usize, before: &[Part]) -> Result<Part, String> {
    let is_fraction = match before {
        [.., Part::Number(Number::Second, _), Part::Text(point)] => matches!(point, '.' | ','),
        _ => false,
    };
    let number = match letter {
        'y' => Number::Year { of_century: count <= 2 },
        'M' | 'L' if count > 2 => return Ok(Part::MonthName),
        'M' | 'L' => Number::Month,
        'd' => Number::Day,
        'H' | 'k' => Number::Hour,
        'h' | 'K' => Number::HalfHour,
        'm' => Number::Minute,
        's' => Number::Second,
        'S' if is_fraction => Number::Fraction,
        'S' => Number::Millis,
        'E' => return Ok(Part::DayName),
        'a' => return Ok(Part::HalfOfDay),
        'z' | 'Z' => return Ok(Part::Zone),
        'X' if count <= 3 => return Ok(Part::IsoZone(count)),
        'X' => return Err("there are no more than three `X`".to_owned()),
        'Y' => return Err("`Y` is the year of a week; `y` is the year of a day".to_owned()),
        'G' | 'D' | 'F' | 'w' | 'W' | 'u' => {
            return Err(format!("the letter `{letter}` is not supported"));
        }
        _ => return Err(format!("`{letter}` is no letter of a date")),
    };
    Ok(Part::Number(number, None))
}

/// What was read so far.
#[derive(Default)]
struct Found {
    civil: Civil,
    hour: Option<i64>,
    half_hour: i64,
    is_afternoon: bool,
    zone: Option<TimeZone>,
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    now: Timestamp,
}

impl Reader<'_> {
    fn part(&mut self, part: Part, found: &mut Found) -> Option<()> {
        let start = self.at;
        if let Part::Text(character) = part {
            self.rest().starts_with(character).then(|| self.at += character.len_utf8())
        } else {
            let blanks = self.rest().bytes().take_while(|byte| matches!(byte, b' ' | b'\t'));
            self.at += blanks.count();
            match part {
                Part::Number(number, digits) => {
                    self.number(number, digits.map(|digits| start + digits), found)
                }
                Part::MonthName => {
                    found.civil.month = i64::try_from(self.name(&MONTHS)?).ok()? + 1;
                    Some(())
                }
                Part::DayName => self.name(&DAYS).map(|_| ()),
                Part::HalfOfDay => {
                    found.is_afternoon = !self.skip_word("am");
                    (!found.is_afternoon || self.skip_word("pm")).then_some(())
                }
                Part::Zone => {
                    found.zone = Some(self.zone()?);
                    Some(())
                }
                Part::IsoZone(count) => {
                    found.zone = Some(self.iso_zone(count)?);
                    Some(())
                }
                Part::Text(_) => None,
            }
        }
    }

    fn rest(&self) -> &str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn number(&mut self, number: Number, end: Option<usize>, found: &mut Found) -> Option<()> {
        // A text that is too short for its digits has none.
        let rest = self.text.get(self.at..end.unwrap_or(self.text.len()))?;
        let count = rest.bytes().take_while(u8::is_ascii_digit).count();
        let digits = rest.get(..count)?;
        self.at += count;
        if number == Number::Fraction {
            let three: String = digits.chars().chain("00".chars()).take(3).collect();
            found.civil.millis = (count > 0).then(|| three.parse().ok())??;
            return Some(());
        }
        let value: i64 = digits.parse().ok().filter(|_| count < 10)?;
        match number {
            Number::Year { of_century: true } if count == 2 => {
                // From 80 years ago on.
                let first = i64::from(self.now.to_zoned(TimeZone::UTC).year()) - 80;
                found.civil.year = first + (value - first).rem_euclid(100);
            }
            Number::Year { .. } => found.civil.year = value,
            Number::Month => found.civil.month = value,
            Number::Day => found.civil.day = value,
            Number::Hour => found.hour = Some(if value == 24 { 0 } else { value }),
            Number::HalfHour => found.half_hour = if value == 12 { 0 } else { value },
            Number::Minute => found.civil.minute = value,
            Number::Second => found.civil.second = value,
            Number::Millis | Number::Fraction => found.civil.millis = value,
        }
        Some(())
    }

    /// Which of the names stands here, in full or by its first three letters.
    fn name(&mut self, names: &[&str]) -> Option<usize> {
        let found = names
            .iter()
            .position(|name| name.get(..3).is_some_and(|short| self.starts_with_word(short)))?;
        let len = names.get(found).filter(|name| self.starts_with_word(name));
        self.at += len.map_or(3, |name| name.len());
        Some(found)
    }

    fn starts_with_word(&self, word: &str) -> bool {
        self.rest().get(..word.len()).is_some_and(|text| text.eq_ignore_ascii_case(word))
    }

    fn skip_word(&mut self, word: &str) -> bool {
        let found = self.starts_with_word(word);
        self.at += if found { word.len() } else { 0 };
        found
    }

    /// `+hhmm`, `GMT+hh:mm`, or a name.
    fn zone(&mut self) -> Option<TimeZone> {
        if let Some(sign) = self.sign() {
            return self.offset(sign, true, false, 2);
        }
        if self.skip_word("gmt") {
            return match self.sign() {
                Some(sign) => self.offset(sign, true, true, 1),
                None => Some(TimeZone::UTC),
            };
        }
        let len = self.rest().bytes().take_while(u8::is_ascii_alphabetic).count();
        let name = self.rest().get(..len)?;
        let (_, minutes) = ZONES.iter().find(|(zone, _)| zone.eq_ignore_ascii_case(name))?;
        self.at += len;
        fixed(*minutes)
    }

    fn iso_zone(&mut self, count: usize) -> Option<TimeZone> {
        if self.rest().starts_with('Z') {
            self.at += 1;
            return Some(TimeZone::UTC);
        }
        let sign = self.sign()?;
        self.offset(sign, count > 1, count == 3, 2)
    }

    fn sign(&mut self) -> Option<i32> {
        let sign = match self.rest().bytes().next()? {
            b'+' => 1,
            b'-' => -1,
            _ => return None,
        };
        self.at += 1;
        Some(sign)
    }

    fn offset(
        &mut self,
        sign: i32,
        with_minutes: bool,
        colon: bool,
        hour_digits_min: usize,
    ) -> Option<TimeZone> {
        let hours = self.digits(hour_digits_min)?;
        if with_minutes && colon {
            self.rest().starts_with(':').then(|| self.at += 1)?;
        }
        let minutes = if with_minutes { self.digits(2)? } else { 0 };
        (hours < 24 && minutes < 60).then(|| fixed(sign * (hours * 60 + minutes)))?
    }

    /// Two digits, or one if that is enough.
    fn digits(&mut self, min: usize) -> Option<i32> {
        let count = self.rest().bytes().take(2).take_while(u8::is_ascii_digit).count();
        let value = self.rest().get(..count).filter(|_| count >= min)?.parse().ok()?;
        self.at += count;
        Some(value)
    }
}

fn fixed(minutes: i32) -> Option<TimeZone> {
    Offset::from_seconds(minutes * 60).ok().map(TimeZone::fixed)
}

#[cfg(test)]
mod tests;
