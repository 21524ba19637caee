//! What no single component can know: batches against transactions, transactions against capacities, directories against directories.

use super::{Built, Checker};
use crate::config::{codes, conf_file::Span, diagnostics::Diagnostic};
use std::collections::HashMap;

const TRANSACTION: &str = "transactionCapacity";
const CAPACITY: &str = "capacity";
const DIRECTORY_KEYS: [&str; 3] = ["checkpointDir", "dataDirs", "backupCheckpointDir"];

/// The key of a source that says where its positions are.
const POSITIONS: &str = "positionFile";

/// Who keeps files where: the component, and where the file says so.
#[derive(Default)]
pub(super) struct Directories(HashMap<String, (String, Span)>);

impl Checker<'_> {
    /// False if a transaction may hold more than the channel.
    pub(super) fn check_capacity(&mut self, channel: &Built<'_, '_>) -> bool {
        let (Some(transaction), Some(capacity)) =
            (channel.whole(TRANSACTION), channel.whole(CAPACITY))
        else {
            return true;
        };
        if transaction <= capacity {
            return true;
        }
        let (at, shown) = channel.place_of(TRANSACTION);
        let (capacity_at, capacity_shown) = channel.place_of(CAPACITY);
        let message =
            format!("a transaction of {} may hold more than the channel", channel.subject);
        let error = Diagnostic::error(codes::TRANSACTION_TOO_LARGE, message)
            .at(at, format!("`{TRANSACTION}`: {shown}"))
            .and(capacity_at, format!("`{CAPACITY}`: {capacity_shown}"))
            .help(format!("raise `{CAPACITY}` or lower `{TRANSACTION}`"));
        self.fault(&channel.subject, error);
        false
    }

    /// False if the batches of `user` do not fit into the transactions of `channel`.
    pub(super) fn check_batch(
        &mut self,
        user: &Built<'_, '_>,
        channel: &Built<'_, '_>,
        verb: &str,
    ) -> bool {
        let Some(key) = user.config.entry.batch_key else { return true };
        let (Some(batch), Some(transaction)) = (user.whole(key), channel.whole(TRANSACTION)) else {
            return true;
        };
        if batch <= transaction {
            return true;
        }
        let (at, shown) = user.place_of(key);
        let (channel_at, channel_shown) = channel.place_of(TRANSACTION);
        let message = format!(
            "batches of {} are larger than the transactions of {}",
            user.subject, channel.subject
        );
        let error = Diagnostic::error(codes::BATCH_TOO_LARGE, message)
            .at(at, format!("`{key}`: events per {verb} transaction, {shown}"))
            .and(channel_at, format!("`{TRANSACTION}`: {channel_shown}"))
            .help(format!("lower `{key}`, or raise `{TRANSACTION}` of the channel"))
            .note("Flume leaves it out");
        self.fault(&user.subject, error);
        false
    }

    /// False if the channel keeps files where another one does.
    pub(super) fn check_directories(
        &mut self,
        channel: &Built<'_, '_>,
        known: &mut Directories,
    ) -> bool {
        if !channel.config.entry.keys.iter().any(|row| row.pattern == DIRECTORY_KEYS[0]) {
            return true;
        }
        let mut shared = None;
        for key in DIRECTORY_KEYS {
            let (at, shown) = channel.place_of(key);
            let paths = channel.config.settings.text(key).unwrap_or_default().split(',');
            for path in paths.filter(|path| !path.trim().is_empty()) {
                let owner = self.other_owner(path, channel, at, known);
                shared = shared.or(owner.map(|owner| (key, at, shown.clone(), owner)));
            }
        }
        let Some((key, at, shown, (other, other_at))) = shared else { return true };
        let message = format!("{} and {other} share a directory", channel.subject);
        let error = Diagnostic::error(codes::SHARED_DIRECTORY, message)
            .at(at, format!("`{key}`: {shown}"))
            .and(other_at, format!("also used by {other}"))
            .help(format!(
                "give each file channel its own `{}` and `{}`",
                DIRECTORY_KEYS[0], DIRECTORY_KEYS[1]
            ));
        self.fault(&channel.subject, error);
        false
    }

    /// False if the source keeps its positions where another one does: each would overwrite the other's.
    pub(super) fn check_positions(
        &mut self,
        source: &Built<'_, '_>,
        known: &mut Directories,
    ) -> bool {
        let Some(path) = source.config.settings.text(POSITIONS) else { return true };
        let (at, shown) = source.place_of(POSITIONS);
        let Some((other, other_at)) = self.other_owner(path, source, at, known) else {
            return true;
        };
        let message = format!("{} and {other} share a position file", source.subject);
        let error = Diagnostic::error(codes::SHARED_POSITIONS, message)
            .at(at, format!("`{POSITIONS}`: {shown}"))
            .and(other_at, format!("also used by {other}"))
            .help(format!("give each source its own `{POSITIONS}`"));
        self.fault(&source.subject, error);
        false
    }

    /// Who else uses `path`; `user` does from now on if nobody does.
    fn other_owner(
        &self,
        path: &str,
        user: &Built<'_, '_>,
        at: Span,
        known: &mut Directories,
    ) -> Option<(String, Span)> {
        let path = self.normal(path);
        let owner = known.0.entry(path).or_insert_with(|| (user.subject.clone(), at));
        (owner.0 != user.subject).then(|| owner.clone())
    }

    /// A path as text, so that two spellings of it are equal: `~` expanded, no doubled or trailing slashes, no `.`.
    fn normal(&self, path: &str) -> String {
        let path = path.trim();
        let expanded = match (path.strip_prefix('~'), &self.home) {
            (Some(rest), Some(home)) if rest.is_empty() || rest.starts_with('/') => {
                format!("{home}{rest}")
            }
            _ => path.to_owned(),
        };
        let root = if expanded.starts_with('/') { "/" } else { "" };
        let parts: Vec<&str> =
            expanded.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
        format!("{root}{}", parts.join("/"))
    }
}
