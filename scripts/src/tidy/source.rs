//! A Rust file as the rules see it: without comments, without tests, its strings and its paths.

use super::Finding;

/// A source file.
pub(crate) struct Source {
    /// Relative to the root, with `/`.
    pub(crate) file: String,
    pub(crate) text: String,
    /// The text with comments, literals and test modules blanked out: lines and columns stay.
    code: Vec<char>,
    /// String literals outside tests: line and content.
    literals: Vec<(usize, String)>,
}

/// A path that begins with `crate`, `super`, `self` or the engine's name, with all that its braces import.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ImportedPath {
    pub(crate) line: usize,
    pub(crate) segments: Vec<String>,
}

impl Source {
    pub(crate) fn new(file: String, text: String) -> Self {
        let (mut code, spans) = blank(&text);
        for (start, end) in test_modules(&code) {
            for place in code.get_mut(start..end).unwrap_or_default() {
                if *place != '\n' {
                    *place = ' ';
                }
            }
        }
        // A literal in a test module is gone with its place: only its quotes' positions tell.
        let literals = spans
            .into_iter()
            .filter(|span| code.get(span.start) == Some(&'"'))
            .map(|span| (line_of(&code, span.start), span.content))
            .collect();
        Self { file, text, code, literals }
    }

    /// True for files that hold nothing but tests.
    pub(crate) fn is_test(&self) -> bool {
        self.file.ends_with("/tests.rs") || self.file.contains("/tests/")
    }

    pub(crate) fn finding(&self, line: usize, what: String) -> Finding {
        Finding { file: self.file.clone(), line, what }
    }

    /// String literals outside tests: line and content.
    pub(crate) fn literals(&self) -> impl Iterator<Item = (usize, &str)> {
        let test = self.is_test();
        self.literals.iter().filter(move |_| !test).map(|(line, content)| (*line, content.as_str()))
    }

    /// Lines on which `word` stands as a word of its own, outside comments, strings and tests.
    pub(crate) fn words<'a>(&'a self, word: &'a str) -> impl Iterator<Item = usize> + 'a {
        self.idents().filter(move |(_, ident)| ident == word).map(|(at, _)| line_of(&self.code, at))
    }

    fn idents(&self) -> impl Iterator<Item = (usize, String)> + '_ {
        let mut at = 0;
        std::iter::from_fn(move || {
            while self.code.get(at).is_some_and(|c| !is_ident(*c)) {
                at += 1;
            }
            let start = at;
            let ident = ident_at(&self.code, &mut at);
            (!ident.is_empty()).then_some((start, ident))
        })
    }

    /// All paths that lead out of a file.
    pub(crate) fn paths(&self) -> Vec<ImportedPath> {
        let mut found = Vec::new();
        for (at, ident) in self.idents() {
            let roots = ["crate", "super", "self", "fchannel"];
            let behind_a_path = self.code.get(..at).unwrap_or_default().ends_with(&[':', ':']);
            if roots.contains(&ident.as_str()) && !behind_a_path {
                let mut trees = Trees { code: &self.code, at, found: Vec::new() };
                trees.tree(&mut Vec::new());
                found.extend(trees.found);
            }
        }
        found
    }

    /// The paths that lead to somewhere in this crate, with their lines, from its root on. `inside` is the file below the root.
    pub(crate) fn crate_paths(&self, inside: &str) -> Vec<(usize, Vec<String>)> {
        // `super` leads out of the file's own module, and further up.
        let module = inside.trim_end_matches(".rs").trim_end_matches("/mod").split('/');
        let mut above: Vec<String> = module.map(str::to_owned).collect();
        above.pop();
        let absolute = |path: ImportedPath| {
            let mut segments = path.segments.into_iter().peekable();
            let mut at = match segments.next()?.as_str() {
                "crate" => Vec::new(),
                "super" => above.clone(),
                _ => return None,
            };
            while segments.next_if(|segment| segment == "super").is_some() {
                at.pop();
            }
            at.extend(segments);
            Some((path.line, at))
        };
        self.paths().into_iter().filter_map(absolute).collect()
    }
}

/// A reader of use trees: `a::{b, c::d}`.
struct Trees<'a> {
    code: &'a [char],
    at: usize,
    found: Vec<ImportedPath>,
}

impl Trees<'_> {
    fn skip_space(&mut self) {
        while self.code.get(self.at).is_some_and(|c| c.is_whitespace()) {
            self.at += 1;
        }
    }

    fn eat(&mut self, what: &[char]) -> bool {
        self.skip_space();
        let here = self.code.get(self.at..).unwrap_or_default().starts_with(what);
        if here {
            self.at += what.len();
        }
        here
    }

    /// Reads one tree whose first segments are `above`, and gives each of its paths.
    fn tree(&mut self, above: &mut Vec<String>) {
        let depth = above.len();
        self.skip_space();
        let start = self.at;
        loop {
            if self.eat(&['{']) {
                while !self.eat(&['}']) && self.at < self.code.len() {
                    self.tree(above);
                    while self.code.get(self.at).is_some_and(|c| !matches!(c, ',' | '}')) {
                        self.at += 1; // `as other`
                    }
                    self.eat(&[',']);
                }
                break;
            }
            let ident = ident_at(self.code, &mut self.at);
            if ident.is_empty() {
                self.found.push(self.path(start, above));
                break;
            }
            above.push(ident);
            if !self.eat(&[':', ':']) {
                self.found.push(self.path(start, above));
                break;
            }
            self.skip_space();
        }
        above.truncate(depth);
    }

    fn path(&self, start: usize, segments: &[String]) -> ImportedPath {
        ImportedPath { line: line_of(self.code, start), segments: segments.to_vec() }
    }
}

fn is_ident(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn ident_at(code: &[char], at: &mut usize) -> String {
    let ident: String =
        code.get(*at..).unwrap_or_default().iter().take_while(|c| is_ident(**c)).collect();
    *at += ident.chars().count();
    ident
}

fn line_of(code: &[char], at: usize) -> usize {
    1 + code.get(..at).unwrap_or_default().iter().filter(|c| **c == '\n').count()
}

/// A string literal: where its opening quote stands, and what it says.
struct Span {
    start: usize,
    content: String,
}

/// The text with comments and the insides of literals blanked out, and the string literals.
fn blank(text: &str) -> (Vec<char>, Vec<Span>) {
    let mut code: Vec<char> = text.chars().collect();
    let mut spans = Vec::new();
    let mut at = 0;
    while at < code.len() {
        let rest = code.get(at..).unwrap_or_default();
        let hashes = rest.iter().skip(1).take_while(|c| **c == '#').count();
        let end = if rest.starts_with(&['/', '/']) {
            at + rest.iter().take_while(|c| **c != '\n').count()
        } else if rest.starts_with(&['/', '*']) {
            at + block_comment_len(rest)
        } else if rest.first() == Some(&'r')
            && rest.get(1 + hashes) == Some(&'"')
            && !at.checked_sub(1).is_some_and(|before| is_ident(code[before]))
        {
            let open = 2 + hashes;
            let close: Vec<char> =
                std::iter::once('"').chain(std::iter::repeat_n('#', hashes)).collect();
            let inside = rest.get(open..).unwrap_or_default();
            let len = inside
                .windows(close.len())
                .position(|window| window == close)
                .unwrap_or(inside.len());
            spans.push(Span { start: at + open - 1, content: inside.iter().take(len).collect() });
            wipe(&mut code, at + open, at + open + len);
            at += open + len + close.len();
            continue;
        } else if rest.first() == Some(&'"') {
            let len = rest.len().min(1 + string_len(rest.get(1..).unwrap_or_default()));
            spans.push(Span {
                start: at,
                content: rest.get(1..len).unwrap_or_default().iter().collect(),
            });
            wipe(&mut code, at + 1, at + len);
            at += len + 1;
            continue;
        } else if rest.first() == Some(&'\'') {
            // A character, unless it is a lifetime.
            let len = match rest {
                ['\'', '\\', _, tail @ ..] => 4 + tail.iter().take_while(|c| **c != '\'').count(),
                ['\'', _, '\'', ..] => 3,
                _ => 1,
            };
            at + len
        } else {
            at += 1;
            continue;
        };
        wipe(&mut code, at, end);
        at = end;
    }
    (code, spans)
}

fn wipe(code: &mut [char], start: usize, end: usize) {
    let end = end.min(code.len());
    for place in code.get_mut(start..end).unwrap_or_default() {
        if *place != '\n' {
            *place = ' ';
        }
    }
}

fn string_len(inside: &[char]) -> usize {
    let mut escaped = false;
    inside
        .iter()
        .take_while(|c| {
            let ends = **c == '"' && !escaped;
            escaped = **c == '\\' && !escaped;
            !ends
        })
        .count()
}

fn block_comment_len(rest: &[char]) -> usize {
    let (mut depth, mut at) = (0usize, 0);
    while at < rest.len() {
        match rest.get(at..).unwrap_or_default() {
            ['/', '*', ..] => (depth, at) = (depth + 1, at + 2),
            ['*', '/', ..] if depth == 1 => return at + 2,
            ['*', '/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
    }
    at
}

/// Where modules behind `#[cfg(test)]` begin and end.
fn test_modules(code: &[char]) -> Vec<(usize, usize)> {
    let marker: Vec<char> = "#[cfg(test)]".chars().collect();
    let starts = code
        .windows(marker.len())
        .enumerate()
        .filter(|(_, window)| *window == marker)
        .map(|(at, _)| at);
    starts
        .filter_map(|start| {
            let rest = code.get(start..)?;
            let open = rest.iter().position(|c| matches!(c, '{' | ';'))?;
            let mut depth = 0usize;
            let len = rest.iter().skip(open).position(|c| {
                match c {
                    '{' => depth += 1,
                    '}' => depth -= 1,
                    _ => {}
                }
                depth == 0
            })?;
            Some((start, start + open + len + 1))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(text: &str) -> Vec<String> {
        let source = Source::new("a.rs".into(), text.into());
        source.paths().into_iter().map(|path| path.segments.join("::")).collect()
    }

    #[test]
    fn paths_are_read_through_braces_and_outside_of_use() {
        assert_eq!(
            paths(
                "use crate::{error::{Error, Result}, ids as other};\nfn f() { super::g::<T>(crate::log::open()); }"
            ),
            [
                "crate::error::Error",
                "crate::error::Result",
                "crate::ids",
                "super::g",
                "crate::log::open"
            ]
        );
        assert_eq!(
            paths("use super::*; pub(crate) use self::std::StdVfs;"),
            ["super", "crate", "self::std::StdVfs"]
        );
    }

    #[test]
    fn comments_strings_and_tests_say_nothing() {
        let text = [
            "/* crate::a /* crate::b */ */ // crate::c",
            "const S: &str = \"crate::d \\\" crate::e\"; const R: &str = r#\"crate::f\"#;",
            "const C: char = '\"'; fn f<'a>() { crate::g() }",
            "#[cfg(test)]",
            "mod tests { fn t() { crate::h(); } }",
            "fn i() { crate::j() }",
        ];
        let text = &text.join("\n");
        assert_eq!(paths(text), ["crate::g", "crate::j"]);
    }

    #[test]
    fn literals_and_words_know_their_lines() {
        let source = Source::new("a.rs".into(), "fn f() {\n  g(\"seg-1\"); unsafe {}\n}".into());
        assert_eq!(source.literals().collect::<Vec<_>>(), [(2, "seg-1")]);
        assert_eq!(source.words("unsafe").collect::<Vec<_>>(), [2]);
    }
}
