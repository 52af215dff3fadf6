//! Plugins that no compiler would write: `hello`, with a core module beside it that has more of one thing
//! than any plugin needs, and `lavish`, whose texts are said to be Latin-1.

use anyhow::{Context, Result, ensure};
use wasm_encoder::{
    CodeSection, ComponentSection, ConstExpr, ExportKind, ExportSection, Function, FunctionSection,
    GlobalSection, GlobalType, InstanceSection, Module, ModuleArg, ModuleSection, RefType,
    TableSection, TableType, TypeSection, ValType,
};
use wasmparser::{CanonicalFunction, CanonicalOption, Parser, Payload};

/// The plugin that most of them are made of.
const BASE: &str = "hello";
/// The one that hands long texts to the host.
const LAVISH: &str = "lavish";

/// Elements of a table, tables, globals and instances: nearly as many as devices allow
/// (`runtime/bundle/src/limits.rs`), and of tables as many as the least ceiling has room for.
const ELEMENTS: u64 = 20_000;
const TABLES: u32 = 6;
const GLOBALS: u32 = 500;
const INSTANCES: u32 = 100;

/// Names under which one function is exported: two megabytes of description.
const NAMES: u32 = 200_000;

/// Types of functions, all different: the engine keeps a kilobyte for each.
const TYPES: u32 = 30_000;

/// Makes each of them of the built guests: its name, and the component.
pub(super) fn all(guests: &[(String, Vec<u8>)]) -> Result<Vec<(&'static str, Vec<u8>)>> {
    let base = guests.iter().find(|(name, _)| name == BASE);
    let (_, base) = base.with_context(|| format!("there is no guest {BASE} to craft others of"))?;
    let lavish = guests.iter().find(|(name, _)| name == LAVISH);
    let (_, lavish) = lavish.with_context(|| format!("there is no guest {LAVISH}"))?;
    Ok(vec![
        ("tables", tables(base)?),
        ("many-names", with_instances(base, &names(), 1)?),
        ("many-types", with_instances(base, &types(), 1)?),
        ("lavish-latin1", latin1(lavish)?),
    ])
}

/// Tables in one core instance, and many more instances of another module that has globals.
fn tables(base: &[u8]) -> Result<Vec<u8>> {
    let mut module = Module::new();
    let mut section = TableSection::new();
    for _ in 0..TABLES {
        section.table(TableType {
            element_type: RefType::FUNCREF,
            table64: false,
            minimum: ELEMENTS,
            maximum: None,
            shared: false,
        });
    }
    module.section(&section);
    let with_tables = with_instances(base, &module, 1)?;

    let mut module = Module::new();
    let mut section = GlobalSection::new();
    for _ in 0..GLOBALS {
        let global = GlobalType {
            val_type: ValType::I64,
            mutable: true,
            shared: false,
        };
        section.global(global, &ConstExpr::i64_const(1));
    }
    module.section(&section);
    with_instances(&with_tables, &module, INSTANCES)
}

fn names() -> Module {
    let mut module = Module::new();
    let mut section = TypeSection::new();
    section.ty().function([], []);
    module.section(&section);
    let mut section = FunctionSection::new();
    section.function(0);
    module.section(&section);
    let mut section = ExportSection::new();
    for number in 0..NAMES {
        section.export(&format!("{number:x}"), ExportKind::Func, 0);
    }
    module.section(&section);
    let mut section = CodeSection::new();
    let mut body = Function::new([]);
    body.instructions().end();
    section.function(&body);
    module.section(&section);
    module
}

fn types() -> Module {
    let mut module = Module::new();
    let mut section = TypeSection::new();
    for number in 0..TYPES {
        let parameters = (0..10).map(|place| match number >> (2 * place) & 3 {
            0 => ValType::I32,
            1 => ValType::I64,
            2 => ValType::F32,
            _ => ValType::F64,
        });
        section.ty().function(parameters, []);
    }
    module.section(&section);
    module
}

/// A component with a module more, and so many instances of it, made without arguments.
fn with_instances(component: &[u8], module: &Module, count: u32) -> Result<Vec<u8>> {
    let index = core_modules(component)?;
    let mut bytes = component.to_vec();
    ModuleSection(module).append_to_component(&mut bytes);
    let mut section = InstanceSection::new();
    for _ in 0..count {
        section.instantiate::<[(&str, ModuleArg); 0], _>(index, []);
    }
    section.append_to_component(&mut bytes);
    Ok(bytes)
}

/// A component whose imported functions take their texts as Latin-1: one byte a letter, of which half are two in
/// UTF-8. Languages whose texts are UTF-16 or Latin-1 do so.
fn latin1(component: &[u8]) -> Result<Vec<u8>> {
    let mut bytes = component.to_vec();
    let mut changed = 0;
    for payload in Parser::new(0).parse_all(component) {
        let Payload::ComponentCanonicalSection(section) =
            payload.context("the component cannot be read")?
        else {
            continue;
        };
        for function in section.into_iter_with_offsets() {
            let (at, function) = function.context("the component's functions cannot be read")?;
            let CanonicalFunction::Lower { options, .. } = function else {
                continue;
            };
            if !options.contains(&CanonicalOption::UTF8) {
                continue;
            }
            // `canon lower`, its function's number, and the options (Binary.md of the component model). Those
            // before the encoding are a byte and a small number each.
            let mut place = at + 2;
            skip_number(component, &mut place);
            skip_number(component, &mut place);
            for option in options.iter() {
                if *option == CanonicalOption::UTF8 {
                    break;
                }
                place += 1;
                skip_number(component, &mut place);
            }
            ensure!(
                component.get(place) == Some(&UTF8),
                "no encoding at {place}"
            );
            bytes[place] = COMPACT_UTF16;
            changed += 1;
        }
    }
    ensure!(changed > 0, "the component hands no text to the host");
    Ok(bytes)
}

/// The encodings of texts in a component's options.
const UTF8: u8 = 0;
const COMPACT_UTF16: u8 = 2;

/// Steps over a number in LEB128.
fn skip_number(bytes: &[u8], place: &mut usize) {
    while bytes.get(*place).is_some_and(|byte| byte & 0x80 != 0) {
        *place += 1;
    }
    *place += 1;
}

/// How many core modules a component has itself.
fn core_modules(component: &[u8]) -> Result<u32> {
    let (mut count, mut depth) = (0, 0);
    for payload in Parser::new(0).parse_all(component) {
        match payload.context("the component cannot be read")? {
            Payload::ModuleSection { .. } => {
                count += u32::from(depth == 0);
                depth += 1;
            }
            Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth -= 1,
            _ => {}
        }
    }
    Ok(count)
}
