//! Standard output, row by row.

use super::text::push;
use serde_json::Value;
use std::{
    io::{self, ErrorKind, Write},
    ops::ControlFlow::{self, Break, Continue},
};

/// Form of the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// Aligned columns, for a terminal.
    Table,
    /// A line of names, then a line for each row, with tabs between.
    Plain,
    /// One object, or one a line.
    Json,
}

/// A writer that remembers how it went: who writes rows asks only whether to go on.
pub(crate) struct Out<W: Write> {
    writer: W,
    pub(crate) form: Form,
    /// Whether words may be coloured.
    pub(crate) color: bool,
    failed: Option<io::Error>,
}

impl<W: Write> Out<W> {
    pub(crate) fn new(writer: W, form: Form, color: bool) -> Self {
        Self { writer, form, color, failed: None }
    }

    /// Writes a line; `Break` if nobody reads any more.
    pub(super) fn line(&mut self, line: &str) -> ControlFlow<()> {
        if self.failed.is_none() {
            self.failed = writeln!(self.writer, "{line}").err();
        }
        if self.failed.is_some() { Break(()) } else { Continue(()) }
    }

    /// Writes a value on a line of its own.
    pub(super) fn json(&mut self, value: &Value) -> ControlFlow<()> {
        self.line(&value.to_string())
    }

    /// Ends the output. A reader that closed the pipe has seen enough, and that is no error.
    ///
    /// # Errors
    /// Whatever else the operating system says.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        let answer = match self.failed {
            Some(error) => Err(error),
            None => self.writer.flush(),
        };
        match answer {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
            answer => answer,
        }
    }
}

/// A column: its name, its least width on a terminal, and on which side its cells stand.
pub(super) type Column = (&'static str, usize, Side);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Left,
    Right,
}

/// Rows under columns of fixed width: nothing is held back to find out how wide a column must be.
pub(super) struct Table {
    columns: &'static [Column],
}

impl Table {
    /// Writes the names.
    pub(super) fn begin<W: Write>(out: &mut Out<W>, columns: &'static [Column]) -> Self {
        let table = Self { columns };
        let names: Vec<String> = columns
            .iter()
            .map(
                |(name, ..)| {
                    if out.form == Form::Plain { name.to_lowercase() } else { (*name).to_owned() }
                },
            )
            .collect();
        // Whether anybody reads shows with the first row.
        let _flow = table.row(out, &names);
        table
    }

    /// Writes a row. Cells are escaped already.
    pub(super) fn row<W: Write>(&self, out: &mut Out<W>, cells: &[String]) -> ControlFlow<()> {
        if out.form == Form::Plain {
            return out.line(&cells.join("\t"));
        }
        let mut line = String::new();
        for (cell, (_, width, side)) in cells.iter().zip(self.columns) {
            match side {
                Side::Left => push(&mut line, format_args!("{cell:<width$}  ")),
                Side::Right => push(&mut line, format_args!("{cell:>width$}  ")),
            }
        }
        out.line(line.trim_end())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Closed;

    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_that_went_away_ends_the_rows_and_is_no_error() {
        let mut out = Out::new(Closed, Form::Plain, false);
        assert_eq!(out.line("x"), Break(()));
        assert_eq!(out.line("y"), Break(()));
        assert!(out.finish().is_ok());
    }

    #[test]
    fn the_forms_differ_in_space_only() {
        const COLUMNS: &[Column] = &[("A", 4, Side::Left), ("B", 4, Side::Right)];
        let print = |form| {
            let mut bytes = Vec::new();
            let mut out = Out::new(&mut bytes, form, false);
            let table = Table::begin(&mut out, COLUMNS);
            assert_eq!(table.row(&mut out, &["x".into(), "1".into()]), Continue(()));
            out.finish().unwrap();
            String::from_utf8(bytes).unwrap()
        };
        assert_eq!(print(Form::Table), "A        B\nx        1\n");
        assert_eq!(print(Form::Plain), "a\tb\nx\t1\n");
    }
}
