//! The kernel's random numbers, which a machine without a seed has none of for some seconds.

use std::time::Duration;

use rustix::io::Errno;
use rustix::rand::{GetRandomFlags, getrandom};
use smol::Timer;
use smol::lock::OnceCell;

/// How often the kernel is asked whether it has random numbers by now.
const RETRY: Duration = Duration::from_millis(50);

/// Waits until the kernel has random numbers, without holding a thread: the keys of a handshake would
/// wait for them in a thread that serves others.
pub(crate) async fn wait_for_seed() {
    /// Set once there are some, since that never changes again.
    static SEEDED: OnceCell<()> = OnceCell::new();
    let waiting = async || {
        while let Err(Errno::AGAIN | Errno::INTR) = getrandom(&mut [0; 1], GetRandomFlags::NONBLOCK)
        {
            Timer::after(RETRY).await;
        }
    };
    SEEDED.get_or_init(waiting).await;
}
