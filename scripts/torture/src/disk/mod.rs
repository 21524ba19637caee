//! A disk of our own: a file system in memory, mounted by the kernel, that knows what was written and not synced.
//!
//! [`image`] is the medium and the page cache, [`mounted`] the file system over it, [`faults`] what is to go wrong. The parent of the
//! tortured process holds a [`Disk`] and orders power cuts and faults; the process sees a mount like any other.

mod faults;
mod image;
mod mounted;

pub(crate) use faults::{Fault, Lies, Troubles};

use faults::Faults;
use fchannel_torture::{Answer, chance::Chance};
use fuser::{BackgroundSession, Config, MountOption};
use image::Image;
use mounted::Mounted;
use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{Arc, Condvar, Mutex, MutexGuard},
    time::Duration,
};

/// Whether it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Power {
    On,
    /// Power was cut: who asks waits, as on a machine that is gone.
    Cut,
    /// Who waited, and who asks now, gets an error: their process is being killed, and could not end otherwise.
    Off,
}

struct State {
    image: Image,
    faults: Faults,
    power: Power,
    chance: Chance,
    /// How long a sync takes, at most, in microseconds.
    sync_us_max: u64,
}

#[derive(Clone)]
struct Shared(Arc<(Mutex<State>, Condvar)>);

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // A panic under this lock is one of ours: what it left is looked at all the same.
        self.0.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn set_power(&self, power: Power) {
        self.state().power = power;
        self.0.1.notify_all();
    }

    /// The state while there is power; none when there is none any more.
    fn while_on(&self) -> Option<MutexGuard<'_, State>> {
        self.after(self.state())
    }

    fn after<'a>(&self, state: MutexGuard<'a, State>) -> Option<MutexGuard<'a, State>> {
        let state = self
            .0
            .1
            .wait_while(state, |state| state.power == Power::Cut)
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        (state.power == Power::On).then_some(state)
    }

    /// Lets time pass, unless power goes.
    fn pass<'a>(&self, state: MutexGuard<'a, State>, time: Duration) -> MutexGuard<'a, State> {
        let answer = self.0.1.wait_timeout_while(state, time, |state| state.power == Power::On);
        answer.unwrap_or_else(std::sync::PoisonError::into_inner).0
    }
}

/// What a power cut and other faults left behind, in numbers.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cut {
    /// Sectors that were written and not synced.
    pub(crate) sectors: u64,
    /// Of these, the ones that are lost, or hold older bytes.
    pub(crate) lost: u64,
    /// Changes of names that were not synced.
    pub(crate) names: u64,
    /// Of these, the ones that are lost.
    pub(crate) names_lost: u64,
}

/// The disk, from its owner's side.
pub(crate) struct Disk {
    shared: Shared,
    mount: PathBuf,
    session: Option<BackgroundSession>,
}

/// Threads that serve the mount: a sync that takes its time must not keep the others waiting.
const THREADS: usize = 4;
/// So often an unmount is tried while the disk is busy, and so long apart: 5 s.
const BUSY_TRIES: u32 = 250;
const BUSY_PAUSE: Duration = Duration::from_millis(20);

impl Disk {
    /// Mounts an empty disk at `mount`.
    pub(crate) fn mount(mount: &Path, seed: u64) -> Answer<Self> {
        let state = State {
            image: Image::default(),
            faults: Faults::default(),
            power: Power::On,
            chance: Chance::new(seed),
            sync_us_max: 3_000,
        };
        let mut disk = Self {
            shared: Shared(Arc::new((Mutex::new(state), Condvar::new()))),
            mount: mount.to_path_buf(),
            session: None,
        };
        disk.plug_in()?;
        Ok(disk)
    }

    fn plug_in(&mut self) -> Answer<()> {
        let mut config = Config::default();
        config.mount_options = vec![MountOption::FSName("torture".into()), MountOption::NoAtime];
        config.n_threads = Some(THREADS);
        let mounted = Mounted::new(self.shared.clone());
        let session = fuser::spawn_mount(mounted, &self.mount, &config).map_err(|error| {
            let place = self.mount.display();
            format!("cannot mount at {place}, which needs root and /dev/fuse: {error}")
        })?;
        self.session = Some(session);
        Ok(())
    }

    #[expect(clippy::disallowed_methods, reason = "the kernel tells nobody when it is done")]
    fn unplug(&mut self) -> Answer<()> {
        let Some(session) = self.session.take() else { return Ok(()) };
        // Of a process that was killed the kernel takes io_uring apart a moment later, and its file is open until then.
        for _ in 0..BUSY_TRIES {
            let unmounted =
                Command::new("umount").arg(&self.mount).stderr(Stdio::null()).status()?.success();
            if unmounted {
                return Ok(session.join()?);
            }
            std::thread::sleep(BUSY_PAUSE);
        }
        Ok(session.umount_and_join()?)
    }

    /// Cuts the power: from here on nothing becomes durable, and nobody gets an answer.
    pub(crate) fn cut(&self) {
        self.shared.set_power(Power::Cut);
    }

    /// To be called when those who wait for an answer are shot: lets them go.
    pub(crate) fn let_go(&self) {
        self.shared.set_power(Power::Off);
    }

    /// Boots: what was not durable is lost, by chance, and the disk is mounted again. Its users must be gone.
    pub(crate) fn reboot(&mut self) -> Answer<Cut> {
        self.unplug()?;
        let cut = {
            let mut guard = self.shared.state();
            let state = &mut *guard;
            state.faults.clear();
            state.power = Power::On;
            state.image.power_cut(&mut state.chance)
        };
        self.plug_in()?;
        Ok(cut)
    }

    /// Power is back without a cut: the process was killed, and the page cache is as it was.
    pub(crate) fn let_live(&self) {
        let mut state = self.shared.state();
        state.faults.clear();
        state.power = Power::On;
    }

    /// Has something go wrong at the `nth` chance from now.
    pub(crate) fn plan(&self, fault: Fault, nth: u64) {
        self.shared.state().faults.plan(fault, nth);
    }

    /// Whether the planned fault has come.
    pub(crate) fn has_failed(&self) -> bool {
        self.shared.state().faults.has_come()
    }

    /// Which syncs are lies from now on: they answer "done" and do nothing.
    pub(crate) fn lie(&self, lies: Lies) {
        self.shared.state().faults.lies = lies;
    }

    /// From now on there is room for so many bytes more; none: as many as anybody wants.
    pub(crate) fn limit(&self, more: Option<u64>) {
        let mut state = self.shared.state();
        let used = state.image.used();
        state.image.capacity = more.map_or(u64::MAX, |more| used + more);
    }

    /// How often each fault came up so far.
    pub(crate) fn troubles(&self) -> Troubles {
        let state = self.shared.state();
        Troubles { no_room: state.image.no_room, ..state.faults.troubles.clone() }
    }

    /// The medium as it is now, to look at later.
    pub(crate) fn dump(&self, to: &Path) -> Answer<()> {
        self.shared.state().image.dump(to)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        self.let_go();
        drop(self.unplug());
    }
}
