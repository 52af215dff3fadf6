//! The README's first plugin: its commands as they stand, run as a new user would.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use super::{blocks, page, root};
use crate::support::{PATIENCE, private_home, run, skipped, under_qemu, wait_at_most};

/// What would bend the build of somebody who has just opened a terminal. `RUSTUP_TOOLCHAIN` stays: it is
/// the compiler that this checkout pins.
const INHERITED: [&str; 8] = [
    "CARGO_TARGET_DIR",
    "CARGO_BUILD_TARGET",
    "CARGO_ENCODED_RUSTFLAGS",
    "LD_LIBRARY_PATH",
    "RUSTC",
    "RUSTC_WRAPPER",
    "RUSTFLAGS",
    "XDG_CONFIG_HOME",
];

#[test]
fn the_first_plugin_of_the_readme_counts_its_visitors() {
    if under_qemu() {
        return skipped("`zlayer run` of a .wasm compiles it for the build host, natively");
    }
    for (program, flag) in [("curl", "--version"), ("rustup", "--version")] {
        if Command::new(program).arg(flag).output().is_err() {
            return skipped(&format!("there is no {program} here"));
        }
    }
    let readme = page("README.md");
    let section = readme.split("## A first plugin").nth(1).unwrap();
    let section = section.split("\n## ").next().unwrap();
    let [create, build, ask] = <[String; 3]>::try_from(blocks(section, "sh")).unwrap();
    let [source] = <[String; 1]>::try_from(blocks(section, "rust")).unwrap();

    // Not below the checkout: cargo would make the new package a part of it.
    let home = tempfile::tempdir().unwrap();
    let checkout = checkout(home.path());
    fs::write(home.path().join("lib.rs"), source).unwrap();

    let target = command("rustup target add wasm32-wasip2", home.path(), &checkout);
    let target = run(target, PATIENCE);
    if target.code != 0 {
        return skipped(&format!(
            "rustup cannot fetch wasm32-wasip2: {}",
            last(&target.stderr)
        ));
    }
    let (build, serve) = build.trim_end().rsplit_once('\n').unwrap();
    // One shell for all blocks, as in one terminal. The port may be taken here.
    let serve = serve.replace("--port 8080", "--port 0");
    assert!(
        serve.starts_with("zlayer run ") && serve.contains("--port 0"),
        "{serve}"
    );
    let script = format!("set -e\n{create}cp ~/lib.rs src/lib.rs\n{build}\nexec {serve}\n");
    let mut daemon = Daemon::start(command(&script, home.path(), &checkout));
    let Some(address) = daemon.address() else {
        let said = daemon.said();
        let lacks_network = ["download", "network", "resolve host"];
        match lacks_network.iter().any(|word| said.contains(word)) {
            true => return skipped(&format!("cargo reaches no registry: {}", last(&said))),
            false => panic!("{script}\ndoes not serve:\n{said}"),
        }
    };
    let ask = ask.replace("localhost:8080", &address);
    assert!(ask.contains(&address), "{ask}");
    let response = run(command(&ask, home.path(), &checkout), PATIENCE);
    assert_eq!(response.stdout, "visit 1 of /hello\n", "{response:?}");
    assert!(section.contains("`visit 1 of /hello`"));
    assert_eq!(daemon.stop(), 0, "{}", daemon.said());
}

/// A folder that looks as this checkout does after `cargo boards demo`.
pub(super) fn checkout(home: &Path) -> PathBuf {
    let folder = home.join("checkout");
    let built = folder.join("target/release");
    fs::create_dir_all(&built).unwrap();
    let mut copy = Command::new("cp");
    copy.arg("-r").arg(root().join("wit")).arg(&folder);
    assert_eq!(run(copy, PATIENCE).code, 0);
    for (name, variable) in [
        ("zlayer", "ZLAYER_BIN"),
        ("zlayer-precompile", "ZLAYER_PRECOMPILE"),
    ] {
        let program = fs::canonicalize(std::env::var(variable).unwrap()).unwrap();
        std::os::unix::fs::symlink(program, built.join(name)).unwrap();
    }
    folder
}

/// A shell with a home of its own, and with the toolchain of whoever runs the tests.
pub(super) fn command(script: &str, home: &Path, checkout: &Path) -> Command {
    let old_home = PathBuf::from(std::env::var_os("HOME").unwrap_or_default());
    let mut command = Command::new("sh");
    command.args(["-c", script]).current_dir(checkout);
    private_home(&mut command, home);
    for (variable, folder) in [("CARGO_HOME", ".cargo"), ("RUSTUP_HOME", ".rustup")] {
        if std::env::var_os(variable).is_none() {
            command.env(variable, old_home.join(folder));
        }
    }
    for name in INHERITED {
        command.env_remove(name);
    }
    command
}

/// The commands up to the daemon that they end with; killed with this value.
pub(super) struct Daemon {
    child: Child,
    stdout: BufReader<ChildStdout>,
}

impl Daemon {
    pub(super) fn start(mut command: Command) -> Daemon {
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        Daemon { child, stdout }
    }

    /// Where the daemon listens, once it does.
    pub(super) fn address(&mut self) -> Option<String> {
        let lines = self.stdout.by_ref().lines().map_while(Result::ok);
        let mut found =
            lines.filter_map(|line| Some(line.rsplit_once(" on http://")?.1.to_owned()));
        found.next()
    }

    /// What it wrote to standard error, once it has ended.
    pub(super) fn said(&mut self) -> String {
        let mut said = String::new();
        let stderr = self.child.stderr.as_mut().unwrap();
        stderr.read_to_string(&mut said).unwrap();
        said
    }

    /// Stops it as a terminal would, and answers its exit code.
    pub(super) fn stop(&mut self) -> i32 {
        let pid = Pid::from_raw(self.child.id() as i32).unwrap();
        kill_process(pid, Signal::INT).unwrap();
        wait_at_most(&mut self.child, PATIENCE).unwrap_or(-1)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The last line of a text, for a message of one line.
fn last(text: &str) -> &str {
    text.trim_end().lines().last().unwrap_or_default()
}
