//! What is fetched from a registry: the documents that a reference leads to, and the one file behind them.

use std::io::Write;

use futures_util::stream::StreamExt as _;
use oci_client::Reference as OciReference;
use oci_client::RegistryOperation;
use oci_client::errors::DigestError;
use zlayer_bundle::Target;

use super::Registry;
use crate::answer::shown;
use crate::content::{Kind, digest_of};
use crate::document::{Descriptor, Document, Index, Manifest, media};
use crate::reference::is_digest;
use crate::watch::{DOCUMENT_MAX, Deadline};
use crate::{Error, Platform};

/// The largest file that is pulled, 1 GiB: none that a device could hold is larger.
const FILE_MAX: u64 = 1 << 30;

/// Platforms that are named where the wanted one is missing.
const FOUND_MAX: usize = 10;

/// Content that a reference leads to, for one target.
#[derive(Debug)]
pub struct Found {
    /// What it is.
    pub kind: Kind,
    /// The digest of the document that the reference leads to: of the index, where there is one.
    pub digest: String,
    /// The platform, where there is one for each.
    pub platform: Option<String>,
    /// Its length in bytes, as the registry says.
    pub size: u64,
    file: Descriptor,
}

impl Registry {
    /// Asks what the reference leads to, for a target. A component is for all of them.
    ///
    /// # Errors
    ///
    /// There is nothing, nothing for this target, or nothing that is ours.
    pub fn find(&self, target: Option<Target>) -> Result<Found, Error> {
        self.runtime.block_on(async {
            self.say_who(RegistryOperation::Pull).await?;
            let (document, digest) = self.document(&self.reference.inner).await?;
            let (manifest, platform) = match document {
                Document::Manifest(manifest) => (manifest, None),
                Document::Index(index) => {
                    let chosen = self.choose(&index, target)?;
                    let platform = chosen.platform.as_ref().map(ToString::to_string);
                    let place = self.by_digest(&chosen.digest);
                    match self.document(&place).await? {
                        // Whatever the registry says of it: this is the one that the index names.
                        (_, digest) if digest != chosen.digest => {
                            return Err(self.altered(&chosen.digest, &digest));
                        }
                        (Document::Manifest(manifest), _) => (manifest, platform),
                        (Document::Index(_), _) => {
                            return Err(self.foreign("an index of indexes"));
                        }
                    }
                }
            };
            if let Some(wanted) = self.reference.digest()
                && wanted != digest
            {
                return Err(self.altered(wanted, &digest));
            }
            let (kind, file) = self.file_of(manifest)?;
            Ok(Found {
                kind,
                digest,
                platform,
                size: file.size,
                file,
            })
        })
    }

    /// Writes what was found. It is complete, and what it should be, when this answers without an error; until
    /// then nobody may use it.
    ///
    /// # Errors
    ///
    /// What comes is something else, or does not come, or cannot be written.
    pub fn pull(&self, found: &Found, to: &mut dyn Write) -> Result<(), Error> {
        self.runtime.block_on(async {
            let digest = found.file.digest.as_str();
            let asked = self.client.pull_blob_stream(&self.reference.inner, digest);
            let mut stream = self.told(asked).await?;
            let mut left = found.size;
            let mut deadline = Deadline::new(self.patience);
            while let Some(piece) =
                { deadline.next(stream.next()).await }.map_err(|ended| self.ended(ended))?
            {
                let piece = piece.map_err(|error| self.broken(error))?;
                left = left.checked_sub(piece.len() as u64).ok_or_else(|| {
                    self.changed(format!(
                        "more comes than the {} bytes that its manifest says",
                        found.size
                    ))
                })?;
                deadline.came(piece.len());
                to.write_all(&piece).map_err(|source| Error::File {
                    what: "cannot keep what is pulled".to_owned(),
                    source,
                })?;
            }
            match left {
                0 => Ok(()),
                left => Err(self.changed(format!(
                    "{left} of the {} bytes that its manifest says are missing",
                    found.size
                ))),
            }
        })
    }

    /// A manifest or an index, and its digest by our own count.
    async fn document(&self, place: &OciReference) -> Result<(Document, String), Error> {
        let [docker, docker_list] = media::DOCKER;
        let accepted = [media::MANIFEST, media::INDEX, docker, docker_list];
        let asked = self.client.pull_manifest_raw(place, &self.auth, &accepted);
        let (bytes, _) = self.told(asked).await?;
        if bytes.len() > DOCUMENT_MAX {
            let most = DOCUMENT_MAX >> 20;
            return Err(self.foreign(format!("a document of more than {most} MiB, the most")));
        }
        let document = serde_json::from_slice(&bytes)
            .map_err(|_| self.foreign("neither a manifest nor an index"))?;
        Ok((document, digest_of(&bytes)))
    }

    /// The manifest of an index that is for a target.
    fn choose<'a>(
        &self,
        index: &'a Index,
        target: Option<Target>,
    ) -> Result<&'a Descriptor, Error> {
        let platform = |one: &'a Descriptor| one.platform.as_ref();
        let is = |one: &&Descriptor| {
            target.is_some_and(|target| { one.platform.as_ref() }.is_some_and(|it| it.is(target)))
        };
        let chosen = { index.manifests.iter().find(is) }.or_else(|| {
            // Every device can have it compiled.
            let mut all = index.manifests.iter();
            all.find(|one| platform(one).is_some_and(Platform::is_wasm))
        });
        let Some(chosen) = chosen else {
            let mut found: Vec<String> = { index.manifests.iter().filter_map(platform) }
                .take(FOUND_MAX + 1)
                .map(|one| shown(&one.to_string()))
                .collect();
            if found.len() > FOUND_MAX {
                found[FOUND_MAX] = "and others".to_owned();
            }
            return Err(Error::NoPlatform {
                reference: self.reference.to_string(),
                wanted: target.map_or("this machine".to_owned(), |target| {
                    format!("{target} ({})", Platform::of(target))
                }),
                found,
            });
        };
        self.check(chosen).map(|()| chosen)
    }

    /// The one file of a manifest, and what it is.
    fn file_of(&self, manifest: Manifest) -> Result<(Kind, Descriptor), Error> {
        let Manifest { config, layers, .. } = manifest;
        let [file] = <[Descriptor; 1]>::try_from(layers).map_err(|layers| {
            let what = match config.media_type.contains("image") {
                true => "a container image, and not a WebAssembly artifact".to_owned(),
                false => format!(
                    "no WebAssembly artifact: it has {} files, not one",
                    layers.len()
                ),
            };
            self.foreign(what)
        })?;
        let Some(kind) = Kind::of_layer(&file.media_type) else {
            let what = match config.media_type.contains("image") {
                true => "a container image, and not a WebAssembly artifact".to_owned(),
                false => format!(
                    "no WebAssembly artifact: its file is {}, not {}, {} or {}",
                    shown(&file.media_type),
                    media::WASM,
                    media::CWASM,
                    media::ZLB
                ),
            };
            return Err(self.foreign(what));
        };
        self.check(&file)?;
        if file.size > FILE_MAX {
            let what = format!(
                "too large: {} MiB, and the most is {} MiB",
                file.size >> 20,
                FILE_MAX >> 20
            );
            return Err(self.foreign(what));
        }
        Ok((kind, file))
    }

    /// Whether a digest is one that can be checked.
    fn check(&self, descriptor: &Descriptor) -> Result<(), Error> {
        match is_digest(&descriptor.digest) {
            true => Ok(()),
            false => Err(self.foreign(format!(
                "known by the digest '{}', and this tool checks sha256 alone",
                shown(&descriptor.digest)
            ))),
        }
    }

    /// What a file that stopped coming, or came wrong, is called.
    fn broken(&self, error: std::io::Error) -> Error {
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
        match inner {
            Some(DigestError::VerificationError { expected, actual }) => {
                self.altered(expected, actual)
            }
            _ => Error::Unreachable {
                registry: self.reference.registry().to_owned(),
                message: crate::answer::causes(&error),
            },
        }
    }

    fn altered(&self, expected: &str, actual: &str) -> Error {
        self.changed(format!(
            "what comes is {}, and should be {}",
            shown(actual),
            shown(expected)
        ))
    }

    fn changed(&self, what: String) -> Error {
        Error::Altered {
            reference: self.reference.to_string(),
            what,
        }
    }

    fn foreign(&self, what: impl Into<String>) -> Error {
        Error::Foreign {
            reference: self.reference.to_string(),
            what: what.into(),
        }
    }
}
