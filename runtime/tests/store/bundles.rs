//! Bundles that are installed, started, confirmed, gone back from and removed, over and over: whatever ends that, the
//! one that is active and the one that the next start serves are whole, and are those that were acknowledged or those
//! that were on their way; and no start of a generation on trial is forgotten.

/// Calls of the system that fail.
mod disk_errors;
/// Killed at random moments.
mod kill;
/// What happens to a device, and what follows from it.
mod life;
/// Power cut between any two of the calls that change files.
mod power_cut;
/// A full disk, and little memory.
mod scarcity;
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

use life::{Model, Step};

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
        images: vec![None; blobs.len()],
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

fn incoming<'a>(head: &'a VerifiedBundle, blobs: &'a [u8]) -> Incoming<'a, &'a [u8]> {
    Incoming {
        path: Path::new("app.zlb"),
        head,
        blobs,
    }
}

fn install(folder: &Path, release: u64) -> Result<u64> {
    let (head, blobs) = pack(release);
    Generations::of(folder).install(incoming(&head, &blobs), |_, file| verify(file))
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
    let active = Generations::of(folder).active().unwrap();
    active.map_or(0, |number| whole(folder, number))
}

/// Checks that a generation is whole, and answers its release.
fn whole(folder: &Path, number: u64) -> u64 {
    let generations = Generations::of(folder);
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

/// What was told.
#[derive(Default, Clone, Debug)]
struct Told {
    /// What was known behind the step that was done last.
    done: Model,
    /// The step that was begun, and the release of its bundle, if it takes one.
    tried: Option<(Step, u64)>,
    /// The highest release that was installed, and that was tried.
    highest: (u64, u64),
}

impl Told {
    fn note(&mut self, line: &str) {
        let words: Vec<&str> = line.split(' ').collect();
        let [kind, step, release] = words.as_slice() else {
            panic!("report {line:?}");
        };
        let (step, release) = (Step::named(step), release.parse().unwrap());
        if *kind == "try" {
            self.tried = Some((step, release));
            // Lives without a bundle count, too: no number is given twice.
            self.highest.1 = self.highest.1.max(release);
            return;
        }
        self.done = self.done.after(step, release);
        self.tried = None;
        if step.takes_bundle() && step != Step::Discard {
            self.highest.0 = self.highest.0.max(release);
        }
    }

    /// Checks what is left in a folder against it.
    fn check(&self, folder: &Path) {
        let before = &self.done;
        let after = self
            .tried
            .map(|(step, release)| before.after(step, release));
        let after = after.as_ref().unwrap_or(before);
        let found = Model::found(folder);
        assert_eq!(life::served(folder), found.active());
        // Which one is active, and how often it was started, changes in one step.
        assert!(
            [before.trial(), after.trial()].contains(&found.trial()),
            "{found:?} is there: {self:?}"
        );
        let next = life::next(folder);
        assert!(
            [before.choice(), after.choice()].contains(&next),
            "{next:?} is next, of {found:?}: {self:?}"
        );
        if found.active().is_some() && before.has_good() && after.has_good() {
            assert!(next.is_some(), "nothing is next of {found:?}: {self:?}");
        }
        if self.tried.is_none() {
            assert_eq!(found, self.done);
        }
        self.check_releases(folder);
    }

    /// Checks that no older release comes back.
    fn check_releases(&self, folder: &Path) {
        if self.highest.0 > 1 {
            let (head, blobs) = pack(self.highest.0 - 1);
            // A kept one may come back, others may not.
            let generations = Generations::of(folder);
            let kept = generations.list().unwrap();
            let mut kept = kept.iter().map(|one| generations.head(*one).unwrap());
            if !kept.any(|kept| kept.bytes() == head.bytes()) {
                let installed =
                    generations.install(incoming(&head, &blobs), |_, file| verify(file));
                let told = installed.unwrap_err().to_string();
                assert!(told.contains("older than"), "{told}");
            }
        }
    }

    /// A device goes on: the next release is installed, and nothing is left but what is kept.
    fn go_on(&self, folder: &Path) {
        let next = self.highest.1 + 1;
        let mut model = Model::found(folder);
        for step in [Step::Install, Step::Begin, Step::Confirm, Step::Forget] {
            step.act(folder, next).unwrap();
            model = model.after(step, next);
            assert_eq!(Model::found(folder), model, "{step:?}");
        }
        assert_eq!(active(folder), next);
        let generations = Generations::of(folder);
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
        let files = [
            "active",
            "blobs",
            "confirmed",
            "failed",
            "generations",
            "last",
            "releases",
            "trial",
        ];
        // Where none failed, and none was started since, nothing says so.
        let found = names(&deployment);
        let may_lack = ["failed", "trial"];
        let wanted = files
            .iter()
            .filter(|name| !may_lack.contains(name) || found.iter().any(|found| found == *name));
        assert!(found.iter().eq(wanted), "{found:?}");
    }
}
