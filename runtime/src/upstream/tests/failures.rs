//! Upstreams that cannot be reached, and what clients and plugins are told.

use super::*;
use crate::failure::Failure;
use crate::upstream::{Forwarded, UpstreamError, forward};

/// A loopback address that nothing else here listens at: a free port of 127.0.0.1 could be given to
/// another test.
pub(super) const EMPTY: &str = "127.82.69.70";

/// A port of [`EMPTY`] that nobody listens at.
pub(super) fn free_port() -> u16 {
    let listener = TcpListener::bind((EMPTY, 0)).unwrap();
    listener.local_addr().unwrap().port()
}

fn error(to: &Target) -> UpstreamError {
    let (client, budget) = client(Settings::default());
    let ended = smol::block_on(client.send(get(), to, "id"));
    assert_eq!((client.counts(), budget.used()), ((0, 0), 0));
    ended.unwrap_err()
}

#[test]
fn what_keeps_a_connection_from_being_made_has_a_name() {
    let refused = error(&at(EMPTY, free_port()));
    assert!(matches!(refused, UpstreamError::Refused(_)), "{refused:?}");
    for (host, port) in [
        ("127.0.0.1", 0),
        ("", 80),
        ("a b", 80),
        ("a\0b", 80),
        (&*"a".repeat(300), 80),
    ] {
        let target = error(&at(host, port));
        assert!(
            matches!(target, UpstreamError::Target(_)),
            "{host:?}: {target:?}"
        );
    }
    // A label longer than a name may have (RFC 1035 section 2.3.4): unknown without asking anybody.
    let name = error(&at(&format!("{}.invalid", "a".repeat(64)), 80));
    assert!(matches!(name, UpstreamError::Name(_)), "{name:?}");
}

#[test]
fn names_are_found_and_their_addresses_tried_in_turn() {
    // Where localhost has two addresses, nobody listens at one of them.
    let (to, served) = upstream(|listener| Peer::accept(&listener).answer(OK));
    let to = at("localhost", to.port);
    let (client, _) = client(Settings::default());
    assert_eq!(
        smol::block_on(fetch(&client, get(), &to)),
        (200, "ok".to_owned())
    );
    served.join().unwrap();
}

async fn forwarded(upstreams: &Upstreams, client: &str, to: &Target) -> Result<Forwarded, Failure> {
    let (head, body) = get().into_parts();
    let client = std::net::SocketAddr::new(client.parse().unwrap(), 4000).into();
    forward(upstreams, head, body, &client, to, "id").await
}

#[test]
fn a_forwarded_request_says_who_asked() {
    let (to, served) = upstream(|listener| Peer::accept(&listener).answer(OK));
    let (client, _) = client(Settings::default());
    let answer = smol::block_on(async {
        let sent = forwarded(&client, "192.0.2.7", &to).await.unwrap();
        assert_eq!(sent.upstream.as_deref(), Some(&*to.key().to_string()));
        let answer = sent.response;
        text(answer).await
    });
    assert_eq!(answer, "ok");
    let head = served.join().unwrap();
    for line in ["Host: h", "X-Forwarded-For: 192.0.2.7", "Via: 1.1 zlayer"] {
        assert!(
            head.contains(&format!("\r\n{line}\r\n")),
            "{line} is not in {head}"
        );
    }
}

#[test]
fn failures_are_told_apart_for_the_client() {
    let (client, _) = client(Settings {
        connections: 0,
        ..Settings::default()
    });
    let full = smol::block_on(forwarded(&client, "::1", &at("127.0.0.1", 1)));
    let full = full.map(drop).unwrap_err();
    assert_eq!((full.status(), full.retry_after()), (503, Some("1")));

    let (client, _) = super::client(Settings::default());
    let mut to = at(EMPTY, free_port());
    let refused = smol::block_on(forwarded(&client, "::1", &to));
    let refused = refused.map(drop).unwrap_err();
    assert_eq!(refused.status(), 502);
    let named = format!("upstream {EMPTY}:{}: it refused the connection", to.port);
    assert!(refused.to_string().starts_with(&named), "{refused}");

    let (silent, _served) = upstream(|listener| listener);
    to = silent;
    to.request_timeout = BRIEF;
    let late = smol::block_on(forwarded(&client, "::1", &to));
    let late = late.map(drop).unwrap_err();
    assert!(matches!(late, Failure::GatewayTimeout(_)) && late.status() == 504);
}
