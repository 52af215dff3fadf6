//! Several services at several ports: who listens where, who answers whom, and what is refused.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};

use crate::https::{Files, client};
use crate::support::{
    Client, Daemon, Output, Response, TempDir, artifact, ask, bundle, get, pack, request,
};
use crate::websocket;

use super::status;

/// Ports that nobody listens at.
pub(super) fn free<const N: usize>() -> [u16; N] {
    // All at once, so that none is chosen twice.
    let bound = [(); N].map(|()| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
    bound.map(|listener| listener.local_addr().unwrap().port())
}

/// A deployment of these services: name, guest, and more lines, with which each is told from the others.
pub(super) fn deployment(services: &[(&str, &str, &str)]) -> String {
    let service = |(name, guest, lines): &(&str, &str, &str)| {
        let image = artifact(guest).display().to_string();
        let lines = lines.replace('\n', "\n    ");
        format!("  {name}:\n    image: {image}\n    {lines}\n")
    };
    let services: String = services.iter().map(service).collect();
    format!("version: v1\ndeployment: d\nservices:\n{services}")
}

/// A service that greets with its name, and has these endpoints.
fn greeter(name: &str, endpoints: &str) -> String {
    let service = format!("env: {{greeting: {name}}}\nendpoints: [{endpoints}]");
    let one = deployment(&[(name, "visit-counter", &service)]);
    let (_, service) = one.split_once("services:\n").unwrap();
    service.to_owned()
}

pub(super) fn greeters(services: &[(&str, &str)]) -> String {
    let services = services.iter();
    let services: String = services.map(|(name, ends)| greeter(name, ends)).collect();
    format!("version: v1\ndeployment: d\nservices:\n{services}")
}

/// Who answers: the greeting of the service, or the status if nobody greets.
pub(super) fn who(answer: &Response) -> String {
    let text = answer.text();
    match answer.status {
        200 => text.split(' ').next().unwrap().to_owned(),
        status => status.to_string(),
    }
}

pub(super) fn local(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

/// GET at an address.
pub(super) fn get_at(address: SocketAddr, host: &str, path: &str) -> Response {
    let mut client = Client::over(TcpStream::connect(address).unwrap());
    client.send(format!(
        "GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n"
    ));
    client.read_response()
}

/// Packs a deployment that should be refused.
fn refused(text: &str) -> Output {
    let folder = TempDir::new();
    let file = folder.path().join("deployment.yaml");
    fs::write(&file, text).unwrap();
    let said = pack(&file, &folder.path().join("a.zlb"));
    assert_eq!(said.code, 1, "{said:?}");
    said
}

#[test]
fn each_service_answers_at_its_own_ports_and_what_is_internal_stays_on_the_device() {
    let [first, second, third] = free();
    let text = greeters(&[
        (
            "public",
            &format!("{{name: http, port: {first}, expose: public}}"),
        ),
        (
            "inner",
            &format!("{{name: http, port: {second}}}, {{name: more, port: {third}, path: /more}}"),
        ),
    ]);
    let data = TempDir::new();
    let daemon = Daemon::of(bundle(&text)).data_dir(data.path()).start();
    // The flag of this suite puts another port in the place of the first one alone.
    let public = daemon.addr();
    assert!(
        public.ip().is_unspecified() && public.port() != first,
        "{public}"
    );
    assert_eq!(who(&get(&daemon, "/")), "public");
    assert_eq!(who(&get_at(local(second), "h", "/")), "inner");
    assert_eq!(who(&get_at(local(third), "h", "/more/of/it")), "inner");
    assert_eq!(who(&get_at(local(third), "h", "/moreover")), "404");
    // Another address of this device stands for the network.
    let other = Ipv4Addr::new(127, 0, 0, 2);
    let connects = |port| TcpStream::connect((other, port)).is_ok();
    assert!(connects(public.port()));
    assert!(!connects(second) && !connects(third));
    let said = daemon.stdout();
    for port in [second, third] {
        let line = format!("zlayer: HTTP on http://127.0.0.1:{port}\n");
        assert!(said.contains(&line), "{said}");
    }
    let told = status(&data);
    assert_eq!(told["address"], public.to_string());
    let addresses = [public, local(second), local(third)].map(|at| format!("http://{at}"));
    assert_eq!(told["addresses"], serde_json::json!(addresses));
    let shown = crate::support::zlayer(["status".as_ref(), "--data-dir".as_ref(), data.path()]);
    assert!(shown.stdout.contains(&addresses.join(", ")), "{shown:?}");
    assert_eq!(daemon.stop(), 0);
}

#[test]
fn the_host_and_the_path_choose_the_service_and_nobody_is_404() {
    let text = greeters(&[
        ("any", "{name: a, port: 80, path: /api}"),
        ("shop", "{name: a, port: 80, host: [shop.example, '[::1]']}"),
        ("below", "{name: a, port: 80, host: '*.shop.example'}"),
        ("second", "{name: a, port: 80, path: /api/v2}"),
        ("twin", "{name: a, port: 80, path: /api/v2/*}"),
    ]);
    let daemon = Daemon::of(bundle(&text))
        .args(["--bind", "127.0.0.1"])
        .start();
    for (host, path, expected) in [
        ("shop.example", "/", "shop"),
        ("SHOP.Example:8080", "/", "shop"),
        ("shop.example.", "/api", "shop"),
        ("[0:0:0:0:0:0:0:1]:80", "/", "shop"),
        ("a.b.shop.example", "/api/v2", "below"),
        ("evilshop.example", "/", "404"),
        ("shop.example.evil", "/", "404"),
        ("", "/", "404"),
        ("h", "/", "404"),
        ("h", "/apis", "404"),
        ("h", "/api", "any"),
        ("h", "/x/../%61pi/", "any"),
        ("h", "/api/v1", "any"),
        // Of two that say the same the first one is asked.
        ("h", "/api/v2/a", "second"),
        ("h", "http://shop.example/api", "shop"),
    ] {
        let answer = get_at(daemon.addr(), host, path);
        assert_eq!(who(&answer), expected, "{host} {path}: {answer:?}");
    }
}

#[test]
fn a_stage_takes_part_at_every_port_and_a_service_without_endpoints_is_reached_by_all() {
    let [first, second] = free();
    let at = |port: u16| format!("endpoints: [{{name: a, port: {port}}}]");
    let text = deployment(&[
        ("headers", "security-headers", ""),
        (
            "own",
            "visit-counter",
            &format!("env: {{greeting: own}}\n{}", at(first)),
        ),
        (
            "other",
            "visit-counter",
            &format!(
                "env: {{greeting: other}}\nwasm: {{paths: [/other]}}\n{}",
                at(second)
            ),
        ),
        ("rest", "visit-counter", "env: {greeting: rest}"),
    ]);
    let daemon = Daemon::of(bundle(&text)).start();
    for (address, path, expected) in [
        (daemon.addr(), "/", "own"),
        (daemon.addr(), "/other", "own"),
        (local(second), "/other", "other"),
        (local(second), "/", "rest"),
    ] {
        let answer = get_at(address, "h", path);
        assert_eq!(who(&answer), expected, "{address} {path}");
        let header = answer.header("x-content-type-options");
        assert_eq!(header, Some("nosniff"), "{answer:?}");
    }
}

#[test]
fn https_is_spoken_at_its_own_endpoint_for_its_own_service() {
    let text = greeters(&[
        ("plain", "{name: a, port: 80}"),
        ("secure", "{name: a, port: 443, protocol: https}"),
    ]);
    let made = bundle(&text);
    let refused = Daemon::of(&made).fails();
    assert_eq!(refused.code, 2, "{refused:?}");
    let says = "an endpoint at port 443 speaks HTTPS, which wants a certificate";
    assert!(refused.stderr.contains(says), "{refused:?}");
    let files = Files::new();
    let daemon = files.serve(Daemon::of(&made), &["first"]).start();
    let told = client::get(&daemon, "/");
    assert!(told.text().starts_with("secure 1"), "{told:?}");
    assert_eq!(who(&get(&daemon, "/")), "plain");
}

#[test]
fn what_comes_without_tls_is_sent_to_the_https_of_the_same_service() {
    let [internal, other] = free();
    let text = greeters(&[
        ("inner", &format!("{{name: a, port: {internal}}}")),
        (
            "shop",
            "{name: a, port: 80, expose: public}, {name: b, port: 443, protocol: https, expose: public}",
        ),
    ]);
    let files = Files::new();
    let start = |text: &str| {
        let daemon = files.serve(Daemon::of(bundle(text)), &["first"]);
        daemon.args(["--redirect-http", "--bind", "127.0.0.1"])
    };
    // In the place of the first port without TLS: that of `inner`, which has none.
    let text = text.replace("port: 80,", &format!("port: {other},"));
    let daemon = start(&text).start();
    assert_eq!(who(&get(&daemon, "/")), "inner");
    let answer = get_at(local(other), &format!("h:{other}"), "/a?b");
    assert_eq!(answer.status, 308, "{answer:?}");
    let place = format!("https://h:{}/a?b", daemon.https().port());
    assert_eq!(answer.header("location"), Some(&*place));
    assert!(client::get(&daemon, "/").text().starts_with("shop 1"));
    let nowhere = greeters(&[
        ("shop", "{name: a, port: 80, expose: public}"),
        ("other", "{name: b, port: 443, protocol: https}"),
    ]);
    let told = files.serve(Daemon::of(bundle(&nowhere)), &["first"]);
    let told = told.arg("--redirect-http").fails();
    let says = "no service at port 80 has an endpoint with `protocol: https`";
    assert!(told.stderr.contains(says), "{told:?}");
}

#[test]
fn a_websocket_begins_below_its_own_path_alone() {
    let text = deployment(&[
        (
            "echo",
            "websocket-echo",
            "endpoints: [{name: ws, port: 80, protocol: websocket, path: /ws}]",
        ),
        (
            "page",
            "visit-counter",
            "env: {greeting: page}\nendpoints: [{name: http, port: 80}]",
        ),
    ]);
    let daemon = Daemon::of(bundle(&text)).start();
    let mut socket = websocket::open(&daemon, "/ws/room", &[]);
    socket.send("hello".into()).unwrap();
    assert!(socket.read().unwrap().to_text().unwrap().contains("hello"));
    let upgrade = [
        ("connection", "upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];
    let answer = request(&daemon, "GET", "/other", &upgrade, b"");
    assert_eq!(who(&answer), "page", "{answer:?}");
}

#[test]
fn a_router_decides_for_its_own_endpoints_alone() {
    let [first, second] = free();
    let router = format!(
        "wasm: {{roles: [router], capabilities: {{config: true, keyvalue: true, logging: true}}}}\nendpoints: [{{name: \
         a, port: {first}}}]"
    );
    let handler = format!("env: {{greeting: handler}}\nendpoints: [{{name: a, port: {second}}}]");
    let text = deployment(&[
        ("router", "stages", &router),
        ("handler", "visit-counter", &handler),
    ]);
    let daemon = Daemon::of(bundle(&text)).start();
    let ask = |address: SocketAddr| {
        let mut client = Client::over(TcpStream::connect(address).unwrap());
        client.send("GET / HTTP/1.1\r\nhost: h\r\nx-test-route: immediate 418 routed\r\n\r\n");
        who(&client.read_response())
    };
    assert_eq!(ask(daemon.addr()), "418");
    assert_eq!(ask(local(second)), "handler");
}

#[test]
fn what_one_service_answered_is_never_stored_for_another_at_the_same_host() {
    let [first, second] = free();
    let stage = |role: &str, lines: &str| {
        format!(
            "wasm: {{roles: [{role}], capabilities: {{config: true, keyvalue: true, logging: true}}}}\n{lines}"
        )
    };
    let at = |port: u16| {
        stage(
            "handler",
            &format!("endpoints: [{{name: a, port: {port}}}]"),
        )
    };
    let text = deployment(&[
        ("store", "stages", &stage("cache", "")),
        ("one", "stages", &at(first)),
        ("two", "stages", &at(second)),
    ]);
    let daemon = Daemon::of(bundle(&text)).start();
    let ask = |address: SocketAddr| {
        let mut client = Client::over(TcpStream::connect(address).unwrap());
        client.send("GET /a HTTP/1.1\r\nhost: h\r\nx-test-cache: for 3600000\r\n\r\n");
        let answer = client.read_response();
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.header("cache-status").unwrap_or_default().to_owned()
    };
    assert!(ask(daemon.addr()).contains("stored"));
    assert!(ask(daemon.addr()).contains("hit"));
    let other = ask(local(second));
    assert!(other.contains("stored"), "{other}");
    assert!(ask(local(second)).contains("hit"));
}

#[test]
fn all_ports_share_the_places_for_connections() {
    let [first, second] = free();
    let text = greeters(&[
        ("one", &format!("{{name: a, port: {first}}}")),
        ("two", &format!("{{name: a, port: {second}}}")),
    ]);
    let daemon = Daemon::of(bundle(&text))
        .args(["--max-connections", "1"])
        .start();
    let mut idle = Client::connect(&daemon);
    idle.send("GET / HTTP/1.1\r\nhost: h\r\n\r\n");
    assert_eq!(who(&idle.read_response()), "one");
    // Its place is wanted at the other port.
    assert_eq!(who(&get_at(local(second), "h", "/")), "two");
    assert!(idle.is_closed());
}

#[test]
fn a_flag_moves_the_first_port_and_opens_nothing_that_is_internal() {
    let [first, second] = free();
    let text = greeters(&[
        (
            "one",
            &format!("{{name: a, port: {first}, expose: public}}"),
        ),
        ("two", &format!("{{name: a, port: {second}}}")),
    ]);
    let made = bundle(&text);
    let port = second.to_string();
    let told = Daemon::of(&made).args(["--port", &port]).fails();
    assert_eq!(told.code, 2, "{told:?}");
    let says = format!("--port: {second} is the port of another endpoint already");
    assert!(told.stderr.contains(&says), "{told:?}");
    let daemon = Daemon::of(&made).args(["--bind", "127.0.0.2"]).start();
    let other = SocketAddr::from(([127, 0, 0, 2], second));
    assert_eq!(daemon.addr().ip(), other.ip());
    assert_eq!(who(&get_at(other, "h", "/")), "two");
    assert!(TcpStream::connect(local(second)).is_err());
    drop(daemon);
    let internal = greeters(&[
        ("one", &format!("{{name: a, port: {first}}}")),
        ("two", &format!("{{name: a, port: {second}}}")),
    ]);
    let told = Daemon::of(bundle(&internal))
        .args(["--bind", "0.0.0.0"])
        .fails();
    assert!(
        told.stderr.contains("all of these are internal"),
        "{told:?}"
    );
}

#[test]
fn contradictions_are_refused_where_the_bundle_is_packed() {
    let two = |one: &str, other: &str| greeters(&[("a", one), ("b", other)]);
    let many: Vec<String> = (0..13).map(|number| format!("h{number}.example")).collect();
    let many: Vec<String> = (0..5)
        .map(|number| {
            format!(
                "{{name: e{number}, port: {}, host: [{}]}}",
                80 + number,
                many.join(", ")
            )
        })
        .collect();
    for (text, says) in [
        (
            two("{name: x, port: 80, expose: public}", "{name: x, port: 80}"),
            "services.b.endpoints[0].expose: 80 is the port of services.a too, which is exposed otherwise",
        ),
        (
            two(
                "{name: x, port: 80}",
                "{name: x, port: 80, protocol: https}",
            ),
            "services.b.endpoints[0].protocol: 80 is the port of services.a too",
        ),
        (
            two(
                "{name: x, port: 80, host: 'http://a'}",
                "{name: x, port: 80}",
            ),
            "services.a.endpoints[0].host: 'http://a' is no host of a request",
        ),
        (
            two(&many.join(", "), "{name: x, port: 80}"),
            "services: has 66 endpoints, where each host counts; a deployment has at most 64",
        ),
        (
            deployment(&[
                (
                    "guard",
                    "jwt-authenticator",
                    "endpoints: [{name: x, port: 80, path: /api}]",
                ),
                ("a", "visit-counter", ""),
            ]),
            "`endpoints.path` is a setting of handlers, routers and plugins that decide on WebSockets",
        ),
    ] {
        let told = refused(&text);
        assert!(told.stderr.contains(says), "{says}: {told:?}");
    }
    // What is packed says where it is reached.
    let made = bundle(&two(
        "{name: x, port: 80, host: shop.example, path: /api}",
        "{name: y, port: 81}",
    ));
    let said = crate::support::precompile(["inspect".as_ref(), made.as_os_str()]);
    assert_eq!(said.code, 0, "{said:?}");
    for part in ["shop.example", "/api/*", "81"] {
        assert!(said.stdout.contains(part), "{part}: {said:?}");
    }
}

#[test]
fn the_status_of_one_port_is_as_it_was() {
    let data = TempDir::new();
    let text = greeters(&[("one", "{name: a, port: 80}")]);
    let daemon = Daemon::of(bundle(&text)).data_dir(data.path()).start();
    assert_eq!(who(&get(&daemon, "/")), "one");
    let told = status(&data);
    assert_eq!(told["address"], daemon.addr().to_string());
    assert!(told.get("addresses").is_none(), "{told}");
    assert!(!ask(&data, "/status").text().contains("https_address"));
}
