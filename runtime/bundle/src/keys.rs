//! Signing keys and the one-line text files that hold them.

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};

use crate::{Exposure, hex, open_regular, without_mark};

/// The largest key file, in bytes. Anything larger is some other file.
pub const MAX_KEY_FILE: u64 = 4 << 10;

/// First word of a public key file.
const PUBLIC_WORD: &str = "zlayer-public-key";
/// First word of a secret key file.
const SECRET_WORD: &str = "zlayer-secret-key";
/// First words of the files of a root key, which signs lists of what is trusted, and nothing else: the same number
/// under another name, so that neither kind is taken for the other where a file lies in the wrong place.
const ROOT_PUBLIC_WORD: &str = "zlayer-root-public-key";
const ROOT_SECRET_WORD: &str = "zlayer-root-secret-key";
/// What each kind is called.
const KINDS: [(&str, &str); 4] = [
    (PUBLIC_WORD, "public key"),
    (SECRET_WORD, "secret key"),
    (ROOT_PUBLIC_WORD, "public root key"),
    (ROOT_SECRET_WORD, "secret root key"),
];
/// Second word of all: the only algorithm there is.
const ALGORITHM: &str = "ed25519";

/// An Ed25519 public key (RFC 8032).
///
/// Its file is one line: `zlayer-public-key ed25519 HEX [comment]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PublicKey(pub(crate) [u8; 32]);

impl PublicKey {
    /// Takes the 32 bytes of RFC 8032. They are checked when a signature is.
    pub fn from_bytes(bytes: [u8; 32]) -> PublicKey {
        PublicKey(bytes)
    }

    /// The 32 bytes of RFC 8032.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The short name that is shown to people.
    pub fn id(&self) -> KeyId {
        let mut id = [0; 8];
        id.copy_from_slice(&digest(&SHA256, &self.0).as_ref()[..8]);
        KeyId(id)
    }

    /// Reads the text of a key file.
    ///
    /// # Errors
    ///
    /// A sentence about what is wrong with the text.
    pub fn parse(text: &str) -> Result<PublicKey, String> {
        PublicKey(parse_line(text, PUBLIC_WORD)?).checked()
    }

    /// Reads the text of a root key's file.
    ///
    /// # Errors
    ///
    /// A sentence about what is wrong with the text.
    pub fn parse_root(text: &str) -> Result<PublicKey, String> {
        PublicKey(parse_line(text, ROOT_PUBLIC_WORD)?).checked()
    }

    /// The key, if it is one.
    fn checked(self) -> Result<PublicKey, String> {
        match self.is_sound() {
            true => Ok(self),
            false => Err("the number is not an Ed25519 public key".to_owned()),
        }
    }

    /// Whether the bytes are a key. A point of small order would accept signatures that nobody made.
    pub(crate) fn is_sound(&self) -> bool {
        VerifyingKey::from_bytes(&self.0).is_ok_and(|point| !point.is_weak())
    }

    /// Reads a key file.
    ///
    /// # Errors
    ///
    /// When the file cannot be read or holds something else. The error names the file.
    pub fn read(path: &Path) -> Result<PublicKey, KeyError> {
        PublicKey::parse(&read_key_file(path)?).map_err(|what| KeyError::malformed(path, what))
    }

    /// Reads a root key's file.
    ///
    /// # Errors
    ///
    /// When the file cannot be read or holds something else. The error names the file.
    pub fn read_root(path: &Path) -> Result<PublicKey, KeyError> {
        let key = PublicKey::parse_root(&read_key_file(path)?);
        key.map_err(|what| KeyError::malformed(path, what))
    }

    /// Reads a key file that trust rests on: it belongs to root or to the account `uid`, and nobody
    /// else may write to it. `parse` says what kind of key it has to hold.
    pub(crate) fn read_trusted(
        path: &Path,
        uid: u32,
        parse: impl Fn(&str) -> Result<PublicKey, String>,
    ) -> Result<PublicKey, KeyError> {
        let io = |error| KeyError::io(path, error);
        let (file, _) = open_regular(path).map_err(io)?;
        let exposure = Exposure::of(&file.metadata().map_err(io)?, uid);
        // Whoever owns a link chooses which file it stands for.
        let link = std::fs::symlink_metadata(path).map_err(io)?;
        let linked = link.is_symlink() && link.uid() != uid && link.uid() != 0;
        match exposure.or(linked.then(|| Exposure::Owner(link.uid()))) {
            Some(exposure) => Err(KeyError::untrusted(path, exposure)),
            None => {
                let text = text(file, path)?;
                parse(&text).map_err(|what| KeyError::malformed(path, what))
            }
        }
    }

    /// The text of a key file, with a comment for people (one line, may be empty).
    pub fn to_text(&self, comment: &str) -> String {
        self.line(PUBLIC_WORD, comment)
    }

    /// The text of a root key's file, with a comment for people (one line, may be empty).
    pub fn to_root_text(&self, comment: &str) -> String {
        self.line(ROOT_PUBLIC_WORD, comment)
    }

    fn line(&self, word: &str, comment: &str) -> String {
        let line = format!("{word} {ALGORITHM} {} {comment}", hex::encode(&self.0));
        format!("{}\n", line.trim_end())
    }

    /// Whether `signature` over `message` was made with this key. Strict: neither a weak
    /// key nor a second encoding of the same signature is accepted.
    pub(crate) fn verifies(&self, message: &[u8], signature: &[u8; 64]) -> bool {
        VerifyingKey::from_bytes(&self.0)
            .and_then(|key| key.verify_strict(message, &Signature::from_bytes(signature)))
            .is_ok()
    }
}

/// An Ed25519 secret key. It is wiped from memory when it is dropped, and never printed.
///
/// Its file is one line: `zlayer-secret-key ed25519 HEX`.
pub struct SecretKey(SigningKey);

impl SecretKey {
    /// Makes the key of a 32-byte seed (RFC 8032, section 5.1.5), which must be random.
    pub fn from_seed(seed: [u8; 32]) -> SecretKey {
        SecretKey(SigningKey::from_bytes(&seed))
    }

    /// The public half.
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key().to_bytes())
    }

    /// Reads the text of a key file.
    ///
    /// # Errors
    ///
    /// A sentence about what is wrong with the text. It never repeats the text.
    pub fn parse(text: &str) -> Result<SecretKey, String> {
        parse_line(text, SECRET_WORD).map(SecretKey::from_seed)
    }

    /// Reads the text of a secret root key's file.
    ///
    /// # Errors
    ///
    /// A sentence about what is wrong with the text. It never repeats the text.
    pub fn parse_root(text: &str) -> Result<SecretKey, String> {
        parse_line(text, ROOT_SECRET_WORD).map(SecretKey::from_seed)
    }

    /// Reads a key file.
    ///
    /// # Errors
    ///
    /// When the file cannot be read, holds something else, or can be read by other
    /// accounts. The error names the file.
    pub fn read(path: &Path) -> Result<SecretKey, KeyError> {
        SecretKey::read_as(path, SecretKey::parse)
    }

    /// Reads a secret root key's file.
    ///
    /// # Errors
    ///
    /// As [`SecretKey::read`].
    pub fn read_root(path: &Path) -> Result<SecretKey, KeyError> {
        SecretKey::read_as(path, SecretKey::parse_root)
    }

    fn read_as(
        path: &Path,
        parse: impl Fn(&str) -> Result<SecretKey, String>,
    ) -> Result<SecretKey, KeyError> {
        let io = |error| KeyError::io(path, error);
        let (file, _) = open_regular(path).map_err(io)?;
        let mode = file.metadata().map_err(io)?.mode();
        let key = parse(&text(file, path)?).map_err(|what| KeyError::malformed(path, what))?;
        if mode & 0o077 != 0 {
            return Err(KeyError::Exposed {
                path: path.to_owned(),
                mode: mode & 0o777,
            });
        }
        Ok(key)
    }

    /// The text of a key file.
    pub fn to_text(&self) -> String {
        self.line(SECRET_WORD)
    }

    /// The text of a root key's file.
    pub fn to_root_text(&self) -> String {
        self.line(ROOT_SECRET_WORD)
    }

    fn line(&self, word: &str) -> String {
        let digits = hex::encode(self.0.as_bytes());
        format!("{word} {ALGORITHM} {digits}\n")
    }

    /// Signs `message`. The same key and message always give the same bytes.
    pub(crate) fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message).to_bytes()
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretKey({})", self.public().id())
    }
}

/// The short name of a key: the first eight bytes of the public key's SHA-256.
/// It is for people. Trust is decided by whole keys; a revocation names a key by this, since whoever finds
/// another key of the same name has that one refused, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct KeyId([u8; 8]);

impl KeyId {
    /// Reads 16 hexadecimal digits.
    pub fn parse(text: &str) -> Option<KeyId> {
        hex::decode(text).map(KeyId)
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&hex::encode(&self.0))
    }
}

/// Why a key file is refused.
#[derive(Debug)]
#[non_exhaustive]
pub enum KeyError {
    /// The file or its folder cannot be read.
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// The file is not a key file.
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// A secret key file that other accounts can read or write.
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// A public key, or a folder of them, that others could exchange.
    Untrusted {
        /// The file or folder.
        path: PathBuf,
        /// What lets them.
        exposure: Exposure,
    },
}

impl KeyError {
    pub(crate) fn untrusted(path: &Path, exposure: Exposure) -> KeyError {
        KeyError::Untrusted {
            path: path.to_owned(),
            exposure,
        }
    }

    pub(crate) fn io(path: &Path, error: io::Error) -> KeyError {
        KeyError::Io {
            path: path.to_owned(),
            error,
        }
    }

    fn malformed(path: &Path, what: String) -> KeyError {
        KeyError::Malformed {
            path: path.to_owned(),
            what,
        }
    }
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KeyError::Io { path, error } => {
                write!(f, "key file {} cannot be read: {error}", path.display())
            }
            KeyError::Malformed { path, what } => {
                write!(f, "key file {} is malformed: {what}", path.display())
            }
            KeyError::Exposed { path, mode } => write!(
                f,
                "secret key file {path} has permissions {mode:o}, so other accounts can get at it: \
                 run `chmod 600 {path}`",
                path = path.display()
            ),
            KeyError::Untrusted { path, exposure } => write!(
                f,
                "{}: {exposure}, and keys there would be anybody's: run `{}`",
                path.display(),
                exposure.mend(path)
            ),
        }
    }
}

/// The system's own words are part of the sentence, so there is no source to say them again.
impl std::error::Error for KeyError {}

/// Reads `WORD ed25519 HEX [comment]`. Files of other kinds, which people mix up, are told by name.
fn parse_line(text: &str, word: &str) -> Result<[u8; 32], String> {
    let line = text.trim_end();
    if line.contains(['\n', '\r']) {
        return Err("it has more than one line".to_owned());
    }
    let mut words = line.split_ascii_whitespace();
    match words.next() {
        Some(first) if first == word => {}
        first => {
            let other = first.and_then(kind);
            return Err(match (other, kind(word)) {
                (Some(other), Some(wanted)) => {
                    format!("it is a {other}, and a {wanted} is needed")
                }
                _ => format!("it does not begin with `{word} {ALGORITHM}`"),
            });
        }
    }
    if words.next() != Some(ALGORITHM) {
        return Err(format!("the only known algorithm is `{ALGORITHM}`"));
    }
    words
        .next()
        .and_then(hex::decode)
        .ok_or_else(|| format!("64 hexadecimal digits must follow `{word} {ALGORITHM}`"))
}

/// What a key is called whose file begins with this word.
fn kind(word: &str) -> Option<&'static str> {
    let known = KINDS.iter().find(|(first, _)| *first == word);
    known.map(|(_, name)| *name)
}

/// Reads at most [`MAX_KEY_FILE`] bytes of text.
fn read_key_file(path: &Path) -> Result<String, KeyError> {
    let (file, _) = open_regular(path).map_err(|error| KeyError::io(path, error))?;
    text(file, path)
}

fn text(file: File, path: &Path) -> Result<String, KeyError> {
    let mut bytes = Vec::new();
    file.take(MAX_KEY_FILE + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| KeyError::io(path, error))?;
    if bytes.len() as u64 > MAX_KEY_FILE {
        return Err(KeyError::malformed(
            path,
            "it is too long for a key".to_owned(),
        ));
    }
    match std::str::from_utf8(without_mark(&bytes)) {
        Ok(text) => Ok(text.to_owned()),
        Err(_) => Err(KeyError::malformed(path, "it is not text".to_owned())),
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use super::*;

    fn key() -> SecretKey {
        SecretKey::from_seed([3; 32])
    }

    /// RFC 8032, section 7.1, test 2.
    #[test]
    fn signatures_are_those_of_the_rfc() {
        let seed = hex::decode("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb");
        let key = SecretKey::from_seed(seed.unwrap());
        assert_eq!(
            hex::encode(key.public().as_bytes()),
            "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c"
        );
        let signature = key.sign(&[0x72]);
        assert_eq!(
            hex::encode(&signature),
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da\
             085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
        );
        assert!(key.public().verifies(&[0x72], &signature));
        assert!(!key.public().verifies(&[0x73], &signature));
    }

    #[test]
    fn key_files_go_both_ways() {
        let public = key().public();
        assert_eq!(
            PublicKey::parse(&public.to_text("build host 7")).unwrap(),
            public
        );
        assert_eq!(
            PublicKey::parse(public.to_text("").trim_end()).unwrap(),
            public
        );
        assert_eq!(SecretKey::parse(&key().to_text()).unwrap().public(), public);
        assert_eq!(public.to_text("").lines().count(), 1);
        let root = PublicKey::parse_root(&public.to_root_text("root")).unwrap();
        assert_eq!(root, public);
        let root = SecretKey::parse_root(&key().to_root_text()).unwrap();
        assert_eq!(root.public(), public);
        assert_eq!(KeyId::parse(&public.id().to_string()), Some(public.id()));
    }

    #[test]
    fn a_root_key_signs_no_code_and_another_no_list() {
        let told = SecretKey::parse(&key().to_root_text()).unwrap_err();
        assert_eq!(told, "it is a secret root key, and a secret key is needed");
        let told = SecretKey::parse_root(&key().to_text()).unwrap_err();
        assert_eq!(told, "it is a secret key, and a secret root key is needed");
        let told = PublicKey::parse_root(&key().public().to_text("")).unwrap_err();
        assert_eq!(told, "it is a public key, and a public root key is needed");
    }

    #[test]
    fn malformed_text_says_what_is_wrong() {
        let good = key().public().to_text("");
        for (text, expected) in [
            (String::new(), "does not begin with"),
            ("hello".to_owned(), "does not begin with"),
            (key().to_text(), "a secret key, and a public key is needed"),
            (
                key().public().to_root_text(""),
                "a public root key, and a public key is needed",
            ),
            (good.replace("ed25519", "rsa"), "algorithm"),
            (good.replace(' ', "\n"), "more than one line"),
            (good[..good.len() - 3].to_owned(), "64 hexadecimal digits"),
            (
                format!("{PUBLIC_WORD} {ALGORITHM}"),
                "64 hexadecimal digits",
            ),
            // The point of order one.
            (
                format!("{PUBLIC_WORD} {ALGORITHM} 01{}", "00".repeat(31)),
                "not an Ed25519",
            ),
            (
                format!("{PUBLIC_WORD} {ALGORITHM} 02{}", "00".repeat(31)),
                "not an Ed25519",
            ),
        ] {
            let error = PublicKey::parse(&text).unwrap_err();
            assert!(error.contains(expected), "{text:?}: {error}");
        }
    }

    #[test]
    fn a_secret_key_is_never_shown() {
        let text = key().to_text();
        let digits = text.split_whitespace().nth(2).unwrap();
        assert!(!format!("{:?}", key()).contains(digits));
        let error = SecretKey::parse(&format!("{SECRET_WORD} rsa {digits}")).unwrap_err();
        assert!(!error.contains(digits), "{error}");
    }
}
