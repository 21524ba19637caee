//! What was damaged, set aside: a record of each damage with a copy of its bytes, in a directory beside the checkpoints.
//!
//! A record is written before the log goes on behind the damage, and stays until an operator settles it: so that each open can tell
//! of it, and so that the bytes outlive the segment that they lay in. It is text, for who has nothing but `cat`; docs/FORMAT.md
//! describes it.

use super::{Verdict, is_absent, names, spares::len_of, start_of, writer::SPARE_ROOM_BYTES};
use crate::{
    error::{Error, ErrorKind, Result},
    format::crc32,
    ids::{EventSeq, FramePtr, Lsn, SegmentId},
    io::{Sync, Vfs, read_all},
};
use std::{
    io::{self, IoSlice},
    path::{Path, PathBuf},
};

const FIRST_LINE: &str = "fchannel damage 1";
const RECORD_BYTES_MAX: u64 = 64 << 10;
const COPY_BYTES: usize = 1 << 20;
/// More than any segment: who looks at raw bytes holds them in memory.
const RAW_BYTES_MAX: u64 = 4 << 30;

/// A damage that was set aside: where it is, what was in it, and where the log goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Quarantined {
    /// Its number in this channel, counted from 1; 0 as long as the disk has no room for its record.
    pub id: u64,
    /// When it was found, in milliseconds since 1970.
    pub found_ms: u64,
    /// What recovery's table says of it.
    pub verdict: Verdict,
    /// The file it was found in.
    pub file: PathBuf,
    /// The first frame that cannot be read.
    pub at: FramePtr,
    /// The next one that can; `None` if the log ends with the damage.
    pub next: Option<FramePtr>,
    /// The frames that are missing: the first LSN, and the first one behind them. Equal if none is.
    pub lsns: (Lsn, Lsn),
    /// The events that were in them, at most: the first, and the first one behind them. Equal if none was, as far as can be told. Some
    /// may have been taken; some may never have been acknowledged.
    pub events: (EventSeq, EventSeq),
    /// What is wrong, and who says so.
    pub what: String,
    /// How many bytes were copied aside.
    pub bytes: u64,
}

/// What a damage takes from the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Extent {
    /// Where it begins; [`start_of`] a segment for one that is damaged as a file.
    pub(crate) at: FramePtr,
    /// Where the log goes on, as far as that is known.
    pub(crate) next: Option<FramePtr>,
    /// The first LSN behind it. The default says nothing: of a file, or where nothing was found behind.
    pub(crate) until: Lsn,
}

impl Extent {
    /// Files are damaged, from that of segment `first` on to `next`.
    pub(crate) fn of_files(first: SegmentId, next: FramePtr) -> Self {
        Self { at: start_of(first), next: Some(next), until: Lsn::default() }
    }
}

impl Quarantined {
    pub(crate) fn extent(&self) -> Extent {
        // Any record of the place would reach as far as an empty range does.
        let until = if self.lsns.1 > self.lsns.0 { self.lsns.1 } else { Lsn::default() };
        Extent { at: self.at, next: self.next, until }
    }

    pub(crate) fn to_text(&self) -> String {
        let mut text = format!("{FIRST_LINE}\n");
        let next = self.next.map_or_else(|| "end".to_owned(), |next| next.to_string());
        // The message last: it is the only one that could hold anything.
        let what = self.what.replace(['\n', '\r'], " ");
        let lines = [
            ("id", self.id.to_string()),
            ("found_ms", self.found_ms.to_string()),
            ("verdict", self.verdict.to_string()),
            ("at", self.at.to_string()),
            ("next", next),
            ("lsns", format!("{}..{}", self.lsns.0, self.lsns.1)),
            ("events", format!("{}..{}", self.events.0, self.events.1)),
            ("bytes", self.bytes.to_string()),
            ("file", self.file.display().to_string().replace(['\n', '\r'], " ")),
            ("what", what),
        ];
        for (key, value) in lines {
            text.push_str(&format!("{key} {value}\n"));
        }
        let crc = crc32(&[text.as_bytes()]);
        text.push_str(&format!("crc {crc:08x}\n"));
        text
    }

    pub(crate) fn from_text(bytes: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok()?;
        let (sealed, crc) = text.strip_suffix('\n')?.rsplit_once('\n')?;
        let sealed = &text[..=sealed.len()];
        let crc = u32::from_str_radix(crc.strip_prefix("crc ")?, 16).ok()?;
        if crc != crc32(&[sealed.as_bytes()]) {
            return None;
        }
        let mut lines = sealed.lines();
        if lines.next() != Some(FIRST_LINE) {
            return None;
        }
        let mut field = |name: &str| lines.next()?.strip_prefix(name)?.strip_prefix(' ');
        let range = |text: &str| {
            let (first, until) = text.split_once("..")?;
            Some((first.parse::<u64>().ok()?, until.parse::<u64>().ok()?))
        };
        let id = field("id")?.parse().ok()?;
        let found_ms = field("found_ms")?.parse().ok()?;
        let verdict = Verdict::from_name(field("verdict")?)?;
        let at = names::place(field("at")?)?;
        let next = match field("next")? {
            "end" => None,
            other => Some(names::place(other)?),
        };
        let lsns = range(field("lsns")?)?;
        let events = range(field("events")?)?;
        let bytes = field("bytes")?.parse().ok()?;
        let file = PathBuf::from(field("file")?);
        let what = field("what")?.to_owned();
        Some(Self {
            id,
            found_ms,
            verdict,
            file,
            at,
            next,
            lsns: (Lsn::new(lsns.0), Lsn::new(lsns.1)),
            events: (EventSeq::new(events.0), EventSeq::new(events.1)),
            what,
            bytes,
        })
    }
}

/// The records of a log.
#[derive(Debug, Default)]
pub(crate) struct Quarantine {
    dir: PathBuf,
    records: Vec<Quarantined>,
    /// What an operator has settled: nobody is told of it any more, and the damage still is no news to who reads on behind it.
    settled: Vec<Quarantined>,
    highest: u64,
    /// Damage for whose record there was no room, and where its bytes end. It is known all the same: a full disk must drain.
    unrecorded: Vec<(Quarantined, Option<u64>)>,
    /// What a crash left half-made.
    temporary: Vec<PathBuf>,
}

impl Quarantine {
    /// Reads the records below `home`; `warn` hears of those that cannot be read.
    ///
    /// # Errors
    /// `Io`.
    pub(crate) fn read(vfs: &dyn Vfs, home: &Path, warn: &mut dyn FnMut(String)) -> Result<Self> {
        let dir = home.join(names::QUARANTINE);
        let mut quarantine = Self { dir, ..Self::default() };
        let listed = match vfs.list(&quarantine.dir) {
            Ok(listed) => listed,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(quarantine),
            Err(error) => {
                return Err(Error::io("cannot list the quarantine", &quarantine.dir, error));
            }
        };
        for name in listed {
            if names::is_damage_temporary(&name) {
                quarantine.temporary.push(quarantine.dir.join(&name));
            }
            let Some(id) = names::damage_id(&name) else { continue };
            quarantine.highest = quarantine.highest.max(id);
            let is_settled = names::is_damage_settled(&name);
            if !is_settled && !names::is_damage_record(&name) {
                continue;
            }
            let path = quarantine.dir.join(&name);
            let bytes = read_all(vfs, &path, RECORD_BYTES_MAX)
                .map_err(|error| Error::io("cannot read a record of the quarantine", &path, error));
            match bytes.map(|bytes| Quarantined::from_text(&bytes)) {
                Ok(Some(record)) if is_settled => quarantine.settled.push(record),
                Ok(Some(record)) => quarantine.records.push(record),
                Ok(None) => warn(format!("{} is not a record of a damage", path.display())),
                Err(error) => warn(error.to_string()),
            }
        }
        quarantine.records.sort_by_key(|record| record.id);
        quarantine.settled.sort_by_key(|record| record.id);
        Ok(quarantine)
    }

    /// Removes what a crash left half-made; `warn` hears of what cannot be removed, which does no harm.
    pub(crate) fn remove_temporary(&mut self, vfs: &dyn Vfs, warn: &mut dyn FnMut(String)) {
        for path in std::mem::take(&mut self.temporary) {
            if let Err(error) = vfs.remove(&path) {
                warn(format!("{} could not be removed: {error}", path.display()));
            }
        }
    }

    /// All that is not settled, oldest first.
    pub(crate) fn records(&self) -> &[Quarantined] {
        &self.records
    }

    /// What an operator has settled, oldest first.
    pub(crate) fn settled(&self) -> &[Quarantined] {
        &self.settled
    }

    /// All records, settled or not.
    fn all(&self) -> impl Iterator<Item = &Quarantined> {
        let unrecorded = self.unrecorded.iter().map(|(damage, _)| damage);
        self.records.iter().chain(&self.settled).chain(unrecorded)
    }

    /// The records of damage at `at`: several where it has grown.
    pub(crate) fn of(&self, at: FramePtr) -> impl Iterator<Item = &Quarantined> {
        self.all().filter(move |record| record.at == at)
    }

    /// A record that knows of all that `extent` takes. One of less at the same place does not stand for it: damage grows, and a segment
    /// whose header was damaged can be lost.
    pub(crate) fn covering(&self, extent: Extent) -> Option<&Quarantined> {
        let reaches = |end: Option<FramePtr>| {
            end.is_none_or(|end| extent.next.is_some_and(|next| end >= next))
        };
        self.of(extent.at).find(|known| {
            if known.at == start_of(known.at.segment) {
                return reaches(self.end_of_files(known));
            }
            // The same frames, though what lay behind them may be void by now, so that the log goes on elsewhere.
            let same_frames = extent.until > Lsn::default() && known.lsns.1 >= extent.until;
            same_frames || reaches(known.next)
        })
    }

    /// A record of segments that are lost right behind `segment`, and of the frames `lsns` with them.
    pub(crate) fn lost_behind(&self, segment: SegmentId, lsns: (Lsn, Lsn)) -> Option<&Quarantined> {
        self.of(start_of(segment.next())).find(|known| {
            is_lost(known) && known.lsns.0 <= lsns.0 && lsns.0 < lsns.1 && lsns.1 <= known.lsns.1
        })
    }

    /// Where the log goes on behind the segments that `known` says are lost, and behind those that other records say are lost next to them.
    fn end_of_files(&self, known: &Quarantined) -> Option<FramePtr> {
        let mut end = known.next;
        while let Some(here) = end.filter(|_| is_lost(known))
            && let Some(further) = self.of(start_of(here.segment)).find(|next| is_lost(next))
        {
            end = further.next;
        }
        end
    }

    /// The last of the segments that were lost as a whole. They may turn up, so their names are not used again.
    pub(crate) fn last_lost(&self) -> Option<SegmentId> {
        let lost = self.all().filter(|record| is_lost(record));
        lost.filter_map(|record| record.next).map(|next| next.segment.previous()).max()
    }

    /// True if there is a record of damage in `segment`.
    pub(crate) fn names(&self, segment: SegmentId) -> bool {
        self.all().any(|record| record.at.segment == segment)
    }

    /// Damage for whose record there was no room.
    pub(crate) fn unrecorded(&self) -> impl Iterator<Item = &Quarantined> {
        self.unrecorded.iter().map(|(damage, _)| damage)
    }

    /// As [`add`](Self::add); but where the disk has no room for that, the damage is kept in mind, and `id` stays 0.
    ///
    /// # Errors
    /// `Io`: what is damaged stays where it lies.
    pub(crate) fn add_or_remember(
        &mut self,
        vfs: &dyn Vfs,
        damage: Quarantined,
        until: Option<u64>,
    ) -> Result<Quarantined> {
        match self.add(vfs, damage.clone(), until) {
            Err(error) if error.kind() == &ErrorKind::DiskFull => {
                self.unrecorded.push((damage.clone(), until));
                Ok(damage)
            }
            answer => answer,
        }
    }

    /// Records what there was no room for, as far as there is some now. The last room is for those who drain the disk; but segments below
    /// `keep` go now, or are gone: of damage in these a record without the bytes is better than none.
    ///
    /// # Errors
    /// `Io`.
    pub(crate) fn record_the_rest(&mut self, vfs: &dyn Vfs, keep: SegmentId) -> Result<()> {
        let home = self.dir.parent().unwrap_or(&self.dir).to_path_buf();
        let is_full = |answer: &Result<Quarantined>| {
            answer.as_ref().is_err_and(|error| error.kind() == &ErrorKind::DiskFull)
        };
        let mut failed = Ok(());
        for (damage, until) in std::mem::take(&mut self.unrecorded) {
            let goes = damage.at.segment < keep;
            let end = until.unwrap_or(u64::MAX).min(len_of(vfs, &damage.file));
            let bytes = end.saturating_sub(damage.at.offset);
            let free = vfs.free_bytes(&home).unwrap_or(u64::MAX);
            if !goes && free < bytes.saturating_add(SPARE_ROOM_BYTES) {
                self.unrecorded.push((damage, until));
                continue;
            }
            let mut answer = self.add(vfs, damage.clone(), until);
            if goes && is_full(&answer) {
                answer = self.add(vfs, damage.clone(), Some(damage.at.offset));
            }
            let full = is_full(&answer);
            if let Err(error) = answer {
                self.unrecorded.push((damage, until));
                if !full {
                    failed = Err(error);
                }
            }
        }
        failed
    }

    /// Settles damage `id` by one rename, durable on return. One that is settled already changes nothing.
    ///
    /// # Errors
    /// `InvalidOptions` if there is no such damage; `Io`.
    pub(crate) fn settle(&mut self, vfs: &dyn Vfs, id: u64) -> Result<()> {
        if self.settled.iter().any(|record| record.id == id) {
            return Ok(());
        }
        let Some(place) = self.records.iter().position(|record| record.id == id) else {
            let what = format!("there is no damage {id} in the quarantine");
            return Err(Error::new(ErrorKind::InvalidOptions, what).in_file(&self.dir));
        };
        let record = self.dir.join(names::damage_record(id));
        vfs.retire(&record, &self.dir.join(names::damage_settled(id)))
            .map_err(|error| Error::io("cannot settle the damage", &record, error))?;
        self.settled.push(self.records.remove(place));
        Ok(())
    }

    /// The raw bytes of `damage`: those that were copied aside, or all of a segment in one of the directories `data` that could not be
    /// read. Empty if nothing was left.
    ///
    /// # Errors
    /// `Io`.
    pub(crate) fn raw_bytes(
        &self,
        vfs: &dyn Vfs,
        data: &[PathBuf],
        damage: &Quarantined,
    ) -> Result<Vec<u8>> {
        let copy = self.dir.join(names::damage_bytes(damage.id));
        let renamed = names::damaged(&names::segment(damage.at.segment), damage.id);
        // Not where the record says: the log may have been moved since.
        let renamed = data.iter().map(|dir| dir.join(&renamed));
        for path in std::iter::once(copy).chain(renamed) {
            match read_all(vfs, &path, RAW_BYTES_MAX) {
                Ok(bytes) => return Ok(bytes),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(Error::io("cannot read the raw bytes", &path, error)),
            }
        }
        Ok(Vec::new())
    }

    /// Copies the bytes of `damage` and writes its record, both durable on return. `until` is where the damaged bytes end, `None` at the
    /// end of the file; a damage that is known already changes nothing.
    ///
    /// # Errors
    /// `DiskFull`, `Io`: what is damaged stays where it lies.
    pub(crate) fn add(
        &mut self,
        vfs: &dyn Vfs,
        mut damage: Quarantined,
        until: Option<u64>,
    ) -> Result<Quarantined> {
        if let Some(known) = self.covering(damage.extent()) {
            return Ok(known.clone());
        }
        vfs.create_dir(&self.dir)
            .map_err(|error| Error::io("cannot make the quarantine", &self.dir, error))?;
        damage.id = self.highest + 1;
        let copy = self.dir.join(names::damage_bytes(damage.id));
        let record = self.dir.join(names::damage_record(damage.id));
        copy_aside(vfs, &damage.file, damage.at.offset, until, &copy)
            .map_err(|error| Error::io("cannot copy damaged bytes aside", &copy, error))
            .and_then(|bytes| {
                damage.bytes = bytes;
                vfs.replace(&record, damage.to_text().as_bytes()).map_err(|error| {
                    Error::io("cannot write the record of a damage", &record, error)
                })
            })
            .inspect_err(|_| {
                // A record that has its name, but perhaps not for ever, keeps its bytes.
                if is_absent(vfs, &record) {
                    drop(vfs.remove(&copy));
                }
            })?;
        self.highest = damage.id;
        self.records.push(damage.clone());
        Ok(damage)
    }
}

/// True if nothing of the segment was left.
fn is_lost(record: &Quarantined) -> bool {
    record.at == start_of(record.at.segment)
        && record.next.is_some_and(|next| next.segment > record.at.segment)
}

/// Copies what lies from `from` to `until` in `file`, without the zeros at its end; answers how many bytes that is.
fn copy_aside(
    vfs: &dyn Vfs,
    file: &Path,
    from: u64,
    until: Option<u64>,
    copy: &Path,
) -> io::Result<u64> {
    let source = match vfs.open(file) {
        Ok(source) => source,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(error),
    };
    let until = until.unwrap_or(u64::MAX).min(source.len()?);
    let mut chunk = vec![0; COPY_BYTES];
    let read_chunk = |at: u64, chunk: &mut Vec<u8>| {
        let len = usize::try_from(until.saturating_sub(at)).unwrap_or(usize::MAX).min(COPY_BYTES);
        chunk.resize(len, 0);
        let read = source.read_at(at, chunk)?;
        chunk.truncate(read);
        io::Result::Ok(())
    };
    let (mut at, mut end) = (from, from);
    while at < until {
        read_chunk(at, &mut chunk)?;
        if chunk.is_empty() {
            break;
        }
        if let Some(last) = chunk.iter().rposition(|byte| *byte != 0) {
            end = at + last as u64 + 1;
        }
        at += chunk.len() as u64;
    }
    if end == from {
        return Ok(0);
    }
    let target = vfs.create(copy, &[], None)?;
    let mut at = from;
    while at < end {
        read_chunk(at, &mut chunk)?;
        chunk.truncate(usize::try_from(end - at).unwrap_or(usize::MAX).min(chunk.len()));
        if chunk.is_empty() {
            break;
        }
        target.write_at(at - from, &[IoSlice::new(&chunk)], Sync::No)?;
        at += chunk.len() as u64;
    }
    target.sync()?;
    Ok(at - from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::SegmentId;

    fn record() -> Quarantined {
        Quarantined {
            id: 3,
            found_ms: 1_795_000_000_000,
            verdict: Verdict::C,
            file: PathBuf::from("/data/a 1/seg-5"),
            at: FramePtr { segment: SegmentId::new(5), offset: 4096 },
            next: Some(FramePtr { segment: SegmentId::new(5), offset: 8192 }),
            lsns: (Lsn::new(17), Lsn::new(19)),
            events: (EventSeq::new(100), EventSeq::new(140)),
            what: "frame 17 is missing\nor damaged".into(),
            bytes: 4096,
        }
    }

    #[test]
    fn what_is_settled_is_told_no_more_and_stays_known() {
        let dir = tempfile::tempdir().unwrap();
        let vfs = crate::io::StdVfs::default();
        let mut warn = |warning: String| panic!("{warning}");
        let mut quarantine = Quarantine::read(&vfs, dir.path(), &mut warn).unwrap();
        let damage = quarantine.add(&vfs, record(), None).unwrap();
        assert_eq!(quarantine.settle(&vfs, 9).unwrap_err().kind(), &ErrorKind::InvalidOptions);
        for _ in 0..2 {
            quarantine.settle(&vfs, damage.id).unwrap();
            quarantine = Quarantine::read(&vfs, dir.path(), &mut warn).unwrap();
            assert!(quarantine.records().is_empty());
            assert_eq!(quarantine.settled().len(), 1);
            assert!(quarantine.covering(damage.extent()).is_some());
        }
        let next = FramePtr { segment: SegmentId::new(6), offset: 0 };
        let other = quarantine.add(&vfs, Quarantined { at: next, ..record() }, None).unwrap();
        assert_eq!(other.id, damage.id + 1, "a number is never used again");
    }

    /// Known by its place alone, damage passed `on_damage = Refuse` that nobody had seen: an hour later it was larger, or the segment gone.
    #[test]
    fn a_record_stands_for_no_more_than_it_names() {
        let place = |segment, offset| FramePtr { segment: SegmentId::new(segment), offset };
        let (frame, files) = (record(), |at, next| Quarantined {
            at: place(at, 0),
            next: Some(next),
            lsns: (Lsn::default(), Lsn::default()),
            ..record()
        });
        let salvaged = files(7, place(7, 64));
        let (lost, lost_too) = (files(9, place(10, 64)), files(10, place(12, 64)));
        let records = vec![frame.clone(), salvaged, lost, lost_too];
        let quarantine = Quarantine { records, ..Quarantine::default() };
        let knows = |extent| quarantine.covering(extent).is_some();
        let Extent { at, next, until } = frame.extent();
        assert!(knows(frame.extent()));
        assert!(knows(Extent { next: Some(place(6, 64)), ..frame.extent() }), "void behind it");
        assert!(knows(Extent { until: until.next(), ..frame.extent() }), "no further than it was");
        assert!(
            !knows(Extent { at, next: Some(place(6, 64)), until: until.next() }),
            "it has grown"
        );
        assert!(!knows(Extent { at: place(5, 64), next, until }), "elsewhere");
        let without_lsns =
            |next| Quarantined { next: Some(next), lsns: (until, until), ..record() };
        assert!(knows(without_lsns(place(5, 8192)).extent()));
        assert!(!knows(without_lsns(place(5, 9000)).extent()), "no LSN says that it is the same");
        assert!(knows(Extent::of_files(SegmentId::new(7), place(7, 64))));
        assert!(!knows(Extent::of_files(SegmentId::new(7), place(7, 4096))), "less can be read");
        assert!(!knows(Extent::of_files(SegmentId::new(7), place(8, 64))), "nothing can");
        assert!(knows(Extent::of_files(SegmentId::new(9), place(12, 64))), "one behind the other");
        assert!(!knows(Extent::of_files(SegmentId::new(9), place(13, 64))));
        assert_eq!(quarantine.last_lost(), Some(SegmentId::new(11)));
    }

    #[test]
    fn a_record_is_read_back_and_no_flip_goes_unseen() {
        let text = record().to_text();
        let read = Quarantined::from_text(text.as_bytes()).unwrap();
        assert_eq!(read, Quarantined { what: "frame 17 is missing or damaged".into(), ..record() });
        for at in 0..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[at] ^= 1;
            assert_ne!(Quarantined::from_text(&bytes).as_ref(), Some(&read), "byte {at}");
            assert_eq!(Quarantined::from_text(&bytes[..at]), None, "cut at {at}");
        }
        let at_the_end = Quarantined { next: None, ..read };
        assert_eq!(Quarantined::from_text(at_the_end.to_text().as_bytes()), Some(at_the_end));
    }
}
