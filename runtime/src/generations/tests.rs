#![expect(clippy::unwrap_used, reason = "a failed test should panic")]

mod damage;
mod refused;
mod releases;
mod staged;
mod standing;
mod table;

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};

use zlayer_bundle::{
    BundleManifest, Deployment, Manifest, Profile, SecretKey, Service, Target, TrustStore,
    VerifiedBundle, own_account, seal, seal_bundle,
};

use super::*;
use crate::data_dir::temporary_folder;

/// An artifact with this much code.
fn artifact(name: &str, version: &str, code: usize) -> Vec<u8> {
    let code = (0..code).map(|at| (at * 7 % 251) as u8).collect();
    let manifest = Manifest::new(name, version, Target::X86_64, Profile::Compact);
    seal(code, manifest, Some(&key())).unwrap()
}

fn key() -> SecretKey {
    SecretKey::from_seed([3; 32])
}

/// A bundle with a service for each artifact; its head, and what follows that.
fn pack(
    name: &str,
    release: u64,
    artifacts: &[Vec<u8>],
    key: Option<&SecretKey>,
) -> (VerifiedBundle, Vec<u8>) {
    let services = (0..artifacts.len()).map(|place| Service {
        name: Some(format!("service-{place}")),
        ..Service::default()
    });
    let manifest = BundleManifest {
        target: Target::X86_64,
        profile: Profile::Compact,
        deployment: Deployment {
            name: name.to_owned(),
            release,
            services: services.collect(),
            ..Deployment::default()
        },
        blobs: artifacts.iter().map(|bytes| Blob::of(bytes)).collect(),
        artifacts: (0..).take(artifacts.len()).collect(),
        images: vec![None; artifacts.len()],
    };
    let head = seal_bundle(&manifest, key).unwrap();
    let mut trust = TrustStore::empty();
    trust.allow_unsigned(true);
    if let Some(key) = key {
        trust.add(key.public());
    }
    let head = BundleHead::read(&mut head.as_slice()).unwrap();
    (head.verify(&trust).unwrap(), artifacts.concat())
}

/// A data folder of its own.
struct Device(PathBuf);

impl Device {
    fn new() -> Device {
        Device(temporary_folder().unwrap())
    }

    fn generations(&self) -> Generations {
        Generations::of(&self.0)
    }

    fn try_install(&self, (head, blobs): &(VerifiedBundle, Vec<u8>)) -> Result<u64> {
        let incoming = Incoming {
            path: Path::new("app.zlb"),
            head,
            blobs: blobs.as_slice(),
        };
        self.generations().install(incoming, |_, _| Ok(()))
    }

    /// Installs a signed bundle of one artifact.
    fn install(&self, name: &str, release: u64, code: usize) -> u64 {
        let bundle = pack(name, release, &[artifact("p", "1.0.0", code)], Some(&key()));
        self.try_install(&bundle).unwrap()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(DEPLOYMENT).join(name)
    }

    /// All files, by their names below the folder of deployments.
    fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let mut files = BTreeMap::new();
        for folder in ["", BLOBS, GENERATIONS] {
            for entry in fs::read_dir(self.path(folder)).unwrap() {
                let path = entry.unwrap().path();
                if path.is_file() {
                    let name = path.strip_prefix(self.path("")).unwrap();
                    let bytes = fs::read(&path).unwrap();
                    files.insert(name.to_string_lossy().into_owned(), bytes);
                }
            }
        }
        files
    }

    fn blobs(&self) -> usize {
        fs::read_dir(self.path(BLOBS)).unwrap().count()
    }

    /// Installs a signed bundle and has it prove itself.
    fn install_good(&self, name: &str, release: u64) -> u64 {
        let number = self.install(name, release, release as usize);
        self.start();
        self.generations().confirm(number).unwrap();
        number
    }

    /// A daemon starts; answers what it serves.
    fn start(&self) -> Option<u64> {
        let choice = self.generations().choose();
        self.generations().begin(&choice).unwrap();
        choice.number
    }

    /// What the next start serves.
    fn next(&self) -> Option<u64> {
        self.generations().choose().number
    }

    fn stage(&self, (head, blobs): &(VerifiedBundle, Vec<u8>)) -> Result<Staged> {
        let incoming = Incoming {
            path: Path::new("app.zlb"),
            head,
            blobs: blobs.as_slice(),
        };
        self.generations().stage(incoming, |_, _| Ok(()))
    }

    /// Changes what nobody may write to.
    fn spoil(&self, name: &str, bytes: &[u8]) {
        let path = self.path(name);
        fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
        fs::write(&path, bytes).unwrap();
        fs::set_permissions(&path, PermissionsExt::from_mode(0o400)).unwrap();
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn what_is_installed_is_there_and_active() {
    let device = Device::new();
    let generations = device.generations();
    assert_eq!(generations.active().unwrap(), None);
    assert!(generations.list().unwrap().is_empty() && generations.blobs().unwrap().is_none());
    let artifacts = [artifact("a", "1.0.0", 300_000), artifact("b", "1.0.0", 10)];
    let (head, blobs) = pack("edge", 1, &artifacts, Some(&key()));
    let mut checked = Vec::new();
    let incoming = Incoming {
        path: Path::new("app.zlb"),
        head: &head,
        blobs: blobs.as_slice(),
    };
    let installed = generations.install(incoming, |service, mut file| {
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).unwrap();
        assert_eq!(bytes, artifacts[service]);
        checked.push(service);
        Ok(())
    });
    assert_eq!((installed.unwrap(), checked), (1, vec![0, 1]));
    assert_eq!(generations.active().unwrap(), Some(1));
    assert_eq!(generations.head(1).unwrap().bytes(), head.bytes());
    let kept = generations.blobs().unwrap().unwrap();
    for (blob, bytes) in head.manifest().blobs.iter().zip(&artifacts) {
        kept.open(blob).unwrap();
        let path = device.path(BLOBS).join(blob.name());
        assert_eq!(&fs::read(&path).unwrap(), bytes);
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o400);
    }
    let mode = fs::metadata(device.path(BLOBS)).unwrap().mode();
    assert_eq!(mode & 0o7777, 0o700);
    let text = generations.head(2).unwrap_err().to_string();
    assert!(text.contains("there is no generation 2"), "{text}");
}

#[test]
fn what_two_bundles_share_is_there_once_and_goes_with_the_last() {
    let device = Device::new();
    let shared = artifact("a", "1.0.0", 5000);
    let of = |release: u64| {
        let own = artifact("b", "1.0.0", release as usize);
        pack("d", release, &[shared.clone(), own], Some(&key()))
    };
    let inode = || {
        let path = device.path(BLOBS).join(Blob::of(&shared).name());
        fs::metadata(path).unwrap().ino()
    };
    device.try_install(&of(1)).unwrap();
    let written = inode();
    for release in 2..=5 {
        device.try_install(&of(release)).unwrap();
        device.generations().forget().unwrap();
        assert_eq!(inode(), written, "it was written again");
    }
    let kept = 1 + KEPT_BEFORE;
    assert_eq!(device.generations().list().unwrap(), [3, 4, 5]);
    assert_eq!(device.blobs(), kept + 1);
    device.install("other", 1, 77);
    device.generations().forget().unwrap();
    device.install("other", 2, 78);
    device.generations().forget().unwrap();
    device.install("other", 3, 79);
    device.generations().forget().unwrap();
    assert_eq!(device.blobs(), kept);
}

#[test]
fn one_goes_back_and_forth() {
    let device = Device::new();
    for release in 1..=3 {
        device.install("d", release, release as usize);
    }
    let generations = device.generations();
    assert_eq!(generations.previous().unwrap(), Some(2));
    generations.activate(2).unwrap();
    assert_eq!(generations.active().unwrap(), Some(2));
    assert_eq!(generations.previous().unwrap(), Some(3));
    generations.forget().unwrap();
    assert_eq!(generations.list().unwrap(), [1, 2, 3]);
    let text = generations.activate(7).unwrap_err().to_string();
    assert!(text.contains("there is 1, 2, 3"), "{text}");
    // The newest may be the one that goes; its number does not come back.
    generations.activate(1).unwrap();
    assert_eq!(device.install("d", 4, 4), 4);
    generations.forget().unwrap();
    assert_eq!(generations.list().unwrap(), [1, 2, 4]);
}

#[test]
fn numbers_and_releases_outlive_what_is_uninstalled() {
    let device = Device::new();
    device.install("d", 7, 1);
    device.install("d", 8, 2);
    assert_eq!(device.generations().uninstall().unwrap(), Some(2));
    assert_eq!(device.generations().active().unwrap(), None);
    let left: Vec<String> = device.files().into_keys().collect();
    assert_eq!(left, ["last", "releases"]);
    let old = pack("d", 7, &[artifact("p", "1.0.0", 1)], Some(&key()));
    let text = device.try_install(&old).unwrap_err().to_string();
    assert!(text.contains("older than 8"), "{text}");
    assert_eq!(device.install("d", 8, 2), 3);
}

#[test]
fn a_refused_bundle_leaves_everything_as_it_was() {
    let device = Device::new();
    device.install("d", 1, 100);
    let before = device.files();
    let artifacts = [artifact("p", "1.0.0", 100), artifact("q", "1.0.0", 200_000)];
    let (head, good) = pack("d", 2, &artifacts, Some(&key()));
    let altered = [&good[..good.len() - 1], b"\0"].concat();
    for (blobs, code) in [
        (good[..good.len() - 1].to_vec(), 12),
        (good[..10].to_vec(), 12),
        ([&good[..], b"x"].concat(), 12),
        (altered, 18),
    ] {
        let refused = device.try_install(&(head.clone(), blobs)).unwrap_err();
        assert_eq!(refused.exit_code(), code, "{refused}");
        assert!(refused.to_string().starts_with("app.zlb: "), "{refused}");
        assert_eq!(device.files(), before);
    }
    let incoming = Incoming {
        path: Path::new("app.zlb"),
        head: &head,
        blobs: good.as_slice(),
    };
    let refused = device
        .generations()
        .install(incoming, |service, _| match service {
            0 => Ok(()),
            _ => Err(Error::Refused("no".to_owned())),
        });
    assert_eq!(refused.unwrap_err().to_string(), "no");
    assert_eq!(device.files(), before);
}

#[test]
fn what_root_installs_belongs_to_the_folders_owner() {
    if own_account() != 0 {
        eprintln!("skipped: only root can give files to another account");
        return;
    }
    let device = Device::new();
    chown(&device.0, Some(1234), Some(1235)).unwrap();
    device.install("d", 1, 100);
    for name in device
        .files()
        .keys()
        .map(String::as_str)
        .chain(["", BLOBS, GENERATIONS])
    {
        let found = fs::metadata(device.path(name)).unwrap();
        assert_eq!((found.uid(), found.gid()), (1234, 1235), "{name}");
    }
    // What it made and did not hand over is not the owner's.
    let blob = Blob::of(&artifact("p", "1.0.0", 100));
    let path = device.path(BLOBS).join(blob.name());
    chown(path, Some(0), None).unwrap();
    let kept = device.generations().blobs().unwrap().unwrap();
    let told = kept.open(&blob).unwrap_err().to_string();
    assert!(told.contains("account 1234's own"), "{told}");
}

#[test]
fn a_full_disk_is_told_with_what_is_needed() {
    let device = Device::new();
    let blobs = Blobs::make(&device.0).unwrap();
    let of = |kind: io::ErrorKind| {
        let error = BundleError::Write(io::Error::from(kind));
        blobs.refused(error, Path::new("app.zlb"), 3 << 20)
    };
    let told = of(io::ErrorKind::StorageFull).to_string();
    assert!(told.contains("needs 3145728 bytes there"), "{told}");
    assert!(
        told.contains(&*device.path(BLOBS).to_string_lossy()),
        "{told}"
    );
    assert_eq!(of(io::ErrorKind::StorageFull).exit_code(), 1);
    let told = of(io::ErrorKind::ReadOnlyFilesystem).to_string();
    assert!(
        told.contains("cannot write what the bundle holds"),
        "{told}"
    );
}
