//! Where a benchmark works: our programs, the guests that they compile, a folder for what a run
//! leaves behind, and daemons that are started there.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rustix::fs::statfs;
use tempfile::TempDir;

use crate::bench::Run;
use crate::checkout;
use crate::deployment::deployment;
use crate::process::{Server, version, wait_for_output};

/// Compiling a guest takes well under a second.
pub(crate) const COMPILE_LIMIT: Duration = Duration::from_secs(60);

/// The kernel's number for a file system in memory (`TMPFS_MAGIC`, statfs(2)).
const TMPFS: u64 = 0x0102_1994;

/// Programs, and a folder that goes with this value.
pub(crate) struct Workshop {
    folder: TempDir,
    zlayer: PathBuf,
    precompile: PathBuf,
    guests: PathBuf,
}

impl Workshop {
    /// Finds our programs and makes a folder where temporary files go.
    pub(crate) fn new(run: &mut Run) -> Result<Workshop> {
        Workshop::in_folder(run, &env::temp_dir())
    }

    /// The same with a folder on the current folder's disk, for what depends on a disk.
    pub(crate) fn on_disk(run: &mut Run) -> Result<Workshop> {
        let current = env::current_dir().context("the current folder")?;
        let workshop = Workshop::in_folder(run, &current)?;
        // The field's type differs between machines.
        let is_in_memory = statfs(workshop.folder.path())
            .is_ok_and(|found| u64::try_from(found.f_type).is_ok_and(|kind| kind == TMPFS));
        if is_in_memory {
            run.remark("The folder was in memory (tmpfs): nothing here is a disk's figure.");
        }
        Ok(workshop)
    }

    fn in_folder(run: &mut Run, parent: &Path) -> Result<Workshop> {
        let device = format!(
            "target/{}-unknown-linux-musl/device/zlayer",
            env::consts::ARCH
        );
        let build = format!("cargo boards build --target {}", target()?);
        let (zlayer, precompile, guests) = (
            built("ZLAYER_BIN", &device, &build),
            built(
                "ZLAYER_PRECOMPILE",
                "target/release/zlayer-precompile",
                "cargo build --release -p zlayer-precompile",
            ),
            built("ZLAYER_GUESTS", "target/guests", "cargo boards guests"),
        );
        // All that is missing at once: each takes minutes to build.
        let missing: Vec<&str> = [&zlayer, &precompile, &guests]
            .into_iter()
            .filter_map(|found| found.as_ref().err().map(String::as_str))
            .collect();
        let (Ok(zlayer), Ok(precompile), Ok(guests)) = (&zlayer, &precompile, &guests) else {
            bail!("{}", missing.join("\n"));
        };
        let folder = tempfile::Builder::new()
            .prefix(".zlayer-bench-")
            .tempdir_in(parent)
            .with_context(|| format!("cannot make a folder in {}", parent.display()))?;
        let size = fs::metadata(zlayer).context("the daemon's size")?.len();
        // The size tells a device build from others.
        run.program(format!(
            "{} ({:.2} MB)",
            version(zlayer)?,
            size as f64 / 1e6
        ));
        Ok(Workshop {
            folder,
            zlayer: zlayer.clone(),
            precompile: precompile.clone(),
            guests: guests.clone(),
        })
    }

    /// A path in the folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The guest `name`, not compiled yet.
    pub(crate) fn guest(&self, name: &str) -> Result<PathBuf> {
        let guest = self.guests.join(format!("{name}.wasm"));
        ensure!(
            guest.is_file(),
            "the guest {name} is missing in {}: `cargo boards guests` builds it",
            self.guests.display()
        );
        Ok(guest)
    }

    /// Compiles and signs a guest, with a key of this run alone.
    pub(crate) fn compile(&self, guest: &Path) -> Result<PathBuf> {
        let mut command = Command::new(&self.precompile);
        command
            .env("XDG_CONFIG_HOME", self.folder.path())
            .arg("build")
            .arg(guest)
            .args(["--target", target()?, "-o"])
            .arg(self.folder.path())
            .stderr(Stdio::null());
        wait_for_output(command, COMPILE_LIMIT)
            .with_context(|| format!("cannot compile {}", guest.display()))?;
        let name = guest.file_stem().unwrap_or_default().to_string_lossy();
        let artifact = self.path(&format!("{name}.{}.cwasm", target()?));
        ensure!(
            artifact.is_file(),
            "{} did not make {}",
            self.precompile.display(),
            artifact.display()
        );
        Ok(artifact)
    }

    /// Packs these compiled plugins, in this order, with what is said of single ones in `settings`
    /// ([`deployment`]), signed with the key of this run.
    pub(crate) fn pack(&self, plugins: &[&Path], settings: &[&str]) -> Result<PathBuf> {
        let files: Vec<PathBuf> = plugins.iter().map(|file| file.to_path_buf()).collect();
        let settings: Vec<String> = settings.iter().map(|&one| one.to_owned()).collect();
        let text = deployment(&files, &settings);
        let [file, bundle] = ["deployment.yaml", "bench.zlb"].map(|name| self.path(name));
        fs::write(&file, &text).with_context(|| file.display().to_string())?;
        let mut command = Command::new(&self.precompile);
        command
            .env("XDG_CONFIG_HOME", self.folder.path())
            .env("XDG_CACHE_HOME", self.folder.path())
            .arg("pack")
            .arg(&file)
            .args(["--target", target()?, "-o"])
            .arg(&bundle)
            .stderr(Stdio::null());
        wait_for_output(command, COMPILE_LIMIT).with_context(|| format!("cannot pack\n{text}"))?;
        Ok(bundle)
    }

    /// Starts the daemon on the loopback address with these plugins, or with a bundle that is alone, its data
    /// in `data`.
    pub(crate) fn daemon(&self, plugins: &[&Path], data: &Path, flags: &[&str]) -> Result<Server> {
        Server::start(&self.path("daemon.log"), |port| {
            let mut command = self.program();
            command
                .env("XDG_CONFIG_HOME", self.folder.path())
                .args(["run", "--port", &port.to_string(), "--data-dir"])
                .arg(data);
            for file in plugins {
                if file.extension().is_none_or(|ending| ending != "zlb") {
                    command.arg("--wasm");
                }
                command.arg(file);
            }
            command.args(flags);
            Ok(command)
        })
    }

    /// The daemon's program, for any of its verbs.
    pub(crate) fn program(&self) -> Command {
        Command::new(&self.zlayer)
    }
}

/// A file or folder of ours: where the environment says, else where the workspace builds it. Otherwise
/// what is missing, and the command that mends it.
fn built(variable: &str, default: &str, command: &str) -> Result<PathBuf, String> {
    let set = env::var_os(variable).map(PathBuf::from);
    let path = set.unwrap_or_else(|| checkout::root().join(default));
    path.canonicalize().map_err(|_| {
        format!(
            "{} is missing: `{command}` builds it, or {variable} names another",
            path.display()
        )
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

/// Sizes in MB of the device binaries that are built, for each target of the workspace.
pub(crate) fn device_binaries() -> [(&'static str, Option<f64>); 3] {
    let triples = [
        ("x86_64", "x86_64-unknown-linux-musl"),
        ("aarch64", "aarch64-unknown-linux-musl"),
        ("armv7", "armv7-unknown-linux-musleabihf"),
    ];
    triples.map(|(target, triple)| {
        let path = checkout::root().join(format!("target/{triple}/device/zlayer"));
        let size = fs::metadata(path).map(|found| found.len() as f64 / 1e6);
        (target, size.ok())
    })
}
