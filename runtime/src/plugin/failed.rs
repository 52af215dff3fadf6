//! Finds out why a call into an instance failed.

use wasmtime::{Store, Trap};

use crate::failure::Failure;
use crate::host::{HostState, NoRoom};

/// Turns the error that a call into an instance ended with into a failure, and records it as the
/// plugin's incident unless others were to blame.
pub(super) fn from_call(error: wasmtime::Error, store: &Store<HostState>) -> Failure {
    // This trap is how allocators give up. Any other trap has nothing to do with memory that was
    // refused before.
    if let Some(no_room) = store.data().no_room(&error) {
        return match no_room {
            NoRoom::Memory(refused) if refused.is_busy => {
                Failure::Busy(format!("others have the memory: {refused}"))
            }
            no_room => recorded(no_handles_or_memory(no_room, &error), store),
        };
    }
    if is_too_many_handles(&error) {
        let reason = format!(
            "{}: more handles are held or lent to a call than --max-handles allows",
            error.root_cause()
        );
        return recorded(Failure::Trap(reason), store);
    }
    let gave_up = error.downcast_ref() == Some(&Trap::UnreachableCodeReached);
    let reason = Failure::trap(error);
    let failure = match (reason, store.data().limiter.refused()) {
        (Failure::Trap(reason), Some(refused)) => {
            let reason = format!(
                "it was refused {} KiB of memory (--memory-max), then: {reason}",
                refused.wanted >> 10
            );
            if refused.is_busy && gave_up {
                return Failure::Busy(format!("others have the memory: {reason}"));
            }
            Failure::OutOfMemory(reason)
        }
        (reason, _) => reason,
    };
    recorded(failure, store)
}

/// A failure that is the plugin's own incident.
fn recorded(failure: Failure, store: &Store<HostState>) -> Failure {
    store.data().trapped(&failure);
    failure
}

fn no_handles_or_memory(no_room: NoRoom, error: &wasmtime::Error) -> Failure {
    match no_room {
        NoRoom::Memory(refused) => Failure::OutOfMemory(refused.to_string()),
        NoRoom::Handles(max) => Failure::Trap(format!(
            "{}: it holds {max} handles (streams, bodies, header fields, pollables), as many as \
             --max-handles allows",
            error.root_cause()
        )),
    }
}

/// Whether a call ended because the engine counts more handles than it may have. Its error is a text.
fn is_too_many_handles(error: &wasmtime::Error) -> bool {
    let cause = error.root_cause().to_string();
    cause.contains("store handle limit exceeded")
}

/// Whether a call ended because the plugin returned more data than the engine copies. The engine's
/// type for this error is private, so its text is compared; a test fails if that text changes.
pub(super) fn is_too_much(error: &wasmtime::Error) -> bool {
    let cause = error.root_cause().to_string();
    cause.contains("fuel allocated for hostcalls has been exhausted")
}
