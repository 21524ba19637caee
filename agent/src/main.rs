//! The `fchannel` command.
fn main() {}
