//! What whoever comes too late for a deployment is told: where it is cut off, where its port is closed, and where it
//! cannot be served.

use std::net::{TcpListener, TcpStream};

use crate::support::{Client, Daemon, Response, TempDir, bundle, eventually, get};

use super::endpoints::{free, get_at, local, who};
use super::ports::{at, installed, release};
use super::{greeting, install, serving, status};

/// Told to try again.
fn is_to_try_again(answer: &Response) {
    assert_eq!(answer.status, 503, "{answer:?}");
    assert_eq!(answer.header("retry-after"), Some("1"), "{answer:?}");
    assert!(answer.text().contains("has ended; try again"), "{answer:?}");
}

#[test]
fn a_request_whose_deployment_waits_for_it_no_longer_is_told_to_try_again() {
    let data = TempDir::new();
    assert_eq!(install(&bundle(&greeting(1, "one")), &data).code, 0);
    let daemon = Daemon::of_nothing().data_dir(data.path());
    let daemon = daemon.timeout("drain", "100ms").start();
    let mut slow = Client::connect(&daemon);
    slow.send("POST /slow HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\nab");
    eventually("the request is at work", || {
        status(&data)["connections"].as_u64() > Some(0)
    });
    assert_eq!(get(&daemon, "/").text(), "one 1 of /\n");
    for release in [2, 3] {
        installed(&bundle(&greeting(release, "next")), &data);
    }
    is_to_try_again(&slow.read_response());
    assert!(!daemon.log().contains("places are few"), "{}", daemon.log());
}

#[test]
fn a_request_that_was_on_its_way_to_a_port_that_is_closed_is_told_to_try_again() {
    let [first, second, third] = free();
    let data = TempDir::new();
    let public = format!("{{name: p, port: {second}, expose: public}}");
    let both = [public, at(third)].join(", ");
    installed(&release(1, &[("one", &at(first)), ("two", &both)]), &data);
    let daemon = serving(&data);
    let mut begun = [second, third].map(|port| {
        let mut client = Client::over(TcpStream::connect(local(port)).unwrap());
        client.send("GET / HTTP/1.1\r\nhost: h\r\n\r\n");
        assert_eq!(who(&client.read_response()), "two");
        client.send("GET / HTTP/1.1\r\n");
        client
    });
    // One port is exchanged, and nobody has the other any more.
    let next = [("one", at(first)), ("two", at(second))];
    let next = next.each_ref().map(|(name, ends)| (*name, &**ends));
    installed(&release(2, &next), &data);
    for client in &mut begun {
        client.send("host: h\r\n\r\n");
        let answer = client.read_response();
        is_to_try_again(&answer);
        assert!(!answer.keep_alive, "{answer:?}");
    }
    assert_eq!(who(&get_at(local(second), "h", "/")), "two");
    assert_eq!(daemon.stop(), 0);
}

#[test]
fn where_a_generation_cannot_be_served_its_ports_say_so_as_far_as_they_can_be_opened() {
    let [first, second, third] = free();
    let data = TempDir::new();
    let all = [
        ("one", at(first)),
        ("two", at(second)),
        ("three", at(third)),
    ];
    let all = all.each_ref().map(|(name, ends)| (*name, &**ends));
    installed(&release(1, &all), &data);
    for _ in 0..3 {
        let mut daemon = serving(&data);
        daemon.end_at_once(9);
    }
    let taken = TcpListener::bind(local(third)).unwrap();
    let daemon = serving(&data);
    let answer = get_at(local(second), "h", "/");
    assert_eq!(answer.status, 503);
    assert!(answer.text().contains("was started 3 times"), "{answer:?}");
    daemon.wait_for_log(&format!("cannot listen on 127.0.0.1:{third}"));
    drop(taken);
    // It is mended while it runs.
    installed(&release(2, &all), &data);
    assert_eq!(who(&get_at(local(third), "h", "/")), "three");
    assert_eq!(daemon.stop(), 0);
}
