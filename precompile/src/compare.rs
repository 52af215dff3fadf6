//! Structural comparison of a component's types with the contract's.
//!
//! Names of record fields, their order, the cases of variants and enums and the names of
//! parameters all count: the first three are part of the binary interface, and exchanged
//! parameters of one type would otherwise pass unseen.

use std::collections::HashMap;

use wasmparser::PrimitiveValType;
use wasmparser::component_types::{
    ComponentAnyTypeId, ComponentDefinedType, ComponentEntityType, ComponentFuncTypeId,
    ComponentInstanceTypeId, ComponentValType, ResourceId,
};
use wasmparser::types::TypesRef;
use wit_parser::{Function, Handle, Interface, Resolve, Type, TypeDefKind};

use crate::contract::{follow_aliases, resource_name};
use crate::describe::{describe, describe_found};

/// One difference: the way to it, and what is different there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Difference {
    /// `function handle, parameter request, record plugin-request, field method`.
    pub(crate) path: String,
    /// `expected enum http-method, found string`.
    pub(crate) what: String,
}

/// The two sides of a comparison.
pub(crate) struct Comparison<'a> {
    /// The contract's types.
    pub(crate) resolve: &'a Resolve,
    /// The component's types.
    pub(crate) types: TypesRef<'a>,
    /// The full names of the component's resources, by where they are defined.
    pub(crate) resources: &'a HashMap<ResourceId, String>,
}

impl Comparison<'_> {
    /// Differences of an imported instance: all that it asks for must be in `known`.
    pub(crate) fn import(
        &self,
        known: &Interface,
        found: ComponentInstanceTypeId,
    ) -> Vec<Difference> {
        let mut differences = Vec::new();
        for (name, item) in &self.types[found].exports {
            let result = match item.ty {
                ComponentEntityType::Func(id) => match known.functions.get(name) {
                    Some(function) => self.function(function, id),
                    None => unknown(
                        format!("function {name}"),
                        "the interface has no such function",
                    ),
                },
                ComponentEntityType::Type { created, .. } => match known.types.get(name) {
                    Some(id) => self.named_type(name, Type::Id(*id), created),
                    None => unknown(format!("type {name}"), "the interface has no such type"),
                },
                _ => unknown(name.clone(), "expected a function or a type"),
            };
            differences.extend(result.err());
        }
        differences
    }

    /// Differences of an exported instance: all functions of `known` must be in it.
    pub(crate) fn export(
        &self,
        known: &Interface,
        found: ComponentInstanceTypeId,
    ) -> Vec<Difference> {
        let exports = &self.types[found].exports;
        let mut differences = Vec::new();
        for (name, function) in &known.functions {
            let result = match exports.get(name).map(|item| item.ty) {
                Some(ComponentEntityType::Func(id)) => self.function(function, id),
                Some(_) => unknown(name.clone(), "expected a function"),
                None => unknown(format!("function {name}"), "it is missing"),
            };
            differences.extend(result.err());
        }
        differences
    }

    fn function(&self, known: &Function, found: ComponentFuncTypeId) -> Result<(), Difference> {
        let found = &self.types[found];
        let compare = || {
            if known.kind.is_async() != found.async_ {
                let name = |is_async| {
                    if is_async {
                        "an async function"
                    } else {
                        "a function"
                    }
                };
                return Err(differs(name(known.kind.is_async()), name(found.async_)));
            }
            let names = |names: Vec<&str>| format!("parameters ({})", names.join(", "));
            let known_names: Vec<&str> = known.params.iter().map(|p| p.name.as_str()).collect();
            let found_names: Vec<&str> = found.params.iter().map(|(n, _)| n.as_str()).collect();
            if known_names != found_names {
                return Err(differs(&names(known_names), &names(found_names)));
            }
            for (known, (name, found)) in known.params.iter().zip(&found.params) {
                self.value(known.ty, *found)
                    .map_err(|d| d.within(&format!("parameter {name}")))?;
            }
            self.optional(known.result, found.result)
                .map_err(|d| d.within("result"))
        };
        compare().map_err(|difference| difference.within(&format!("function {}", known.name)))
    }

    fn named_type(
        &self,
        name: &str,
        known: Type,
        found: ComponentAnyTypeId,
    ) -> Result<(), Difference> {
        match found {
            ComponentAnyTypeId::Resource(id) => {
                let found = self.resources.get(&id.resource()).map(String::as_str);
                if resource_name(self.resolve, known).as_deref() == found {
                    return Ok(());
                }
                let found = format!("resource {}", found.unwrap_or("of the plugin's own"));
                Err(differs(&describe(self.resolve, known), &found).within(&format!("type {name}")))
            }
            ComponentAnyTypeId::Defined(id) => self.value(known, ComponentValType::Type(id)),
            _ => unknown(
                format!("type {name}"),
                "expected a value type or a resource",
            ),
        }
    }

    /// Compares two value types. The recursion follows the contract's type, which is finite.
    fn value(&self, known: Type, found: ComponentValType) -> Result<(), Difference> {
        let known = follow_aliases(self.resolve, known);
        let mismatch = || {
            differs(
                &describe(self.resolve, known),
                &describe_found(self.types, found),
            )
        };
        let Type::Id(id) = known else {
            let name = self.primitive_name(found);
            return if name == Some(describe(self.resolve, known)) {
                Ok(())
            } else {
                Err(mismatch())
            };
        };
        let ComponentValType::Type(found_id) = found else {
            return Err(mismatch());
        };
        let definition = &self.resolve.types[id];
        let compare = || match (&definition.kind, &self.types[found_id]) {
            (TypeDefKind::Record(known), ComponentDefinedType::Record(found)) => {
                let names: Vec<&str> = found.fields.keys().map(|name| name.as_str()).collect();
                same_names(
                    "field",
                    known.fields.iter().map(|f| f.name.as_str()),
                    &names,
                )?;
                for (known, (name, found)) in known.fields.iter().zip(&found.fields) {
                    self.value(known.ty, *found)
                        .map_err(|d| d.within(&format!("field {name}")))?;
                }
                Ok(())
            }
            (TypeDefKind::Variant(known), ComponentDefinedType::Variant(found)) => {
                let names: Vec<&str> = found.cases.keys().map(|name| name.as_str()).collect();
                same_names("case", known.cases.iter().map(|c| c.name.as_str()), &names)?;
                for (known, (name, found)) in known.cases.iter().zip(&found.cases) {
                    self.optional(known.ty, found.ty)
                        .map_err(|d| d.within(&format!("case {name}")))?;
                }
                Ok(())
            }
            (TypeDefKind::Enum(known), ComponentDefinedType::Enum(found)) => {
                let names: Vec<&str> = found.iter().map(|name| name.as_str()).collect();
                same_names("case", known.cases.iter().map(|c| c.name.as_str()), &names)
            }
            (TypeDefKind::Flags(known), ComponentDefinedType::Flags(found)) => {
                let names: Vec<&str> = found.iter().map(|name| name.as_str()).collect();
                same_names("flag", known.flags.iter().map(|f| f.name.as_str()), &names)
            }
            (TypeDefKind::Tuple(known), ComponentDefinedType::Tuple(found))
                if known.types.len() == found.types.len() =>
            {
                for (index, (known, found)) in known.types.iter().zip(&found.types).enumerate() {
                    self.value(*known, *found)
                        .map_err(|d| d.within(&format!("element {index}")))?;
                }
                Ok(())
            }
            (TypeDefKind::List(known), ComponentDefinedType::List { element, .. }) => {
                self.value(*known, *element).map_err(|d| d.within("list"))
            }
            (TypeDefKind::Option(known), ComponentDefinedType::Option { ty, .. }) => {
                self.value(*known, *ty).map_err(|d| d.within("option"))
            }
            (TypeDefKind::Result(known), ComponentDefinedType::Result { ok, err, .. }) => {
                self.optional(known.ok, *ok).map_err(|d| d.within("ok"))?;
                self.optional(known.err, *err)
                    .map_err(|d| d.within("error"))
            }
            (TypeDefKind::Handle(Handle::Own(known)), ComponentDefinedType::Own(found))
            | (TypeDefKind::Handle(Handle::Borrow(known)), ComponentDefinedType::Borrow(found)) => {
                let known = resource_name(self.resolve, Type::Id(*known));
                let found = self.resources.get(&found.resource());
                if known.as_ref() == found {
                    Ok(())
                } else {
                    Err(mismatch())
                }
            }
            _ => Err(mismatch()),
        };
        compare().map_err(
            |difference| match (&definition.name, difference.path.is_empty()) {
                // `expected record x, found ..` names the type already.
                (Some(name), false) => {
                    difference.within(&format!("{} {name}", definition.kind.as_str()))
                }
                _ => difference,
            },
        )
    }

    fn optional(
        &self,
        known: Option<Type>,
        found: Option<ComponentValType>,
    ) -> Result<(), Difference> {
        match (known, found) {
            (None, None) => Ok(()),
            (Some(known), Some(found)) => self.value(known, found),
            (Some(known), None) => Err(differs(&describe(self.resolve, known), "nothing")),
            (None, Some(found)) => Err(differs("nothing", &describe_found(self.types, found))),
        }
    }

    fn primitive_name(&self, found: ComponentValType) -> Option<String> {
        let primitive: PrimitiveValType = match found {
            ComponentValType::Primitive(primitive) => primitive,
            ComponentValType::Type(id) => match self.types[id] {
                ComponentDefinedType::Primitive(primitive) => primitive,
                _ => return None,
            },
        };
        Some(primitive.to_string())
    }
}

impl Difference {
    fn within(self, step: &str) -> Difference {
        let path = match self.path.as_str() {
            "" => step.to_owned(),
            path => format!("{step}, {path}"),
        };
        Difference { path, ..self }
    }
}

fn differs(expected: &str, found: &str) -> Difference {
    Difference {
        path: String::new(),
        what: format!("expected {expected}, found {found}"),
    }
}

fn unknown(path: String, what: &str) -> Result<(), Difference> {
    Err(Difference {
        path,
        what: what.to_owned(),
    })
}

/// Compares the names of fields, cases or flags, which must be the same in the same order.
fn same_names<'a>(
    kind: &str,
    known: impl Iterator<Item = &'a str>,
    found: &[&str],
) -> Result<(), Difference> {
    let known: Vec<&str> = known.collect();
    if known == found {
        return Ok(());
    }
    let problem = |name: &str, what: String| Difference {
        path: format!("{kind} {name}"),
        what,
    };
    if let Some(missing) = known.iter().find(|name| !found.contains(name)) {
        let what = format!("it is missing; found are ({})", found.join(", "));
        return Err(problem(missing, what));
    }
    if let Some(extra) = found.iter().find(|name| !known.contains(name)) {
        return Err(problem(extra, format!("the contract has no such {kind}")));
    }
    let at = known
        .iter()
        .zip(found)
        .position(|(known, found)| known != found)
        .unwrap_or(0);
    let found = found.get(at).copied().unwrap_or_default();
    Err(problem(
        known[at],
        format!("expected here by the contract's order, found {kind} {found}"),
    ))
}
