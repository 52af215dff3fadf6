//! Finds out why a call into an instance failed.

use wasmtime::{Store, Trap};

use crate::failure::Failure;
use crate::host::HostState;

/// Turns the error that a call into an instance ended with into a failure, and records it as the
/// plugin's incident unless others were to blame.
pub(super) fn from_call(error: wasmtime::Error, store: &Store<HostState>) -> Failure {
    // This trap is how allocators give up. Any other trap has nothing to do with memory that was
    // refused before.
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

/// Whether a call ended because the plugin returned more data than the engine copies. The engine's
/// type for this error is private, so its text is compared; a test fails if that text changes.
pub(super) fn is_too_much(error: &wasmtime::Error) -> bool {
    let cause = error.root_cause().to_string();
    cause.contains("fuel allocated for hostcalls has been exhausted")
}
