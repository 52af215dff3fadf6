//! Child processes: how they are started, shown and kept free of what cargo left in the environment.

use std::fmt;
use std::io::PipeReader;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail};

/// A program with its arguments and settings, to be shown as well as run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cmd {
    program: String,
    args: Vec<String>,
    envs: Vec<(String, String)>,
}

impl Cmd {
    /// A program by name or path, with arguments split at spaces.
    pub(crate) fn new(program: impl Into<String>, args: &str) -> Cmd {
        Cmd {
            program: program.into(),
            args: args.split_whitespace().map(str::to_owned).collect(),
            envs: Vec::new(),
        }
    }

    /// Adds one argument as it is, spaces and all.
    pub(crate) fn arg(mut self, arg: impl Into<String>) -> Cmd {
        self.args.push(arg.into());
        self
    }

    /// Whether one of its arguments is this word.
    pub(crate) fn has_word(&self, word: &str) -> bool {
        self.args.iter().any(|arg| arg == word)
    }

    /// Sets an environment variable.
    pub(crate) fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Cmd {
        self.envs.push((name.into(), value.into()));
        self
    }

    /// Shows the command, runs it in `dir` with its output visible, and fails unless it succeeds.
    pub(crate) fn run(&self, dir: &Path) -> Result<()> {
        println!("$ {self}");
        let status = self
            .process()
            .current_dir(dir)
            .stdin(Stdio::null())
            .status()
            .with_context(|| format!("cannot start `{}`", self.program))?;
        if !status.success() {
            bail!("`{}` ended with {status}", self.program);
        }
        Ok(())
    }

    /// Starts it in `dir`, and returns the pipe that both its outputs go into.
    pub(crate) fn start(&self, dir: &Path) -> Result<(Child, PipeReader)> {
        let (reader, writer) = std::io::pipe().context("there is no pipe left")?;
        let mut command = self.process();
        command
            .current_dir(dir)
            .stdin(Stdio::null())
            .stdout(writer.try_clone().context("there is no pipe left")?)
            .stderr(writer);
        let child = command
            .spawn()
            .with_context(|| format!("cannot start `{}`", self.program))?;
        Ok((child, reader))
    }

    /// What the program prints when it succeeds; nothing when it fails or is not there.
    pub(crate) fn output(&self, dir: &Path) -> Option<String> {
        let output = self
            .process()
            .current_dir(dir)
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .output();
        let output = output.ok().filter(|output| output.status.success())?;
        String::from_utf8(output.stdout).ok()
    }

    /// What the program prints when it succeeds, or its complaint when it fails.
    pub(crate) fn asked(&self, dir: &Path) -> Result<std::result::Result<String, String>> {
        let output = self
            .process()
            .current_dir(dir)
            .stdin(Stdio::null())
            .output()
            .with_context(|| format!("cannot start `{}`", self.program))?;
        let said = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Ok(match output.status.success() {
            true => Ok(said(output.stdout)),
            false => Err(said(output.stderr)),
        })
    }

    /// The process to start, in a clean environment; for callers that want to hold it.
    pub(crate) fn process(&self) -> Command {
        let mut command = Command::new(&self.program);
        for (name, _) in std::env::vars_os() {
            if name.to_str().is_some_and(left_by_cargo) {
                command.env_remove(name);
            }
        }
        command
            .args(&self.args)
            .envs(self.envs.iter().map(|(name, value)| (name, value)));
        command
    }
}

/// As one would type it into a shell.
impl fmt::Display for Cmd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, value) in &self.envs {
            write!(f, "{name}={} ", quoted(value))?;
        }
        f.write_str(&quoted(&self.program))?;
        self.args
            .iter()
            .try_for_each(|arg| write!(f, " {}", quoted(arg)))
    }
}

/// Whether a program of this name is on the search path.
pub(crate) fn on_path(program: &str) -> bool {
    std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|dir| dir.join(program).is_file()))
}

/// Variables that cargo and rustup set for the programs they run, and two that would bend a build.
/// They would tie a child cargo to this one's toolchain, and put rustup's libraries under Debian's
/// compiler.
fn left_by_cargo(name: &str) -> bool {
    const NAMES: [&str; 16] = [
        "CARGO",
        "CARGO_BIN_NAME",
        "CARGO_BUILD_TARGET",
        "CARGO_CRATE_NAME",
        "CARGO_ENCODED_RUSTFLAGS",
        "CARGO_MANIFEST_DIR",
        "CARGO_MANIFEST_LINKS",
        "CARGO_MANIFEST_PATH",
        "CARGO_PRIMARY_PACKAGE",
        "LD_LIBRARY_PATH",
        "OUT_DIR",
        "RUSTC",
        "RUSTDOC",
        "RUSTUP_TOOLCHAIN",
        "RUSTUP_TOOLCHAIN_SOURCE",
        "RUST_RECURSION_COUNT",
    ];
    NAMES.contains(&name) || name.starts_with("CARGO_PKG_")
}

fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_=+,./:@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_shown_as_a_shell_would_read_it() {
        let cmd = Cmd::new("cargo", "build --release")
            .arg("it's")
            .env("A", "")
            .env("B", "x y");
        let shown = cmd.to_string();
        assert_eq!(shown, r"A='' B='x y' cargo build --release 'it'\''s'");
        let echo = format!("printf '%s|' {}", shown.replace("A='' B='x y' cargo ", ""));
        let read = Cmd::new("sh", "-c")
            .arg(echo)
            .output(Path::new("."))
            .unwrap();
        assert_eq!(read, "build|--release|it's|");
    }

    #[test]
    fn a_child_does_not_see_what_cargo_left() {
        // cargo sets this one for every test that it runs.
        assert!(std::env::var_os("CARGO_MANIFEST_DIR").is_some());
        let seen = Cmd::new("env", "")
            .env("KEPT", "1")
            .output(Path::new("."))
            .unwrap();
        assert!(seen.lines().any(|line| line == "KEPT=1"));
        let left: Vec<&str> = seen
            .lines()
            .filter(|line| {
                line.split_once('=')
                    .is_some_and(|(name, _)| left_by_cargo(name))
            })
            .collect();
        assert!(left.is_empty(), "{left:?}");
    }

    #[test]
    fn the_users_own_settings_stay() {
        for name in [
            "CARGO_HOME",
            "CARGO_TARGET_DIR",
            "CARGO_BUILD_JOBS",
            "RUSTFLAGS",
            "PATH",
        ] {
            assert!(!left_by_cargo(name), "{name}");
        }
    }

    #[test]
    fn failure_and_absence_are_told_apart_from_success() {
        let dir = Path::new(".");
        assert!(Cmd::new("true", "").run(dir).is_ok());
        let error = Cmd::new("sh", "-c").arg("exit 3").run(dir).unwrap_err();
        assert!(error.to_string().contains("exit status: 3"), "{error}");
        let asked = |line: &str| Cmd::new("sh", "-c").arg(line).asked(dir).unwrap();
        assert_eq!(asked("echo yes"), Ok("yes\n".to_owned()));
        assert_eq!(asked("echo no >&2; exit 3"), Err("no\n".to_owned()));
        let error = Cmd::new("zlayer-no-such-program", "").run(dir).unwrap_err();
        assert!(
            error
                .to_string()
                .contains("cannot start `zlayer-no-such-program`"),
            "{error}"
        );
        assert!(on_path("sh") && !on_path("zlayer-no-such-program"));
    }
}
