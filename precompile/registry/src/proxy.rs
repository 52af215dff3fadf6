//! Which way requests take: past nobody, through the proxy that the environment names, or nowhere.

use std::error::Error as StdError;

use hyper_util::client::proxy::matcher::Matcher;

/// The proxy of all that would go without TLS. Nobody can listen at this port, so nothing gets there.
pub(crate) const NOWHERE: &str = "http://127.0.0.1:0";

/// The same as an error to connect says it, between what failed and why.
const NOWHERE_SAID: &str = ", 127.0.0.1:0, ";

/// The hosts of this machine, as exceptions are written.
pub(crate) const LOOPBACK: &str = "localhost,127.0.0.0/8,::1";

/// The proxy for TLS with this registry, if the environment names one and does not except the registry.
///
/// The client would find it, were there not one for what goes without TLS, which ends that. And exceptions hold
/// for both, so that those of the environment would let a password out to whomever they name.
pub(crate) fn for_tls(registry: &str) -> Option<String> {
    let address = format!("https://{registry}/").parse().ok()?;
    Matcher::from_env().intercept(&address)?;
    let said = |names: [&str; 2]| {
        let first = names.iter().find_map(|name| std::env::var(name).ok());
        first.filter(|value| !value.is_empty())
    };
    let proxy =
        said(["HTTPS_PROXY", "https_proxy"]).or_else(|| said(["ALL_PROXY", "all_proxy"]))?;
    Some(match proxy.contains("://") {
        true => proxy,
        false => format!("http://{proxy}"),
    })
}

/// Whether an error comes of a request that was sent nowhere. After a redirect it tells the address that was asked
/// first, so that only the connection itself tells.
pub(crate) fn went_nowhere(error: &(dyn StdError + 'static)) -> bool {
    // What was not reached stands in the text for programmers alone.
    { error.source() }.is_some_and(|cause| format!("{cause:?}").contains(NOWHERE_SAID))
}
