//! Text: lines, charsets, patterns.

mod charset;
mod lines;

pub(crate) use charset::{Charset, Decoder};
pub(crate) use lines::{Ending, Line, Lines};
pub(crate) mod paths;

/// What the parser says, without its excerpt: that could be a secret.
pub(crate) fn regex_fault(error: &regex::Error) -> String {
    let text = error.to_string();
    let (_, why) = text.rsplit_once("error: ").unwrap_or(("", "too large"));
    why.lines().next().unwrap_or_default().to_owned()
}
