//! The segments of a log: which there are, and which frames in them are void.

use super::{
    dirs::Directories,
    names::{self, Name},
    quarantine::Extent,
    recover::first_frame_of,
};
use crate::{
    error::{Error, ErrorKind, Result},
    format::{SEGMENT_HEADER_LEN, SegmentHeader},
    ids::{EventSeq, FramePtr, Lsn, SegmentId},
    io::{Vfs, read_exact_or_end},
};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

/// A segment on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Segment {
    pub(crate) path: PathBuf,
    pub(crate) header: SegmentHeader,
}

/// All segments, by id: dense, every header valid and equal to its name.
#[derive(Clone, Debug, Default)]
pub(crate) struct Segments {
    by_id: BTreeMap<SegmentId, Segment>,
    /// The last LSN that counts in a segment whose end may be torn, where no header tells it any more.
    torn: BTreeMap<SegmentId, Lsn>,
}

/// A file or directory that cannot be used as it is.
pub(crate) struct Problem {
    pub(crate) error: Error,
    /// The segment that its name says it is, if only its header is wrong.
    pub(crate) segment: Option<(SegmentId, PathBuf)>,
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        Self { error, segment: None }
    }
}

/// What the directories hold.
pub(crate) struct Listing {
    pub(crate) segments: Segments,
    /// Spares by data directory.
    pub(crate) spares: Vec<Vec<PathBuf>>,
    /// The highest number of a spare.
    pub(crate) spare_number: u64,
    /// What a crash left half-made.
    pub(crate) temporary: Vec<PathBuf>,
    /// Checkpoint files by generation.
    pub(crate) checkpoints: BTreeMap<u64, PathBuf>,
    /// What is wrong with the segments as files (@J), for who goes on all the same.
    pub(crate) damages: Vec<FileDamage>,
}

/// A segment that is not there, or is not what its name says.
pub(crate) struct FileDamage {
    pub(crate) segment: SegmentId,
    pub(crate) path: PathBuf,
    pub(crate) what: String,
    pub(crate) state: FileState,
}

/// What is left of a damaged segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FileState {
    /// Its header was made again from its frames, the first of which lies here: what lay before is lost.
    Salvaged { first_frame: u64 },
    /// The file is there, and nothing in it can be read.
    Unreadable,
    /// There is no such file.
    Missing,
}

impl FileDamage {
    /// Where the log goes on at the earliest.
    pub(crate) fn next(&self) -> FramePtr {
        match self.state {
            FileState::Salvaged { first_frame } => {
                FramePtr { segment: self.segment, offset: first_frame }
            }
            FileState::Unreadable | FileState::Missing => first_frame_of(self.segment.next()),
        }
    }

    /// What of the log it takes, at the least.
    pub(crate) fn extent(&self) -> Extent {
        Extent::of_files(self.segment, self.next())
    }
}

impl Listing {
    /// Reads names and segment headers, without the lock. Writes nothing. `problem` decides what becomes of each file or directory that
    /// cannot be used (@J): after `Ok` it is left out. Ids that are missing are found by [`Segments::holes`].
    ///
    /// # Errors
    /// Those of `problem`.
    pub(crate) fn gather(
        vfs: &dyn Vfs,
        home: &Path,
        data: &[PathBuf],
        problem: &mut dyn FnMut(Problem) -> Result<()>,
    ) -> Result<Self> {
        let mut listing = Self {
            segments: Segments::default(),
            spares: vec![Vec::new(); data.len()],
            spare_number: 0,
            temporary: Vec::new(),
            checkpoints: BTreeMap::new(),
            damages: Vec::new(),
        };
        for (dir, spares) in data.iter().zip(0..) {
            match names_in(vfs, dir) {
                Ok(names) => {
                    for (name, path) in names {
                        listing.add_data_file(vfs, name, path, spares).or_else(&mut *problem)?;
                    }
                }
                Err(error) => problem(error.into())?,
            }
        }
        match names_in(vfs, home) {
            Ok(names) => {
                for (name, path) in names {
                    listing.add_home_file(name, path, data.iter().any(|dir| dir == home));
                }
            }
            Err(error) => problem(error.into())?,
        }
        Ok(listing)
    }

    /// Reads names and segment headers. Writes nothing. Of segments whose header cannot be read, or which are missing, those that
    /// `go_on` passes become [`damages`](Self::damages).
    ///
    /// # Errors
    /// `Corrupt` (@J) if a header is invalid or not its name's, an id is missing, or there twice; `NewerFormat`; `Io`.
    pub(crate) fn read(dirs: &Directories, go_on: &dyn Fn(Extent) -> bool) -> Result<Self> {
        let vfs = &*dirs.vfs;
        let mut broken = Vec::new();
        // How much of it is lost is not known yet.
        let may_be_known = |id| go_on(Extent::of_files(id, start_of(id)));
        let mut listing = Self::gather(vfs, &dirs.home, &dirs.data, &mut |problem| match problem
            .segment
        {
            Some((id, path)) if problem.error.kind() == &ErrorKind::Corrupt && may_be_known(id) => {
                broken.push((id, path, problem.error));
                Ok(())
            }
            _ => Err(problem.error),
        })?;
        listing.salvage(vfs, broken)?;
        if let Some(news) = listing.damages.iter().find(|damage| !go_on(damage.extent())) {
            return Err(Error::corrupt(news.what.clone()).in_file(&news.path));
        }
        for hole in listing.segments.holes() {
            if !go_on(hole.extent()) {
                return Err(hole.error);
            }
            let home = dirs.data.get(directory_of(dirs, hole.first)).unwrap_or(&dirs.home);
            listing.damages.push(FileDamage {
                segment: hole.first,
                path: home.join(names::segment(hole.first)),
                what: hole.error.what().to_owned(),
                state: FileState::Missing,
            });
        }
        Ok(listing)
    }

    /// Makes the headers of `broken` segments again, where their frames tell them.
    ///
    /// # Errors
    /// `Io`.
    pub(crate) fn salvage(
        &mut self,
        vfs: &dyn Vfs,
        mut broken: Vec<(SegmentId, PathBuf, Error)>,
    ) -> Result<()> {
        // From the oldest on: one that is made again is a neighbour of the next.
        broken.sort_unstable_by_key(|(segment, ..)| *segment);
        for (segment, path, error) in broken {
            let salvaged = super::salvage::salvage(vfs, &path, segment, &self.segments)?;
            let state = match &salvaged {
                Some((_, first_frame)) => FileState::Salvaged { first_frame: *first_frame },
                None => FileState::Unreadable,
            };
            if let Some((salvaged, _)) = salvaged.filter(|_| self.segments.get(segment).is_none()) {
                self.segments.insert(salvaged);
            }
            self.damages.push(FileDamage { segment, path, what: error.what().to_owned(), state });
        }
        Ok(())
    }

    fn add_home_file(&mut self, name: Name, path: PathBuf, holds_segments: bool) {
        match name {
            Name::Checkpoint(generation) => drop(self.checkpoints.insert(generation, path)),
            Name::Temporary if !holds_segments => self.temporary.push(path),
            _ => {}
        }
    }

    fn add_data_file(
        &mut self,
        vfs: &dyn Vfs,
        name: Name,
        path: PathBuf,
        dir: usize,
    ) -> Result<(), Problem> {
        match name {
            Name::Segment(id) => {
                let broken = |error: Error| Problem { error, segment: Some((id, path.clone())) };
                let header = read_segment_header(vfs, &path).map_err(broken)?;
                if header.id != id {
                    let what =
                        format!("@J: the header says segment {}, the name says {id}", header.id);
                    return Err(broken(Error::corrupt(what).in_file(&path)));
                }
                if let Some(twin) = self.segments.get(id) {
                    let what =
                        format!("@J: segment {id} is there twice, also as {}", twin.path.display());
                    return Err(Error::corrupt(what).in_file(&path).into());
                }
                self.segments.insert(Segment { path, header });
            }
            Name::Spare(number) => {
                self.spare_number = self.spare_number.max(number);
                if let Some(spares) = self.spares.get_mut(dir) {
                    spares.push(path);
                }
            }
            Name::Temporary => self.temporary.push(path),
            Name::Checkpoint(_) | Name::Manifest | Name::Other => {}
        }
        Ok(())
    }
}

/// The names in `dir` that are ours.
///
/// # Errors
/// `Io`.
fn names_in(vfs: &dyn Vfs, dir: &Path) -> Result<Vec<(Name, PathBuf)>> {
    let names =
        vfs.list(dir).map_err(|error| Error::io("cannot list the directory", dir, error))?;
    Ok(names
        .into_iter()
        .map(|name| (Name::parse(&name), dir.join(name)))
        .filter(|(name, _)| *name != Name::Other)
        .collect())
}

/// The header of the segment at `path`.
///
/// # Errors
/// `Corrupt` (@J), `NewerFormat`, `Io`.
pub(crate) fn read_segment_header(vfs: &dyn Vfs, path: &Path) -> Result<SegmentHeader> {
    let mut bytes = [0; SEGMENT_HEADER_LEN];
    let read = vfs.open(path).and_then(|file| read_exact_or_end(&*file, 0, &mut bytes));
    match read.map_err(|error| Error::io("cannot read the segment header", path, error))? {
        SEGMENT_HEADER_LEN => {
            SegmentHeader::decode(&bytes).map_err(|error| error.in_file(path).at(0))
        }
        short => {
            Err(Error::corrupt(format!("@J: the segment has {short} bytes, not even a header"))
                .in_file(path))
        }
    }
}

impl Segments {
    pub(crate) fn insert(&mut self, segment: Segment) {
        self.torn.remove(&segment.header.id);
        self.by_id.insert(segment.header.id, segment);
    }

    pub(crate) fn remove(&mut self, id: SegmentId) {
        self.by_id.remove(&id);
        self.torn.remove(&id);
    }

    /// Behind `last` segment `id` ended torn: see [`find_torn_ends`](Self::find_torn_ends).
    pub(super) fn set_torn(&mut self, id: SegmentId, last: Lsn) {
        self.torn.insert(id, last);
    }

    pub(crate) fn get(&self, id: SegmentId) -> Option<&Segment> {
        self.by_id.get(&id)
    }

    pub(crate) fn newest(&self) -> Option<&Segment> {
        self.by_id.last_key_value().map(|(_, segment)| segment)
    }

    pub(crate) fn oldest(&self) -> Option<&Segment> {
        self.by_id.first_key_value().map(|(_, segment)| segment)
    }

    /// Oldest first.
    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = &Segment> {
        self.by_id.values()
    }

    pub(crate) fn len(&self) -> usize {
        self.by_id.len()
    }

    /// From `id` on, oldest first.
    pub(crate) fn from(&self, id: SegmentId) -> impl Iterator<Item = &Segment> {
        self.by_id.range(id..).map(|(_, segment)| segment)
    }

    /// The segment before `id`.
    pub(crate) fn before(&self, id: SegmentId) -> Option<&Segment> {
        self.by_id.range(..id).next_back().map(|(_, segment)| segment)
    }

    /// The segment behind `id`.
    pub(crate) fn after(&self, id: SegmentId) -> Option<&Segment> {
        self.by_id.range(id.next()..).next().map(|(_, segment)| segment)
    }

    /// The highest LSN that may count in segment `id`: above it, frames are void, because a later recovery declared them so. Whatever
    /// the epochs say, and one of them may be a guess ([`salvage`](super::salvage)), none reaches into the next segment.
    pub(crate) fn void_above(&self, id: SegmentId) -> Option<Lsn> {
        let epoch = self.get(id)?.header.epoch;
        let mut later = self.by_id.range(id.next()..).map(|(_, later)| &later.header).peekable();
        let next = later.peek().map(|next| next.first_lsn.previous());
        let next = next.into_iter().chain(self.torn.get(&id).copied());
        later.filter(|later| later.epoch > epoch).map(|later| later.cut_lsn).chain(next).min()
    }

    /// The segment that item `seq` lies in, if it lies anywhere.
    pub(crate) fn of_item(&self, seq: EventSeq) -> Option<&Segment> {
        self.by_id.values().rev().find(|segment| segment.header.first_item <= seq)
    }

    /// The segment that `lsn` lies in, if it lies anywhere.
    pub(crate) fn of_lsn(&self, lsn: Lsn) -> Option<&Segment> {
        self.by_id.values().rev().find(|segment| segment.header.first_lsn <= lsn)
    }

    /// What is missing between the ids (@J).
    pub(crate) fn holes(&self) -> Vec<Hole> {
        self.by_id
            .values()
            .zip(self.by_id.values().skip(1))
            .filter(|(last, segment)| segment.header.id != last.header.id.next())
            .map(|(last, segment)| {
                let (last, id) = (last.header.id, segment.header.id);
                let missing = names::segment(last.next());
                let what = format!("@J: segment {missing} is missing between {last} and {id}");
                let error = Error::corrupt(what).in_file(&segment.path);
                Hole { first: last.next(), next: id, error }
            })
            .collect()
    }
}

/// Segments that are missing.
pub(crate) struct Hole {
    pub(crate) first: SegmentId,
    /// The first one behind them.
    next: SegmentId,
    pub(crate) error: Error,
}

impl Hole {
    /// What of the log they take.
    pub(crate) fn extent(&self) -> Extent {
        Extent::of_files(self.first, first_frame_of(self.next))
    }
}

/// The place that stands for a whole segment.
pub(crate) fn start_of(segment: SegmentId) -> FramePtr {
    FramePtr { segment, offset: 0 }
}

/// Which data directory the segment `id` goes to: one after the other.
pub(crate) fn directory_of(dirs: &Directories, id: SegmentId) -> usize {
    usize::try_from(id.get() % dirs.data.len().max(1) as u64).unwrap_or_default()
}

/// Which data directory `segment` lies in. Not always the one that [`directory_of`] names: a directory may have joined since.
pub(crate) fn directory_holding(dirs: &Directories, segment: &Segment) -> Option<usize> {
    dirs.data.iter().position(|dir| segment.path.parent() == Some(dir))
}
