//! What holds for whatever proxies say of their clients. The fuzz targets check it.

use http::HeaderMap;

use super::origin::Peer;
use crate::config::Networks;
use crate::message::Scheme;

/// Asks whose request has these headers: nobody whom an untrusted peer names.
pub fn origin(headers: &HeaderMap) {
    let trusted: Networks = ["10.0.0.0/8".parse(), "::1".parse()]
        .into_iter()
        .flatten()
        .collect();
    for address in ["10.0.0.1:80", "[::1]:80", "192.0.2.1:80"] {
        let Ok(address) = address.parse() else {
            panic!("{address} is an address");
        };
        let peer = Peer {
            address,
            scheme: Scheme::Http,
            tls: None,
        };
        let client = peer.client(headers, &trusted);
        assert_eq!(client.is_proxied, trusted.contains(address.ip()));
        if !client.is_proxied {
            assert_eq!((client.address, client.scheme), (address, Scheme::Http));
            assert!(client.forwarded_host.is_none());
        }
    }
}
