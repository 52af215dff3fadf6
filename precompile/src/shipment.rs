//! Files on their way to a registry: looked at before they go, so that nobody pulls what no device takes.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use zlayer_bundle::{
    ArtifactError, ENGINE_VERSION, SignatureState, Target, check_digest, open_regular,
    read_manifest,
};
use zlayer_registry::{ComponentFile, Content, Kind, TargetFile};

use crate::input::{BUNDLE, open_input};
use crate::{BundleFile, Input, Plugin, Problem, Refused, read_input};

/// Files that go to a registry under one reference.
#[derive(Debug)]
pub struct Shipment {
    /// What they are.
    pub kind: Kind,
    /// As a registry keeps them.
    pub content: Content,
    /// What their owner should know.
    pub notes: Vec<String>,
}

impl Shipment {
    /// Reads and checks files that go together: one component, or artifacts or bundles for one target each.
    ///
    /// # Errors
    ///
    /// A file is damaged, or no device would take it, or they do not go together.
    pub fn read(paths: &[PathBuf]) -> Result<Shipment> {
        let kinds = paths.iter().map(|path| kind_of(path));
        let kinds = kinds.collect::<Result<Vec<Kind>>>()?;
        let Some(kind) = kinds.first().copied() else {
            return Err(Refused::from(Problem::new("files", "there are none", "")).into());
        };
        if let Some(place) = kinds.iter().position(|other| *other != kind) {
            let what = format!(
                "it is a {}, and {} is a {}: under one name goes one kind",
                kinds[place].name(),
                paths[0].display(),
                kind.name()
            );
            let mend = "push it under a name of its own";
            return Err(refused(&paths[place], what, mend));
        }
        match (kind, paths) {
            (Kind::Component, [path]) => Shipment::component(path),
            (Kind::Component, [_, other, ..]) => {
                let what = "it is a second component: one is for all targets";
                Err(refused(other, what, "push it under a name of its own"))
            }
            _ => Shipment::targets(kind, paths),
        }
    }

    fn component(path: &Path) -> Result<Shipment> {
        let input = read_input(path)?;
        if matches!(input, Input::Module(_)) {
            let what = "it is a core module, and registries keep components";
            let mend = "build a component: `cargo build --target wasm32-wasip2 --release`";
            return Err(refused(path, what, mend));
        }
        let plugin = Plugin::prepare("plugin", None, input);
        let plugin = plugin.with_context(|| path.display().to_string())?;
        let content = Content::component(ComponentFile {
            path: path.to_owned(),
            version: plugin.version,
            exports: plugin.checked.exports,
            imports: plugin.checked.imports,
        })?;
        Ok(Shipment {
            kind: Kind::Component,
            content,
            notes: Vec::new(),
        })
    }

    fn targets(kind: Kind, paths: &[PathBuf]) -> Result<Shipment> {
        let (mut files, mut notes) = (Vec::<TargetFile>::new(), Vec::new());
        for path in paths {
            let (file, signature) = match kind {
                Kind::Bundle => bundle(path)?,
                _ => artifact(path).with_context(|| path.display().to_string())?,
            };
            if let Some(other) = files.iter().find(|other| other.target == file.target) {
                let what = format!(
                    "it is for {}, as {} is: there is one for each target",
                    file.target,
                    other.path.display()
                );
                return Err(refused(path, what, "leave one of them out"));
            }
            if signature == SignatureState::Unsigned {
                let path = path.display();
                notes.push(format!(
                    "{path} is not signed: a device refuses it unless told otherwise"
                ));
            }
            files.push(file);
        }
        Ok(Shipment {
            kind,
            content: Content::targets(kind, files)?,
            notes,
        })
    }
}

/// What a file is, by how it begins.
fn kind_of(path: &Path) -> Result<Kind> {
    let mut front = Vec::new();
    let (opened, _) = open_input(path, "give the file that is to be sent")?;
    // What cannot be read now is told by whoever reads all of it.
    let _ = opened.take(BUNDLE.len() as u64).read_to_end(&mut front);
    Ok(match front.as_slice() {
        front if front.starts_with(b"\x7fELF") => Kind::Artifact,
        BUNDLE => Kind::Bundle,
        _ => Kind::Component,
    })
}

fn artifact(path: &Path) -> Result<(TargetFile, SignatureState), ArtifactError> {
    let (file, _) = open_regular(path).map_err(ArtifactError::Io)?;
    let (manifest, signature) = read_manifest(&file)?;
    check_digest(&file, &manifest)?;
    if let SignatureState::Invalid(key) = &signature {
        return Err(ArtifactError::BadSignature { key: key.id() });
    }
    let file = target_file(path, Kind::Artifact, manifest.target);
    let file = TargetFile {
        name: manifest.name,
        version: manifest.version,
        engine: manifest.engine_version,
        profile: manifest.profile.to_string(),
        ..file
    };
    Ok((file, signature))
}

fn bundle(path: &Path) -> Result<(TargetFile, SignatureState)> {
    let bundle = BundleFile::read(path)?;
    { bundle.check_signatures() }.with_context(|| path.display().to_string())?;
    let (manifest, signature) = (bundle.head.manifest, bundle.head.signature);
    let file = target_file(path, Kind::Bundle, manifest.target);
    let file = TargetFile {
        name: manifest.deployment.name,
        version: manifest.deployment.release.to_string(),
        profile: manifest.profile.to_string(),
        ..file
    };
    Ok((file, signature))
}

fn target_file(path: &Path, kind: Kind, target: Target) -> TargetFile {
    TargetFile {
        path: path.to_owned(),
        kind,
        target,
        name: String::new(),
        version: String::new(),
        engine: ENGINE_VERSION.to_owned(),
        profile: String::new(),
    }
}

fn refused(path: &Path, problem: impl Into<String>, mend: &str) -> anyhow::Error {
    Refused::from(Problem::new(path.display().to_string(), problem, mend)).into()
}

/// What a registry refuses, as this tool tells it; what may go better another time stays what it is.
pub fn of_registry(error: zlayer_registry::Error) -> anyhow::Error {
    match error.is_refusal() {
        true => Refused::from(Problem::new("registry", error.to_string(), error.mend())).into(),
        false => error.into(),
    }
}
