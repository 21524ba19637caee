//! Real files with a gate before each write: writes wait at it, or panic, or fail, as the test says.

use fchannel::io::{File, Filling, LockAttempt, Medium, StdVfs, Sync, Vfs, delegate_vfs};
use std::{
    io::{self, IoSlice},
    path::Path,
    sync::{Arc, Condvar, Mutex},
    thread::JoinHandle,
    time::Duration,
};

/// What a write does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Writes {
    #[default]
    Pass,
    Wait,
    Panic,
    Fail,
}

#[derive(Default)]
struct State {
    writes: Writes,
    waiting: usize,
    /// What the next sync answers, once: the kernel tells a lost page one time only.
    sync_error: Option<i32>,
    /// How many threads can still be had.
    threads: Option<u32>,
}

/// The gate; clones share it.
#[derive(Clone, Default)]
pub(crate) struct Gate(Arc<(Mutex<State>, Condvar)>);

impl Gate {
    /// What writes do from now on; those that wait go on if they may.
    pub(crate) fn set(&self, writes: Writes) {
        self.0.0.lock().unwrap().writes = writes;
        self.0.1.notify_all();
    }

    /// The next sync fails with this error of the operating system, and those after it succeed.
    pub(crate) fn fail_one_sync(&self, error: i32) {
        self.0.0.lock().unwrap().sync_error = Some(error);
    }

    /// From now on so many threads can be had, and no more.
    pub(crate) fn limit_threads(&self, threads: Option<u32>) {
        self.0.0.lock().unwrap().threads = threads;
    }

    /// How many writes wait.
    pub(crate) fn waiting(&self) -> usize {
        self.0.0.lock().unwrap().waiting
    }

    fn pass(&self) -> io::Result<()> {
        let mut state = self.0.0.lock().unwrap();
        state.waiting += 1;
        while state.writes == Writes::Wait {
            state = self.0.1.wait(state).unwrap();
        }
        state.waiting -= 1;
        let writes = state.writes;
        drop(state);
        match writes {
            Writes::Panic => panic!("planned by the test: a write panics"),
            Writes::Fail => Err(io::Error::from_raw_os_error(5)),
            Writes::Pass | Writes::Wait => Ok(()),
        }
    }
}

/// The operating system's files, through a gate.
#[derive(Default)]
pub(crate) struct GateVfs {
    pub(crate) gate: Gate,
    inner: StdVfs,
}

struct GateFile {
    gate: Gate,
    inner: Arc<dyn File>,
}

impl File for GateFile {
    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        self.inner.read_at(offset, buf)
    }

    fn write_at(&self, offset: u64, bufs: &[IoSlice<'_>], sync: Sync) -> io::Result<()> {
        self.gate.pass()?;
        self.inner.write_at(offset, bufs, sync)
    }

    fn sync(&self) -> io::Result<()> {
        match self.gate.0.0.lock().unwrap().sync_error.take() {
            Some(error) => Err(io::Error::from_raw_os_error(error)),
            None => self.inner.sync(),
        }
    }
}

impl Vfs for GateVfs {
    delegate_vfs!(
        inner: create_dir lock sync_dir list reserve retire open replace remove free_bytes medium wall_ms
            monotonic random
    );

    fn create(&self, path: &Path, head: &[u8], donor: Option<&Path>) -> io::Result<Arc<dyn File>> {
        let inner = self.inner.create(path, head, donor)?;
        Ok(Arc::new(GateFile { gate: self.gate.clone(), inner }))
    }

    fn spawn(
        &self,
        name: &str,
        body: Box<dyn FnOnce() + Send>,
    ) -> io::Result<Option<JoinHandle<()>>> {
        let spent = match &mut self.gate.0.0.lock().unwrap().threads {
            Some(0) => true,
            Some(left) => {
                *left -= 1;
                false
            }
            None => false,
        };
        if spent { Err(io::ErrorKind::WouldBlock.into()) } else { self.inner.spawn(name, body) }
    }
}
