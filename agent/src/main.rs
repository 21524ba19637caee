//! The `fchannel` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    fchannel_agent::cli::main()
}
