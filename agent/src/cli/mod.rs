//! The command line: one file per verb.
//!
//! A verb is a struct of its arguments with a `run` that returns how it ended. To add one: a file, a line in `Verb`, a line in `run`.

mod agent;
mod bench;
mod channel;
mod check;
mod components;
mod conf_input;
mod demo;
mod exit;
mod explain;
mod inspect;
mod output;
mod quarantine;
mod repair;

pub use agent::AgentArgs;
pub use bench::BenchArgs;
pub use check::CheckArgs;
pub use components::ComponentsArgs;
pub use demo::DemoArgs;
pub use exit::{EXIT_CODES, Exit};
pub use explain::ExplainArgs;
pub use inspect::InspectArgs;
pub use quarantine::QuarantineArgs;
pub use repair::RepairArgs;

use crate::registry::Registry;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use std::process::ExitCode;

/// Runs Apache Flume configurations on a durable file channel.
#[derive(Debug, Parser)]
#[command(name = "fchannel", version, after_help = "Exit codes: `fchannel help exit-codes`")]
pub struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Run an agent of a configuration file
    Agent(AgentArgs),
    /// Check a configuration file without starting anything
    Check(CheckArgs),
    /// Show the components of this build with all their properties
    Components(ComponentsArgs),
    /// Look into a channel, live or not, and change nothing
    Inspect(InspectArgs),
    /// Set damage of a channel aside, a plan first; or take that back
    Repair(RepairArgs),
    /// Look at damage that was set aside, put back what can be read, settle it
    Quarantine(QuarantineArgs),
    /// Say what the code of a finding means, what to do, and what not
    Explain(ExplainArgs),
    /// Run a pipeline under load, kill it half-way, and count what came out
    Demo(DemoArgs),
    /// Measure a channel on a disk beside the disk itself; `bench disk DIR`: the disk alone
    Bench(BenchArgs),
    /// Print what the exit codes mean
    ExitCodes,
}

/// Reads the command line of this process and does what it says.
///
/// The answer is how the process shall end. Wrong use ends it at once, with a message, as does `--help`.
#[must_use]
pub fn main() -> ExitCode {
    // The table of exit codes is data, so that help text cannot be a literal.
    let command =
        Cli::command().mut_subcommand("exit-codes", |verb| verb.after_help(exit::table()));
    let parsed = Cli::from_arg_matches(&command.get_matches());
    match parsed {
        Ok(cli) => run(&cli, &Registry::builtin()),
        Err(error) => error.exit(),
    }
}

fn run(cli: &Cli, registry: &Registry) -> ExitCode {
    match &cli.verb {
        Verb::Agent(args) => agent::run(args, registry),
        Verb::Check(args) => check::run(args, registry).into(),
        Verb::Components(args) => components::run(args, registry).into(),
        Verb::Inspect(args) => inspect::run(args, registry).into(),
        Verb::Repair(args) => repair::run(args, registry).into(),
        Verb::Quarantine(args) => quarantine::run(args, registry).into(),
        Verb::Explain(args) => explain::run(args).into(),
        Verb::Demo(args) => demo::run(args).into(),
        Verb::Bench(args) => bench::run(args).into(),
        Verb::ExitCodes => output::finish(&exit::table(), Exit::Done).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn flumes_options_of_an_agent_are_accepted() {
        let line = "fchannel agent --conf conf --conf-file a.conf --name a1 --no-reload-conf";
        assert!(Cli::try_parse_from(line.split(' ')).is_ok());
        assert!(Cli::try_parse_from("fchannel agent -c conf -f a.conf -n a1".split(' ')).is_ok());
    }
}
