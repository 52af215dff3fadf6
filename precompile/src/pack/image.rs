//! The plugins of a deployment as files: components to compile, and artifacts that are compiled already.

use std::io::Read as _;
use std::path::Path;

use anyhow::{Context as _, Result};
use object::read::elf::ElfFile64;
use object::{Endianness, Object as _, ObjectSection as _};
use zlayer_bundle::{
    ArtifactError, Bodies, CodeDescription, DESCRIPTION_SECTION, Manifest, Role, SecretKey,
    SignatureState, Trailer, TrustStore, check_digest_of, check_engine, seal,
};
use zlayer_deployment::ImageSource;
use zlayer_registry::Access;

use super::pulled::Pulled;
use crate::input::{classify, open_input};
use crate::{CodeCache, Input, Plugin, Problem, Refused, Settings, read_input};

/// The largest artifact, in bytes: as much as the largest component.
const ARTIFACT_MAX: u64 = 256 << 20;

/// A plugin that was read and not compiled yet, or that needs no compiling.
#[derive(Debug)]
pub(super) struct PluginFile {
    /// What the deployment says.
    pub(super) source: ImageSource,
    /// Where in a registry it came from, by its digest.
    pub(super) image: Option<String>,
    content: Content,
}

#[derive(Debug)]
enum Content {
    Plugin(Box<Plugin>),
    Artifact {
        bytes: Vec<u8>,
        manifest: Box<Manifest>,
        signature: SignatureState,
    },
}

/// A compiled plugin, ready for a bundle.
#[derive(Debug)]
pub struct Compiled {
    /// The whole file.
    pub bytes: Vec<u8>,
    /// What it says about itself.
    pub manifest: Manifest,
    /// Whether it has a signature, and whose.
    pub signature: SignatureState,
}

impl PluginFile {
    /// Reads and checks it: a component can be compiled for `settings`, an artifact was compiled for them.
    pub(super) fn read(
        source: &ImageSource,
        settings: &Settings,
        access: &Access,
    ) -> Result<PluginFile> {
        let shown = || source.to_string();
        let (name, image, input, bytes) = match source {
            ImageSource::File(path) => {
                let name = path.file_stem().and_then(|stem| stem.to_str());
                let name = name.map(str::to_owned);
                let name = name.with_context(|| format!("{source} has no name that could be used"));
                match read_input(path)? {
                    Input::Compiled => (name, None, Input::Compiled, read_artifact(path)?),
                    input => (name, None, input, Vec::new()),
                }
            }
            ImageSource::Reference(text) => {
                let pulled = Pulled::fetch(text, settings.target, access)?;
                let (name, image) = (Ok(pulled.name), Some(pulled.image));
                match pulled.bytes {
                    bytes if bytes.starts_with(b"\x7fELF") => (name, image, Input::Compiled, bytes),
                    bytes => (name, image, classify(Path::new(text), bytes)?, Vec::new()),
                }
            }
        };
        let content = match input {
            Input::Compiled => check_artifact(bytes, settings).with_context(shown)?,
            input => {
                let plugin = Plugin::prepare(&name?, None, input).with_context(shown)?;
                plugin.check_room(settings)?;
                Content::Plugin(Box::new(plugin))
            }
        };
        Ok(PluginFile {
            source: source.clone(),
            image,
            content,
        })
    }

    /// What it can do.
    pub(super) fn roles(&self) -> &[Role] {
        match &self.content {
            Content::Plugin(plugin) => &plugin.checked.roles,
            Content::Artifact { manifest, .. } => &manifest.roles,
        }
    }

    /// The names of all that it imports.
    pub(super) fn imports(&self) -> &[String] {
        match &self.content {
            Content::Plugin(plugin) => &plugin.checked.imports,
            Content::Artifact { manifest, .. } => &manifest.imports,
        }
    }

    /// Bytes that the memories of one instance begin with.
    pub(super) fn memory_initial(&self) -> u64 {
        match &self.content {
            Content::Plugin(plugin) => plugin.checked.memory_initial,
            Content::Artifact { manifest, .. } => manifest.memory_initial,
        }
    }

    /// What to know of it, where it was compiled for another board than the bundle is for.
    pub(super) fn note(&self, settings: &Settings) -> Option<String> {
        let Content::Artifact { manifest, .. } = &self.content else {
            return None;
        };
        let board = settings.board.as_ref()?;
        let mut beyond = manifest.cpu_flags.clone();
        beyond.retain(|flag| !settings.cpu_flags.contains(flag));
        let path = &self.source;
        match (&manifest.board, beyond.is_empty()) {
            (_, false) => Some(format!(
                "{path} was compiled to use {}, which the board {} does not name: a processor without that \
                 refuses it",
                beyond.join(" "),
                board.name
            )),
            (Some(other), true) if other != board => Some(format!(
                "{path} was compiled for the board {other}, and this bundle is for {board}: a daemon takes the \
                 lower figures",
            )),
            _ => None,
        }
    }

    /// Compiles it where it is not, and signs it where it has no signature.
    pub(super) fn build(
        self,
        settings: &Settings,
        key: Option<&SecretKey>,
        cache: Option<&CodeCache>,
    ) -> Result<Compiled> {
        match self.content {
            Content::Plugin(plugin) => {
                let bytes = plugin.build_with(settings, key, cache)?.bytes;
                Compiled::of(bytes)
            }
            Content::Artifact {
                mut bytes,
                manifest,
                signature: SignatureState::Unsigned,
            } if key.is_some() => {
                bytes.truncate(usize::try_from(manifest.artifact_len)?);
                Compiled::of(seal(bytes, *manifest, key)?)
            }
            Content::Artifact {
                bytes,
                manifest,
                signature,
            } => Ok(Compiled {
                bytes,
                manifest: *manifest,
                signature,
            }),
        }
    }
}

impl Compiled {
    fn of(bytes: Vec<u8>) -> Result<Compiled> {
        let Trailer {
            manifest,
            signature,
        } = Trailer::from_bytes(&bytes)?;
        Ok(Compiled {
            bytes,
            manifest,
            signature,
        })
    }

    /// What its owner should know of its signature, beside one by `key`.
    pub(super) fn note(&self, key: Option<&SecretKey>, source: &ImageSource) -> Option<String> {
        let signer = self.signature.key()?;
        let own = key.map(SecretKey::public);
        (own != Some(signer)).then(|| {
            format!(
                "{source} keeps its signature by key {}: the device has to trust that one, too",
                signer.id()
            )
        })
    }

    /// The engine's description of its code, whose size in memory follows from it.
    pub(super) fn description(&self) -> CodeDescription {
        let file = ElfFile64::<Endianness>::parse(&*self.bytes).ok();
        let section = file.and_then(|file| {
            let section = file.section_by_name(DESCRIPTION_SECTION)?;
            usize::try_from(section.size()).ok()
        });
        CodeDescription {
            // As on a device: where there is none, all of the file is taken for it.
            bytes: section.unwrap_or(self.bytes.len()),
            counted: self.manifest.engine,
        }
    }

    /// Whether a service that plays these roles may hold whole bodies; `said` is what its settings say.
    pub(super) fn transforms_bodies(&self, said: Option<Bodies>) -> bool {
        let bodies = said.or(self.manifest.bodies).unwrap_or_default();
        bodies.request || bodies.response
    }
}

fn read_artifact(path: &Path) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    // One byte more tells whether there are too many.
    let (file, _) = open_input(path, "give the .wasm file")?;
    file.take(ARTIFACT_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > ARTIFACT_MAX {
        let what = format!(
            "it has more than {} MB, more than any plugin",
            ARTIFACT_MAX >> 20
        );
        let problem = Problem::new("artifact", what, "give the .wasm file");
        return Err(Refused::from(problem).into());
    }
    Ok(bytes)
}

fn check_artifact(bytes: Vec<u8>, settings: &Settings) -> Result<Content> {
    let Trailer {
        manifest,
        signature,
    } = Trailer::from_bytes(&bytes)?;
    // A signature must not vouch for code that was changed since it was compiled.
    check_digest_of(&bytes, &manifest)?;
    let error = match signature {
        SignatureState::Invalid(key) => Some(ArtifactError::BadSignature { key: key.id() }),
        _ if manifest.target != settings.target => Some(ArtifactError::WrongTarget {
            found: manifest.target,
            wanted: settings.target,
        }),
        _ => match check_engine(&manifest.engine_version, &TrustStore::empty()) {
            Err(error) => Some(error),
            Ok(()) if manifest.profile != settings.profile => Some(ArtifactError::WrongProfile {
                found: manifest.profile,
                wanted: settings.profile,
            }),
            Ok(()) => None,
        },
    };
    match error {
        Some(error) => Err(error.into()),
        None => Ok(Content::Artifact {
            bytes,
            manifest: Box::new(manifest),
            signature,
        }),
    }
}
