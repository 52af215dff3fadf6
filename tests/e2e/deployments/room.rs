//! Installs on a daemon whose memory others hold: what does nothing gives way, and nobody who is answered does.

use std::path::PathBuf;
use std::thread;

use super::{install, status};
use crate::support::{Client, Daemon, TempDir, artifact, bundle, eventually, get};

/// A handler of `wasi:http` that keeps its instances, behind a cache.
fn keeping(release: u64) -> PathBuf {
    bundle(&format!(
        "version: v1\ndeployment: room\nrelease: {release}\nservices:\n  cache:\n    image: {}\n  holder:\n    \
         image: {}\n    wasm: {{reuse: 1000, min_instances: 2}}\n",
        artifact("smart-cache").display(),
        artifact("hostile").display(),
    ))
}

/// A daemon that serves its first release, with little memory.
fn small(data: &TempDir, times: &[(&str, &str)]) -> Daemon {
    let said = install(&keeping(1), data);
    assert_eq!(said.code, 0, "{said:?}");
    let daemon =
        Daemon::of_nothing()
            .data_dir(data.path())
            .args(["--memory-max", "28Mi", "--threads", "1"]);
    // Nobody is given up for being slow.
    let slow = [("stall", "60m"), ("idle", "60m")];
    let daemon = { slow.iter().chain(times) }
        .fold(daemon, |daemon, (phase, time)| daemon.timeout(phase, time));
    let daemon = daemon.start();
    eventually("its instances are kept", || kept(data) == 2);
    daemon
}

/// Instances that are idle.
fn kept(data: &TempDir) -> u64 {
    let instances = &status(data)["plugins"][1]["instances"];
    instances["idle"].as_u64().unwrap()
}

/// KiB of the memory that nobody has.
fn free(data: &TempDir) -> u64 {
    let memory = status(data)["memory"].clone();
    let [limit, used] = ["limit_bytes", "used_bytes"].map(|name| memory[name].as_u64().unwrap());
    (limit - used) >> 10
}

/// A request whose instance has so many KiB until its body has come.
fn holding(daemon: &Daemon, kib: u64) -> Client {
    let mut client = Client::connect(daemon);
    client.send(format!(
        "POST /grow-hold?kib={kib} HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\na"
    ));
    let begun = client.read_head().unwrap();
    assert_eq!(begun.status, 200, "{begun:?}");
    assert_eq!(client.read_chunk().unwrap().unwrap(), b"held\n");
    client
}

/// Sends the rest of its body, and reads the rest of the answer.
fn let_go(client: &mut Client) {
    client.send("b");
    assert_eq!(client.read_chunk().unwrap(), None);
    client.read_exactly(2).unwrap();
}

/// Requests that leave too little for another deployment, which wants an instance of more than two mebibytes for
/// each plugin.
fn filled(daemon: &Daemon, data: &TempDir) -> Vec<Client> {
    let small = holding(daemon, 64);
    let large = holding(daemon, free(data) - (1 << 10));
    assert!(is_filled(data), "{}", status(data));
    vec![small, large]
}

fn is_filled(data: &TempDir) -> bool {
    free(data) < 3 << 10
}

#[test]
fn what_does_nothing_gives_way_to_an_install() {
    let data = TempDir::new();
    let daemon = small(&data, &[]);
    assert_eq!(get(&daemon, "/static/kept").text(), "ok");
    let hit = get(&daemon, "/static/kept");
    assert!(hit.header("cache-status").unwrap().contains("hit"));
    let mut idle = filled(&daemon, &data);
    // Their instances are kept from now on, with all that they have grown to, and their connections are idle.
    for (count, client) in (1..).zip(idle.iter_mut().rev()) {
        let_go(client);
        eventually("its instance is kept", || kept(&data) == count);
    }
    // It takes the one that was kept last, which is the small one.
    let mut slow = holding(&daemon, 0);
    assert!(is_filled(&data), "{}", status(&data));
    let said = install(&keeping(2), &data);
    assert_eq!(said.code, 0, "{said:?}");
    assert_eq!(status(&data)["release"], 2);
    let_go(&mut slow);
    idle.push(slow);
    for client in &mut idle {
        client.send("GET /other HTTP/1.1\r\nhost: a\r\n\r\n");
        assert_eq!(client.read_response().text(), "ok");
    }
    assert_eq!(daemon.stop(), 0);
}

#[test]
fn an_install_that_finds_no_room_says_who_has_it_and_nobody_loses_anything() {
    let data = TempDir::new();
    let daemon = small(&data, &[("drain", "1s")]);
    let mut holders = filled(&daemon, &data);
    let said = install(&keeping(2), &data);
    assert_ne!(said.code, 0, "{said:?}");
    for part in [
        "--memory-max 28672 KiB",
        "beside what is served: it needs ",
        "connections ",
        "plugins that are served ",
        "requests at work, in 2 instances",
        "were waited for 1",
        "install it when fewer are at work, stop the daemon to install it, or raise --memory-max",
    ] {
        assert!(said.stderr.contains(part), "{part}: {said:?}");
    }
    assert_eq!(status(&data)["release"], 1);
    holders.iter_mut().for_each(let_go);
    for client in &mut holders {
        client.send("GET /other HTTP/1.1\r\nhost: a\r\n\r\n");
        assert_eq!(client.read_response().text(), "ok");
    }
    let said = install(&keeping(2), &data);
    assert_eq!(said.code, 0, "{said:?}");
    assert_eq!(status(&data)["release"], 2);
    assert_eq!(daemon.stop(), 0);
}

#[test]
fn an_install_that_could_never_fit_takes_nothing_from_anybody() {
    let data = TempDir::new();
    let daemon = small(&data, &[]);
    let services: String = (0..16)
        .map(|number| {
            format!(
                "  s{number}: {{image: {}}}\n",
                artifact("hostile").display()
            )
        })
        .collect();
    let said = install(
        &bundle(&format!(
            "version: v1\ndeployment: room\nrelease: 2\nservices:\n{services}"
        )),
        &data,
    );
    assert_ne!(said.code, 0, "{said:?}");
    let mends = "; stop the daemon to install it, or raise --memory-max";
    assert!(said.stderr.contains(mends), "{said:?}");
    eventually("its instances are kept", || kept(&data) == 2);
    assert_eq!(get(&daemon, "/other").text(), "ok");
    assert_eq!(daemon.stop(), 0);
}

#[test]
fn what_is_kept_and_gave_way_to_an_install_that_was_refused_is_made_again() {
    let data = TempDir::new();
    let daemon = small(&data, &[("drain", "1s")]);
    // Of the two that are kept one is at work, and the other one idle.
    let mut holder = holding(&daemon, free(&data) - (1 << 10));
    assert_eq!(kept(&data), 1);
    let said = install(&keeping(2), &data);
    assert_ne!(said.code, 0, "{said:?}");
    assert!(said.stderr.contains("were waited for 1"), "{said:?}");
    eventually("the other one is kept again", || kept(&data) == 1);
    let_go(&mut holder);
    assert_eq!(daemon.stop(), 0);
}

#[test]
fn an_install_waits_for_requests_that_end_and_those_that_come_meanwhile_are_answered() {
    let data = TempDir::new();
    let daemon = small(&data, &[("drain", "60m"), ("request", "60m")]);
    let mut holders = filled(&daemon, &data);
    thread::scope(|scope| {
        let installing = scope.spawn(|| install(&keeping(2), &data));
        daemon.wait_for_log("a deployment waits for ");
        let coming: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| get(&daemon, "/other").text()))
            .collect();
        holders.iter_mut().for_each(let_go);
        let said = installing.join().unwrap();
        assert_eq!(said.code, 0, "{said:?}");
        for one in coming {
            assert_eq!(one.join().unwrap(), "ok");
        }
    });
    assert_eq!(status(&data)["release"], 2);
    assert_eq!(daemon.stop(), 0);
}
