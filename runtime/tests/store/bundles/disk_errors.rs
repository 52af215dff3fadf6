//! Each of the calls that make a step last fails once: it says so, and what is active and what is served next are
//! whole.

use std::process::{Command, Stdio};

use super::Told;
use super::life::{Model, Step, Step::*};
use crate::support::{Child, Folder, number, skipped};
use crate::trace::may_trace;

/// Which calls fail, each with an error that disks give.
const FAULTS: &[(&str, &str)] = &[
    ("fsync", "EIO"),
    ("renameat", "EIO"),
    ("fchmod", "EROFS"),
    ("unlinkat", "EIO"),
];
/// Steps that fail, behind those that lead there.
const STEPS: &[(&[Step], Step)] = &[
    (&[Install], Install),
    (&[Install, Begin, Confirm], Adopt),
    (&[Install, Begin, Confirm, Install], Begin),
    // It goes back.
    (&[Install, Begin, Confirm, Install, Begin], Begin),
    (&[Install, Begin, Confirm, Adopt], GoBack),
    (
        &[Install, Begin, Confirm, Adopt, GoBack, Install, Begin],
        Confirm,
    ),
    (&[Install, Begin], End),
    (
        &[
            Install, Begin, Confirm, Adopt, GoBack, Install, Install, Install,
        ],
        Forget,
    ),
    (&[Install, Begin, Confirm, Adopt], Uninstall),
];
/// What a child answers whose step failed.
const REFUSED: i32 = 3;
/// Failures of one call that are tried, more than a step has.
const MOST: usize = 60;

#[test]
fn an_error_of_the_disk_is_told_and_leaves_what_is_active_whole() {
    let test = "an_error_of_the_disk_is_told_and_leaves_what_is_active_whole";
    if let Err(why) = may_trace() {
        return skipped(test, &why);
    }
    let mut refused = 0;
    for (place, (before, step)) in STEPS.iter().enumerate() {
        for (call, error) in FAULTS {
            for when in 1..=MOST {
                let folder = Folder::quick();
                let mut told = Told::default();
                for (release, step) in (1..).zip(*before) {
                    step.act(&folder.0, release).unwrap();
                    told.note(&format!("try {} {release}", step.name()));
                    told.note(&format!("done {} {release}", step.name()));
                }
                assert_eq!(Model::found(&folder.0), told.done);
                let release = before.len() as u64 + 1;
                told.note(&format!("try {} {release}", step.name()));
                let fault = format!("{call}:error={error}:when={when}");
                let code = run(&folder, place, call, &fault);
                let fault = format!("{} {}: {fault}", before.len(), step.name());
                match code {
                    Some(0) => told.note(&format!("done {} {release}", step.name())),
                    Some(REFUSED) => refused += 1,
                    other => panic!("{fault}: {other:?}"),
                }
                told.check(&folder.0);
                told.go_on(&folder.0);
                if code == Some(0) {
                    // Some only remove a file, and none has to.
                    let only_removes = matches!(step, End | Forget | Uninstall) && *call != "fsync";
                    let may_lack = only_removes || *call == "unlinkat";
                    assert!(when > 1 || may_lack, "{fault} was not felt");
                    break;
                }
                assert!(when < MOST, "{fault}: more calls than are tried");
            }
        }
    }
    println!("bundles disk errors: {refused} failed steps");
}

/// Has a child do a step, one call of which fails.
fn run(folder: &Folder, place: usize, call: &str, fault: &str) -> Option<i32> {
    let child = Child::command("bundles::disk_errors::child", &folder.0);
    let mut strace = Command::new("strace");
    strace
        .args(["-f", "-qq", "-e", "signal=none", "-o", "/dev/null", "-e"])
        .arg(format!("trace={call}"))
        .args(["-e", &format!("inject={fault}")])
        .arg(child.get_program())
        .args(child.get_args())
        .env("BUNDLES_STEP", place.to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    for (name, value) in child.get_envs() {
        strace.env(name, value.unwrap_or_default());
    }
    strace.status().unwrap().code()
}

#[test]
#[ignore = "the child of the test above"]
fn child() {
    let Some(folder) = Child::folder() else {
        return;
    };
    let (before, step) = STEPS[number("BUNDLES_STEP").unwrap() as usize];
    if let Err(error) = step.act(&folder, before.len() as u64 + 1) {
        assert!(error.to_string().contains("deployment"), "{error}");
        std::process::exit(REFUSED);
    }
}
