//! Heads of bundles that were changed at random: whatever they are, reading them ends, and none of them counts as
//! signed.

use super::*;
use crate::{
    Deployment, DeviceSettings, Endpoint, Expose, PathPattern, Profile, Role, Service,
    ServiceSettings, Target, Variable,
};

/// How many are read.
const COUNT: u64 = 5_000;

/// Numbers that look random and are the same each time (xorshift64, Marsaglia 2003).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }
}

/// A manifest that has something of every kind.
fn manifest() -> BundleManifest {
    let settings = ServiceSettings {
        roles: Some(vec![Role::Handler]),
        allow_hosts: Some("*.example:443".parse().into_iter().collect()),
        env: vec![Variable {
            name: "a".to_owned(),
            value: "b${C}".parse().unwrap_or_default(),
            secret: true,
        }],
        paths: Some("/a/*".parse().into_iter().collect()),
        max_memory: Some(1 << 20),
        endpoints: vec![Endpoint {
            name: "http".to_owned(),
            port: 80,
            expose: Expose::Public,
            hosts: "*.example".parse().into_iter().collect(),
            path: PathPattern::folder("/a").ok(),
            ..Endpoint::default()
        }],
        ..ServiceSettings::default()
    };
    let service = |name: &str| Service {
        name: Some(name.to_owned()),
        settings: settings.clone(),
    };
    BundleManifest {
        target: Target::X86_64,
        profile: Profile::Compact,
        deployment: Deployment {
            name: "d".to_owned(),
            release: 300,
            device: DeviceSettings {
                bind: "::1".parse().ok(),
                trusted_proxies: "10.0.0.0/8".parse().into_iter().collect(),
                ..DeviceSettings::default()
            },
            services: vec![service("s"), service("t")],
        },
        blobs: vec![Blob::of(b"code"), Blob::of(b"more")],
        artifacts: vec![0, 1],
        images: vec![Some("r.example/a@sha256:00".to_owned()), None],
    }
}

/// Changes bytes, takes some out, puts some in or repeats some, a few times.
fn mutate(bytes: &mut Vec<u8>, numbers: &mut Numbers) {
    const EDGES: [u8; 5] = [0, 1, 0x7f, 0x80, 0xff];
    for _ in 0..=numbers.below(4) {
        let at = numbers.below(bytes.len());
        let end = (at + 1 + numbers.below(8)).min(bytes.len());
        match numbers.below(6) {
            0 => bytes[at] ^= 1 << numbers.below(8),
            1 => bytes[at] = EDGES[numbers.below(EDGES.len())],
            2 => {
                bytes.drain(at..end);
            }
            3 => {
                let more = bytes[at..end].to_vec();
                bytes.splice(at..at, more);
            }
            4 => bytes.insert(at, EDGES[numbers.below(EDGES.len())]),
            _ => bytes.truncate(at),
        }
        if bytes.is_empty() {
            return;
        }
    }
}

#[test]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
fn no_mutated_head_panics_or_counts_as_signed() {
    let key = SecretKey::from_seed([9; 32]);
    let good = seal_bundle(&manifest(), Some(&key)).unwrap();
    let front = good[..FRONT].to_vec();
    let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15);
    let mut read = 0;
    for round in 0..COUNT {
        let mut bytes = good.clone();
        mutate(&mut bytes, &mut numbers);
        // Every other time the lengths are right again, so that the manifest is reached.
        if round % 2 == 0 && bytes.len() > FRONT + SIGNATURE {
            let length = (bytes.len() - FRONT - SIGNATURE) as u32;
            bytes[..FRONT].copy_from_slice(&front);
            bytes[12..16].copy_from_slice(&length.to_le_bytes());
        }
        let Ok(head) = BundleHead::read(&mut bytes.as_slice()) else {
            continue;
        };
        read += 1;
        assert!(!head.signature.is_valid() || bytes.starts_with(&good));
        // What was read can be written, and reads as the same.
        let again = seal_bundle(&head.manifest, None).unwrap();
        let again = BundleHead::read(&mut again.as_slice()).unwrap();
        assert_eq!(again.manifest, head.manifest);
    }
    assert!(read > 100, "the manifest was reached {read} times only");
}
