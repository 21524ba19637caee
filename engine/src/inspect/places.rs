//! From any one directory of a log to all of them.

use super::finding::{Finding, Severity};
use crate::{
    error::{Error, ErrorKind, Result},
    format::Manifest,
    io::Vfs,
    log::{Verdict, names, read_manifest, refuse_flume},
};
use std::{
    io,
    path::{Path, PathBuf},
};

/// The directories of a log.
#[derive(Clone, Debug)]
pub(super) struct Places {
    pub(super) home: PathBuf,
    /// Those of the data directories that are there.
    pub(super) data: Vec<PathBuf>,
    /// Those that are not.
    pub(super) absent: Vec<PathBuf>,
    /// One that was found under its old name only, though the directory that was asked for is not where its manifest says: if that is
    /// a copy, this is none.
    pub(super) left_behind: Option<PathBuf>,
    pub(super) identity: Option<Manifest>,
}

/// Finds the log that `dir` belongs to. What is absent or damaged is told, and is no reason to stop.
///
/// # Errors
/// `NotAChannel` if `dir` is not there, Flume's, or nobody's; `NewerFormat`; `Io`.
pub(super) fn find(vfs: &dyn Vfs, dir: &Path, findings: &mut Vec<Finding>) -> Result<Places> {
    refuse_flume(vfs, dir)?;
    let names = vfs.list(dir).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
            Error::new(ErrorKind::NotAChannel, "there is no such directory").in_file(dir)
        }
        _ => Error::io("cannot list the directory", dir, error),
    })?;
    match read_manifest(vfs, dir) {
        Ok(Some(manifest)) => Ok(follow(vfs, dir, manifest, findings)),
        Err(error) if error.kind() != &ErrorKind::Corrupt => Err(error),
        damaged => {
            if !names.iter().any(|name| names::Name::parse(name).is_content()) {
                let what =
                    "this directory holds no channel: no manifest, no segment, no checkpoint";
                return Err(Error::new(ErrorKind::NotAChannel, what).in_file(dir));
            }
            let what = damaged
                .err()
                .map_or_else(|| "the manifest is missing".to_owned(), |error| error.what().into());
            findings.push(manifest_finding(dir, what));
            let here = dir.to_path_buf();
            Ok(Places {
                home: here.clone(),
                data: vec![here],
                absent: Vec::new(),
                left_behind: None,
                identity: None,
            })
        }
    }
}

fn manifest_finding(dir: &Path, what: String) -> Finding {
    Finding::new("FC2002", Severity::Error, Some(Verdict::F), what)
        .in_file(dir.join(names::MANIFEST))
        .stake("the directory's identity is lost: an agent refuses to open it, and other directories are not found")
}

/// The directories that the manifest of `dir` names, looked for beside `dir` first: a log may have been moved or copied as a whole.
fn follow(vfs: &dyn Vfs, dir: &Path, manifest: Manifest, findings: &mut Vec<Finding>) -> Places {
    let mine = manifest
        .directory
        .and_then(|index| manifest.data_dirs.get(index as usize))
        .unwrap_or(&manifest.home)
        .clone();
    let was_moved = std::path::absolute(dir).is_ok_and(|dir| dir.as_path() != Path::new(&mine));
    let mut left_behind = None;
    let mut look_for = |name: &str, index: Option<usize>| {
        if name == mine {
            return Some(dir.to_path_buf());
        }
        let mut why = "is not there: a disk may not be mounted";
        let beside = beside(dir, &mine, name);
        let old = (beside.as_deref() != Some(Path::new(name))).then(|| PathBuf::from(name));
        for (path, is_old) in
            beside.map(|path| (path, false)).into_iter().chain(old.map(|old| (old, true)))
        {
            match read_manifest(vfs, &path) {
                Ok(Some(other)) if belongs(&manifest, &other, index) => {
                    if is_old && was_moved {
                        left_behind.get_or_insert_with(|| path.clone());
                    }
                    return Some(path);
                }
                Ok(Some(_)) => why = "belongs to another log, or to another place in this one",
                Ok(None) => {}
                Err(error) => {
                    findings.push(manifest_finding(&path, error.what().to_owned()));
                    return Some(path);
                }
            }
        }
        let what = format!("the directory {name} {why}");
        let finding = Finding::new("FC2003", Severity::Error, Some(Verdict::F), what).in_file(name);
        findings.push(match index {
            Some(_) => {
                finding.stake("its segments are not seen, and no agent opens the log without them")
            }
            None => {
                finding.stake("only checkpoints lie there: a restart reads more, and loses nothing")
            }
        });
        None
    };
    let home = look_for(&manifest.home, None);
    let (mut data, mut absent) = (Vec::new(), Vec::new());
    for (index, name) in manifest.data_dirs.iter().enumerate() {
        match look_for(name, Some(index)) {
            Some(path) => data.push(path),
            None => absent.push(PathBuf::from(name)),
        }
    }
    let home = home.unwrap_or_else(|| {
        absent.push(PathBuf::from(&manifest.home));
        dir.to_path_buf()
    });
    Places { home, data, absent, left_behind, identity: Some(manifest) }
}

impl Places {
    /// All are here, and none of them may be another channel's: what is changed is changed in what was meant.
    ///
    /// # Errors
    /// `NotAChannel`.
    pub(super) fn whole(&self) -> Result<()> {
        let refuse =
            |dir: &Path, what: String| Err(Error::new(ErrorKind::NotAChannel, what).in_file(dir));
        if let Some(absent) = self.absent.first() {
            return refuse(
                absent,
                "this directory of the channel is not there: a disk may not be mounted".to_owned(),
            );
        }
        let Some(old) = &self.left_behind else { return Ok(()) };
        let what = format!(
            "the channel was moved or copied, but this directory of it is still found at its old place only: that may be the original. \
             Lay all of them out as they were, {} and {}, or name one at its old place",
            self.home.display(),
            self.data.iter().map(|dir| dir.display().to_string()).collect::<Vec<_>>().join(", ")
        );
        refuse(old, what)
    }
}

fn belongs(mine: &Manifest, other: &Manifest, index: Option<usize>) -> bool {
    let place = other.directory.and_then(|place| usize::try_from(place).ok());
    other.log_id == mine.log_id && (index.is_none() || place == index)
}

/// Where `name` lies, seen from `dir`, if `dir` was called `mine` and all were moved together.
fn beside(dir: &Path, mine: &str, name: &str) -> Option<PathBuf> {
    let (mut there, mut here) = (Path::new(mine), dir);
    while let (Some(up_there), Some(up_here)) = (there.parent(), here.parent()) {
        if let Ok(down) = Path::new(name).strip_prefix(up_there) {
            return Some(up_here.join(down));
        }
        if there.file_name() != here.file_name() {
            return None;
        }
        (there, here) = (up_there, up_here);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sibling_is_found_where_everything_was_moved_to() {
        let beside = |dir: &str, mine, name| beside(Path::new(dir), mine, name);
        assert_eq!(beside("/mnt/e/ck", "/var/c/ck", "/var/c/data"), Some("/mnt/e/data".into()));
        assert_eq!(beside("/mnt/d1/fc", "/d1/fc", "/d2/fc"), Some("/mnt/d2/fc".into()));
        assert_eq!(beside("/mnt/other", "/d1/fc", "/d2/fc"), None);
    }
}
