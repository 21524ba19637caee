//! Builds the simulation against a copy of the engine with a planted bug.

use super::plants::{PLANTS, Plant};
use crate::shell::{Answer, cargo, files_below, must, root};
use std::{
    collections::BTreeMap,
    fs,
    hash::{DefaultHasher, Hash, Hasher},
    path::{Path, PathBuf},
    process::Command,
};

const MEMBERS: [&str; 2] = ["engine", "scripts/sim"];
/// A plant that is not caught by then is not caught.
const SECONDS_MAX: u64 = 120;

fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// Plants whose text is not, or not only once, where they want to change it.
pub(crate) fn stale_plants() -> Answer<Vec<String>> {
    let mut stale = Vec::new();
    for plant in PLANTS {
        for edit in plant.edits {
            let text = fs::read_to_string(root().join("engine/src").join(edit.file))?;
            let found = text.matches(edit.find).count();
            if found != 1 {
                stale.push(format!(
                    "plant {}: its text stands {found} times in engine/src/{}, not once",
                    plant.name, edit.file
                ));
            }
        }
    }
    Ok(stale)
}

/// Where the table of plants in docs/TESTING.md is not the list of them.
pub(crate) fn stale_table() -> Answer<Vec<String>> {
    Ok(differences(&fs::read_to_string(root().join("docs/TESTING.md"))?))
}

fn differences(document: &str) -> Vec<String> {
    const HEAD: &str = "| plant | the rule that it breaks |";
    let rows: Vec<String> =
        PLANTS.iter().map(|plant| format!("| {} | {} |", plant.name, plant.rule)).collect();
    let behind = document.lines().skip_while(|line| *line != HEAD).skip(2);
    let table: Vec<&str> = behind.take_while(|line| line.starts_with('|')).collect();
    let lacks = rows.iter().filter(|row| !table.contains(&row.as_str()));
    let lacks = lacks.map(|row| format!("the table of plants lacks: {row}"));
    let more = table.iter().filter(|line| !rows.iter().any(|row| row == *line));
    let more = more.map(|line| format!("there is no such plant: {line}"));
    let mut differences: Vec<String> = lacks.chain(more).collect();
    if differences.is_empty() && table != rows {
        differences.push("the plants stand in another order, or twice".to_owned());
    }
    differences
}

/// The sources of the engine with a planted bug, and of the simulation, by their places in the workspace.
struct Sources(BTreeMap<PathBuf, String>);

impl Sources {
    fn with(plant: &Plant) -> Answer<Self> {
        let mut files = BTreeMap::new();
        for member in MEMBERS {
            let member = root().join(member);
            let manifest = member.join("Cargo.toml");
            for file in files_below(&member.join("src"), ".rs")?.into_iter().chain([manifest]) {
                let text = fs::read_to_string(&file)
                    .map_err(|error| format!("{}: {error}", file.display()))?;
                files.insert(file.strip_prefix(root())?.to_path_buf(), text);
            }
        }
        files.insert("Cargo.lock".into(), fs::read_to_string(root().join("Cargo.lock"))?);
        files.insert("Cargo.toml".into(), workspace()?);
        for edit in plant.edits {
            let text = files.get_mut(&Path::new("engine/src").join(edit.file));
            let text = text.ok_or_else(|| format!("engine/src/{} is gone", edit.file))?;
            if text.matches(edit.find).count() != 1 {
                let what = format!("plant {}: its text is not once in {}", plant.name, edit.file);
                return Err(what.into());
            }
            *text = text.replacen(edit.find, edit.instead, 1);
        }
        Ok(Self(files))
    }

    fn hash(&self) -> String {
        let mut hasher = DefaultHasher::new();
        self.0.hash(&mut hasher);
        format!("{:016x}", hasher.finish())
    }

    /// Makes `tree` these sources. It is one for all plants, and files that are the same are left alone: so the next plant compiles what
    /// it changes, and no more.
    fn write(&self, tree: &Path) -> Answer<()> {
        fs::create_dir_all(tree)?;
        for file in files_below(tree, ".rs")? {
            if !self.0.contains_key(file.strip_prefix(tree)?) {
                fs::remove_file(file)?;
            }
        }
        for (name, text) in &self.0 {
            let path = tree.join(name);
            if !fs::read_to_string(&path).is_ok_and(|there| there == *text) {
                fs::create_dir_all(path.parent().unwrap_or(tree))?;
                fs::write(path, text)?;
            }
        }
        Ok(())
    }
}

/// Answers the program. One that was built of the same sources is not built again.
pub(crate) fn build(plant: &Plant) -> Answer<PathBuf> {
    let plants = target().join("plants");
    let program = plants.join("built").join(plant.name);
    let stamp = program.with_extension("sources");
    let sources = Sources::with(plant)?;
    let hash = sources.hash();
    if program.exists() && fs::read_to_string(&stamp).is_ok_and(|built| built == hash) {
        return Ok(program);
    }
    let tree = plants.join("tree");
    sources.write(&tree)?;
    let build = plants.join("build");
    let mut command =
        cargo(&["build", "--quiet", "--profile", "plant", "--package", "fchannel-sim"]);
    command.current_dir(&tree).env("CARGO_TARGET_DIR", &build).env("RUSTFLAGS", "-Awarnings");
    must(&mut command)?;
    fs::create_dir_all(plants.join("built"))?;
    fs::copy(build.join("plant").join("fchannel-sim"), &program)?;
    fs::write(stamp, hash)?;
    Ok(program)
}

/// The manifest of the root, with two members, and a profile that builds fast.
fn workspace() -> Answer<String> {
    let text = fs::read_to_string(root().join("Cargo.toml"))?;
    let mut manifest = String::new();
    for line in text.lines().filter(|line| !line.starts_with("default-members")) {
        if line.starts_with("members = ") {
            manifest += &format!("members = {MEMBERS:?}");
        } else {
            manifest += line;
        }
        manifest.push('\n');
    }
    manifest += "\n[profile.plant]\ninherits = \"release\"\nlto = false\nopt-level = 1\ncodegen-units = 32\ndebug = false\n\
                 incremental = true\n";
    Ok(manifest)
}

/// How the simulation fails against it; `None` if it does not. `limits` are words for it.
pub(crate) fn fails(program: &Path, limits: &[String]) -> Answer<Option<String>> {
    let seconds = SECONDS_MAX.to_string();
    let output = Command::new(program)
        .args(["--quiet", "--seeds", "10000000", "--seconds", &seconds])
        .args(limits)
        .output()?;
    if output.status.success() {
        return Ok(None);
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let first = said.lines().next().unwrap_or("it ended without a word");
    Ok(Some(first.trim_start_matches("sim: ").chars().take(150).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_plant_fits_the_engine_as_it_is() {
        assert_eq!(stale_plants().unwrap(), Vec::<String>::new());
    }

    #[test]
    fn the_document_holds_the_same_table() {
        let document = include_str!("../../../docs/TESTING.md");
        assert_eq!(differences(document), Vec::<String>::new());
        let name = format!("| {} |", PLANTS.last().unwrap().name);
        let other = document.replace(&name, "| another |");
        assert_eq!(differences(&other).len(), 2, "one that is gone, one that is not there");
        assert_eq!(differences("").len(), PLANTS.len());
    }

    #[test]
    fn plants_have_names_of_their_own() {
        let names: BTreeSet<&str> = PLANTS.iter().map(|plant| plant.name).collect();
        assert_eq!(names.len(), PLANTS.len());
    }
}
