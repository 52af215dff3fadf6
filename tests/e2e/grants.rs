//! What a plugin takes part in, reaches and sees only where it was granted: hosts, roles, interfaces, secrets.

use std::net::{SocketAddr, TcpListener};

use serde_json::{Value, json};

use crate::support::{Daemon, TempDir, artifact, ask, ask_tcp, bundle, eventually, get, request};

/// Asks a router of the tests to forward a request to this host and port.
fn forward(daemon: &Daemon, host: &str, port: u16) -> crate::support::Response {
    let route = format!("forward {host} {port}");
    let fields = [
        ("x-test-route", route.as_str()),
        ("authorization", "Bearer hunter2"),
        ("cookie", "session=hunter3"),
    ];
    request(daemon, "GET", "/status", &fields, b"")
}

/// Whether nobody connected to it.
fn is_untouched(listener: &TcpListener) -> bool {
    listener.set_nonblocking(true).unwrap();
    listener.accept().is_err()
}

#[test]
fn a_router_without_hosts_forwards_nowhere() {
    let upstream = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = upstream.local_addr().unwrap().port();
    for builder in [
        Daemon::builder("stages"),
        Daemon::builder("stages").args(["--deny", "http-client"]),
        Daemon::builder("stages").allow_host("192.0.2.1"),
        Daemon::builder("stages").allow_host("127.0.0.1:1"),
        // Nor does a stage that may fail have the request go on to a handler.
        Daemon::builder("stages").plugin("stages:on-failure=open"),
    ] {
        let daemon = builder.start();
        let response = forward(&daemon, "127.0.0.1", port);
        assert_eq!(response.status, 502, "{response:?}");
        let told = format!(
            "plugin stages may not send there, its host is not allowed: --allow-host 127.0.0.1:{port} "
        );
        daemon.wait_for_log(&told);
        let key = format!("`wasm.allowed_hosts: [\"127.0.0.1:{port}\"]` in its service ");
        daemon.wait_for_log(&key);
        assert!(!response.text().contains("127.0.0.1"), "{response:?}");
    }
    assert!(is_untouched(&upstream));
}

#[test]
fn a_host_of_its_own_is_one_plugins_alone() {
    let upstream = Daemon::start("hello");
    let port = upstream.addr().port();
    let daemon = Daemon::builder("stage-router")
        .plugin(&format!("stage-router:allow-hosts=127.0.0.1:{port}"))
        // A router needs no more than a host.
        .args(["--deny", "http-client"])
        .start();
    assert_eq!(forward(&daemon, "127.0.0.1", port).status, 200);
    let daemon = Daemon::builder("stage-router")
        .allow_host(upstream.addr())
        .plugin("stage-router:allow-hosts=")
        .start();
    assert_eq!(forward(&daemon, "127.0.0.1", port).status, 502);
}

#[test]
fn nothing_of_this_device_is_reached_that_is_not_named() {
    let folder = TempDir::new();
    let daemon = Daemon::builder("stages")
        .data_dir(folder.path())
        .allow_host("*")
        .allow_host("*.localhost")
        .args(["--admin-port", "0"])
        .start();
    let said = daemon.stdout();
    let port = said.split("admin interface on http://127.0.0.1:").nth(1);
    let port: u16 = port.unwrap().lines().next().unwrap().parse().unwrap();
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let health = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n";
    eventually("a healthy daemon", || {
        ask_tcp(address, health).status == 200
    });
    for host in [
        "127.0.0.1",
        "127.0.0.2",
        "0.0.0.0",
        "::1",
        "[::1]",
        "::",
        "::ffff:127.0.0.1",
        "::127.0.0.1",
        "64:ff9b::127.0.0.1",
        "2002:7f00:1::",
        "localhost",
        // Names that lead there, whoever answers for them.
        "a.localhost",
        "a.localhost.",
    ] {
        let response = forward(&daemon, host, port);
        assert_eq!(response.status, 502, "{host}: {response:?}");
        assert!(!response.text().contains("memory"), "{response:?}");
    }
    // Nor where a cloud keeps its machines' credentials.
    for host in ["169.254.169.254", "fe80::1", "fd00:ec2::254"] {
        let response = forward(&daemon, host, 80);
        assert_eq!(response.status, 502, "{host}: {response:?}");
    }
    daemon.wait_for_log("127.0.0.1 is a loopback address, which has to be named: --allow-host");
    daemon.wait_for_log("169.254.169.254 is a link-local address");
    // What is named is reached at that port, by that name.
    let named = Daemon::builder("stages")
        .allow_host(format!("localhost:{port}"))
        .start();
    assert_eq!(forward(&named, "localhost", port).status, 200);
    assert_eq!(forward(&named, "127.0.0.1", port).status, 502);
    assert_eq!(
        forward(&named, "localhost", named.addr().port()).status,
        502
    );
    let named = Daemon::builder("stages")
        .allow_host(format!("127.0.0.1:{port}"))
        .allow_host("a.localhost")
        .start();
    assert_eq!(forward(&named, "a.localhost", port).status, 200);
}

#[test]
fn what_a_plugin_asks_for_itself_is_checked_by_address_too() {
    let upstream = Daemon::start("hello");
    let port = upstream.addr().port();
    let daemon = Daemon::builder("fetch")
        .allow_host("*")
        .allow_host("*.localhost")
        .start();
    for host in [
        "127.0.0.1",
        "a.localhost",
        "localhost",
        "[::ffff:127.0.0.1]",
    ] {
        let response = get(&daemon, &format!("/relay?to={host}:{port}"));
        let told = response.text();
        assert!(told.contains("HttpRequestDenied"), "{host}: {told}");
    }
    daemon.wait_for_log(&format!(
        "a request to a.localhost:{port}: plugin fetch may not"
    ));
    let daemon = Daemon::builder("fetch").allow_host("127.0.0.1").start();
    assert_eq!(
        get(&daemon, &format!("/relay?to=127.0.0.1:{port}")).status,
        200
    );
}

/// What `/status` tells of the plugins.
fn status(folder: &TempDir) -> Value {
    let status: Value = serde_json::from_str(&ask(folder, "/status").text()).unwrap();
    status["plugins"].clone()
}

#[test]
fn one_plugin_alone_plays_all_its_roles() {
    let folder = TempDir::new();
    let daemon = Daemon::builder("stages").data_dir(folder.path()).start();
    let fields = [("x-test-route", "immediate 418 routed")];
    assert_eq!(request(&daemon, "GET", "/", &fields, b"").status, 418);
    assert_eq!(status(&folder)[0]["roles"].as_array().unwrap().len(), 8);
    assert_eq!(status(&folder)[0]["roles_withheld"], json!([]));
}

#[test]
fn beside_others_it_has_to_be_said_which_of_several_roles_a_plugin_plays() {
    let folder = TempDir::new();
    // Under another file's name the suite's own words for this guest do not count.
    let file = folder.path().join("guard.cwasm");
    std::fs::copy(artifact("stages"), &file).unwrap();
    let both = || Daemon::builder("hello").with_file(&file);
    let said = both().fails();
    assert_eq!(said.code, 2, "{said:?}");
    let told = "stages exports several roles, handler,transformer,authenticator,rate-limiter,middleware,router,cache,websocket; ";
    assert!(said.stderr.contains(told), "{said:?}");
    assert!(said.stderr.contains("`wasm.roles: ["), "{said:?}");
    // Of a deployment it is told before it gets to any device.
    let said = both().fails_to_pack();
    assert!(said.stderr.contains("exports several roles"), "{said:?}");
    for (setting, told) in [
        ("guard:roles=", "roles: is empty"),
        (
            "guard:roles=http-handler",
            "names http-handler, which the component does not export",
        ),
        ("guard:roles=guard", "there is no role 'guard'"),
    ] {
        let said = both().plugin(setting).fails_to_pack();
        assert!(said.stderr.contains(told), "{told}: {said:?}");
    }
}

#[test]
fn a_role_that_is_not_granted_is_not_called() {
    let folder = TempDir::new();
    let daemon = Daemon::builder("stages")
        .with("hello")
        .plugin("stages:roles=transformer")
        .allow_host("localhost")
        .data_dir(folder.path())
        .start();
    let fields = [
        ("x-test-route", "immediate 418 routed"),
        ("x-test-auth", "denied nobody"),
        ("x-test-limit", "deny 0 1 1 1"),
        ("x-test-middleware", "abort 400 no"),
        ("x-test-handle", "respond 400 no"),
    ];
    let response = request(&daemon, "GET", "/", &fields, b"");
    assert_eq!(response.status, 200, "{response:?}");
    assert_eq!(
        response.header("x-trace"),
        Some("stages transform-response-headers")
    );
    let plugin = &status(&folder)[0];
    assert_eq!(plugin["roles"], json!(["transformer"]));
    let withheld = [
        "handler",
        "authenticator",
        "rate-limiter",
        "middleware",
        "router",
        "cache",
        "websocket",
    ];
    assert_eq!(plugin["roles_withheld"], json!(withheld));
    daemon.wait_for_log(
        "plugin stages exports more roles than it was granted, which nobody calls: handler, ",
    );
}

#[test]
fn roles_that_belong_together_need_no_words() {
    // The guide shows a cache and a WebSocket beside the handler that they belong to.
    let daemon = Daemon::builder("stages")
        .with("stage-auth")
        .plugin("stages:roles=handler,cache,websocket")
        .start();
    assert_eq!(get(&daemon, "/").status, 200);
    // `counter` is a handler alone, `http-echo-headers` answers `wasi:http`.
    let daemon = Daemon::builder("counter").with("http-echo-headers").start();
    assert_eq!(get(&daemon, "/instance").status, 200);
}

#[test]
fn a_plugin_uses_what_its_roles_have_it_use_and_what_it_is_allowed() {
    let folder = TempDir::new();
    let daemon = |setting: &str| {
        Daemon::builder("stage-transformer")
            .with("http-echo-headers")
            .data_dir(folder.path())
            .args(["--config", "test.transform-response=set x-own=configured"])
            .plugin(setting)
            .start()
    };
    let denied = daemon("stage-transformer:allow=logging");
    assert_eq!(get(&denied, "/").header("x-own"), None);
    denied.wait_for_log("plugin stage-transformer imports what it is not granted: config: not in the world zlayer-transformer, `wasm.capabilities.config: true` in the service stage-transformer grants it");
    denied.wait_for_log("it called what it is not granted: config: not in the world");
    let plugin = &status(&folder)[0];
    assert_eq!(plugin["granted"], json!(["logging"]));
    let imports = plugin["imports"].as_array().unwrap();
    assert!(imports.contains(&json!("config")), "{plugin}");
    let why = plugin["not_granted"][0].as_str().unwrap();
    assert!(
        why.starts_with("config: not in the world zlayer-transformer"),
        "{why}"
    );
    assert!(
        plugin["denied_calls"]["config"].as_u64().unwrap() > 0,
        "{plugin}"
    );
    drop(denied);
    let allowed = daemon("stage-transformer:allow=config,keyvalue");
    assert_eq!(get(&allowed, "/").header("x-own"), Some("configured"));
    assert!(!allowed.log().contains("imports what it is not granted"));
    drop(allowed);
    // What is denied is denied, whatever else is said.
    let both = Daemon::builder("stage-transformer")
        .with("http-echo-headers")
        .args(["--config", "test.transform-response=set x-own=configured"])
        .args(["--deny", "config"])
        .plugin("stage-transformer:allow=config,keyvalue")
        .start();
    assert_eq!(get(&both, "/").header("x-own"), None);
    both.wait_for_log("config: taken away by --deny config");
}

#[test]
fn a_secret_that_is_not_given_is_told_once_with_what_gives_it() {
    let daemon = Daemon::builder("jwt-authenticator")
        .with("hello")
        .args(["--secret", "jwt_secret=a-planted-value"])
        .start();
    let token = [("authorization", "Bearer a.b.c")];
    for _ in 0..3 {
        request(&daemon, "GET", "/", &token, b"");
    }
    daemon.wait_for_log("`wasm.secrets: [jwt_secret]` in its service gives it");
    let told = "it asked for the secret 'jwt_secret'";
    assert_eq!(daemon.log().matches(told).count(), 1, "{}", daemon.log());
    daemon.wait_for_log("plugin jwt-authenticator asks for secrets and is given none");
    // One that is not there at all.
    let daemon = Daemon::builder("jwt-authenticator").with("hello").start();
    request(&daemon, "GET", "/", &token, b"");
    daemon.wait_for_log("it asked for the secret 'jwt_secret', which there is not: --secrets-file");
}

#[test]
fn a_plugin_with_secrets_of_its_own_is_not_said_to_have_none() {
    let [guard, web] = ["jwt-authenticator", "hello"].map(artifact);
    let deployment = format!(
        "version: v1\ndeployment: own\nservices:\n  guard:\n    image: {}\n    env: {{jwt_secret: \"${{SIGNS}}\"}}\n  \
         web:\n    image: {}\n",
        guard.display(),
        web.display()
    );
    let daemon = Daemon::of(bundle(&deployment))
        .args(["--secret", "SIGNS=a-planted-value"])
        .start();
    daemon.wait_for_log("plugin web ");
    assert!(!daemon.log().contains("is given none"), "{}", daemon.log());
    // It is one that would ask.
    request(
        &daemon,
        "GET",
        "/",
        &[("authorization", "Bearer a.b.c")],
        b"",
    );
    assert!(
        !daemon.log().contains("it asked for the secret"),
        "{}",
        daemon.log()
    );
}

#[test]
fn a_conversation_goes_to_no_host_that_is_not_allowed_either() {
    let upstream = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = upstream.local_addr().unwrap().port();
    let route = format!("forward a.localhost {port}");
    let fields = [
        ("x-test-route", route.as_str()),
        ("connection", "upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];
    for hosts in [&[][..], &["*", "*.localhost"]] {
        let mut builder = Daemon::builder("stage-router");
        for host in hosts {
            builder = builder.allow_host(host);
        }
        let daemon = builder.start();
        let response = request(&daemon, "GET", "/", &fields, b"");
        assert_eq!(response.status, 502, "{response:?}");
        daemon.wait_for_log("plugin stage-router may not send there");
    }
    assert!(is_untouched(&upstream));
}
