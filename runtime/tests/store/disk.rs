//! A disk that loses power: which changes of files and names it holds for sure, and which it may
//! or may not.
//!
//! Two kinds of file system are played. [`Kind::Journal`] is like ext4: changes of names reach the disk in
//! their order, and syncing a file takes along the change that gave it its name. [`Kind::Strict`] promises
//! only what POSIX does: a name is on the disk once its folder was synced, and each folder goes its own
//! way.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use crate::support::Random;
use crate::trace::Op;

const PAGE: u64 = 4096;
const SECTOR: usize = 512;

/// A file or folder, whatever its name is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Node(pub(crate) usize);

impl Node {
    /// The folder of the whole.
    pub(crate) const ROOT: Node = Node(0);
}

/// What a file holds: pages, and holes between them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Content {
    len: u64,
    pages: BTreeMap<u64, Rc<[u8; PAGE as usize]>>,
}

impl Content {
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    pub(crate) fn set_len(&mut self, len: u64) {
        if len < self.len {
            let pages = len.div_ceil(PAGE);
            self.pages.split_off(&pages);
            let within = (len % PAGE) as usize;
            if let Some(page) = self.pages.get_mut(&(len / PAGE)).filter(|_| within > 0) {
                Rc::make_mut(page)[within..].fill(0);
            }
        }
        self.len = len;
    }

    pub(crate) fn write(&mut self, at: u64, bytes: &[u8]) {
        self.len = self.len.max(at + bytes.len() as u64);
        let mut done = 0;
        while done < bytes.len() {
            let place = at + done as u64;
            let within = (place % PAGE) as usize;
            let count = (bytes.len() - done).min(PAGE as usize - within);
            let page = self.pages.entry(place / PAGE);
            let page = page.or_insert_with(|| Rc::new([0; PAGE as usize]));
            Rc::make_mut(page)[within..within + count].copy_from_slice(&bytes[done..done + count]);
            done += count;
        }
    }

    pub(crate) fn read(&self, at: u64, count: u64) -> Vec<u8> {
        (at..at + count)
            .map(|place| {
                let page = self.pages.get(&(place / PAGE));
                page.map_or(0, |page| page[(place % PAGE) as usize])
            })
            .collect()
    }

    /// Takes one unit of `other` over.
    fn take(&mut self, other: &Content, page: u64, sector: Option<usize>) {
        let zeros = || Rc::new([0; PAGE as usize]);
        let new = other.pages.get(&page).cloned().unwrap_or_else(zeros);
        match sector {
            None => drop(self.pages.insert(page, new)),
            Some(sector) => {
                let range = sector * SECTOR..(sector + 1) * SECTOR;
                let page = self.pages.entry(page).or_insert_with(zeros);
                Rc::make_mut(page)[range.clone()].copy_from_slice(&new[range]);
            }
        }
    }

    fn save(&self, path: &Path) {
        let file = File::create(path).unwrap();
        file.set_len(self.len).unwrap();
        for (number, page) in &self.pages {
            let at = number * PAGE;
            let count = self.len.saturating_sub(at).min(PAGE) as usize;
            if page[..count].iter().any(|&byte| byte != 0) {
                file.write_all_at(&page[..count], at).unwrap();
            }
        }
    }
}

/// Which promises the disk's file system gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Names reach the disk in order; syncing a file takes its name along.
    Journal,
    /// Names reach the disk when their folder is synced, or at any time before.
    Strict,
}

/// What becomes of written data that was not synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Loss {
    /// All of it is there.
    Nothing,
    /// None of it is there.
    Everything,
    /// It is there up to some byte.
    Tail,
    /// Any pages of it are there.
    Pages,
    /// Any sectors of it are there.
    Sectors,
    /// The files are as long as they should be, with zeros where data was to come.
    Zeros,
}

impl Loss {
    pub(crate) const ALL: [Loss; 6] = [
        Loss::Nothing,
        Loss::Everything,
        Loss::Tail,
        Loss::Pages,
        Loss::Sectors,
        Loss::Zeros,
    ];
}

#[derive(Clone)]
enum Data {
    Write(u64, Rc<[u8]>),
    Length(u64),
}

impl Data {
    fn apply(&self, content: &mut Content) {
        match self {
            Data::Write(at, bytes) => content.write(*at, bytes),
            Data::Length(len) => content.set_len(*len),
        }
    }
}

/// A change of names, all within one folder except for moves.
#[derive(Clone)]
enum Names {
    Add(Node, String, Node),
    Remove(Node, String),
    Move((Node, String), (Node, String)),
}

#[derive(Default, Clone)]
struct Inode {
    is_folder: bool,
    /// On the disk for sure.
    synced: Content,
    /// Changes since, with the number of the operation.
    pending: Vec<(usize, Data)>,
}

type Tree = BTreeMap<(Node, String), Node>;

/// All files as they are, and as the disk holds them for sure.
pub(crate) struct Disk {
    kind: Kind,
    root: PathBuf,
    done: usize,
    inodes: HashMap<Node, Inode>,
    /// Names as the running system sees them.
    seen: Tree,
    synced: Tree,
    pending: Vec<(usize, Names)>,
}

impl Disk {
    pub(crate) fn new(kind: Kind, root: &Path) -> Disk {
        let folder = Inode {
            is_folder: true,
            ..Inode::default()
        };
        Disk {
            kind,
            root: root.to_owned(),
            done: 0,
            inodes: HashMap::from([(Node::ROOT, folder)]),
            seen: Tree::new(),
            synced: Tree::new(),
            pending: Vec::new(),
        }
    }

    /// Does the next operation.
    pub(crate) fn apply(&mut self, op: &Op) {
        let number = self.done;
        self.done += 1;
        match op {
            Op::Make(node, path) | Op::MakeFolder(node, path) => {
                let (folder, name) = self.place(path);
                let inode = Inode {
                    is_folder: matches!(op, Op::MakeFolder(..)),
                    ..Inode::default()
                };
                self.inodes.insert(*node, inode);
                self.rename(number, Names::Add(folder, name, *node));
            }
            Op::Write(node, at, bytes) => {
                let data = Data::Write(*at, Rc::clone(bytes));
                self.inode(*node).pending.push((number, data));
            }
            Op::Length(node, len) => {
                self.inode(*node).pending.push((number, Data::Length(*len)));
            }
            Op::Rename(from, to) => {
                let names = Names::Move(self.place(from), self.place(to));
                self.rename(number, names);
            }
            Op::Remove(path) => {
                let (folder, name) = self.place(path);
                self.rename(number, Names::Remove(folder, name));
            }
            Op::Sync(node, upto) => self.sync(*node, *upto),
            Op::Report(_) => {}
        }
    }

    fn inode(&mut self, node: Node) -> &mut Inode {
        self.inodes.entry(node).or_default()
    }

    /// The folder that holds a path, and the name in it.
    fn place(&self, path: &Path) -> (Node, String) {
        let rest = path.strip_prefix(&self.root).unwrap();
        let mut names: Vec<String> = rest
            .iter()
            .map(|name| name.to_string_lossy().into_owned())
            .collect();
        let last = names.pop().unwrap();
        let mut folder = Node::ROOT;
        for name in names {
            folder = self.seen[&(folder, name)];
        }
        (folder, last)
    }

    fn rename(&mut self, number: usize, names: Names) {
        apply(&names, &mut self.seen);
        self.pending.push((number, names));
    }

    fn sync(&mut self, node: Node, upto: usize) {
        let inode = self.inode(node);
        let pending = std::mem::take(&mut inode.pending);
        for (number, data) in pending {
            if number < upto {
                data.apply(&mut inode.synced);
            } else {
                inode.pending.push((number, data));
            }
        }
        let touches = |names: &Names| match names {
            Names::Add(folder, _, new) => *folder == node || *new == node,
            Names::Remove(folder, _) => *folder == node,
            Names::Move((from, _), (to, _)) => *from == node || *to == node,
        };
        let pending = std::mem::take(&mut self.pending);
        match self.kind {
            Kind::Journal => {
                let last = pending
                    .iter()
                    .rposition(|(number, names)| *number < upto && touches(names));
                for (at, (number, names)) in pending.into_iter().enumerate() {
                    if last.is_some_and(|last| at <= last) {
                        apply(&names, &mut self.synced);
                    } else {
                        self.pending.push((number, names));
                    }
                }
            }
            Kind::Strict => {
                for (number, names) in pending {
                    let within = match &names {
                        Names::Add(folder, ..) | Names::Remove(folder, _) => *folder == node,
                        Names::Move((from, _), (to, _)) => *from == node && *to == node,
                    };
                    // A move between folders: its removal and addition are taken as one, and
                    // either folder brings it.
                    let moved = matches!(&names, Names::Move((from, _), (to, _)) if from != to)
                        && touches(&names);
                    if number < upto && (within || moved) {
                        apply(&names, &mut self.synced);
                    } else {
                        self.pending.push((number, names));
                    }
                }
            }
        }
    }

    /// Writes what the disk may hold after a power cut at this moment to `to`.
    pub(crate) fn cut(&self, to: &Path, loss: Loss, random: &mut Random) {
        let tree = self.surviving_names(loss, random);
        let mut made = HashSet::new();
        self.save(&tree, Node::ROOT, to, &mut made, loss, random);
    }

    fn surviving_names(&self, loss: Loss, random: &mut Random) -> Tree {
        let mut tree = self.synced.clone();
        let keep = |count: usize, random: &mut Random| match loss {
            Loss::Nothing => count,
            Loss::Everything => 0,
            _ => random.below(count as u64 + 1) as usize,
        };
        match self.kind {
            Kind::Journal => {
                let kept = keep(self.pending.len(), random);
                for (_, names) in &self.pending[..kept] {
                    apply(names, &mut tree);
                }
            }
            Kind::Strict => {
                let mut kept: HashMap<Node, usize> = HashMap::new();
                let folder = |names: &Names| match names {
                    Names::Add(folder, ..) | Names::Remove(folder, _) => *folder,
                    Names::Move(_, (to, _)) => *to,
                };
                for (_, names) in &self.pending {
                    *kept.entry(folder(names)).or_default() += 1;
                }
                let mut folders: Vec<_> = kept.iter_mut().collect();
                folders.sort();
                for (_, count) in folders {
                    *count = keep(*count, random);
                }
                for (_, names) in &self.pending {
                    if let Some(left) = kept.get_mut(&folder(names)).filter(|left| **left > 0) {
                        *left -= 1;
                        apply(names, &mut tree);
                    }
                }
            }
        }
        tree
    }

    fn save(
        &self,
        tree: &Tree,
        folder: Node,
        to: &Path,
        made: &mut HashSet<Node>,
        loss: Loss,
        random: &mut Random,
    ) {
        std::fs::create_dir_all(to).unwrap();
        let range = (folder, String::new())..(Node(folder.0 + 1), String::new());
        for ((_, name), node) in tree.range(range) {
            let inode = &self.inodes[node];
            let path = to.join(name);
            if inode.is_folder {
                self.save(tree, *node, &path, made, loss, random);
            } else if made.insert(*node) {
                inode.surviving(loss, random).save(&path);
            }
        }
    }
}

impl Inode {
    /// What of a file is there after a power cut.
    fn surviving(&self, loss: Loss, random: &mut Random) -> Content {
        let mut all = self.synced.clone();
        for (_, data) in &self.pending {
            data.apply(&mut all);
        }
        let mut kept = self.synced.clone();
        match loss {
            Loss::Nothing => return all,
            Loss::Everything => return kept,
            Loss::Zeros => {
                kept.set_len(all.len);
                return kept;
            }
            Loss::Tail => {
                let whole = random.below(self.pending.len() as u64 + 1) as usize;
                for (_, data) in &self.pending[..whole] {
                    data.apply(&mut kept);
                }
                if let Some((_, Data::Write(at, bytes))) = self.pending.get(whole) {
                    let cut = random.below(bytes.len() as u64 + 1) as usize;
                    kept.write(*at, &bytes[..cut]);
                }
                return kept;
            }
            Loss::Pages | Loss::Sectors => {}
        }
        let mut changed: Vec<u64> = Vec::new();
        for (_, data) in &self.pending {
            if let Data::Write(at, bytes) = data {
                changed.extend(at / PAGE..(at + bytes.len() as u64).div_ceil(PAGE));
            }
        }
        changed.sort_unstable();
        changed.dedup();
        // The length goes with the last data, or was written early, or was lost.
        let len = match random.below(3) {
            0 => self.synced.len,
            _ => all.len,
        };
        if all.len < self.synced.len {
            kept.set_len(len);
        }
        for page in changed {
            if loss == Loss::Pages {
                if random.once_in(2) {
                    kept.take(&all, page, None);
                }
                continue;
            }
            for sector in 0..PAGE as usize / SECTOR {
                if random.once_in(2) {
                    kept.take(&all, page, Some(sector));
                }
            }
        }
        // Pages beyond the end were taken, too: they are cut off.
        kept.len = u64::MAX;
        kept.set_len(len);
        kept
    }
}

fn apply(names: &Names, tree: &mut Tree) {
    match names {
        Names::Add(folder, name, node) => drop(tree.insert((*folder, name.clone()), *node)),
        Names::Remove(folder, name) => drop(tree.remove(&(*folder, name.clone()))),
        Names::Move(from, to) => {
            if let Some(node) = tree.remove(from) {
                tree.insert(to.clone(), node);
            }
        }
    }
}
