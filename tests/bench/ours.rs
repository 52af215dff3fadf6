//! The programs that are measured: ours, and a guest that ours compiles.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::process::wait_for_output;

/// Compiling a guest takes well under a second.
pub(crate) const COMPILE_LIMIT: Duration = Duration::from_secs(60);

/// The daemon as devices run it, and a guest compiled for it.
pub(crate) struct Ours {
    zlayer: PathBuf,
    precompile: PathBuf,
    artifact: PathBuf,
    /// The guest before it is compiled.
    pub(crate) guest: PathBuf,
    /// Of the daemon.
    pub(crate) version: String,
    /// Where the key lies that signed the guest.
    folder: PathBuf,
}

impl Ours {
    /// Finds the programs, and compiles and signs the guest `name` in `folder` with a key of this run
    /// alone.
    pub(crate) fn new(name: &str, folder: &Path) -> Result<Ours> {
        let binary = format!(
            "target/{}-unknown-linux-gnu/device/zlayer",
            env::consts::ARCH
        );
        let zlayer = built("ZLAYER_BIN", &binary)?;
        let precompile = built("ZLAYER_PRECOMPILE", "target/release/zlayer-precompile")?;
        let guest = built("ZLAYER_GUESTS", "target/guests")?.join(format!("{name}.wasm"));
        ensure!(
            guest.is_file(),
            "{} is missing: run `cargo boards guests`, which builds it",
            guest.display()
        );
        Ok(Ours {
            version: version(&zlayer)?,
            artifact: compile(&precompile, &guest, folder)?,
            zlayer,
            precompile,
            guest,
            folder: folder.to_owned(),
        })
    }

    /// Compiles and signs another guest.
    pub(crate) fn compile(&self, guest: &Path) -> Result<PathBuf> {
        compile(&self.precompile, guest, &self.folder)
    }

    /// The command that serves the guest on the loopback address, with its data in `data`.
    pub(crate) fn serve(&self, port: u16, data: &Path) -> Command {
        let mut command = self.run(port, data);
        command.arg("--wasm").arg(&self.artifact);
        command
    }

    /// The same without a guest yet.
    pub(crate) fn run(&self, port: u16, data: &Path) -> Command {
        let mut command = self.program();
        command
            .env("XDG_CONFIG_HOME", &self.folder)
            .args(["run", "--port", &port.to_string(), "--data-dir"])
            .arg(data);
        command
    }

    /// The daemon's program, for any of its verbs.
    pub(crate) fn program(&self) -> Command {
        Command::new(&self.zlayer)
    }
}

fn compile(precompile: &Path, guest: &Path, folder: &Path) -> Result<PathBuf> {
    let mut command = Command::new(precompile);
    command
        .env("XDG_CONFIG_HOME", folder)
        .arg("build")
        .arg(guest)
        .args(["--target", target()?, "-o"])
        .arg(folder)
        .stderr(Stdio::null());
    wait_for_output(command, COMPILE_LIMIT)
        .with_context(|| format!("cannot compile {}", guest.display()))?;
    let name = guest.file_stem().unwrap_or_default().to_string_lossy();
    let artifact = folder.join(format!("{name}.{}.cwasm", target()?));
    ensure!(
        artifact.is_file(),
        "{} did not make {}",
        precompile.display(),
        artifact.display()
    );
    Ok(artifact)
}

/// A file or folder of ours: where the environment says, else where the workspace builds it.
fn built(variable: &str, default: &str) -> Result<PathBuf> {
    if let Some(path) = env::var_os(variable).map(PathBuf::from) {
        ensure!(path.exists(), "{variable}: {} is missing", path.display());
        return Ok(path);
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("..")
        .join(default);
    path.canonicalize().ok().with_context(|| {
        format!("{default} is missing: run `cargo boards test`, which builds it, or name another with {variable}")
    })
}

fn target() -> Result<&'static str> {
    match env::consts::ARCH {
        "x86_64" => Ok("x86_64"),
        "aarch64" => Ok("aarch64"),
        "arm" => Ok("armv7"),
        other => bail!("the daemon does not run on {other} machines"),
    }
}

/// The first line of `PROGRAM --version`, and the file's size: it tells a device build from others.
pub(crate) fn version(program: &Path) -> Result<String> {
    let mut command = Command::new(program);
    command.arg("--version");
    let text = wait_for_output(command, COMPILE_LIMIT)?;
    let line = text.lines().next().unwrap_or_default();
    let size = fs::metadata(program)
        .with_context(|| program.display().to_string())?
        .len();
    Ok(format!("{line}, {:.1} MB", size as f64 / 1e6))
}
