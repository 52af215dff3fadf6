//! Where a plugin's requests may not go.

use super::*;
use crate::resolver::tests::server::{Server, v4};
use crate::resolver::tests::{Bench, EXECUTOR as RESOLVING};
use crate::upstream::UpstreamError;

/// What is said of a request that was denied.
fn denied(client: &Upstreams, to: &Target) -> String {
    match smol::block_on(client.send(get(), to, "id")) {
        Err(UpstreamError::Denied(reason)) => reason,
        other => panic!("not denied: {other:?}"),
    }
}

/// Nobody came to this listener.
fn untouched(listener: &TcpListener) {
    listener.set_nonblocking(true).unwrap();
    assert!(listener.accept().is_err(), "there was a connection");
}

#[test]
fn a_host_that_is_not_allowed_is_not_connected_to() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let (client, _) = client(Settings::default());
    for hosts in [&[][..], &["a.example"], &["127.0.0.1:1"], &["localhost"]] {
        let to = Target {
            sender: sender(hosts),
            ..at("127.0.0.1", port)
        };
        let reason = denied(&client, &to);
        let flag = format!("--allow-host 127.0.0.1:{port} ");
        assert!(reason.contains("plugin p "), "{reason}");
        assert!(reason.contains(&flag), "{reason}");
        let key = format!("`wasm.allowed_hosts: [\"127.0.0.1:{port}\"]` in its service ");
        assert!(reason.contains(&key), "{reason}");
        let why = "Unlike in ZLayer, no host is open by default";
        assert!(reason.ends_with(why), "{reason}");
    }
    untouched(&listener);
}

#[test]
fn a_name_that_leads_to_this_device_is_not_followed() {
    // A server whose answers are its own to choose: what rebinding does.
    let server = Server::new(|asked, reply| {
        vec![match asked.is_v6 {
            true => reply,
            false => reply.answer(&asked.name, 0, v4("127.0.0.1")),
        }]
    });
    let bench = Bench::new(server.address, "");
    let budget = Budget::new(1 << 20);
    let resolver = bench.resolver.clone();
    let client = Upstreams::with_resolver(Settings::default(), budget, &RESOLVING, resolver);
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    for hosts in [
        &["*"][..],
        &["*.example"],
        &["a.example"],
        &["*", "127.0.0.1:1"],
    ] {
        let to = Target {
            sender: sender(hosts),
            ..at("a.example", port)
        };
        let reason = denied(&client, &to);
        assert!(
            reason.contains("127.0.0.1 is a loopback address"),
            "{reason}"
        );
        assert!(
            reason.contains(&format!("--allow-host 127.0.0.1:{port} ")),
            "{reason}"
        );
    }
    untouched(&listener);
}

#[test]
fn what_is_allowed_by_name_and_named_by_address_is_reached() {
    let (to, served) = upstream(|listener| Peer::accept(&listener).answer(OK));
    let (client, _) = client(Settings::default());
    let to = Target {
        sender: sender(&["*.localhost", &format!("127.0.0.1:{}", to.port)]),
        ..at("a.localhost", to.port)
    };
    let answer = smol::block_on(fetch(&client, get(), &to));
    assert_eq!(answer, (200, "ok".to_owned()));
    served.join().unwrap();
}

#[test]
fn an_idle_connection_is_not_lent_to_who_may_not_make_it() {
    let (to, served) = upstream(|listener| {
        let mut peer = Peer::accept(&listener);
        peer.answer(OK);
        peer.answer(OK);
    });
    let (client, _) = client(Settings::default());
    let to = at("a.localhost", to.port);
    let other = Target {
        sender: sender(&["*"]),
        ..at("a.localhost", to.port)
    };
    assert_eq!(smol::block_on(fetch(&client, get(), &to)).0, 200);
    let reason = denied(&client, &other);
    assert!(reason.contains("which has to be named"), "{reason}");
    // It is still there for who may.
    assert_eq!(smol::block_on(fetch(&client, get(), &to)).0, 200);
    served.join().unwrap();
}
