//! What a bundle says about itself.

use serde::{Deserialize, Serialize};

use super::{Blob, BundleError};
use crate::{Deployment, Profile, SERVICES_MAX, Target};

/// The largest encoded manifest of a bundle, in bytes. Configuration is text, and there may be much; but it is
/// decoded before anybody knows who signed it, and a stranger's may take forty times as much memory.
pub const MAX_BUNDLE_MANIFEST: usize = 256 << 10;

/// The signed description of a bundle. Fields are encoded in this order, as postcard.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BundleManifest {
    /// The processor that all its artifacts are for.
    pub target: Target,
    /// The engine settings that they were compiled with.
    pub profile: Profile,
    /// What the device is told.
    pub deployment: Deployment,
    /// The files behind the head, in their order, each once.
    pub blobs: Vec<Blob>,
    /// For each service, in their order, the place of its artifact among the blobs.
    pub artifacts: Vec<u32>,
    /// For each service, in their order, where in a registry its plugin came from, by its digest:
    /// `ghcr.io/myorg/handler@sha256:…`. `None`: a file. For people; no device asks a registry.
    pub images: Vec<Option<String>>,
}

/// The longest name of an image, in bytes.
const IMAGE_MAX: usize = 512;

impl BundleManifest {
    /// The blob that holds the artifact of the service at this place.
    pub fn artifact(&self, service: usize) -> Option<&Blob> {
        let place = *self.artifacts.get(service)?;
        self.blobs.get(usize::try_from(place).ok()?)
    }

    /// The manifest as it stands in a file.
    pub(super) fn encode(&self) -> Result<Vec<u8>, BundleError> {
        self.check()?;
        let bytes = postcard::to_allocvec(self)
            .map_err(|error| BundleError::Manifest(format!("cannot be encoded: {error}")))?;
        match bytes.len() <= MAX_BUNDLE_MANIFEST {
            true => Ok(bytes),
            false => Err(BundleError::Manifest(format!(
                "takes {} bytes, all that the deployment says, and the limit is {} KiB{}",
                bytes.len(),
                MAX_BUNDLE_MANIFEST >> 10,
                self.largest()
            ))),
        }
    }

    /// Which entry of `env` holds the most, for whoever has to say less.
    fn largest(&self) -> String {
        let services = self.deployment.services.iter();
        let entries = services.flat_map(|service| {
            let name = service.name.as_deref().unwrap_or_default();
            { service.settings.env.iter() }.map(move |one| (name, one, one.value.to_string().len()))
        });
        let largest = entries.max_by_key(|(.., bytes)| *bytes);
        largest.map_or_else(String::new, |(service, one, bytes)| {
            format!(
                ": services.{service}.env holds the most, {bytes} bytes of `{}`; shorten it, put it into the plugin \
                 or its store, or write ${{NAME}} and have the device know it by that name",
                one.name.escape_debug()
            )
        })
    }

    /// Reads a manifest that fills all of `bytes`.
    pub(super) fn decode(bytes: &[u8]) -> Result<BundleManifest, BundleError> {
        let unreadable = |what: String| BundleError::Manifest(format!("cannot be decoded: {what}"));
        let (manifest, rest) = postcard::take_from_bytes::<BundleManifest>(bytes)
            .map_err(|error| unreadable(error.to_string()))?;
        if !rest.is_empty() {
            return Err(unreadable(format!("{} bytes too many", rest.len())));
        }
        manifest.check()?;
        Ok(manifest)
    }

    /// Both sides check alike, so that whoever packs a bundle is told what a device would say.
    fn check(&self) -> Result<(), BundleError> {
        let wrong = |what: String| Err(BundleError::Manifest(what));
        let Deployment { name, services, .. } = &self.deployment;
        if services.is_empty() || services.len() > SERVICES_MAX {
            return wrong(format!(
                "has {} services; a deployment has from 1 to {SERVICES_MAX}",
                services.len()
            ));
        }
        let names: Vec<Option<&String>> = services.iter().map(|one| one.name.as_ref()).collect();
        for text in names.iter().copied().flatten().chain([name]) {
            // Both are shown on terminals and in logs, of unverified bundles too.
            if text.chars().any(char::is_control) || text.len() > 256 {
                return wrong(format!(
                    "has a name that is too long or holds a control character: {:?}",
                    text.chars().take(80).collect::<String>()
                ));
            }
        }
        for (place, name) in names.iter().enumerate() {
            match name {
                None => return wrong(format!("does not name service {}", place + 1)),
                Some(name) if names[..place].contains(&Some(name)) => {
                    return wrong(format!("names two services '{name}'"));
                }
                Some(_) => {}
            }
        }
        if self.images.len() != services.len() {
            return wrong("does not say where each plugin came from".to_owned());
        }
        for image in self.images.iter().flatten() {
            // Shown on terminals, of unverified bundles too.
            if image.len() > IMAGE_MAX || !image.chars().all(|c| c.is_ascii_graphic()) {
                return wrong(format!(
                    "has an image that is none: {:?}",
                    image.chars().take(80).collect::<String>()
                ));
            }
        }
        if let Err(what) = self.deployment.ports() {
            return wrong(what);
        }
        let used = |place: usize| self.artifacts.iter().any(|one| *one as usize == place);
        if self.artifacts.len() != services.len()
            || (0..services.len()).any(|service| self.artifact(service).is_none())
            || !(0..self.blobs.len()).all(used)
        {
            return wrong("does not say which artifact is whose".to_owned());
        }
        let digests = || self.blobs.iter().map(|blob| blob.digest);
        match digests()
            .enumerate()
            .find(|(place, one)| digests().take(*place).any(|other| other == *one))
        {
            Some(_) => wrong("names the same file twice".to_owned()),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use super::*;
    use crate::{Endpoint, Expose, Service};

    fn manifest(names: &[&str]) -> BundleManifest {
        let services = names.iter().map(|name| Service {
            name: Some((*name).to_owned()),
            ..Service::default()
        });
        BundleManifest {
            target: Target::Armv7,
            profile: Profile::Compact,
            deployment: Deployment {
                services: services.collect(),
                ..Deployment::default()
            },
            blobs: vec![Blob::of(b"code")],
            artifacts: vec![0; names.len()],
            images: vec![None; names.len()],
        }
    }

    #[test]
    fn services_may_share_an_artifact() {
        let good = manifest(&["a", "b"]);
        let read = BundleManifest::decode(&good.encode().unwrap()).unwrap();
        assert_eq!(read, good);
        assert_eq!(read.artifact(1), Some(&Blob::of(b"code")));
        assert_eq!(read.artifact(2), None);
    }

    #[test]
    fn what_does_not_fit_together_is_refused_on_both_sides() {
        let change = |change: &dyn Fn(&mut BundleManifest)| {
            let mut manifest = manifest(&["a", "b"]);
            change(&mut manifest);
            let bytes = postcard::to_allocvec(&manifest).unwrap();
            let read = BundleManifest::decode(&bytes).unwrap_err().to_string();
            assert_eq!(manifest.encode().unwrap_err().to_string(), read);
            read
        };
        for (told, says) in [
            (
                change(&|bad| bad.deployment.services.clear()),
                "has 0 services",
            ),
            (
                change(&|bad| bad.deployment.services[1].name = None),
                "does not name service 2",
            ),
            (
                change(&|bad| bad.deployment.services[1].name = Some("a".to_owned())),
                "two services 'a'",
            ),
            (
                change(&|bad| {
                    bad.images.pop();
                }),
                "where each plugin came from",
            ),
            (
                change(&|bad| bad.images[0] = Some("\x1b[2J".to_owned())),
                "an image that is none",
            ),
            (
                change(&|bad| bad.deployment.name = "\x1b[2J".to_owned()),
                "control character",
            ),
            (
                change(&|bad| {
                    let endpoint = |expose| Endpoint {
                        port: 80,
                        expose,
                        ..Endpoint::default()
                    };
                    let services = &mut bad.deployment.services;
                    services[0].settings.endpoints = vec![endpoint(Expose::Public)];
                    services[1].settings.endpoints = vec![endpoint(Expose::Internal)];
                }),
                "endpoints at port 80 that differ",
            ),
            (
                change(&|bad| bad.artifacts[1] = 1),
                "which artifact is whose",
            ),
            (
                change(&|bad| {
                    bad.artifacts.pop();
                }),
                "which artifact is whose",
            ),
            (
                change(&|bad| bad.blobs.push(Blob::of(b"x"))),
                "which artifact is whose",
            ),
            (
                change(&|bad| {
                    bad.blobs.push(Blob::of(b"code"));
                    bad.artifacts[1] = 1;
                }),
                "the same file twice",
            ),
        ] {
            assert!(told.contains(says), "{told}");
        }
    }
}
