//! `cargo x tidy`: house rules that no compiler knows. The tables of what may import what are in [`arrows`] and [`agent`].

mod agent;
mod arrows;
mod links;
mod source;

use crate::shell::{Answer, Arguments, files_below, root};
use source::Source;
use std::{fmt, fs, io::Write, path::Path};

/// A broken rule, at a place that an editor can jump to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    pub(crate) file: String,
    pub(crate) line: usize,
    pub(crate) what: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.what)
    }
}

const COLUMNS_MAX: usize = 140;
/// In two parts, or this file would break its own rule.
const LEFT_OPEN: [&str; 3] = [concat!("FIX", "ME"), concat!("XX", "X"), concat!("to", "do!")];

/// The names of segments, checkpoints and spares are spelled in one place.
const FILE_NAMES: [&str; 3] = ["seg-", "checkpoint-", "spare-"];
const FILE_NAMES_MAY_STAND_IN: [&str; 3] = [
    "engine/src/log/names.rs",
    // How a place in the log is printed, and how it is read: not a file's name.
    "engine/src/ids.rs",
    "engine/src/inspect/position.rs",
];
/// System calls, and allocators that count for a test, for the fuzz targets and for a benchmark.
const UNSAFE_MAY_STAND_IN: [&str; 4] =
    ["engine/src/io/sys/", "engine/tests/memory.rs", "fuzz/src/allocation.rs", "benches/paths.rs"];

pub(crate) fn run(arguments: &Arguments) -> Answer<()> {
    let root = root();
    let sources = read_sources(&root)?;
    if arguments.has("--sizes") {
        print_sizes(&sources);
        return Ok(());
    }
    if arguments.has("--imports") {
        arrows::print_matrix(&sources);
        return Ok(());
    }
    let mut findings = Vec::new();
    for source in &sources {
        findings.extend(arrows::check(source));
        findings.extend(agent::check(source, &sources));
        findings.extend(check_words(source));
    }
    for path in files_below(&root, ".md")? {
        let text = fs::read_to_string(&path)?;
        let file = relative(&root, &path);
        findings.extend(links::check(&path, &file, &text));
        findings.extend(check_lines(&file, &text));
    }
    for source in &sources {
        findings.extend(check_lines(&source.file, &source.text));
    }
    let stale = crate::sim::stale_plants()?.into_iter();
    findings.extend(stale.map(|what| Finding {
        file: "scripts/src/sim/plants.rs".to_owned(),
        line: 1,
        what,
    }));
    findings.extend(crate::sim::stale_table()?.into_iter().map(|what| Finding {
        file: "docs/TESTING.md".to_owned(),
        line: 1,
        what,
    }));
    for finding in &findings {
        println!("{finding}");
    }
    if findings.is_empty() {
        println!("tidy: {} source files, nothing to say", sources.len());
        Ok(())
    } else {
        Err(format!("{} findings", findings.len()).into())
    }
}

fn read_sources(root: &Path) -> Answer<Vec<Source>> {
    let mut sources = Vec::new();
    for path in files_below(root, ".rs")? {
        sources.push(Source::new(relative(root, &path), fs::read_to_string(&path)?));
    }
    Ok(sources)
}

fn relative(root: &Path, path: &Path) -> String {
    path.strip_prefix(root).unwrap_or(path).to_string_lossy().into_owned()
}

fn print_sizes(sources: &[Source]) {
    let mut sizes: Vec<(usize, &str)> =
        sources.iter().map(|source| (source.text.lines().count(), source.file.as_str())).collect();
    sizes.sort_by(|left, right| right.cmp(left));
    let table: String = sizes.iter().map(|(lines, file)| format!("{lines:>6} {file}\n")).collect();
    // Into `head`, perhaps.
    drop(std::io::stdout().write_all(table.as_bytes()));
}

/// Words that may not stand everywhere: `unsafe`, names of our files.
fn check_words(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    if !UNSAFE_MAY_STAND_IN.iter().any(|place| source.file.starts_with(place)) {
        let what = format!("unsafe may stand only in {}", UNSAFE_MAY_STAND_IN.join(", "));
        findings.extend(source.words("unsafe").map(|line| source.finding(line, what.clone())));
    }
    let ours = source.file.starts_with("engine/src/") || source.file.starts_with("agent/src/");
    if ours && !FILE_NAMES_MAY_STAND_IN.contains(&source.file.as_str()) {
        for (line, literal) in source.literals() {
            if FILE_NAMES.iter().any(|name| literal.starts_with(name)) {
                let what = format!(
                    "\"{literal}\": names of files are spelled in {} alone",
                    FILE_NAMES_MAY_STAND_IN[0]
                );
                findings.push(source.finding(line, what));
            }
        }
    }
    findings
}

/// What was left open, and lines too long to read. A row of a Markdown table cannot be broken.
fn check_lines(file: &str, text: &str) -> Vec<Finding> {
    let markdown = Path::new(file).extension().is_some_and(|extension| extension == "md");
    let mut findings = Vec::new();
    for (line, content) in (1..).zip(text.lines()) {
        let mut find = |what: String| findings.push(Finding { file: file.to_owned(), line, what });
        for word in LEFT_OPEN {
            if content.contains(word) {
                find(format!("{word}: finish it, or write an issue"));
            }
        }
        let columns = content.chars().count();
        if columns > COLUMNS_MAX && !(markdown && content.starts_with('|')) {
            find(format!("{columns} columns, more than {COLUMNS_MAX}"));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(file: &str, text: &str) -> Vec<String> {
        let source = Source::new(file.to_owned(), text.to_owned());
        check_words(&source).into_iter().map(|finding| finding.what).collect()
    }

    #[test]
    fn unsafe_stands_in_one_place() {
        let text = "// unsafe in a comment\nfn f() { unsafe { g() } }\nconst S: &str = \"unsafe\"; #[expect(unsafe_code)]";
        assert_eq!(findings("engine/src/log/mod.rs", text).len(), 1);
        assert!(findings("engine/src/io/sys/lock.rs", text).is_empty());
    }

    #[test]
    fn names_of_files_stand_in_one_place() {
        let text = "fn f() { format!(\"seg-{id}\"); }\n#[cfg(test)]\nmod tests { const T: &str = \"seg-1\"; }";
        assert_eq!(findings("engine/src/log/mod.rs", text).len(), 1, "tests may spell them");
        assert!(findings("engine/src/log/names.rs", text).is_empty());
        assert!(findings("scripts/src/tidy.rs", text).is_empty());
    }

    #[test]
    fn long_lines_and_open_ends_are_found() {
        let long = "x".repeat(141);
        assert_eq!(check_lines("a.rs", &long).len(), 1);
        assert!(check_lines("a.md", &format!("|{long}|")).is_empty());
        assert_eq!(check_lines("a.md", &format!("a {} b", LEFT_OPEN[0])).len(), 1);
    }
}
