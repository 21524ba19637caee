//! The file system over an image, as the kernel asks for it. Nothing is cached by the kernel: each call of a process comes here.

use super::{
    Lies, Shared, State,
    faults::Fault,
    image::{Node, Refusal, Stat},
};
use fuser::{
    BsdFileFlags, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation,
    INodeNo, LockOwner, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory,
    ReplyEmpty, ReplyEntry, ReplyOpen, ReplyStatfs, ReplyWrite, Request, TimeOrNow, WriteFlags,
};
use std::{
    ffi::OsStr,
    sync::MutexGuard,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// No answer is remembered.
const NEVER: Duration = Duration::ZERO;
const BLOCK: u32 = 4096;
/// What `statfs` says of a disk without a limit: 1 TiB.
const PLENTY: u64 = 1 << 40;
const O_DSYNC: i32 = 0o10_000;

pub(super) struct Mounted {
    shared: Shared,
}

impl Mounted {
    pub(super) fn new(shared: Shared) -> Self {
        Self { shared }
    }

    /// Does `work` while there is power.
    fn ask<T>(&self, work: impl FnOnce(&mut State) -> Result<T, Errno>) -> Result<T, Errno> {
        let mut state = self.shared.while_on().ok_or(Errno::EIO)?;
        work(&mut state)
    }

    /// A sync takes its time; power may go meanwhile.
    fn sync(&self, node: Node, is_dir: bool) -> Result<(), Errno> {
        let mut state = self.shared.while_on().ok_or(Errno::EIO)?;
        let began = state.image.now();
        let (fault, lie) = match is_dir {
            true => (Fault::SyncDir, Lies::Directories),
            false => (Fault::Sync, Lies::Files),
        };
        let fails = state.faults.comes(fault);
        let lies = state.faults.lies == lie;
        let longest = state.sync_us_max;
        let takes = Duration::from_micros(state.chance.below(longest));
        let state = self.shared.pass(state, takes);
        let mut state: MutexGuard<'_, State> = self.shared.after(state).ok_or(Errno::EIO)?;
        let State { image, faults, chance, .. } = &mut *state;
        match (fails, lies, is_dir) {
            (true, _, false) => {
                image.fail_sync(node, began, chance);
                Err(Errno::EIO)
            }
            (true, _, true) => Err(Errno::EIO),
            (false, true, _) => {
                faults.troubles.lies += 1;
                Ok(())
            }
            (false, false, true) => Ok(image.sync_dir(node)?),
            (false, false, false) => Ok(image.sync(node, began)?),
        }
    }
}

impl From<Refusal> for Errno {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::NotThere => Self::ENOENT,
            Refusal::There => Self::EEXIST,
            Refusal::NotADirectory => Self::ENOTDIR,
            Refusal::IsADirectory => Self::EISDIR,
            Refusal::NotEmpty => Self::ENOTEMPTY,
            Refusal::Full => Self::ENOSPC,
            Refusal::Elsewhere => Self::EXDEV,
        }
    }
}

fn attr(stat: Stat) -> FileAttr {
    FileAttr {
        ino: INodeNo(stat.node),
        size: stat.size,
        blocks: stat.allocated / 512,
        atime: UNIX_EPOCH,
        mtime: UNIX_EPOCH,
        ctime: UNIX_EPOCH,
        crtime: UNIX_EPOCH,
        kind: if stat.is_dir { FileType::Directory } else { FileType::RegularFile },
        perm: if stat.is_dir { 0o755 } else { 0o644 },
        nlink: if stat.is_dir { 2 } else { 1 },
        uid: 0,
        gid: 0,
        rdev: 0,
        blksize: BLOCK,
        flags: 0,
    }
}

impl Filesystem for Mounted {
    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        match self.ask(|state| Ok(state.image.lookup(parent.0, name)?)) {
            Ok(stat) => reply.entry(&NEVER, &attr(stat), Generation(0)),
            Err(error) => reply.error(error),
        }
    }

    fn getattr(&self, _: &Request, node: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        match self.ask(|state| Ok(state.image.stat(node.0)?)) {
            Ok(stat) => reply.attr(&NEVER, &attr(stat)),
            Err(error) => reply.error(error),
        }
    }

    fn setattr(
        &self,
        _: &Request,
        node: INodeNo,
        _mode: Option<u32>,
        _uid: Option<u32>,
        _gid: Option<u32>,
        size: Option<u64>,
        _atime: Option<TimeOrNow>,
        _mtime: Option<TimeOrNow>,
        _ctime: Option<SystemTime>,
        _: Option<FileHandle>,
        _crtime: Option<SystemTime>,
        _chgtime: Option<SystemTime>,
        _bkuptime: Option<SystemTime>,
        _flags: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let answer = self.ask(|state| {
            if let Some(size) = size {
                state.image.resize(node.0, size)?;
            }
            Ok(state.image.stat(node.0)?)
        });
        match answer {
            Ok(stat) => reply.attr(&NEVER, &attr(stat)),
            Err(error) => reply.error(error),
        }
    }

    fn mkdir(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        _mode: u32,
        _umask: u32,
        reply: ReplyEntry,
    ) {
        match self.ask(|state| Ok(state.image.make(parent.0, name, true)?)) {
            Ok(stat) => reply.entry(&NEVER, &attr(stat), Generation(0)),
            Err(error) => reply.error(error),
        }
    }

    fn create(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        _mode: u32,
        _umask: u32,
        _flags: i32,
        reply: ReplyCreate,
    ) {
        let answer = self.ask(|state| {
            let stat = state.image.make(parent.0, name, false)?;
            state.image.open(stat.node)?;
            Ok(stat)
        });
        match answer {
            Ok(stat) => reply.created(
                &NEVER,
                &attr(stat),
                Generation(0),
                FileHandle(0),
                FopenFlags::FOPEN_DIRECT_IO,
            ),
            Err(error) => reply.error(error),
        }
    }

    fn unlink(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        done(reply, self.ask(|state| Ok(state.image.remove(parent.0, name, false)?)));
    }

    fn rmdir(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        done(reply, self.ask(|state| Ok(state.image.remove(parent.0, name, true)?)));
    }

    fn rename(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        new_parent: INodeNo,
        new_name: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        let answer = self.ask(|state| match flags.is_empty() {
            true => Ok(state.image.rename(parent.0, name, new_parent.0, new_name)?),
            false => Err(Errno::EINVAL),
        });
        done(reply, answer);
    }

    fn open(&self, _: &Request, node: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        match self.ask(|state| Ok(state.image.open(node.0)?)) {
            Ok(()) => reply.opened(FileHandle(0), FopenFlags::FOPEN_DIRECT_IO),
            Err(error) => reply.error(error),
        }
    }

    fn release(
        &self,
        _: &Request,
        node: INodeNo,
        _: FileHandle,
        _flags: OpenFlags,
        _: Option<LockOwner>,
        _flush: bool,
        reply: ReplyEmpty,
    ) {
        // Also without power: a handle of the dead is none.
        self.shared.state().image.close(node.0);
        reply.ok();
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.ok();
    }

    fn read(
        &self,
        _: &Request,
        node: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _flags: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let answer = self.ask(|state| match state.faults.comes(Fault::Read) {
            true => Err(Errno::EIO),
            false => Ok(state.image.read(node.0, offset, size as usize)?.to_vec()),
        });
        match answer {
            Ok(bytes) => reply.data(&bytes),
            Err(error) => reply.error(error),
        }
    }

    fn write(
        &self,
        _: &Request,
        node: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        flags: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let answer = self.ask(|state| {
            if state.faults.comes(Fault::Write) {
                let part = usize::try_from(state.chance.below(data.len() as u64 + 1));
                let part = data.get(..part.unwrap_or_default()).unwrap_or_default();
                // What there is no room for is not there either.
                state.image.write(node.0, offset, part).unwrap_or_default();
                return Err(Errno::EIO);
            }
            Ok(state.image.write(node.0, offset, data)?)
        });
        let answer = answer.and_then(|written| {
            if flags.0 & O_DSYNC != 0 {
                self.sync(node.0, false)?;
            }
            Ok(written)
        });
        match answer {
            Ok(written) => reply.written(u32::try_from(written).unwrap_or_default()),
            Err(error) => reply.error(error),
        }
    }

    fn fallocate(
        &self,
        _: &Request,
        node: INodeNo,
        _: FileHandle,
        offset: u64,
        length: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        let answer = self.ask(|state| {
            if mode != 0 {
                return Err(Errno::EOPNOTSUPP);
            }
            let size = state.image.stat(node.0)?.size.max(offset.saturating_add(length));
            Ok(state.image.resize(node.0, size)?)
        });
        done(reply, answer);
    }

    fn fsync(&self, _: &Request, node: INodeNo, _: FileHandle, _data: bool, reply: ReplyEmpty) {
        done(reply, self.sync(node.0, false));
    }

    fn fsyncdir(&self, _: &Request, node: INodeNo, _: FileHandle, _data: bool, reply: ReplyEmpty) {
        done(reply, self.sync(node.0, true));
    }

    fn readdir(
        &self,
        _: &Request,
        node: INodeNo,
        _: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        let entries = match self.ask(|state| Ok(state.image.list(node.0)?)) {
            Ok(entries) => entries,
            Err(error) => return reply.error(error),
        };
        let from = usize::try_from(offset).unwrap_or(usize::MAX);
        for ((name, stat), next) in entries.into_iter().zip(1..).skip(from) {
            let kind = if stat.is_dir { FileType::Directory } else { FileType::RegularFile };
            if reply.add(INodeNo(stat.node), next, kind, name) {
                break;
            }
        }
        reply.ok();
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        let answer = self.ask(|state| Ok((state.image.capacity, state.image.used())));
        match answer {
            Ok((capacity, used)) => {
                let blocks = capacity.min(PLENTY) / u64::from(BLOCK);
                let free = blocks.saturating_sub(used.div_ceil(u64::from(BLOCK)));
                reply.statfs(blocks, free, free, 1 << 20, 1 << 20, BLOCK, 255, BLOCK);
            }
            Err(error) => reply.error(error),
        }
    }
}

fn done(reply: ReplyEmpty, answer: Result<(), Errno>) {
    match answer {
        Ok(()) => reply.ok(),
        Err(error) => reply.error(error),
    }
}
