use std::fs::{self, Permissions};
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::{Daemon, TempDir, artifact, get, key_dir, precompile, skipped, zlayer};

/// An account that nobody here has.
const STRANGER: u32 = 54_321;

/// Whether this is root, who can give files to others. Says so where it is not.
fn is_root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        skipped("it gives files to other accounts, as root alone may");
    }
    root
}

/// All that is in a folder, and the folder itself.
fn all_in(folder: &Path) -> Vec<PathBuf> {
    let mut found = vec![folder.to_owned()];
    for entry in fs::read_dir(folder).unwrap().flatten() {
        match entry.file_type().unwrap().is_dir() {
            true => found.extend(all_in(&entry.path())),
            false => found.push(entry.path()),
        }
    }
    found
}

/// What other accounts may use of a folder, and how.
fn open_to_others(folder: &Path) -> Vec<(PathBuf, String)> {
    let modes = all_in(folder).into_iter().filter_map(|path| {
        let mode = fs::symlink_metadata(&path).ok()?.mode() & 0o7777;
        (mode & 0o077 != 0).then(|| (path, format!("{mode:04o}")))
    });
    modes.collect()
}

fn make_fifo(path: &Path) {
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

#[test]
fn what_a_daemon_keeps_is_closed_to_other_accounts_whatever_the_umask() {
    let folder = TempDir::new();
    let data = folder.path().join("data");
    for umask in ["umask 0", "umask 0777"] {
        let mut daemon = Daemon::builder("counter")
            .after(umask)
            .data_dir(&data)
            .start();
        assert_eq!(get(&daemon, "/incr/a").status, 200);
        assert!(data.join("admin.sock").exists());
        assert_eq!(open_to_others(&data), []);
        daemon.signal(15);
        assert_eq!(daemon.wait(), 0);
        assert_eq!(open_to_others(&data), []);
        let made = all_in(&data);
        let holds = |part: &str| {
            made.iter()
                .any(|path| path.to_str().unwrap().contains(part))
        };
        assert!(holds("/kv/db/") && holds(".zlog"), "{made:?}");
    }
}

#[test]
fn what_was_left_open_is_closed_at_the_next_start() {
    let folder = TempDir::new();
    let data = folder.path().join("data");
    let start = || Daemon::builder("counter").data_dir(&data).start();
    let daemon = start();
    assert_eq!(get(&daemon, "/incr/a").text(), "1");
    assert_eq!(daemon.stop(), 0);
    for path in all_in(&data) {
        let mode = if path.is_dir() { 0o777 } else { 0o666 };
        set_mode(&path, mode);
    }
    let daemon = start();
    assert_eq!(open_to_others(&data), []);
    assert_eq!(get(&daemon, "/incr/a").text(), "2");
}

#[test]
fn a_folder_that_is_used_for_more_is_left_as_it_is_unless_others_may_write_to_it() {
    let folder = TempDir::new();
    let other = folder.path().join("other");
    fs::write(&other, "not the daemon's").unwrap();
    set_mode(&other, 0o644);
    set_mode(folder.path(), 0o755);
    let start = || Daemon::builder("hello").data_dir(folder.path());
    assert_eq!(start().start().stop(), 0);
    let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o777;
    assert_eq!((mode(folder.path()), mode(&other)), (0o755, 0o644));
    assert_eq!(mode(&folder.path().join("log")), 0o700);
    set_mode(folder.path(), 0o777);
    let refused = start().fails();
    let told = format!("chmod go-w {}", folder.path().display());
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.stderr.contains(&told), "{refused:?}");
}

#[test]
fn links_pipes_and_whatever_else_no_daemon_made_are_refused_by_name() {
    let folder = TempDir::new();
    let target = folder.path().join("target");
    /// A name in the data folder, what is there instead, and what puts it there.
    type Stranger<'a> = (&'a str, &'a str, &'a dyn Fn(&Path));
    let kinds: [Stranger; 7] = [
        ("lock", "symbolic link", &|path| {
            symlink(&target, path).unwrap()
        }),
        ("lock", "named pipe", &make_fifo),
        ("artifact.cwasm", "symbolic link", &|path| {
            symlink(&target, path).unwrap();
        }),
        ("artifact.cwasm", "a folder", &|path| {
            fs::create_dir(path).unwrap()
        }),
        ("log", "symbolic link", &|path| {
            symlink("/tmp", path).unwrap()
        }),
        ("kv", "symbolic link", &|path| {
            symlink("/tmp", path).unwrap()
        }),
        ("kv/db/0.jnl", "named pipe", &make_fifo),
    ];
    for (number, (name, kind, make)) in kinds.into_iter().enumerate() {
        let data = folder.path().join(format!("data-{number}"));
        let path = data.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        make(&path);
        let refused = Daemon::builder("counter").data_dir(&data).fails();
        assert_eq!(refused.code, 1, "{name}: {refused:?}");
        let shown = data.display().to_string();
        for part in [&*shown, name, kind, "--data-dir"] {
            assert!(refused.stderr.contains(part), "{name}, {part}: {refused:?}");
        }
        assert!(!target.exists(), "{name} was followed");
    }
}

#[test]
fn a_data_folder_of_another_account_is_refused() {
    if !is_root() {
        return;
    }
    let folder = TempDir::new();
    let (data, target) = (folder.path().join("data"), folder.path().join("target"));
    fs::create_dir(&data).unwrap();
    symlink(&target, data.join("lock")).unwrap();
    chown(&data, Some(STRANGER), None).unwrap();
    let start = || Daemon::builder("hello").data_dir(&data).fails();
    let refused = start();
    assert_eq!(refused.code, 1, "{refused:?}");
    let told = format!("chown 0 {}", data.display());
    assert!(refused.stderr.contains(&told), "{refused:?}");
    assert!(!target.exists());
    // The folder may be root's, and what is in it not.
    chown(&data, Some(0), None).unwrap();
    fs::remove_file(data.join("lock")).unwrap();
    fs::create_dir(data.join("kv")).unwrap();
    chown(data.join("kv"), Some(STRANGER), None).unwrap();
    let refused = start();
    assert!(
        refused.stderr.contains("kv in it belongs to account 54321"),
        "{refused:?}"
    );
    // A link of somebody else's leads wherever he wants, and one of root's where root wants.
    fs::remove_dir(data.join("kv")).unwrap();
    let link = folder.path().join("link");
    symlink(&data, &link).unwrap();
    let through = || Daemon::builder("hello").data_dir(&link);
    assert_eq!(through().start().stop(), 0);
    std::os::unix::fs::lchown(&link, Some(STRANGER), None).unwrap();
    let refused = through().fails();
    assert!(
        refused.stderr.contains("symbolic link of account 54321"),
        "{refused:?}"
    );
}

/// A folder with the suite's key.
fn keys() -> TempDir {
    let keys = TempDir::new();
    fs::copy(key_dir().join("suite.pub"), keys.path().join("suite.pub")).unwrap();
    set_mode(keys.path(), 0o755);
    keys
}

#[test]
fn a_key_folder_that_others_could_write_to_is_refused_with_what_mends_it() {
    let keys = keys();
    let start = || Daemon::builder("hello").keys(Some(keys.path()));
    assert_eq!(start().start().stop(), 0);
    set_mode(keys.path(), 0o777);
    let refused = start().fails();
    assert_eq!(refused.code, 2, "{refused:?}");
    let told = format!("chmod go-w {}", keys.path().display());
    assert!(
        refused.stderr.contains(&told) && refused.stderr.contains("--keys"),
        "{refused:?}"
    );
    if !is_root() {
        return;
    }
    set_mode(keys.path(), 0o755);
    chown(keys.path(), Some(STRANGER), None).unwrap();
    let refused = start().fails();
    let told = format!("chown root {}", keys.path().display());
    assert!(refused.stderr.contains(&told), "{refused:?}");
    // What Kubernetes mounts, and `/tmp`: each may put files there, and whose they are counts.
    chown(keys.path(), Some(0), None).unwrap();
    set_mode(keys.path(), 0o1777);
    assert_eq!(start().start().stop(), 0);
    chown(keys.path().join("suite.pub"), Some(STRANGER), None).unwrap();
    let refused = start().fails();
    assert_eq!(refused.code, 16, "{refused:?}");
    assert!(
        refused
            .stderr
            .contains("suite.pub: it belongs to another account"),
        "{refused:?}"
    );
}

#[test]
fn what_is_no_key_is_left_out_with_a_warning_and_never_waited_for() {
    let keys = keys();
    make_fifo(&keys.path().join("a.pub"));
    fs::write(
        keys.path().join("b.pub"),
        "zlayer-public-key ed25519 1234\n",
    )
    .unwrap();
    symlink("/dev/zero", keys.path().join("c.pub")).unwrap();
    let daemon = Daemon::builder("hello").keys(Some(keys.path())).start();
    assert_eq!(get(&daemon, "/").status, 200);
    for name in ["a.pub", "b.pub", "c.pub"] {
        let shown = keys.path().join(name).display().to_string();
        let log = daemon.log();
        let line = log.lines().find(|line| line.contains(&shown));
        let line = line.unwrap_or_else(|| panic!("{name} in\n{log}"));
        assert!(
            line.contains(" WARN ") && line.contains("left out"),
            "{line}"
        );
    }
}

#[test]
fn a_key_may_be_named_by_its_file() {
    let file = key_dir().join("suite.pub");
    assert_eq!(Daemon::builder("hello").keys(Some(&file)).start().stop(), 0);
    // Whoever names a file wants that key.
    let folder = TempDir::new();
    let damaged = folder.path().join("damaged.pub");
    fs::write(&damaged, "zlayer-public-key ed25519 1234\n").unwrap();
    let refused = Daemon::builder("hello").keys(Some(&damaged)).fails();
    assert_eq!(refused.code, 2, "{refused:?}");
    assert!(refused.stderr.contains("damaged.pub"), "{refused:?}");
}

#[test]
fn what_a_socket_says_does_not_steer_the_terminal() {
    let folder = TempDir::new();
    let socket = folder.path().join("admin.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let body = "up\x1b]0;owned\x07\u{9b}2J\u{202e}txt\r\nnext\n";
    let serving = std::thread::spawn(move || {
        // The status, as text and as JSON, a refusal and a purge.
        for line in ["200 OK", "200 OK", "500 \x1b[31m", "200 OK"] {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 1024];
            let _ = stream.read(&mut request).unwrap();
            let length = body.len();
            let head =
                format!("HTTP/1.1 {line}\r\ncontent-length: {length}\r\nzlayer-health: ok\r\n\r\n");
            stream
                .write_all(format!("{head}{body}").as_bytes())
                .unwrap();
        }
    });
    let socket = socket.as_os_str();
    let asked = |words: &[&str]| {
        let words = words.iter().map(AsRef::as_ref);
        zlayer(words.chain(["--socket".as_ref(), socket]))
    };
    let shown = "up\\u001b]0;owned\\u0007\\u009b2J\\u202etxt\\u000d\nnext\n";
    for words in [&["status"] as &[&str], &["status", "--json"]] {
        let told = asked(words);
        assert_eq!((told.code, told.stdout.as_str()), (0, shown), "{told:?}");
    }
    for told in [asked(&["status"]), asked(&["purge", "--all"])] {
        let said = format!("{}{}", told.stdout, told.stderr);
        let obeyed = |c: char| c.is_control() && c != '\n';
        assert!(!said.is_empty() && !said.contains(obeyed), "{said:?}");
    }
    serving.join().unwrap();
}

#[test]
fn what_a_file_is_called_does_not_steer_the_terminal() {
    let folder = TempDir::new();
    let odd = folder.path().join("\x1b]0;owned\x07.cwasm");
    fs::copy(artifact("hello"), &odd).unwrap();
    let words = |verb: &str| [verb.into(), odd.clone().into_os_string()];
    let missing = folder.path().join("\x1b[2J").into_os_string();
    let keys = folder.path().join("keys");
    fs::create_dir(&keys).unwrap();
    fs::write(keys.join("\u{9b}2J.pub"), "no key").unwrap();
    let with_keys = ["validate".into(), "--keys".into(), keys.into_os_string()];
    let of_wasm = |verb: &str| ["wasm".into(), verb.into(), odd.clone().into_os_string()];
    for told in [
        precompile([&with_keys[..], &[odd.clone().into_os_string()]].concat()),
        zlayer(of_wasm("info")),
        zlayer(of_wasm("validate")),
        zlayer(["run".into(), "--wasm".into(), missing.clone()]),
        zlayer(["logs".into(), missing]),
        precompile(words("info")),
        precompile(words("validate")),
        precompile(words("build")),
    ] {
        let said = format!("{}{}", told.stdout, told.stderr);
        let obeyed = |c: char| c.is_control() && c != '\n';
        assert!(!said.is_empty() && !said.contains(obeyed), "{said:?}");
    }
}
