//! What lies in the directories of an agent's file channels: would they open, and with what?

use crate::{
    channels::file_directories,
    config::{ComponentConfig, printable},
};
use fchannel::{ErrorKind, Inspector, Severity, Summary, io::Holder};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// What one channel's directories say.
pub(super) struct ChannelFinding {
    channel: String,
    text: String,
    /// The agent would not start, or something that was durable is damaged.
    pub(super) is_problem: bool,
    /// Something that an operator has to settle, and that keeps nobody from starting.
    pub(super) is_warning: bool,
}

impl ChannelFinding {
    pub(super) fn line(&self) -> String {
        let mark = match (self.is_problem, self.is_warning) {
            (true, _) => "PROBLEM: ",
            (false, true) => "WARNING: ",
            (false, false) => "",
        };
        format!("channel   {}: {mark}{}", printable(&self.channel), printable(&self.text))
    }

    pub(super) fn json(&self) -> Value {
        json!({ "channel": self.channel, "problem": self.is_problem, "warning": self.is_warning, "message": self.text })
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Level {
    Fine,
    Warning,
    Problem,
}

/// Looks into the directories of `channel`, read-only; `None` if it has none.
pub(super) fn look(channel: &ComponentConfig) -> Option<ChannelFinding> {
    let (home, data) = file_directories(channel)?;
    let (text, level) = judge(&home, &data);
    let (is_problem, is_warning) = (level == Level::Problem, level == Level::Warning);
    Some(ChannelFinding { channel: channel.name.to_string(), text, is_problem, is_warning })
}

fn judge(home: &Path, data: &[PathBuf]) -> (String, Level) {
    if std::iter::once(home).chain(data.iter().map(PathBuf::as_path)).all(is_empty) {
        return ("new: its directories are empty or absent".to_owned(), Level::Fine);
    }
    let summary = Inspector::open(home).or_else(|error| match (error.kind(), data.first()) {
        // A home that was removed holds nothing that the data directories do not know.
        (ErrorKind::NotAChannel, Some(first)) => Inspector::open(first),
        _ => Err(error),
    });
    match summary.and_then(|inspector| inspector.summary()) {
        Ok(summary) => tell(&summary, data),
        Err(error) => (error.to_string(), Level::Problem),
    }
}

fn is_empty(dir: &Path) -> bool {
    std::fs::read_dir(dir).map_or(true, |mut entries| entries.next().is_none())
}

fn tell(summary: &Summary, data: &[PathBuf]) -> (String, Level) {
    let damage = summary.findings.iter().find(|finding| finding.severity == Severity::Error);
    if let Some(damage) = damage {
        let stake =
            if damage.stake.is_empty() { String::new() } else { format!("; {}", damage.stake) };
        return (
            format!("{} {}{stake}; see `fchannel inspect verify`", damage.code, damage.what),
            Level::Problem,
        );
    }
    let named: Vec<PathBuf> = data.iter().filter_map(|dir| std::path::absolute(dir).ok()).collect();
    if let Some(stranger) = summary.data.iter().find(|known| !named.contains(&known.path)) {
        let text = format!(
            "{} belongs to this channel and is not among its dataDirs",
            stranger.path.display()
        );
        return (text, Level::Problem);
    }
    let owed = summary.state.as_ref().map_or(0, |state| state.owed);
    let state = match summary.holder {
        Holder::Process { pid: Some(pid) } => format!("in use by process {pid}"),
        Holder::Process { pid: None } => "in use".to_owned(),
        Holder::Nobody | Holder::Unknown => {
            format!(
                "opens ({}), after reading {} frames of the log",
                summary.verdict.row().truth,
                summary.restart_frames
            )
        }
    };
    let pending = format!("{owed} events pending, {state}");
    if summary.quarantined == 0 {
        return (pending, Level::Fine);
    }
    let what = format!(
        "{} damages in quarantine are not settled (fchannel quarantine list {}); {pending}",
        summary.quarantined,
        summary.home.display()
    );
    (what, Level::Warning)
}
