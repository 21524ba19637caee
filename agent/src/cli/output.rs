//! Text for people and programs: a reader that closes the pipe ends us quietly, colour is for terminals only.

use super::Exit;
use crate::config::printable;
use std::{
    io::{self, ErrorKind, IsTerminal, Write},
    path::Path,
};

/// Prints `text` to standard output and says how the command ends: as `exit` unless that fails.
pub(super) fn finish(text: &str, exit: Exit) -> Exit {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => exit,
        Err(error) if error.kind() == ErrorKind::BrokenPipe => exit,
        Err(error) => {
            complain(&format!("cannot write to standard output: {error}"));
            Exit::Failed
        }
    }
}

/// Prints `text` to standard error. If even that fails there is nobody left to tell.
pub(super) fn print_error(text: &str) {
    if io::stderr().lock().write_all(text.as_bytes()).is_err() {}
}

/// A path for people: harmless to a terminal.
pub(super) fn path(path: &Path) -> String {
    printable(&path.to_string_lossy())
}

/// One line about what keeps a command from doing its work.
pub(super) fn complain(message: &str) {
    print_error(&format!("error: {message}\n"));
}

/// True if `stream` shall be coloured: it is a terminal that can, and nobody has said no (no-color.org).
pub(super) fn wants_color(stream: &impl IsTerminal) -> bool {
    let is_refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let is_dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    stream.is_terminal() && !is_refused && !is_dumb
}
