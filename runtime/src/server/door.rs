//! Where connections come in.

use std::future::poll_fn;
use std::net::{SocketAddr, TcpListener};
use std::task::Poll;

use smol::Async;

use super::place::Place;
use crate::config;
use crate::error::{Error, Result};

/// A listener. All of a daemon share its places for connections, and whatever else it has.
pub(super) struct Door {
    pub(super) listener: Async<TcpListener>,
    pub(super) address: SocketAddr,
    pub(super) place: Place,
}

impl Door {
    /// Doors of listeners that are bound. Ports that the system chose are known now.
    pub(super) fn all(bound: Vec<(config::Door, TcpListener)>) -> Result<Vec<Door>> {
        let addresses = bound.iter().map(|(_, listener)| listener.local_addr());
        let addresses: Vec<_> = addresses
            .collect::<std::io::Result<_>>()
            .map_err(unusable)?;
        let redirect = |door: &config::Door| addresses.get(door.redirect?).map(SocketAddr::port);
        let bound = bound.into_iter().zip(&addresses);
        bound
            .map(|((door, listener), address)| {
                Ok(Door {
                    listener: Async::new(listener).map_err(unusable)?,
                    address: *address,
                    place: Place {
                        is_https: door.is_https,
                        named: door.named,
                        is_internal: door.is_internal(),
                        redirect: redirect(&door),
                    },
                })
            })
            .collect()
    }
}

/// Waits until a connection may have come by one of the doors. It may be that none has: whoever asks again waits on.
pub(super) async fn coming(doors: &[Door]) {
    poll_fn(|cx| {
        // Each is asked, so that each wakes this task. One that cannot be waited for is told of by its accept.
        let came = { doors.iter() }.filter(|door| door.listener.poll_readable(cx).is_ready());
        match came.count() {
            0 => Poll::Pending,
            _ => Poll::Ready(()),
        }
    })
    .await;
}

fn unusable(error: std::io::Error) -> Error {
    Error::device("cannot use the listening socket", error)
}
