//! `explain`: what stands in a plugin's source where a device says that it trapped.

use std::io::Read as _;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use argh::FromArgs;
use serde_json::json;
use zlayer_bundle::{Profile, Target, UnknownProfile, read_manifest};
use zlayer_precompile::{Place, Settings};

use super::{Outcome, about, open_artifact, prepare, usage};

/// name the functions, and the lines where the plugin tells them, of the addresses that a device logs with a
/// trap
#[derive(FromArgs)]
#[argh(subcommand, name = "explain")]
pub(crate) struct Explain {
    /// the .wasm file that was compiled, as it was then
    #[argh(positional)]
    plugin: PathBuf,

    /// the addresses, such as 0x1f3a0
    #[argh(positional)]
    addresses: Vec<String>,

    /// the .cwasm file that runs on the device: tells what it was compiled for, and is checked against the
    /// plugin
    #[argh(option)]
    artifact: Option<PathBuf>,

    /// what it was compiled for, without --artifact: x86_64, aarch64 or armv7 (default: this machine's)
    #[argh(option)]
    target: Option<Target>,

    /// its engine settings, without --artifact: compact or wide (default compact)
    #[argh(option)]
    profile: Option<String>,

    /// print one JSON object
    #[argh(switch)]
    #[expect(
        dead_code,
        reason = "`main` looks for the word itself, for errors in the arguments too"
    )]
    json: bool,
}

impl Explain {
    pub(crate) fn run(self) -> Result<Outcome> {
        // Commas and arrows come along when a line of the log is copied.
        let words = self
            .addresses
            .iter()
            .flat_map(|word| word.split([',', '<']));
        let words = words.map(str::trim).filter(|word| !word.is_empty());
        let addresses: Vec<(&str, usize)> = words
            .map(|word| Ok((word, address(word)?)))
            .collect::<Result<_>>()?;
        if addresses.is_empty() {
            return Err(usage(
                "which addresses? They stand behind the trap in the device's log",
            ));
        }
        let plugin = prepare(&self.plugin, None)?;
        let explainer = plugin.explainer(&self.settings()?)?;
        if let Some(path) = &self.artifact {
            let mut bytes = Vec::new();
            { open_artifact(path)?.read_to_end(&mut bytes) }
                .with_context(|| format!("cannot read {}", path.display()))?;
            let manifest = about(path, read_manifest(&open_artifact(path)?))?.0;
            let length = usize::try_from(manifest.artifact_len).unwrap_or(usize::MAX);
            explainer.check(bytes.get(..length).unwrap_or(&bytes))?;
        }
        let (mut text, mut places) = (String::new(), Vec::new());
        for (word, address) in addresses {
            let place = explainer.place(address)?;
            text += &shown(word, place.as_ref());
            places.push(json!({
                "address": address,
                "function": place.as_ref().map(|place| &place.function),
                "lines": place.iter().flat_map(|place| &place.lines).map(|line| json!({
                    "function": line.function,
                    "file": line.file,
                    "line": line.line,
                })).collect::<Vec<_>>(),
            }));
        }
        Ok(Outcome {
            text,
            json: json!({ "places": places }),
        })
    }

    fn settings(&self) -> Result<Settings> {
        if let Some(path) = &self.artifact {
            if self.target.is_some() || self.profile.is_some() {
                return Err(usage("--artifact says for what it was compiled"));
            }
            let manifest = about(path, read_manifest(&open_artifact(path)?))?.0;
            return Ok(Settings {
                cpu_flags: manifest.cpu_flags,
                ..Settings::new(manifest.target, manifest.profile)
            });
        }
        let target = self.target.or_else(Target::host);
        let target = target.ok_or_else(|| usage("for what was it compiled? Name a --target"))?;
        let profile = match &self.profile {
            None => Profile::default(),
            Some(name) => name
                .parse()
                .map_err(|error: UnknownProfile| usage(error.to_string()))?,
        };
        Ok(Settings::new(target, profile))
    }
}

fn address(word: &str) -> Result<usize> {
    let digits = word.strip_prefix("0x");
    let read = digits.and_then(|digits| usize::from_str_radix(digits, 16).ok());
    read.ok_or_else(|| usage(format!("'{word}' is no address, such as 0x1f3a0")))
}

/// A place for people: its function, then its lines, innermost first.
fn shown(word: &str, place: Option<&Place>) -> String {
    let Some(place) = place else {
        return format!("{word}  not in the plugin's own code\n");
    };
    let mut text = format!("{word}  {}\n", place.function);
    for line in &place.lines {
        text += &format!("    at {}", line.file);
        if let Some(number) = line.line {
            text += &format!(":{number}");
        }
        match &line.function {
            Some(function) if *function != place.function => text += &format!("  in {function}\n"),
            _ => text += "\n",
        }
    }
    text
}
