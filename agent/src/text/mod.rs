//! Text: lines, charsets, expressions, dates.

pub(crate) mod calendar;
mod charset;
mod date_pattern;
pub(crate) mod java_regex;
mod lines;
pub(crate) mod paths;

pub(crate) use charset::{CHARSET_HELP, Charset, Decoder};
pub(crate) use date_pattern::{DATE_HELP, DatePattern};
pub(crate) use lines::{Ending, Line, Lines};
