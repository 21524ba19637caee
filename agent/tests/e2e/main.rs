//! End to end: confs made by hand, the real runtime, real sockets, files and child processes.

mod common;
mod runtime;
