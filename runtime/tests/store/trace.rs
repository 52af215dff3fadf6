//! What a child does to its files, as strace saw it.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::rc::Rc;

use crate::disk::{Content, Node};

/// The calls that change files or say where the next change goes.
const CALLS: &str = "write,pwrite64,writev,pwritev,sendfile,copy_file_range,splice,fallocate,ftruncate,\
truncate,lseek,fsync,fdatasync,sync_file_range,open,openat,creat,mkdir,mkdirat,rename,renameat,renameat2,\
unlink,unlinkat,rmdir,link,linkat,symlink,symlinkat";

/// One thing that happened to the files below a folder.
#[derive(Debug, Clone)]
pub(crate) enum Op {
    /// A new file and its name.
    Make(Node, PathBuf),
    /// A new folder and its name.
    MakeFolder(Node, PathBuf),
    Write(Node, u64, Rc<[u8]>),
    Length(Node, u64),
    /// What was written before operation `upto` of a file is on the disk now; of a folder, its names.
    Sync(Node, usize),
    Rename(PathBuf, PathBuf),
    Remove(PathBuf),
    /// A line of the reports.
    Report(String),
}

/// Runs a child under strace and reads what it did below `folder`; an error says why that is not
/// possible here.
pub(crate) fn record(child: &Command, folder: &Path) -> Result<Vec<Op>, String> {
    let output = folder.with_extension("strace");
    let mut strace = Command::new("strace");
    strace
        .args(["-f", "-qq", "-xx", "-s", "16777216", "-e"])
        .arg(format!("trace={CALLS}"))
        .args(["-e", "signal=none", "-o"])
        .arg(&output)
        .arg(child.get_program())
        .args(child.get_args())
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    for (name, value) in child.get_envs() {
        strace.env(name, value.unwrap_or_default());
    }
    may_trace()?;
    let status = strace.status().unwrap();
    assert!(status.success(), "the child under strace: {status}");
    let text = std::fs::read_to_string(&output).unwrap();
    std::fs::remove_file(&output).unwrap();
    Ok(Reader::new(folder).read(&text))
}

/// Whether there is an strace that may look into other processes.
pub(crate) fn may_trace() -> Result<(), String> {
    let tried = Command::new("strace")
        .args(["-f", "-o", "/dev/null", "true"])
        .stdin(Stdio::null())
        .output();
    match tried {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(format!(
            "strace may not trace here: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        )),
        Err(error) => Err(format!("strace (Debian package strace): {error}")),
    }
}

/// An open file of the child.
#[derive(Clone)]
struct Open {
    node: Node,
    path: PathBuf,
    position: u64,
    append: bool,
}

struct Reader<'a> {
    folder: &'a Path,
    ops: Vec<Op>,
    nodes: HashMap<PathBuf, Node>,
    /// What the files hold at this moment, to know what copies copied.
    contents: HashMap<Node, Content>,
    open: HashMap<u64, Open>,
    made: usize,
}

impl<'a> Reader<'a> {
    fn new(folder: &'a Path) -> Reader<'a> {
        let mut reader = Reader {
            folder,
            ops: Vec::new(),
            nodes: HashMap::new(),
            contents: HashMap::new(),
            open: HashMap::new(),
            made: 1,
        };
        reader.nodes.insert(folder.to_owned(), Node::ROOT);
        reader
    }

    fn read(mut self, text: &str) -> Vec<Op> {
        // Calls that were interrupted by other threads: their first half, and how much was done then.
        let mut halves: HashMap<&str, (&str, usize)> = HashMap::new();
        for line in text.lines() {
            let (thread, call) = line.split_once(' ').unwrap();
            let call = call.trim_start();
            if let Some(half) = call.strip_suffix("<unfinished ...>") {
                halves.insert(thread, (half, self.ops.len()));
            } else if call.starts_with("<... ") {
                let (half, began) = halves.remove(thread).unwrap();
                let rest = call.split_once("resumed>").unwrap().1;
                self.call(&format!("{}{rest}", half.trim_end()), began);
            } else if call.contains('(') {
                self.call(call, self.ops.len());
            }
        }
        self.ops
    }

    fn call(&mut self, call: &str, began: usize) {
        let (head, result) = call.rsplit_once(" = ").unwrap();
        let result = result.split(' ').next().unwrap_or_default();
        // What failed changed nothing.
        let Ok(result) = result.parse::<u64>() else {
            return;
        };
        let (name, arguments) = head.split_once('(').unwrap();
        let arguments = arguments.trim_end().trim_end_matches(')');
        let arguments: Vec<&str> = arguments.split(", ").collect();
        let number = |at: usize| arguments[at].parse::<u64>().unwrap_or(u64::MAX);
        match name {
            "openat" => self.opened(result, arguments[0], arguments[1], arguments[2]),
            "mkdir" => self.make_folder("AT_FDCWD", arguments[0]),
            "mkdirat" => self.make_folder(arguments[0], arguments[1]),
            "rename" => self.rename(("AT_FDCWD", arguments[0]), ("AT_FDCWD", arguments[1])),
            "renameat" | "renameat2" => {
                self.rename((arguments[0], arguments[1]), (arguments[2], arguments[3]))
            }
            "unlink" | "rmdir" => self.remove("AT_FDCWD", arguments[0]),
            "unlinkat" => self.remove(arguments[0], arguments[1]),
            "lseek" => {
                if let Some(open) = self.open.get_mut(&number(0)) {
                    open.position = result;
                }
            }
            "write" => {
                if let Some(open) = self.open.get(&number(0)).cloned() {
                    let at = match open.append {
                        true => self.contents[&open.node].len(),
                        false => open.position,
                    };
                    let bytes = unquoted(arguments[1]);
                    self.write(number(0), at, &bytes[..result as usize]);
                }
            }
            "copy_file_range" => self.copy(number(0), number(2), result),
            "ftruncate" => {
                if let Some(open) = self.open.get(&number(0)).cloned() {
                    self.ops.push(Op::Length(open.node, number(1)));
                    let content = self.contents.get_mut(&open.node).unwrap();
                    content.set_len(number(1));
                }
            }
            // Sets zeros aside behind what is there, and cuts nothing off.
            "fallocate" if number(1) == 0 => {
                if let Some(open) = self.open.get(&number(0)).cloned() {
                    let content = self.contents.get_mut(&open.node).unwrap();
                    let length = content.len().max(number(2) + number(3));
                    self.ops.push(Op::Length(open.node, length));
                    content.set_len(length);
                }
            }
            "fsync" | "fdatasync" => {
                if let Some(open) = self.open.get(&number(0)) {
                    self.ops.push(Op::Sync(open.node, began));
                }
            }
            // Something new: the model has to learn it.
            _ => assert!(
                !self.open.contains_key(&number(0)),
                "the model knows no {name}: {}",
                &call[..call.len().min(200)]
            ),
        }
    }

    fn path(&self, base: &str, path: &str) -> Option<PathBuf> {
        let path = String::from_utf8(unquoted(path)).ok()?;
        let path = match base.parse().ok() {
            Some(base) if !path.starts_with('/') => self.open.get(&base)?.path.join(path),
            _ => PathBuf::from(path),
        };
        path.starts_with(self.folder).then_some(path)
    }

    fn opened(&mut self, descriptor: u64, base: &str, path: &str, flags: &str) {
        self.open.remove(&descriptor);
        let Some(path) = self.path(base, path) else {
            return;
        };
        let node = match self.nodes.get(&path) {
            Some(&node) => {
                if flags.contains("O_TRUNC") {
                    self.ops.push(Op::Length(node, 0));
                    self.contents.insert(node, Content::default());
                }
                node
            }
            None => {
                let node = self.number(&path);
                self.contents.insert(node, Content::default());
                self.ops.push(Op::Make(node, path.clone()));
                node
            }
        };
        let open = Open {
            node,
            path,
            position: 0,
            append: flags.contains("O_APPEND"),
        };
        self.open.insert(descriptor, open);
    }

    fn number(&mut self, path: &Path) -> Node {
        let node = Node(self.made);
        self.made += 1;
        self.nodes.insert(path.to_owned(), node);
        node
    }

    fn make_folder(&mut self, base: &str, path: &str) {
        if let Some(path) = self.path(base, path) {
            let node = self.number(&path);
            self.ops.push(Op::MakeFolder(node, path));
        }
    }

    fn write(&mut self, descriptor: u64, at: u64, bytes: &[u8]) {
        let Some(open) = self.open.get_mut(&descriptor) else {
            return;
        };
        open.position = at + bytes.len() as u64;
        if open.path.file_name().is_some_and(|name| name == "reports") {
            let line = String::from_utf8_lossy(bytes).trim_end().to_owned();
            self.ops.push(Op::Report(line));
            return;
        }
        self.ops.push(Op::Write(open.node, at, bytes.into()));
        self.contents.get_mut(&open.node).unwrap().write(at, bytes);
    }

    fn copy(&mut self, from: u64, to: u64, count: u64) {
        let Some(source) = self.open.get_mut(&from) else {
            return;
        };
        let at = source.position;
        source.position += count;
        let bytes = self.contents[&source.node].read(at, count);
        let to_position = self.open.get(&to).map_or(0, |open| open.position);
        self.write(to, to_position, &bytes);
    }

    fn rename(&mut self, from: (&str, &str), to: (&str, &str)) {
        let (Some(from), Some(to)) = (self.path(from.0, from.1), self.path(to.0, to.1)) else {
            return;
        };
        let moved: Vec<PathBuf> = self
            .nodes
            .keys()
            .filter(|path| path.starts_with(&from))
            .cloned()
            .collect();
        for path in moved {
            let node = self.nodes.remove(&path).unwrap();
            let rest = path.strip_prefix(&from).unwrap();
            let moved = match rest.as_os_str().is_empty() {
                true => to.clone(),
                false => to.join(rest),
            };
            self.nodes.insert(moved, node);
        }
        self.ops.push(Op::Rename(from, to));
    }

    fn remove(&mut self, base: &str, path: &str) {
        if let Some(path) = self.path(base, path) {
            self.nodes.remove(&path);
            self.ops.push(Op::Remove(path));
        }
    }
}

/// The bytes of a string that strace wrote in hexadecimal: `"\x41\x42"`.
fn unquoted(text: &str) -> Vec<u8> {
    let text = text.trim_matches('"').as_bytes();
    text.chunks_exact(4)
        .map(|digits| {
            let digits = std::str::from_utf8(&digits[2..]).unwrap();
            u8::from_str_radix(digits, 16).unwrap()
        })
        .collect()
}
