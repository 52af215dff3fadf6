//! `build`: compile and sign.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context as _, Result};
use argh::FromArgs;
use serde_json::json;
use zlayer_bundle::{Bodies, Role, Target};
use zlayer_precompile::{CodeCache, write_atomically};

use super::device::{Boards, Devices};
use super::progress::Progress;
use super::signer::Signer;
use super::{Outcome, prepare, spare, usage};
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
        Signer::check(self.key.as_deref(), self.unsigned)?;
        let boards = Boards {
            board: self.board.as_deref(),
            dir: self.boards_dir.as_deref(),
        };
        let devices = Devices::read(&self.target, self.profile.as_deref())?;
        let mut settings = devices.settings_for(&boards)?;
        let plugin = prepare(&self.plugin, self.plugin_version.as_deref())?;
        if self.bodies.is_some() && !plugin.checked.roles.contains(&Role::Transformer) {
            return Err(usage(
                "--bodies is for a transformer, and the plugin is none",
            ));
        }
        for settings in &mut settings {
            settings.bodies = self.bodies;
        }
        let signer = Signer::choose(self.key.as_deref(), self.unsigned, "artifacts")?;
        let output = self.output.as_deref().unwrap_or(Path::new("."));
        let file = self.output_file(settings.len())?;
        let dir = match file {
            Some(file) => file.parent().filter(|dir| !dir.as_os_str().is_empty()),
            None => Some(output),
        };
        let dir = dir.unwrap_or(Path::new("."));
        fs::create_dir_all(dir).with_context(|| format!("cannot make folder {}", dir.display()))?;

        let path_for = |target: Target| match file {
            Some(file) => file.to_owned(),
            None => dir.join(plugin.file_name(target)),
        };
        for settings in &settings {
            let inputs = [self.plugin.as_path()].into_iter();
            spare(
                &path_for(settings.target),
                inputs.chain(self.key.as_deref()),
            )?;
        }
        // As for bundles: what is signed for release comes straight from the compiler.
        let cache = match self.key {
            None => CodeCache::of_user(),
            Some(_) => None,
        };
        // All or nothing: no file is written before the last target has compiled.
        let mut built = Vec::new();
        for settings in &settings {
            let progress = Progress::start(&format!("compiling for {}", settings.target));
            let start = Instant::now();
            let artifact = plugin.build_with(settings, signer.key.as_ref(), cache.as_ref())?;
            drop(progress);
            built.push((artifact, start.elapsed()));
        }
        let (mut text, mut artifacts) = (String::new(), Vec::new());
        for (artifact, elapsed) in built {
            let path = path_for(artifact.target);
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
}
