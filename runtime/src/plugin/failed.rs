//! Why a call into an instance failed.

use wasmtime::{Store, Trap};

use crate::failure::Failure;
use crate::host::HostState;

/// Reads the reason out of an error that a call into an instance ended with, and has it counted
/// where it is the plugin's.
pub(super) fn from_call(error: wasmtime::Error, store: &Store<HostState>) -> Failure {
    // How allocators give up. Any other trap is the plugin's own, whatever it was refused before.
    let gave_up = error.downcast_ref() == Some(&Trap::UnreachableCodeReached);
    let reason = Failure::trap(error);
    let failure = match (reason, store.data().limiter.refused()) {
        (Failure::Trap(reason), Some(refused)) => {
            let reason = format!(
                "it was refused {} KiB of memory, then: {reason}",
                refused.wanted >> 10
            );
            if refused.is_busy && gave_up {
                return Failure::Busy(format!("others have the memory: {reason}"));
            }
            Failure::OutOfMemory(reason)
        }
        (reason, _) => reason,
    };
    store.data().trapped(&failure);
    failure
}

/// Whether a call ended since the plugin handed over more than the engine copies. The engine's
/// type for that is its own; a test tells if its words change.
pub(super) fn is_too_much(error: &wasmtime::Error) -> bool {
    let cause = error.root_cause().to_string();
    cause.contains("fuel allocated for hostcalls has been exhausted")
}
