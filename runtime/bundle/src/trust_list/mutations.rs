//! What the fuzz target `trust_list` checks, for mutations of a list that can be repeated.

use super::*;

/// Mutations that are tried.
const COUNT: usize = 20_000;

/// Pseudo-random numbers, the same each time.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % end as u64) as usize
    }
}

#[test]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
fn no_mutated_list_panics_or_counts() {
    let root = SecretKey::from_seed([9; 32]);
    let list = TrustList {
        number: 300,
        keys: vec![SecretKey::from_seed([1; 32]).public()],
        revoked_keys: vec![SecretKey::from_seed([2; 32]).public().id()],
        revoked_digests: vec![[3; 32], [4; 32]],
        engine_floor: "48.0.8".parse().ok(),
        roots: vec![root.public()],
    };
    let good = seal_trust_list(&list, Some(&root)).unwrap();
    let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15);
    let mut read = 0;
    for _ in 0..COUNT {
        let mut bytes = good.clone();
        for _ in 0..=numbers.below(3) {
            let at = numbers.below(bytes.len());
            match numbers.below(3) {
                0 => bytes[at] ^= 1 << numbers.below(8),
                1 => bytes.insert(at, [0, 1, 0x7f, 0x80, 0xff][numbers.below(5)]),
                _ => drop(bytes.remove(at)),
            }
        }
        // The lengths are right again, so that the content is reached.
        let length = (bytes.len().saturating_sub(FRONT + SIGNATURE)) as u32;
        if bytes.len() > FRONT {
            bytes[..12].copy_from_slice(&good[..12]);
            bytes[12..FRONT].copy_from_slice(&length.to_le_bytes());
        }
        let Ok(file) = TrustFile::read(&bytes) else {
            continue;
        };
        read += 1;
        let found = file.last().clone();
        let again = seal_trust_list(&found.list, None).unwrap();
        let end = bytes.len() - SIGNATURE;
        assert_eq!(again[FRONT..], bytes[FRONT..end], "another encoding");
        assert_eq!(file.verify(&[root.public()]).is_ok(), bytes == good);
    }
    assert!(read > 100, "the content was reached {read} times only");
}
