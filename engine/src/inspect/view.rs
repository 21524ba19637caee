//! What lies in the directories at one moment, while somebody may be changing them.

use super::{finding::Finding, places::Places};
use crate::{
    error::{Error, ErrorKind, Result},
    io::Vfs,
    log::{Candidate, Hole, Listing, Quarantine, Segments},
    queue::read_checkpoints,
};
use std::{error::Error as _, io, path::PathBuf};

/// How often a directory that changes under the reader is listed anew before it is taken as it is.
pub(super) const TRIES: usize = 16;

/// Segments and checkpoints.
#[derive(Clone)]
pub(super) struct View {
    pub(super) segments: Segments,
    /// Newest first.
    pub(super) checkpoints: Vec<(u64, Candidate)>,
    pub(super) temporary: Vec<PathBuf>,
    /// Any of them: it tells that there was a segment.
    pub(super) spare: Option<PathBuf>,
    /// Files that cannot be used, and gaps.
    pub(super) problems: Vec<Finding>,
}

impl View {
    /// Lists and reads. A problem counts only if a second look finds it too: between two directories, or between a listing and an
    /// open, an agent may have removed a segment.
    ///
    /// # Errors
    /// `NewerFormat`, `Io`.
    pub(super) fn read(vfs: &dyn Vfs, places: &Places) -> Result<Self> {
        let mut before: Option<Vec<Finding>> = None;
        let mut last_error = None;
        for _ in 0..TRIES {
            match Self::look(vfs, places) {
                Ok(view) if view.problems.is_empty() => return Ok(view),
                Ok(view) if before.as_ref() == Some(&view.problems) => return Ok(view),
                Ok(view) => before = Some(view.problems),
                Err(error) if is_gone(&error) => last_error = Some(error),
                Err(error) => return Err(error),
            }
        }
        Err(last_error.unwrap_or_else(|| {
            Error::new(ErrorKind::Io, "the directory changes faster than it can be listed")
                .in_file(&places.home)
        }))
    }

    fn look(vfs: &dyn Vfs, places: &Places) -> Result<Self> {
        let mut problems = Vec::new();
        let mut broken = Vec::new();
        let mut listing = Listing::gather(vfs, &places.home, &places.data, &mut |problem| {
            let error = problem.error;
            if error.kind() != &ErrorKind::Corrupt {
                return Err(error);
            }
            let finding = Finding::of_file(&error);
            problems.push(match &problem.segment {
                Some((segment, _)) => finding.of_segment(*segment),
                None => finding,
            });
            broken.extend(problem.segment.map(|(segment, path)| (segment, path, error)));
            Ok(())
        })?;
        listing.salvage(vfs, broken)?;
        for damage in &listing.damages {
            for problem in problems.iter_mut().filter(|it| it.segment == Some(damage.segment)) {
                *problem = problem.clone().taking(damage.extent());
            }
        }
        let missing = |hole: &Hole| {
            Finding::of_file(&hole.error).of_segment(hole.first).taking(hole.extent())
        };
        problems.extend(listing.segments.holes().iter().map(missing));
        let checkpoints = read_checkpoints(vfs, listing.checkpoints);
        let images = checkpoints.iter().map(|(_, candidate)| candidate);
        let torn_ends = Quarantine::read(vfs, &places.home, &mut |_| {})
            .and_then(|quarantine| listing.segments.find_torn_ends(vfs, images, &quarantine));
        // What cannot be read is a finding; the rest can be looked at all the same. A segment may be gone by now, in a live log.
        problems.extend(
            torn_ends.err().filter(|error| !is_gone(error)).map(|error| Finding::of_file(&error)),
        );
        let spare = listing.spares.into_iter().flatten().next();
        let (segments, temporary) = (listing.segments, listing.temporary);
        Ok(Self { segments, checkpoints, temporary, spare, problems })
    }
}

/// True if a file is not there any more.
pub(super) fn is_gone(error: &Error) -> bool {
    error
        .source()
        .and_then(|source| source.downcast_ref::<io::Error>())
        .is_some_and(|source| source.kind() == io::ErrorKind::NotFound)
}
