//! The process whose disk is full: it fills a channel until puts are refused, has others take the last byte of the disk, and takes.
//!
//! It has three lives, the first two of which end with a kill on the full disk.

use crate::{
    Answer,
    chance::Chance,
    look::say_all,
    role::say,
    words::{Batch, Id, Put, Run, Said},
};
use fchannel::{Channel, CommitError, ErrorKind, OnDamage, Options, PutError, TakeLimit};
use std::{
    fs::{self, File},
    io::{self, Write},
    path::Path,
    time::{Duration, Instant},
};

/// What a life is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Fills the channel, takes a little, waits for the kill.
    Fill = 1,
    /// Takes a half, waits for the kill.
    Half = 2,
    /// Drains it, and puts again when the others are gone.
    Drain = 3,
}

const EVENTS_AT_ONCE: u64 = 200;
const SOON: Duration = Duration::from_secs(30);

fn options() -> Options {
    Options {
        segment_bytes_max: 1 << 20,
        checkpoint_interval_ms: 50,
        free_space_min_bytes: 0,
        // A false alarm must not pass as damage that was gone around.
        on_damage: OnDamage::Refuse,
        ..Options::default()
    }
}

pub(crate) fn live(dir: &Path, others: &Path, part: Part) -> Answer<()> {
    let channel = match Channel::open(dir, options()) {
        Ok(channel) => channel,
        Err(error) => {
            say(&Said::Shut(format!("{error:?}")));
            return Ok(());
        }
    };
    say_all(&channel)?;
    let mut owner = Owner { channel, round: part as u64, number: 0, chance: Chance::new(7) };
    match part {
        Part::Fill => {
            until("the reserves are there", || Ok(spares(dir)? >= 2))?;
            File::create(others)?;
            while owner.put(EVENTS_AT_ONCE)? {}
            fill_up(others)?;
            // What is allocated already is room, down to the reserve.
            for events in [EVENTS_AT_ONCE, 20, 1] {
                while owner.put(events)? {}
            }
            owner.take_at_most(50)?;
        }
        Part::Half => {
            owner.put(1)?;
            let half = owner.channel.stats().events / 2;
            while owner.channel.stats().events > half {
                owner.take_at_most(10)?;
                // What was given back is somebody else's at once.
                fill_up(others)?;
            }
            // A restart on a full disk needs a segment: of what was given back, some is kept for it.
            until("a spare is there", || Ok(spares(dir)? >= 1))?;
            fill_up(others)?;
        }
        Part::Drain => {
            while owner.channel.stats().events > 0 {
                owner.take_at_most(100)?;
            }
            fs::remove_file(others)?;
            until("puts go on", || owner.put(1))?;
            owner.put(EVENTS_AT_ONCE)?;
            let Owner { channel, .. } = owner;
            channel.close()?;
            say(&Said::Done);
            return Ok(());
        }
    }
    if let Some(poison) = owner.channel.poisoned() {
        say(&Said::Stopped(poison.to_string()));
    }
    say(&Said::Done);
    loop {
        std::thread::park();
    }
}

fn until(what: &str, mut done: impl FnMut() -> Answer<bool>) -> Answer<()> {
    let deadline = Instant::now() + SOON;
    while !done()? {
        if Instant::now() > deadline {
            say(&Said::Failed(format!("not in time: {what}")));
            return Err(what.into());
        }
        std::thread::park_timeout(Duration::from_millis(20));
    }
    Ok(())
}

/// The reserves and retired segments of a channel: the names are in docs/FORMAT.md.
///
/// # Errors
/// If the directory cannot be listed.
pub fn spares(dir: &Path) -> Answer<usize> {
    let mut spares = 0;
    for entry in fs::read_dir(dir)? {
        let name = entry?.file_name();
        spares += usize::from(
            name.to_string_lossy().starts_with("spare-")
                && !name.to_string_lossy().ends_with(".tmp"),
        );
    }
    Ok(spares)
}

/// Appends to `path` until its disk has no room for one byte more.
pub fn fill_up(path: &Path) -> Answer<()> {
    let mut file = match File::options().create(true).append(true).open(path) {
        // Not even for a name.
        Err(error) if error.kind() == io::ErrorKind::StorageFull => return Ok(()),
        file => file?,
    };
    let zeros = vec![0; 1 << 20];
    for piece in [1 << 20, 64 << 10, 4 << 10, 512, 1] {
        loop {
            match file.write(zeros.get(..piece).unwrap_or_default()) {
                Ok(0) => break,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::StorageFull => break,
                Err(error) => return Err(error.into()),
            }
        }
    }
    // Some file systems find out only then; and what is synced stays.
    match file.sync_all() {
        Err(error) if error.kind() != io::ErrorKind::StorageFull => Err(error.into()),
        _ => Ok(()),
    }
}

struct Owner {
    channel: Channel,
    round: u64,
    number: u64,
    chance: Chance,
}

impl Owner {
    /// Puts so many events; false if they were refused since the disk is full.
    fn put(&mut self, events: u64) -> Answer<bool> {
        let batch = Batch { producer: 0, first: self.number + 1, last: self.number + events };
        self.number = batch.last;
        let Batch { producer, first, last } = batch;
        let mut put = self.channel.begin_put();
        for number in first..=last {
            put.push(&Id { producer, round: self.round, number, first, last }.encode())?;
        }
        match put.commit() {
            Ok(done) => {
                let seq = done.first.map_or(0, fchannel::EventSeq::get);
                let (lsn, durable) = (done.lsn.get(), done.durable);
                say(&Said::Put(Put { batch, seq, lsn, durable, marked: false }));
                Ok(true)
            }
            Err(PutError::Commit(CommitError::NotCommitted(error)))
                if error.kind() == &ErrorKind::DiskFull =>
            {
                say(&Said::Refused(batch, format!("{error:?}")));
                Ok(false)
            }
            Err(error) => {
                say(&Said::Unknown(batch));
                say(&Said::Failed(format!("put: {error:?}")));
                Err(error.to_string().into())
            }
        }
    }

    /// So many takes, some of which are rolled back.
    fn take_at_most(&mut self, takes: u64) -> Answer<()> {
        for _ in 0..takes {
            let events = u32::try_from(1 + self.chance.below(EVENTS_AT_ONCE)).unwrap_or(1);
            let take = self.channel.begin_take(TakeLimit::events(events))?;
            if take.records().is_empty() {
                return Ok(());
            }
            let events = take.records().iter().map(|record| {
                let id = Id::decode(&record.payload).expect("every event is one of ours");
                (record.seq.get(), id)
            });
            say(&Said::Taking(0, Run::gather(events)));
            if self.chance.percent(10) {
                drop(take);
                say(&Said::Back(0));
                continue;
            }
            match take.commit() {
                Ok(done) => say(&Said::Taken(0, done.lsn.get(), done.durable)),
                Err(error) => {
                    say(&Said::UnknownTake(0));
                    say(&Said::Failed(format!("take: {error:?}")));
                    return Err(error.into());
                }
            }
        }
        Ok(())
    }
}
