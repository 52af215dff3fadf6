//! A socket that clients connect to.

use std::future::poll_fn;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::task::{Context, Poll};

use atomic_waker::AtomicWaker;
use rustix::net::{Shutdown, SocketFlags, acceptfrom_with, listen, shutdown};
use smol::Async;
use socket2::SockRef;

use super::doorstep::Doorstep;
use super::place::Place;
use crate::config;
use crate::error::{Error, Result};
use crate::sync;

/// Connections that may wait in the kernel for the daemon to accept them: as many as the kernel lets
/// a program ask for by default since 5.4. It takes less where `net.core.somaxconn` says less.
const BACKLOG: i32 = 4096;
/// Bytes of a response that the kernel keeps for a client beyond what is on its way to it. By itself it
/// keeps up to 4 MiB for each of them, which a device does not have, and fills that first for a client
/// that hardly reads. It asks for more when half of them are left, so a client that takes as little as
/// it has to (`TRANSFER_RATE`) is seen to take something every 16 seconds, within `--timeout stall`.
const UNSENT: u32 = 32 << 10;

/// A socket that clients connect to while it is open. All of a daemon share its places for connections, and whatever
/// else it has.
pub struct Door {
    socket: TcpListener,
    /// The same socket, for who waits for connections.
    waiting: OnceLock<Async<TcpListener>>,
    is_open: AtomicBool,
    /// Wakes the one who waits, when it is opened or closed.
    changed: AtomicWaker,
    step: Mutex<Arc<Doorstep>>,
}

impl Door {
    /// Binds a door's address, and listens there: from now on clients wait in the kernel's backlog. At a start that is
    /// done before anything slow, so that they are not refused.
    ///
    /// # Errors
    ///
    /// The address cannot be listened at.
    pub fn bind(door: &config::Door) -> Result<Door> {
        let address = door.address;
        let bound = TcpListener::bind(address).and_then(|listener| {
            // The standard library asks for 128, and a burst of more would wait for a second or more
            // until TCP tries again.
            listen(&listener, BACKLOG)?;
            // Who waits may have been too slow.
            listener.set_nonblocking(true)?;
            // Connections inherit it. Without it they only take more of the kernel's memory.
            if let Err(error) = SockRef::from(&listener).set_tcp_notsent_lowat(UNSENT) {
                log::debug!("the kernel keeps as much for clients as it likes: {error}");
            }
            Ok(listener)
        });
        let socket = bound.map_err(|error| {
            let hint = match error.kind() {
                // What would mend it depends on who asks.
                io::ErrorKind::AddrInUse => "; another program listens there",
                io::ErrorKind::PermissionDenied => "; ports below 1024 need the right to bind them",
                io::ErrorKind::AddrNotAvailable => {
                    "; this device has no such address, choose another --bind"
                }
                _ => "",
            };
            Error::device(format!("cannot listen on {address}{hint}"), error)
        })?;
        Ok(Door {
            socket,
            waiting: OnceLock::new(),
            is_open: AtomicBool::new(true),
            changed: AtomicWaker::new(),
            step: Mutex::default(),
        })
    }

    /// Where clients connect to, with the port that the system chose if it did.
    pub fn address(&self) -> Option<SocketAddr> {
        self.socket.local_addr().ok()
    }

    /// Gets ready to wait for connections. Not done where it is bound: the reactor has a thread, and threads come
    /// after confinement.
    ///
    /// # Errors
    ///
    /// The reactor does not take it.
    pub fn make_ready(&self) -> Result<()> {
        if self.waiting.get().is_none() {
            let waiting = self.socket.try_clone().and_then(Async::new);
            let waiting =
                waiting.map_err(|error| Error::device("cannot use the listening socket", error))?;
            let _ = self.waiting.set(waiting);
        }
        Ok(())
    }

    /// Refuses connections from now on, and has those that there are end. It stays bound, so that it can be opened
    /// again whatever rights this process has by then.
    pub fn close(&self) {
        if !self.is_open.swap(false, Ordering::AcqRel) {
            return;
        }
        self.step().shut();
        self.stop_listening();
    }

    /// The same where the daemon drains.
    pub(super) fn end(&self) {
        let was_open = self.is_open.swap(false, Ordering::AcqRel);
        self.step().end();
        if was_open {
            self.stop_listening();
        }
    }

    /// Opens it again as it was.
    ///
    /// # Errors
    ///
    /// Another socket has taken its address meanwhile.
    pub fn reopen(&self) -> Result<()> {
        listen(&self.socket, BACKLOG).map_err(|error| {
            let address = self.address();
            let address = address.map_or(String::new(), |address| format!(" on {address}"));
            Error::device(format!("cannot listen{address} again"), error.into())
        })?;
        let place = self.step().place();
        *sync::lock(&self.step) = Arc::new(Doorstep::new(place));
        self.is_open.store(true, Ordering::Release);
        self.changed.wake();
        Ok(())
    }

    /// Has requests that come by it know this place. Connections that speak otherwise end.
    pub(super) fn lead_to(&self, place: Place) {
        let mut step = sync::lock(&self.step);
        if step.place().is_https == place.is_https {
            return step.lead_to(place);
        }
        std::mem::replace(&mut *step, Arc::new(Doorstep::new(place))).go();
    }

    /// What connections that come now share.
    pub(super) fn step(&self) -> Arc<Doorstep> {
        Arc::clone(&sync::lock(&self.step))
    }

    /// A connection that has come, and whose.
    pub(super) fn accept(&self) -> io::Result<(TcpStream, Option<SocketAddr>)> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        match acceptfrom_with(&self.socket, flags) {
            Ok((stream, client)) => {
                let client = client.and_then(|client| client.try_into().ok());
                Ok((stream.into(), client))
            }
            // It is not listened at any more.
            Err(_) if !self.is_open.load(Ordering::Acquire) => {
                Err(io::ErrorKind::WouldBlock.into())
            }
            Err(error) => Err(error.into()),
        }
    }

    fn is_coming(&self, cx: &mut Context<'_>) -> bool {
        self.changed.register(cx.waker());
        // A socket that is not listened at would be ready for ever.
        let waiting = { self.waiting.get() }.filter(|_| self.is_open.load(Ordering::Acquire));
        // One that cannot be waited for is told of by its accept.
        waiting.is_some_and(|waiting| waiting.poll_readable(cx).is_ready())
    }

    fn stop_listening(&self) {
        if let Err(error) = shutdown(&self.socket, Shutdown::Read) {
            log::warn!("a port is not closed: {error}");
        }
        self.changed.wake();
    }
}

/// Waits until a connection may have come by one of the doors. It may be that none has: whoever asks again waits on.
pub(super) async fn coming(doors: &[Arc<Door>]) {
    poll_fn(|cx| {
        // Each is asked, so that each wakes this task.
        match doors.iter().filter(|door| door.is_coming(cx)).count() {
            0 => Poll::Pending,
            _ => Poll::Ready(()),
        }
    })
    .await;
}
