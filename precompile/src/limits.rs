//! Whether a component fits into what devices set aside for an instance.
//!
//! A device's allocator refuses what does not fit when it loads the artifact. The engine's own
//! translation is asked here what it will count there, so that the answer is the same.

use wasmparser::Validator;
use wasmtime_environ::component::{
    Component, ComponentTypesBuilder, GlobalInitializer, InstantiateModule, Translator,
    VMComponentOffsets,
};
use wasmtime_environ::{
    ModuleTranslation, PrimaryMap, ScopeVec, StaticModuleIndex, Tunables, VMOffsets,
};
use zlayer_bundle::{
    CORE_INSTANCES_MAX, INSTANCE_BYTES_MAX, MEMORIES_MAX, TABLE_ELEMENTS_MAX, TABLES_MAX,
    WASM_FEATURES,
};

use crate::{Problem, Refused};

/// The width of a pointer on devices of 64 bits, in bytes: where it is smaller, records are.
const POINTER: u8 = 8;
/// What an instance's record takes beside what its module tells: a structure of the engine's that
/// has no name outside of it, some 200 bytes.
const RECORD_BYTES: usize = 1 << 10;

/// Checks a valid component against the limits of every device.
///
/// # Errors
///
/// [`Refused`], with each limit that it exceeds by name.
pub fn check_limits(component: &[u8]) -> Result<(), Refused> {
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
    match problems.is_empty() {
        true => Ok(()),
        false => Err(Refused { problems }),
    }
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
            let module = &modules[*index].module;
            counted.memories += module.num_defined_memories();
            counted.tables += module.num_defined_tables();
            let tables = module.tables.iter().skip(module.num_imported_tables);
            let largest = tables.map(|(_, table)| table.limits.min).max();
            counted.table_elements = counted.table_elements.max(largest.unwrap_or(0));
            let record = VMOffsets::new(POINTER, module).size_of_vmctx() as usize + RECORD_BYTES;
            counted.largest_record = counted.largest_record.max(record);
            counted.records += record;
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
                "it grows with functions that are exported, imported or called indirectly, globals and \
                 data segments: build the plugin with optimisation, or split it",
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
            Ok(()) => Vec::new(),
            Err(refused) => refused.problems.into_iter().map(|one| one.item).collect(),
        }
    }

    fn instances(module: &str, count: usize) -> String {
        let instances = "(core instance (instantiate $m))".repeat(count);
        format!("(core module $m {module}) {instances}")
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
