//! What the tasks share: arguments, the root of the workspace, other programs, waiting.

use std::{
    error::Error,
    fs, io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// The result of a task or a step of one.
pub(crate) type Answer<T> = Result<T, Box<dyn Error>>;

/// The words behind the name of a task.
pub(crate) struct Arguments(Vec<String>);

impl Arguments {
    pub(crate) fn new(words: impl Iterator<Item = String>) -> Self {
        Self(words.collect())
    }

    pub(crate) fn words(&self) -> &[String] {
        &self.0
    }

    pub(crate) fn has(&self, flag: &str) -> bool {
        self.0.iter().any(|word| word == flag)
    }

    /// The word behind each `flag`.
    pub(crate) fn values<'a>(&'a self, flag: &'a str) -> impl Iterator<Item = &'a str> {
        let pairs = self.0.iter().zip(self.0.iter().skip(1));
        pairs.filter(move |(word, _)| *word == flag).map(|(_, value)| value.as_str())
    }

    /// The number behind `flag`, or `default`.
    pub(crate) fn number(&self, flag: &str, default: u64) -> Answer<u64> {
        match self.values(flag).next() {
            Some(value) => value
                .replace('_', "")
                .parse()
                .map_err(|_| format!("{flag} {value}: not a number").into()),
            None => Ok(default),
        }
    }
}

/// The root of the workspace: all tasks may be run from anywhere in it.
pub(crate) fn root() -> PathBuf {
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR"));
    scripts.parent().unwrap_or(scripts).to_path_buf()
}

/// A directory of this name below `target/`, on a real disk, empty.
pub(crate) fn scratch(name: &str) -> Answer<PathBuf> {
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    let dir = target.join("scratch").join(format!("{name}-{}", std::process::id()));
    match fs::remove_dir_all(&dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
        _ => fs::create_dir_all(&dir)?,
    }
    Ok(dir)
}

/// `cargo` with these arguments, in the root.
pub(crate) fn cargo(arguments: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments).current_dir(root());
    command
}

/// Runs a program to its end; an error if it fails.
pub(crate) fn must(command: &mut Command) -> Answer<()> {
    let status = command.status().map_err(|error| format!("{command:?}: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("{command:?}: {status}").into()) }
}

/// What a program prints; an error if it fails.
pub(crate) fn output_of(command: &mut Command) -> Answer<String> {
    let output = command
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| format!("{command:?}: {error}"))?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(format!("{command:?}: {}", output.status).into())
    }
}

/// True if `program` can be started.
pub(crate) fn exists(program: &str) -> bool {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&paths)
        .chain(["/usr/sbin", "/sbin"].map(PathBuf::from))
        .any(|dir| dir.join(program).is_file())
}

/// Installs `package` of Debian if its `program` is not here.
pub(crate) fn install(program: &str, package: &str) -> Answer<()> {
    if exists(program) {
        return Ok(());
    }
    println!("installing {package} (apt-get)");
    let apt = |arguments: &[&str]| {
        let mut command = Command::new("apt-get");
        command.args(arguments).env("DEBIAN_FRONTEND", "noninteractive").stdout(Stdio::null());
        must(&mut command)
    };
    // Package lists may be absent, or too old for the mirror: then once more with new ones.
    let words = ["install", "-y", "-q", "--no-install-recommends", package];
    apt(&words).or_else(|_| apt(&["update", "-q"]).and_then(|()| apt(&words)))
}

/// Files below `dir` whose names end with `suffix`, sorted, leaving out hidden directories and `target`.
pub(crate) fn files_below(dir: &Path, suffix: &str) -> Answer<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut dirs = vec![dir.to_path_buf()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(&dir).map_err(|error| format!("{}: {error}", dir.display()))? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if path.is_dir() {
                if !name.starts_with('.') && name != "target" {
                    dirs.push(path);
                }
            } else if name.ends_with(suffix) {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}
