//! Upstreams that are named: looked up, and connected to at one of several addresses.

use std::net::IpAddr;

use futures_lite::future::{poll_once, zip};

use super::*;
use crate::resolver::LOOK_UPS_EACH;
use crate::resolver::tests::server::{Server, v4};
use crate::resolver::tests::{Bench, EXECUTOR as RESOLVING};
use crate::upstream::UpstreamError;

/// A client that knows names from `bench`.
fn knowing(bench: &Bench, settings: Settings) -> Upstreams {
    let budget = Budget::new(1 << 20);
    Upstreams::with_resolver(settings, budget, &RESOLVING, bench.resolver.clone())
}

/// A server that never answers.
fn silent() -> Server {
    Server::new(|_, _| vec![])
}

#[test]
fn an_address_that_is_dead_costs_its_time_once() {
    let bench = Bench::new(silent().address, "");
    bench.hosts.write("127.0.0.2 two\n127.0.0.1 two\n");
    // Another test may have the port at the other address.
    let (alive, listener) = (0..9)
        .find_map(|_| {
            let alive = TcpListener::bind(("127.0.0.1", 0)).unwrap();
            let dead = TcpListener::bind(("127.0.0.2", alive.local_addr().unwrap().port()));
            Some((alive, dead.ok()?))
        })
        .unwrap();
    let dead = listener.local_addr().unwrap();
    let served = std::thread::spawn(move || {
        for _ in 0..2 {
            let mut peer = Peer::accept(&alive);
            peer.answer("HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok");
        }
    });
    // Its queue is cut to one, and filled: the kernel takes no more.
    rustix::net::listen(&listener, 0).unwrap();
    let mut waiting = Vec::new();
    while let Ok(stream) = TcpStream::connect_timeout(&dead, BRIEF) {
        waiting.push(stream);
    }
    let client = knowing(&bench, Settings::default());
    let to = at("two", dead.port());
    let found: [IpAddr; 2] = [[127, 0, 0, 2].into(), [127, 0, 0, 1].into()];
    assert_eq!(client.last_worked().order("two", &found), found);
    for _ in 0..2 {
        let answer = smol::block_on(fetch(&client, get(), &to));
        assert_eq!(answer, (200, "ok".to_owned()));
        // From now on the one that worked is tried first.
        assert_eq!(client.last_worked().order("two", &found)[0], found[1]);
    }
    served.join().unwrap();
}

#[test]
fn a_name_that_nobody_answers_for_takes_no_place_from_others() {
    let server = silent();
    let bench = Bench::new(server.address, "options timeout:30");
    let (to, served) = upstream(|listener| Peer::accept(&listener).answer(OK));
    let client = knowing(
        &bench,
        Settings {
            connections: 1,
            ..Settings::default()
        },
    );
    let dead = at("dead.example", to.port);
    smol::block_on(async {
        let mut waiting: Vec<_> = (0..10)
            .map(|_| Box::pin(client.send(get(), &dead, "id")))
            .collect();
        for one in &mut waiting {
            assert!(poll_once(one).await.is_none());
        }
        assert_eq!(client.counts(), (0, 0));
        let answer = fetch(&client, get(), &at("localhost", to.port)).await;
        assert_eq!(answer, (200, "ok".to_owned()));
    });
    served.join().unwrap();
}

#[test]
fn one_plugins_requests_wait_for_a_few_names_only() {
    let server = silent();
    let bench = Bench::new(server.address, "options timeout:30");
    let client = knowing(&bench, Settings::default());
    let share = client.share();
    let targets: Vec<Target> = (0..LOOK_UPS_EACH + 1)
        .map(|number| Target {
            share: Some(Arc::clone(&share)),
            ..at(&format!("dead{number}.example"), 80)
        })
        .collect();
    let (last, first) = targets.split_last().unwrap();
    smol::block_on(async {
        // Several requests to one name count once.
        let twice = first.iter().chain(first);
        let mut waiting: Vec<_> = twice
            .map(|to| Box::pin(client.send(get(), to, "id")))
            .collect();
        for one in &mut waiting {
            assert!(poll_once(one).await.is_none());
        }
        let error = client.send(get(), last, "id").await.unwrap_err();
        assert!(matches!(error, UpstreamError::NamesBusy(_)), "{error:?}");
        // The plugin's requests that are over hold up nothing.
        drop(waiting);
        let mut next = Box::pin(client.send(get(), last, "id"));
        assert!(poll_once(&mut next).await.is_none());
    });
}

#[test]
fn what_comes_of_a_name_says_who_was_asked() {
    let server = Server::new(|asked, reply| match asked.name.as_str() {
        "gone.example" => vec![reply.rcode(3)],
        "failing.example" => vec![reply.rcode(2)],
        _ => vec![],
    });
    let bench = Bench::new(server.address, "options timeout:30");
    let client = knowing(&bench, Settings::default());
    let error = |name: &str, time| {
        let to = Target {
            connect_timeout: time,
            ..at(name, 80)
        };
        smol::block_on(client.send(get(), &to, "id")).unwrap_err()
    };
    let gone = error("gone.example", PATIENCE);
    assert!(matches!(gone, UpstreamError::Name(_)), "{gone:?}");
    let text = gone.to_string();
    assert!(text.contains("'gone.example' does not exist"), "{text}");
    let failing = error("failing.example", PATIENCE);
    assert!(matches!(failing, UpstreamError::Name(_)), "{failing:?}");
    let text = failing.to_string();
    assert!(text.contains("127.0.0.1: SERVFAIL"), "{text}");
    let late = error("silent.example", BRIEF);
    assert!(matches!(late, UpstreamError::NameTimeout(_)), "{late:?}");
    let text = late.to_string();
    assert!(
        text.contains("asked 127.0.0.1 for 'silent.example'"),
        "{text}"
    );
}

#[test]
fn two_requests_to_one_name_ask_for_it_once() {
    let server = Server::new(|asked, reply| {
        vec![match asked.is_v6 {
            true => reply,
            false => reply.answer(&asked.name, 60, v4("127.0.0.1")),
        }]
    });
    let bench = Bench::new(server.address, "");
    let (to, served) = upstream(|listener| {
        let peers = [0; 2].map(|_| Peer::accept(&listener));
        for mut peer in peers {
            peer.answer(OK);
        }
    });
    let client = knowing(&bench, Settings::default());
    let to = at("a.example", to.port);
    let both = zip(fetch(&client, get(), &to), fetch(&client, get(), &to));
    let ok = (200, "ok".to_owned());
    assert_eq!(smol::block_on(both), (ok.clone(), ok));
    served.join().unwrap();
    assert_eq!(server.names(), ["a.example"]);
}
