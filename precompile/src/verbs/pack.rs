//! `pack`: a deployment with its plugins as one signed file.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context as _, Result};
use argh::FromArgs;
use serde_json::{Value, json};
use zlayer_bundle::{Manifest, Role};
use zlayer_deployment::{Image, ImageSource};
use zlayer_precompile::{
    CodeCache, Packed, Problem, Refused, Settings, Unpacked, no_deployment, open_input, overwritten,
};

use super::access;
use super::device::{Boards, Devices};
use super::progress::Progress;
use super::signer::Signer;
use super::{Outcome, spare, usage, user_trust_by};
use crate::show;

/// compile the plugins of a deployment.yaml and put all of it into one signed file, for `zlayer run` and
/// `zlayer install`
#[derive(FromArgs)]
#[argh(subcommand, name = "pack")]
pub(crate) struct Pack {
    /// a deployment.yaml
    #[argh(positional)]
    deployment: PathBuf,

    /// what to compile for: x86_64, aarch64 or armv7 (default: this machine's)
    #[argh(option)]
    target: Vec<String>,

    /// engine settings of the device: compact or wide (default compact)
    #[argh(option)]
    profile: Option<String>,

    /// take target, profile and CPU flags from this board, and see to it that the deployment fits into its
    /// memory_max
    #[argh(option)]
    board: Option<String>,

    /// where the boards are (default: boards/ here, or in a folder above, or beside the program)
    #[argh(option)]
    boards_dir: Option<PathBuf>,

    /// secret key to sign with (default: a development key of yours, made on first use)
    #[argh(option)]
    key: Option<PathBuf>,

    /// do not sign
    #[argh(switch)]
    unsigned: bool,

    /// trust list that the bundle is held to, as a device would
    #[argh(option)]
    trust_list: Option<PathBuf>,

    /// number of this release, instead of what the file says: a device goes to a higher one alone
    #[argh(option)]
    release: Option<u64>,

    /// speak without TLS with registries on this machine
    #[argh(switch)]
    plain_http: bool,

    /// file to write (default: the deployment's name and the target, with .zlb, in the current folder)
    #[argh(option, short = 'o')]
    output: Option<PathBuf>,

    /// file to write the paths of the deployment's images that are files to, a zero byte behind each: for
    /// programs that watch them. Written before anything is compiled
    #[argh(option)]
    inputs: Option<PathBuf>,

    /// print one JSON object
    #[argh(switch)]
    #[expect(
        dead_code,
        reason = "`main` looks for the word itself, for errors in the arguments too"
    )]
    json: bool,
}

impl Pack {
    pub(crate) fn run(self) -> Result<Outcome> {
        Signer::check(self.key.as_deref(), self.unsigned)?;
        let settings = self.settings()?;
        if let Some(output) = &self.output
            && output.extension().is_none_or(|end| end != "zlb")
        {
            return Err(usage(format!(
                "-o {}: a bundle's name ends with .zlb",
                output.display()
            )));
        }
        if let Some(what) = no_deployment(&self.deployment) {
            let shown = self.deployment.display().to_string();
            let mend = "give the deployment.yaml that names its plugins";
            return Err(Refused::from(Problem::new(shown, what, mend)).into());
        }
        // What is no file at all, or cannot be opened, is told as of any other file.
        open_input(&self.deployment, "give the deployment.yaml")?;
        let mut file = zlayer_deployment::read(&self.deployment).map_err(Refused::from)?;
        if let Some(release) = self.release {
            file.deployment.release = release;
        }
        let read = || {
            let images = file.images.iter().filter_map(file_of);
            let named = std::iter::once(&self.deployment)
                .chain(&self.key)
                .chain(&self.trust_list);
            named.map(PathBuf::as_path).chain(images)
        };
        if let Some(inputs) = &self.inputs {
            if let Some(input) = overwritten(inputs, read()) {
                return Err(usage(format!(
                    "--inputs {} would overwrite {}, which is read here: name another file",
                    inputs.display(),
                    input.display()
                )));
            }
            let failed = || format!("cannot write {}", inputs.display());
            fs::write(inputs, listed(&file.images)).with_context(failed)?;
        }
        let path = match &self.output {
            Some(path) => path.clone(),
            None => file_name(&file.deployment.name, &settings)?,
        };
        spare(&path, read())?;
        // What is signed for release comes straight from the compiler, whatever the user's other programs may
        // have done to the cache.
        let cache = match self.key {
            None => CodeCache::of_user(),
            Some(_) => None,
        };
        let access = access::for_images(&file.images, self.plain_http)?;
        let progress = Progress::start("reading plugins");
        let unpacked = Unpacked::read(file, settings, &access)?.keeping(cache);
        drop(progress);
        if let Some(dir) = path.parent().filter(|dir| !dir.as_os_str().is_empty()) {
            let failed = || format!("cannot make folder {}", dir.display());
            fs::create_dir_all(dir).with_context(failed)?;
        }
        let signer = Signer::choose(self.key.as_deref(), self.unsigned, "bundles")?;
        let start = Instant::now();
        let mut progress = None;
        let packed = unpacked.build(signer.key.as_ref(), |source| {
            // The last one goes before the next one shows.
            progress = None;
            progress = Some(Progress::start(&format!("compiling {source}")));
        });
        drop(progress);
        let mut packed = packed?;
        if let Some(list) = &self.trust_list {
            let trust = user_trust_by(Some(list))?;
            let note = packed.check_trust(signer.key.as_ref(), &trust);
            let context = || format!("by the trust list {}", list.display());
            packed.notes.extend(note.with_context(context)?);
        }
        let bytes = packed.write(&path, signer.key.as_ref())?;
        let elapsed = start.elapsed();

        let variables = packed.manifest.deployment.variables();
        let mut rows = vec![("services", services(&packed))];
        rows.push(("memory", packed.room.to_string()));
        if !variables.is_empty() {
            rows.push(("device has to know", variables.join(", ")));
        }
        let pulled: Vec<&str> = { packed.manifest.images.iter() }
            .flatten()
            .map(String::as_str)
            .collect();
        if !pulled.is_empty() {
            rows.push(("pulled", pulled.join("\n")));
        }
        let secrets = packed.manifest.deployment.secrets();
        if !secrets.is_empty() {
            rows.push(("has to have secrets", secrets.join(", ")));
        }
        if !packed.notes.is_empty() {
            rows.push(("to know", packed.notes.join("\n")));
        }
        let text = format!(
            "{}  {}  {:.1} s  {}\n{}",
            path.display(),
            show::size(bytes),
            elapsed.as_secs_f64(),
            signer.text,
            show::table(&rows)
        );
        let deployment = &packed.manifest.deployment;
        let json = json!({
            "path": path,
            "bytes": bytes,
            "milliseconds": u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX),
            "deployment": deployment.name,
            "release": deployment.release,
            "target": packed.manifest.target,
            "profile": packed.manifest.profile,
            "signer": signer.json,
            "services": services_json(&packed),
            "memory": packed.room,
            "variables": variables,
            "secrets": secrets,
            "notes": packed.notes,
        });
        Ok(Outcome { text, json })
    }

    /// The one kind of device that a bundle is for.
    fn settings(&self) -> Result<Settings> {
        let boards = Boards {
            board: self.board.as_deref(),
            dir: self.boards_dir.as_deref(),
        };
        let devices = Devices::read(&self.target, self.profile.as_deref())?;
        let mut settings = devices.settings_for(&boards)?;
        match (settings.pop(), settings.is_empty()) {
            (Some(one), true) => Ok(one),
            _ => Err(usage(
                "a bundle is for one target: pack one for each, with --target",
            )),
        }
    }
}

/// The images that are files. No path holds a zero byte.
fn listed(images: &[Image]) -> Vec<u8> {
    let paths = images.iter().filter_map(file_of);
    let bytes = paths.map(|path| path.as_os_str().as_bytes());
    bytes.flat_map(|path| [path, b"\0"].concat()).collect()
}

/// The file that an image is, if it is none of a registry.
fn file_of(image: &Image) -> Option<&Path> {
    match &image.source {
        ImageSource::File(path) => Some(path),
        ImageSource::Reference(_) => None,
    }
}

/// What a bundle is called unless its owner says.
fn file_name(name: &str, settings: &Settings) -> Result<PathBuf> {
    if name.is_empty() || name.contains(['/', '\0']) || name.starts_with('.') {
        let problem = Problem::new(
            "output",
            format!("the deployment's name, {name:?}, is none for a file"),
            "say which file to write with -o",
        );
        return Err(Refused::from(problem).into());
    }
    Ok(PathBuf::from(format!("{name}.{}.zlb", settings.target)))
}

/// A line for each service: name, roles, version.
fn services(packed: &Packed) -> String {
    let services = packed.manifest.deployment.services.iter();
    let lines = services.zip(&packed.roles).enumerate();
    let lines: Vec<String> = lines
        .map(|(place, (service, roles))| {
            let version = packed.artifact(place).map(|one| one.version.as_str());
            format!(
                "{} {}: {}",
                service.name.as_deref().unwrap_or_default(),
                version.unwrap_or_default(),
                roles
                    .iter()
                    .map(|role| role.name())
                    .collect::<Vec<_>>()
                    .join(", ")
            )
        })
        .collect();
    lines.join("\n")
}

fn services_json(packed: &Packed) -> Vec<Value> {
    let services = packed.manifest.deployment.services.iter();
    let services = services.zip(&packed.roles).enumerate();
    services
        .map(|(place, (service, roles)): (usize, (_, &Vec<Role>))| {
            json!({
                "name": service.name,
                "roles": roles,
                "version": packed.artifact(place).map(|one| one.version.as_str()),
                "image": packed.manifest.images.get(place),
                "digest": packed.artifact(place).map(Manifest::digest_text),
            })
        })
        .collect()
}
