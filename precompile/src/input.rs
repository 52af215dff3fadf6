//! What kind of file was given.

use std::fs::{File, Metadata};
use std::io::Read as _;
use std::path::Path;

use anyhow::{Context as _, Result};
use wasmparser::{Encoding, Parser, Payload};
use zlayer_bundle::{check_regular, open_regular};

use crate::{Problem, Refused};

/// The largest input, in bytes. Whole language runtimes are a tenth of this.
const MAX_INPUT: u64 = 256 << 20;

/// What every bundle begins with.
pub(crate) const BUNDLE: &[u8] = b"ZLBUNDL\n";

/// What a file holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// A WebAssembly component.
    Component(Vec<u8>),
    /// A WebAssembly core module, which may become a component.
    Module(Vec<u8>),
    /// Compiled code: a `.cwasm` of ours or of the engine's own tools.
    Compiled,
}

/// Reads a file and says what it holds.
///
/// # Errors
///
/// [`Refused`] when it is neither WebAssembly nor compiled code, and an I/O error when it
/// cannot be read.
pub fn read_input(path: &Path) -> Result<Input> {
    let shown = path.display();
    let (file, metadata) = open_input(path, "give the .wasm file that the build made")?;
    if metadata.len() > MAX_INPUT {
        let what = format!("it has {} MB, more than any plugin", metadata.len() >> 20);
        return Err(refused(path, what, "give a file of at most 256 MB"));
    }
    let mut bytes = Vec::new();
    // The length may have changed.
    file.take(MAX_INPUT)
        .read_to_end(&mut bytes)
        .with_context(|| format!("cannot read {shown}"))?;
    classify(path, bytes)
}

/// Opens a file that was given, with `mend` for who gave something that is none.
///
/// # Errors
///
/// [`Refused`] when it is a folder, a pipe or a device, and an I/O error when it cannot be opened.
pub fn open_input(path: &Path, mend: &str) -> Result<(File, Metadata)> {
    // What it is can be told where it cannot be opened as well.
    if let Ok(found) = path.metadata()
        && let Err(what) = check_regular(&found)
    {
        return Err(refused(path, what.to_string(), mend));
    }
    open_regular(path).with_context(|| format!("cannot open {}", path.display()))
}

/// What a file is that was given for a deployment and is something else, by its first bytes. Errors are left to whoever
/// reads the file next.
pub fn no_deployment(path: &Path) -> Option<&'static str> {
    let mut front = Vec::new();
    let (file, _) = open_regular(path).ok()?;
    { file.take(BUNDLE.len() as u64) }
        .read_to_end(&mut front)
        .ok()?;
    match front.as_slice() {
        BUNDLE => Some("it is a bundle"),
        front if front.starts_with(b"\0asm") => Some("it is WebAssembly"),
        front if front.starts_with(b"\x7fELF") => Some("it is compiled code"),
        _ => None,
    }
}

/// Says what these bytes hold; `path` is what errors call them.
pub(crate) fn classify(path: &Path, bytes: Vec<u8>) -> Result<Input> {
    if bytes.is_empty() {
        let mend = "build the plugin again: the last build may have failed";
        return Err(refused(path, "the file is empty", mend));
    }
    if bytes.starts_with(b"\x7fELF") {
        return Ok(Input::Compiled);
    }
    if bytes.starts_with(BUNDLE) {
        let mend = "`zlayer-precompile inspect` shows what it holds";
        return Err(refused(path, "it is a bundle, not a plugin", mend));
    }
    if !bytes.starts_with(b"\0asm") {
        let what = if bytes.trim_ascii_start().starts_with(b"(") {
            "it is WebAssembly text, not binary"
        } else {
            "it is not WebAssembly"
        };
        let mend = "give a component: `cargo build --target wasm32-wasip2 --release` makes one";
        return Err(refused(path, what, mend));
    }
    let encoding = match Parser::new(0).parse_all(&bytes).next() {
        Some(Ok(Payload::Version { encoding, .. })) => encoding,
        Some(Err(error)) => {
            let what = format!("its first bytes are damaged: {error}");
            return Err(refused(
                path,
                what,
                "build the plugin again, or copy it again",
            ));
        }
        _ => {
            let mend = "build the plugin again, or copy it again";
            return Err(refused(path, "it ends too early", mend));
        }
    };
    Ok(match encoding {
        Encoding::Component => Input::Component(bytes),
        Encoding::Module => Input::Module(bytes),
    })
}

fn refused(path: &Path, problem: impl Into<String>, mend: &str) -> anyhow::Error {
    Refused::from(Problem::new(path.display().to_string(), problem, mend)).into()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use super::*;

    fn classify(bytes: &[u8]) -> Result<Input> {
        super::classify(Path::new("x.wasm"), bytes.to_vec())
    }

    #[test]
    fn kinds_are_told_apart() {
        let component = wat::parse_str("(component)").unwrap();
        assert_eq!(classify(&component).unwrap(), Input::Component(component));
        let module = wat::parse_str("(module)").unwrap();
        assert_eq!(classify(&module).unwrap(), Input::Module(module));
        assert_eq!(classify(b"\x7fELF\x02").unwrap(), Input::Compiled);
    }

    #[test]
    fn each_other_file_has_its_own_message() {
        let message = |bytes: &[u8]| classify(bytes).unwrap_err().to_string();
        let messages = [
            message(b""),
            message(b"#!/bin/sh"),
            message(b"  (component)"),
            message(b"\0asm"),
            message(b"\0asm\x63\0\0\0"),
            read_input(Path::new("/")).unwrap_err().to_string(),
            read_input(Path::new("/nonexistent"))
                .unwrap_err()
                .to_string(),
        ];
        for (index, message) in messages.iter().enumerate() {
            assert!(!messages[..index].contains(message), "{message}");
        }
        assert!(messages[0].contains("empty"));
        assert!(messages[1].contains("not WebAssembly"));
        assert!(messages[2].contains("text"));
        assert!(messages[5].contains("folder"));
        assert!(messages[6].contains("/nonexistent"));
    }
}
