//! Finds out why a call into an instance failed.

use std::sync::LazyLock;

use wasmtime::component::WasmStr;
use wasmtime::{Store, Trap, WasmBacktrace};

use super::trace;
use crate::failure::Failure;
use crate::host::{HostState, NoRoom};
use crate::told::Told;

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
    let places = trace::places(&error);
    let too_much = too_much(&error, store.hostcall_fuel());
    let is_too_much = too_much.is_some();
    let reason = match (too_much.unwrap_or_else(|| Failure::trap(error)), places) {
        (Failure::Trap(reason), Some(places)) => {
            tell_of_explain(store);
            Failure::Trap(format!("{reason} (at {places})"))
        }
        (reason, _) => reason,
    };
    // Memory that it was refused before has nothing to do with how much it hands over.
    let refused = store.data().limiter.refused().filter(|_| !is_too_much);
    let failure = match (reason, refused) {
        (Failure::Trap(reason), Some(refused)) => {
            let setting = match refused.is_beyond_own {
                true => "max_memory",
                false => "--memory-max",
            };
            let reason = format!(
                "it was refused {} KiB of memory ({setting}), then: {reason}",
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

/// Says once for each plugin how to read the places of its traps.
fn tell_of_explain(store: &Store<HostState>) {
    static TOLD: LazyLock<Told> = LazyLock::new(Told::default);
    let name = store.data().plugin_name();
    if TOLD.is_first(name) {
        log::info!(
            "plugin {name}: what is at the places of a trap, `zlayer-precompile explain {name}.wasm --artifact \
             {name}.cwasm 0x…` says on the build host, where both files are"
        );
    }
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

/// Whether a call ended because the plugin returned more data than the engine copies.
pub(super) fn has_returned_too_much(error: &wasmtime::Error) -> bool {
    // While a host function is called, the plugin's own code is on the stack; once the plugin has
    // returned, none is.
    is_too_much(error) && error.downcast_ref::<WasmBacktrace>().is_none()
}

/// Whether a call ended because more data was handed to the host than the engine copies, as a result
/// or as an argument. The engine's type for this error is private, so its text is compared; a test
/// fails if that text changes.
fn is_too_much(error: &wasmtime::Error) -> bool {
    let cause = error.root_cause().to_string();
    cause.contains("fuel allocated for hostcalls has been exhausted")
}

/// What is told of a plugin that hands over more than the `most` bytes that one call may.
fn too_much(error: &wasmtime::Error, most: usize) -> Option<Failure> {
    if !is_too_much(error) {
        return None;
    }
    let reason = match has_returned_too_much(error) {
        true => format!(
            "it returned more than {} KiB at once, counted with {PLACE} bytes for each text in a list",
            most >> 10
        ),
        false => format!(
            "it handed more than {} KiB to a host function in one call, counted with {PLACE} bytes for \
             each text in a list; let the plugin do it in several calls, or raise --max-body, with \
             which this limit grows",
            most >> 10
        ),
    };
    Some(Failure::Trap(reason))
}

/// Bytes that the engine counts for the place of a text in a list.
const PLACE: usize = size_of::<WasmStr>();
