//! What everything that speaks over a socket needs: a read buffer, a deadline, the date, and the
//! signal to stop.
//!
//! These modules know bytes and times, but neither requests nor plugins.

pub(crate) mod buffer;
mod date;
pub(crate) mod deadline;
mod seed;
mod socket;

use smol::channel::Receiver;

pub(crate) use date::with_date;
pub(crate) use seed::wait_for_seed;
pub use socket::Socket;

/// Resolves when the daemon was told to stop.
pub(crate) async fn stopped(stop: &Receiver<()>) {
    // Nothing is ever sent through the channel; it only closes.
    let _ = stop.recv().await;
}
