//! `fchannel check`: what would happen if this conf were run.

mod channels;

use super::{Exit, conf_input, output};
use crate::{
    config::{AgentConfig, Diagnostic, Diagnostics, Loaded, Severity, printable, render},
    registry::Registry,
};
use channels::ChannelFinding;
use clap::{Args, ValueEnum};
use serde_json::{Value, json};
use std::{io, path::PathBuf};

/// The contract of `-o json`.
const SCHEMA: &str = "fchannel.check/1";

const EXITS: &str = "\
Exit codes:
   0  the file is sound; there may be warnings
   1  the file cannot be read
   3  damage in a channel's directories, or one that would not open; warnings, with --deny-warnings
  78  the file is invalid";

/// The arguments of `fchannel check`.
#[derive(Debug, Args)]
#[command(after_help = EXITS)]
pub struct CheckArgs {
    /// Configuration file
    file: PathBuf,
    /// Check this agent only; without it, all agents of the file
    #[arg(short, long)]
    name: Option<String>,
    /// Warn about what cannot run, instead of refusing the file
    #[arg(long)]
    lenient: bool,
    /// Exit with 3 if there are warnings
    #[arg(long)]
    deny_warnings: bool,
    /// Form of the output
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    output: Format,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    Text,
    Json,
}

pub(super) fn run(args: &CheckArgs, registry: &Registry) -> Exit {
    let mode = conf_input::mode(args.lenient);
    let loaded = match conf_input::load_file(&args.file, args.name.as_deref(), mode, registry) {
        Ok(loaded) => loaded,
        Err(exit) => return exit,
    };
    let channels = loaded.agents.iter().flat_map(|agent| &agent.channels);
    let findings: Vec<ChannelFinding> = channels.filter_map(channels::look).collect();
    let text = match args.output {
        Format::Text => text(&loaded, &findings, output::wants_color(&io::stdout())),
        Format::Json => format!("{:#}\n", json_report(&loaded.diagnostics, &findings)),
    };
    let has_warning = findings.iter().any(|finding| finding.is_warning);
    let has_problem =
        findings.iter().any(|finding| finding.is_problem) || args.deny_warnings && has_warning;
    output::finish(&text, exit_of(&loaded.diagnostics, has_problem, args.deny_warnings))
}

fn exit_of(diagnostics: &Diagnostics, has_problem: bool, denies_warnings: bool) -> Exit {
    if diagnostics.has_errors() {
        Exit::Config
    } else if has_problem || denies_warnings && diagnostics.count(Severity::Warning) > 0 {
        Exit::Findings
    } else {
        Exit::Done
    }
}

fn text(loaded: &Loaded, findings: &[ChannelFinding], color: bool) -> String {
    let mut out = render(&loaded.diagnostics, color);
    for line in
        loaded.agents.iter().map(agent_line).chain(findings.iter().map(ChannelFinding::line))
    {
        out.push_str(&line);
        out.push('\n');
    }
    let secrets = loaded.diagnostics.secrets().len();
    if secrets > 0 {
        out.push_str(&format!("secrets   {}, not shown\n", counted(secrets, "value")));
    }
    out.push_str(&loaded.diagnostics.summary());
    out.push('\n');
    out
}

fn agent_line(agent: &AgentConfig) -> String {
    let parts = [
        counted(agent.sources.len(), "source"),
        counted(agent.channels.len(), "channel"),
        counted(agent.sinks.len(), "sink"),
    ];
    format!("agent     {}: {}", printable(&agent.name), parts.join(", "))
}

fn counted(count: usize, noun: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {noun}{plural}")
}

fn json_report(diagnostics: &Diagnostics, findings: &[ChannelFinding]) -> Value {
    let rows: Vec<Value> =
        diagnostics.items().iter().map(|item| json_row(diagnostics, item)).collect();
    json!({
        "schema": SCHEMA,
        "file": diagnostics.file().name(),
        "errors": diagnostics.count(Severity::Error),
        "warnings": diagnostics.count(Severity::Warning),
        "diagnostics": rows,
        "channels": findings.iter().map(ChannelFinding::json).collect::<Vec<_>>(),
    })
}

/// No excerpt: what a program shows is up to it, and the file has secrets.
fn json_row(diagnostics: &Diagnostics, item: &Diagnostic) -> Value {
    let position = diagnostics.position(item);
    json!({
        "severity": item.severity.as_str(),
        "code": item.code,
        "message": item.message,
        "file": diagnostics.file().name(),
        "line": position.map(|position| position.line),
        "column": position.map(|position| position.column),
        "help": item.help,
        "notes": item.notes,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Mode, Request, load, testing};

    fn loaded(conf: &str) -> Loaded {
        let registry = testing::registry();
        let env = |_: &str| None;
        let mode = Mode::Strict;
        load(
            conf.as_bytes(),
            &Request { file_name: "a.conf", agent: None, mode, registry: &registry, env: &env },
        )
    }

    const SOUND: &str = "a1.channels = c1\na1.sinks = k1\na1.channels.c1.type = memory\n\
        a1.sinks.k1.type = null\na1.sinks.k1.channel = c1\n";

    #[test]
    fn a_sound_conf_is_summed_up() {
        let loaded = loaded(&format!(
            "{SOUND}a1.sources = r1\na1.sources.r1.type = netcat\na1.sources.r1.bind = ::\n\
            a1.sources.r1.port = 1\na1.sources.r1.channels = c1\na1.sources.r1.pin = 1234\n"
        ));
        assert_eq!(
            text(&loaded, &[], false),
            "agent     a1: 1 source, 1 channel, 1 sink\nsecrets   1 value, not shown\n0 errors, 0 warnings\n"
        );
        assert_eq!(exit_of(&loaded.diagnostics, false, true), Exit::Done);
    }

    #[test]
    fn warnings_count_only_when_they_are_denied() {
        let loaded = loaded(SOUND);
        assert_eq!(loaded.diagnostics.summary(), "0 errors, 1 warning");
        assert_eq!(exit_of(&loaded.diagnostics, false, false), Exit::Done);
        assert_eq!(exit_of(&loaded.diagnostics, false, true), Exit::Findings);
    }

    #[test]
    fn json_has_no_secrets() {
        let loaded =
            loaded("a1.sinks.k1.password = hunter2\\\n hunter3\nhunter.password = hunter2\n");
        let report = json_report(&loaded.diagnostics, &[]).to_string();
        assert!(!report.contains("hunter2") && !report.contains("hunter3"), "{report}");
    }
}
