//! Ports that come and go while the daemon serves: with an install, with a rollback, and with what is gone back to.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crate::https::{Files, client};
use crate::support::{Client, Daemon, TempDir, bundle, eventually, get, key_dir, skipped};

use super::endpoints::{deployment, free, get_at, greeters, local, who};
use super::{install, serving, status, verb};

/// A release of services with these endpoints.
pub(super) fn release(number: u32, services: &[(&str, &str)]) -> PathBuf {
    let numbered = format!("deployment: d\nrelease: {number}\n");
    bundle(&greeters(services).replace("deployment: d\n", &numbered))
}

/// An endpoint at this port.
pub(super) fn at(port: u16) -> String {
    format!("{{name: p{port}, port: {port}}}")
}

/// A release of one service with this endpoint.
fn single(number: u32, port: u16, expose: &str) -> PathBuf {
    let end = format!("{{name: a, port: {port}, expose: {expose}}}");
    release(number, &[(&format!("r{number}"), &end)])
}

pub(super) fn installed(made: &std::path::Path, data: &TempDir) {
    let said = install(made, data);
    assert_eq!(said.code, 0, "{said:?}");
}

fn is_open(address: SocketAddr) -> bool {
    TcpStream::connect(address).is_ok()
}

/// The same port at another address of this device, which stands for the network.
fn elsewhere(port: u16) -> SocketAddr {
    ([127, 0, 0, 2], port).into()
}

#[test]
fn an_install_opens_its_ports_and_closes_those_that_nobody_has_and_a_rollback_does_the_reverse() {
    let [first, second, third, fourth] = free();
    let data = TempDir::new();
    let good = release(1, &[("one", &at(first)), ("two", &at(second))]);
    installed(&good, &data);
    let daemon = serving(&data);
    assert_eq!(who(&get_at(local(second), "h", "/")), "two");
    let mut kept = Client::over(TcpStream::connect(local(second)).unwrap());
    kept.send("GET / HTTP/1.1\r\nhost: h\r\n\r\n");
    assert_eq!(who(&kept.read_response()), "two");
    // The first port is this suite's own, whichever the file names.
    let three = [at(third), at(fourth)].join(", ");
    installed(
        &release(2, &[("one", &at(first)), ("three", &three)]),
        &data,
    );
    assert_eq!(who(&get(&daemon, "/")), "one");
    for port in [third, fourth] {
        assert_eq!(who(&get_at(local(port), "h", "/")), "three");
    }
    assert!(!is_open(local(second)));
    // Who came by a port that is closed is not kept.
    assert!(kept.is_closed());
    let addresses = [daemon.addr(), local(third), local(fourth)].map(|at| format!("http://{at}"));
    assert_eq!(status(&data)["addresses"], serde_json::json!(addresses));
    daemon.wait_for_log(&format!("http://127.0.0.1:{fourth} is open"));
    daemon.wait_for_log(&format!("http://127.0.0.1:{second} is closed"));
    let said = verb(&["rollback"], &data);
    assert_eq!(said.code, 0, "{said:?}");
    assert_eq!(who(&get_at(local(second), "h", "/")), "two");
    assert!(!is_open(local(third)) && !is_open(local(fourth)));
    assert_eq!(daemon.stop(), 0);
}

#[test]
fn ports_that_come_and_go_cost_those_that_stay_no_request() {
    let changes = std::env::var("ZLAYER_RELOADS").map_or(12, |count| count.parse().unwrap());
    let [first, moved, common, third, fourth] = free();
    let data = TempDir::new();
    let releases = [(1, third), (2, fourth)].map(|(number, other)| {
        // The one that a flag moves is another one each time.
        let first = if number == 1 { first } else { moved };
        let services = [
            ("one", at(first)),
            ("two", at(common)),
            ("other", at(other)),
        ];
        let services = services.each_ref().map(|(name, ends)| (*name, &**ends));
        release(number, &services)
    });
    installed(&releases[0], &data);
    let daemon = serving(&data);
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let asking = |address: SocketAddr, name: &'static str| {
            let is_over = &is_over;
            scope.spawn(move || {
                let mut kept = Client::over(TcpStream::connect(address).unwrap());
                let mut count = 0;
                while !is_over.load(Ordering::Relaxed) {
                    kept.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
                    for answer in [kept.read_response(), get_at(address, "a", "/")] {
                        assert_eq!(who(&answer), name, "{answer:?}");
                        count += 1;
                    }
                }
                count
            })
        };
        let clients = [
            asking(local(common), "two"),
            asking(local(common), "two"),
            asking(daemon.addr(), "one"),
        ];
        let end = super::live::EndOf(&is_over);
        for change in 0..changes {
            installed(&releases[(change + 1) % 2], &data);
            let (open, closed) = match change % 2 {
                0 => (fourth, third),
                _ => (third, fourth),
            };
            assert_eq!(who(&get_at(local(open), "h", "/")), "other");
            assert!(!is_open(local(closed)));
        }
        drop(end);
        for client in clients {
            assert!(client.join().unwrap() > 1);
        }
    });
    assert_eq!(daemon.stop(), 0);
}

#[test]
fn a_port_that_is_in_use_refuses_the_install_and_nothing_has_changed() {
    let [first, second, third] = free();
    let data = TempDir::new();
    let good = release(1, &[("one", &at(first)), ("two", &at(second))]);
    installed(&good, &data);
    let daemon = serving(&data);
    let taken = TcpListener::bind(local(0)).unwrap();
    let port = taken.local_addr().unwrap().port();
    let three = [at(third), at(port)].join(", ");
    let said = install(
        &release(2, &[("one", &at(first)), ("three", &three)]),
        &data,
    );
    assert_eq!(said.code, 1, "{said:?}");
    for says in [
        &*format!("cannot listen on 127.0.0.1:{port}; another program listens there"),
        "give the endpoint another port",
    ] {
        assert!(said.stderr.contains(says), "{said:?}");
    }
    assert!(
        !said.stderr.contains("--port"),
        "no flag would mend it: {said:?}"
    );
    assert_eq!(who(&get_at(local(second), "h", "/")), "two");
    assert!(!is_open(local(third)));
    assert_eq!(status(&data)["generation"], 1);
    assert_eq!(daemon.stop(), 0);
}

#[test]
fn a_generation_that_fails_in_its_trial_gives_the_ports_back() {
    let [first, second, third] = free();
    let data = TempDir::new();
    let good = release(1, &[("one", &at(first)), ("two", &at(second))]);
    installed(&good, &data);
    let daemon = Daemon::of_nothing().data_dir(data.path());
    let daemon = daemon.timeout("trial", "5s").start();
    eventually("the generation is confirmed", || {
        status(&data)["on_trial"] == false
    });
    let ends = |port: u16| format!("endpoints: [{}]", at(port));
    let text = deployment(&[
        ("hostile", "hostile-plugin", &ends(first)),
        ("three", "hostile-plugin", &ends(third)),
    ]);
    let text = text.replace("deployment: d\n", "deployment: d\nrelease: 2\n");
    installed(&bundle(&text), &data);
    assert!(is_open(local(third)) && !is_open(local(second)));
    for _ in 0..8 {
        get(&daemon, "/trap");
    }
    daemon.wait_for_log(&format!("http://127.0.0.1:{third} is closed"));
    assert_eq!(who(&get_at(local(second), "h", "/")), "two");
    assert!(!is_open(local(third)));
    assert_eq!(daemon.stop(), 0);
}

#[test]
fn https_takes_the_place_of_http_at_the_same_port_and_back() {
    let [first, second, tls] = free();
    let data = TempDir::new();
    let secure = |port: u16| format!("{{name: s{port}, port: {port}, protocol: https}}");
    let releases = [(1, at(second)), (2, secure(second))].map(|(number, ends)| {
        release(
            number,
            &[("one", &at(first)), ("tls", &secure(tls)), ("two", &ends)],
        )
    });
    installed(&releases[0], &data);
    let files = Files::new();
    let daemon = Daemon::of_nothing().data_dir(data.path());
    let daemon = files.serve(daemon, &["first"]).start();
    assert_eq!(who(&get_at(local(second), "h", "/")), "two");
    let mut plain = Client::over(TcpStream::connect(local(second)).unwrap());
    plain.send("GET / HTTP/1.1\r\nhost: h\r\n\r\n");
    assert_eq!(who(&plain.read_response()), "two");
    installed(&releases[1], &data);
    assert!(plain.is_closed());
    let socket = TcpStream::connect(local(second)).unwrap();
    let mut stream = client::begin(socket, "localhost", &client::any_version()).unwrap();
    std::io::Write::write_all(&mut stream, b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
    let told = client::read_response(&mut stream);
    assert!(told.text().starts_with("two "), "{told:?}");
    assert_eq!(get_at(local(second), "h", "/").status, 400);
    assert_eq!(verb(&["rollback"], &data).code, 0);
    assert_eq!(who(&get_at(local(second), "h", "/")), "two");
    assert_eq!(daemon.stop(), 0);
}

#[test]
fn https_is_not_installed_where_no_certificate_was_read() {
    let [first] = free();
    let data = TempDir::new();
    let daemon = serving(&data);
    let device = "version: v1\ndevice: {tls: {port: 0, certificates: [{certificate: /etc/site.pem, key: /etc/site.key}]}}\n";
    let text = greeters(&[("one", &at(first))]).replace("version: v1\n", device);
    let said = install(&bundle(&text), &data);
    assert_eq!(said.code, 1, "{said:?}");
    for says in ["HTTPS is not spoken on", "certificates are read at a start"] {
        assert!(said.stderr.contains(says), "{said:?}");
    }
    assert_eq!(get(&daemon, "/").status, 503);
    assert_eq!(daemon.stop(), 0);
}

#[test]
fn a_port_is_public_or_internal_as_what_is_served_says() {
    let [first, second] = free();
    let data = TempDir::new();
    installed(&single(1, first, "public"), &data);
    let daemon = serving(&data);
    // This suite's own port, whichever the file names.
    let port = daemon.addr().port();
    assert_eq!(who(&get_at(elsewhere(port), "h", "/")), "r1");
    for (number, file) in [(2, second), (3, first)] {
        installed(&single(number, file, "internal"), &data);
        assert_eq!(who(&get_at(local(port), "h", "/")), format!("r{number}"));
        assert!(!is_open(elsewhere(port)));
    }
    installed(&single(4, first, "public"), &data);
    assert_eq!(who(&get_at(elsewhere(port), "h", "/")), "r4");
    assert!(!daemon.log().contains("is not closed"), "{}", daemon.log());
    assert_eq!(daemon.stop(), 0);
    // Where the device's own flag opens it, it is meant to be open.
    let daemon = Daemon::of_nothing().data_dir(data.path());
    let daemon = daemon.args(["--bind", "0.0.0.0"]).start();
    installed(&single(5, second, "internal"), &data);
    assert_eq!(
        who(&get_at(elsewhere(daemon.addr().port()), "h", "/")),
        "r5"
    );
    assert_eq!(daemon.stop(), 0);
}

#[test]
fn ports_that_only_root_may_open_are_kept_for_the_way_back_and_no_others_are_opened() {
    if !rustix::process::geteuid().is_root() {
        return skipped("only root can become another account");
    }
    // A kernel may let everybody bind some of them.
    let from = fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start");
    let from: u16 = from.unwrap().trim().parse().unwrap();
    if from < 1024 {
        return skipped("everybody may open ports below 1024 here");
    }
    let [first, second] = free();
    let [low, other] = [from - 1, from - 2];
    let (data, keys) = (TempDir::new(), TempDir::new());
    let key = keys.path().join("suite.pub");
    fs::copy(key_dir().join("suite.pub"), key).unwrap();
    fs::set_permissions(keys.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let of = |number, name: &str, port| {
        let services = [("one", at(first)), (name, at(port))];
        release(
            number,
            &services.each_ref().map(|(name, ends)| (*name, &**ends)),
        )
    };
    installed(&of(1, "low", low), &data);
    let daemon = Daemon::of_nothing().keys(Some(keys.path()));
    let daemon = daemon.data_dir(data.path()).args(["--user", "54321"]);
    let daemon = daemon.timeout("trial", "1440m").start();
    assert_eq!(who(&get_at(local(low), "h", "/")), "low");
    let said = install(&of(2, "other", other), &data);
    assert_eq!(said.code, 1, "{said:?}");
    for says in [
        &*format!("cannot listen on 127.0.0.1:{other}; ports below 1024"),
        "stop the daemon to install it",
    ] {
        assert!(said.stderr.contains(says), "{said:?}");
    }
    assert_eq!(who(&get_at(local(low), "h", "/")), "low");
    installed(&of(2, "high", second), &data);
    assert_eq!(who(&get_at(local(second), "h", "/")), "high");
    assert!(!is_open(local(low)));
    let said = verb(&["rollback"], &data);
    assert_eq!(said.code, 0, "{said:?}");
    assert_eq!(who(&get_at(local(low), "h", "/")), "low");
    assert!(!is_open(local(second)));
    assert_eq!(daemon.stop(), 0);
}

/// The files below a folder.
fn files(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(folder).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let below = |path: std::path::PathBuf| match path.is_dir() {
        true => files(&path),
        false => vec![path],
    };
    paths.flat_map(below).collect()
}

#[test]
fn what_is_internal_stays_so_where_a_start_goes_back_to_it() {
    let [port] = free();
    let flag = port.to_string();
    let data = TempDir::new();
    let start = || {
        let daemon = Daemon::of_nothing().data_dir(data.path());
        daemon
            .args(["--port", &flag])
            .timeout("trial", "1s")
            .start()
    };
    assert_eq!(install(&single(1, port, "internal"), &data).code, 0);
    let daemon = start();
    crate::support::eventually("the generation is confirmed", || {
        status(&data)["on_trial"] == false
    });
    assert_eq!(daemon.stop(), 0);
    let before = files(data.path());
    let hostile = |number: u32, env: &str| {
        let lines =
            format!("env: {{{env}}}\nendpoints: [{{name: a, port: {port}, expose: public}}]");
        let text = deployment(&[("hostile", "hostile-plugin", &lines)]);
        let numbered = format!("deployment: d\nrelease: {number}\n");
        bundle(&text.replace("deployment: d\n", &numbered))
    };
    assert_eq!(install(&hostile(2, "a: b"), &data).code, 0);
    // Its artifact is damaged, which is seen once its public port is open.
    for file in files(data.path()) {
        if !before.contains(&file) && fs::metadata(&file).unwrap().len() > 16 << 10 {
            fs::write(&file, "damaged").unwrap();
        }
    }
    let daemon = start();
    assert_eq!(status(&data)["generation"], 1);
    assert_eq!(daemon.addr(), local(port));
    assert_eq!(who(&get(&daemon, "/")), "r1");
    let other = SocketAddr::from(([127, 0, 0, 2], port));
    assert!(TcpStream::connect(other).is_err());
    assert_eq!(daemon.stop(), 0);
    // What fails later has its port open by then, and that is closed again.
    assert_eq!(install(&hostile(3, "init: failed"), &data).code, 0);
    let daemon = start();
    daemon.wait_for_log(&format!("http://0.0.0.0:{port} is closed"));
    assert!(TcpStream::connect(other).is_err());
    assert_eq!(who(&get(&daemon, "/")), "r1");
    assert_eq!(daemon.stop(), 0);
}
