//! How it is told where clients come in.

use std::net::SocketAddr;

use super::super::described;
use crate::logger;
use crate::message::Scheme;
use crate::pipeline::Pipeline;

/// Tells the log what is open now that was not, and what is not any more.
pub(in crate::daemon) fn tell_change(
    before: &[(Scheme, SocketAddr)],
    now: &[(Scheme, SocketAddr)],
) {
    for one in before.iter().filter(|one| !now.contains(one)) {
        log::info!("{} is closed: nobody is reached there any more", url(one));
    }
    for one in now.iter().filter(|one| !before.contains(one)) {
        log::info!("{} is open", url(one));
    }
}

fn url((scheme, address): &(Scheme, SocketAddr)) -> String {
    format!("{}://{address}", scheme.name())
}

/// Tells which addresses they are. The line with the plugins is the last one, and has the first address.
pub(in crate::daemon) fn tell(pipeline: &Pipeline, addresses: &[(Scheme, SocketAddr)]) {
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
    let first: String = match first.first() {
        Some(first) => url(first),
        None => "no port: none could be opened, see the log".to_owned(),
    };
    logger::say(&format!("zlayer: serving {served} on {first}\n"));
    let all: Vec<_> = match addresses.is_empty() {
        true => vec!["no port".to_owned()],
        false => addresses.iter().map(url).collect(),
    };
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
