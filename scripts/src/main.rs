//! `cargo x TASK`: the project's own chores.
fn main() {}
