//! The keys of the source, and what they mean.

use super::matcher::Group;
use crate::{
    component::{
        Build, ComponentError, Entry, Key, KeyKind, Parts, Placement, Problem, Settings, Source,
    },
    text::paths::expand_home,
};
use std::{path::PathBuf, time::Duration};

pub(crate) static ENTRY: Entry = Entry {
    names: &["taildir", "org.apache.flume.source.taildir.TaildirSource"],
    doc: "Follows the files of directories, line by line.",
    keys: &[
        Key::new("filegroups", KeyKind::Names, "Names of the groups.").required(),
        Key::new(
            "filegroups.*",
            KeyKind::Text,
            "An absolute path; what follows the last `/` is a regular expression for the whole name.",
        ),
        Key::new(
            "positionFile",
            KeyKind::Text,
            "Flume's position file. Each source needs its own. A channel that keeps marks (the file channel does) commits the positions \
             with the events, and those count: to edit or delete this file has no effect then.",
        )
        .or("~/.flume/taildir_position.json"),
        Key::new(
            "headers.*.**",
            KeyKind::Text,
            "`headers.G.H`: header H of the events of group G.",
        ),
        Key::new(
            "byteOffsetHeader",
            KeyKind::Flag,
            "Sets the header `byteoffset` to the offset of the line.",
        )
        .or("false"),
        Key::new(
            "skipToEnd",
            KeyKind::Flag,
            "Starts at the end of files that are there at the start and not known yet.",
        )
        .or("false"),
        Key::new(
            "idleTimeout",
            KeyKind::Whole { min: 0, max: i32::MAX as i64, replaced: false },
            "Milliseconds without growth before a file is closed; a last line without an end \
             is taken then.",
        )
        .or("120000"),
        Key::new(
            "writePosInterval",
            KeyKind::Whole { min: 0, max: i32::MAX as i64, replaced: false },
            "Milliseconds between two writes of the position file.",
        )
        .or("3000"),
        Key::new(
            "batchSize",
            KeyKind::Whole { min: 1, max: i32::MAX as i64, replaced: false },
            "Lines in one transaction at most.",
        )
        .or("100"),
        Key::new(
            "maxBatchCount",
            KeyKind::Whole { min: 1, max: i64::MAX, replaced: true },
            "Transactions from one file before the next file has its turn (here never more \
             than 1000).",
        )
        .or("9223372036854775807"),
        Key::new("fileHeader", KeyKind::Flag, "Sets a header to the path of the file.").or("false"),
        Key::new("fileHeaderKey", KeyKind::Text, "The name of that header.").or("file"),
        Key::new(
            "cachePatternMatching",
            KeyKind::Flag,
            "Known and not needed: the kernel says when a directory changes.",
        )
        .or("true"),
        Key::new(
            "backoffSleepIncrement",
            KeyKind::Whole { min: 0, max: i64::MAX, replaced: false },
            "Known and not needed: nothing sleeps between reads.",
        ),
        Key::new(
            "maxBackoffSleep",
            KeyKind::Whole { min: 0, max: i64::MAX, replaced: false },
            "Known and not needed: nothing sleeps between reads.",
        ),
    ],
    batch_key: Some("batchSize"),
    verify: Some(verify),
    build: Build::Source(Placement::OwnThread, build),
};

/// So that one busy file cannot keep the others waiting for ever.
const TURN_BATCHES_MAX: u64 = 1000;

pub(super) struct Rules {
    pub(super) position_file: PathBuf,
    pub(super) byte_offset_header: bool,
    pub(super) file_header: Option<String>,
    pub(super) skip_to_end: bool,
    pub(super) idle_after: Duration,
    pub(super) save_every: Duration,
    pub(super) batch_events: usize,
    pub(super) turn_batches: u64,
}

pub(super) struct Taildir {
    pub(super) groups: Vec<Group>,
    pub(super) rules: Rules,
}

fn verify(settings: &Settings) -> Vec<Problem> {
    let groups = groups(settings).filter_map(Result::err);
    groups.chain(position_file(settings).err()).collect()
}

fn groups(settings: &Settings) -> impl Iterator<Item = Result<Group, Problem>> {
    settings.names("filegroups").map(|name| {
        let path = settings.text(&format!("filegroups.{name}")).ok_or_else(|| {
            Problem::new("filegroups", "the group has no path: add `filegroups.<name>`")
                .of_name(name)
        })?;
        let prefix = format!("headers.{name}.");
        let headers = settings
            .with_prefix(&prefix)
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect();
        Group::new(name, path, headers)
    })
}

fn build(settings: &Settings, _: &Parts) -> Result<Box<dyn Source>, ComponentError> {
    let groups = settings.usable(groups(settings).collect())?;
    let ms = |key| settings.whole(key).map(Duration::from_millis);
    Ok(Box::new(Taildir {
        groups,
        rules: Rules {
            position_file: settings.usable(position_file(settings))?,
            byte_offset_header: settings.flag("byteOffsetHeader"),
            file_header: settings
                .flag("fileHeader")
                .then(|| settings.text("fileHeaderKey").unwrap_or("file").to_owned()),
            skip_to_end: settings.flag("skipToEnd"),
            idle_after: ms("idleTimeout")?,
            save_every: ms("writePosInterval")?,
            batch_events: usize::try_from(settings.whole("batchSize")?).unwrap_or(usize::MAX),
            turn_batches: settings.whole("maxBatchCount")?.min(TURN_BATCHES_MAX),
        },
    }))
}

fn position_file(settings: &Settings) -> Result<PathBuf, Problem> {
    let path = expand_home(settings.text("positionFile").unwrap_or_default());
    if path.starts_with("~") {
        return Err(Problem::new("positionFile", "the agent has no HOME that `~` could stand for"));
    }
    Ok(path)
}
