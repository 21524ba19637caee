//! Links between documents that lead nowhere.

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
    findings
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
}
