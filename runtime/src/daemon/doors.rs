//! Where clients come in: which ports are listened at, and how that is told.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};

use super::described;
use crate::config::Door;
use crate::error::{Error, Result};
use crate::logger;
use crate::message::Scheme;
use crate::pipeline::Pipeline;
use crate::server::Server;

/// Doors with their listeners.
pub(super) type Bound = Vec<(Door, TcpListener)>;

/// Listens at all of them.
///
/// # Errors
///
/// One of them cannot be listened at.
pub(super) fn bind(doors: &[Door]) -> Result<Bound> {
    let bound = doors
        .iter()
        .map(|door| Ok((door.clone(), Server::bind(door)?)));
    bound.collect()
}

/// Has the doors be those of what is served after all, where that is another generation than was begun with. Those
/// that both have stay open, and the others are closed. Where one cannot be opened any more, since this process has no
/// such right by now, or no certificate, that holds from the next start, which begins with that generation; what else
/// was open stays so, for whoever is reached there.
pub(super) fn open(mut bound: Bound, doors: &[Door], has_https: bool) -> Bound {
    if bound.iter().map(|(door, _)| door).eq(doors) {
        return bound;
    }
    let before: Vec<Door> = bound.iter().map(|(door, _)| door.clone()).collect();
    // First those that stay, so that what is left may be closed for others.
    let kept: Vec<_> = { doors.iter() }
        .map(|door| {
            let place = { bound.iter() }.position(|(old, _)| old.address == door.address)?;
            (has_https || !door.is_https).then(|| bound.remove(place).1)
        })
        .collect();
    let mut opened = Vec::new();
    for (door, kept) in doors.iter().zip(kept) {
        let listener = match kept {
            Some(kept) => Ok(kept),
            None if door.is_https && !has_https => Err(Error::Refused(format!(
                "HTTPS is not spoken on {}: no certificate was read at this start",
                door.address
            ))),
            None => instead(&mut bound, door),
        };
        match listener {
            Ok(listener) => opened.push((door.clone(), listener, target(door, doors))),
            Err(error) => log::error!("{error}; that holds from the next start on"),
        }
    }
    if opened.len() < doors.len() {
        let others = bound.into_iter();
        opened.extend(others.map(|(door, listener)| {
            let to = target(&door, &before);
            (door, listener, to)
        }));
        opened.sort_by_key(|(door, ..)| door.is_https);
    }
    let places: Vec<_> = { opened.iter() }
        .map(|(door, ..)| (door.address, door.is_https))
        .collect();
    let opened = opened.into_iter().map(|(mut door, listener, to)| {
        door.redirect = to.and_then(|to| places.iter().position(|place| *place == (to, true)));
        (door, listener)
    });
    opened.collect()
}

/// Where requests without TLS are sent from a door, which is one of `doors`.
fn target(door: &Door, doors: &[Door]) -> Option<SocketAddr> {
    Some(doors.get(door.redirect?)?.address)
}

/// Listens at a door. One of those `bound` is closed for it that has its port at another address.
fn instead(bound: &mut Bound, door: &Door) -> Result<TcpListener> {
    let failed = match Server::bind(door) {
        Ok(listener) => return Ok(listener),
        Err(failed) => failed,
    };
    let port = door.address.port();
    let place = { bound.iter() }.position(|(old, _)| old.address.port() == port);
    match (&failed, place) {
        // Not for want of a right, which would be wanted to open the other one again, too.
        (Error::Device { source, .. }, Some(place)) if source.kind() == ErrorKind::AddrInUse => {
            bound.remove(place);
            Server::bind(door)
        }
        _ => Err(failed),
    }
}

/// Tells which addresses they are. The line with the plugins is the last one, and has the first address.
pub(super) fn tell(pipeline: &Pipeline, addresses: &[(Scheme, SocketAddr)]) {
    let url = |(scheme, address): &(Scheme, SocketAddr)| format!("{}://{address}", scheme.name());
    let (first, others) = addresses.split_at(addresses.len().min(1));
    for one in others {
        let spoken = scheme_shown(one.0);
        logger::say(&format!("zlayer: {spoken} on {}\n", url(one)));
    }
    if let Some(why) = pipeline.nothing() {
        logger::say(&format!("zlayer: {why}\n"));
    }
    let plugins = pipeline.plugins().iter();
    let plugins: Vec<_> = plugins.map(|plugin| described(plugin)).collect();
    let served = match plugins.is_empty() {
        true => "nothing".to_owned(),
        false => plugins.join(", "),
    };
    let first: String = first.iter().map(url).collect();
    logger::say(&format!("zlayer: serving {served} on {first}\n"));
    let all: Vec<_> = addresses.iter().map(url).collect();
    log::info!(
        "zlayer {} (wasmtime {}) serves on {}, process {}",
        env!("CARGO_PKG_VERSION"),
        zlayer_bundle::ENGINE_VERSION,
        all.join(", "),
        std::process::id()
    );
}

fn scheme_shown(scheme: Scheme) -> &'static str {
    match scheme {
        Scheme::Http => "HTTP",
        Scheme::Https => "HTTPS",
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use super::*;

    fn door(address: SocketAddr) -> Door {
        Door {
            address,
            is_https: false,
            named: address.port(),
            redirect: None,
        }
    }

    /// A port that nobody listens at.
    fn free() -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().port()
    }

    fn addresses(bound: &Bound) -> Vec<SocketAddr> {
        let listeners = bound.iter();
        listeners
            .map(|(_, one)| one.local_addr().unwrap())
            .collect()
    }

    #[test]
    fn a_port_that_was_public_is_opened_for_this_device_alone() {
        let port = free();
        let bound = bind(&[door(([0, 0, 0, 0], port).into())]).unwrap();
        let internal = door(([127, 0, 0, 1], port).into());
        let opened = open(bound, std::slice::from_ref(&internal), false);
        assert_eq!(addresses(&opened), [internal.address]);
        assert!(opened[0].0.is_internal());
    }

    #[test]
    fn what_cannot_be_opened_leaves_the_others_open_as_they_were() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let (old, kept) = (free(), free());
        let local = |port: u16| SocketAddr::from(([127, 0, 0, 1], port));
        let bound = bind(&[door(local(old)), door(local(kept))]).unwrap();
        let wanted = [
            door(taken.local_addr().unwrap()),
            Door {
                named: 1,
                ..door(local(kept))
            },
        ];
        let opened = open(bound, &wanted, false);
        assert_eq!(addresses(&opened), [local(kept), local(old)]);
        assert_eq!(opened[0].0, wanted[1]);
    }

    #[test]
    fn without_a_certificate_no_https_is_opened_and_a_redirect_leads_where_it_should() {
        let local = |port: u16| SocketAddr::from(([127, 0, 0, 1], port));
        let (plain, other) = (free(), free());
        let secure = |port| Door {
            is_https: true,
            ..door(local(port))
        };
        let wanted = [
            door(local(other)),
            Door {
                redirect: Some(2),
                ..door(local(plain))
            },
            secure(free()),
        ];
        let opened = open(bind(&wanted[..1]).unwrap(), &wanted, true);
        assert_eq!(opened[1].0.redirect, Some(2));
        drop(opened);
        let opened = open(bind(&wanted[..1]).unwrap(), &wanted, false);
        let shown: Vec<_> = { opened.iter() }
            .map(|(door, _)| (door.address, door.redirect))
            .collect();
        assert_eq!(shown, [(local(other), None), (local(plain), None)]);
    }
}
