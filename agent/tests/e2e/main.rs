//! End to end: confs made by hand, the real runtime, real sockets, files and child processes.

#[cfg(test)]
mod common;
#[cfg(test)]
mod runtime;
#[cfg(test)]
mod sources;
