//! A channel on a disk that others fill.

use super::{full::FullVfs, now, put_of};
use fchannel::{
    Channel, CommitError, Error, ErrorKind, Inspector, Options, Severity, Ticket, Verify,
    io::{Vfs, sim::SimVfs},
};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

pub(crate) const DIR: &str = "/full";
pub(crate) const SEGMENT: u64 = 1 << 20;
/// So long that no fill is written behind it: the log ends where its file does.
pub(crate) const LONG: usize = 300 << 10;

pub(crate) struct Place {
    pub(crate) world: SimVfs,
    pub(crate) disk: FullVfs,
    pub(crate) options: Options,
}

impl Place {
    pub(crate) fn new(seed: u64) -> Self {
        let world = SimVfs::new(seed);
        let disk = FullVfs::new(Arc::new(world.clone()), Path::new(DIR));
        let options = Options {
            segment_bytes_max: SEGMENT,
            free_space_min_bytes: 0,
            checkpoint_interval_ms: 10,
            ..Options::default()
        };
        Self { world, disk, options }
    }

    pub(crate) fn open(&self) -> Result<Channel, Error> {
        Channel::open_on(Arc::new(self.disk.clone()), Path::new(DIR), self.options.clone())
    }

    /// Lets the background thread's time come.
    pub(crate) fn tick(&self, channel: &Channel) {
        self.world.advance_ms(50);
        // Without room there is no checkpoint: it is tried again.
        drop(channel.tick());
    }

    /// A channel with its reserves, these events, and a long one, behind which each byte needs room.
    pub(crate) fn filled(&self, events: &[String]) -> Channel {
        let channel = self.open().unwrap();
        self.tick(&channel);
        for event in events {
            channel.put(event.as_bytes()).unwrap();
        }
        channel.put(long().as_bytes()).unwrap();
        channel
    }

    pub(crate) fn make_spare(&self, number: u32, bytes: u64) {
        let mut fill = self.disk.reserve(&spare(number), bytes).unwrap();
        assert!(fill(bytes).unwrap());
    }

    pub(crate) fn assert_sound(&self) {
        let inspector = Inspector::open_on(Arc::new(self.disk.clone()), Path::new(DIR)).unwrap();
        let verification = inspector.verify(Verify::default(), |_| {}).unwrap();
        assert!(verification.worst.is_none_or(|worst| worst == Severity::Info), "{verification:?}");
    }
}

pub(crate) fn spare(number: u32) -> PathBuf {
    Path::new(DIR).join(format!("spare-{number}"))
}

pub(crate) fn long() -> String {
    ".".repeat(LONG)
}

pub(crate) fn is_full<T>(answer: &Result<T, CommitError>) -> bool {
    matches!(answer, Err(CommitError::NotCommitted(error)) if error.kind() == &ErrorKind::DiskFull)
}

pub(crate) fn submit(channel: &Channel, payloads: &[String]) -> Ticket {
    let room = now(channel.reserve(u32::try_from(payloads.len()).unwrap())).unwrap();
    put_of(channel, payloads).submit(room).unwrap()
}

pub(crate) fn lead_all(channel: &Channel) {
    while channel.lead_once() {}
}

pub(crate) fn spares(place: &Place) -> Vec<String> {
    let names = place.disk.list(Path::new(DIR)).unwrap();
    let mut spares: Vec<String> =
        names.into_iter().filter(|name| name.starts_with("spare-")).collect();
    spares.sort();
    spares
}
