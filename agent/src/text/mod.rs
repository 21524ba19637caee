//! Text: lines and charsets.
