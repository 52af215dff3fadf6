use crate::support::{
    Builder, Daemon, Output, TempDir, get, may_mount, skipped, target, under_qemu,
};

/// A daemon whose temporary folder, and all below it, is on a file system that is mounted so.
fn mounted(how: &str, folder: &TempDir) -> Builder {
    let mount = format!(r#"mount -t tmpfs -o {how} none "$1" && shift && exec "$@""#);
    let words = ["unshare", "-m", "sh", "-c", &mount, "sh"];
    let words = words.iter().map(Into::into);
    let folder = folder.path().as_os_str().to_owned();
    Daemon::builder("hello").through(words.chain([folder]))
}

/// Says what keeps a process from code that it could have written, as systemd's
/// `MemoryDenyWriteExecute` does, and becomes the daemon.
const DENY: &str = "\
import ctypes, os, sys
PR_SET_MDWE, REFUSE_EXEC_GAIN = 65, 1
libc = ctypes.CDLL(None, use_errno=True)
if libc.prctl(PR_SET_MDWE, ctypes.c_ulong(REFUSE_EXEC_GAIN), *[ctypes.c_ulong(0)] * 3) != 0:
    sys.exit('cannot deny: ' + os.strerror(ctypes.get_errno()))
if len(sys.argv) > 1:
    os.execvp(sys.argv[1], sys.argv[1:])
";

/// What the daemon says that may not execute anything, and that says so in time. On 32-bit ARM code is
/// interpreted, and no system has anything against that.
fn refused(builder: Builder) -> Option<Output> {
    if target() == "armv7" {
        let daemon = builder.start();
        assert_eq!(get(&daemon, "/").status, 200);
        return None;
    }
    let refused = builder.fails();
    assert_eq!(refused.code, 1, "{refused:?}");
    Some(refused)
}

#[test]
fn a_data_folder_that_is_mounted_noexec_is_named_with_what_mends_it() {
    if !may_mount() {
        return;
    }
    let folder = TempDir::new();
    let at = folder.path().join("data");
    let Some(refused) = refused(mounted("noexec", &folder).data_dir(&at)) else {
        return;
    };
    let file = at.join("artifact.cwasm");
    for part in [
        file.to_str().unwrap(),
        "mounted noexec",
        "with exec",
        "--data-dir",
    ] {
        assert!(refused.stderr.contains(part), "{part}: {refused:?}");
    }
    let daemon = mounted("exec", &folder).data_dir(&at).start();
    assert_eq!(get(&daemon, "/").status, 200);
}

#[test]
fn a_system_that_denies_executable_memory_is_told_with_what_mends_it() {
    if under_qemu() {
        return skipped("it is the emulator that would be denied");
    }
    let denies = std::process::Command::new("python3")
        .args(["-c", DENY])
        .output();
    if !denies.is_ok_and(|output| output.status.success()) {
        return skipped("it wants python3, and a kernel of 6.3 that denies executable memory");
    }
    let data = TempDir::new();
    let daemon = Daemon::builder("hello").data_dir(data.path());
    if let Some(refused) = refused(daemon.through(["python3", "-c", DENY])) {
        for part in [
            "forbids",
            "MemoryDenyWriteExecute=no",
            "SELinux",
            "(os error 13)",
        ] {
            assert!(refused.stderr.contains(part), "{part}: {refused:?}");
        }
        assert!(!refused.stderr.contains("noexec"), "{refused:?}");
    }
}
