//! What `--wasm` may name: a file, and of which kind.

use std::fs;
use std::os::unix::fs::DirEntryExt;
use std::path::Path;

use rustix::fs::FileType;

use crate::artifact::{Made, refused};
use crate::cli::{path_with_precompile, zlayer_alone};
use crate::support::{
    Daemon, PATIENCE, TempDir, artifact, get, guests, run, skipped, target, under_qemu,
};

#[test]
fn a_named_pipe_is_refused_and_not_waited_for() {
    let folder = TempDir::new();
    let pipe = folder.path().join("pipe");
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, FileType::Fifo, 0o600.into(), 0).unwrap();
    let output = refused(&pipe);
    assert_eq!(output.code, 1, "{output:?}");
}

#[test]
fn what_is_no_file_is_refused() {
    let folder = TempDir::new();
    let made = |name: &str| folder.path().join(name);
    fs::create_dir(made("folder")).unwrap();
    std::os::unix::fs::symlink("nowhere", made("dangling")).unwrap();
    std::os::unix::fs::symlink("loop", made("loop")).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(made("socket")).unwrap();
    fs::write(made("empty"), "").unwrap();
    for (name, code) in [
        ("folder", 1),
        ("dangling", 1),
        ("loop", 1),
        ("socket", 1),
        ("missing", 1),
        ("missing/below", 1),
        ("empty", 11),
    ] {
        let output = refused(&made(name));
        assert_eq!(output.code, code, "{name}: {output:?}");
    }
    // Devices, and a regular file that not even an administrator can read from the start.
    for path in ["/dev/null", "/dev/zero", "/dev/tty", "/proc/self/mem"] {
        let output = refused(Path::new(path));
        assert_eq!(output.code, 1, "{path}: {output:?}");
    }
}

#[test]
fn a_file_that_may_not_be_read_is_named() {
    use std::os::unix::fs::PermissionsExt;
    let made = Made::of(fs::read(artifact("hello")).unwrap());
    fs::set_permissions(&made.file, fs::Permissions::from_mode(0o000)).unwrap();
    if fs::File::open(&made.file).is_ok() {
        skipped("an administrator may read everything");
        return;
    }
    let output = made.refused();
    assert_eq!(output.code, 1, "{output:?}");
    assert!(output.stderr.contains("ermission"), "{output:?}");
}

#[test]
fn files_that_are_something_else_are_refused() {
    let elf = fs::read("/proc/self/exe").unwrap();
    for (bytes, code) in [
        (&b"hello, world\n"[..], 11),
        (&[0; 1 << 20], 11),
        (b"ZLCWASM\n", 11),
        (&elf[..1 << 20], 11),
    ] {
        let output = Made::of(bytes).refused();
        assert_eq!(output.code, code, "{output:?}");
    }
}

#[test]
fn a_wasm_file_is_compiled_where_the_compiler_is_at_hand() {
    let folder = TempDir::new();
    let daemon = Daemon::of(guests().join("hello.wasm"))
        .keys(None)
        .env("PATH", path_with_precompile())
        .env("TMPDIR", folder.path())
        .start();
    let answer = get(&daemon, "/compiled");
    assert_eq!(
        (answer.status, answer.text().contains("/compiled")),
        (200, true)
    );
    // Standard output belongs to the daemon: one line.
    assert_eq!(daemon.stdout().lines().count(), 1, "{}", daemon.stdout());
    assert_eq!(daemon.stop(), 0);
    let left: Vec<_> = fs::read_dir(folder.path()).unwrap().collect();
    assert!(left.is_empty(), "left over: {left:?}");

    let bad = guests().join("bad/unknown-import.wasm");
    let output = Daemon::of(&bad)
        .keys(None)
        .env("PATH", path_with_precompile())
        .fails();
    assert_eq!(output.code, 1, "the compiler's own code: {output:?}");
    assert!(output.stderr.contains("teleport"), "{output:?}");
}

#[test]
fn what_was_compiled_is_kept_by_what_the_file_holds() {
    let home = TempDir::new();
    let plugin = home.path().join("plugin.wasm");
    let start = |guest: &str| {
        fs::copy(guests().join(format!("{guest}.wasm")), &plugin).unwrap();
        let daemon = Daemon::of(&plugin)
            .keys(None)
            .env("PATH", path_with_precompile())
            .env("HOME", home.path())
            .env("XDG_CONFIG_HOME", home.path().join(".config"))
            .start();
        (get(&daemon, "/x").status, daemon.log())
    };
    // What is compiled is written as a new file, and what is kept is not written again.
    let kept = || {
        let entries = fs::read_dir(home.path().join(".cache/zlayer/code"));
        let entries = entries.unwrap().map(|entry| entry.unwrap());
        let mut kept: Vec<_> = entries.map(|entry| (entry.ino(), entry.path())).collect();
        kept.sort();
        kept
    };
    let (status, log) = start("hello");
    assert_eq!(status, 200, "{log}");
    assert!(log.contains("compiled in "), "{log}");
    let first = kept();
    assert_eq!(first.len(), 1);
    let (status, log) = start("hello");
    assert_eq!((status, kept()), (200, first.clone()), "{log}");
    // Another file of that name is another plugin.
    let (status, log) = start("visit-counter");
    assert_eq!((status, kept().len()), (200, 2), "{log}");
    // It is signed by the key that is trusted now, whoever signed it before.
    fs::remove_dir_all(home.path().join(".config")).unwrap();
    let (status, log) = start("hello");
    assert_eq!((status, kept().len()), (200, 2), "{log}");
    // What is damaged is compiled again.
    for (_, path) in kept() {
        fs::write(path, "damaged").unwrap();
    }
    let before = kept();
    let (status, log) = start("hello");
    assert_eq!(status, 200, "{log}");
    assert_ne!(kept(), before);
}

#[test]
fn webassembly_is_compiled_by_its_name_only_and_not_where_keys_were_installed() {
    let folder = TempDir::new();
    let hello = guests().join("hello.wasm");
    // A file that somebody put where a compiled one was.
    for name in ["hello.cwasm", "hello", "hello.wasm.old"] {
        let disguised = folder.path().join(name);
        fs::copy(&hello, &disguised).unwrap();
        let output = Daemon::of(&disguised)
            .keys(None)
            .env("PATH", path_with_precompile())
            .fails();
        assert_eq!(output.code, 11, "{name}: {output:?}");
        assert!(output.stderr.contains("it is WebAssembly"), "{output:?}");
    }
    let output = Daemon::of(&hello)
        .env("PATH", path_with_precompile())
        .fails();
    assert_eq!(output.code, 2, "{output:?}");
    let build = format!("zlayer-precompile build {} --target", hello.display());
    for told in ["keys are installed in", build.as_str(), "--key FILE"] {
        assert!(output.stderr.contains(told), "{told}: {output:?}");
    }
    let command = Daemon::of(&hello)
        .env("PATH", path_with_precompile())
        .args(["--allow-unsigned"])
        .fails();
    assert_eq!(command.code, 2, "{command:?}");
}

#[test]
fn a_wasm_file_on_a_device_is_told_the_command_that_is_wanted() {
    if under_qemu() {
        skipped("the emulator loses the error of a program that is not there");
        return;
    }
    let folder = TempDir::new();
    let hello = guests().join("hello.wasm");
    let mut command = zlayer_alone(folder.path());
    command.args(["run", "--port", "0", "--wasm"]).arg(&hello);
    let output = run(command, PATIENCE);
    assert_eq!(output.code, 1, "{output:?}");
    let wanted = format!(
        "zlayer-precompile build {} --target {}",
        hello.display(),
        target()
    );
    assert!(output.stderr.contains(&wanted), "{output:?}");
}
