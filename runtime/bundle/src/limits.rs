//! What an instance may be made of: how much a device sets aside for each, and so what the compiling
//! side refuses. All targets have the same limits, whatever their allocator.

/// Instances of a plugin at the same time, where nothing is said of that: as many as in ZLayer's own specification.
pub const DEFAULT_INSTANCES: u32 = 10;
/// Core modules that a component may instantiate: one with a memory and a few small ones around it,
/// or dozens where an interpreter and its libraries are linked together.
pub const CORE_INSTANCES_MAX: u32 = 128;
/// Linear memories that an instance may have, all its core modules together.
pub const MEMORIES_MAX: u32 = 4;
/// Tables that it may have, likewise.
pub const TABLES_MAX: u32 = 16;
/// Elements that a table may begin with, or grow to.
pub const TABLE_ELEMENTS_MAX: usize = 20_000;
/// Bytes of the engine's own record of an instance, which holds all that its core modules import and
/// define, but for memories and tables.
pub const INSTANCE_BYTES_MAX: usize = 1 << 20;
