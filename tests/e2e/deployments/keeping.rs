//! How a service's instances are kept, how long its calls may take, and whether it is well.

use crate::support::{Daemon, TempDir, ask, at_rest, brief, eventually, get, under_qemu};

use super::status;

/// A time after which nobody waits any more: an emulated processor takes longer to make an instance.
fn idle() -> &'static str {
    if under_qemu() { "5s" } else { "500ms" }
}

#[test]
fn instances_are_made_ahead_and_those_beyond_are_given_up_with_their_shutdown() {
    let data = TempDir::new();
    let daemon = Daemon::builder("hostile-plugin")
        .plugin("hostile-plugin:min-instances=2")
        .plugin(&format!("hostile-plugin:idle-timeout={}", idle()))
        .args(["--timeout", "request=60s"])
        .data_dir(data.path())
        .env("ZLAYER_LOG", "debug")
        .start();
    let idle = || status(&data)["plugins"][0]["instances"]["idle"].as_u64();
    eventually("two instances", || idle() == Some(2));
    // More at once than are kept: as many are made as there are requests at work.
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| assert_eq!(get(&daemon, "/").status, 200));
        }
    });
    eventually("two instances again", || idle() == Some(2));
    at_rest(&data);
    assert_eq!(idle(), Some(2), "those that are kept stay");
    assert_eq!(daemon.stop(), 0);
}

#[test]
fn what_is_kept_and_ends_at_its_work_is_replaced_before_anybody_asks() {
    let data = TempDir::new();
    let daemon = Daemon::builder("hostile-plugin")
        .plugin("hostile-plugin:min-instances=2")
        .plugin(&format!("hostile-plugin:request-timeout={}", brief()))
        .data_dir(data.path())
        .start();
    let is_full = || status(&data)["plugins"][0]["instances"]["idle"] == 2;
    eventually("two instances", is_full);
    for (path, answer) in [("/trap", 500), ("/trap", 500), ("/spin", 504)] {
        assert_eq!(get(&daemon, path).status, answer, "{path}");
        eventually("two instances again", is_full);
    }
    assert_eq!(daemon.stop(), 0);
}

#[test]
fn a_handler_of_requests_has_as_many_ahead_once_one_was_used_up() {
    let data = TempDir::new();
    let daemon = Daemon::builder("echo")
        .plugin("echo:reuse=2")
        .plugin("echo:min-instances=1")
        .data_dir(data.path())
        .start();
    let is_full = || status(&data)["plugins"][0]["instances"]["idle"] == 1;
    eventually("an instance", is_full);
    for _ in 0..4 {
        assert_eq!(get(&daemon, "/").status, 200);
        eventually("an instance again", is_full);
    }
    assert_eq!(daemon.stop(), 0);
}

#[test]
fn the_last_instance_goes_too_where_none_is_kept() {
    let data = TempDir::new();
    let daemon = Daemon::builder("visit-counter")
        .plugin(&format!("visit-counter:idle-timeout={}", idle()))
        .data_dir(data.path())
        .env("ZLAYER_LOG", "debug")
        .start();
    daemon.wait_for_log("an instance is given up that nobody asked for (idle_timeout)");
    eventually("no instance", || {
        status(&data)["plugins"][0]["instances"]["idle"] == 0
    });
    // The next request has another one made.
    assert_eq!(get(&daemon, "/a").text(), "visit 1 of /a\n");
}

#[test]
fn a_call_has_its_services_time_and_an_init_has_the_requests() {
    let data = TempDir::new();
    let daemon = Daemon::builder("hostile-plugin")
        .plugin(&format!("hostile-plugin:request-timeout={}", brief()))
        .args(["--timeout", "request=100s"])
        .data_dir(data.path())
        .start();
    let answer = get(&daemon, "/spin");
    assert_eq!(answer.status, 504, "{answer:?}");
    daemon.wait_for_log("(request_timeout)");
    // The instance that computed is gone, and another one serves.
    assert_eq!(get(&daemon, "/").status, 200);
}

#[test]
fn memories_have_the_services_bound() {
    let refused = Daemon::builder("hostile")
        .plugin("hostile:max-memory=64Ki")
        .fails_to_pack();
    assert!(refused.stderr.contains("max_memory"), "{refused:?}");
    let data = TempDir::new();
    let daemon = Daemon::builder("hostile")
        .plugin("hostile:max-memory=4Mi")
        .data_dir(data.path())
        .start();
    assert_eq!(get(&daemon, "/grow").status, 500);
    daemon.wait_for_log("max_memory");
}

#[test]
fn who_answers_its_check_otherwise_is_not_well_and_that_is_told_once() {
    let folder = TempDir::new();
    let text = |status: u16| {
        format!(
            "version: v1\ndeployment: d\nservices:\n  h:\n    image: {}\n    health: {{check: {{type: http, url: \
             /status-{status}}}, interval: 100ms, retries: 2}}\n",
            crate::support::artifact("hostile-plugin").display()
        )
    };
    let daemon = Daemon::of(crate::support::bundle(&text(418)))
        .data_dir(folder.path())
        .start();
    let service = || status(&folder)["plugins"][0].clone();
    eventually("not well", || service()["health"] == "unhealthy");
    let reason = service()["health_reason"].as_str().unwrap().to_owned();
    assert!(reason.contains("418"), "{reason}");
    assert_eq!(ask(&folder, "/healthz").status, 503);
    // A check is nobody's request.
    assert_eq!(service()["requests"]["total"], 0, "{}", service());
    assert_eq!(status(&folder)["requests"]["4xx"], 0);
    assert_eq!(
        daemon.log().matches("answered with 418").count(),
        1,
        "{}",
        daemon.log()
    );
    drop(daemon);
    let _daemon = Daemon::of(crate::support::bundle(&text(200)))
        .data_dir(folder.path())
        .start();
    eventually("well", || service()["health"] == "healthy");
    assert_eq!(ask(&folder, "/healthz").status, 200);
}
