//! A disk that has no room for a bundle, and a bundle that is larger than the memory there is.

use std::io::Read;
use std::path::Path;
use std::process::Command;
use std::process::Stdio;

use zlayer_bundle::Blob;
use zlayer_runtime::generations::{Generations, Incoming};

use super::{active, head, install};
use crate::support::{Child, Folder, skipped};

/// Bytes of the disk that has no room: enough for a few small bundles.
const DISK_BYTES: u64 = 1 << 20;
/// Bytes of a bundle that does not fit there.
const TOO_LARGE: u64 = 3 << 20;
/// Bytes of a large bundle.
const LARGE: u64 = 100 << 20;
/// Memory that one of any size may take: its head, pieces, and what a process takes anyway.
const MEMORY: u64 = 4 << 20;

#[test]
fn a_bundle_that_does_not_fit_is_refused_and_leaves_its_room() {
    let test = "a_bundle_that_does_not_fit_is_refused_and_leaves_its_room";
    let folder = Folder::new();
    let child = Child::command("bundles::scarcity::full_disk_child", &folder.0);
    let script = format!(
        "mount -t tmpfs -o size={DISK_BYTES} tmpfs \"$ZLAYER_CHILD_FOLDER\" || exit 77\n\"$@\""
    );
    let mut unshare = Command::new("unshare");
    unshare
        .args(["-r", "-m", "sh", "-c", &script, "sh"])
        .arg(child.get_program())
        .args(child.get_args())
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    for (name, value) in child.get_envs() {
        unshare.env(name, value.unwrap_or_default());
    }
    let output = match unshare.output() {
        Ok(output) => output,
        Err(error) => return skipped(test, &format!("unshare: {error}")),
    };
    let said = String::from_utf8_lossy(&output.stderr);
    if output.status.code() == Some(77) || said.starts_with("unshare:") {
        return skipped(test, &format!("no disk of its own: {}", said.trim()));
    }
    assert!(output.status.success(), "{said}");
}

#[test]
#[ignore = "the child of the test above"]
fn full_disk_child() {
    let Some(folder) = Child::folder() else {
        return;
    };
    install(&folder, 1).unwrap();
    let blobs = || {
        std::fs::read_dir(folder.join("deployment/blobs"))
            .unwrap()
            .count()
    };
    let before = blobs();
    for _ in 0..3 {
        // The first blob fits, and is of no use without the second.
        let blobs = [vec![1; 200_000], vec![2; TOO_LARGE as usize]];
        let head = head(2, blobs.iter().map(|bytes| Blob::of(bytes)).collect());
        let bytes = blobs.concat();
        let incoming = Incoming {
            path: Path::new("app.zlb"),
            head: &head,
            blobs: bytes.as_slice(),
        };
        let refused = Generations::of(&folder).install(incoming, |_, _| Ok(()));
        let told = refused.unwrap_err().to_string();
        let needed = TOO_LARGE + 200_000 + head.bytes().len() as u64;
        assert!(told.contains(&format!("needs {needed} bytes")), "{told}");
        assert!(told.contains("deployment/blobs"), "{told}");
        assert_eq!(active(&folder), 1);
    }
    assert_eq!(blobs(), before);
    install(&folder, 2).unwrap();
    assert_eq!(active(&folder), 2);
}

#[test]
fn a_large_bundle_takes_little_memory() {
    let folder = Folder::new();
    let mut bytes = Vec::new();
    Endless(0).take(LARGE).read_to_end(&mut bytes).unwrap();
    let digest = Blob::of(&bytes).digest;
    let digest: Vec<String> = digest.iter().map(u8::to_string).collect();
    let status = Child::command("bundles::scarcity::large_child", &folder.0)
        .env("BUNDLES_DIGEST", digest.join(" "))
        .stdout(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success(), "{status}");
}

#[test]
#[ignore = "the child of the test above"]
fn large_child() {
    let Some(folder) = Child::folder() else {
        return;
    };
    let digest = std::env::var("BUNDLES_DIGEST").unwrap();
    let digest: Vec<u8> = digest
        .split(' ')
        .map(|byte| byte.parse().unwrap())
        .collect();
    let blob = Blob {
        len: LARGE,
        digest: digest.try_into().unwrap(),
    };
    let before = most_memory();
    // Written, and passed over because it is there.
    for release in 1..=2 {
        let head = head(release, vec![blob.clone()]);
        let incoming = Incoming {
            path: Path::new("app.zlb"),
            head: &head,
            blobs: Endless(0).take(LARGE),
        };
        let installed = Generations::of(&folder).install(incoming, |_, _| Ok(()));
        assert_eq!(installed.unwrap(), release);
    }
    let taken = most_memory() - before;
    assert!(taken < MEMORY, "{taken} bytes");
}

/// The most memory that this process has had, in bytes.
fn most_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = line.unwrap().trim().trim_end_matches(" kB");
    kilobytes.parse::<u64>().unwrap() * 1024
}

/// Bytes without an end, which no file holds.
struct Endless(u64);

impl Read for Endless {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        for byte in &mut *buffer {
            *byte = (self.0 >> 9) as u8;
            self.0 += 1;
        }
        Ok(buffer.len())
    }
}
