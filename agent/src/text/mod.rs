//! Text: lines and charsets.

mod charset;
mod lines;

pub(crate) use charset::{Charset, Decoder};
pub(crate) use lines::{Ending, Lines};
pub(crate) mod paths;
