//! What documents point to and is not there: files, and tests.

use super::Finding;
use std::path::Path;

/// Relative links of the document at `path` whose file is not there.
pub(crate) fn check(path: &Path, file: &str, text: &str) -> Vec<Finding> {
    let dir = path.parent().unwrap_or(Path::new(""));
    let mut findings = Vec::new();
    for (line, content) in (1..).zip(text.lines()) {
        for target in targets(content) {
            let place = target.split('#').next().unwrap_or_default();
            let elsewhere = place.contains("://") || place.starts_with("mailto:");
            if !place.is_empty() && !elsewhere && !dir.join(place).exists() {
                findings.push(Finding {
                    file: file.to_owned(),
                    line,
                    what: format!("dead link: {target}"),
                });
            }
        }
    }
    for (line, content) in (1..).zip(text.lines()) {
        for named in content.split('`').skip(1).step_by(2).filter(|named| is_test(named)) {
            if !test_exists(path, named) {
                findings.push(Finding {
                    file: file.to_owned(),
                    line,
                    what: format!("there is no test {named}"),
                });
            }
        }
    }
    findings
}

/// True for `file.rs::name_of_a_test`.
fn is_test(named: &str) -> bool {
    let is_name =
        |name: &str| name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    named.split_once(".rs::").is_some_and(|(file, test)| is_name(file) && is_name(test))
}

/// True if a file of that name among the tests of engine or agent holds a test of that name. `document` lies in the tree.
fn test_exists(document: &Path, named: &str) -> bool {
    let Some((file, test)) = named.split_once("::") else { return false };
    let root = document.ancestors().find(|dir| dir.join("engine").is_dir());
    ["engine", "agent"].iter().any(|part| {
        let path = root.map(|root| root.join(part).join("tests").join(file));
        path.and_then(|path| std::fs::read_to_string(path).ok())
            .is_some_and(|text| text.contains(&format!("fn {test}(")))
    })
}

/// What stands in the parentheses of `[text](target)`.
fn targets(line: &str) -> impl Iterator<Item = &str> {
    line.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| target)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dead_links_are_found_and_others_are_left_alone() {
        let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
        let text = "[a](src/main.rs) [b](https://example.invalid/x) [c](#part)\n[d](src/main.rs#part) [e](gone.md)";
        let found = check(&here, "README.md", text);
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].line, found[0].what.as_str()), (2, "dead link: gone.md"));
    }

    #[test]
    fn tests_that_do_not_exist_are_found() {
        let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
        let text = "`model.rs::segments_do_not_pile_up_behind_a_queue_that_is_drained` and `model.rs::gone` and `a.rs`";
        let found = check(&here, "README.md", text);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].what, "there is no test model.rs::gone");
    }
}
