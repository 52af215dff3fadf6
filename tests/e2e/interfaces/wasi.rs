use super::{ROLES, text};
use crate::support::Daemon;

#[test]
fn a_plugin_sees_nothing_of_the_machine() {
    let daemon = Daemon::builder("wasi-probe")
        .env("PLANTED_VARIABLE", "planted")
        .start();
    for role in ROLES {
        let text = |path: &str| text(&daemon, &format!("{role}{path}"));
        assert_eq!(text("/env"), "");
        assert_eq!(text("/fs"), "none");
        assert_eq!(text("/random").len(), 64);
        let clocks: serde_json::Value = serde_json::from_str(&text("/clock")).unwrap();
        assert!(
            clocks["wall_s"].as_u64().unwrap() > 1_700_000_000,
            "{clocks}"
        );
        // How long the machine has been up is nobody's business.
        assert!(
            clocks["monotonic_ns"].as_u64().unwrap() < 3_600_000_000_000,
            "{clocks}"
        );
        assert!(text("/sleep?ms=30").starts_with("slept "));
    }
}

#[test]
fn a_plugin_looks_up_the_hosts_that_it_may_send_requests_to_and_no_others() {
    let looked = |daemon: &Daemon, name: &str| {
        let all = ROLES.map(|role| text(daemon, &format!("{role}/look-up?name={name}")));
        assert!(all.iter().all(|one| *one == all[0]), "{all:?}");
        all[0].clone()
    };
    // Nothing is granted.
    let daemon = Daemon::builder("wasi-probe").start();
    for name in ["localhost", "127.0.0.1"] {
        assert_eq!(looked(&daemon, name), "permanent-resolver-failure");
    }
    drop(daemon);
    let daemon = Daemon::builder("wasi-probe")
        .args(["--allow-host", "localhost:8080"])
        .args(["--allow-host", "*.invalid"])
        .args(["--allow-host", "192.0.2.7"])
        .start();
    assert_eq!(looked(&daemon, "localhost"), "0:0:0:0:0:0:0:1\n127.0.0.1\n");
    assert_eq!(looked(&daemon, "192.0.2.7"), "192.0.2.7\n");
    assert_eq!(looked(&daemon, "a.invalid"), "name-unresolvable");
    assert_eq!(
        looked(&daemon, "other.example"),
        "permanent-resolver-failure"
    );
    daemon.wait_for_log("the look-up of 'other.example' was denied: that host is not allowed");
}
