//! Bytes that a process writes, as the kernel counts them (proc_pid_io(5)).

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// Bytes written so far.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Writes {
    /// Handed to the kernel by the threads that write to the store.
    pub(crate) handed: u64,
    /// Sent on to the storage layer for the whole process, in pages: what wears the flash.
    pub(crate) stored: u64,
}

impl Writes {
    /// What the process `id` (or `self`) has written, its threads of these names in particular.
    pub(crate) fn of(id: &str, threads: &[&str]) -> Result<Writes> {
        let process = PathBuf::from("/proc").join(id);
        let mut handed = 0;
        let tasks = process.join("task");
        for task in fs::read_dir(&tasks).with_context(|| tasks.display().to_string())? {
            let task = task?.path();
            // A thread may end while the list is read.
            let name = fs::read_to_string(task.join("comm")).unwrap_or_default();
            if threads.contains(&name.trim_end()) {
                handed += field(&task, "wchar: ")?;
            }
        }
        Ok(Writes {
            handed,
            stored: field(&process, "write_bytes: ")?,
        })
    }

    /// What was written since `earlier`.
    pub(crate) fn since(self, earlier: Writes) -> Writes {
        Writes {
            handed: self.handed.saturating_sub(earlier.handed),
            stored: self.stored.saturating_sub(earlier.stored),
        }
    }
}

fn field(folder: &Path, name: &str) -> Result<u64> {
    let path = folder.join("io");
    let text = fs::read_to_string(&path)
        .with_context(|| format!("{}: does this kernel count?", path.display()))?;
    text.lines()
        .find_map(|line| line.strip_prefix(name))
        .and_then(|count| count.trim().parse().ok())
        .with_context(|| format!("{} has no {name}", path.display()))
}
