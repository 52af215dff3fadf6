//! What stands in a plugin's source where a device says that it trapped.
//!
//! A device knows nothing but places in machine code: names and lines would make artifacts larger,
//! and it has no use for them otherwise. Since the same plugin always compiles to the same code, it
//! is compiled anew here, this time with the engine's table of places in WebAssembly for places in
//! code. From there the plugin's own names and debugging information (DWARF) lead to its source.

use std::borrow::Cow;
use std::ops::Range;

use addr2line::gimli::{self, EndianSlice, LittleEndian};
use anyhow::{Context as _, Result, anyhow};
use object::read::elf::ElfFile64;
use object::{Endianness, Object as _, ObjectSection as _};
use wasmparser::{KnownCustom, Name, Parser, Payload, TypeRef};
use wasmtime_environ::lookup_file_pos;
use wasmtime_environ::obj::ELF_WASMTIME_ADDRMAP;

use crate::compile::{Map, compile};
use crate::{Problem, Refused, Settings};

/// A plugin's code for one target, and where each piece of it comes from.
pub struct Explainer {
    /// The component with all that it was given.
    component: Vec<u8>,
    /// The same as it is compiled.
    stripped: Vec<u8>,
    /// The engine's artifact, with the table of places.
    code: Vec<u8>,
}

/// A place in a plugin's code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The function that the code belongs to, by the plugin's own names.
    pub function: String,
    /// Where its source is, if the plugin tells that. Functions that the compiler has put into others
    /// come first.
    pub lines: Vec<Line>,
}

/// A line of source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// The function that it is in.
    pub function: Option<String>,
    /// The file's path, as the plugin's compiler was given it.
    pub file: String,
    /// The line, counted from 1.
    pub line: Option<u32>,
}

impl Explainer {
    pub(crate) fn new(
        component: Vec<u8>,
        stripped: Vec<u8>,
        settings: &Settings,
    ) -> Result<Explainer> {
        let Settings {
            target,
            profile,
            cpu_flags,
            ..
        } = settings;
        let code = compile(&stripped, *target, *profile, cpu_flags, Map::Kept)?;
        Ok(Explainer {
            component,
            stripped,
            code,
        })
    }

    /// Checks that `artifact`, the engine's part of a compiled plugin, holds the very code that is
    /// explained here.
    ///
    /// # Errors
    ///
    /// [`Refused`] when it was compiled from something else, or with other settings.
    pub fn check(&self, artifact: &[u8]) -> Result<()> {
        if section(artifact, TEXT)? == section(&self.code, TEXT)? {
            return Ok(());
        }
        Err(Refused::from(Problem::new(
            "the artifact",
            "it was not compiled from this plugin",
            "give the .wasm file, and the zlayer-precompile, that it was made with",
        ))
        .into())
    }

    /// What stands at an address in the code; `None` if it is in none of the plugin's functions.
    ///
    /// # Errors
    ///
    /// The plugin's names or debugging information make no sense.
    pub fn place(&self, address: usize) -> Result<Option<Place>> {
        // The table knows where each piece of code begins, and not where the last one ends.
        if address >= section(&self.code, TEXT)?.len() {
            return Ok(None);
        }
        let map = section(&self.code, ELF_WASMTIME_ADDRMAP)?;
        let Some(offset) = lookup_file_pos(map, address).and_then(|found| found.file_offset())
        else {
            return Ok(None);
        };
        let offset = offset as usize;
        let stripped = modules(&self.stripped)?;
        let holds = |module: &Module<'_>| module.code.contains(&offset);
        let Some(number) = stripped.iter().position(holds) else {
            return Ok(None);
        };
        let mut dressed = modules(&self.component)?;
        let (Some(body), true) = (
            stripped[number].body(offset),
            dressed.len() == stripped.len(),
        ) else {
            return Ok(None);
        };
        let module = dressed.swap_remove(number);
        // Code is the same in both, and only its place in the file is not.
        let in_code = offset - stripped[number].code.start;
        let lines = module.lines(in_code as u64)?;
        Ok(Some(Place {
            function: module.function_name(body),
            lines,
        }))
    }
}

/// The section of an artifact that holds machine code.
const TEXT: &str = ".text";

/// The content of a section of the engine's artifact.
fn section<'a>(artifact: &'a [u8], name: &str) -> Result<&'a [u8]> {
    let file = ElfFile64::<Endianness>::parse(artifact)
        .map_err(|error| anyhow!("the compiled code cannot be read: {error}"))?;
    let found = file
        .section_by_name(name)
        .with_context(|| format!("the compiled code has no section {name}"))?;
    Ok(found.data()?)
}

/// A core module of a component.
#[derive(Default)]
struct Module<'a> {
    /// Where its code section's content is in the file.
    code: Range<usize>,
    /// Its functions' bodies, likewise.
    bodies: Vec<Range<usize>>,
    /// How many functions it imports: they are counted before its own.
    imported: u32,
    /// The names of functions that it tells.
    names: Vec<(u32, &'a str)>,
    /// Its sections of debugging information.
    debug: Vec<(&'a str, &'a [u8])>,
}

/// The core modules of a component, at every level, in the order in which they begin.
fn modules(component: &[u8]) -> Result<Vec<Module<'_>>> {
    let mut modules: Vec<Module<'_>> = Vec::new();
    // A component or a module that has begun, and which module that is.
    let mut open: Vec<Option<usize>> = Vec::new();
    for payload in Parser::new(0).parse_all(component) {
        let payload = payload?;
        match &payload {
            Payload::Version { encoding, .. } => {
                let is_module = *encoding == wasmparser::Encoding::Module;
                open.push(is_module.then_some(modules.len()));
                if is_module {
                    modules.push(Module::default());
                }
                continue;
            }
            Payload::End(_) => {
                open.pop();
                continue;
            }
            _ => {}
        }
        let Some(Some(number)) = open.last() else {
            continue;
        };
        let module = &mut modules[*number];
        match payload {
            Payload::ImportSection(imports) => {
                for import in imports.into_imports() {
                    let is_function =
                        matches!(import?.ty, TypeRef::Func(_) | TypeRef::FuncExact(_));
                    module.imported += u32::from(is_function);
                }
            }
            Payload::CodeSectionStart { range, .. } => module.code = range,
            Payload::CodeSectionEntry(body) => module.bodies.push(body.range()),
            Payload::CustomSection(custom) => {
                if let KnownCustom::Name(names) = custom.as_known() {
                    // Names that cannot be read are left out.
                    for part in names.into_iter().flatten() {
                        if let Name::Function(functions) = part {
                            let functions = functions.into_iter().flatten();
                            module
                                .names
                                .extend(functions.map(|one| (one.index, one.name)));
                        }
                    }
                } else if custom.name().starts_with(".debug_") {
                    module.debug.push((custom.name(), custom.data()));
                }
            }
            _ => {}
        }
    }
    Ok(modules)
}

impl<'a> Module<'a> {
    /// The function whose body is at this place in the file, counted from the first body.
    fn body(&self, offset: usize) -> Option<usize> {
        self.bodies.iter().position(|body| body.contains(&offset))
    }

    fn function_name(&self, body: usize) -> String {
        let index = self.imported as usize + body;
        let mut names = self.names.iter();
        match names.find(|(named, _)| *named as usize == index) {
            Some((_, name)) => addr2line::demangle_auto(Cow::Borrowed(*name), None).into_owned(),
            None => format!("function {index}"),
        }
    }

    /// The lines of source that the code at this place in the code section was made from.
    fn lines(&self, in_code: u64) -> Result<Vec<Line>> {
        if self.debug.is_empty() {
            return Ok(Vec::new());
        }
        let dwarf = gimli::Dwarf::load(|id| -> Result<_, gimli::Error> {
            let mut sections = self.debug.iter();
            let found = sections.find(|(name, _)| *name == id.name());
            let data: &'a [u8] = found.map_or(&[], |(_, data)| data);
            Ok(EndianSlice::new(data, LittleEndian))
        });
        let context = dwarf.and_then(addr2line::Context::from_dwarf);
        let context = context.context("the plugin's debugging information cannot be read")?;
        let mut frames = context
            .find_frames(in_code)
            .skip_all_loads()
            .context("the plugin's debugging information cannot be read")?;
        let mut lines = Vec::new();
        while let Some(frame) = frames.next()? {
            let function = frame.function.as_ref();
            let function = function.and_then(|function| function.demangle().ok());
            let Some(location) = frame.location else {
                continue;
            };
            let Some(file) = location.file else { continue };
            lines.push(Line {
                function: function.map(Cow::into_owned),
                file: file.to_owned(),
                line: location.line,
            });
        }
        Ok(lines)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use super::*;
    use crate::strip_component;
    use zlayer_bundle::{Profile, Target};

    /// A component with two modules, the second of which has an import, and the explainer of it.
    fn explainer(target: Target) -> Explainer {
        let text = r#"(component
            (core module $a (func $first (export "f") (result i32) (i32.const 1)))
            (core module $b
                (import "" "f" (func $f (result i32)))
                (func $calm (export "calm") (result i32) (call $f))
                (func $_ZN4some4path17h0123456789abcdefE (export "trap") (result i32) (unreachable)))
            (core instance $i (instantiate $a))
            (core instance $j (instantiate $b (with "" (instance $i))))
            (func (export "g") (result u32) (canon lift (core func $j "trap"))))"#;
        let component = wat::parse_str(text).unwrap();
        let stripped = strip_component(&component).unwrap();
        let settings = Settings::new(target, Profile::Compact);
        Explainer::new(component, stripped, &settings).unwrap()
    }

    #[test]
    fn every_function_is_found_under_its_name() {
        for target in Target::ALL {
            let explainer = explainer(target);
            let length = section(&explainer.code, TEXT).unwrap().len();
            let mut found = Vec::new();
            for address in 0..length {
                let place = explainer.place(address).unwrap();
                let name = place.map(|place| place.function);
                if let Some(name) = name
                    && !found.contains(&name)
                {
                    found.push(name);
                }
            }
            assert_eq!(found, ["first", "calm", "some::path"], "{target}");
        }
    }

    #[test]
    fn only_the_code_itself_is_explained() {
        let explainer = explainer(Target::X86_64);
        let settings = (Target::X86_64, Profile::Compact);
        let (target, profile) = settings;
        let plain = compile(&explainer.stripped, target, profile, &[], Map::Dropped).unwrap();
        // The table of places changes nothing of the code.
        explainer.check(&plain).unwrap();
        let other = explainer.stripped.clone();
        let wide = compile(&other, target, Profile::Wide, &[], Map::Dropped).unwrap();
        let aarch64 = compile(&other, Target::Aarch64, profile, &[], Map::Dropped).unwrap();
        assert!(explainer.check(&aarch64).is_err());
        // Settings that change no code make no difference.
        let same = section(&wide, TEXT).unwrap() == section(&plain, TEXT).unwrap();
        assert_eq!(explainer.check(&wide).is_ok(), same);
        assert!(explainer.check(b"nonsense").is_err());
    }
}
