//! Proxies in front of the daemon. Tests come from 127.0.0.1, which a daemon trusts or does not.

/// `X-Forwarded-*` and `Forwarded`.
mod fields;
/// The PROXY protocol.
mod protocol;

use crate::support::{Builder, Daemon, Response};

/// A daemon that trusts whoever connects from here.
fn trusting(guest: &str) -> Builder {
    Daemon::builder(guest).args(["--trusted-proxy", "127.0.0.0/8"])
}

/// What the guest `stages` says of the client: its address in the context, and in the metadata with the
/// port.
fn client(answer: &Response) -> (String, String) {
    let text = answer.text();
    let line = |word: &str| {
        let mut lines = text.lines();
        let found = lines.find_map(|line| line.strip_prefix(word));
        found
            .unwrap_or_else(|| panic!("no {word}: {text}"))
            .to_owned()
    };
    let seen = line("header x-seen-client: ");
    let mut words = seen.split(' ');
    let (address, port) = (words.next().unwrap(), words.next().unwrap());
    (line("context client_ip: "), format!("{address} {port}"))
}
