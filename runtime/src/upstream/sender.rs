//! For whom a request is sent, and where that one may send it.
//!
//! A plugin's requests, and those that a router forwards, go to the hosts that its grants name and
//! to no others. Some [addresses](Restricted) have to be named themselves: a name can be made to
//! lead to any address by whoever answers for it ("DNS rebinding"), so what is checked is the very
//! address that is connected to.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use super::restricted::Restricted;
use super::{Key, UpstreamError};
use crate::config::Grants;
use crate::redact::cut;

/// Bytes that are shown of a host that a plugin chose: the longest name, and a port.
const SHOWN_BYTES: usize = 260;

/// The plugin that a request is sent for.
#[derive(Debug)]
pub struct Sender {
    plugin: String,
    grants: Arc<Grants>,
}

/// An address to connect to, or the one at the other end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Peer {
    pub(super) address: SocketAddr,
    /// Why it is out of reach for those who may not name it.
    restricted: Option<Restricted>,
}

impl Sender {
    /// The plugin of this name, with what it is granted.
    pub fn new(plugin: &str, grants: &Arc<Grants>) -> Sender {
        Sender {
            plugin: plugin.to_owned(),
            grants: Arc::clone(grants),
        }
    }

    /// Whether it may send to the host and the port of `key`, as it names them.
    pub(super) fn check_host(&self, key: &Key) -> Result<(), UpstreamError> {
        match self.grants.allowed_hosts.allow(&key.host, key.port) {
            true => Ok(()),
            false => Err(self.denied("its host is not allowed", &key.to_string())),
        }
    }

    /// Whether it may use a connection to `peer`, whatever the name was.
    pub(super) fn reaches(&self, peer: &Peer) -> bool {
        peer.restricted.is_none() || self.grants.allowed_hosts.names(peer.address)
    }

    /// Those of `addresses` that it may connect to, in their order.
    ///
    /// # Errors
    ///
    /// There is none; the error names the last of them and what allows it.
    pub(super) fn reachable(&self, addresses: &[SocketAddr]) -> Result<Vec<Peer>, UpstreamError> {
        let mut reachable = Vec::new();
        let mut refused = None;
        for &address in addresses {
            let unknown = |error: io::Error| {
                UpstreamError::Unreachable(format!("whose address {address} is: {error}"))
            };
            let restricted = Restricted::of(address.ip()).map_err(unknown)?;
            let peer = Peer {
                address,
                restricted,
            };
            match (self.reaches(&peer), restricted) {
                (false, Some(why)) => refused = Some((address, why)),
                _ => reachable.push(peer),
            }
        }
        match refused {
            Some((address, why)) if reachable.is_empty() => {
                let why = format!("{} is {why}, which has to be named", address.ip());
                Err(self.denied(&why, &address.to_string()))
            }
            _ => Ok(reachable),
        }
    }

    fn denied(&self, why: &str, host: &str) -> UpstreamError {
        let (plugin, host) = (&self.plugin, cut(host, SHOWN_BYTES));
        let host = host.escape_debug();
        UpstreamError::Denied(format!(
            "plugin {plugin} may not send there, {why}: --allow-host {host} allows it to all \
             plugins without hosts of their own, `wasm.allowed_hosts: [\"{host}\"]` in its service to this one. \
             Unlike in ZLayer, no host is open by default"
        ))
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use super::*;

    fn sender(hosts: &[&str]) -> Sender {
        let grants = Grants {
            allowed_hosts: hosts.iter().map(|host| host.parse().unwrap()).collect(),
            ..Grants::default()
        };
        Sender::new("p", &Arc::new(grants))
    }

    /// The addresses that remain of these.
    fn reachable(hosts: &[&str], addresses: &[&str]) -> Result<Vec<String>, UpstreamError> {
        let addresses: Vec<SocketAddr> = addresses.iter().map(|one| one.parse().unwrap()).collect();
        let found = sender(hosts).reachable(&addresses)?;
        Ok(found.iter().map(|peer| peer.address.to_string()).collect())
    }

    #[test]
    fn a_name_leads_to_no_address_that_has_to_be_named() {
        for hosts in [&["*"][..], &["*.example"], &["a.example"], &["127.0.0.2"]] {
            for address in ["127.0.0.1:80", "[::1]:80", "169.254.169.254:80"] {
                let error = reachable(hosts, &[address]).unwrap_err().to_string();
                let flag = format!("--allow-host {address} ");
                assert!(error.contains(&flag), "{hosts:?} {address}: {error}");
            }
        }
        let both = reachable(&["*"], &["127.0.0.1:80", "192.0.2.1:80", "[::1]:80"]);
        assert_eq!(both.unwrap(), ["192.0.2.1:80"]);
    }

    #[test]
    fn what_is_named_is_reached_at_its_port() {
        for (host, address) in [
            ("127.0.0.1", "127.0.0.1:80"),
            ("127.0.0.1:80", "127.0.0.1:80"),
            ("127.0.0.1", "[::ffff:127.0.0.1]:80"),
            ("[::1]", "[::1]:80"),
            ("localhost", "127.0.0.1:80"),
            ("localhost:80", "[::1]:80"),
            ("169.254.1.2", "169.254.1.2:80"),
        ] {
            assert_eq!(reachable(&[host], &[address]).unwrap(), [address]);
        }
        for (host, address) in [
            ("127.0.0.1:81", "127.0.0.1:80"),
            ("localhost:81", "127.0.0.1:80"),
            ("localhost", "169.254.1.2:80"),
            ("localhost", "0.0.0.0:80"),
        ] {
            assert!(reachable(&[host], &[address]).is_err(), "{host} {address}");
        }
    }

    #[test]
    fn a_connection_that_another_plugin_named_is_not_used_by_one_that_may_not() {
        let address = ["127.0.0.1:80".parse().unwrap()];
        let peer = sender(&["127.0.0.1"]).reachable(&address).unwrap()[0];
        assert!(sender(&["localhost:80"]).reaches(&peer));
        assert!(!sender(&["*"]).reaches(&peer));
    }
}
