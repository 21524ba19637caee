//! The simulated machine as the engine sees it.

use super::{SimVfs, entries::NodeId, world::World};
use crate::io::{
    File, Filling, LockAttempt, Medium, Sync, Vfs,
    durable::{self, Steps},
    not_for_want_of_room,
};
use std::{
    any::Any,
    io::{self, IoSlice},
    path::{Path, PathBuf},
    sync::Arc,
    thread::JoinHandle,
    time::Duration,
};

/// An open file, or one that is being made.
pub(in crate::io) struct SimFile {
    disk: SimVfs,
    path: PathBuf,
    node: NodeId,
    boot: u32,
}

impl SimFile {
    /// The handle of a process that is gone writes nothing.
    fn check(&self, world: &mut World) -> io::Result<()> {
        if self.boot != world.boot {
            world
                .complain(format!("{} was written by a process that is gone", self.path.display()));
            return Err(io::Error::other("a handle of a process that is gone"));
        }
        Ok(())
    }
}

impl File for SimFile {
    fn len(&self) -> io::Result<u64> {
        let mut world = self.disk.world.lock();
        world.look()?;
        Ok(world.node(self.node).current.len() as u64)
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        let mut world = self.disk.world.lock();
        world.look()?;
        let content = &world.node(self.node).current;
        let from = content.len().min(offset as usize);
        let len = buf.len().min(content.len() - from);
        buf[..len].copy_from_slice(&content[from..from + len]);
        Ok(len)
    }

    fn write_at(&self, offset: u64, bufs: &[IoSlice<'_>], sync: Sync) -> io::Result<()> {
        let mut world = self.disk.world.lock();
        self.check(&mut world)?;
        let bytes = bufs.iter().flat_map(|buf| buf.iter().copied()).collect::<Vec<u8>>();
        world.write(&self.path, self.node, offset, &bytes)?;
        match sync {
            Sync::No => Ok(()),
            // The write found room: see `File::write_at`.
            Sync::Data => world.sync(&self.path, self.node, false).map_err(not_for_want_of_room),
        }
    }

    fn sync(&self) -> io::Result<()> {
        let mut world = self.disk.world.lock();
        self.check(&mut world)?;
        world.sync(&self.path, self.node, false)
    }
}

struct Lock {
    disk: SimVfs,
    dir: PathBuf,
    boot: u32,
}

impl Drop for Lock {
    fn drop(&mut self) {
        let mut world = self.disk.world.lock();
        if world.boot == self.boot {
            world.locked.remove(&self.dir);
        }
    }
}

impl Steps for SimVfs {
    type Made = SimFile;

    fn make(&self, path: &Path) -> io::Result<SimFile> {
        let mut world = self.world.lock();
        let node = world.make(path)?;
        Ok(SimFile { disk: self.clone(), path: path.to_path_buf(), node, boot: world.boot })
    }

    fn edit(&self, path: &Path) -> io::Result<SimFile> {
        let mut world = self.world.lock();
        world.look()?;
        let node = world.find(path)?;
        Ok(SimFile { disk: self.clone(), path: path.to_path_buf(), node, boot: world.boot })
    }

    fn fill(&self, file: &SimFile, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.world.lock().fill(&file.path, file.node, offset, bytes)
    }

    fn sync_made(&self, file: &SimFile) -> io::Result<()> {
        self.world.lock().sync(&file.path, file.node, true)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.world.lock().rename(from, to)
    }

    fn unlink(&self, path: &Path) -> io::Result<()> {
        self.world.lock().unlink(path)
    }

    fn sync_parent(&self, path: &Path) -> io::Result<()> {
        self.world.lock().sync_dir(path.parent().unwrap_or(Path::new("")), path)
    }
}

impl Vfs for SimVfs {
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        self.world.lock().make_dir(dir)
    }

    fn lock(&self, dir: &Path) -> io::Result<LockAttempt> {
        let mut world = self.world.lock();
        world.look()?;
        if !world.locked.insert(dir.to_path_buf()) {
            return Ok(LockAttempt::Held { pid: None });
        }
        let lock = Lock { disk: self.clone(), dir: dir.to_path_buf(), boot: world.boot };
        let lock: Box<dyn Any + Send + std::marker::Sync> = Box::new(lock);
        Ok(LockAttempt::Taken(lock))
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.world.lock().sync_dir(dir, Path::new("all"))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let mut world = self.world.lock();
        world.look()?;
        if !world.dirs.contains(dir) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let here = world.entries.now.keys().filter(|path| path.parent() == Some(dir));
        let name =
            |path: &PathBuf| path.file_name().map(|name| name.to_string_lossy().into_owned());
        let mut names: Vec<String> = here.filter_map(name).collect();
        if world.restless {
            for last in (1..names.len()).rev() {
                names.swap(last, world.rng.index(last + 1));
            }
        }
        Ok(names)
    }

    fn create(&self, path: &Path, head: &[u8], donor: Option<&Path>) -> io::Result<Arc<dyn File>> {
        let made = durable::create(self, path, head, donor)?;
        Ok(Arc::new(SimFile { path: path.to_path_buf(), ..made }))
    }

    fn reserve(&self, path: &Path, size_bytes: u64) -> io::Result<Filling> {
        durable::reserve(self, path, size_bytes)
    }

    fn retire(&self, path: &Path, spare: &Path) -> io::Result<()> {
        if self.world.lock().entries.now.contains_key(spare) {
            self.world.lock().complain(format!("{} was there already", spare.display()));
        }
        durable::retire(self, path, spare)
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let mut world = self.world.lock();
        world.look()?;
        let node = world.find(path)?;
        Ok(Arc::new(SimFile {
            disk: self.clone(),
            path: path.to_path_buf(),
            node,
            boot: world.boot,
        }))
    }

    fn replace(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let interrupt = self.interrupt.lock().take();
        if let Some(interrupt) = interrupt {
            interrupt();
        }
        durable::replace(self, path, bytes)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        durable::remove(self, path)
    }

    fn free_bytes(&self, _dir: &Path) -> io::Result<u64> {
        let mut world = self.world.lock();
        world.look()?;
        Ok(world.free_bytes())
    }

    fn medium(&self, _dir: &Path) -> io::Result<Medium> {
        self.world.lock().look()?;
        Ok(Medium::Disk)
    }

    fn wall_ms(&self) -> u64 {
        let world = self.world.lock();
        (world.clock_us / 1_000).saturating_add_signed(world.wall_ahead_ms)
    }

    fn monotonic(&self) -> Duration {
        Duration::from_micros(self.world.lock().clock_us)
    }

    fn random(&self) -> u64 {
        let mut world = self.world.lock();
        match &mut world.counting {
            Some(count) => {
                *count += 1;
                *count * 0x1111_1111_1111_1111
            }
            None => world.rng.next(),
        }
    }

    fn spawn(
        &self,
        _name: &str,
        _body: Box<dyn FnOnce() + Send>,
    ) -> io::Result<Option<JoinHandle<()>>> {
        Ok(None)
    }
}
