use std::fs;

use serde_json::Value;

use super::server::{OK, Server, echo};
use super::{file, forwarding, proxy};
use crate::support::{Builder, Daemon, TempDir, ask, get, may_mount, request};

/// A clock that an earlier run found to be right: 2121-01-01, a year after all certificates have ended.
const LATE: &str = "4765132800\n";

/// A daemon on a machine without a battery, of which nobody says that its clock is set, or whose client
/// of NTP does.
fn on_a_machine(builder: Builder, synchronized: bool) -> Builder {
    let line = r#"
        mount -t tmpfs none /run
        if [ -d /sys/class/rtc ]; then mount -t tmpfs none /sys/class/rtc; fi
        if [ "$0" = true ]; then
            mkdir -p /run/systemd/timesync && touch /run/systemd/timesync/synchronized
        fi
        exec "$@""#;
    let synchronized = synchronized.to_string();
    builder.through(["unshare", "-m", "sh", "-c", line, &synchronized])
}

fn clock_of(data: &TempDir) -> String {
    let status: Value = serde_json::from_str(&ask(data, "/status").text()).unwrap();
    status["clock"].as_str().unwrap().to_owned()
}

#[test]
fn until_the_clock_is_set_certificates_are_checked_against_the_floor() {
    if !may_mount() {
        return;
    }
    let (upstream, data) = (echo(), TempDir::new());
    let daemon = || proxy(upstream.port).data_dir(data.path());
    fs::write(data.path().join("clock"), LATE).unwrap();
    let unset = on_a_machine(daemon(), false).start();
    assert_eq!(get(&unset, "/").status, 502);
    unset.wait_for_log("its certificate: invalid peer certificate: certificate expired");
    unset.wait_for_log(
        "the clock is unset: certificates of upstreams are checked against \
         Wed, 01 Jan 2121 00:00:00 GMT",
    );
    assert_eq!(clock_of(&data), "unset");
    assert_eq!(unset.stop(), 0);
    // Who asks the network knows better than what was kept, which is mended.
    let set = on_a_machine(daemon(), true).start();
    assert_eq!(get(&set, "/").status, 200);
    assert_eq!(clock_of(&data), "synced");
    assert!(!set.log().contains("the clock is"), "{}", set.log());
    crate::support::eventually("the time that is kept", || {
        fs::read_to_string(data.path().join("clock")).unwrap() != LATE
    });
    assert_eq!(set.stop(), 0);
    // Nobody says so of this one, and what was kept is right.
    let floor = on_a_machine(daemon(), false).start();
    assert_eq!(get(&floor, "/").status, 200);
    assert_eq!(clock_of(&data), "floor");
    floor.wait_for_log("the clock is floor: certificates of upstreams are checked against");
}

#[test]
fn a_certificate_that_begins_later_is_refused_only_by_who_knows_the_time() {
    if !may_mount() {
        return;
    }
    // From 2100 on.
    let upstream = Server::start("later.pem", |mut stream| {
        while super::server::read_head(&mut stream).is_some() {
            std::io::Write::write_all(&mut stream, OK.as_bytes()).unwrap();
        }
    });
    let daemon = || {
        forwarding(upstream.port)
            .arg("--tls-roots")
            .arg(file("later-ca.pem"))
    };
    assert_eq!(get(&on_a_machine(daemon(), false).start(), "/").status, 200);
    let knowing = on_a_machine(daemon(), true).start();
    assert_eq!(get(&knowing, "/").status, 502);
    knowing.wait_for_log("its certificate: invalid peer certificate: certificate not valid yet");
}

#[test]
fn plugins_are_told_how_far_the_clock_can_be_believed() {
    if !may_mount() {
        return;
    }
    let told = |data: &TempDir, synchronized| {
        let daemon = Daemon::builder("stages").data_dir(data.path());
        let daemon = on_a_machine(daemon, synchronized).start();
        let answer = request(&daemon, "GET", "/", &[("x-test-route", "seen")], b"");
        let text = answer.text();
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix("context clock: "));
        line.unwrap_or_else(|| panic!("{text}")).to_owned()
    };
    let data = TempDir::new();
    assert_eq!(told(&data, false), "floor");
    assert_eq!(told(&data, true), "synced");
    let data = TempDir::new();
    fs::write(data.path().join("clock"), LATE).unwrap();
    assert_eq!(told(&data, false), "unset");
}
