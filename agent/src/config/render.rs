//! Findings as text, in the manner of rustc: `error[CODE]: message`, the place, the line with carets, notes.
//!
//! The excerpt is made of cells, one for each column printed, each of which knows its bytes of the file. So a tab may be four columns
//! and a secret three asterisks, and the carets still stand under the right ones.

use super::{
    conf_file::Span,
    diagnostics::{Diagnostic, Diagnostics, Label, Severity},
};
use std::fmt::Write;

/// A longer line is cut around its label.
const COLUMNS_MAX: usize = 160;
/// What a cut line shows before the label.
const COLUMNS_BEFORE_LABEL: usize = 60;
/// No more of a line is looked at on either side of where a label starts.
const WINDOW_BYTES: usize = 1024;

const BOLD: &str = "\u{1b}[1m";
const RED: &str = "\u{1b}[1;31m";
const YELLOW: &str = "\u{1b}[1;33m";
const BLUE: &str = "\u{1b}[1;34m";
const RESET: &str = "\u{1b}[0m";

/// All findings, each followed by a blank line, without the summary. Colour only repeats what the text says.
#[must_use]
pub fn render(diagnostics: &Diagnostics, color: bool) -> String {
    let mut out = Output { text: String::new(), color };
    for item in diagnostics.items() {
        out.diagnostic(diagnostics, item);
    }
    if diagnostics.hidden() > 0 {
        out.line(format_args!("{} more findings are not shown\n", diagnostics.hidden()));
    }
    out.text
}

struct Output {
    text: String,
    color: bool,
}

impl Output {
    fn line(&mut self, text: std::fmt::Arguments<'_>) {
        // Writing to a string cannot fail.
        if writeln!(self.text, "{text}").is_err() {}
    }

    fn paint(&self, style: &str, text: &str) -> String {
        if self.color { format!("{style}{text}{RESET}") } else { text.to_owned() }
    }

    fn diagnostic(&mut self, all: &Diagnostics, item: &Diagnostic) {
        let style = severity_style(item.severity);
        let head = self.paint(style, &format!("{}[{}]", item.severity.as_str(), item.code));
        let message = self.paint(BOLD, &format!(": {}", item.message));
        self.line(format_args!("{head}{message}"));
        let margin = self.excerpt(all, item);
        let gutter = self.paint(BLUE, "=");
        for help in &item.help {
            let label = self.paint(BOLD, "help");
            self.line(format_args!("{:margin$} {gutter} {label}: {help}", ""));
        }
        for note in &item.notes {
            let label = self.paint(BOLD, "note");
            self.line(format_args!("{:margin$} {gutter} {label}: {note}", ""));
        }
        self.text.push('\n');
    }

    /// Returns the width of the line numbers.
    fn excerpt(&mut self, all: &Diagnostics, item: &Diagnostic) -> usize {
        let Some(primary) = &item.primary else {
            let arrow = self.paint(BLUE, "-->");
            self.line(format_args!("  {arrow} {}", printable(all.file().name())));
            return 2;
        };
        let marks = marks(all, item, primary);
        let margin = marks.iter().map(|mark| mark.line).max().unwrap_or(1).to_string().len();
        let arrow = self.paint(BLUE, "-->");
        let bar = self.paint(BLUE, "|");
        let at = all.file().position(primary.span.start);
        let name = printable(all.file().name());
        self.line(format_args!("{:margin$}{arrow} {name}:{}:{}", "", at.line, at.column));
        self.line(format_args!("{:margin$} {bar}", ""));
        let mut shown = 0;
        for mark in &marks {
            if mark.line != shown {
                if shown != 0 && mark.line != shown + 1 {
                    self.line(format_args!("{}", self.paint(BLUE, "...")));
                }
                let number = self.paint(BLUE, &format!("{:>margin$}", mark.line));
                let text: String = mark.cells.iter().map(|cell| cell.c).collect();
                self.line(format_args!("{number} {bar} {}", text.trim_end()));
                shown = mark.line;
            }
            let carets = self.paint(mark.style(item.severity), &mark.carets());
            self.line(format_args!("{:margin$} {bar} {:2$}{carets}", "", "", mark.indent()));
        }
        if !item.help.is_empty() || !item.notes.is_empty() {
            self.line(format_args!("{:margin$} {bar}", ""));
        }
        margin
    }
}

fn severity_style(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => RED,
        Severity::Warning => YELLOW,
    }
}

/// A column of an excerpt.
struct Cell {
    c: char,
    span: Span,
}

/// A label on its line.
struct Mark<'a> {
    line: usize,
    cells: Vec<Cell>,
    label: &'a Label,
    primary: bool,
}

impl Mark<'_> {
    fn style(&self, severity: Severity) -> &'static str {
        if self.primary { severity_style(severity) } else { BLUE }
    }

    fn indent(&self) -> usize {
        let span = self.label.span;
        let is_marked = |cell: &Cell| cell.span.overlaps(span) || cell.span.start >= span.start;
        self.cells.iter().position(is_marked).unwrap_or(self.cells.len())
    }

    fn carets(&self) -> String {
        let marked = self.cells.iter().filter(|cell| cell.span.overlaps(self.label.span)).count();
        let symbol = if self.primary { "^" } else { "-" };
        let carets = symbol.repeat(marked.max(1));
        format!("{carets} {}", self.label.text).trim_end().to_owned()
    }
}

/// The labels of a finding in the order of their lines.
fn marks<'a>(all: &Diagnostics, item: &'a Diagnostic, primary: &'a Label) -> Vec<Mark<'a>> {
    let labels = std::iter::once(primary).chain(&item.secondary);
    let mut marks: Vec<_> = labels
        .map(|label| {
            let line = all.file().position(label.span.start).line;
            let cells = cells(all, line, label.span);
            Mark { line, cells, label, primary: std::ptr::eq(label, primary) }
        })
        .collect();
    marks.sort_by_key(|mark| (mark.line, mark.label.span.start));
    marks
}

/// A line as it is printed: secrets masked, tabs as blanks, control characters visible, cut if it is very long.
fn cells(all: &Diagnostics, line: usize, label: Span) -> Vec<Cell> {
    let line = all.file().line(line);
    let text = all.file().text();
    let start = text.floor_char_boundary(label.start.saturating_sub(WINDOW_BYTES)).max(line.start);
    let end = text.ceil_char_boundary(label.start + WINDOW_BYTES).min(line.end);
    let content = Span { start, end };
    let text = text.get(start..end).unwrap_or_default();
    let masks: Vec<_> = all.secrets().iter().filter(|mask| mask.overlaps(content)).collect();
    let mut cells = Vec::new();
    let mut masked_until = 0;
    for (offset, c) in text.char_indices() {
        let start = content.start + offset;
        if start < masked_until {
            continue;
        }
        if let Some(mask) = masks.iter().find(|mask| mask.start <= start && start < mask.end) {
            let span = Span { start, end: mask.end };
            masked_until = mask.end;
            cells.extend((0..3).map(|_| Cell { c: '*', span }));
            continue;
        }
        let span = Span { start, end: start + c.len_utf8() };
        let columns = if c == '\t' { 4 } else { 1 };
        cells.extend((0..columns).map(|_| Cell { c: visible(c), span }));
    }
    cut(cells, label, start > line.start, end < line.end)
}

/// Cuts a line to its width, with dots where something is missing.
fn cut(mut cells: Vec<Cell>, label: Span, lacks_start: bool, lacks_end: bool) -> Vec<Cell> {
    if cells.len() <= COLUMNS_MAX && !lacks_start && !lacks_end {
        return cells;
    }
    let dots = |span: Span| (0..3).map(move |_| Cell { c: '.', span });
    let at = cells.iter().position(|cell| cell.span.end > label.start).unwrap_or(cells.len());
    let first = at.saturating_sub(COLUMNS_BEFORE_LABEL);
    let nowhere = Span::default();
    let is_cut = lacks_end || cells.len() > first + COLUMNS_MAX;
    cells.truncate(first + COLUMNS_MAX);
    cells.drain(..first);
    if first > 0 || lacks_start {
        cells.splice(0..0, dots(nowhere));
    }
    if is_cut {
        // Behind everything, so that no caret stands here.
        cells.extend(dots(Span { start: usize::MAX, end: usize::MAX }));
    }
    cells
}

/// A character that does nothing to a terminal.
fn visible(c: char) -> char {
    match c {
        '\t' => ' ',
        '\0'..='\u{1f}' => char::from_u32(0x2400 + u32::from(c)).unwrap_or('?'),
        '\u{7f}' => '\u{2421}',
        // C1 controls, and what turns the direction of a line around.
        '\u{80}'..='\u{9f}'
        | '\u{200e}'
        | '\u{200f}'
        | '\u{202a}'..='\u{202e}'
        | '\u{2066}'..='\u{2069}' => '\u{fffd}',
        other => other,
    }
}

/// Text of others within a message: on one line, harmless to a terminal.
#[must_use]
pub(crate) fn printable(text: &str) -> String {
    text.chars().map(visible).collect()
}
