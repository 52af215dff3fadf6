//! Where clients come in: which ports are listened at, and how that is told.

use std::net::{SocketAddr, TcpListener};

use super::described;
use crate::config::Door;
use crate::error::Result;
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
/// that both have stay open. Where others cannot be opened any more, since this process has no such right by now, or
/// no certificate, the doors stay as they are until the next start, which begins with that generation.
pub(super) fn open(bound: Bound, doors: &[Door], has_https: bool) -> Bound {
    if bound.iter().map(|(door, _)| door).eq(doors) {
        return bound;
    }
    let opened = doors.iter().map(|door| {
        let mut known = bound.iter();
        let is_same = |one: &&(Door, TcpListener)| {
            (one.0.address, one.0.is_https) == (door.address, door.is_https)
        };
        let kept = known
            .find(is_same)
            .and_then(|(_, one)| one.try_clone().ok());
        match kept {
            Some(kept) => Ok((door.clone(), kept)),
            None => Ok((door.clone(), Server::bind(door)?)),
        }
    });
    let lacks_https = !has_https && doors.iter().any(|door| door.is_https);
    match opened.collect::<Result<Bound>>() {
        Ok(opened) if !lacks_https => opened,
        Ok(_) => {
            log::error!(
                "HTTPS is spoken from the next start on: no certificate was read at this one"
            );
            bound
        }
        Err(error) => {
            log::error!("{error}; endpoints are reached there from the next start on");
            bound
        }
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
