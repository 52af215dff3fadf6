//! What holds for whatever a damaged disk has in the place of what the store wrote. The fuzz targets
//! check it, and so does a test.

use std::fs;
use std::path::Path;

use super::clock::Anchor;
use super::entry::{Entry, number};
use super::journal::{self, journals};
use super::parts::{Head, part_expiry};
use super::writes::Writes;

/// Reads `input` as a journal in the existing folder `folder`, and mends it: it never grows, what is
/// kept is what was there, and whoever looks again finds nothing to mend.
///
/// # Errors
///
/// The folder cannot be used.
pub fn journal(folder: &Path, input: &[u8]) -> std::io::Result<()> {
    let (path, aside) = (folder.join("0.jnl"), folder.join("aside"));
    fs::write(&path, input)?;
    assert_eq!(journals(folder)?, [path.as_path()]);
    let Some(damage) = journal::examine(&path)? else {
        return Ok(());
    };
    let (whole, tail) = input
        .split_at_checked(damage.whole as usize)
        .unwrap_or_default();
    assert!(damage.bytes > 0 && tail.len() as u64 >= damage.bytes);
    assert!(journal::mend(&damage, &aside)?);
    assert_eq!(fs::read(&path)?, whole);
    assert_eq!(fs::read(&aside)?, &tail[..damage.bytes as usize]);
    assert_eq!(journal::examine(&path)?, None);
    assert_eq!(journal::holds_batch(&path)?, !whole.is_empty());
    Ok(())
}

/// Reads `input` as each of the records that the store keeps: what can be read is what would have been
/// written.
pub fn records(input: &[u8]) {
    if let Some(entry) = Entry::decode(input) {
        assert_eq!(entry.encode(), input);
        assert_eq!(Entry::expiry(input), entry.expires);
        let _ = entry.is_expired(0);
        let _ = number(entry.value);
    }
    if let Some(head) = Head::decode(input) {
        assert_eq!(head.encode(), input);
        assert!(head.part_keys(input).count() > 1);
    }
    let _ = part_expiry(input);
    if let Some(anchor) = Anchor::decode(input) {
        assert_eq!(anchor.encode()[..48], input[..48]);
    }
    for (now, day_bytes) in [(0, 0), (0, 1 << 30), (u64::MAX, 1), (1 << 40, u64::MAX)] {
        let writes = Writes::new("p", day_bytes);
        writes.load(|_| Some(input.to_vec()), now);
        writes.spend(1, 0, now);
        writes.spend(1, 0, u64::MAX);
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use crate::data_dir::temporary_folder;
    use crate::mutations;

    #[test]
    fn whatever_a_disk_says_keeps_the_rules() {
        let folder = temporary_folder().unwrap();
        mutations::each("journal", 2_000, |input| {
            super::journal(&folder, input).unwrap();
            super::records(input);
        });
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
