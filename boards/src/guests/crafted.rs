//! Plugins that no compiler would write: `hello`, with a core module beside it that has more of one thing
//! than any plugin needs.

use anyhow::{Context, Result};
use wasm_encoder::{
    CodeSection, ComponentSection, ConstExpr, ExportKind, ExportSection, Function, FunctionSection,
    GlobalSection, GlobalType, InstanceSection, Module, ModuleArg, ModuleSection, RefType,
    TableSection, TableType, TypeSection, ValType,
};
use wasmparser::{Parser, Payload};

/// The plugin that all of them are made of.
const BASE: &str = "hello";

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
    Ok(vec![
        ("tables", tables(base)?),
        ("many-names", with_instances(base, &names(), 1)?),
        ("many-types", with_instances(base, &types(), 1)?),
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
