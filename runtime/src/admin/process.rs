//! What the kernel knows about this process.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::sync::LazyLock;

/// What the kernel counts of this process's reading and writing. Of a process that is not dumpable this
/// file is root's and closed to others, so it is opened before and stays open.
static IO: LazyLock<Option<File>> = LazyLock::new(|| File::open("/proc/self/io").ok());
/// More bytes than that file has: seven lines of a name and a number.
const IO_BYTES: usize = 512;

/// Opens what could not be opened any more once the process has given its rights up.
pub fn open_before_confinement() {
    LazyLock::force(&IO);
}

/// Bytes that the process had written to disks, as the kernel counts them. `None` if it does not
/// (`CONFIG_TASK_IO_ACCOUNTING`).
pub(super) fn write_bytes() -> Option<u64> {
    let mut text = [0; IO_BYTES];
    let length = IO.as_ref()?.read_at(&mut text, 0).ok()?;
    field(
        std::str::from_utf8(text.get(..length)?).ok()?,
        "write_bytes:",
    )
}

/// Bytes of the process's memory that are resident.
pub(super) fn resident_bytes() -> Option<u64> {
    let kib = field(&fs::read_to_string("/proc/self/status").ok()?, "VmRSS:")?;
    kib.checked_mul(1024)
}

/// The number after a name at the beginning of a line.
fn field(text: &str, name: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    rest.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_by_their_whole_name() {
        let io = "rchar: 1\nwchar: 2\nwrite_bytes: 4096\ncancelled_write_bytes: 7\n";
        assert_eq!(field(io, "write_bytes:"), Some(4096));
        assert_eq!(field("VmRSS:\t    1234 kB\n", "VmRSS:"), Some(1234));
        assert_eq!(field("VmRSS:\n", "VmRSS:"), None);
        assert_eq!(field("", "VmRSS:"), None);
        // This process has some memory.
        assert!(resident_bytes().is_some_and(|bytes| bytes > 100_000));
    }
}
