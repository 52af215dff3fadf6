//! Memory that goes back to the system once it is not used any more.
//!
//! The allocator of what ships is our own ([`zlayer_heap`]), and gives memory back when it is told to. That
//! is done a moment after connections have ended, and so never while nothing happens.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use smol::{Executor, Timer};

/// The allocator: musl's own serves a third of the requests (docs/figures.md).
#[cfg(target_env = "musl")]
#[global_allocator]
static HEAP: zlayer_heap::Heap = zlayer_heap::Heap::new();

/// How long after a connection has ended memory is given back: others may end meanwhile.
const MOMENT: Duration = Duration::from_secs(1);

/// Has memory given back in a moment, if that is not to be done already.
pub fn give_back_soon(executor: &Executor<'static>) {
    static IS_DUE: AtomicBool = AtomicBool::new(false);
    if IS_DUE.swap(true, Ordering::Relaxed) {
        return;
    }
    let giving = async {
        Timer::after(MOMENT).await;
        IS_DUE.store(false, Ordering::Relaxed);
        give_back();
    };
    executor.spawn(giving).detach();
}

/// Gives back what is not used. Other builds have the system's allocator, which goes its own way.
fn give_back() {
    #[cfg(target_env = "musl")]
    HEAP.give_back();
}
