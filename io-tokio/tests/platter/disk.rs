//! Files and folders by number, and the changes that can be made to them.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};

use fuser::Errno;

use super::content::{Bytes, Edit, Held, Loss, Luck, Names, PAGE_BYTES};

/// Number of the folder everything is in.
const ROOT: u64 = 1;

/// What a call comes to.
pub(crate) type Outcome<T> = Result<T, Errno>;

/// See the module.
pub(crate) struct Disk {
    nodes: BTreeMap<u64, Node>,
    next: u64,
    changes: u64,
}

/// A file or a folder.
pub(crate) struct Node {
    pub(crate) mode: u16,
    pub(crate) kind: Kind,
}

/// Which of both, and what it holds.
pub(crate) enum Kind {
    /// Bytes, and up to where there is room for them in any case.
    File(Held<Bytes>, u64),
    Folder(Held<Names>),
}

impl Disk {
    pub(crate) fn new() -> Self {
        let root = Node { mode: 0o755, kind: Kind::Folder(Held::default()) };
        Self { nodes: BTreeMap::from([(ROOT, root)]), next: ROOT + 1, changes: 0 }
    }

    /// How many there were.
    pub(crate) fn changes(&self) -> u64 {
        self.changes
    }

    pub(crate) fn node(&self, number: u64) -> Outcome<&Node> {
        self.nodes.get(&number).ok_or(Errno::ENOENT)
    }

    fn names(&self, folder: u64) -> Outcome<&Names> {
        match &self.node(folder)?.kind {
            Kind::Folder(names) => Ok(&names.current),
            Kind::File(..) => Err(Errno::ENOTDIR),
        }
    }

    pub(crate) fn lookup(&self, folder: u64, name: &OsStr) -> Outcome<u64> {
        self.names(folder)?.get(name).copied().ok_or(Errno::ENOENT)
    }

    /// What is in a folder.
    pub(crate) fn list(&self, folder: u64) -> Outcome<Vec<(u64, OsString)>> {
        Ok(self.names(folder)?.iter().map(|(name, node)| (*node, name.clone())).collect())
    }

    fn rename_in(&mut self, folder: u64, change: Vec<(OsString, Option<u64>)>) -> Outcome<()> {
        self.changes += 1;
        match &mut self.nodes.get_mut(&folder).ok_or(Errno::ENOENT)?.kind {
            Kind::Folder(names) => names.change(self.changes, change),
            Kind::File(..) => return Err(Errno::ENOTDIR),
        }
        Ok(())
    }

    /// Makes a file or a folder.
    pub(crate) fn make(&mut self, folder: u64, name: &OsStr, node: Node) -> Outcome<u64> {
        if self.lookup(folder, name).is_ok() {
            return Err(Errno::EEXIST);
        }
        let number = self.next;
        self.rename_in(folder, vec![(name.to_owned(), Some(number))])?;
        self.nodes.insert(number, node);
        self.next += 1;
        Ok(number)
    }

    /// Removes a name.
    pub(crate) fn remove(&mut self, folder: u64, name: &OsStr) -> Outcome<()> {
        let node = self.lookup(folder, name)?;
        if self.names(node).is_ok_and(|names| !names.is_empty()) {
            return Err(Errno::ENOTEMPTY);
        }
        self.rename_in(folder, vec![(name.to_owned(), None)])
    }

    /// Gives something another name in the same folder; what has that name goes.
    pub(crate) fn rename(&mut self, folder: u64, from: &OsStr, to: &OsStr) -> Outcome<()> {
        let node = self.lookup(folder, from)?;
        self.rename_in(folder, vec![(from.to_owned(), None), (to.to_owned(), Some(node))])
    }

    fn file(&mut self, number: u64) -> Outcome<(&mut Held<Bytes>, &mut u64)> {
        match &mut self.nodes.get_mut(&number).ok_or(Errno::ENOENT)?.kind {
            Kind::File(bytes, room) => Ok((bytes, room)),
            Kind::Folder(_) => Err(Errno::EINVAL),
        }
    }

    pub(crate) fn read(&self, number: u64, at: u64, size: usize) -> Outcome<Vec<u8>> {
        match &self.node(number)?.kind {
            Kind::File(bytes, _) => Ok(bytes.current.read(at, size)),
            Kind::Folder(_) => Err(Errno::EINVAL),
        }
    }

    /// Changes a file.
    pub(crate) fn edit(&mut self, number: u64, edit: Edit) -> Outcome<()> {
        self.changes += 1;
        let change = self.changes;
        let (bytes, room) = self.file(number)?;
        match &edit {
            Edit::Resize(len) => *room = (*room).min(*len),
            Edit::Write { at, bytes } => {
                *room = (*room).max(at + bytes.len() as u64).next_multiple_of(PAGE_BYTES as u64);
            }
        }
        bytes.change(change, edit);
        Ok(())
    }

    /// Finds room for a file's first bytes, which are zeros if it was shorter.
    pub(crate) fn allocate(&mut self, number: u64, until: u64) -> Outcome<()> {
        let len = self.file(number)?.0.current.len;
        self.edit(number, Edit::Resize(len.max(until)))?;
        let room = self.file(number)?.1;
        *room = (*room).max(until);
        Ok(())
    }

    /// Whether there is room for a file's first bytes on a disk that has no more.
    pub(crate) fn has_room(&mut self, number: u64, until: u64) -> bool {
        self.file(number).is_ok_and(|(_, room)| until <= *room)
    }

    /// Makes something safe; or, if that `fails`, what should have been is lost. Names are not:
    /// what keeps a journal of them writes nothing at all any more.
    pub(crate) fn sync(&mut self, number: u64, fails: bool) -> Outcome<()> {
        self.changes += 1;
        match (&mut self.nodes.get_mut(&number).ok_or(Errno::ENOENT)?.kind, fails) {
            (Kind::File(bytes, _), false) => bytes.sync(),
            (Kind::File(bytes, _), true) => bytes.forget(),
            (Kind::Folder(names), false) => names.sync(),
            (Kind::Folder(_), true) => {}
        }
        if fails { Err(Errno::EIO) } else { Ok(()) }
    }

    /// Cuts the power.
    pub(crate) fn cut(&mut self, loss: Loss, luck: &mut Luck) {
        for node in self.nodes.values_mut() {
            match &mut node.kind {
                Kind::File(bytes, _) => bytes.cut(loss, luck),
                Kind::Folder(names) => names.cut(loss, luck),
            }
        }
        if loss != Loss::None {
            let mut reached = BTreeSet::from([ROOT]);
            self.reach(ROOT, &mut reached);
            self.nodes.retain(|number, _| reached.contains(number));
        }
    }

    fn reach(&self, folder: u64, reached: &mut BTreeSet<u64>) {
        for node in self.names(folder).into_iter().flat_map(Names::values) {
            reached.insert(*node);
            self.reach(*node, reached);
        }
    }
}
