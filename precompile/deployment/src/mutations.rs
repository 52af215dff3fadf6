//! Fuzzing for every day: seeded mutations of the files in `tests/files`, the same on every run.

use std::path::Path;

use crate::read::read_text;

const SEEDS: [&str; 2] = [
    include_str!("../tests/files/guide.yaml"),
    include_str!("../tests/files/full.yaml"),
];
const ROUNDS: usize = 5_000;

#[test]
fn whatever_a_file_says_it_is_read_or_told_what_is_wrong() {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let (mut read, mut refused) = (0, 0);
    for _ in 0..ROUNDS {
        let mut text = SEEDS[random.below(SEEDS.len())].as_bytes().to_vec();
        for _ in 0..=random.below(3) {
            random.mutate(&mut text);
        }
        match read_text(Path::new("f.yaml"), Ok(text)) {
            Ok(file) => {
                assert_eq!(file.images.len(), file.deployment.services.len());
                read += 1;
            }
            Err(refusals) => {
                assert!(!refusals.0.is_empty());
                for one in refusals.0 {
                    assert!(!one.reason.is_empty());
                    let told = one.to_string();
                    assert!(!told.contains(char::is_control), "{told:?}");
                }
                refused += 1;
            }
        }
    }
    // Mutations that only ever break the file, or never do, would show little.
    assert!(
        read > ROUNDS / 100 && refused > ROUNDS / 100,
        "{read} {refused}"
    );
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

    /// Changes a sign, or moves, doubles, cuts or exchanges a piece.
    fn mutate(&mut self, text: &mut Vec<u8>) {
        const SIGNS: &[u8] = b"\0\t\n -:?[]{}&*!|>'\"%@`#,~$0\x7f\x80\xc3\xff";
        if text.is_empty() {
            return;
        }
        let at = self.below(text.len());
        let end = at + self.below(text.len() - at).min(40);
        let to = self.below(text.len());
        let piece = text[at..end].to_vec();
        match self.below(7) {
            0 => text[at] ^= 1 << self.below(8),
            1 => text[at] = SIGNS[self.below(SIGNS.len())],
            2 => text.insert(at, SIGNS[self.below(SIGNS.len())]),
            3 => drop(text.drain(at..end)),
            4 => text.truncate(at),
            5 => drop(text.splice(to..to, piece)),
            _ => {
                let line = |text: &[u8], at: usize| {
                    let before = text[..at].iter().rposition(|byte| *byte == b'\n');
                    before.map_or(0, |newline| newline + 1)
                };
                let (from, to) = (line(text, at), line(text, to));
                let length = text[from..].iter().position(|byte| *byte == b'\n');
                let end = length.map_or(text.len(), |length| from + length + 1);
                let line = text[from..end].to_vec();
                drop(text.splice(to..to, line));
            }
        }
    }
}
