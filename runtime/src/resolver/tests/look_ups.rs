//! What is asked, of whom, and what comes of the replies.

use std::time::{Duration, Instant};

use super::super::ResolveFailure;
use super::server::alias;
use super::*;

#[test]
fn what_needs_no_server_asks_none() {
    let server = knowing();
    let bench = Bench::new(server.address, "");
    assert_eq!(bench.found("listed"), ["192.0.2.77"]);
    assert_eq!(bench.found("LISTED."), ["192.0.2.77"]);
    assert_eq!(bench.found("localhost"), ["::1", "127.0.0.1"]);
    assert_eq!(bench.found("192.0.2.5"), ["192.0.2.5"]);
    assert_eq!(bench.found("[2001:db8::5]"), ["2001:db8::5"]);
    for (name, reason) in [
        ("", ResolveFailure::NotAName),
        ("a b", ResolveFailure::NotAName),
        ("a..b", ResolveFailure::NotAName),
        ("\u{fc}.example", ResolveFailure::NotAName),
        (&"a".repeat(300), ResolveFailure::NotAName),
        (&"a".repeat(64), ResolveFailure::NotAName),
        ("x.invalid", ResolveFailure::NotFound),
    ] {
        let error = bench.resolve(name).unwrap_err();
        assert_eq!(error.reason, reason, "{name:?}: {error}");
    }
    assert!(server.asked.lock().unwrap().is_empty());
}

#[test]
fn both_families_are_asked_for_and_kept() {
    let server = knowing();
    let bench = Bench::new(server.address, "");
    assert_eq!(bench.found("a.example"), BOTH);
    assert_eq!(bench.found("A.Example"), BOTH);
    let asked = server.asked.lock().unwrap();
    let mut families: Vec<bool> = asked.iter().map(|asked| asked.is_v6).collect();
    families.sort_unstable();
    assert_eq!(families, [false, true]);
}

#[test]
fn a_name_with_one_family_has_that_one() {
    let server = Server::new(|asked, reply| match asked.is_v6 {
        true => vec![reply.soa(60, 60)],
        false => vec![reply.answer("b.example", 60, v4("192.0.2.9")).answer(
            &asked.name,
            60,
            alias("b.example"),
        )],
    });
    let bench = Bench::new(server.address, "");
    assert_eq!(bench.found("a.example"), ["192.0.2.9"]);
}

#[test]
fn addresses_of_one_family_do_not_wait_for_a_server_that_ignores_the_other() {
    // Some home routers never answer for AAAA.
    let server = Server::new(|asked, reply| match asked.is_v6 {
        true => vec![],
        false => vec![known(asked, reply)],
    });
    let bench = Bench::new(server.address, "options timeout:30");
    let start = Instant::now();
    assert_eq!(bench.found("a.example"), ["192.0.2.1"]);
    assert_eq!(bench.found("a.example"), ["192.0.2.1"]);
    assert!(start.elapsed() < Duration::from_secs(20));
    assert_eq!(server.names(), ["a.example"]);
}

#[test]
fn what_is_cut_off_is_asked_for_over_tcp() {
    let server = Server::new(|asked, reply| match asked.is_tcp {
        true => vec![known(asked, reply)],
        false => vec![known(asked, reply).truncated()],
    });
    let bench = Bench::new(server.address, "");
    assert_eq!(bench.found("a.example"), BOTH);
    let asked = server.asked.lock().unwrap();
    assert_eq!(asked.iter().filter(|asked| asked.is_tcp).count(), 2);
    drop(asked);
    let server = knowing();
    let bench = Bench::new(server.address, "options use-vc");
    assert_eq!(bench.found("a.example"), BOTH);
    let asked = server.asked.lock().unwrap();
    assert!(asked.iter().all(|asked| asked.is_tcp));
}

#[test]
fn replies_with_a_wrong_number_or_to_another_question_are_ignored() {
    let server = Server::new(|asked, reply| {
        let wrong = reply.clone().answer(&asked.name, 300, v4("192.0.2.66"));
        let other = Asked {
            name: "b.example".to_owned(),
            ..asked.clone()
        };
        vec![
            wrong.id(1),
            known(&other, reply.clone()).rename("b.example"),
            known(asked, reply),
        ]
    });
    let bench = Bench::new(server.address, "");
    assert_eq!(bench.found("a.example"), BOTH);
}

#[test]
fn where_many_guess_tcp_is_asked() {
    let server = Server::new(|asked, reply| match asked.is_tcp {
        true => vec![known(asked, reply)],
        false => vec![known(asked, reply).id(1); 20],
    });
    let bench = Bench::new(server.address, "");
    assert_eq!(bench.found("a.example"), BOTH);
}

#[test]
fn replies_from_elsewhere_do_not_arrive() {
    // The server answers from another address than the one that was asked.
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let elsewhere = std::net::UdpSocket::bind("127.0.0.2:0").unwrap();
    let address = socket.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut buffer = [0; 512];
        while let Ok((length, from)) = socket.recv_from(&mut buffer) {
            let reply = Message::reply_to(&buffer[..length]).answer("a", 60, v4("192.0.2.66"));
            let _ = elsewhere.send_to(&reply.bytes(), from);
        }
    });
    let bench = Bench::new(address, "options timeout:1 attempts:1");
    let error = bench.resolve("a").unwrap_err();
    assert_eq!(error.reason, ResolveFailure::Timeout);
    let wanted = "no name server answered for 'a' (127.0.0.1: no reply within 1s)";
    assert!(error.to_string().starts_with(wanted), "{error}");
}

#[test]
fn behind_a_server_that_is_dead_or_fails_the_next_is_asked() {
    let good = knowing();
    let port = good.address.port();
    // Nobody listens at the first, the second cannot tell.
    let failing = Server::at(SocketAddr::from(([127, 0, 0, 3], port)), |_, reply| {
        vec![reply.rcode(2)]
    });
    let conf = "nameserver 127.0.0.2\nnameserver 127.0.0.3\nnameserver 127.0.0.1";
    let bench = Bench::with_conf(conf, port);
    assert_eq!(bench.found("a.example"), BOTH);
    assert_eq!(failing.names(), ["a.example"]);
    let only = Bench::with_conf("nameserver 127.0.0.3", port);
    let error = only.resolve("a.example").unwrap_err();
    assert_eq!(error.reason, ResolveFailure::ServersFail);
    assert!(error.to_string().contains("127.0.0.3: SERVFAIL"), "{error}");
}

#[test]
fn a_silent_server_costs_its_time_once() {
    let good = knowing();
    let port = good.address.port();
    let silent = Server::at(SocketAddr::from(([127, 0, 0, 2], port)), |_, _| vec![]);
    let conf = "nameserver 127.0.0.2\nnameserver 127.0.0.1\noptions timeout:1";
    let bench = Bench::with_conf(conf, port);
    for name in ["a", "b", "c"] {
        assert_eq!(bench.found(name), BOTH);
    }
    assert_eq!(silent.names(), ["a"]);
}

#[test]
fn short_names_are_found_in_the_search_list() {
    let server = Server::new(|asked, reply| match asked.name.as_str() {
        "box.home.arpa" => vec![known(asked, reply)],
        _ => vec![reply.rcode(3).soa(60, 60)],
    });
    let bench = Bench::new(server.address, "search lan home.arpa");
    assert_eq!(bench.found("box"), BOTH);
    assert_eq!(server.names(), ["box.lan", "box.home.arpa"]);
    let error = bench.resolve("nowhere.").unwrap_err();
    assert_eq!(error.reason, ResolveFailure::NotFound);
    let error = bench.resolve("box.example").unwrap_err();
    let shown = "'box.example' does not exist: it is not in /etc/hosts, and the name server \
                 (127.0.0.1) has nothing for box.example, box.example.lan, box.example.home.arpa";
    assert!(error.to_string().starts_with(shown), "{error}");
}

/// A server that never answers for AAAA, knows `box.home.arpa`, and of nothing else that it exists
/// or, if that begins with `empty`, that it has an address.
fn ignoring_v6() -> Server {
    Server::new(|asked, reply| match (asked.is_v6, asked.name.as_str()) {
        (true, _) => vec![],
        (false, "box.home.arpa" | "empty.home.arpa") => vec![known(asked, reply)],
        (false, name) if name.starts_with("empty") => vec![reply.soa(60, 60)],
        (false, _) => vec![reply.rcode(3).soa(60, 60)],
    })
}

#[test]
fn a_name_that_is_not_there_waits_for_no_other_family() {
    let server = ignoring_v6();
    let bench = Bench::new(server.address, "search lan home.arpa\noptions timeout:30");
    let start = Instant::now();
    assert_eq!(bench.found("box"), ["192.0.2.1"]);
    for _ in 0..2 {
        let error = bench.resolve("gone").unwrap_err();
        assert_eq!(error.reason, ResolveFailure::NotFound, "{error}");
        assert!(error.to_string().starts_with("'gone' does not exist"));
    }
    assert!(start.elapsed() < Duration::from_secs(20));
    let asked = ["gone.lan", "gone.home.arpa", "gone"];
    let names = [&["box.lan", "box.home.arpa"][..], &asked].concat();
    assert_eq!(server.names(), names);
}

#[test]
fn a_name_without_ipv4_waits_a_little_for_ipv6() {
    let server = ignoring_v6();
    let bench = Bench::new(server.address, "search lan home.arpa\noptions timeout:30");
    let start = Instant::now();
    assert_eq!(bench.found("empty"), ["192.0.2.1"]);
    for _ in 0..2 {
        let error = bench.resolve("empty.").unwrap_err();
        assert_eq!(error.reason, ResolveFailure::NotFound, "{error}");
        assert!(error.to_string().starts_with("'empty.' has no address"));
    }
    assert!(start.elapsed() < Duration::from_secs(20));
    assert_eq!(server.names(), ["empty.lan", "empty.home.arpa", "empty"]);
}

#[test]
fn addresses_count_more_than_that_the_name_is_not_there() {
    // Some servers say so when they are asked for AAAA (RFC 4074 section 4.2).
    let server = Server::new(|asked, reply| match asked.is_v6 {
        true => vec![reply.rcode(3).soa(0, 0)],
        false => vec![known(asked, reply)],
    });
    let bench = Bench::new(server.address, "");
    // A busy machine may be late with the other reply now and then.
    assert!((0..10).any(|_| bench.resolve("a.example").is_ok()));
    // One that cannot tell for the one type has told enough for the other.
    let server = Server::new(|asked, reply| match asked.is_v6 {
        true => vec![reply.rcode(2)],
        false => vec![reply.rcode(3).soa(60, 60)],
    });
    let bench = Bench::new(server.address, "");
    let error = bench.resolve("a.example").unwrap_err();
    assert_eq!(error.reason, ResolveFailure::NotFound, "{error}");
}

#[test]
fn what_is_not_there_is_not_asked_for_again_at_once() {
    let server = Server::new(|asked, reply| match asked.name.as_str() {
        "gone" => vec![reply.rcode(3).soa(60, 60)],
        "empty" => vec![reply.soa(60, 60)],
        _ => vec![reply.rcode(2)],
    });
    let bench = Bench::new(server.address, "");
    for (name, wanted) in [
        ("gone", "'gone' does not exist"),
        ("empty", "'empty' has no address"),
        ("failing", "no name server answered for 'failing'"),
    ] {
        for _ in 0..2 {
            let error = bench.resolve(name).unwrap_err().to_string();
            assert!(error.starts_with(wanted), "{error}");
        }
    }
    assert_eq!(server.names(), ["gone", "empty", "failing"]);
}

#[test]
fn a_time_of_nothing_is_not_kept() {
    let server = Server::new(|asked, reply| {
        let data = match asked.is_v6 {
            true => v6("2001:db8::1"),
            false => v4("192.0.2.1"),
        };
        vec![reply.answer(&asked.name, 0, data)]
    });
    let bench = Bench::new(server.address, "");
    assert_eq!(bench.found("a"), BOTH);
    assert_eq!(bench.found("a"), BOTH);
    assert_eq!(server.names(), ["a", "a"]);
}

#[test]
fn changed_files_are_read_again_and_other_servers_asked_afresh() {
    let one = Server::new(|asked, reply| vec![reply.answer(&asked.name, 300, v4("192.0.2.1"))]);
    let port = one.address.port();
    let _other = Server::at(SocketAddr::from(([127, 0, 0, 2], port)), |asked, reply| {
        vec![reply.answer(&asked.name, 300, v4("192.0.2.2"))]
    });
    let bench = Bench::new(one.address, "");
    assert_eq!(bench.found("a"), ["192.0.2.1"]);
    bench.resolv_conf.write("nameserver 127.0.0.2\n");
    bench.hosts.write("192.0.2.78 listed\n");
    // A look at the files is good for a second.
    std::thread::sleep(Duration::from_millis(1100));
    assert_eq!(bench.found("listed"), ["192.0.2.78"]);
    assert_eq!(bench.found("a"), ["192.0.2.2"]);
}

#[test]
fn a_reply_that_is_too_long_is_refused() {
    let server = Server::new(|asked, reply| {
        if !asked.is_tcp {
            return vec![reply.truncated()];
        }
        let many = (0..250).fold(reply, |reply, _| {
            reply.answer(&asked.name, 60, v4("192.0.2.1"))
        });
        vec![many]
    });
    let name = format!("{}.example", "a".repeat(60));
    let error = Bench::new(server.address, "").resolve(&name).unwrap_err();
    assert_eq!(error.reason, ResolveFailure::ServersFail);
    assert!(error.to_string().contains("its reply is not valid"));
}
