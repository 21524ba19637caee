//! CHANNEL on the command line: any one of its directories, or its name in a conf.

use super::{Exit, conf_input, output};
use crate::{
    registry::{Kind, Registry},
    text::paths::expand_home,
};
use clap::Args;
use fchannel::{Error, ErrorKind};
use std::path::{Path, PathBuf};

/// The channel that a verb is about.
#[derive(Debug, Args)]
pub(super) struct ChannelArgs {
    /// Any one of the channel's directories, or AGENT.CHANNEL with --conf
    channel: String,
    /// Configuration file in which AGENT.CHANNEL is looked up
    #[arg(long, value_name = "FILE")]
    conf: Option<PathBuf>,
}

impl ChannelArgs {
    /// The directory that CHANNEL means: itself, or the checkpoint directory of `AGENT.CHANNEL` in the conf.
    pub(super) fn resolve(&self, registry: &Registry) -> Result<PathBuf, Exit> {
        resolve(&self.channel, self.conf.as_deref(), registry)
    }
}

/// Says what failed, and how the command ends by that.
pub(super) fn fail(error: &Error) -> Exit {
    output::complain(&error.to_string());
    match error.kind() {
        ErrorKind::NotAChannel | ErrorKind::NewerFormat => Exit::NotAChannel,
        ErrorKind::Locked { .. } => Exit::Locked,
        ErrorKind::InvalidOptions => Exit::Usage,
        _ => Exit::Failed,
    }
}

/// As [`ChannelArgs::resolve`].
pub(super) fn resolve(
    channel: &str,
    conf: Option<&Path>,
    registry: &Registry,
) -> Result<PathBuf, Exit> {
    let Some(conf) = conf else { return Ok(PathBuf::from(channel)) };
    let (agent, channel) = channel.split_once('.').ok_or_else(|| {
        output::complain("with --conf, a channel is named AGENT.CHANNEL");
        Exit::Usage
    })?;
    directory_in(conf, agent, channel, registry)
}

/// Read from the properties, not from a validated conf: whatever else is wrong in the file keeps nobody from looking at a channel.
fn directory_in(
    conf: &Path,
    agent: &str,
    channel: &str,
    registry: &Registry,
) -> Result<PathBuf, Exit> {
    let document = conf_input::read_properties(conf, registry)?;
    let value = |key: &str| {
        let key = format!("{agent}.channels.{channel}.{key}");
        let found = document.properties.iter().find(|property| property.key.as_str() == key)?;
        Some((found.resolved(), found.unresolved.is_empty()))
    };
    let entry = value("type").and_then(|(name, _)| registry.find(Kind::Channel, name));
    let key = entry.and_then(|entry| entry.keys.iter().find(|key| key.pattern == "checkpointDir"));
    let default = key.and_then(|key| key.default);
    let what = match (value("checkpointDir"), default) {
        _ if key.is_none() => format!("has no file channel {agent}.{channel}"),
        (Some((dir, true)), _) => return Ok(expand_home(dir)),
        (Some((dir, false)), _) => format!("names {dir}, and not all of that has a value here"),
        (None, Some(dir)) => return Ok(expand_home(dir)),
        (None, None) => format!("names no directory of {agent}.{channel}"),
    };
    output::complain(&format!("{} {what}", conf.display()));
    Err(Exit::Config)
}
