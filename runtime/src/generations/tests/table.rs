//! Every file of the generations, damaged in every way, and the one right outcome of each.

use std::os::unix::fs::symlink;
use std::panic::{self, AssertUnwindSafe};

use rustix::fs::{CWD, FileType, Mode, mknodat};

use super::*;

/// What may become of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Damage {
    Missing,
    Empty,
    /// Not even two thirds of it, which is a half of a line.
    Cut,
    /// As long as it was.
    Garbage,
    EmptyFolder,
    FullFolder,
    /// A link to what it was.
    Link,
    /// A named pipe, which would be waited for.
    Pipe,
    /// Whoever is not root cannot read it.
    NoMode,
    /// Others can, and its owner can change it.
    OtherMode,
    OtherOwner,
}

use Damage::*;

const ALL: [Damage; 11] = [
    Missing,
    Empty,
    Cut,
    Garbage,
    EmptyFolder,
    FullFolder,
    Link,
    Pipe,
    NoMode,
    OtherMode,
    OtherOwner,
];

/// What follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// The active one is served.
    Served,
    /// The last good one but the active one is.
    GoesBack,
    /// The last good one is, which nobody knows to be the active one.
    LastGood,
    /// Nothing is installed.
    NotInstalled,
}

use Outcome::*;

/// Another of the same, which is made more quickly: nothing of it has to last.
fn copy(made: &Device) -> Device {
    let copy = Device::new();
    for folder in ["", BLOBS, GENERATIONS] {
        fs::create_dir(copy.path(folder)).unwrap();
    }
    for (name, bytes) in made.files() {
        fs::write(copy.path(&name), bytes).unwrap();
        let mode = PermissionsExt::from_mode(0o400);
        fs::set_permissions(copy.path(&name), mode).unwrap();
    }
    copy
}

/// A device with three generations that have proved themselves, of which the first failed since, and the third is
/// active and started once more.
fn device() -> Device {
    let device = Device::new();
    for release in 1..=3 {
        device.install_good("d", release);
    }
    device.generations().go_back(1, "traps").unwrap();
    assert_eq!(device.start(), Some(3));
    device
}

/// The name of the blob of a generation.
fn blob(device: &Device, number: u64) -> String {
    let head = device.generations().head(number).unwrap();
    format!("{BLOBS}/{}", head.manifest.blobs[0].name())
}

/// The rules, on such a device, the blobs of which are these by their generations. `docs/bundles.md` gives the reasons.
fn outcome(blobs: &[String; 3], name: &str, damage: Damage) -> Outcome {
    let is_of =
        |number: usize| name == format!("{GENERATIONS}/{number}") || name == blobs[number - 1];
    match (name, damage) {
        // Who uninstalls removes it first, and may be stopped before the others are gone.
        (ACTIVE, Missing) => NotInstalled,
        (ACTIVE, _) => LastGood,
        // What a blob holds is looked at when it is loaded, as whoever signed it wants.
        (name, Garbage) if name.starts_with(BLOBS) => Served,
        (_, _) if is_of(3) => GoesBack,
        // What is remembered, and what is kept of others, is worth less than what is served.
        (TRIAL | CONFIRMED | FAILED | LAST | RELEASES, _) => Served,
        (_, _) if is_of(2) || is_of(1) => Served,
        (name, damage) => panic!("no rule for {name} {damage:?}"),
    }
}

impl Damage {
    /// Damages a file. False: this process cannot.
    fn happen(self, device: &Device, name: &str) -> bool {
        let path = device.path(name);
        let was = fs::read(&path).unwrap();
        let gone = || fs::remove_file(&path).unwrap();
        let set = |mode| fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
        match self {
            Missing => gone(),
            Empty => device.spoil(name, b""),
            Cut => device.spoil(name, &was[..(was.len() * 2 / 3).saturating_sub(1)]),
            Garbage => device.spoil(name, &vec![0xff; was.len()]),
            EmptyFolder | FullFolder => {
                gone();
                fs::create_dir(&path).unwrap();
                if self == FullFolder {
                    fs::create_dir(path.join("a")).unwrap();
                    fs::write(path.join("a/b"), "c").unwrap();
                }
            }
            Link => {
                let elsewhere = device.0.join("elsewhere");
                fs::rename(&path, &elsewhere).unwrap();
                symlink(elsewhere, &path).unwrap();
            }
            Pipe => {
                gone();
                mknodat(CWD, &path, FileType::Fifo, Mode::RUSR, 0).unwrap();
            }
            NoMode => set(0),
            OtherMode => set(0o644),
            OtherOwner if own_account() == 0 => chown(&path, Some(1234), None).unwrap(),
            OtherOwner => return false,
        }
        true
    }
}

#[test]
fn every_damage_to_every_file_has_one_outcome() {
    let made = device();
    let names: Vec<String> = made.files().into_keys().collect();
    assert_eq!(names.len(), 12, "{names:?}");
    for name in &names {
        for damage in ALL {
            let tried = panic::catch_unwind(AssertUnwindSafe(|| check(&made, name, damage)));
            assert!(tried.is_ok(), "{name} {damage:?}");
        }
    }
}

fn check(made: &Device, name: &str, damage: Damage) {
    let device = copy(made);
    let blobs = [1, 2, 3].map(|number| blob(&device, number));
    let generations = device.generations();
    if !damage.happen(&device, name) {
        eprintln!("skipped: only root can give files to another account");
        return;
    }
    let choice = generations.choose();
    let found = (
        choice.number,
        choice.went_back.as_ref().map(|back| back.from),
    );
    let outcome = outcome(&blobs, name, damage);
    assert_eq!(
        found,
        match outcome {
            Served => (Some(3), None),
            GoesBack => (Some(2), Some(Some(3))),
            LastGood => (Some(3), Some(None)),
            NotInstalled => (None, None),
        }
    );
    assert_eq!(choice.nothing.is_some(), outcome == NotInstalled);
    if let Some(WentBack { reason, .. }) = &choice.went_back {
        let is_gone = reason.contains("there is no generation 3");
        assert!(is_gone || reason.contains(name), "{reason}");
    }
    // The start can be counted, so that a crash loop ends; whoever starts next finds nothing wrong.
    generations.begin(&choice).unwrap();
    if let Some(number) = choice.number {
        let next = generations.choose();
        assert_eq!((next.number, next.went_back), (Some(number), None));
        assert!(generations.standing().starts > 0);
        generations.confirm(number).unwrap();
        let standing = generations.standing();
        assert_eq!((standing.active, standing.starts), (Some(number), 0));
        assert!(standing.confirmed.contains(&number));
    }
    // It is mended by whoever installs something.
    let bundle = pack("d", 4, &[artifact("p", "1.0.0", 4)], Some(&key()));
    let may_be_read = matches!(damage, Missing | Empty | Cut | Garbage);
    if name == RELEASES && !may_be_read {
        // What it says keeps older releases away. It is not taken for nothing.
        let told = device.try_install(&bundle).unwrap_err().to_string();
        assert!(told.contains("deployment/releases"), "{told}");
        generations.activate(2).unwrap();
        let _ = fs::remove_dir_all(device.path(name));
        let _ = fs::remove_file(device.path(name));
    }
    let number = device.try_install(&bundle).unwrap();
    assert_eq!(device.next(), Some(number));
    assert!(number > 3);
}

#[test]
fn without_one_that_proved_itself_nothing_is_served_and_it_is_said_why() {
    for damage in ALL {
        let device = Device::new();
        device.install("d", 1, 1);
        let second = device.install("d", 2, 2);
        if damage == Missing || !damage.happen(&device, ACTIVE) {
            continue;
        }
        let choice = device.generations().choose();
        let told = choice.nothing.as_ref().unwrap();
        assert!(
            told.contains("deployment/active")
                && told.contains("no generation that is whole has proved itself"),
            "{told}"
        );
        assert_eq!((choice.number, &choice.went_back), (None, &None));
        device.generations().begin(&choice).unwrap();
        assert_eq!(device.next(), None, "{damage:?}");
        // The owner says which one.
        device.generations().activate(second).unwrap();
        assert_eq!(device.start(), Some(second), "{damage:?}");
    }
}

#[test]
fn a_crash_loop_ends_though_nobody_knows_what_was_active() {
    let device = device();
    device.generations().confirm(3).unwrap();
    for number in [3, 2] {
        for _ in 0..STARTS {
            assert_eq!(device.start(), Some(number));
            device.spoil(ACTIVE, b"?");
        }
    }
    let told = device.generations().choose().nothing.unwrap();
    assert!(told.contains("active is damaged"), "{told}");
}

#[test]
fn a_folder_that_is_none_is_told_by_a_daemon_that_serves_nothing() {
    let made = device();
    for name in ["", GENERATIONS, BLOBS] {
        for as_link in [false, true] {
            let device = copy(&made);
            let (path, elsewhere) = (device.path(name), device.0.join("elsewhere"));
            let path = path.components().collect::<PathBuf>();
            fs::rename(&path, &elsewhere).unwrap();
            match as_link {
                true => symlink(&elsewhere, &path).unwrap(),
                false => fs::write(&path, "a file").unwrap(),
            }
            let choice = device.generations().choose();
            let told = choice.nothing.as_ref().unwrap();
            assert!(told.contains("deployment"), "{told}");
            device.generations().begin(&choice).unwrap();
            // Once it is there again, so is all that was served.
            fs::remove_file(&path).unwrap();
            fs::rename(&elsewhere, &path).unwrap();
            assert_eq!(device.next(), Some(3));
        }
    }
}
