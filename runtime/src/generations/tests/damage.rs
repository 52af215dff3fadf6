//! Files that worn flash, or somebody, changed, and what a process left that was stopped.

use std::os::unix::fs::symlink;

use super::*;

#[test]
fn a_damaged_blob_is_written_anew_at_the_next_install() {
    let device = Device::new();
    let bundle = pack("d", 1, &[artifact("p", "1.0.0", 5000)], Some(&key()));
    let name = format!("{BLOBS}/{}", bundle.0.manifest().blobs[0].name());
    device.try_install(&bundle).unwrap();
    let whole = device.files();
    let mut flipped = whole[&name].clone();
    flipped[100] ^= 1;
    for damaged in [&b""[..], b"short", &flipped] {
        device.spoil(&name, damaged);
        assert_eq!(device.try_install(&bundle).unwrap(), 1);
        assert_eq!(device.files(), whole);
    }
    // Somebody else could have changed it meanwhile.
    fs::set_permissions(device.path(&name), PermissionsExt::from_mode(0o644)).unwrap();
    let kept = device.generations().blobs().unwrap().unwrap();
    let told = kept.open(&bundle.0.manifest().blobs[0]).unwrap_err();
    assert!(told.to_string().contains("mode 0400"), "{told}");
    device.try_install(&bundle).unwrap();
    assert!(kept.open(&bundle.0.manifest().blobs[0]).is_ok());
    fs::remove_file(device.path(&name)).unwrap();
    let told = device.generations().activate(1).unwrap_err().to_string();
    assert!(
        told.contains(&name) && told.contains("install its bundle again"),
        "{told}"
    );
    device.try_install(&bundle).unwrap();
    assert_eq!(device.files(), whole);
}

#[test]
fn a_damaged_head_is_named() {
    let device = Device::new();
    device.install("d", 1, 1);
    let good = fs::read(device.path("generations/1")).unwrap();
    for damaged in [
        &b""[..],
        b"nonsense",
        &good[..50],
        &[&good[..], b"x"].concat(),
    ] {
        device.spoil("generations/1", damaged);
        let told = device.generations().head(1).unwrap_err().to_string();
        assert!(told.contains("deployment/generations/1: "), "{told}");
        assert!(device.generations().activate(1).is_err());
    }
    // What it needs is not known, so nothing is removed; a bundle can be installed all the same.
    assert_eq!(device.install("d", 2, 2), 2);
    assert!(device.generations().forget().is_err());
    assert_eq!(device.blobs(), 2);
    device.install("d", 3, 3);
    device.install("d", 4, 4);
    device.generations().forget().unwrap();
    assert_eq!(device.blobs(), 3);
}

#[test]
fn a_damaged_list_of_the_active_ones_is_mended_by_naming_one() {
    let device = Device::new();
    for release in 1..=2 {
        device.install("d", release, release as usize);
    }
    let generations = device.generations();
    for damaged in [&b""[..], b"1", b"\0\0\n"] {
        device.spoil(ACTIVE, damaged);
        let told = generations.active().unwrap_err().to_string();
        assert!(told.contains("deployment/active is damaged"), "{told}");
        assert!(generations.forget().is_err());
        generations.activate(1).unwrap();
        assert_eq!(generations.active().unwrap(), Some(1));
        assert_eq!(generations.previous().unwrap(), Some(2));
    }
    device.spoil(ACTIVE, b"?");
    assert_eq!(device.install("d", 3, 3), 3);
    assert_eq!(generations.previous().unwrap(), Some(2));
}

#[test]
fn a_damaged_count_gives_no_number_twice() {
    let device = Device::new();
    device.install("d", 1, 1);
    device.install("d", 2, 2);
    for (damaged, number) in [(&b""[..], 3), (b"1\n", 4), (b"x\n", 5), (b"6", 6)] {
        device.spoil(LAST, damaged);
        assert_eq!(device.install("d", number, number as usize), number);
    }
}

#[test]
fn what_a_stopped_install_left_goes_with_the_next() {
    let device = Device::new();
    device.install("d", 1, 1);
    // Killed while it wrote, and before it made its generation the active one.
    for left in [
        "active.incoming",
        "generations/7.incoming",
        "blobs/0a.incoming",
        "blobs/0a",
    ] {
        fs::write(device.path(left), "half").unwrap();
    }
    device.install("d", 2, 2);
    fs::copy(device.path("generations/2"), device.path("generations/8")).unwrap();
    assert_eq!(device.install("d", 3, 3), 9);
    device.generations().forget().unwrap();
    let left: Vec<String> = device.files().into_keys().collect();
    let others = left.iter().filter(|name| !name.starts_with(BLOBS));
    let others: Vec<&str> = others.map(String::as_str).collect();
    let kept = ["active", "generations/1", "generations/2", "generations/9"];
    assert_eq!(others, [&kept[..], &["last", "releases"]].concat());
    assert_eq!(device.blobs(), 3);
}

#[test]
fn links_lead_nowhere() {
    let device = Device::new();
    let elsewhere = Device::new();
    fs::create_dir(device.path("")).unwrap();
    symlink(&elsewhere.0, device.path(BLOBS)).unwrap();
    let bundle = pack("d", 1, &[artifact("p", "1.0.0", 1)], Some(&key()));
    assert!(device.try_install(&bundle).is_err());
    fs::remove_file(device.path(BLOBS)).unwrap();
    device.try_install(&bundle).unwrap();
    let secret = elsewhere.0.join("secret");
    fs::write(&secret, "kept").unwrap();
    for name in [ACTIVE, RELEASES, LAST, "active.incoming", "last.incoming"] {
        let _ = fs::remove_file(device.path(name));
        symlink(&secret, device.path(name)).unwrap();
    }
    assert!(device.generations().active().is_err());
    // They are replaced.
    device.try_install(&bundle).unwrap();
    assert_eq!(device.generations().active().unwrap(), Some(1));
    assert_eq!(fs::read(&secret).unwrap(), b"kept");
}
