//! Files as a registry keeps them: blobs, a manifest for each, and an index over those that are for one platform
//! each.
//!
//! The same files always become the same bytes: nothing here asks for the time.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::json;
use sha2::{Digest as _, Sha256};
use zlayer_bundle::{Target, open_regular};

use crate::document::{Descriptor, Index, Manifest, media};
use crate::{Error, Platform};

/// The name of a file, for tools that write one.
const TITLE: &str = "org.opencontainers.image.title";
/// The version of what is in it.
const VERSION: &str = "org.opencontainers.image.version";
/// When a component's description was made. It has to say, and the same file has to give the same bytes.
const CREATED: &str = "1970-01-01T00:00:00Z";

/// A component, which every device can have compiled.
#[derive(Clone, Debug)]
pub struct ComponentFile {
    /// The file.
    pub path: PathBuf,
    /// Its version.
    pub version: String,
    /// What it exports.
    pub exports: Vec<String>,
    /// What it imports.
    pub imports: Vec<String>,
}

/// Something that was made for one processor.
#[derive(Clone, Debug)]
pub struct TargetFile {
    /// The file.
    pub path: PathBuf,
    /// What it is: [`Kind::Artifact`] or [`Kind::Bundle`].
    pub kind: Kind,
    /// The processor.
    pub target: Target,
    /// The name of the plugin or of the deployment.
    pub name: String,
    /// Its version or release.
    pub version: String,
    /// The engine that it is for.
    pub engine: String,
    /// The engine's settings that it is for.
    pub profile: String,
}

/// What a registry holds for us.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A component: `.wasm`.
    Component,
    /// A compiled artifact: `.cwasm`.
    Artifact,
    /// A bundle: `.zlb`.
    Bundle,
}

impl Kind {
    /// The kind of a file in a manifest, by its media type.
    pub(crate) fn of_layer(media_type: &str) -> Option<Kind> {
        match media_type {
            media::WASM => Some(Kind::Component),
            media::CWASM => Some(Kind::Artifact),
            media::ZLB => Some(Kind::Bundle),
            _ => None,
        }
    }

    /// The media types of the whole, of its configuration and of its file.
    fn media(self) -> [&'static str; 3] {
        match self {
            Kind::Component => [media::COMPONENT, media::WASM_CONFIG, media::WASM],
            Kind::Artifact => [media::ARTIFACT, media::CONFIG, media::CWASM],
            Kind::Bundle => [media::BUNDLE, media::CONFIG, media::ZLB],
        }
    }

    /// As people call it.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Component => "component",
            Kind::Artifact => "compiled artifact",
            Kind::Bundle => "bundle",
        }
    }
}

/// All that goes to a registry under one reference.
#[derive(Debug)]
pub struct Content {
    pub(crate) members: Vec<Member>,
    /// The index, where there is one. Without, there is one member.
    pub(crate) index: Option<Bytes>,
}

/// A manifest with what it points to.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) manifest: Bytes,
    pub(crate) config: Bytes,
    pub(crate) layer: Layer,
    pub(crate) platform: Option<Platform>,
}

/// Bytes under their digest.
#[derive(Debug)]
pub(crate) struct Bytes {
    pub(crate) bytes: Vec<u8>,
    pub(crate) digest: String,
}

/// A file under its digest.
#[derive(Debug)]
pub(crate) struct Layer {
    pub(crate) path: PathBuf,
    pub(crate) digest: String,
    pub(crate) size: u64,
}

impl Content {
    /// A component alone.
    ///
    /// # Errors
    ///
    /// The file cannot be read.
    pub fn component(file: ComponentFile) -> Result<Content, Error> {
        let layer = Layer::of(file.path)?;
        let config = json!({
            "created": CREATED,
            "architecture": "wasm",
            "os": "wasip2",
            "layerDigests": [layer.digest],
            "component": { "exports": file.exports, "imports": file.imports },
        });
        let config = Bytes::of(&config);
        let manifest = manifest(Kind::Component, &config, &layer, &file.version);
        Ok(Content {
            members: vec![Member {
                manifest: Bytes::of(&manifest),
                config,
                layer,
                platform: None,
            }],
            index: None,
        })
    }

    /// Files for one processor each, all of one kind.
    ///
    /// # Errors
    ///
    /// A file cannot be read.
    pub fn targets(kind: Kind, files: Vec<TargetFile>) -> Result<Content, Error> {
        let mut members = Vec::new();
        let mut files = files;
        // Whatever order they are named in.
        files.sort_by_key(|file| file.target);
        for file in files {
            let platform = Platform::of(file.target);
            let layer = Layer::of(file.path)?;
            let mut config = json!({
                "architecture": platform.architecture,
                "os": platform.os,
                "layerDigests": [layer.digest],
                "name": file.name,
                "version": file.version,
                "target": file.target,
                "engine": file.engine,
                "profile": file.profile,
            });
            if let Some(variant) = &platform.variant {
                config["variant"] = json!(variant);
            }
            let config = Bytes::of(&config);
            let manifest = manifest(kind, &config, &layer, &file.version);
            members.push(Member {
                manifest: Bytes::of(&manifest),
                config,
                layer,
                platform: Some(platform),
            });
        }
        let [artifact_type, ..] = kind.media();
        let manifests = members.iter().map(|member| Descriptor {
            platform: member.platform.clone(),
            artifact_type: Some(artifact_type.to_owned()),
            ..member.manifest.descriptor(media::MANIFEST)
        });
        let index = Index {
            schema_version: 2,
            media_type: media::INDEX.to_owned(),
            artifact_type: Some(artifact_type.to_owned()),
            manifests: manifests.collect(),
            annotations: BTreeMap::new(),
        };
        Ok(Content {
            index: Some(Bytes::of(&index)),
            members,
        })
    }

    /// The document that the reference leads to, and its media type.
    pub(crate) fn top(&self) -> Option<(&Bytes, &'static str)> {
        match &self.index {
            Some(index) => Some((index, media::INDEX)),
            None => Some((&self.members.first()?.manifest, media::MANIFEST)),
        }
    }

    /// The digest of the document that the reference leads to.
    pub fn digest(&self) -> &str {
        self.top()
            .map(|(bytes, _)| bytes.digest.as_str())
            .unwrap_or_default()
    }

    /// The platforms that it is for, in the order of their targets; none for a component.
    pub fn platforms(&self) -> Vec<String> {
        let platforms = self.members.iter().filter_map(|one| one.platform.as_ref());
        platforms.map(ToString::to_string).collect()
    }
}

impl Bytes {
    /// A document as it is kept. Its keys stand in one order.
    fn of(document: &impl Serialize) -> Bytes {
        // Documents of this crate have nothing that JSON cannot say.
        let bytes = serde_json::to_vec(document).unwrap_or_default();
        Bytes {
            digest: digest_of(&bytes),
            bytes,
        }
    }

    pub(crate) fn descriptor(&self, media_type: &str) -> Descriptor {
        descriptor(media_type, &self.digest, self.bytes.len() as u64)
    }
}

impl Layer {
    fn of(path: PathBuf) -> Result<Layer, Error> {
        let (digest, size) = digest_of_file(&path).map_err(|source| Error::File {
            what: format!("cannot read {}", path.display()),
            source,
        })?;
        Ok(Layer { path, digest, size })
    }
}

fn manifest(kind: Kind, config: &Bytes, layer: &Layer, version: &str) -> Manifest {
    let [artifact_type, config_type, layer_type] = kind.media();
    let title = layer.path.file_name().unwrap_or_default().to_string_lossy();
    let annotation = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    Manifest {
        schema_version: 2,
        media_type: media::MANIFEST.to_owned(),
        artifact_type: Some(artifact_type.to_owned()),
        config: config.descriptor(config_type),
        layers: vec![Descriptor {
            annotations: BTreeMap::from([annotation(TITLE, &title)]),
            ..descriptor(layer_type, &layer.digest, layer.size)
        }],
        annotations: BTreeMap::from([annotation(VERSION, version)]),
    }
}

fn descriptor(media_type: &str, digest: &str, size: u64) -> Descriptor {
    Descriptor {
        media_type: media_type.to_owned(),
        digest: digest.to_owned(),
        size,
        platform: None,
        artifact_type: None,
        annotations: BTreeMap::new(),
    }
}

/// The digest of bytes, as registries write it.
pub(crate) fn digest_of(bytes: &[u8]) -> String {
    written(&Sha256::digest(bytes))
}

fn written(digest: &[u8]) -> String {
    let digits = digest.iter().map(|byte| format!("{byte:02x}"));
    format!("sha256:{}", digits.collect::<String>())
}

fn digest_of_file(path: &Path) -> std::io::Result<(String, u64)> {
    copy(&mut open_regular(path)?.0, &mut std::io::sink())
}

/// Copies to the end, and answers the digest and the length of what was copied.
pub(crate) fn copy(from: &mut impl Read, to: &mut impl Write) -> std::io::Result<(String, u64)> {
    /// Bytes read at a time.
    const PIECE: usize = 64 << 10;
    let (mut hash, mut size, mut buffer) = (Sha256::new(), 0, vec![0; PIECE]);
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return Ok((written(&hash.finalize()), size)),
            Ok(count) => {
                hash.update(&buffer[..count]);
                to.write_all(&buffer[..count])?;
                size += count as u64;
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
