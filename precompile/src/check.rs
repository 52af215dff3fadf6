//! What a device would refuse, refused before anything is compiled.

use std::collections::HashMap;

use anyhow::Result;
use wasmparser::component_types::{ComponentAnyTypeId, ComponentEntityType, ResourceId};
use wasmparser::types::{Types, TypesRef};
use wasmparser::{FuncValidatorAllocations, Parser, Payload, ValidPayload, Validator};
use zlayer_bundle::{Profile, Role, Target, WASM_FEATURES};

use crate::compare::{Comparison, Difference};
use crate::contract::{Contract, split_name};
use crate::{Problem, Refused};

/// The most problems that one refusal lists. More say nothing new.
const MAX_PROBLEMS: usize = 20;

/// What a component is, once it is known that a device would take it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// What it can do, at least one thing, in the order of [`Role::ALL`].
    pub roles: Vec<Role>,
    /// The names of everything that it imports, sorted.
    pub imports: Vec<String>,
    /// The names of everything that it exports, sorted.
    pub exports: Vec<String>,
    /// What its linear memories start with, in bytes, together. Every memory counts once,
    /// however often the component instantiates the module that defines it.
    pub memory_initial: u64,
    /// What they can grow to, together. `None` when one of them has no bound of its own.
    pub memory_max: Option<u64>,
    /// What the largest one starts with, in bytes.
    pub memory_largest: u64,
    /// The version that the component gives itself, as `cargo component` and others write it.
    pub version: Option<String>,
}

/// Checks a component against the plugin contract: it is valid, it has at least one role,
/// every export that gives a role has the exact types of the contract, and every import is
/// one that devices link, with its exact types.
///
/// # Errors
///
/// [`Refused`] with every problem that was found, each by name. Any other error is a fault
/// in the contract's own files.
pub fn check_component(component: &[u8]) -> Result<Checked> {
    let contract = Contract::load()?;
    let outline = Outline::read(component).map_err(invalid)?;
    let types = outline.types.as_ref();
    let resources = name_resources(&outline, types);
    let comparison = Comparison {
        resolve: contract.resolve(),
        types,
        resources: &resources,
    };

    let mut problems = Vec::new();
    for name in &outline.imports {
        problems.extend(check_import(&contract, &comparison, name));
    }
    let mut roles = Vec::new();
    for name in &outline.exports {
        match contract.export(name) {
            Some((interface, role)) => {
                roles.push(role);
                problems.extend(check_role(&comparison, name, interface));
            }
            None if name.starts_with("zlayer:plugin/") => problems.push(Problem::new(
                format!("export {name}"),
                "the contract has no such export",
                format!("export one of {}", contract.role_exports().join(", ")),
            )),
            // A plugin may offer more to others than what a device asks for.
            None => {}
        }
    }
    if roles.is_empty() && problems.is_empty() {
        problems.push(no_role(&contract, &outline.exports));
    }
    if !problems.is_empty() {
        problems.truncate(MAX_PROBLEMS);
        return Err(Refused { problems }.into());
    }

    let sorted = |names: &[String]| {
        let mut names = names.to_vec();
        names.sort();
        names
    };
    roles.sort();
    Ok(Checked {
        roles,
        imports: sorted(&outline.imports),
        exports: sorted(&outline.exports),
        memory_initial: outline.memory_initial,
        memory_max: outline.memory_max,
        memory_largest: outline.memory_largest,
        version: outline.version,
    })
}

/// Checks that every memory can start in the address space that `profile` reserves.
///
/// # Errors
///
/// [`Refused`], naming the other profile where that one has room.
pub fn check_memory(checked: &Checked, target: Target, profile: Profile) -> Result<(), Refused> {
    let limit = profile.memory_limit(target);
    if checked.memory_largest <= limit {
        return Ok(());
    }
    let roomy = Profile::ALL
        .into_iter()
        .find(|other| checked.memory_largest <= other.memory_limit(target));
    let mend = match roomy {
        Some(other) => format!("use --profile {other}, on devices that run with it"),
        None => "build the plugin with a smaller initial memory".to_owned(),
    };
    let what = format!(
        "it starts with {} MiB, and profile {profile} gives a memory at most {} MiB",
        checked.memory_largest.div_ceil(1 << 20),
        limit >> 20
    );
    Err(Problem::new("linear memory", what, mend).into())
}

/// What one pass over the bytes tells.
struct Outline {
    types: Types,
    imports: Vec<String>,
    exports: Vec<String>,
    memory_initial: u64,
    memory_max: Option<u64>,
    memory_largest: u64,
    version: Option<String>,
}

impl Outline {
    /// Validates the component, code included, and collects what the checks need.
    fn read(component: &[u8]) -> Result<Outline, wasmparser::BinaryReaderError> {
        let mut validator = Validator::new_with_features(WASM_FEATURES);
        let mut allocations = FuncValidatorAllocations::default();
        let (mut imports, mut exports, mut version) = (Vec::new(), Vec::new(), None);
        let (mut memory_initial, mut memory_max, mut memory_largest) = (0_u64, Some(0_u64), 0);
        let mut types = None;
        // Depth 0 is the component itself.
        let mut depth = 0_usize;
        for payload in Parser::new(0).parse_all(component) {
            let payload = payload?;
            match validator.payload(&payload)? {
                ValidPayload::Ok => {}
                ValidPayload::Parser(_) => depth += 1,
                ValidPayload::Func(function, body) => {
                    let mut function = function.into_validator(allocations);
                    function.validate(&body)?;
                    allocations = function.into_allocations();
                }
                ValidPayload::End(ended) => {
                    if depth == 0 {
                        types = Some(ended);
                    }
                    depth = depth.saturating_sub(1);
                }
            }
            match payload {
                Payload::ComponentImportSection(section) if depth == 0 => {
                    for import in section {
                        imports.push(import?.name.name.to_owned());
                    }
                }
                Payload::ComponentExportSection(section) if depth == 0 => {
                    for export in section {
                        exports.push(export?.name.name.to_owned());
                    }
                }
                Payload::MemorySection(section) => {
                    for memory in section {
                        let memory = memory?;
                        let page = 1_u64 << memory.page_size_log2.unwrap_or(16);
                        let initial = memory.initial.saturating_mul(page);
                        let max = memory.maximum.map(|max| max.saturating_mul(page));
                        memory_initial = memory_initial.saturating_add(initial);
                        memory_max = memory_max
                            .zip(max)
                            .map(|(sum, max)| sum.saturating_add(max));
                        memory_largest = initial.max(memory_largest);
                    }
                }
                Payload::CustomSection(section) if depth == 0 && section.name() == "version" => {
                    version = std::str::from_utf8(section.data()).ok().map(str::to_owned);
                }
                _ => {}
            }
        }
        // The parser reports an end or an error.
        let types = match types {
            Some(types) => types,
            None => validator.end(component.len())?,
        };
        Ok(Outline {
            types,
            imports,
            exports,
            memory_initial,
            memory_max,
            memory_largest,
            version,
        })
    }
}

/// What to do where a plugin was built for the WASI to come, which has asynchronous functions.
const FOR_WASI_0_2: &str = "it is built for WASI 0.3, and devices have WASI 0.2. Rust: build with `--target wasm32-wasip2`, and \
     without `async` in `wit_bindgen::generate!`; C and C++: `--target=wasm32-wasip2` of wasi-sdk; TinyGo: \
     `-target=wasip2`; JavaScript (jco, componentize-js), Python (componentize-py) and .NET: give them a WIT folder whose \
     world names wasi packages at 0.2, and no `async` functions";

fn invalid(error: wasmparser::BinaryReaderError) -> Refused {
    let text = error.message();
    if text.contains("component model async") || text.contains("error-context") {
        let what = format!("it uses asynchronous functions of the component model: {error}");
        return Problem::new("component", what, FOR_WASI_0_2).into();
    }
    if text.contains("gc types are disallowed") {
        let what = format!(
            "it holds references that want a garbage collector, such as an `externref` table, and \
             devices have none: {error}"
        );
        let mend = "Rust: build without wasm-bindgen, or with `-C target-feature=-reference-types`; other \
                    languages: build without reference types and garbage collection (wasm-gc)";
        return Problem::new("component", what, mend).into();
    }
    let feature = ["proposal", "feature", "enabled"]
        .iter()
        .any(|word| error.message().contains(word));
    let mend = if feature {
        "devices offer no garbage collection, exceptions, threads, 64-bit memories or async \
         components: build the plugin without them"
    } else {
        "build the plugin again, or copy it again: the file is damaged or its tools are at fault"
    };
    Problem::new("component", format!("it is not valid: {error}"), mend).into()
}

fn check_import(contract: &Contract, comparison: &Comparison<'_>, name: &str) -> Vec<Problem> {
    let item = format!("import {name}");
    let found = comparison
        .types
        .component_item_for_import(name)
        .map(|item| item.ty);
    match (contract.import(name), found) {
        (Some(known), Some(ComponentEntityType::Instance(id))) => comparison
            .import(known, id)
            .into_iter()
            .map(|difference| differing(&item, difference))
            .collect(),
        // A world that uses a type of an interface imports the type by itself too. Nobody
        // has to provide that.
        (
            None,
            Some(ComponentEntityType::Type {
                created: ComponentAnyTypeId::Defined(_),
                ..
            }),
        ) => Vec::new(),
        (_, found) => {
            let kind = match found {
                Some(ComponentEntityType::Instance(_)) => "an interface",
                Some(ComponentEntityType::Func(_)) => "a function outside of any interface",
                Some(ComponentEntityType::Type { .. }) => "a resource outside of any interface",
                Some(ComponentEntityType::Module(_)) => "a core module",
                Some(ComponentEntityType::Component(_)) => "a component",
                Some(ComponentEntityType::Value(_)) | None => "a value",
            };
            let similar = contract.similar_imports(name);
            let mend = if !similar.is_empty() {
                format!("import {} instead", similar.join(" or "))
            } else if split_name(name)
                .1
                .is_some_and(|version| version.starts_with("0.3"))
            {
                FOR_WASI_0_2.to_owned()
            } else {
                "do without it, or compose the plugin with a component that exports it: devices \
                 link zlayer:plugin@0.1.0 and wasi:cli, io, clocks, filesystem, random, sockets \
                 and http at 0.2"
                    .to_owned()
            };
            vec![Problem::new(
                item,
                format!("it is {kind} that no device provides"),
                mend,
            )]
        }
    }
}

fn check_role(
    comparison: &Comparison<'_>,
    name: &str,
    known: &wit_parser::Interface,
) -> Vec<Problem> {
    let item = format!("export {name}");
    match comparison
        .types
        .component_item_for_export(name)
        .map(|item| item.ty)
    {
        Some(ComponentEntityType::Instance(id)) => comparison
            .export(known, id)
            .into_iter()
            .map(|difference| differing(&item, difference))
            .collect(),
        _ => vec![Problem::new(
            item,
            "expected an interface, found something else",
            "build the plugin against the wit/ folder of this release",
        )],
    }
}

fn differing(item: &str, difference: Difference) -> Problem {
    Problem::new(
        format!("{item}, {}", difference.path),
        difference.what,
        "build the plugin against the wit/ folder of this release",
    )
}

fn no_role(contract: &Contract, exports: &[String]) -> Problem {
    let what = match exports {
        [] => "there are none, so the plugin has no role".to_owned(),
        _ if exports.iter().any(|name| name.starts_with("wasi:cli/run@")) => {
            "it is a program with a main function, not a plugin".to_owned()
        }
        _ => format!("none of them gives a role; found {}", exports.join(", ")),
    };
    let mend = format!("export one of {}", contract.role_exports().join(", "));
    Problem::new("exports", what, mend)
}

/// The full names of all resources that cross the component's edge. Whoever defines a
/// resource comes before whoever uses it, so the first name of a resource is its own.
fn name_resources(outline: &Outline, types: TypesRef<'_>) -> HashMap<ResourceId, String> {
    let mut names = HashMap::new();
    let imports = outline
        .imports
        .iter()
        .map(|n| (n, types.component_item_for_import(n)));
    let exports = outline
        .exports
        .iter()
        .map(|n| (n, types.component_item_for_export(n)));
    for (interface, item) in imports.chain(exports) {
        let Some(ComponentEntityType::Instance(id)) = item.map(|item| item.ty) else {
            continue;
        };
        for (name, item) in &types[id].exports {
            if let ComponentEntityType::Type {
                created: ComponentAnyTypeId::Resource(id),
                ..
            } = item.ty
            {
                let full = || format!("{}/{name}", split_name(interface).0);
                names.entry(id.resource()).or_insert_with(full);
            }
        }
    }
    names
}
