//! What the daemon takes from itself once it needs it no more, so that whoever gets into it, through
//! a plugin's machine code or a fault of its own, has little in hand.
//!
//! Four things, as far as the kernel has them; what it has not is said and is no reason to stop:
//!
//! - no new privileges (Linux 3.5): no program that it could start gains rights;
//! - not dumpable: other processes of the same account cannot trace it or read its memory;
//! - landlock (5.19, [`folders`]): files are written in the data folder alone and read in few others;
//! - a seccomp filter ([`filter`]): system calls that no server needs are refused.
//!
//! All belong to the thread that asks for them and to those that it starts, so this comes before
//! any other thread is there.

mod filter;
mod folders;

use std::path::{Path, PathBuf};

use rustix::process::{DumpableBehavior, geteuid, set_dumpable_behavior};
use rustix::thread::set_no_new_privs;

/// What the daemon still needs of the file system.
#[derive(Debug)]
pub struct Needs<'a> {
    /// The folder in which it may do anything.
    pub data: &'a Path,
    /// Whether that folder goes with the process, for which it is taken out of the one above it.
    pub is_temporary: bool,
    /// Files that are read later, beside those that every daemon reads.
    pub read: Vec<PathBuf>,
}

/// Gives up what is needed no more, and says in one line of the log what holds and what does not.
pub fn confine(needs: &Needs<'_>) {
    let account = geteuid();
    if account.is_root() {
        log::warn!(
            "THIS DAEMON RUNS AS ROOT: whoever gets into it owns the device; give it an account of \
             its own with --user NAME (useradd --system NAME makes one), or let systemd do it (DynamicUser=yes)"
        );
    }
    let privileges = set_no_new_privs(true).map_err(|errno| errno.to_string());
    let dumpable = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    let parts = [
        ("no new privileges", privileges),
        ("not dumpable", dumpable.map_err(|errno| errno.to_string())),
        ("landlock", folders::restrict(needs)),
        ("seccomp filter", filter::install()),
    ];
    log::info!("{}", told(account.as_raw(), &parts));
}

/// What holds, and what does not and why.
fn told(account: u32, parts: &[(&str, Result<(), String>)]) -> String {
    let holding = parts.iter().filter(|(_, result)| result.is_ok());
    let holding: Vec<&str> = holding.map(|(name, _)| *name).collect();
    let missing = parts.iter().filter_map(|(name, result)| {
        let reason = result.as_ref().err()?;
        Some(format!("{name} ({reason})"))
    });
    let missing: Vec<String> = missing.collect();
    let holding = match holding.is_empty() {
        true => "nothing".to_owned(),
        false => holding.join(", "),
    };
    let missing = match missing.is_empty() {
        true => String::new(),
        false => format!("; without {}", missing.join(", ")),
    };
    format!("confined: account {account}, {holding}{missing}")
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use std::fs;
    use std::io::ErrorKind;
    use std::process::Command;
    use std::thread;

    use rustix::net::{AddressFamily, SocketType, socket};

    use super::*;
    use crate::data_dir::temporary_folder;

    /// Does `work` in a thread that gives something up, which no other thread does.
    fn confined<T: Send>(
        give_up: impl FnOnce() -> Result<(), String> + Send,
        work: impl FnOnce() -> T + Send,
    ) -> Option<T> {
        let working = || {
            set_no_new_privs(true).unwrap();
            match give_up() {
                Ok(()) => Some(work()),
                Err(reason) => {
                    eprintln!("skipped: {reason}");
                    None
                }
            }
        };
        thread::scope(|scope| scope.spawn(working).join().unwrap())
    }

    #[test]
    fn files_are_used_in_the_data_folder_alone() {
        let folder = temporary_folder().unwrap();
        let (data, other) = (folder.join("data"), folder.join("other"));
        for path in [&data, &other, &data.join("kv"), &data.join("aside")] {
            fs::create_dir(path).unwrap();
        }
        fs::write(other.join("file"), "of another").unwrap();
        fs::write(other.join("roots.pem"), "certificates").unwrap();
        let needs = Needs {
            data: &data,
            is_temporary: true,
            read: vec![other.join("roots.pem")],
        };
        let found = confined(
            || folders::restrict(&needs),
            || {
                let kind = |result: std::io::Result<()>| result.map_err(|error| error.kind());
                let read = fs::read(other.join("roots.pem")).map(drop);
                let write = fs::write(other.join("file"), "changed");
                let remove = fs::remove_file(other.join("file"));
                let above = fs::read_dir(&folder).map(drop);
                let start = Command::new("/bin/true").status().map(drop);
                // As the store does it, and its end.
                fs::write(data.join("kv/table"), "t").unwrap();
                fs::rename(data.join("kv"), data.join("aside/kv")).unwrap();
                fs::read_to_string("/proc/self/status").unwrap();
                fs::remove_dir_all(&data).unwrap();
                [read, write, remove, above, start].map(kind)
            },
        );
        if let Some(found) = found {
            let denied = Err(ErrorKind::PermissionDenied);
            assert_eq!(found, [Ok(()), denied, denied, denied, denied]);
        }
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn system_calls_that_lead_out_are_refused_and_threads_are_started() {
        let found = confined(filter::install_here, || {
            let start = Command::new("/bin/true").status().map(drop);
            let vsock = AddressFamily::from_raw(40);
            let unusual = socket(vsock, SocketType::STREAM, None).map(drop);
            let usual = socket(AddressFamily::INET, SocketType::STREAM, None).map(drop);
            thread::spawn(|| ()).join().unwrap();
            (start.map_err(|error| error.kind()), unusual, usual)
        });
        if let Some(found) = found {
            let denied = Err(ErrorKind::PermissionDenied);
            let unknown = Err(rustix::io::Errno::AFNOSUPPORT);
            assert_eq!(found, (denied, unknown, Ok(())));
        }
    }

    #[test]
    fn one_line_says_what_holds_and_what_does_not() {
        let none = || Err("this kernel has none".to_owned());
        assert_eq!(
            told(990, &[("a", Ok(())), ("b", Ok(()))]),
            "confined: account 990, a, b"
        );
        assert_eq!(
            told(0, &[("a", Ok(())), ("b", none())]),
            "confined: account 0, a; without b (this kernel has none)"
        );
        assert_eq!(
            told(0, &[("a", none())]),
            "confined: account 0, nothing; without a (this kernel has none)"
        );
    }
}
