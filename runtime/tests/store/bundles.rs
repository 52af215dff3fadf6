//! Bundles that are installed, gone back from and removed, over and over: whatever ends that, the one that is
//! active is whole, and is the one that was acknowledged or the one that was on its way.

/// Calls of the system that fail.
mod disk_errors;
/// Killed at random moments.
mod kill;
/// Power cut between any two of the calls that change files.
mod power_cut;
/// A full disk, and little memory.
mod scarcity;
/// Trust lists.
mod trust;
/// The command line.
mod verbs;

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use zlayer_bundle::{
    Blob, BundleHead, BundleManifest, Deployment, Manifest, Profile, SecretKey, Service, Target,
    TrustStore, VerifiedArtifact, VerifiedBundle, copy_blob, seal, seal_bundle,
};
use zlayer_runtime::error::{Error, Result};
use zlayer_runtime::generations::{Generations, Incoming};

use crate::ledger::Reports;

const TARGET: Target = Target::X86_64;
const PROFILE: Profile = Profile::Compact;

fn key() -> SecretKey {
    SecretKey::from_seed([7; 32])
}

fn trust() -> TrustStore {
    let mut trust = TrustStore::empty();
    trust.add(key().public());
    trust
}

/// The head of a bundle with these blobs, one for each service.
fn head(release: u64, blobs: Vec<Blob>) -> VerifiedBundle {
    let services = (0..blobs.len()).map(|place| Service {
        name: Some(format!("service-{place}")),
        ..Service::default()
    });
    let manifest = BundleManifest {
        target: TARGET,
        profile: PROFILE,
        deployment: Deployment {
            name: "edge".to_owned(),
            release,
            services: services.collect(),
            ..Deployment::default()
        },
        artifacts: (0..).take(blobs.len()).collect(),
        blobs,
    };
    let bytes = seal_bundle(&manifest, Some(&key())).unwrap();
    let head = BundleHead::read(&mut bytes.as_slice()).unwrap();
    head.verify(&trust()).unwrap()
}

/// A bundle of three plugins, of which one is as in the releases around it.
fn pack(release: u64) -> (VerifiedBundle, Vec<u8>) {
    let artifact = |name: &str, seed: u64, bytes: u64| {
        let code = (0..bytes).map(|at| ((at * 7 + seed * 31) % 251) as u8);
        let version = format!("1.0.{seed}");
        let manifest = Manifest::new(name, &version, TARGET, PROFILE);
        seal(code.collect(), manifest, Some(&key())).unwrap()
    };
    let artifacts = [
        artifact("shared", release / 3, 9000),
        artifact("own", release, 70_000),
        artifact("small", release, 10),
    ];
    let blobs = artifacts.iter().map(|bytes| Blob::of(bytes)).collect();
    (head(release, blobs), artifacts.concat())
}

fn install(folder: &Path, release: u64) -> Result<u64> {
    let (head, blobs) = pack(release);
    let incoming = Incoming {
        path: Path::new("app.zlb"),
        head: &head,
        blobs: blobs.as_slice(),
    };
    Generations::of(folder).install(incoming, |_, file| verify(file))
}

fn verify(file: File) -> Result<()> {
    let verified = VerifiedArtifact::verify(file, &trust(), TARGET, PROFILE);
    verified.map(drop).map_err(|source| Error::Artifact {
        path: "artifact".into(),
        source,
    })
}

/// Checks that what is active is whole, and answers its release: 0 if nothing is.
fn active(folder: &Path) -> u64 {
    let generations = Generations::of(folder);
    let Some(number) = generations.active().unwrap() else {
        return 0;
    };
    let head = generations.head(number).unwrap();
    let head = head.verify(&trust()).unwrap();
    let blobs = generations.blobs().unwrap().unwrap();
    for blob in &head.manifest().blobs {
        let mut file = blobs.open(blob).unwrap();
        copy_blob(blob, &mut file, &mut io::sink()).unwrap();
        assert_eq!(file.read(&mut [0]).unwrap(), 0);
        verify(file).unwrap();
    }
    head.manifest().deployment.release
}

/// Installs releases from `first` on, of which some are gone back from and some are removed; tells each step before
/// and behind it, by the release that is active then.
fn work(folder: &Path, reports: &Reports, releases: std::ops::Range<u64>) {
    let generations = Generations::of(folder);
    for release in releases {
        reports.write("try", "release", release);
        install(folder, release).unwrap();
        reports.write("done", "release", release);
        generations.forget().unwrap();
        if release % 4 == 1
            && let Some(before) = generations.previous().unwrap()
        {
            let to = generations
                .head(before)
                .unwrap()
                .manifest
                .deployment
                .release;
            reports.write("try", "release", to);
            generations.activate(before).unwrap();
            reports.write("done", "release", to);
        }
        if release % 7 == 6 {
            reports.write("try", "release", 0);
            generations.uninstall().unwrap();
            reports.write("done", "release", 0);
        }
    }
}

/// What was told.
#[derive(Default, Clone, Debug)]
struct Told {
    /// The release that was active when a step was done last.
    done: u64,
    /// The one that is to be, if a step was begun.
    tried: Option<u64>,
    /// The highest one that was installed, and that was tried.
    highest: (u64, u64),
}

impl Told {
    fn note(&mut self, line: &str) {
        let words: Vec<&str> = line.split(' ').collect();
        let [kind, "release", number] = words.as_slice() else {
            panic!("report {line:?}");
        };
        let release: u64 = number.parse().unwrap();
        match *kind {
            "try" => {
                self.tried = Some(release);
                self.highest.1 = self.highest.1.max(release);
            }
            _ => {
                self.done = release;
                self.tried = None;
                self.highest.0 = self.highest.0.max(release);
            }
        }
    }

    /// Checks what is left in a folder against it, then that a device goes on from there.
    fn check(&self, folder: &Path) {
        let found = active(folder);
        let expected = [Some(self.done), self.tried];
        assert!(
            expected.contains(&Some(found)),
            "{found} is active: {self:?}"
        );
        if self.highest.0 > 1 {
            let (head, blobs) = pack(self.highest.0 - 1);
            // A kept one may come back, others may not.
            let generations = Generations::of(folder);
            let kept = generations.list().unwrap();
            let mut kept = kept.iter().map(|one| generations.head(*one).unwrap());
            if !kept.any(|kept| kept.bytes() == head.bytes()) {
                let incoming = Incoming {
                    path: Path::new("app.zlb"),
                    head: &head,
                    blobs: blobs.as_slice(),
                };
                let installed = generations.install(incoming, |_, file| verify(file));
                let told = installed.unwrap_err().to_string();
                assert!(told.contains("older than"), "{told}");
            }
        }
    }

    /// A device goes on: the next release is installed, and nothing is left but what is kept.
    fn go_on(&self, folder: &Path) {
        let next = self.highest.1 + 1;
        install(folder, next).unwrap();
        assert_eq!(active(folder), next);
        let generations = Generations::of(folder);
        generations.forget().unwrap();
        let mut named: Vec<String> = Vec::new();
        for number in generations.list().unwrap() {
            let head = generations.head(number).unwrap();
            named.extend(head.manifest.blobs.iter().map(Blob::name));
        }
        named.sort();
        named.dedup();
        let names = |folder: &Path| {
            let entries = std::fs::read_dir(folder).unwrap();
            let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
            let mut names: Vec<String> = names.collect();
            names.sort();
            names
        };
        let deployment = folder.join("deployment");
        assert_eq!(names(&deployment.join("blobs")), named);
        let files = ["active", "blobs", "generations", "last", "releases"];
        assert_eq!(names(&deployment), files);
    }
}
