//! A door for the fuzz targets in `fuzz/`.

use super::{Mark, parse, render};
use bytes::Bytes;

/// A position file, and the value of a mark.
pub fn position_file(bytes: &[u8]) {
    if let Ok(rows) = parse(bytes) {
        let text = render(&rows);
        assert_eq!(parse(text.as_bytes()), Ok(rows));
    }
    if let Some(mark) = Mark::decode(&Bytes::copy_from_slice(bytes)) {
        assert_eq!(Mark::decode(&mark.encode()), Some(mark));
    }
}
