//! Installs in two steps, beside a daemon that serves.

use super::*;

fn bundle(release: u64) -> (VerifiedBundle, Vec<u8>) {
    let own = artifact("own", "1.0.0", release as usize);
    pack(
        "d",
        release,
        &[artifact("shared", "1.0.0", 5000), own],
        Some(&key()),
    )
}

#[test]
fn what_is_staged_is_here_and_not_active() {
    let device = Device::new();
    let generations = device.generations();
    device.try_install(&bundle(1)).unwrap();
    device.start();
    generations.confirm(1).unwrap();
    let staged = device.stage(&bundle(2)).unwrap();
    assert_eq!(staged.number, 2);
    assert_eq!(
        (generations.active().unwrap(), device.next()),
        (Some(1), Some(1))
    );
    let kept = generations.blobs().unwrap().unwrap();
    for blob in &generations.head(2).unwrap().manifest.blobs {
        kept.open(blob).unwrap();
    }
    // A daemon serves it by now: that was the one start that it has.
    generations.adopt(&staged).unwrap();
    assert_eq!(generations.active().unwrap(), Some(2));
    assert_eq!(generations.standing().starts, 1);
    assert_eq!(device.next(), Some(1));
    generations.confirm(2).unwrap();
    assert_eq!(device.next(), Some(2));
    let text = device.stage(&bundle(1)).map(|staged| staged.number);
    assert_eq!(text.unwrap(), 1);
    // Only what was adopted counts as installed.
    let text = device.stage(&pack("d", 1, &[artifact("x", "1.0.0", 1)], Some(&key())));
    let text = text.err().unwrap().to_string();
    assert!(text.contains("older than 2"), "{text}");
}

#[test]
fn what_is_discarded_was_never_there() {
    let device = Device::new();
    device.try_install(&bundle(1)).unwrap();
    let without_last = || {
        let mut files = device.files();
        files.remove(LAST);
        files
    };
    let before = without_last();
    let staged = device.stage(&bundle(9)).unwrap();
    assert_ne!(without_last(), before);
    device.generations().discard(staged);
    assert_eq!(without_last(), before);
    // Its number does not come back, and its release does not count.
    let staged = device.stage(&bundle(2)).unwrap();
    assert_eq!(staged.number, 3);
    device.generations().adopt(&staged).unwrap();
    // One that is kept stays.
    let before = without_last();
    let staged = device.stage(&bundle(1)).unwrap();
    assert_eq!(staged.number, 1);
    device.generations().discard(staged);
    let staged = device.stage(&bundle(2)).unwrap();
    device.generations().discard(staged);
    assert_eq!(without_last(), before);
}

#[test]
fn a_daemon_that_ends_in_between_leaves_what_the_next_install_removes() {
    let device = Device::new();
    device.try_install(&bundle(1)).unwrap();
    let blobs = device.blobs();
    device.stage(&bundle(2)).unwrap();
    assert_eq!((device.next(), device.blobs()), (Some(1), blobs + 1));
    device.generations().forget().unwrap();
    assert_eq!(device.generations().list().unwrap(), [1]);
    assert_eq!(device.blobs(), blobs);
}

#[test]
fn a_running_daemon_goes_back_and_forth() {
    let device = Device::new();
    for release in 1..=2 {
        device.install_good("d", release);
    }
    let generations = device.generations();
    device.install("d", 3, 3);
    generations.adopt_kept(2).unwrap();
    assert_eq!(generations.active().unwrap(), Some(2));
    assert_eq!(generations.standing().starts, 1);
    // It proved itself before: it is started again where it did not end well.
    assert_eq!((device.start(), device.start()), (Some(2), Some(2)));
    assert_eq!(device.start(), Some(1));
    // One that never did is not.
    generations.adopt_kept(3).unwrap();
    assert_eq!(device.next(), Some(1));
    assert!(generations.adopt_kept(7).is_err());
}
