//! `cargo x loom`: group commit, credits and waiters in all interleavings of small cases; and that this would find a bug.
//!
//! It is built with `--cfg fchannel_loom` into a directory of its own, so that no other build is thrown away.

use crate::shell::{Answer, Arguments, cargo, files_below, must, root};
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// A bug that the models must find: some text of the engine, and what a tired engineer would have written.
struct Plant {
    name: &'static str,
    file: &'static str,
    sound: &'static str,
    broken: &'static str,
}

const PLANTS: [Plant; 6] = [
    Plant {
        name: "a-leader-ends-beside-a-thread-that-waits-for-one",
        file: "engine/src/log/group.rs",
        sound: "if slot.blocked {",
        broken: "if slot.blocked && slot.answer.is_some() {",
    },
    Plant {
        name: "who-wants-to-lead-alone-is-not-told",
        file: "engine/src/log/group.rs",
        sound: "state.led = false;\n            self.idle.notify_all();",
        broken: "state.led = false;",
    },
    Plant {
        name: "a-committer-ends-and-does-not-say-so",
        file: "engine/src/log/group.rs",
        sound: "                state.has_committer = false;\n",
        broken: "",
    },
    Plant {
        name: "a-grant-that-nobody-takes-is-kept",
        file: "engine/src/channel/capacity.rs",
        sound: "credits.used = credits.used.saturating_sub(self.request.events);",
        broken: "drop(self.request.events);",
    },
    Plant {
        name: "who-gives-up-wakes-nobody-behind",
        file: "engine/src/channel/capacity.rs",
        sound: "        let granted = credits.grant();\n        drop(credits);\n        wake(granted);\n    }\n}\n\n/// Wakes",
        broken: "    }\n}\n\n/// Wakes",
    },
    // As it was, until a model found it.
    Plant {
        name: "who-waits-is-told-after-it-has-left-the-queue",
        file: "engine/src/sync.rs",
        sound: "queue.drain(..count).filter_map(|waiter| waiter.tell()).collect()",
        broken: "let first: Vec<_> = queue.drain(..count).collect();
            drop(queue);
            first.into_iter().filter_map(|waiter| waiter.tell()).collect()",
    },
];

pub(crate) fn run(arguments: &Arguments) -> Answer<()> {
    if arguments.has("--plants") {
        return PLANTS.iter().try_for_each(plant);
    }
    if let Some(name) = arguments.values("--plant").next() {
        let found = PLANTS.iter().find(|plant| plant.name == name);
        let names: Vec<&str> = PLANTS.iter().map(|plant| plant.name).collect();
        return plant(found.ok_or_else(|| format!("--plant {name}: one of {}", names.join(" ")))?);
    }
    let mut models = models(&root());
    if arguments.has("--preemptions") {
        let preemptions = arguments.number("--preemptions", 0)?.to_string();
        models.env("LOOM_MAX_PREEMPTIONS", preemptions);
    }
    must(&mut models)
}

fn target() -> PathBuf {
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    target.join("loom")
}

/// The models of the engine below `root`.
fn models(root: &Path) -> Command {
    let mut models = cargo(&["test", "--quiet", "--release", "--package", "fchannel", "--lib"]);
    models.args(["interleavings", "--", "--nocapture", "--test-threads", "1"]);
    models.current_dir(root).env("RUSTFLAGS", "--cfg fchannel_loom");
    models.env("CARGO_TARGET_DIR", target());
    // Much is built and little is run.
    models.env("CARGO_PROFILE_RELEASE_LTO", "off").env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1");
    models.env("CARGO_INCREMENTAL", "1");
    models
}

/// A copy of the engine with the bug must fail.
fn plant(plant: &Plant) -> Answer<()> {
    let copy = target().join("planted");
    copy_engine(&copy)?;
    let path = copy.join(plant.file);
    let text = fs::read_to_string(&path)?;
    if text.matches(plant.sound).count() != 1 {
        return Err(format!("{}: {} has not once what it replaces", plant.name, plant.file).into());
    }
    fs::write(&path, text.replace(plant.sound, plant.broken))?;
    // That it does not compile would look like a bug that is found.
    must(models(&copy).arg("--list").stdout(Stdio::null()).stderr(Stdio::null()))
        .map_err(|error| format!("{}: the copy cannot be built: {error}", plant.name))?;
    let mut models = models(&copy);
    let status = models.stdout(Stdio::null()).stderr(Stdio::null()).status()?;
    if status.success() {
        return Err(format!("{}: NOT FOUND: the models prove nothing", plant.name).into());
    }
    println!("{}: found, as it must be", plant.name);
    Ok(())
}

/// The engine alone, as a workspace.
fn copy_engine(copy: &Path) -> Answer<()> {
    let root = root();
    let mut files = files_below(&root.join("engine/src"), ".rs")?;
    // A unit test reads a document.
    files.extend(files_below(&root.join("docs"), ".md")?);
    files.extend(["engine/Cargo.toml", "Cargo.lock"].map(|file| root.join(file)));
    for file in files {
        let to = copy.join(file.strip_prefix(&root)?);
        if let Some(dir) = to.parent() {
            fs::create_dir_all(dir)?;
        }
        fs::copy(&file, &to)?;
    }
    let manifest = fs::read_to_string(root.join("Cargo.toml"))?;
    let lines = manifest.lines().map(|line| match line.split(" = ").next() {
        Some("members" | "default-members") => "# Left out.",
        _ => line,
    });
    let manifest: Vec<&str> = lines.collect();
    let manifest =
        manifest.join("\n").replace("[workspace]", "[workspace]\nmembers = [\"engine\"]");
    Ok(fs::write(copy.join("Cargo.toml"), manifest)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_to_be_broken_is_there_once() {
        for plant in PLANTS {
            let text = fs::read_to_string(root().join(plant.file)).unwrap();
            assert_eq!(text.matches(plant.sound).count(), 1, "{}", plant.name);
        }
    }
}
