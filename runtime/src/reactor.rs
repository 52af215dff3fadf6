//! The one tokio reactor that wasmtime-wasi needs.
//!
//! Guests are polled by smol's executor. wasmtime-wasi reaches for "the current tokio runtime" in a
//! few places (outgoing requests, files, sockets). If none is entered, it starts one of its own
//! with a thread per core. So every poll of a guest happens inside [`enter`], which offers a
//! single-threaded runtime that is built at the first request. Its driver thread starts only when
//! something was spawned on it that has to be driven: see [`drive`]. Clocks do not use it; they run
//! on async-io (`host/clock.rs`).

use std::future::Future;
use std::pin::Pin;
use std::sync::{LazyLock, Once};
use std::task::{Context, Poll};

use tokio::runtime::{Builder, Runtime};

/// Threads that tokio may use for blocking file operations. They end after ten idle seconds.
const BLOCKING_THREADS: usize = 2;

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    let built = Builder::new_current_thread()
        .enable_time()
        .enable_io()
        .max_blocking_threads(BLOCKING_THREADS)
        .build();
    match built {
        Ok(runtime) => runtime,
        // This fails only without file descriptors or memory, and then nothing can be served.
        Err(error) => {
            log::error!(
                "cannot build the reactor for WASI: {error}; raise the limit of open files"
            );
            std::process::exit(crate::error::EXIT_DEVICE.into());
        }
    }
});

static DRIVER: Once = Once::new();

/// Wraps `future` so that each poll of it happens inside the reactor.
pub fn enter<F: Future>(future: F) -> Entered<F> {
    Entered { future }
}

/// Starts the thread that drives what was spawned on the reactor, unless it runs already.
pub fn drive() {
    DRIVER.call_once(|| {
        let spawned = std::thread::Builder::new()
            .name("wasi-reactor".to_owned())
            .stack_size(128 * 1024)
            .spawn(|| RUNTIME.block_on(std::future::pending::<()>()));
        if let Err(error) = spawned {
            log::error!(
                "cannot start the WASI reactor's thread: {error}; outgoing requests will time out"
            );
        }
    });
}

pin_project_lite::pin_project! {
    /// A future that is polled inside the reactor: see [`enter`].
    pub struct Entered<F> {
        #[pin]
        future: F,
    }
}

impl<F: Future> Future for Entered<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let _entered = RUNTIME.enter();
        self.project().future.poll(cx)
    }
}
