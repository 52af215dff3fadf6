//! Fuzzing for every day: seeded mutations of the seeds in `tests/fuzz/seeds`, the same on every run. The
//! fuzz targets check the same rules for as long as one likes.

use std::fs;
use std::path::Path;

/// Hands `check` each seed of the fuzz target `target`, and then `rounds` mutations of them.
pub(crate) fn each(target: &str, rounds: u32, check: impl Fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../tests/fuzz/seeds")
        .join(target);
    let mut paths: Vec<_> = fs::read_dir(&folder)
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect();
    paths.sort();
    let seeds: Vec<Vec<u8>> = paths
        .iter()
        .filter_map(|path| fs::read(path).ok())
        .collect();
    assert!(!seeds.is_empty(), "no seeds in {}", folder.display());
    seeds.iter().for_each(|seed| check(seed));
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for _ in 0..rounds {
        let mut input = seeds[random.below(seeds.len())].clone();
        for _ in 0..=random.below(4) {
            let other = &seeds[random.below(seeds.len())];
            random.mutate(&mut input, other);
        }
        check(&input);
    }
}

/// Xorshift64: random enough to mutate with, and the same everywhere.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        // This is less than `end`, so it fits.
        (self.0 % end as u64) as usize
    }

    /// Changes, cuts, doubles, or puts in a piece of `other`.
    fn mutate(&mut self, input: &mut Vec<u8>, other: &[u8]) {
        let at = self.below(input.len() + 1);
        let end = at + self.below(input.len() - at + 1);
        match self.below(6) {
            0 if at < input.len() => input[at] ^= 1 << self.below(8),
            1 if at < input.len() => input[at] = [0, 1, 0x7f, 0x80, 0xc0, 0xff][self.below(6)],
            2 => drop(input.drain(at..end)),
            3 => input.truncate(at),
            4 => drop(input.splice(at..at, input[at..end].to_vec())),
            _ => {
                let from = self.below(other.len() + 1);
                let length = self.below(other.len() - from + 1);
                let piece = other[from..from + length].to_vec();
                drop(input.splice(at..end, piece));
            }
        }
    }
}
