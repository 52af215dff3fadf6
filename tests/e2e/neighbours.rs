//! What plugins of one daemon cost each other.

use serde_json::Value;

use crate::support::{Builder, Client, Daemon, TempDir, ask, eventually, get, request, zlayer};

/// Twelve requests whose plugin computes for ever.
fn spin(daemon: &Daemon) -> Vec<Client> {
    let twelve = (0..12).map(|_| {
        let mut client = Client::connect(daemon);
        client.send("GET /spin HTTP/1.1\r\nhost: a\r\n\r\n");
        client
    });
    twelve.collect()
}

#[test]
fn a_plugin_that_computes_in_all_its_instances_leaves_the_thread_to_others() {
    let daemon = Daemon::builder("hostile-plugin")
        .with("hello")
        .plugin("hostile-plugin:paths=/spin")
        .args(["--threads", "1", "--memory-max", "128Mi"])
        // In less than a third of it even a slow machine serves the others, who took three times as
        // long before plugins took turns.
        .timeout("request", "60s")
        .start();
    let spinning = spin(&daemon);
    // Each waited for twelve slices of 10 ms, several times: five hundred took minutes.
    for _ in 0..500 {
        assert_eq!(get(&daemon, "/").status, 200);
    }
    assert!(!daemon.log().contains("/spin"), "their time is not up yet");
    drop(spinning);
    assert_eq!(get(&daemon, "/").status, 200);
}

#[test]
fn a_body_that_is_not_read_gives_a_plugin_no_more_time() {
    for plugin in ["hostile-plugin", "hostile"] {
        let daemon = Daemon::builder(plugin)
            // Longer than any test waits.
            .timeout("stall", "60m")
            .timeout("request", "2s")
            .start();
        for bytes in [0, 3, 40_000] {
            let answer = request(&daemon, "POST", "/spin", &[], &vec![b'x'; bytes]);
            assert_eq!(answer.status, 504, "{plugin}, {bytes}: {answer:?}");
        }
    }
}

/// Two plugins with a store; each answers for its own paths.
fn two_counters(durability: &str, folder: &TempDir) -> Builder {
    Daemon::builder("counter")
        .with("counter")
        .data_dir(folder.path())
        .args(["--kv-durability", durability])
        .plugin("counter:paths=/incr/one/*,/set/one/*,/list/")
        .plugin("counter:kv-namespace=shared")
        .plugin("counter-2:kv-namespace=shared")
}

#[test]
fn plugins_that_name_one_namespace_share_its_content_and_its_quota() {
    for durability in ["memory", "interval", "sync"] {
        let folder = TempDir::new();
        let daemon = two_counters(durability, &folder)
            .args(["--kv-max-keys", "10"])
            .start();
        for key in 0..5 {
            for plugin in ["one", "two"] {
                let path = format!("/incr/{plugin}/{key}");
                assert_eq!(get(&daemon, &path).text(), "1", "{durability}");
            }
        }
        // The first plugin's list holds the second's keys, and there is no room for either.
        assert_eq!(get(&daemon, "/list/").text().lines().count(), 10);
        for path in ["/incr/one/9", "/incr/two/9"] {
            let full = get(&daemon, path);
            let told = (full.status, full.text());
            assert_eq!(told, (409, "quota-exceeded".to_owned()), "{durability}");
        }
        for plugin in ["counter", "counter-2"] {
            daemon.wait_for_log(&format!(
                "plugin {plugin}: keyvalue.increment failed, quota-exceeded: its namespace 'shared' is full: 10 keys"
            ));
        }
        // Once each, however often.
        assert_eq!(get(&daemon, "/incr/two/9").status, 409);
        assert_eq!(daemon.log().matches(" is full: 10 keys").count(), 2);
        let status: Value = serde_json::from_str(&ask(&folder, "/status").text()).unwrap();
        let namespaces = &status["store"]["namespaces"];
        assert_eq!(namespaces[0]["name"], "shared");
        assert_eq!(namespaces[0]["keys"], 10);
        assert_eq!(namespaces[0]["refused_changes"], 3);
        assert!(namespaces[1].is_null(), "{namespaces}");
    }
}

#[test]
fn a_fault_of_the_store_is_told_once_and_never_with_the_key() {
    let daemon = Daemon::builder("counter").start();
    let set = |path: &str| request(&daemon, "PUT", path, &[], b"x").text();
    let long = format!("/set/{}", "secret".repeat(200));
    for _ in 0..3 {
        assert_eq!(set(&long), "invalid-key");
        assert_eq!(set("/set/word"), "ok");
        assert!(get(&daemon, "/incr/word").text().starts_with("storage"));
    }
    daemon.wait_for_log("keyvalue.increment failed, storage: not a number");
    let log = daemon.log();
    let told = "plugin counter: keyvalue.set failed, invalid-key: a key of 1200 bytes";
    assert_eq!(log.matches(told).count(), 1, "{log}");
    assert_eq!(log.matches("keyvalue.increment failed").count(), 1, "{log}");
    assert!(!log.contains("secretsecret"), "{log}");
}

#[test]
fn expired_keys_make_room_before_anything_is_refused() {
    for durability in ["memory", "interval"] {
        let daemon = Daemon::builder("counter")
            .args(["--kv-durability", durability, "--kv-max-keys", "3"])
            .start();
        for key in 0..3 {
            let path = format!("/set-ttl/{key}?ms=1");
            assert_eq!(request(&daemon, "PUT", &path, &[], b"x").status, 200);
        }
        eventually("they have expired", || get(&daemon, "/get/2").status == 404);
        assert_eq!(get(&daemon, "/incr/other").text(), "1", "{durability}");
        assert!(!daemon.log().contains("is full"), "{durability}");
    }
}

#[test]
fn a_day_allows_each_plugin_so_many_bytes_of_writes() {
    let folder = TempDir::new();
    let start = || {
        two_counters("interval", &folder)
            .args(["--kv-write-max", "1Mi"])
            .plugin("counter-2:kv-write-max=1Gi")
            .start()
    };
    let mut daemon = start();
    let set = |daemon: &Daemon, key: &str| {
        let answer = request(daemon, "PUT", &format!("/set/{key}"), &[], &[b'x'; 200_000]);
        (answer.status, answer.text())
    };
    assert_eq!(set(&daemon, "one/1").0, 200);
    assert_eq!(set(&daemon, "one/2").0, 200);
    assert_eq!(set(&daemon, "one/3"), (409, "quota-exceeded".to_owned()));
    for key in 0..5 {
        assert_eq!(set(&daemon, &format!("two/{key}")).0, 200);
    }
    daemon.wait_for_log("plugin counter: keyvalue.set failed, quota-exceeded: its changes had ");
    daemon.wait_for_log("--kv-write-max");
    let status: Value = serde_json::from_str(&ask(&folder, "/status").text()).unwrap();
    let [first, second] = [0, 1].map(|plugin| &status["plugins"][plugin]["writes"]);
    assert_eq!(first["day_bytes"], 1 << 20);
    assert!(first["spent_bytes"].as_u64().unwrap() > 800_000, "{first}");
    assert_eq!(
        (&first["refused_changes"], &second["refused_changes"]),
        (&1.into(), &0.into())
    );
    daemon.signal(15);
    assert_eq!(daemon.wait(), 0);
    // A restart is no way around it.
    let daemon = start();
    assert_eq!(set(&daemon, "one/3").1, "quota-exceeded");
    assert_eq!(set(&daemon, "two/9").0, 200);
}

#[test]
fn any_api_key_is_limited_by_the_guides_limiter() {
    let daemon = Daemon::builder("sliding-window-limiter")
        .with("hello")
        .args(["--config", "window_ms=1000000000000000"])
        .start();
    for key in [
        "a+b/c",
        "YWJjZA==",
        "two words",
        "\u{43a}\u{43b}\u{44e}\u{447}",
        "100%",
        "{\"a\":1}",
    ] {
        let mut client = Client::connect(&daemon);
        let mut statuses = (0..101).map(|_| {
            client.send(format!(
                "GET / HTTP/1.1\r\nhost: a\r\nx-api-key: {key}\r\n\r\n"
            ));
            client.read_response().status
        });
        assert!(
            statuses.by_ref().take(100).all(|status| status == 200),
            "{key}"
        );
        assert_eq!(statuses.next(), Some(429), "{key}");
    }
    assert!(!daemon.log().contains("keyvalue."), "{}", daemon.log());
}

#[test]
fn a_line_without_an_end_is_logged_with_its_own_request() {
    let daemon = Daemon::builder("logging-probe").start();
    let answer = get(&daemon, "/half");
    assert_eq!(answer.status, 200);
    daemon.wait_for_log("half a line");
    let log = daemon.log();
    let line = log.lines().find(|line| line.ends_with("half a line"));
    let id = line.and_then(|line| line.split_once('[')?.1.split_once(']'));
    let id = id.unwrap_or_else(|| panic!("{log}")).0.to_owned();
    // The next request is another one.
    let next = get(&daemon, "/each?tag=next").text();
    assert_ne!(id, next);
    daemon.wait_for_log(&format!("[{next}] next function info"));
}

#[test]
fn the_log_says_what_started_and_finds_all_that_concerns_a_plugin() {
    let folder = TempDir::new();
    let mut daemon = Daemon::builder("hostile-plugin")
        .with("hello")
        .plugin("hostile-plugin:paths=/trap")
        .data_dir(folder.path())
        .start();
    let trapped = get(&daemon, "/trap");
    assert_eq!(trapped.status, 500);
    daemon.signal(15);
    assert_eq!(daemon.wait(), 0);
    let shown = |words: &[&str]| {
        let data = folder.path().to_str().unwrap();
        let output = zlayer([&["logs", "--data-dir", data], words].concat());
        assert_eq!(output.code, 0, "{output:?}");
        output.stdout
    };
    let all = shown(&[]);
    assert!(all.contains(" serves on http://127.0.0.1:"), "{all}");
    let own = shown(&["--plugin", "hostile-plugin"]);
    let id = trapped.header("x-request-id").unwrap();
    for part in [
        "plugin hostile-plugin 0.0.0 (handler) starts: digest ",
        ", signed by ",
        &format!("[{id}] GET /trap: plugin hostile-plugin: failed: trap: "),
    ] {
        assert!(own.contains(part), "no {part} in\n{own}");
    }
    assert!(!own.contains("plugin hello"), "{own}");
    let other = shown(&["--plugin", "hello"]);
    assert!(other.contains("plugin hello 0.0.0 "), "{other}");
    assert!(!other.contains("hostile"), "{other}");
}

#[test]
fn a_plugin_that_floods_the_log_erases_nothing_of_others() {
    let folder = TempDir::new();
    let mut daemon = Daemon::builder("hostile-plugin")
        .with("logging-probe")
        .plugin("hostile-plugin:paths=/trap")
        .args(["--log-rate", "1000000"])
        .data_dir(folder.path())
        .start();
    let trapped = get(&daemon, "/trap");
    assert_eq!(trapped.status, 500);
    let id = trapped.header("x-request-id").unwrap();
    // Twice the ring.
    for _ in 0..20 {
        assert_eq!(get(&daemon, "/flood?records=5000").status, 200);
    }
    daemon.signal(15);
    assert_eq!(daemon.wait(), 0);
    let data = folder.path().to_str().unwrap();
    let all = zlayer(["logs", "--data-dir", data]).stdout;
    for part in [
        " serves on http://",
        &format!("[{id}] GET /trap: plugin hostile-plugin: failed: trap: "),
        "plugin logging-probe: [",
    ] {
        assert!(all.contains(part), "no {part}");
    }
}
