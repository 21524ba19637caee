//! `fchannel agent`: runs one agent of a conf, with Flume's options.

use super::{Exit, conf_input, output};
use crate::{
    channels::file_directories,
    config::{AgentConfig, Diagnostics, Severity, render},
    registry::Registry,
    runtime::{self, Ended, RunOptions},
};
use clap::{Args, ValueEnum};
use fchannel::io::{Holder, StdVfs, Vfs};
use std::{
    io,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};
use tracing::{error, info, warn};

const EXITS: &str = "\
Exit codes:
   0  stopped as ordered
   1  the file cannot be read, or the agent failed
   5  a channel is in use by another process: nothing was started
   8  not all events in flight were settled within --grace
  78  the file is invalid: nothing was started";

/// The arguments of `fchannel agent`.
#[derive(Debug, Args)]
#[command(after_help = EXITS)]
pub struct AgentArgs {
    /// Name of the agent in the file
    #[arg(short, long)]
    pub name: String,
    /// Configuration file
    #[arg(short = 'f', long)]
    pub conf_file: PathBuf,
    /// Directory in which a relative configuration file is looked for if it is not in the current one
    #[arg(short = 'c', long, value_name = "DIR")]
    pub conf: Option<PathBuf>,
    /// Accepted: this build never reloads a file
    #[arg(long)]
    pub no_reload_conf: bool,
    /// Run what is sound and leave the rest out with a warning, as Flume does
    #[arg(long)]
    pub lenient: bool,
    /// Form of the log on standard error
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
    /// How long to wait for events in flight when stopping
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = seconds)]
    pub grace: Duration,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One object a line.
    Json,
}

/// `30` and `30s` are thirty seconds.
fn seconds(text: &str) -> Result<Duration, String> {
    let number = text.strip_suffix('s').unwrap_or(text);
    number
        .parse()
        .map(Duration::from_secs)
        .map_err(|_| "expected a whole number of seconds".to_owned())
}

pub(super) fn run(args: &AgentArgs, registry: &Registry) -> ExitCode {
    start_log(args.log_format);
    let file = locate(args);
    let mode = conf_input::mode(args.lenient);
    let loaded = match conf_input::load_file(&file, Some(&args.name), mode, registry) {
        Ok(loaded) => loaded,
        Err(exit) => return exit.into(),
    };
    match args.log_format {
        LogFormat::Text => print(&loaded.diagnostics),
        LogFormat::Json => log(&loaded.diagnostics),
    }
    let Some(config) = loaded.agents.into_iter().next() else {
        return Exit::Config.into();
    };
    if !args.no_reload_conf {
        info!("a changed configuration file is not reloaded: restart the agent");
    }
    start(config, args)
}

fn print(diagnostics: &Diagnostics) {
    if !diagnostics.items().is_empty() {
        output::print_error(&render(diagnostics, output::wants_color(&io::stderr())));
        output::print_error(&format!("{}\n", diagnostics.summary()));
    }
}

/// One object a finding, for those who collect the log: excerpts are for eyes.
fn log(diagnostics: &Diagnostics) {
    let file = diagnostics.file().name();
    for item in diagnostics.items() {
        let position = diagnostics.position(item);
        let (line, column) = (position.map(|at| at.line), position.map(|at| at.column));
        match item.severity {
            Severity::Error => error!(code = item.code, file, line, column, "{}", item.message),
            Severity::Warning => warn!(code = item.code, file, line, column, "{}", item.message),
        }
    }
}

/// The one place where the runtime takes over.
fn start(config: AgentConfig, args: &AgentArgs) -> ExitCode {
    let options = RunOptions { grace: args.grace, ..RunOptions::default() };
    let homes: Vec<PathBuf> = config
        .channels
        .iter()
        .filter_map(|channel| file_directories(channel).map(|(home, _)| home))
        .collect();
    match runtime::run(config, options) {
        Ok(Ended { failed, .. }) if !failed.is_empty() => Exit::Failed.into(),
        Ok(Ended { stuck, .. }) if stuck.is_empty() => Exit::Done.into(),
        Ok(_) => Exit::TimedOut.into(),
        Err(error) => {
            error!("nothing was started: {error}");
            let locked = homes.iter().any(|home| is_locked(home));
            if locked { Exit::Locked.into() } else { Exit::Failed.into() }
        }
    }
}

/// Whether a live process has a channel: ours are closed again when nothing was started.
fn is_locked(home: &Path) -> bool {
    matches!(StdVfs::default().holder(home), Ok(Holder::Process { .. }))
}

/// The file as given, or the one in `--conf` if that is the only one.
fn locate(args: &AgentArgs) -> PathBuf {
    let Some(directory) = &args.conf else { return args.conf_file.clone() };
    let in_directory = directory.join(&args.conf_file);
    if !args.conf_file.exists() && in_directory.exists() {
        return in_directory;
    }
    warn!(directory = %directory.display(), "--conf is not used: no flume-env.sh, no log4j settings are read");
    args.conf_file.clone()
}

fn start_log(format: LogFormat) {
    let log = tracing_subscriber::fmt()
        .with_writer(io::stderr)
        .with_ansi(output::wants_color(&io::stderr()));
    // Only a test that runs several agents has a log already, and that one will do.
    let is_started = match format {
        LogFormat::Text => log.with_target(false).try_init(),
        LogFormat::Json => log.json().flatten_event(true).try_init(),
    };
    if is_started.is_err() {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grace_is_seconds_with_or_without_a_unit() {
        assert_eq!(seconds("30"), Ok(Duration::from_secs(30)));
        assert_eq!(seconds("5s"), Ok(Duration::from_secs(5)));
        assert!(seconds("1m").is_err());
        assert!(seconds("-1").is_err());
    }
}
