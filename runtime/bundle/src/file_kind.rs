//! What a file is, by what it begins with: for whoever was given another than he takes.

use std::fmt;

use crate::bundle::MAGIC as BUNDLE_MAGIC;
use crate::trust_list::TRUST_LIST_MAGIC;

/// What a file is, as far as its first bytes tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FileKind {
    /// A bundle.
    Bundle,
    /// A trust list.
    TrustList,
    /// Compiled code.
    Compiled,
    /// WebAssembly, a component or a module.
    WebAssembly,
    /// A key, public or secret.
    Key,
    /// Text, as a deployment.yaml is.
    Text,
    /// Nothing.
    Empty,
    /// Something else.
    Unknown,
}

impl FileKind {
    /// What begins so; a few bytes are enough.
    pub fn of(begin: &[u8]) -> FileKind {
        let kinds: [(&[u8], FileKind); 5] = [
            (&BUNDLE_MAGIC, FileKind::Bundle),
            (&TRUST_LIST_MAGIC, FileKind::TrustList),
            (b"\x7fELF", FileKind::Compiled),
            (b"\0asm", FileKind::WebAssembly),
            (b"zlayer-", FileKind::Key),
        ];
        let known = kinds.iter().find(|(magic, _)| begin.starts_with(magic));
        match known {
            Some((_, kind)) => *kind,
            None if begin.is_empty() => FileKind::Empty,
            None if is_text(begin) => FileKind::Text,
            None => FileKind::Unknown,
        }
    }
}

/// Whether it may be text that was cut somewhere.
fn is_text(begin: &[u8]) -> bool {
    let valid = match std::str::from_utf8(begin) {
        Ok(text) => text,
        // Cut within a character.
        Err(error) if error.error_len().is_none() => {
            std::str::from_utf8(&begin[..error.valid_up_to()]).unwrap_or_default()
        }
        Err(_) => return false,
    };
    !valid.is_empty() && valid.chars().all(|c| !c.is_control() || c.is_whitespace())
}

impl fmt::Display for FileKind {
    /// What it is, and who takes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            FileKind::Bundle => "a bundle: `zlayer install` takes it",
            FileKind::TrustList => "a trust list: `zlayer trust` takes it",
            FileKind::Compiled => {
                "compiled code: `zlayer run` serves a .cwasm as it is, and `zlayer-precompile pack` makes a bundle \
                 of the deployment.yaml that names it"
            }
            FileKind::WebAssembly => {
                "WebAssembly: `zlayer-precompile pack` makes a bundle of the deployment.yaml that names it"
            }
            FileKind::Key => "a key: public keys (*.pub, *.root) lie in the device's key folders",
            FileKind::Text => "text: `zlayer-precompile pack` makes a bundle of a deployment.yaml",
            FileKind::Empty => "an empty file: copy it again",
            FileKind::Unknown => "something else",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_known_by_what_it_begins_with() {
        let kinds: [(&[u8], FileKind); 12] = [
            (b"ZLBUNDL\n\x01\0", FileKind::Bundle),
            (b"ZLTRUST\n\x01", FileKind::TrustList),
            (b"\x7fELF\x02\x01\x01\0", FileKind::Compiled),
            (b"\0asm\x0d\0\x01\0", FileKind::WebAssembly),
            (b"zlayer-public-key ed25519", FileKind::Key),
            (b"version: v1\n", FileKind::Text),
            (b"# \xc3\xa4\xc3", FileKind::Text),
            (b"", FileKind::Empty),
            (b"ZLBUND\0", FileKind::Unknown),
            (b"PK\x03\x04", FileKind::Unknown),
            (b"\xff\xfe", FileKind::Unknown),
            (b"\xc3", FileKind::Unknown),
        ];
        for (begin, kind) in kinds {
            assert_eq!(FileKind::of(begin), kind, "{begin:?}");
        }
    }
}
