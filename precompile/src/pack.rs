//! From a deployment to the one file that a device takes: its plugins compiled, checked against what is said of
//! them, and put behind a signed head.

mod check;
mod image;
mod pulled;
mod room;

use std::io;
use std::path::Path;

use anyhow::{Context as _, Result};
use zlayer_bundle::{
    Blob, BundleHead, BundleManifest, Deployment, Manifest, Role, SecretKey, Service, TrustStore,
    check_engine, check_revoked, seal_bundle,
};
use zlayer_deployment::{DeploymentFile, Image, ImageSource};
use zlayer_registry::Access;

use crate::{CodeCache, Problem, Refused, Settings, write_pieces_atomically};
use check::check_services;
pub use image::Compiled;
use image::PluginFile;
pub use room::{Ceiling, Room, RoomRow};

/// A deployment whose plugins were read and fit to what is said of them, and were not compiled yet.
#[derive(Debug)]
pub struct Unpacked {
    deployment: Deployment,
    settings: Settings,
    /// Each once, in the order in which services name them first.
    files: Vec<PluginFile>,
    /// For each service the place of its file.
    places: Vec<usize>,
    /// For each service the roles that it plays.
    roles: Vec<Vec<Role>>,
    /// For each service the key that says how many of its instances are kept.
    least_keys: Vec<String>,
    notes: Vec<String>,
    /// Where code is kept that was compiled.
    cache: Option<CodeCache>,
}

/// A deployment with its artifacts, ready to be written.
#[derive(Debug)]
pub struct Packed {
    /// What stands in front of the artifacts.
    pub manifest: BundleManifest,
    /// For each service the roles that it plays.
    pub roles: Vec<Vec<Role>>,
    /// What its owner should know.
    pub notes: Vec<String>,
    /// What it takes of a device's memory.
    pub room: Room,
    /// In the order of the manifest's blobs.
    artifacts: Vec<Compiled>,
}

impl Unpacked {
    /// Reads and checks the plugins of a deployment, as a device with these settings would. Those that are in a
    /// registry are fetched, each once.
    ///
    /// # Errors
    ///
    /// [`Refused`] with all that a device would refuse, or with what is wrong with each file that is no plugin.
    pub fn read(file: DeploymentFile, settings: Settings, access: &Access) -> Result<Unpacked> {
        let DeploymentFile {
            deployment,
            images,
            least_keys,
            notes,
        } = file;
        let mut files: Vec<PluginFile> = Vec::new();
        let (mut places, mut errors) = (Vec::new(), Vec::new());
        for image in &images {
            match place_of(image, &mut files, &settings, access) {
                Ok(place) => places.push(place),
                Err(error) => errors.push((image, error)),
            }
        }
        refuse_all(errors)?;
        let services = described(&deployment, &images, &files, &places);
        let checked = check_services(&services)?;
        let mut notes: Vec<String> = notes.iter().map(ToString::to_string).collect();
        notes.extend(checked.notes);
        notes.extend(files.iter().filter_map(|file| file.note(&settings)));
        Ok(Unpacked {
            roles: checked.roles,
            deployment,
            settings,
            files,
            places,
            least_keys,
            notes,
            cache: None,
        })
    }

    /// Has code taken from a cache that was compiled before, and kept there.
    pub fn keeping(self, cache: Option<CodeCache>) -> Unpacked {
        Unpacked { cache, ..self }
    }

    /// Compiles what is not compiled yet and signs it. `tell` hears of each file before its turn.
    ///
    /// # Errors
    ///
    /// [`Refused`] when the compiler refuses a plugin, or a device with these settings has no room for them.
    pub fn build(
        self,
        key: Option<&SecretKey>,
        mut tell: impl FnMut(&ImageSource),
    ) -> Result<Packed> {
        let Unpacked {
            deployment,
            settings,
            files,
            places,
            roles,
            least_keys,
            mut notes,
            cache,
        } = self;
        let (mut artifacts, mut blobs) = (Vec::<Compiled>::new(), Vec::<Blob>::new());
        let mut blob_of_file = Vec::new();
        let images: Vec<Option<String>> = { places.iter() }
            .map(|place| files[*place].image.clone())
            .collect();
        for file in files {
            tell(&file.source);
            let source = file.source.clone();
            let built = file.build(&settings, key, cache.as_ref());
            let built = built.with_context(|| source.to_string())?;
            notes.extend(built.note(key, &source));
            let blob = Blob::of(&built.bytes);
            // Two files may hold the same.
            let known = blobs.iter().position(|other| *other == blob);
            blob_of_file.push(known.unwrap_or(blobs.len()));
            if known.is_none() {
                blobs.push(blob);
                artifacts.push(built);
            }
        }
        let blob_of_service: Vec<usize> = places.iter().map(|place| blob_of_file[*place]).collect();
        let members: Vec<_> = { deployment.services.iter() }
            .zip(&roles)
            .zip(&blob_of_service)
            .map(|((service, roles), blob)| (service, roles.as_slice(), &artifacts[*blob]))
            .collect();
        let room = Room::of(
            &deployment.device,
            settings.board.as_ref(),
            &members,
            &least_keys,
        );
        room.check()?;
        notes.extend(room.notes.iter().cloned());
        let manifest = BundleManifest {
            target: settings.target,
            profile: settings.profile,
            deployment,
            blobs,
            // There are fewer services than a byte counts.
            artifacts: blob_of_service.iter().map(|blob| *blob as u32).collect(),
            images,
        };
        Ok(Packed {
            manifest,
            roles,
            notes,
            room,
            artifacts,
        })
    }
}

impl Packed {
    /// What the artifact of the service at this place says about itself.
    pub fn artifact(&self, service: usize) -> Option<&Manifest> {
        let blob = *self.manifest.artifacts.get(service)?;
        let compiled = self.artifacts.get(usize::try_from(blob).ok()?)?;
        Some(&compiled.manifest)
    }

    /// Holds what `key` is to sign, and what is in it, to a trust list, as a device would. Answers what its owner may
    /// not have thought of.
    ///
    /// # Errors
    ///
    /// A device with this list would refuse it.
    pub fn check_trust(
        &self,
        key: Option<&SecretKey>,
        trust: &TrustStore,
    ) -> Result<Option<String>> {
        let head = seal_bundle(&self.manifest, key)?;
        BundleHead::read(&mut head.as_slice())?.check_revoked(trust)?;
        for artifact in &self.artifacts {
            let Compiled {
                manifest,
                signature,
                ..
            } = artifact;
            check_revoked(manifest, signature, trust)
                .and_then(|()| check_engine(&manifest.engine_version, trust))
                .with_context(|| manifest.name.clone())?;
        }
        let (Some(key), Some(list)) = (key, trust.list()) else {
            return Ok(None);
        };
        let key = key.public();
        Ok((!list.keys.contains(&key)).then(|| {
            format!(
                "trust list {} does not name key {}, which signs this: it counts on devices that have its .pub file \
                 in a key folder",
                list.number,
                key.id()
            )
        }))
    }

    /// Writes the bundle to a file, whole or not at all, and answers its length in bytes. The same plugins, key
    /// and settings always give the same bytes.
    ///
    /// # Errors
    ///
    /// No device would take it, or it cannot be written.
    pub fn write(&self, path: &Path, key: Option<&SecretKey>) -> Result<u64> {
        let head = seal_bundle(&self.manifest, key)?;
        let artifacts = self.artifacts.iter().map(|one| one.bytes.as_slice());
        let pieces: Vec<&[u8]> = std::iter::once(head.as_slice()).chain(artifacts).collect();
        write_pieces_atomically(path, &pieces, 0o644)?;
        Ok(pieces.iter().map(|piece| piece.len() as u64).sum())
    }
}

/// A service, and the plugin that it is.
#[derive(Clone, Copy, Debug)]
struct Described<'a> {
    service: &'a Service,
    image: &'a Image,
    roles: &'a [Role],
    imports: &'a [String],
    memory_initial: u64,
}

impl<'a> Described<'a> {
    /// Its name on the device.
    fn name(&self) -> &'a str {
        self.service.name.as_deref().unwrap_or_default()
    }

    /// Something that is wrong with what the first of these keys says that the file has, or else with the image.
    fn problem(&self, keys: &[&str], what: impl Into<String>, mend: impl Into<String>) -> Problem {
        let (place, path) = self.image.spot(keys);
        Problem::new(format!("{place}: {path}"), what, mend)
    }
}

fn described<'a>(
    deployment: &'a Deployment,
    images: &'a [Image],
    files: &'a [PluginFile],
    places: &[usize],
) -> Vec<Described<'a>> {
    let services = deployment.services.iter().zip(images);
    services
        .zip(places)
        .map(|((service, image), place)| {
            let file = &files[*place];
            Described {
                service,
                image,
                roles: file.roles(),
                imports: file.imports(),
                memory_initial: file.memory_initial(),
            }
        })
        .collect()
}

/// The place of an image's file among those that were read, which it joins if it is new.
fn place_of(
    image: &Image,
    files: &mut Vec<PluginFile>,
    settings: &Settings,
    access: &Access,
) -> Result<usize> {
    let source = &image.source;
    if let Some(known) = files.iter().position(|file| file.source == *source) {
        return Ok(known);
    }
    let read = PluginFile::read(source, settings, access);
    files.push(read.map_err(|error| looked_for(image, error))?);
    Ok(files.len() - 1)
}

/// The error, with the folder that a relative path counts from where there is no such file.
fn looked_for(image: &Image, error: anyhow::Error) -> anyhow::Error {
    let is_missing = { error.chain() }
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|error| error.kind() == io::ErrorKind::NotFound);
    let file = &image.place.file;
    let folder = file.parent().unwrap_or(Path::new(""));
    match &image.source {
        ImageSource::File(path) if is_missing && path.starts_with(folder) => {
            // The empty path is the current folder.
            let absolute = std::path::absolute(folder.join("."));
            let folder = absolute.as_deref().unwrap_or(folder).display();
            error.context(format!(
                "a relative path counts from {folder}, the folder of {}",
                file.display()
            ))
        }
        _ => error,
    }
}

/// All errors as one, each with the place where its file is named: one alone as it is, several as what is refused.
fn refuse_all(mut errors: Vec<(&Image, anyhow::Error)>) -> Result<()> {
    let named_at = |image: &Image| format!("{}: {}", image.place, image.path);
    if errors.len() <= 1 {
        return match errors.pop() {
            Some((image, error)) => Err(error.context(named_at(image))),
            None => Ok(()),
        };
    }
    let problems = errors.into_iter().flat_map(|(image, error)| {
        let place = named_at(image);
        match error.downcast_ref::<Refused>() {
            Some(refused) if !refused.problems.is_empty() => {
                let problems = refused.problems.iter().cloned();
                let placed = problems.map(|problem| Problem {
                    item: format!("{place}: {}", problem.item),
                    ..problem
                });
                placed.collect()
            }
            _ => vec![Problem::new(place, format!("{error:#}"), "")],
        }
    });
    Err(Refused {
        problems: problems.collect(),
    }
    .into())
}

/// What the reader of the file has refused, as this tool tells it.
impl From<zlayer_deployment::Refusals> for Refused {
    fn from(refusals: zlayer_deployment::Refusals) -> Refused {
        let problems = refusals.0.into_iter().map(|one| {
            let item = match one.path.is_empty() {
                true => one.place.to_string(),
                false => format!("{}: {}", one.place, one.path),
            };
            Problem::new(item, one.reason, "")
        });
        Refused {
            problems: problems.collect(),
        }
    }
}
