//! Whether a component fits into what devices set aside for an instance.
//!
//! A device's allocator refuses what does not fit when it loads the artifact. The engine's own
//! translation is asked here what it will count there, so that the answer is the same. What the engine
//! takes of a device's memory is counted along with it.

use wasmparser::{DataKind, Parser, Payload, Validator};
use wasmtime_environ::component::{
    Component, ComponentTypesBuilder, GlobalInitializer, InstantiateModule, Translator,
    VMComponentOffsets,
};
use wasmtime_environ::{
    ModuleTranslation, ModuleTypesBuilder, PrimaryMap, ScopeVec, StaticModuleIndex, Tunables,
    VMOffsets,
};
use zlayer_bundle::{
    CORE_INSTANCES_MAX, EngineBytes, INSTANCE_BYTES_MAX, MEMORIES_MAX, TABLE_ELEMENTS_MAX,
    TABLES_MAX, WASM_FEATURES,
};

use crate::{Problem, Refused};

/// The width of a pointer on devices of 64 bits, in bytes: where it is smaller, records are.
const POINTER: u8 = 8;
/// What an instance's record takes beside what its module tells: a structure of the engine's that
/// has no name outside of it, some 200 bytes.
const RECORD_BYTES: usize = 1 << 10;
/// What a passive data segment takes of a record: a pointer and a length.
const PASSIVE_DATA_BYTES: usize = 12;
/// What a passive element segment takes of a record, beside its elements and what the allocator adds.
const PASSIVE_ELEMENTS_BYTES: usize = 64;
/// What an element of such a segment takes.
const ELEMENT_BYTES: usize = 16;

/// What the engine keeps for each of these in its description of the code, at the most. Measured on
/// 64 bits with a hundred thousand of each; 32 bits take less.
const TYPE_BYTES: usize = 1000;
const PARAMETER_BYTES: usize = 48;
const NAME_BYTES: usize = 128;
const FUNCTION_BYTES: usize = 48;
const GLOBAL_BYTES: usize = 64;
const SEGMENT_BYTES: usize = 64;

/// What is not worth a note in the manifest: devices take that much for every plugin.
const FREE: EngineBytes = EngineBytes {
    description: 128 << 10,
    instance: 256 << 10,
};

/// Checks a valid component against the limits of every device. Answers what the engine takes of a
/// device's memory for it, where that is more than every plugin takes.
///
/// # Errors
///
/// [`Refused`], with each limit that it exceeds by name.
pub fn check_limits(component: &[u8]) -> Result<Option<EngineBytes>, Refused> {
    let unknown = |error: String| {
        let what = format!("the engine cannot read it: {error}");
        let mend = "the plugin uses something that this engine does not support: build it with \
                    fewer WebAssembly features";
        Refused::from(Problem::new("component", what, mend))
    };
    let tunables = Tunables::default_u64();
    let scope = ScopeVec::new();
    let mut validator = Validator::new_with_features(WASM_FEATURES);
    let mut types = ComponentTypesBuilder::new(&validator);
    let translator = Translator::new(&tunables, &mut validator, &mut types, &scope);
    let translated = translator.translate(component);
    let (translation, modules) = translated.map_err(|error| unknown(format!("{error:#}")))?;
    let counted = Counted::of(&translation.component, &modules);
    let problems = counted.problems();
    if !problems.is_empty() {
        return Err(Refused { problems });
    }
    let described = modules
        .iter()
        .map(|(_, module)| description(module, types.module_types_builder()));
    let engine = EngineBytes {
        description: described.sum::<usize>() as u64,
        instance: counted.records as u64,
    };
    let is_much = engine.description > FREE.description || engine.instance > FREE.instance;
    Ok(is_much.then_some(engine))
}

/// Bytes that the engine's description of a module takes in memory, at the most.
fn description(module: &ModuleTranslation<'_>, types: &ModuleTypesBuilder) -> usize {
    let module = &module.module;
    let declared = module.types.values().map(|index| {
        let parameters = index.as_module_type_index().and_then(|index| {
            let function = types[index].as_func()?;
            Some(function.params().len() + function.results().len())
        });
        TYPE_BYTES + parameters.unwrap_or(0) * PARAMETER_BYTES
    });
    let names = module.initializers.len() + module.exports.len();
    let segments = module.passive_elements.len() + module.table_initialization.len();
    declared.sum::<usize>()
        + names * NAME_BYTES
        + module.functions.len() * FUNCTION_BYTES
        + module.globals.len() * GLOBAL_BYTES
        + segments * SEGMENT_BYTES
}

/// How many data segments of a module are passive. The engine numbers them when it compiles them.
fn passive_data(module: &[u8]) -> usize {
    let payloads = Parser::new(0).parse_all(module);
    let sections = payloads.filter_map(|payload| match payload {
        Ok(Payload::DataSection(section)) => Some(section),
        _ => None,
    });
    let segments = sections.flat_map(|section| section.into_iter().flatten());
    { segments }
        .filter(|segment| matches!(segment.kind, DataKind::Passive))
        .count()
}

/// What an instance is made of.
#[derive(Debug, Default)]
struct Counted {
    core_instances: usize,
    memories: usize,
    tables: usize,
    /// The elements that the largest table begins with.
    table_elements: u64,
    /// Bytes of the record of the largest core instance, and of all together.
    largest_record: usize,
    records: usize,
}

impl Counted {
    fn of(
        component: &Component,
        modules: &PrimaryMap<StaticModuleIndex, ModuleTranslation<'_>>,
    ) -> Counted {
        let offsets = VMComponentOffsets::new(POINTER, component);
        let mut counted = Counted {
            records: offsets.size_of_vmctx() as usize,
            ..Counted::default()
        };
        for initializer in &component.initializers {
            let GlobalInitializer::InstantiateModule(module, _) = initializer else {
                continue;
            };
            counted.core_instances += 1;
            // One that is imported is none that a device could bring.
            let InstantiateModule::Static(index, _) = module else {
                continue;
            };
            let translation = &modules[*index];
            let module = &translation.module;
            counted.memories += module.num_defined_memories();
            counted.tables += module.num_defined_tables();
            let tables = module.tables.iter().skip(module.num_imported_tables);
            let largest = tables.map(|(_, table)| table.limits.min).max();
            counted.table_elements = counted.table_elements.max(largest.unwrap_or(0));
            let record = VMOffsets::new(POINTER, module).size_of_vmctx() as usize
                + RECORD_BYTES
                + passive_data(translation.wasm) * PASSIVE_DATA_BYTES;
            counted.largest_record = counted.largest_record.max(record);
            let elements = module.passive_elements.values().map(|(_, length)| {
                let length = usize::try_from(*length).unwrap_or(usize::MAX);
                length
                    .saturating_mul(ELEMENT_BYTES)
                    .saturating_add(PASSIVE_ELEMENTS_BYTES)
            });
            let record = elements.fold(record, usize::saturating_add);
            counted.records = counted.records.saturating_add(record);
        }
        counted
    }

    /// Each limit that is exceeded.
    fn problems(&self) -> Vec<Problem> {
        let apart = "split the plugin in two, or link its parts into one core module";
        let mut problems = Vec::new();
        for (item, found, most, mend) in [
            (
                "core instances",
                self.core_instances,
                CORE_INSTANCES_MAX as usize,
                apart,
            ),
            (
                "linear memories",
                self.memories,
                MEMORIES_MAX as usize,
                apart,
            ),
            ("tables", self.tables, TABLES_MAX as usize, apart),
            (
                "table elements",
                usize::try_from(self.table_elements).unwrap_or(usize::MAX),
                TABLE_ELEMENTS_MAX,
                "a table holds what is called indirectly: split the plugin, or build it with \
                 optimisation, which drops functions that nobody calls",
            ),
            (
                "bytes of an instance's record",
                self.records.max(self.largest_record),
                INSTANCE_BYTES_MAX,
                "it grows with functions that are exported, imported or called indirectly, globals, \
                 passive data segments and passive elements: build the plugin with optimisation, or split it",
            ),
        ] {
            if found > most {
                let what = format!("an instance has {found}, and devices set aside {most} at most");
                problems.push(Problem::new(item, what, mend));
            }
        }
        problems
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use super::*;

    /// The limits that a component exceeds.
    fn exceeded(text: &str) -> Vec<String> {
        let bytes = wat::parse_str(format!("(component {text})")).unwrap();
        match check_limits(&bytes) {
            Ok(_) => Vec::new(),
            Err(refused) => refused.problems.into_iter().map(|one| one.item).collect(),
        }
    }

    fn instances(module: &str, count: usize) -> String {
        let instances = "(core instance (instantiate $m))".repeat(count);
        format!("(core module $m {module}) {instances}")
    }

    /// An instance with a passive segment of so many elements.
    fn passive_elements(count: usize) -> String {
        let elements = " $f".repeat(count);
        instances(&format!("(func $f) (elem func{elements})"), 1)
    }

    /// What the engine takes for a component.
    fn engine(text: &str) -> Option<EngineBytes> {
        check_limits(&wat::parse_str(format!("(component {text})")).unwrap()).unwrap()
    }

    #[test]
    fn what_the_engine_takes_is_told_where_it_is_much() {
        assert_eq!(engine(&instances("(func (export \"f\"))", 1)), None);
        let types: String = (0..256)
            .map(|number: u32| {
                let parameters = (0..8).map(|bit| ["i32 ", "i64 "][(number >> bit & 1) as usize]);
                format!("(type (func (param {})))", parameters.collect::<String>())
            })
            .collect();
        let described = engine(&instances(&types, 1)).unwrap().description;
        assert!((256 << 10..512 << 10).contains(&described), "{described}");
        // The records of all that are made of one module.
        let globals = "(global (mut i64) (i64.const 0))".repeat(1_000);
        let record = engine(&instances(&globals, 30)).unwrap().instance;
        assert!((480_000..600_000).contains(&record), "{record}");
    }

    #[test]
    fn what_fits_is_accepted_and_one_more_is_refused_by_name() {
        let many = |one: &str, count: usize| instances(&one.repeat(count), 1);
        for (text, more, item) in [
            (instances("", 128), instances("", 129), "core instances"),
            (
                many("(memory 1)", 4),
                many("(memory 1)", 5),
                "linear memories",
            ),
            // The same in a composition, where each module has its own.
            (
                instances("(memory 1)", 4),
                instances("(memory 1)", 5),
                "linear memories",
            ),
            (
                many("(table 1 funcref)", 16),
                many("(table 1 funcref)", 17),
                "tables",
            ),
            (
                instances("(table 20000 funcref)", 1),
                instances("(table 20001 funcref)", 1),
                "table elements",
            ),
            (
                many("(global (mut i64) (i64.const 0))", 60_000),
                many("(global (mut i64) (i64.const 0))", 70_000),
                "bytes of an instance's record",
            ),
            (
                many("(data \"x\")", 80_000),
                many("(data \"x\")", 90_000),
                "bytes of an instance's record",
            ),
            (
                passive_elements(60_000),
                passive_elements(70_000),
                "bytes of an instance's record",
            ),
        ] {
            assert_eq!(exceeded(&text), [""; 0], "{item}");
            assert_eq!(exceeded(&more), [item]);
        }
    }

    #[test]
    fn a_module_that_is_not_instantiated_does_not_count() {
        let text = "(core module $m (table 20001 funcref))";
        assert_eq!(exceeded(text), [""; 0]);
    }

    #[test]
    fn instances_in_components_within_count_as_often_as_they_are_made() {
        let inner = instances("(memory 1)", 2);
        let outer = |count: usize| {
            let made = "(instance (instantiate $c))".repeat(count);
            format!("(component $c {inner}) {made}")
        };
        assert_eq!(exceeded(&outer(2)), [""; 0]);
        assert_eq!(exceeded(&outer(3)), ["linear memories"]);
    }
}
