//! How far files were read: the marks that are committed with the events, and Flume's position file beside them.
//!
//! The mark counts. The position file is for channels that keep no marks, for moving to and from Flume, and to know after a restart which
//! marks are about files that are gone. It has Flume's fields and no more: Flume's reader fails at a field that it does not know, so that
//! what tells a cut file is in the mark alone.

#[cfg(feature = "fuzzing")]
pub(super) mod fuzzing;

use super::{
    matcher::{Look, millis},
    print::Print,
};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use std::{
    ffi::OsStr,
    fs::{self, File},
    io::{self, Write},
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

/// The key of a file's mark: inode and directory, so that a file is found again under another name.
pub(super) fn mark_key(source: &str, inode: u64, directory: &Path) -> Bytes {
    let mut key = BytesMut::from(format!("taildir/{source}/{inode}").as_bytes());
    key.put_slice(directory.as_os_str().as_bytes());
    key.freeze()
}

/// What a mark says. Its bytes sort by position, so that the lowest of several is the hindmost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) position: u64,
    /// Tells a file from a later one with the same inode. 0: unknown.
    pub(super) born_ms: u64,
    pub(super) name: Bytes,
    /// Of the bytes before the position; `None`: unknown, as in the marks of old.
    pub(super) print: Option<Print>,
    /// Bytes that stood behind the position when the mark was made.
    pub(super) unread: u64,
}

/// No name has it: what follows is not of the name. The marks of old end before it.
const NAME_END: u8 = 0;
const AFTER_NAME_BYTES: usize = 14;

impl Mark {
    pub(super) fn encode(&self) -> Bytes {
        let mut value = BytesMut::with_capacity(16 + self.name.len() + AFTER_NAME_BYTES);
        value.put_u64(self.position);
        value.put_u64(self.born_ms);
        value.put_slice(&self.name);
        if let Some(print) = self.print {
            value.put_u8(NAME_END);
            value.put_u8(print.len);
            value.put_u32(print.crc);
            value.put_u64(self.unread);
        }
        value.freeze()
    }

    pub(super) fn decode(value: &Bytes) -> Option<Self> {
        let mut rest = value.clone();
        let (position, born_ms) = (rest.try_get_u64().ok()?, rest.try_get_u64().ok()?);
        let name_len = rest.iter().position(|byte| *byte == NAME_END).unwrap_or(rest.len());
        let mut mark =
            Self { position, born_ms, name: rest.split_to(name_len), print: None, unread: 0 };
        if rest.len() >= AFTER_NAME_BYTES {
            rest.advance(1);
            mark.print = Some(Print { len: rest.get_u8(), crc: rest.get_u32() });
            mark.unread = rest.get_u64();
        }
        Some(mark)
    }

    /// True if it can be about this file, by its birth.
    pub(super) fn is_about(&self, look: &Look) -> bool {
        self.born_ms == 0 || look.born_ms == 0 || self.born_ms == look.born_ms
    }

    pub(super) fn is_named(&self, name: &OsStr) -> bool {
        self.name == name.as_bytes()
    }
}

/// A row of the position file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) inode: u64,
    pub(super) position: u64,
    pub(super) path: PathBuf,
}

/// The rows of a position file, and when it was written (in ms since 1970).
#[derive(Debug, Default)]
pub(super) struct Saved {
    pub(super) rows: Vec<Row>,
    pub(super) written_ms: u64,
}

/// Reads a position file. One that is missing or empty tracks nothing; so does one that is damaged, with a warning.
pub(super) fn load(path: &Path) -> Saved {
    let read = fs::read(path).and_then(|text| Ok((text, millis(fs::metadata(path)?.modified()?))));
    let (text, written_ms) = match read {
        Ok(read) => read,
        Err(error) => {
            if error.kind() != io::ErrorKind::NotFound {
                tracing::warn!(file = %path.display(), %error, "cannot read the position file");
            }
            return Saved::default();
        }
    };
    match parse(&text) {
        Ok(rows) => Saved { rows, written_ms },
        Err(error) => {
            tracing::warn!(file = %path.display(), error, "the position file is damaged, it counts as empty");
            Saved::default()
        }
    }
}

fn parse(text: &[u8]) -> Result<Vec<Row>, String> {
    if text.trim_ascii().is_empty() {
        return Ok(Vec::new());
    }
    let json: serde_json::Value =
        serde_json::from_slice(text).map_err(|error| error.to_string())?;
    let rows = json.as_array().ok_or("not an array")?;
    let row = |row: &serde_json::Value| {
        Some(Row {
            inode: row.get("inode")?.as_u64()?,
            position: row.get("pos")?.as_u64()?,
            path: row.get("file")?.as_str()?.into(),
        })
    };
    rows.iter().map(|json| row(json).ok_or_else(|| format!("not a row: {json}"))).collect()
}

/// Writes a position file so that there is always a whole one.
pub(super) fn save(path: &Path, rows: &[Row]) -> io::Result<()> {
    let temporary = path.with_extension("tmp");
    let mut file = File::create(&temporary)?;
    file.write_all(render(rows).as_bytes())?;
    file.sync_data()?;
    fs::rename(&temporary, path)?;
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
}

/// Exactly as Gson prints it.
fn render(rows: &[Row]) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let row = |row: &Row| {
        format!(
            "{{\"inode\":{},\"pos\":{},\"file\":{}}}",
            row.inode,
            row.position,
            quoted(&row.path.to_string_lossy())
        )
    };
    format!("[{}]", rows.iter().map(row).collect::<Vec<_>>().join(","))
}

fn quoted(text: &str) -> String {
    let mut out = String::new();
    // In the JSON of a string these characters stand for nothing but themselves.
    for character in serde_json::Value::from(text).to_string().chars() {
        match character {
            '=' | '<' | '>' | '&' | '\'' | '\u{2028}' | '\u{2029}' => {
                out.push_str(&format!("\\u{:04x}", u32::from(character)));
            }
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> Vec<Row> {
        vec![
            Row { inode: 2_496_272, position: 12, path: "/var/log/a.log".into() },
            Row { inode: 7, position: 0, path: "/var/log/b=<c>&'d'\\\u{e9}".into() },
        ]
    }

    #[test]
    fn the_position_file_is_flumes() {
        let text = [
            r#"[{"inode":2496272,"pos":12,"file":"/var/log/a.log"},"#,
            r#"{"inode":7,"pos":0,"file":"/var/log/b\u003d\u003cc\u003e\u0026\u0027d\u0027\\é"}]"#,
        ]
        .concat();
        assert_eq!(render(&rows()), text);
        assert_eq!(parse(text.as_bytes()), Ok(rows()));
        assert_eq!(parse(br#"[{"pos":3,"file":"/x","inode":9}]"#).unwrap()[0].inode, 9);
        assert_eq!((render(&[]), parse(b"")), (String::new(), Ok(Vec::new())));
    }

    #[test]
    fn a_quote_at_the_edge_survives() {
        let row = Row { inode: 1, position: 2, path: "/x\"".into() };
        assert_eq!(parse(render(std::slice::from_ref(&row)).as_bytes()), Ok(vec![row]));
    }

    #[test]
    fn a_damaged_file_counts_as_empty() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("p.json");
        assert!(load(&path).rows.is_empty());
        for text in ["[{\"inode\":1", "{}", "[{}]", "[{\"inode\":1,\"pos\":-1,\"file\":\"/x\"}]"] {
            fs::write(&path, text).unwrap();
            assert!(load(&path).rows.is_empty());
        }
        save(&path, &rows()).unwrap();
        assert_eq!(load(&path).rows, rows());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing is left behind");
    }

    #[test]
    fn marks_sort_by_position() {
        let mark = |position| Mark {
            position,
            born_ms: 5,
            name: Bytes::from_static(b"a.log"),
            print: Some(Print { len: 64, crc: 7 }),
            unread: 9,
        };
        assert_eq!(Mark::decode(&mark(300).encode()), Some(mark(300)));
        assert!(mark(255).encode() < mark(256).encode());
        assert_eq!(Mark::decode(&Bytes::from_static(b"short")), None);
    }

    #[test]
    fn a_mark_of_old_says_nothing_of_the_bytes_before_its_position() {
        let old = [&300_u64.to_be_bytes()[..], &5_u64.to_be_bytes(), b"a.log"].concat();
        let name = Bytes::from_static(b"a.log");
        let expected = Mark { position: 300, born_ms: 5, name, print: None, unread: 0 };
        assert_eq!(Mark::decode(&old.into()), Some(expected));
    }
}
