//! `build`: compile and sign.

use std::fs;
use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context as _, Result};
use argh::FromArgs;
use serde_json::json;
use zlayer_board::Board;
use zlayer_bundle::{Bodies, Role, SecretKey, user_key_dir};
use zlayer_precompile::{Settings, development_key, write_atomically};

use super::device::Devices;
use super::{Outcome, prepare, read_key, tell, usage};
use crate::show;

/// compile a plugin for devices and sign it
#[derive(FromArgs)]
#[argh(subcommand, name = "build")]
pub(crate) struct Build {
    /// a WebAssembly component, or a core module that carries its world
    #[argh(positional)]
    plugin: PathBuf,

    /// what to compile for: x86_64, aarch64, armv7, or several with commas (default: this machine's)
    #[argh(option)]
    target: Vec<String>,

    /// engine settings of the device: compact or wide (default compact)
    #[argh(option)]
    profile: Option<String>,

    /// take target, profile and CPU flags from this board, and have its daemon run with the board's
    /// threads and memory_max
    #[argh(option)]
    board: Option<String>,

    /// where the boards are (default: boards/ here, or in a folder above, or beside the program)
    #[argh(option)]
    boards_dir: Option<PathBuf>,

    /// the plugin's version (default: the component's own, else 0.0.0)
    #[argh(option)]
    plugin_version: Option<String>,

    /// which bodies its transformer takes: both, request, response or none (default both); others
    /// pass it and are not held
    #[argh(option)]
    bodies: Option<Bodies>,

    /// secret key to sign with (default: a development key of yours, made on first use)
    #[argh(option)]
    key: Option<PathBuf>,

    /// do not sign
    #[argh(switch)]
    unsigned: bool,

    /// folder to write to, or a file that ends with .cwasm for one target (default: the current folder)
    #[argh(option, short = 'o')]
    output: Option<PathBuf>,

    /// print one JSON object
    #[argh(switch)]
    #[expect(
        dead_code,
        reason = "`main` looks for the word itself, for errors in the arguments too"
    )]
    json: bool,
}

impl Build {
    pub(crate) fn run(self) -> Result<Outcome> {
        if self.unsigned && self.key.is_some() {
            return Err(usage("--key and --unsigned contradict each other"));
        }
        let mut settings = self.settings()?;
        let plugin = prepare(&self.plugin, self.plugin_version.as_deref())?;
        if self.bodies.is_some() && !plugin.checked.roles.contains(&Role::Transformer) {
            return Err(usage(
                "--bodies is for a transformer, and the plugin is none",
            ));
        }
        for settings in &mut settings {
            settings.bodies = self.bodies;
        }
        let signer = self.signer()?;
        let output = self.output.as_deref().unwrap_or(Path::new("."));
        let file = self.output_file(settings.len())?;
        let dir = match file {
            Some(file) => file.parent().filter(|dir| !dir.as_os_str().is_empty()),
            None => Some(output),
        };
        let dir = dir.unwrap_or(Path::new("."));
        fs::create_dir_all(dir).with_context(|| format!("cannot make folder {}", dir.display()))?;

        // All or nothing: no file is written before the last target has compiled.
        let mut built = Vec::new();
        for settings in &settings {
            let progress = Progress::start(&format!("compiling for {}", settings.target));
            let start = Instant::now();
            let artifact = plugin.build(settings, signer.key.as_ref())?;
            drop(progress);
            built.push((artifact, start.elapsed()));
        }
        let (mut text, mut artifacts) = (String::new(), Vec::new());
        for (artifact, elapsed) in built {
            let path = match file {
                Some(file) => file.to_owned(),
                None => dir.join(plugin.file_name(artifact.target)),
            };
            write_atomically(&path, &artifact.bytes, 0o644)?;
            text += &format!(
                "{}  {}  {:.1} s  {}\n",
                path.strip_prefix(".").unwrap_or(&path).display(),
                show::size(artifact.bytes.len() as u64),
                elapsed.as_secs_f64(),
                signer.text
            );
            artifacts.push(json!({
                "path": path,
                "target": artifact.target,
                "profile": artifact.profile,
                "bytes": artifact.bytes.len(),
                "milliseconds": u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX),
            }));
        }
        let json = json!({
            "name": plugin.name,
            "version": plugin.version,
            "roles": plugin.checked.roles,
            "imports": plugin.checked.imports,
            "signer": signer.json,
            "artifacts": artifacts,
        });
        Ok(Outcome { text, json })
    }

    /// The file that `--output` names, if it is no folder's name: it ends with `.cwasm`.
    fn output_file(&self, targets: usize) -> Result<Option<&Path>> {
        let named = self
            .output
            .as_deref()
            .filter(|path| path.extension().is_some_and(|end| end == "cwasm") && !path.is_dir());
        match named {
            Some(file) if targets > 1 => Err(usage(format!(
                "--output {} is one file, and there are {targets} targets: name a folder",
                file.display()
            ))),
            named => Ok(named),
        }
    }

    /// What to compile for, from the board or from the flags.
    fn settings(&self) -> Result<Vec<Settings>> {
        let devices = Devices::read(&self.target, self.profile.as_deref())?;
        if let Some(name) = &self.board {
            let dir = match &self.boards_dir {
                Some(dir) => dir.clone(),
                None => boards_dir()?,
            };
            let settings = Settings::from(Board::load(&dir, name)?);
            if { devices.targets.iter() }.any(|target| *target != settings.target) {
                let target = settings.target;
                return Err(usage(format!(
                    "board {name} has target {target}: leave --target out"
                )));
            }
            if { devices.profile }.is_some_and(|profile| profile != settings.profile) {
                let profile = settings.profile;
                return Err(usage(format!(
                    "board {name} has profile {profile}: leave --profile out"
                )));
            }
            return Ok(vec![settings]);
        }
        if self.boards_dir.is_some() {
            return Err(usage("--boards-dir needs --board"));
        }
        devices.settings()
    }

    fn signer(&self) -> Result<Signer> {
        if self.unsigned {
            tell("not signed: a device runs this only when it allows unsigned artifacts");
            return Ok(Signer {
                key: None,
                text: "unsigned".to_owned(),
                json: json!(null),
            });
        }
        let (key, kind) = match &self.key {
            Some(path) => (read_key(path)?, "key file"),
            None => {
                let dir = user_key_dir().context(
                    "no folder for a development key, as HOME is not set: give --key or --unsigned",
                )?;
                let (key, is_new) = development_key(&dir).context(
                    "no development key: name a key with --key (keygen makes one), or give --unsigned",
                )?;
                if is_new {
                    tell(&format!(
                        "made a development key in {}: `zlayer run` on this account trusts it",
                        dir.display()
                    ));
                }
                (key, "development key")
            }
        };
        let id = key.public().id().to_string();
        let text = format!("signed by {id} ({kind})");
        Ok(Signer {
            key: Some(key),
            text,
            json: json!({ "key_id": id, "kind": kind }),
        })
    }
}

/// The folder of boards: `boards` in the current folder or in one above it, else beside the
/// program.
fn boards_dir() -> Result<PathBuf> {
    let current = std::env::current_dir().context("cannot tell the current folder")?;
    let program = std::env::current_exe().ok();
    current
        .ancestors()
        .chain(program.as_deref().and_then(Path::parent))
        .map(|folder| folder.join("boards"))
        .find(|boards| Board::names(boards).is_ok_and(|names| !names.is_empty()))
        .with_context(|| {
            format!(
                "no folder `boards` in {} or above it: give --boards-dir",
                current.display()
            )
        })
}

/// What the artifacts are signed with.
struct Signer {
    key: Option<SecretKey>,
    text: String,
    json: serde_json::Value,
}

/// A line on the terminal for as long as something takes. Nothing where nobody looks.
struct Progress {
    is_shown: bool,
}

impl Progress {
    fn start(what: &str) -> Progress {
        let is_shown = std::io::stderr().is_terminal();
        if is_shown {
            // A line that cannot be shown is not worth failing for.
            let _ = write!(std::io::stderr(), "{what} ..");
        }
        Progress { is_shown }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.is_shown {
            // Back to the start of the line, and clear it.
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}
