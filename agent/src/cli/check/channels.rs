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
}

impl ChannelFinding {
    pub(super) fn line(&self) -> String {
        let mark = if self.is_problem { "PROBLEM: " } else { "" };
        format!("channel   {}: {mark}{}", printable(&self.channel), printable(&self.text))
    }

    pub(super) fn json(&self) -> Value {
        json!({ "channel": self.channel, "problem": self.is_problem, "message": self.text })
    }
}

/// Looks into the directories of `channel`, read-only; `None` if it has none.
pub(super) fn look(channel: &ComponentConfig) -> Option<ChannelFinding> {
    let (home, data) = file_directories(channel)?;
    let (text, is_problem) = judge(&home, &data);
    Some(ChannelFinding { channel: channel.name.to_string(), text, is_problem })
}

fn judge(home: &Path, data: &[PathBuf]) -> (String, bool) {
    if std::iter::once(home).chain(data.iter().map(PathBuf::as_path)).all(is_empty) {
        return ("new: its directories are empty or absent".to_owned(), false);
    }
    let summary = Inspector::open(home).or_else(|error| match (error.kind(), data.first()) {
        // A home that was removed holds nothing that the data directories do not know.
        (ErrorKind::NotAChannel, Some(first)) => Inspector::open(first),
        _ => Err(error),
    });
    match summary.and_then(|inspector| inspector.summary()) {
        Ok(summary) => tell(&summary, data),
        Err(error) => (error.to_string(), true),
    }
}

fn is_empty(dir: &Path) -> bool {
    std::fs::read_dir(dir).map_or(true, |mut entries| entries.next().is_none())
}

fn tell(summary: &Summary, data: &[PathBuf]) -> (String, bool) {
    let damage = summary.findings.iter().find(|finding| finding.severity == Severity::Error);
    if let Some(damage) = damage {
        let stake =
            if damage.stake.is_empty() { String::new() } else { format!("; {}", damage.stake) };
        return (
            format!("{} {}{stake}; see `fchannel inspect verify`", damage.code, damage.what),
            true,
        );
    }
    let named: Vec<PathBuf> = data.iter().filter_map(|dir| std::path::absolute(dir).ok()).collect();
    if let Some(stranger) = summary.data.iter().find(|known| !named.contains(&known.path)) {
        let text = format!(
            "{} belongs to this channel and is not among its dataDirs",
            stranger.path.display()
        );
        return (text, true);
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
    (format!("{owed} events pending, {state}"), false)
}
