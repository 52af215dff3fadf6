//! What goes wrong beside the plugin: the store, the folder, the sockets' clients.

use std::fs;

use crate::support::{TempDir, ask, eventually, get, zlayer};

use super::{is_ready, serving, status};

#[test]
fn a_store_that_fails_makes_the_daemon_unhealthy_until_it_is_mended() {
    let folder = TempDir::new();
    let kv = folder.path().join("kv");
    fs::write(&kv, "no folder").unwrap();
    let daemon = serving("counter", &folder).start();
    eventually("a failing store", || {
        status(&folder)["store"]["state"] == "failing"
    });
    eventually("a plugin that is ready", || {
        status(&folder)["plugins"][0]["state"] == "ready"
    });
    let told = status(&folder);
    assert_eq!(told["healthy"], false, "{told}");
    assert!(told["trouble"].as_str().unwrap().starts_with("store: "));
    let health = ask(&folder, "/healthz");
    assert_eq!(health.status, 503, "{health:?}");
    assert!(health.text().starts_with("store: "), "{health:?}");
    let shown = zlayer(["status", "--data-dir", folder.path().to_str().unwrap()]);
    assert_eq!(shown.code, 4, "{shown:?}");
    assert!(shown.stdout.contains("NOT OK: store: "), "{shown:?}");

    fs::remove_file(&kv).unwrap();
    is_ready(&folder);
    assert_eq!(get(&daemon, "/incr/key").status, 200);
}
