//! Calls of the kernel, answered from the disk.

use std::ffi::OsStr;
use std::sync::{Arc, MutexGuard};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fuser::{
    BsdFileFlags, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation,
    INodeNo, KernelConfig, LockOwner, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData,
    ReplyDirectory, ReplyEmpty, ReplyEntry, ReplyOpen, ReplyStatfs, ReplyWrite, Request, TimeOrNow,
    WriteFlags,
};

use super::content::{Bytes, Edit, Held, Names, PAGE_BYTES};
use super::disk::{Kind, Node, Outcome};
use super::{Moment, Shared, State, Synced};

/// Nothing is kept by the kernel: what is asked is asked here.
const NOT_KEPT: Duration = Duration::ZERO;
const WRITE_BYTES_MAX: u32 = 1 << 20;
/// Pages of a disk. Half of them are free by its own word, even when it is full: nobody is warned.
const DISK_PAGES: u64 = 1 << 20;

/// See the module.
pub(super) struct Server {
    shared: Arc<Shared>,
}

/// What a call does.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Deed {
    Look,
    Change,
    SyncFolder,
}

impl Server {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Waits as the disk's state demands; a call that reaches a disk that stands still fails,
    /// once whoever made it cannot learn that any more.
    fn enter(&self, deed: Deed) -> Outcome<MutexGuard<'_, State>> {
        let mut state = self.shared.state.lock().expect("no thread panics holding it");
        let counted = match &mut state.moment {
            Some(Moment::Change(left)) if deed != Deed::Look => Some(left),
            Some(Moment::FolderSync(left)) if deed == Deed::SyncFolder => Some(left),
            _ => None,
        };
        if let Some(left) = counted {
            *left = left.saturating_sub(1);
            if *left == 0 {
                (state.moment, state.stands_still) = (None, true);
                self.shared.changed.notify_all();
            }
        }
        let mut has_stood_still = false;
        while state.stands_still || (state.illness.hangs && deed != Deed::Look) {
            has_stood_still |= state.stands_still;
            state = self.shared.changed.wait(state).expect("no thread panics holding it");
        }
        if has_stood_still { Err(Errno::EIO) } else { Ok(state) }
    }

    fn entry(&self, parent: INodeNo, name: &OsStr) -> Outcome<FileAttr> {
        let state = self.enter(Deed::Look)?;
        let number = state.disk.lookup(parent.0, name)?;
        attributes(number, state.disk.node(number)?)
    }

    fn make(&self, parent: INodeNo, name: &OsStr, node: Node) -> Outcome<FileAttr> {
        let mut state = self.enter(Deed::Change)?;
        if state.illness.is_full {
            return Err(Errno::ENOSPC);
        }
        let number = state.disk.make(parent.0, name, node)?;
        attributes(number, state.disk.node(number)?)
    }

    fn write_at(&self, ino: INodeNo, at: u64, bytes: &[u8]) -> Outcome<u32> {
        let mut state = self.enter(Deed::Change)?;
        let end = at + bytes.len() as u64;
        if state.illness.is_full && !state.disk.has_room(ino.0, end) {
            return Err(Errno::ENOSPC);
        }
        state.disk.edit(ino.0, Edit::Write { at, bytes: bytes.to_vec() })?;
        u32::try_from(bytes.len()).map_err(|_| Errno::EINVAL)
    }

    fn resize(&self, ino: INodeNo, size: Option<u64>) -> Outcome<FileAttr> {
        let deed = if size.is_some() { Deed::Change } else { Deed::Look };
        let mut state = self.enter(deed)?;
        if let Some(size) = size {
            state.disk.edit(ino.0, Edit::Resize(size))?;
        }
        attributes(ino.0, state.disk.node(ino.0)?)
    }

    fn find_room(&self, ino: INodeNo, until: u64, mode: i32) -> Outcome<()> {
        let mut state = self.enter(Deed::Change)?;
        if mode != 0 {
            return Err(Errno::ENOSYS);
        }
        if state.illness.is_full && !state.disk.has_room(ino.0, until) {
            return Err(Errno::ENOSPC);
        }
        state.disk.allocate(ino.0, until)
    }

    fn sync(&self, ino: INodeNo, what: Synced) -> Outcome<()> {
        let delay = self.enter(Deed::Look)?.illness.sync_delay;
        std::thread::sleep(delay);
        let is_folder = what == Synced::Folder;
        let deed = if is_folder { Deed::SyncFolder } else { Deed::Change };
        let mut state = self.enter(deed)?;
        let fails = state.illness.fails_syncs;
        if state.illness.lies_about == Some(what) { Ok(()) } else { state.disk.sync(ino.0, fails) }
    }

    fn list(&self, ino: INodeNo) -> Outcome<Vec<(u64, FileType, std::ffi::OsString)>> {
        let state = self.enter(Deed::Look)?;
        let kind = |number| state.disk.node(number).map(|node| file_type(&node.kind));
        let list = state.disk.list(ino.0)?;
        list.into_iter().map(|(number, name)| Ok((number, kind(number)?, name))).collect()
    }
}

fn file_type(kind: &Kind) -> FileType {
    match kind {
        Kind::File(..) => FileType::RegularFile,
        Kind::Folder(_) => FileType::Directory,
    }
}

fn attributes(number: u64, node: &Node) -> Outcome<FileAttr> {
    let size = match &node.kind {
        Kind::File(bytes, _) => bytes.current.len,
        Kind::Folder(names) => names.current.len() as u64,
    };
    let then: SystemTime = UNIX_EPOCH;
    Ok(FileAttr {
        ino: INodeNo(number),
        size,
        blocks: size.div_ceil(512),
        atime: then,
        mtime: then,
        ctime: then,
        crtime: then,
        kind: file_type(&node.kind),
        perm: node.mode,
        nlink: 1,
        uid: 0,
        gid: 0,
        rdev: 0,
        blksize: PAGE_BYTES as u32,
        flags: 0,
    })
}

fn permissions(mode: u32, umask: u32) -> u16 {
    u16::try_from(mode & !umask & 0o7777).unwrap_or(0o600)
}

fn tell(outcome: Outcome<()>, reply: ReplyEmpty) {
    match outcome {
        Ok(()) => reply.ok(),
        Err(error) => reply.error(error),
    }
}

fn tell_entry(outcome: Outcome<FileAttr>, reply: ReplyEntry) {
    match outcome {
        Ok(attributes) => reply.entry(&NOT_KEPT, &attributes, Generation(0)),
        Err(error) => reply.error(error),
    }
}

#[allow(clippy::too_many_arguments, reason = "the kernel's calls have as many as they have")]
impl Filesystem for Server {
    fn init(&mut self, _req: &Request, config: &mut KernelConfig) -> std::io::Result<()> {
        // A kernel that wants less gets less.
        let _ = config.set_max_write(WRITE_BYTES_MAX);
        Ok(())
    }

    fn lookup(&self, _req: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        tell_entry(self.entry(parent, name), reply);
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _fh: Option<FileHandle>, reply: ReplyAttr) {
        match self.resize(ino, None) {
            Ok(attributes) => reply.attr(&NOT_KEPT, &attributes),
            Err(error) => reply.error(error),
        }
    }

    fn setattr(
        &self,
        _req: &Request,
        ino: INodeNo,
        _mode: Option<u32>,
        _uid: Option<u32>,
        _gid: Option<u32>,
        size: Option<u64>,
        _atime: Option<TimeOrNow>,
        _mtime: Option<TimeOrNow>,
        _ctime: Option<SystemTime>,
        _fh: Option<FileHandle>,
        _crtime: Option<SystemTime>,
        _chgtime: Option<SystemTime>,
        _bkuptime: Option<SystemTime>,
        _flags: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        match self.resize(ino, size) {
            Ok(attributes) => reply.attr(&NOT_KEPT, &attributes),
            Err(error) => reply.error(error),
        }
    }

    fn mkdir(
        &self,
        _req: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        reply: ReplyEntry,
    ) {
        let kind = Kind::Folder(Held::<Names>::default());
        tell_entry(self.make(parent, name, Node { mode: permissions(mode, umask), kind }), reply);
    }

    fn create(
        &self,
        _req: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        _flags: i32,
        reply: ReplyCreate,
    ) {
        let kind = Kind::File(Held::<Bytes>::default(), 0);
        match self.make(parent, name, Node { mode: permissions(mode, umask), kind }) {
            Ok(attributes) => {
                let (handle, flags) = (FileHandle(0), FopenFlags::FOPEN_DIRECT_IO);
                reply.created(&NOT_KEPT, &attributes, Generation(0), handle, flags);
            }
            Err(error) => reply.error(error),
        }
    }

    fn unlink(&self, _req: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let outcome = self.enter(Deed::Change);
        tell(outcome.and_then(|mut state| state.disk.remove(parent.0, name)), reply);
    }

    fn rmdir(&self, req: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        self.unlink(req, parent, name, reply);
    }

    fn rename(
        &self,
        _req: &Request,
        parent: INodeNo,
        name: &OsStr,
        newparent: INodeNo,
        newname: &OsStr,
        _flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        if parent != newparent {
            return reply.error(Errno::EXDEV);
        }
        let outcome = self.enter(Deed::Change);
        tell(outcome.and_then(|mut state| state.disk.rename(parent.0, name, newname)), reply);
    }

    fn open(&self, _req: &Request, _ino: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        reply.opened(FileHandle(0), FopenFlags::FOPEN_DIRECT_IO);
    }

    fn read(
        &self,
        _req: &Request,
        ino: INodeNo,
        _fh: FileHandle,
        offset: u64,
        size: u32,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let state = self.enter(Deed::Look);
        match state.and_then(|state| state.disk.read(ino.0, offset, size as usize)) {
            Ok(bytes) => reply.data(&bytes),
            Err(error) => reply.error(error),
        }
    }

    fn write(
        &self,
        _req: &Request,
        ino: INodeNo,
        _fh: FileHandle,
        offset: u64,
        data: &[u8],
        _write_flags: WriteFlags,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        match self.write_at(ino, offset, data) {
            Ok(size) => reply.written(size),
            Err(error) => reply.error(error),
        }
    }

    fn fsync(&self, _: &Request, ino: INodeNo, _fh: FileHandle, _: bool, reply: ReplyEmpty) {
        tell(self.sync(ino, Synced::File), reply);
    }

    fn fsyncdir(&self, _: &Request, ino: INodeNo, _fh: FileHandle, _: bool, reply: ReplyEmpty) {
        tell(self.sync(ino, Synced::Folder), reply);
    }

    fn readdir(
        &self,
        _req: &Request,
        ino: INodeNo,
        _fh: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        match self.list(ino) {
            Ok(list) => {
                let from = usize::try_from(offset).unwrap_or(usize::MAX);
                for (at, (number, kind, name)) in list.into_iter().enumerate().skip(from) {
                    if reply.add(INodeNo(number), at as u64 + 1, kind, name) {
                        break;
                    }
                }
                reply.ok();
            }
            Err(error) => reply.error(error),
        }
    }

    fn statfs(&self, _req: &Request, _ino: INodeNo, reply: ReplyStatfs) {
        let (free, page) = (DISK_PAGES / 2, PAGE_BYTES as u32);
        reply.statfs(DISK_PAGES, free, free, DISK_PAGES, DISK_PAGES, page, 255, page);
    }

    fn fallocate(
        &self,
        _req: &Request,
        ino: INodeNo,
        _fh: FileHandle,
        offset: u64,
        length: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        tell(self.find_room(ino, offset + length, mode), reply);
    }
}
