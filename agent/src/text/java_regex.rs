//! Regular expressions and replacements as Java has them, for the regular expressions of this build.
//!
//! What both write alike and mean differently is translated: `\d`, `\w`, `\s` and the POSIX classes are ASCII, `\<` is a `<`, `\v` and
//! `\h` are classes, `.` does not match `\r`. What cannot be translated is an error, never another meaning. (Left as it is: `.` matches
//! U+0085, U+2028 and U+2029 here.)

use regex::{Captures, Regex, RegexBuilder, bytes};
use std::{iter::Peekable, str::Chars};

/// Compiles a Java regular expression; the error says why it cannot be, without a part of it: that could be a secret.
pub(crate) fn compile(pattern: &str) -> Result<Regex, String> {
    built(&translated(pattern)?)
}

/// As [`compile`], for the whole text: Java's `matches`.
pub(crate) fn compile_whole(pattern: &str) -> Result<Regex, String> {
    let pattern = translated(pattern)?;
    // For itself first, so that no parenthesis of it closes ours.
    built(&pattern)?;
    built(&format!(r"\A(?:{pattern})\z"))
}

/// As [`compile_whole`], for what may be no text.
pub(crate) fn compile_whole_bytes(pattern: &str) -> Result<bytes::Regex, String> {
    let whole = compile_whole(pattern)?;
    let regex = bytes::RegexBuilder::new(whole.as_str()).crlf(true).build();
    regex.map_err(|error| fault(&error))
}

fn built(pattern: &str) -> Result<Regex, String> {
    RegexBuilder::new(pattern).crlf(true).build().map_err(|error| fault(&error))
}

/// What the parser says, without its excerpt.
fn fault(error: &regex::Error) -> String {
    let text = error.to_string();
    let (_, why) = text.rsplit_once("error: ").unwrap_or(("", "too large"));
    why.lines().next().unwrap_or_default().to_owned()
}

/// The expression as the crate `regex` writes it.
fn translated(pattern: &str) -> Result<String, String> {
    let mut translation =
        Translation { rest: pattern.chars().peekable(), out: String::new(), classes: 0 };
    while let Some(character) = translation.rest.next() {
        if translation.classes > 0 {
            translation.in_class(character)?;
        } else {
            translation.outside(character)?;
        }
    }
    Ok(translation.out)
}

/// What is said of an expression that runs in Flume and not here.
pub(crate) const REGEX_HELP: &str = "say it without look-around, back-references and possessive quantifiers; \
     most often a class such as `[^x]*` does it";

struct Translation<'a> {
    rest: Peekable<Chars<'a>>,
    out: String,
    /// How many classes are open.
    classes: usize,
}

impl Translation<'_> {
    fn outside(&mut self, character: char) -> Result<(), String> {
        match character {
            '\\' => self.escape()?,
            '[' => self.open_class()?,
            '(' => {
                self.out.push('(');
                self.flags()?;
            }
            '*' | '+' | '?' => {
                self.out.push(character);
                self.after_quantifier()?;
            }
            '{' => {
                self.out.push('{');
                while let Some(character) = self.rest.next_if(|next| *next != '}') {
                    self.out.push(character);
                }
                self.out.extend(self.rest.next());
                self.after_quantifier()?;
            }
            _ => self.out.push(character),
        }
        Ok(())
    }

    fn in_class(&mut self, character: char) -> Result<(), String> {
        let doubled = self.rest.peek() == Some(&character);
        match character {
            '\\' => self.escape()?,
            '[' => self.open_class()?,
            ']' => {
                self.classes -= 1;
                self.out.push(']');
            }
            // Both would be operators between classes.
            '-' if doubled => return Err("`--` in a class: write `\\-` for a `-`".to_owned()),
            '~' => self.out.push_str("\\~"),
            _ => self.out.push(character),
        }
        Ok(())
    }

    fn open_class(&mut self) -> Result<(), String> {
        self.classes += 1;
        self.out.push('[');
        self.out.extend(self.rest.next_if_eq(&'^'));
        if self.rest.next_if_eq(&']').is_some() {
            self.out.push_str("\\]");
        }
        if self.classes > 1 && self.rest.peek() == Some(&':') {
            return Err("`[:` in a class: write `\\p{Alpha}` for `[:alpha:]`".to_owned());
        }
        Ok(())
    }

    /// What stands behind a `(`.
    fn flags(&mut self) -> Result<(), String> {
        if self.rest.next_if_eq(&'?').is_none() {
            return Ok(());
        }
        self.out.push('?');
        while let Some(flag) = self.rest.next_if(|next| next.is_ascii_alphabetic() || *next == '-')
        {
            if !"imsx-".contains(flag) {
                return Err(format!("the flag `{flag}` is not supported"));
            }
            self.out.push(flag);
        }
        Ok(())
    }

    fn after_quantifier(&mut self) -> Result<(), String> {
        self.out.extend(self.rest.next_if_eq(&'?'));
        match self.rest.peek() {
            Some('+') => Err("possessive quantifiers are not supported".to_owned()),
            Some('*' | '?' | '{') => Err("a quantifier stands behind another one".to_owned()),
            _ => Ok(()),
        }
    }

    /// What stands behind a `\`, in a class or not.
    fn escape(&mut self) -> Result<(), String> {
        let Some(escaped) = self.rest.next() else {
            return Err("it ends with a single `\\`".to_owned());
        };
        let set = match escaped {
            'd' => "[0-9]",
            'D' => "[^0-9]",
            'w' => "[0-9A-Za-z_]",
            'W' => "[^0-9A-Za-z_]",
            's' => r"[\t-\r\x20]",
            'S' => r"[^\t-\r\x20]",
            'v' => r"[\n-\r\x{85}\x{2028}\x{2029}]",
            'V' => r"[^\n-\r\x{85}\x{2028}\x{2029}]",
            'h' => r"[\x20\t\x{A0}\x{1680}\x{180E}\x{2000}-\x{200A}\x{202F}\x{205F}\x{3000}]",
            'H' => r"[^\x20\t\x{A0}\x{1680}\x{180E}\x{2000}-\x{200A}\x{202F}\x{205F}\x{3000}]",
            'e' => r"\x1B",
            'Q' => return self.quote(),
            'p' | 'P' => return self.property(escaped),
            '0' => return Err("octal escapes are not supported".to_owned()),
            _ if escaped.is_ascii_alphanumeric() => {
                self.out.extend(['\\', escaped]);
                return Ok(());
            }
            _ => return self.literal(escaped),
        };
        self.out.push_str(set);
        Ok(())
    }

    /// A character that stands for itself, whatever is around it.
    fn literal(&mut self, character: char) -> Result<(), String> {
        self.out.push_str(&format!("\\x{{{:X}}}", u32::from(character)));
        Ok(())
    }

    /// `\Q`, up to the `\E`.
    fn quote(&mut self) -> Result<(), String> {
        while let Some(character) = self.rest.next() {
            if character == '\\' && self.rest.next_if_eq(&'E').is_some() {
                break;
            }
            self.literal(character)?;
        }
        Ok(())
    }

    fn property(&mut self, kind: char) -> Result<(), String> {
        if self.rest.next_if_eq(&'{').is_none() {
            self.out.extend(['\\', kind]);
            return Ok(());
        }
        let mut name = String::new();
        while let Some(character) = self.rest.next_if(|next| *next != '}') {
            name.push(character);
        }
        if self.rest.next().is_none() {
            return Err("a `\\p{` without its `}`".to_owned());
        }
        let posix = match name.as_str() {
            "Lower" | "Upper" | "ASCII" | "Alpha" | "Digit" | "Alnum" | "Punct" | "Graph"
            | "Print" | "Blank" | "Cntrl" | "XDigit" | "Space" => name.to_ascii_lowercase(),
            _ => {
                self.out.push_str(&format!("\\{kind}{{{name}}}"));
                return Ok(());
            }
        };
        let not = if kind == 'P' { "^" } else { "" };
        self.out.push_str(&format!("[[:{not}{posix}:]]"));
        Ok(())
    }
}

/// What to put in the place of a match, as Java writes it: `$1`, `${name}`, and `\` before what stands for itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Replacement(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(char),
    Group(usize),
}

impl Replacement {
    /// For the matches of `regex`. The error says what is wrong, without a part of the text.
    pub(crate) fn new(text: &str, regex: &Regex) -> Result<Self, String> {
        let mut rest = text.chars().peekable();
        let mut parts = Vec::new();
        while let Some(character) = rest.next() {
            parts.push(match character {
                '\\' => match rest.next() {
                    Some(escaped) => Part::Text(escaped),
                    None => return Err("it ends with a single `\\`".to_owned()),
                },
                '$' => Part::Group(group(&mut rest, regex)?),
                _ => Part::Text(character),
            });
        }
        Ok(Self(parts))
    }

    /// Java's `replaceAll`: behind a match an empty one may follow at once.
    pub(crate) fn replace_all(&self, regex: &Regex, text: &str) -> String {
        let (mut out, mut copied, mut from) = (String::new(), 0, 0);
        while let Some(found) = regex.captures_at(text, from) {
            let Some(all) = found.get(0) else { break };
            out.push_str(text.get(copied..all.start()).unwrap_or_default());
            self.append(&found, &mut out);
            copied = all.end();
            let next = text.get(copied..).and_then(|rest| rest.chars().next());
            from = match next {
                _ if !all.is_empty() => copied,
                Some(next) => copied + next.len_utf8(),
                None => break,
            };
        }
        out.push_str(text.get(copied..).unwrap_or_default());
        out
    }

    fn append(&self, found: &Captures<'_>, out: &mut String) {
        for part in &self.0 {
            match part {
                Part::Text(character) => out.push(*character),
                Part::Group(group) => {
                    out.push_str(found.get(*group).map_or("", |found| found.as_str()));
                }
            }
        }
    }
}

/// The group that is meant behind a `$`: as many digits as there are groups for.
fn group(rest: &mut Peekable<Chars<'_>>, regex: &Regex) -> Result<usize, String> {
    let no_such = || Err("it names a group that the expression does not have".to_owned());
    if rest.next_if_eq(&'{').is_some() {
        let mut name = String::new();
        while let Some(character) = rest.next_if(|next| *next != '}') {
            name.push(character);
        }
        rest.next();
        let found = regex.capture_names().position(|known| known == Some(name.as_str()));
        return found.map_or_else(no_such, Ok);
    }
    let digit = |next: Option<&char>| next.and_then(|next| next.to_digit(10)).map(|d| d as usize);
    let Some(mut group) = digit(rest.peek()) else {
        return Err("behind a `$` must stand the number of a group; `\\$` is a `$`".to_owned());
    };
    rest.next();
    if group >= regex.captures_len() {
        return no_such();
    }
    while let Some(longer) = digit(rest.peek()).map(|digit| group * 10 + digit)
        && longer < regex.captures_len()
    {
        rest.next();
        group = longer;
    }
    Ok(group)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What Java 17 says of each.
    #[test]
    fn expressions_mean_what_they_mean_in_java() {
        for (pattern, text, matches) in [
            (r"\<a\>", "<a>", true),
            (r"\d", "\u{663}", false),
            (r"\w", "\u{e9}", false),
            (r"[\d\-x]+", "1-x", true),
            (".*", "a\rb", false),
            (r"\p{Alpha}", "\u{e9}", false),
            (r"\P{Alpha}", "\u{e9}", true),
            (r"\p{L}", "\u{e9}", true),
            (r"\Qa.b\E.", "a.bx", true),
            (r"\Qa.b\E.", "aXbx", false),
            ("[a&&b]", "a", false),
            ("[^a&&b]", "b", true),
            (r"[a\&\&b]", "&", true),
            (r"\v", "\n", true),
            (r"\h", "\t", true),
            ("[]a]", "]", true),
            (r"\_", "_", true),
            (r"\é", "\u{e9}", true),
            (r"[^\W_]", "_", false),
            ("}", "}", true),
            ("x]", "x]", true),
            ("[a~~b]", "~", true),
            (r"\x41", "A", true),
            (r"\u0041", "A", true),
            (r"\e", "\u{1b}", true),
            ("\\#\\ \\/\\'\\~\\`\\!\\@\\%\\=\\:\\;\\,\\\"", "# /'~`!@%=:;,\"", true),
            (r"(?i)abc", "ABC", true),
            (r"(?x)a\ b", "a b", true),
            (r"a{2}?b", "aab", true),
            (r"(?<year>\d{4})", "2024", true),
            ("a|ab", "ab", true),
        ] {
            let regex = compile_whole(pattern).unwrap();
            assert_eq!(regex.is_match(text), matches, "{pattern} and {text:?}");
        }
    }

    #[test]
    fn what_cannot_be_the_same_is_an_error() {
        for (pattern, why) in [
            ("(?!a)b", "look-around"),
            ("(?<=a)b", "look-around"),
            (r"(a)\1", "backreferences"),
            ("a++", "possessive"),
            ("a{2}+", "possessive"),
            ("a**", "quantifier"),
            (r"(?U)\w", "flag `U`"),
            ("[[:alpha:]]", r"\p{Alpha}"),
            ("[+--]", r"\-"),
            (r"\0101", "octal"),
            (r"\Z", "escape"),
            (r"\R", "escape"),
            ("[a", "unclosed"),
            ("a)|(?:b", "unopened"),
            ("\\", "single"),
        ] {
            let error = compile_whole(pattern).unwrap_err();
            assert!(error.contains(why), "{pattern}: {error}");
        }
    }

    #[test]
    fn replacements_are_javas() {
        for (text, search, replacement, expected) in [
            ("a--b", "-", r"\$", "a$$b"),
            ("abc", "(b)", "[$1]", "a[b]c"),
            ("abc", "(b)", "$11", "ab1c"),
            ("abc", "(b)", "$0$01", "abbc"),
            ("abc", "(?<x>b)", "${x}${x}", "abbc"),
            ("abc", "x*", "-", "-a-b-c-"),
            ("baaac", "a*", "-", "-b--c-"),
            ("a.b.c", r"\.", r"\\", r"a\b\c"),
            ("abc", "(b)|(z)", "[$2]", "a[]c"),
            ("abc", "b", r"\q", "aqc"),
            ("abc", "^", "<", "<abc"),
            ("abc", "$", ">", "abc>"),
            ("\u{e9}", "", "-", "-\u{e9}-"),
        ] {
            let regex = compile(search).unwrap();
            let replacement = Replacement::new(replacement, &regex).unwrap();
            assert_eq!(replacement.replace_all(&regex, text), expected, "{search}");
        }
        let regex = compile("(b)").unwrap();
        for wrong in ["$2", "\\", "$", "$x", "${y}"] {
            assert!(Replacement::new(wrong, &regex).is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn no_expression_makes_it_panic(pattern in r"[\\a-zQE0-9\[\](){}?*+^$&~:|. é-]{0,24}", text: String) {
            if let Ok(regex) = compile_whole(&pattern) {
                regex.is_match(&text);
                if let Ok(replacement) = Replacement::new(&pattern, &regex) {
                    replacement.replace_all(&regex, &text);
                }
            }
        }
    }
}
