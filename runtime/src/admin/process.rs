//! What the kernel knows about this process.

use std::fs;

/// Bytes that the process had written to disks, as the kernel counts them. `None` if it does not
/// (`CONFIG_TASK_IO_ACCOUNTING`).
pub(super) fn write_bytes() -> Option<u64> {
    field(&fs::read_to_string("/proc/self/io").ok()?, "write_bytes:")
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
