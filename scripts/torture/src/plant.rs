//! Planted bugs: the engine's sources, copied, with one line changed, built into the process that is tortured. A proof that cannot find
//! them proves nothing.

use crate::{root, target};
use fchannel_torture::Answer;
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// A bug that can be planted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Plant {
    /// A commit is acknowledged after its write, without its sync
    SkipFsync,
    /// The directory of a file that was made, renamed or removed is not synced
    SkipDirSync,
}

impl Plant {
    /// A file, a text in it, and what stands there instead.
    fn change(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::SkipFsync => (
                "engine/src/io/std.rs",
                "Sync::Data => self.0.sync_data().map_err(not_for_want_of_room)",
                "Sync::Data => Ok(())",
            ),
            Self::SkipDirSync => (
                "engine/src/io/std.rs",
                "std::fs::File::open(parent)?.sync_all()",
                "std::fs::File::open(parent).map(drop)",
            ),
        }
    }
}

/// Builds the process with the bug; answers the program.
pub(crate) fn build(plant: Plant) -> Answer<PathBuf> {
    let planted = target().join("planted");
    let copy = planted.join(format!("{plant:?}"));
    drop(fs::remove_dir_all(&copy));
    for part in ["Cargo.lock", "engine", "scripts/torture"] {
        copy_all(&root().join(part), &copy.join(part))?;
    }
    let workspace = fs::read_to_string(root().join("Cargo.toml"))?;
    let only = |line: &str| match line.split_once(" = ").map(|(key, _)| key) {
        Some("members") => r#"members = ["engine", "scripts/torture"]"#.to_owned(),
        Some("default-members") => r#"default-members = ["engine"]"#.to_owned(),
        _ => line.to_owned(),
    };
    let workspace: Vec<String> = workspace.lines().map(only).collect();
    fs::write(copy.join("Cargo.toml"), workspace.join("\n"))?;
    let (file, text, instead) = plant.change();
    let path = copy.join(file);
    let sources = fs::read_to_string(&path)?;
    if sources.matches(text).count() != 1 {
        return Err(format!("{file} no longer has one `{text}`: plant this bug anew").into());
    }
    fs::write(&path, sources.replace(text, instead))?;
    eprintln!("powercut: building the engine with the planted bug {plant:?}");
    let status = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["build", "--quiet", "--release", "--package", "fchannel-torture"])
        .args(["--no-default-features", "--bin", "tortured", "--target-dir"])
        .arg(planted.join("target"))
        .env("CARGO_PROFILE_RELEASE_LTO", "off")
        .current_dir(&copy)
        .status()?;
    if !status.success() {
        return Err(format!("the engine with the planted bug cannot be built: {status}").into());
    }
    Ok(planted.join("target/release/tortured"))
}

fn copy_all(from: &Path, to: &Path) -> Answer<()> {
    if from.is_dir() {
        fs::create_dir_all(to)?;
        for entry in fs::read_dir(from)? {
            let entry = entry?;
            copy_all(&entry.path(), &to.join(entry.file_name()))?;
        }
    } else {
        if let Some(parent) = to.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::copy(from, to)?;
    }
    Ok(())
}
