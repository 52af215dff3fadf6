use std::fs;
use std::path::{Path, PathBuf};

use crate::support::{Builder, Daemon, TempDir, artifact, get, key_dir, skipped, zlayer_words};

/// A folder with the program, the artifact of a guest, the public key and an empty `/proc`; and the
/// emulator, where the processor is emulated. `None` where that cannot be a root, which is said.
fn root_with(guest: &str) -> Option<TempDir> {
    if !Builder::can_change_root() {
        skipped("this user may not change a process's root");
        return None;
    }
    let root = TempDir::new();
    let inside = |name: &str| root.path().join(name);
    let (_, programs) = zlayer_words();
    for program in programs {
        let found = find(&program);
        if !is_static(&found) {
            skipped("a quick build is linked with this machine's C library, unlike what ships");
            return None;
        }
        fs::copy(&found, inside(found.file_name()?.to_str()?)).unwrap();
    }
    fs::create_dir(inside("proc")).unwrap();
    fs::create_dir(inside("keys")).unwrap();
    fs::copy(key_dir().join("suite.pub"), inside("keys/suite.pub")).unwrap();
    fs::copy(artifact(guest), inside("plugin.cwasm")).unwrap();
    Some(root)
}

/// A program by its path, or by its name on the search path.
fn find(program: &Path) -> PathBuf {
    if program.components().count() > 1 {
        return program.to_owned();
    }
    let path = std::env::var_os("PATH").unwrap();
    let mut candidates = std::env::split_paths(&path).map(|folder| folder.join(program));
    candidates.find(|path| path.is_file()).unwrap()
}

/// Whether a program names no interpreter, which would load its libraries (ELF's `PT_INTERP`, whose
/// content ends up in the file as text).
fn is_static(program: &Path) -> bool {
    let bytes = fs::read(program).unwrap();
    !bytes
        .windows(8)
        .take(4096)
        .any(|window| window == b"/ld-linu")
}

fn daemon_in(root: &TempDir) -> Builder {
    Daemon::of("/plugin.cwasm")
        .keys(Some(Path::new("/keys")))
        .data_dir("/data")
        .in_root(root.path())
}

#[test]
fn the_daemon_serves_from_a_root_that_holds_nothing_else() {
    let Some(root) = root_with("hello") else {
        return;
    };
    let daemon = daemon_in(&root).start();
    assert_eq!(get(&daemon, "/").status, 200);
    assert_eq!(daemon.stop(), 0);
}

#[test]
fn the_store_is_kept_in_an_empty_root() {
    let Some(root) = root_with("counter") else {
        return;
    };
    for count in ["1", "2"] {
        let daemon = daemon_in(&root).start();
        assert_eq!(get(&daemon, "/incr/visits").text(), count);
        assert_eq!(daemon.stop(), 0);
    }
}
