//! Types as people write them.

use wasmparser::component_types::{ComponentDefinedType, ComponentValType};
use wasmparser::types::TypesRef;
use wit_parser::{Handle, Resolve, Type, TypeDefKind};

/// A type of the contract as people write it.
pub(crate) fn describe(resolve: &Resolve, ty: Type) -> String {
    let optional = |ty: Option<Type>| ty.map_or_else(|| "_".to_owned(), |ty| describe(resolve, ty));
    let id = match ty {
        Type::Bool => return "bool".to_owned(),
        Type::U8 => return "u8".to_owned(),
        Type::U16 => return "u16".to_owned(),
        Type::U32 => return "u32".to_owned(),
        Type::U64 => return "u64".to_owned(),
        Type::S8 => return "s8".to_owned(),
        Type::S16 => return "s16".to_owned(),
        Type::S32 => return "s32".to_owned(),
        Type::S64 => return "s64".to_owned(),
        Type::F32 => return "f32".to_owned(),
        Type::F64 => return "f64".to_owned(),
        Type::Char => return "char".to_owned(),
        Type::String => return "string".to_owned(),
        Type::ErrorContext => return "error-context".to_owned(),
        Type::Id(id) => id,
    };
    let definition = &resolve.types[id];
    match (&definition.kind, &definition.name) {
        (TypeDefKind::Type(ty), _) => describe(resolve, *ty),
        (kind, Some(name)) => format!("{} {name}", kind.as_str()),
        (TypeDefKind::List(ty), None) => format!("list<{}>", describe(resolve, *ty)),
        (TypeDefKind::Option(ty), None) => format!("option<{}>", describe(resolve, *ty)),
        (TypeDefKind::Result(result), None) => {
            format!("result<{}, {}>", optional(result.ok), optional(result.err))
        }
        (TypeDefKind::Tuple(tuple), None) => {
            let types: Vec<String> = tuple
                .types
                .iter()
                .map(|ty| describe(resolve, *ty))
                .collect();
            format!("tuple<{}>", types.join(", "))
        }
        (TypeDefKind::Handle(Handle::Own(id)), None) => {
            format!("own<{}>", describe(resolve, Type::Id(*id)))
        }
        (TypeDefKind::Handle(Handle::Borrow(id)), None) => {
            format!("borrow<{}>", describe(resolve, Type::Id(*id)))
        }
        (kind, None) => kind.as_str().to_owned(),
    }
}

/// A type of the component as people write it, in its outermost layers only: it may be
/// nested as deep as its author liked.
pub(crate) fn describe_found(types: TypesRef<'_>, ty: ComponentValType) -> String {
    describe_layers(types, ty, 3)
}

fn describe_layers(types: TypesRef<'_>, ty: ComponentValType, layers: usize) -> String {
    let id = match ty {
        ComponentValType::Primitive(primitive) => return primitive.to_string(),
        ComponentValType::Type(id) => id,
    };
    if layers == 0 {
        return "..".to_owned();
    }
    let inner = |ty: ComponentValType| describe_layers(types, ty, layers - 1);
    let optional = |ty: Option<ComponentValType>| ty.map_or_else(|| "_".to_owned(), &inner);
    let list = |names: Vec<&str>| {
        let more = if names.len() > 6 { ", .." } else { "" };
        format!("{}{more}", names[..names.len().min(6)].join(", "))
    };
    match &types[id] {
        ComponentDefinedType::Primitive(primitive) => primitive.to_string(),
        ComponentDefinedType::Record(record) => {
            format!(
                "a record ({})",
                list(record.fields.keys().map(|n| n.as_str()).collect())
            )
        }
        ComponentDefinedType::Variant(variant) => {
            format!(
                "a variant ({})",
                list(variant.cases.keys().map(|n| n.as_str()).collect())
            )
        }
        ComponentDefinedType::Enum(cases) => {
            format!(
                "an enum ({})",
                list(cases.iter().map(|n| n.as_str()).collect())
            )
        }
        ComponentDefinedType::Flags(flags) => {
            format!(
                "flags ({})",
                list(flags.iter().map(|n| n.as_str()).collect())
            )
        }
        ComponentDefinedType::Tuple(tuple) => {
            let types: Vec<String> = tuple.types.iter().take(6).map(|ty| inner(*ty)).collect();
            format!("tuple<{}>", types.join(", "))
        }
        ComponentDefinedType::List { element, .. } => format!("list<{}>", inner(*element)),
        ComponentDefinedType::Option { ty, .. } => format!("option<{}>", inner(*ty)),
        ComponentDefinedType::Result { ok, err, .. } => {
            format!("result<{}, {}>", optional(*ok), optional(*err))
        }
        ComponentDefinedType::Own(_) => "an owned handle to another resource".to_owned(),
        ComponentDefinedType::Borrow(_) => "a borrowed handle to another resource".to_owned(),
        ComponentDefinedType::Map { .. } => "a map".to_owned(),
        ComponentDefinedType::FixedLengthList { .. } => "a list of fixed length".to_owned(),
        ComponentDefinedType::Future { .. } => "a future".to_owned(),
        ComponentDefinedType::Stream { .. } => "a stream".to_owned(),
    }
}
