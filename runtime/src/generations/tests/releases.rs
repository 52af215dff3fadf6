//! Who may install which release.

use super::*;

fn bundle(release: u64, code: usize) -> (VerifiedBundle, Vec<u8>) {
    pack("d", release, &[artifact("p", "1.0.0", code)], Some(&key()))
}

#[test]
fn an_older_release_comes_back_only_if_it_is_kept() {
    let device = Device::new();
    assert_eq!(device.try_install(&bundle(3, 3)).unwrap(), 1);
    assert_eq!(device.try_install(&bundle(5, 5)).unwrap(), 2);
    let text = device.try_install(&bundle(4, 4)).unwrap_err().to_string();
    assert!(text.contains("release 4 of 'd' is older than 5"), "{text}");
    let text = device.try_install(&bundle(3, 33)).unwrap_err().to_string();
    assert!(text.contains("rollback"), "{text}");
    let text = device.try_install(&bundle(5, 55)).unwrap_err().to_string();
    assert!(text.contains("other content"), "{text}");
    assert_eq!(device.blobs(), 2);
    // The very same bundle is the generation that it became.
    assert_eq!(device.try_install(&bundle(3, 3)).unwrap(), 1);
    assert_eq!(device.generations().active().unwrap(), Some(1));
    assert_eq!(device.generations().list().unwrap(), [1, 2]);
    assert!(device.try_install(&bundle(4, 4)).is_err());
    assert_eq!(device.try_install(&bundle(6, 6)).unwrap(), 3);
}

#[test]
fn each_deployment_counts_by_itself_and_some_do_not_count() {
    let device = Device::new();
    device.install("d", 5, 5);
    device.install("e", 1, 1);
    for code in 10..13 {
        device.install("f", 0, code);
    }
    assert!(device.try_install(&bundle(4, 4)).is_err());
    assert!(device.try_install(&bundle(0, 0)).is_err());
}

#[test]
fn what_nobody_signed_does_not_count() {
    let device = Device::new();
    let unsigned = |release| pack("d", release, &[artifact("p", "1.0.0", 9)], None);
    device.try_install(&unsigned(u64::MAX)).unwrap();
    device.generations().activate(1).unwrap();
    device.try_install(&bundle(2, 2)).unwrap();
    device.try_install(&unsigned(1)).unwrap();
    assert!(device.try_install(&bundle(1, 1)).is_err());
}

#[test]
fn who_was_stopped_before_the_last_step_is_remembered_all_the_same() {
    let device = Device::new();
    device.install("d", 5, 5);
    fs::remove_file(device.path(RELEASES)).unwrap();
    assert!(device.try_install(&bundle(4, 4)).is_err());
    device.generations().uninstall().unwrap();
    assert!(device.try_install(&bundle(4, 4)).is_err());
}
