//! One screen about a log, its segments, its checkpoints.

use super::{
    Inspector,
    finding::Finding,
    fold::Fold,
    position::Position,
    rows::{CheckpointContent, CheckpointInfo, EventInfo, EventRow, SegmentInfo, StateInfo},
    stream::Which,
};
use crate::{
    error::{Error, Result},
    format::LogImage,
    ids::{FramePtr, Lsn, SegmentId},
    io::Holder,
    log::{ImageSource, Verdict, image_of},
    queue::State,
};
use std::{ops::ControlFlow, path::PathBuf};

/// A directory of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DirectoryInfo {
    /// Its path.
    pub path: PathBuf,
    /// False if it was not found.
    pub present: bool,
    /// Bytes that this user may still write there, where the system tells.
    pub free_bytes: Option<u64>,
}

/// One screen about a log.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Summary {
    /// Where lock and checkpoints lie.
    pub home: PathBuf,
    /// Where segments lie.
    pub data: Vec<DirectoryInfo>,
    /// The identity of the log, where a manifest tells.
    pub log_id: Option<[u8; 16]>,
    /// When the log was made, in milliseconds since 1970.
    pub created_ms: Option<u64>,
    /// Who had the log open.
    pub holder: Holder,
    /// The last frame, and the place behind it: all of this holds up to there.
    pub horizon: (Lsn, FramePtr),
    /// The state there; `None` in a bare log.
    pub state: Option<StateInfo>,
    /// About how many bytes the owed events take: each segment's share of owed events, times its size.
    pub owed_bytes_about: u64,
    /// The oldest event owed, if it can be read.
    pub oldest: Option<EventInfo>,
    /// Segments, and the size of their files.
    pub segments: u64,
    /// Bytes of these files.
    pub segment_bytes: u64,
    /// What a restart would begin with.
    pub image: ImageSource,
    /// Frames that it would read behind that.
    pub restart_frames: u64,
    /// Bytes of them.
    pub restart_bytes: u64,
    /// Frames at the end that nothing vouches for yet: the last group of commits.
    pub unvouched_frames: u64,
    /// How the log ends.
    pub verdict: Verdict,
    /// How many damages were set aside and are not settled.
    pub quarantined: u64,
    /// What the look came across; [`Inspector::verify`] looks at everything.
    pub findings: Vec<Finding>,
}

impl Inspector {
    /// One screen about the log.
    ///
    /// # Errors
    /// `NewerFormat`, `Io`.
    pub fn summary(&self) -> Result<Summary> {
        let segments = self.segments()?;
        let present = self.places.data.iter().map(|path| DirectoryInfo {
            path: path.clone(),
            present: true,
            free_bytes: self.vfs.free_bytes(path).ok(),
        });
        let absent = self.places.absent.iter().map(|path| DirectoryInfo {
            path: path.clone(),
            present: false,
            free_bytes: None,
        });
        let identity = self.places.identity.as_ref();
        Ok(Summary {
            home: self.places.home.clone(),
            data: present.chain(absent).collect(),
            log_id: identity.map(|manifest| manifest.log_id),
            created_ms: identity.map(|manifest| manifest.created_ms),
            holder: self.holder,
            horizon: self.horizon(),
            state: self.state(),
            owed_bytes_about: segments.iter().map(|segment| self.owed_bytes_about(segment)).sum(),
            oldest: self.oldest_owed()?,
            segments: segments.len() as u64,
            segment_bytes: segments.iter().map(|segment| segment.size_bytes).sum(),
            image: self.now.source.clone(),
            restart_frames: self.now.frames,
            restart_bytes: self.now.bytes,
            unvouched_frames: self.now.unvouched,
            verdict: self.now.verdict,
            quarantined: self.quarantine.records().len() as u64,
            findings: self.findings.clone(),
        })
    }

    fn oldest_owed(&self) -> Result<Option<EventInfo>> {
        let mut oldest = None;
        if self.now.fold.is_some() {
            self.events(Which::Pending, Position::Oldest, Position::Newest, |row| {
                if let EventRow::Event(event) = row {
                    oldest = Some(event);
                    return ControlFlow::Break(());
                }
                ControlFlow::Continue(())
            })?;
        }
        Ok(oldest)
    }

    fn owed_bytes_about(&self, segment: &SegmentInfo) -> u64 {
        let end = self.now.stopped_at;
        let used = if segment.id == end.segment { end.offset } else { segment.size_bytes };
        let share = u128::from(used) * u128::from(segment.owed) / u128::from(segment.events.max(1));
        u64::try_from(share).unwrap_or(u64::MAX)
    }

    /// The segments, oldest first.
    ///
    /// # Errors
    /// `Io`.
    pub fn segments(&self) -> Result<Vec<SegmentInfo>> {
        let segments = &self.view.segments;
        let needed = self.first_segment_of_restart();
        let next_seq = self.now.fold.as_ref().map(|fold| fold.state.next_seq());
        let mut infos = Vec::with_capacity(segments.len());
        for segment in segments.iter() {
            let header = segment.header;
            let size = self.vfs.open(&segment.path).and_then(|file| file.len());
            let size_bytes = match size {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                size => size.map_err(|error| {
                    Error::io("cannot tell the size of the segment", &segment.path, error)
                })?,
            };
            let next = segments.after(header.id);
            let end = next.map(|next| next.header.first_item).or(next_seq);
            let end = end.unwrap_or(header.first_item).max(header.first_item);
            let fold = self.now.fold.as_ref();
            infos.push(SegmentInfo {
                id: header.id,
                path: segment.path.clone(),
                size_bytes,
                first_lsn: header.first_lsn,
                first_event: header.first_item,
                epoch: header.epoch,
                events: end.get() - header.first_item.get(),
                owed: fold.map_or(0, |fold| fold.owed_between(header.first_item, end)),
                newest: next.is_none(),
                behind_checkpoint: needed.is_none_or(|needed| header.id >= needed),
            });
        }
        Ok(infos)
    }

    /// The first segment that a restart with the older checkpoint would read (rule S1). `None`: all of them.
    fn first_segment_of_restart(&self) -> Option<SegmentId> {
        let mut valid =
            self.view.checkpoints.iter().filter_map(|(_, (_, image))| image.as_ref().ok());
        let older = valid.nth(1)?;
        let segment = self.view.segments.of_lsn(older.lsn.next())?;
        Some(segment.header.id.min(older.next_frame.segment))
    }

    /// The checkpoint files, newest first, and the images at the heads of the segments, newest first: what a restart tries, in its order.
    ///
    /// # Errors
    /// `NewerFormat`, `Io`.
    pub fn checkpoints(&self) -> Result<Vec<CheckpointInfo>> {
        let files = self.view.checkpoints.iter().map(|(generation, (path, image))| {
            let content = image.clone().and_then(|image| self.content(&image));
            CheckpointInfo { path: path.clone(), generation: Some(*generation), content }
        });
        let images = self.view.segments.iter().rev().map(|segment| CheckpointInfo {
            path: segment.path.clone(),
            generation: None,
            content: image_of(&*self.vfs, segment).and_then(|image| self.content(&image)),
        });
        Ok(files.chain(images).collect())
    }

    fn content(&self, image: &LogImage) -> Result<CheckpointContent> {
        let state = match &self.now.fold {
            None => None,
            Some(_) => {
                let state = State::from_image(&image.owner)?;
                Some(Fold { state, lsn: image.lsn, exact: true, marks_known: true }.info())
            }
        };
        Ok(CheckpointContent { lsn: image.lsn, next_frame: image.next_frame, state })
    }
}
