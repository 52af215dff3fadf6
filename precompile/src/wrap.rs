//! Core modules made into components.

use wasi_preview1_component_adapter_provider as adapter;
use wasmparser::{Parser, Payload, TypeRef};
use wit_component::ComponentEncoder;

use crate::{Problem, Refused};

/// Begins the name of the custom section in which `wit-bindgen` records a plugin's world.
const WORLD_SECTION: &str = "component-type";

/// Makes a component of a core module.
///
/// That works for modules that carry their world, as `wit-bindgen` leaves it in a library
/// built for `wasm32-unknown-unknown` or `wasm32-wasip1`. What such a module imports from
/// WASI preview 1 is translated by the adapter of this engine release.
///
/// # Errors
///
/// When the module carries no world, or imports something that its world does not name.
pub fn wrap_module(module: &[u8]) -> Result<Vec<u8>, Refused> {
    let outline = Outline::read(module)?;
    if !outline.has_world {
        return Err(outline.no_world().into());
    }
    let mut encoder = ComponentEncoder::default()
        .module(module)
        .map_err(|e| refused(&e))?;
    if outline
        .imports
        .iter()
        .any(|(from, _)| from == adapter::WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME)
    {
        let bytes = if outline.is_command {
            adapter::WASI_SNAPSHOT_PREVIEW1_COMMAND_ADAPTER
        } else {
            adapter::WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER
        };
        encoder = encoder
            .adapter(adapter::WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, bytes)
            .map_err(|e| refused(&e))?;
    }
    encoder.validate(true).encode().map_err(|e| refused(&e))
}

/// What the decision needs to know of a module.
struct Outline {
    /// Whether a custom section names the world that the module was written for.
    has_world: bool,
    /// Whether it is a program with a start function, not a library.
    is_command: bool,
    /// Module and name of each import.
    imports: Vec<(String, String)>,
}

impl Outline {
    fn read(module: &[u8]) -> Result<Outline, Refused> {
        let mut outline = Outline {
            has_world: false,
            is_command: false,
            imports: Vec::new(),
        };
        let damaged = |error: wasmparser::BinaryReaderError| {
            Refused::from(Problem::new(
                "core module",
                format!("it is not valid: {error}"),
                "build the plugin again, or copy it again",
            ))
        };
        for payload in Parser::new(0).parse_all(module) {
            match payload.map_err(damaged)? {
                Payload::CustomSection(section) => {
                    outline.has_world |= section.name().starts_with(WORLD_SECTION);
                }
                Payload::ImportSection(section) => {
                    for import in section.into_imports() {
                        let import = import.map_err(damaged)?;
                        if matches!(import.ty, TypeRef::Func(_) | TypeRef::FuncExact(_)) {
                            outline
                                .imports
                                .push((import.module.into(), import.name.into()));
                        }
                    }
                }
                Payload::ExportSection(section) => {
                    for export in section {
                        outline.is_command |= export.map_err(damaged)?.name == "_start";
                    }
                }
                _ => {}
            }
        }
        Ok(outline)
    }

    /// Why a module without a world cannot be used: the first import that shows what it was
    /// built for, or else the missing world itself.
    fn no_world(&self) -> Problem {
        let wasi = adapter::WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME;
        let build = "build it as a component: `cargo build --target wasm32-wasip2` with the \
                     bindings that wit-bindgen (0.48 or newer) makes from wit/";
        match self.imports.iter().find(|(from, _)| from != wasi) {
            Some((from, name)) => {
                let what = match from.as_str() {
                    "env" => "a C symbol that nothing defines",
                    "wbg" => "a function of a web browser",
                    "wasi_unstable" => "a WASI preview that came before the first",
                    other if other.starts_with("__wbindgen") => "a function of a web browser",
                    _ => "nothing that a device offers",
                };
                Problem::new(
                    format!("core module, import `{name}` from `{from}`"),
                    format!("it is {what}, and the module carries no component world"),
                    build,
                )
            }
            None => Problem::new(
                "core module",
                "it carries no component world, so it has no role that a device could use",
                build,
            ),
        }
    }
}

fn refused(error: &anyhow::Error) -> Refused {
    Problem::new(
        "core module",
        format!("it cannot be made into a component: {error:#}"),
        "build it against the wit/ folder of this release, and import nothing else",
    )
    .into()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use super::*;

    fn message(text: &str) -> String {
        wrap_module(&wat::parse_str(text).unwrap())
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn an_unknown_import_is_named() {
        let text = message(
            r#"(module (import "wasi_snapshot_preview1" "fd_write" (func))
                       (import "env" "printf" (func)))"#,
        );
        assert!(text.contains("import `printf` from `env`"), "{text}");
        assert!(text.contains("wasm32-wasip2"), "{text}");
        let text = message(r#"(module (import "__wbindgen_placeholder__" "x" (func)))"#);
        assert!(text.contains("web browser"), "{text}");
    }

    #[test]
    fn a_module_without_a_world_says_so() {
        let text = message(r#"(module (import "wasi_snapshot_preview1" "fd_write" (func)))"#);
        assert!(text.contains("carries no component world"), "{text}");
        assert!(message("(module)").contains("carries no component world"));
    }

    #[test]
    fn damage_is_no_panic() {
        let good = wat::parse_str(r#"(module (import "env" "f" (func)) (memory 1))"#).unwrap();
        for at in 8..good.len() {
            for value in [0x00, 0x7f, 0x80, 0xff] {
                let mut bytes = good.clone();
                bytes[at] = value;
                assert!(wrap_module(&bytes).is_err());
            }
        }
    }
}
