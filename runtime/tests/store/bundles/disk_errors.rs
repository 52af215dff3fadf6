//! Each of the calls that make an install last fails once: it says so, and what is active is whole.

use std::process::{Command, Stdio};

use zlayer_runtime::generations::Generations;

use super::{Told, active, install};
use crate::support::{Child, Folder, skipped};
use crate::trace::may_trace;

/// Which calls fail, each with an error that disks give.
const FAULTS: &[(&str, &str)] = &[
    ("fsync", "EIO"),
    ("renameat", "EIO"),
    ("fchmod", "EROFS"),
    ("unlinkat", "EIO"),
];
/// What a child answers whose install failed.
const REFUSED: i32 = 3;
/// Failures of one call that are tried, more than an install has.
const MOST: usize = 60;

#[test]
fn an_error_of_the_disk_is_told_and_leaves_what_is_active_whole() {
    let test = "an_error_of_the_disk_is_told_and_leaves_what_is_active_whole";
    if let Err(why) = may_trace() {
        return skipped(test, &why);
    }
    let mut refused = 0;
    for (call, error) in FAULTS {
        for when in 1..=MOST {
            let folder = Folder::quick();
            install(&folder.0, 1).unwrap();
            let child = Child::command("bundles::disk_errors::child", &folder.0);
            let mut strace = Command::new("strace");
            strace
                .args(["-f", "-qq", "-e", "signal=none", "-o", "/dev/null", "-e"])
                .arg(format!("trace={call}"))
                .args(["-e", &format!("inject={call}:error={error}:when={when}")])
                .arg(child.get_program())
                .args(child.get_args())
                .stdin(Stdio::null())
                .stdout(Stdio::null());
            for (name, value) in child.get_envs() {
                strace.env(name, value.unwrap_or_default());
            }
            let status = strace.status().unwrap();
            let fault = format!("{call} {when} {error}");
            let found = active(&folder.0);
            assert!([1, 2].contains(&found), "{fault}: {found} is active");
            match status.code() {
                Some(0) => assert_eq!(found, 2, "{fault}"),
                Some(REFUSED) => refused += 1,
                _ => panic!("{fault}: {status}"),
            }
            let told = Told {
                highest: (found, 2),
                ..Told::default()
            };
            told.go_on(&folder.0);
            if status.success() {
                assert!(when > 1 || *call == "unlinkat", "{fault} was not felt");
                break;
            }
            assert!(when < MOST, "{fault}: more calls than are tried");
        }
    }
    println!("bundles disk errors: {refused} failed installs");
}

#[test]
#[ignore = "the child of the test above"]
fn child() {
    let Some(folder) = Child::folder() else {
        return;
    };
    let installed = install(&folder, 2);
    let forgotten = installed.and_then(|_| Generations::of(&folder).forget());
    if let Err(error) = forgotten {
        assert!(error.to_string().contains("deployment"), "{error}");
        std::process::exit(REFUSED);
    }
}
