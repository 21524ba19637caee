//! Which files a group of the conf means: a literal directory and a regular expression for the name.

use crate::{
    component::Problem,
    text::java_regex::{REGEX_HELP, compile_whole_bytes},
};
use regex::bytes::Regex;
use std::{
    ffi::{OsStr, OsString},
    fs, io,
    os::unix::{
        ffi::OsStrExt,
        fs::{DirEntryExt, MetadataExt},
    },
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

/// One of the `filegroups`.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) directory: PathBuf,
    pub(super) headers: Vec<(String, String)>,
    pattern: Regex,
}

impl Group {
    pub(super) fn new(
        name: &str,
        path: &str,
        headers: Vec<(String, String)>,
    ) -> Result<Self, Problem> {
        let wrong = |why: String| Problem::new(format!("filegroups.{name}"), why);
        let parts = path.rsplit_once('/').filter(|_| path.starts_with('/'));
        let (directory, pattern) =
            parts.ok_or_else(|| wrong("expected an absolute path".to_owned()))?;
        let pattern = compile_whole_bytes(pattern).map_err(|why| {
            wrong(format!("no regular expression for this build follows the last `/`: {why}"))
                .help(REGEX_HELP)
        })?;
        let directory = if directory.is_empty() { "/" } else { directory };
        Ok(Self { directory: directory.into(), headers, pattern })
    }

    pub(super) fn matches(&self, name: &OsStr) -> bool {
        self.pattern.is_match(name.as_bytes())
    }
}

/// What a file is, whatever its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct FileId {
    pub(super) device: u64,
    pub(super) inode: u64,
}

/// A file as it was looked at.
#[derive(Clone, Copy, Debug)]
pub(super) struct Look {
    pub(super) id: FileId,
    pub(super) len: u64,
    pub(super) modified: SystemTime,
    /// Milliseconds since 1970; 0 where the file system does not say.
    pub(super) born_ms: u64,
}

impl Look {
    /// `None` for what is not a regular file. Links are followed.
    pub(super) fn at(path: &Path) -> io::Result<Option<Self>> {
        Ok(Self::of(&fs::metadata(path)?))
    }

    pub(super) fn of(metadata: &fs::Metadata) -> Option<Self> {
        metadata.is_file().then(|| Self {
            id: FileId { device: metadata.dev(), inode: metadata.ino() },
            len: metadata.len(),
            modified: metadata.modified().unwrap_or(UNIX_EPOCH),
            born_ms: metadata.created().ok().map_or(0, millis),
        })
    }
}

pub(super) fn millis(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// A name in a directory, and the inode that it stands for (of a link, the link's own).
#[derive(Clone, Debug)]
pub(super) struct Name {
    pub(super) name: OsString,
    pub(super) inode: u64,
}

/// The names in a directory.
pub(super) fn list(directory: &Path) -> io::Result<Vec<Name>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        names.push(Name { name: entry.file_name(), inode: entry.ino() });
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(path: &str, name: &str) -> bool {
        Group::new("f", path, Vec::new()).unwrap().matches(OsStr::new(name))
    }

    #[test]
    fn test_taildir_matcher_is_about_the_whole_last_component() {
        assert!(matches("/var/log/[ab].log", "a.log"));
        assert!(!matches("/var/log/[ab].log", "a.log.1"));
        assert!(!matches("/var/log/[ab].log", "xa.log"));
        assert!(matches(r"/var/log/.*\.log|messages", "messages"));
        assert_eq!(Group::new("f", "/a.*b/c", Vec::new()).unwrap().directory, Path::new("/a.*b"));
        assert_eq!(Group::new("f", "/c", Vec::new()).unwrap().directory, Path::new("/"));
    }

    #[test]
    fn what_is_no_path_or_no_pattern_is_named() {
        for path in ["relative/x", "x", "/dir/[", "/dir/(?<!a)b"] {
            let error = Group::new("f1", path, Vec::new()).unwrap_err();
            assert_eq!(error.key, "filegroups.f1");
            assert!(!error.message.contains("dir"), "{}", error.message);
        }
    }
}
