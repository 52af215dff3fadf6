//! What typed plugins return: texts as long as a call may hand over, which nobody keeps while a request waits
//! for its body or for another stage.

use crate::support::{Client, Daemon, Response, figures_are_the_daemons, get};

/// The ceiling of these daemons, and what the process may take beside it (docs/device.md, "Memory"), in KiB.
const MOST_KIB: u64 = (64 << 10) + (3 << 10) + 2 * (9 << 10);
/// Requests at a time. One large text of each would be five times the ceiling.
const REQUESTS: usize = 90;

/// A daemon of `lavish` in these roles, none of which reads a request's body before the last does.
fn daemon(roles: &str) -> Daemon {
    let mut builder = Daemon::builder("lavish");
    if roles.contains("router") || roles.contains("authenticator") {
        builder = builder.plugin("lavish:request-body=none");
    }
    let daemon = builder
        .args(["--memory-max", "64Mi", "--threads", "2"])
        // Each makes the text, so there is room for a few of them.
        .args(["--max-instances", "4"])
        .plugin(&format!("lavish:roles={roles}"))
        .timeout("request", "5m")
        .start();
    assert_eq!(get(&daemon, "/").text(), "ok");
    daemon
}

/// Sends all of `requests` before the `rest` of any, and returns the responses. The process must stay below its
/// ceiling and what it may take beside that.
fn ask(daemon: &Daemon, requests: &[String], rest: &str) -> Vec<Response> {
    let before = daemon.status_kib("VmRSS");
    let mut clients: Vec<Client> = requests.iter().map(|_| Client::connect(daemon)).collect();
    for (client, request) in clients.iter_mut().zip(requests) {
        client.send(request);
    }
    let responses = clients.iter_mut().map(|client| {
        // One that was refused before its body came is closed by now.
        let _ = client.try_send(rest);
        client.read_response()
    });
    let responses = responses.collect();
    if figures_are_the_daemons() {
        let peak = daemon.status_kib("VmHWM").saturating_sub(before);
        assert!(peak < MOST_KIB, "{peak} KiB more than before");
    }
    responses
}

/// Requests whose body is still to come.
fn posts(kind: &str) -> Vec<String> {
    let head =
        format!("POST / HTTP/1.1\r\nhost: a\r\nx-lavish: {kind}\r\ncontent-length: 1\r\n\r\n");
    vec![head; REQUESTS]
}

#[test]
fn a_cache_key_that_is_too_long_is_not_kept() {
    let daemon = daemon("cache,transformer,handler");
    for response in ask(&daemon, &posts("cache-key"), "x") {
        assert_eq!((response.status, response.text().as_str()), (200, "ok"));
    }
    daemon.wait_for_log("its key has more than 4096 bytes");
}

#[test]
fn an_upstream_whose_name_is_too_long_is_no_answer() {
    let daemon = daemon("router,transformer,handler");
    for response in ask(&daemon, &posts("host"), "x") {
        assert_eq!(response.status, 502, "{response:?}");
    }
    daemon.wait_for_log("an upstream whose host has 3900000 bytes; at most 1024: ");
}

#[test]
fn why_a_token_is_not_taken_is_kept_in_short() {
    let daemon = daemon("authenticator,handler");
    // These have all instances, so that the others' tokens are looked at one behind the other, before any of
    // those requests is looked at.
    let busy = "GET / HTTP/1.1\r\nhost: a\r\nx-wait: 1000\r\n\r\n".to_owned();
    let upgrade = "GET /?access_token=large HTTP/1.1\r\nhost: a\r\nupgrade: websocket\r\n\
        connection: upgrade\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
        x-wait: 100\r\n\r\n";
    let mut requests = vec![busy; 6];
    requests.resize(REQUESTS, upgrade.to_owned());
    let responses = ask(&daemon, &requests, "");
    for (at, response) in responses.iter().enumerate() {
        let (status, most) = if at < 6 { (200, 2) } else { (401, 2100) };
        assert_eq!(response.status, status, "{at}: {response:?}");
        assert!(response.body.len() <= most, "{at}");
    }
}

#[test]
fn fields_that_are_too_long_are_no_answer_whatever_body_they_have() {
    let daemon = daemon("handler");
    let head = "GET / HTTP/1.1\r\nhost: a\r\nx-lavish: answer\r\nx-body: 100000\r\n\r\n".to_owned();
    for response in ask(&daemon, &vec![head; REQUESTS], "") {
        assert_eq!(response.status, 502, "{response:?}");
    }
    daemon.wait_for_log("1 headers of 3900011 bytes; at most 256 and 32768");
}

#[test]
fn a_record_takes_no_more_than_one_call_may_hand_over_whatever_its_letters_are() {
    // The message and the fields are as long as all of a call's data may be, and grow to twice that when they
    // are read as Latin-1.
    let daemon = Daemon::builder("lavish-latin1")
        .args(["--memory-max", "64Mi", "--threads", "1"])
        .plugin("lavish-latin1:roles=handler")
        .start();
    assert_eq!(get(&daemon, "/texts").text(), "ok");
    let before = daemon.status_kib("VmHWM");
    assert_eq!(get(&daemon, "/record").text(), "ok");
    if figures_are_the_daemons() {
        let more = daemon.status_kib("VmHWM") - before;
        assert!(more < 9 << 10, "{more} KiB more than the plugin itself");
    }
}
