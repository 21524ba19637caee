//! What is wrong with a conf: data only. How it looks is for [`render`](fn@super::render).

use super::conf_file::{ConfFile, Position, Span};

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The agent runs, perhaps not as meant.
    Warning,
    /// The agent does not start.
    Error,
}

impl Severity {
    /// `error` or `warning`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// A place in the file and what is to be said about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    /// Where.
    pub span: Span,
    /// What; may be empty.
    pub text: String,
}

/// One finding.
///
/// Its texts never contain a secret or a value from the environment: whoever makes one quotes [`Property::shown`](super::Property::shown).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// Of [`codes`](super::codes).
    pub code: &'static str,
    /// One line without a full stop.
    pub message: String,
    /// The place to be changed.
    pub primary: Option<Label>,
    /// Places that explain.
    pub secondary: Vec<Label>,
    /// What to do.
    pub help: Vec<String>,
    /// Why, or what Flume does.
    pub notes: Vec<String>,
}

impl Diagnostic {
    /// A finding that keeps the agent from starting.
    #[must_use]
    pub fn error(code: &'static str, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            code,
            message: message.into(),
            primary: None,
            secondary: Vec::new(),
            help: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// A finding that does not.
    #[must_use]
    pub fn warning(code: &'static str, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(code, message) }
    }

    /// With the place to be changed.
    #[must_use]
    pub fn at(mut self, span: Span, text: impl Into<String>) -> Self {
        self.primary = Some(Label { span, text: text.into() });
        self
    }

    /// With a place that explains.
    #[must_use]
    pub fn and(mut self, span: Span, text: impl Into<String>) -> Self {
        self.secondary.push(Label { span, text: text.into() });
        self
    }

    /// With what to do.
    #[must_use]
    pub fn help(mut self, text: impl Into<String>) -> Self {
        self.help.push(text.into());
        self
    }

    /// With what to do, if there is something.
    #[must_use]
    pub fn maybe_help(mut self, text: Option<String>) -> Self {
        self.help.extend(text);
        self
    }

    /// With a reason.
    #[must_use]
    pub fn note(mut self, text: impl Into<String>) -> Self {
        self.notes.push(text.into());
        self
    }

    /// Where the primary label starts; 0 for a finding about the whole file, so that it comes first.
    #[must_use]
    pub fn offset(&self) -> usize {
        self.primary.as_ref().map_or(0, |label| label.span.start)
    }
}

/// Everything found in one conf, in the order of the file, with what is needed to print it.
#[derive(Clone, Debug)]
pub struct Diagnostics {
    file: ConfFile,
    /// Never printed.
    secrets: Vec<Span>,
    items: Vec<Diagnostic>,
    errors: usize,
    warnings: usize,
}

/// Further findings are counted, not kept.
const ITEMS_MAX: usize = 500;

impl Diagnostics {
    /// Sorts `items` by their place. Excerpts never show the bytes in `secrets`.
    #[must_use]
    pub fn new(file: ConfFile, secrets: Vec<Span>, mut items: Vec<Diagnostic>) -> Self {
        items.sort_by_key(Diagnostic::offset);
        let errors = items.iter().filter(|item| item.severity == Severity::Error).count();
        let warnings = items.len() - errors;
        items.truncate(ITEMS_MAX);
        Self { file, secrets, items, errors, warnings }
    }

    /// The conf.
    #[must_use]
    pub fn file(&self) -> &ConfFile {
        &self.file
    }

    /// What excerpts must not show.
    #[must_use]
    pub fn secrets(&self) -> &[Span] {
        &self.secrets
    }

    /// In the order of the file; the first few hundred.
    #[must_use]
    pub fn items(&self) -> &[Diagnostic] {
        &self.items
    }

    /// How many of this severity.
    #[must_use]
    pub fn count(&self, severity: Severity) -> usize {
        match severity {
            Severity::Error => self.errors,
            Severity::Warning => self.warnings,
        }
    }

    /// How many findings are not in [`items`](Self::items).
    #[must_use]
    pub fn hidden(&self) -> usize {
        self.errors + self.warnings - self.items.len()
    }

    /// True if the agent must not start.
    #[must_use]
    pub fn has_errors(&self) -> bool {
        self.count(Severity::Error) > 0
    }

    /// Line and column of a finding, if it has a place.
    #[must_use]
    pub fn position(&self, item: &Diagnostic) -> Option<Position> {
        item.primary.as_ref().map(|label| self.file.position(label.span.start))
    }

    /// `1 error, 2 warnings`.
    #[must_use]
    pub fn summary(&self) -> String {
        let counted = |count: usize, noun: &str| {
            let plural = if count == 1 { "" } else { "s" };
            format!("{count} {noun}{plural}")
        };
        let errors = counted(self.count(Severity::Error), "error");
        format!("{errors}, {}", counted(self.count(Severity::Warning), "warning"))
    }
}
