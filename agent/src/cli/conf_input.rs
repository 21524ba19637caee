//! A conf file from disk, for the verbs that need one.

use super::{Exit, output};
use crate::{
    config::{CONF_BYTES_MAX, ConfFile, Document, Loaded, Mode, Request, load},
    registry::Registry,
};
use std::{fs::File, io::Read, path::Path};

/// Reads and validates a conf.
///
/// # Errors
/// The file cannot be read: said on standard error, exit 1.
pub(super) fn load_file(
    path: &Path,
    agent: Option<&str>,
    mode: Mode,
    registry: &Registry,
) -> Result<Loaded, Exit> {
    let (name, bytes) = read(path)?;
    let request = Request { file_name: &name, agent, mode, registry, env: &variable };
    Ok(load(&bytes, &request))
}

/// Reads the properties of a conf, whether or not an agent could run it.
///
/// # Errors
/// As [`load_file`].
pub(super) fn read_properties(path: &Path, registry: &Registry) -> Result<Document, Exit> {
    let (name, bytes) = read(path)?;
    Ok(Document::read(&ConfFile::decode(name, &bytes), registry, &variable))
}

fn read(path: &Path) -> Result<(String, Vec<u8>), Exit> {
    let name = path.display().to_string();
    match read_bounded(path) {
        Ok(bytes) => Ok((name, bytes)),
        Err(error) => {
            output::complain(&format!("cannot read {name}: {error}"));
            Err(Exit::Failed)
        }
    }
}

/// A variable that is not Unicode is as good as none: a conf cannot hold it.
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// One byte more than is allowed is enough for the diagnostic that says so.
fn read_bounded(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let limit = u64::try_from(CONF_BYTES_MAX).unwrap_or(u64::MAX).saturating_add(1);
    File::open(path)?.take(limit).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The mode of `--lenient`.
pub(super) const fn mode(is_lenient: bool) -> Mode {
    if is_lenient { Mode::Lenient } else { Mode::Strict }
}
