//! An archive as the kernel unpacks it into its first file system: cpio in the format "newc"
//! (Documentation/driver-api/early-userspace/buffer-format.rst).
//!
//! Written here because devices are part of it, which no program makes without being root.

/// Kinds of entries, in the mode's upper bits (inode(7)).
const DIRECTORY: u32 = 0o040_000;
const FILE: u32 = 0o100_000;
const CHARACTER_DEVICE: u32 = 0o020_000;

/// Names that begin each entry and end the archive.
const MAGIC: &str = "070701";
const TRAILER: &str = "TRAILER!!!";

/// An archive to be added to. What lies in a folder comes after the folder.
#[derive(Default)]
pub(super) struct Archive {
    bytes: Vec<u8>,
    entries: u32,
}

impl Archive {
    pub(super) fn directory(&mut self, name: &str) {
        self.entry(name, DIRECTORY | 0o755, &[], (0, 0));
    }

    /// A file; one that is a program may be run by all.
    pub(super) fn file(&mut self, name: &str, content: &[u8], is_program: bool) {
        let mode = if is_program { 0o755 } else { 0o644 };
        self.entry(name, FILE | mode, content, (0, 0));
    }

    /// A device by its two numbers.
    pub(super) fn device(&mut self, name: &str, numbers: (u32, u32)) {
        self.entry(name, CHARACTER_DEVICE | 0o600, &[], numbers);
    }

    /// The whole archive.
    pub(super) fn finish(mut self) -> Vec<u8> {
        self.entry(TRAILER, 0, &[], (0, 0));
        self.bytes
    }

    fn entry(&mut self, name: &str, mode: u32, content: &[u8], device: (u32, u32)) {
        self.entries += 1;
        // Lengths of 4 GB and more have no place in the format: nothing of that size is put here.
        let length = content.len() as u32;
        let name_length = name.len() as u32 + 1;
        let fields = [
            self.entries, // its number: no two names share a file
            mode,
            0, // owner and group: root
            0,
            1, // names that it has
            0, // time of change
            length,
            0, // the device that it lies on
            0,
            device.0,
            device.1,
            name_length,
            0, // no checksum
        ];
        self.bytes.extend_from_slice(MAGIC.as_bytes());
        for field in fields {
            self.bytes
                .extend_from_slice(format!("{field:08x}").as_bytes());
        }
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend_from_slice(content);
        self.pad();
    }

    /// Names and contents end at a multiple of four.
    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use super::*;

    /// A field of the entry that begins at `at`.
    fn field(bytes: &[u8], at: usize, number: usize) -> u32 {
        let digits = &bytes[at + 6 + 8 * number..][..8];
        u32::from_str_radix(std::str::from_utf8(digits).unwrap(), 16).unwrap()
    }

    /// Names, modes and contents, read back by the format's own rules.
    fn entries(bytes: &[u8]) -> Vec<(String, u32, Vec<u8>)> {
        let (mut found, mut at) = (Vec::new(), 0);
        while at < bytes.len() {
            assert_eq!(&bytes[at..at + 6], MAGIC.as_bytes());
            let name_at = at + 6 + 13 * 8;
            let name_length = field(bytes, at, 11) as usize;
            let name = &bytes[name_at..name_at + name_length];
            assert_eq!(name.last(), Some(&0));
            let name = std::str::from_utf8(&name[..name_length - 1]).unwrap();
            let content = (name_at + name_length).next_multiple_of(4);
            let length = field(bytes, at, 6) as usize;
            let mode = field(bytes, at, 1);
            let end = content + length;
            found.push((name.to_owned(), mode, bytes[content..end].to_vec()));
            at = end.next_multiple_of(4);
        }
        found
    }

    #[test]
    fn what_is_put_in_comes_out_in_order() {
        let mut archive = Archive::default();
        archive.directory("dev");
        archive.device("dev/console", (5, 1));
        archive.file("init", b"#!/bin/sh\n", true);
        archive.file("a", b"12345", false);
        let bytes = archive.finish();
        assert_eq!(bytes.len() % 4, 0);
        let found = entries(&bytes);
        let shown: Vec<(&str, u32, &[u8])> = found
            .iter()
            .map(|(name, mode, content)| (name.as_str(), *mode, content.as_slice()))
            .collect();
        assert_eq!(
            shown,
            [
                ("dev", 0o40_755, &b""[..]),
                ("dev/console", 0o20_600, b""),
                ("init", 0o100_755, b"#!/bin/sh\n"),
                ("a", 0o100_644, b"12345"),
                (TRAILER, 0, b""),
            ]
        );
        let console = 6 + 13 * 8 + "dev".len() + 1;
        let console = console.next_multiple_of(4);
        assert_eq!(
            (field(&bytes, console, 9), field(&bytes, console, 10)),
            (5, 1)
        );
    }
}
