//! NTLM and its like identify a connection: one client's must never carry another's request.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use super::{proxy, proxy_with, read_head, upstream};
use crate::support::{Client, eventually, get};

/// A server that knows whoever has finished the handshake by the connection alone, as IIS does. The
/// second value counts its open connections.
fn ntlm_server() -> (SocketAddr, Arc<AtomicUsize>) {
    let open = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&open);
    let (address, _) = upstream(move |stream| {
        let open = Arc::clone(&counted);
        thread::spawn(move || {
            open.fetch_add(1, Ordering::SeqCst);
            serve(stream);
            open.fetch_sub(1, Ordering::SeqCst);
        });
    });
    (address, open)
}

fn serve(mut stream: TcpStream) {
    let (mut user, mut asked) = (None, false);
    loop {
        let head = read_head(&mut stream).to_ascii_lowercase();
        if head.is_empty() {
            return;
        }
        let mut lines = head.lines();
        let token = lines.find_map(|line| line.strip_prefix("authorization: ntlm "));
        let (status, field, text) = match (token, &user) {
            (Some("one"), _) => {
                asked = true;
                ("401 x", "WWW-Authenticate: NTLM two\r\n", String::new())
            }
            (Some(name), _) if asked => {
                user = Some(name.to_owned());
                ("200 OK", "", format!("hello {name}"))
            }
            (None, Some(name)) => ("200 OK", "", format!("hello {name}")),
            _ => ("401 x", "WWW-Authenticate: NTLM\r\n", String::new()),
        };
        let length = text.len();
        let answer = format!("HTTP/1.1 {status}\r\n{field}Content-Length: {length}\r\n\r\n{text}");
        if stream.write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

/// Sends a request with this field; the status and the text that came.
fn ask(client: &mut Client, field: &str) -> (u16, String) {
    client.send(format!("GET / HTTP/1.1\r\nHost: h\r\n{field}\r\n"));
    let answer = client.read_response();
    (answer.status, answer.text())
}

#[test]
fn the_handshake_works_and_nobody_else_becomes_the_client() {
    let (to, open) = ntlm_server();
    let daemon = proxy(to);
    let mut a = Client::connect(&daemon);
    assert_eq!(ask(&mut a, "").0, 401);
    assert_eq!(ask(&mut a, "Authorization: NTLM one\r\n").0, 401);
    let hello = (200, "hello a".to_owned());
    assert_eq!(ask(&mut a, "Authorization: NTLM a\r\n"), hello);
    assert_eq!(ask(&mut a, ""), hello);
    // Another client at the same time, and one that does the same beside it.
    let mut b = Client::connect(&daemon);
    for _ in 0..3 {
        assert_eq!(ask(&mut b, "").0, 401);
        assert_eq!(ask(&mut a, ""), hello);
    }
    assert_eq!(ask(&mut b, "Authorization: NTLM one\r\n").0, 401);
    let other = (200, "hello b".to_owned());
    assert_eq!(ask(&mut b, "Authorization: NTLM b\r\n"), other);
    assert_eq!((ask(&mut a, ""), ask(&mut b, "")), (hello, other));
    // What is the clients' goes with them.
    drop((a, b));
    eventually("no connection to the server", || {
        open.load(Ordering::SeqCst) == 0
    });
    for _ in 0..3 {
        assert_eq!(get(&daemon, "/").status, 401);
    }
}

#[test]
fn clients_whom_a_trusted_proxy_brings_by_one_connection_do_not_become_each_other() {
    let (to, _) = ntlm_server();
    let daemon = proxy_with(to, "")
        .args(["--trusted-proxy", "127.0.0.0/8"])
        .start();
    let mut shared = Client::connect(&daemon);
    let mut ask_as = |client: &str, field: &str| {
        let field = format!("X-Forwarded-For: 192.0.2.{client}\r\n{field}");
        ask(&mut shared, &field)
    };
    assert_eq!(ask_as("1", "Authorization: NTLM one\r\n").0, 401);
    let hello = (200, "hello a".to_owned());
    assert_eq!(ask_as("1", "Authorization: NTLM a\r\n"), hello);
    assert_eq!(ask_as("1", ""), hello);
    assert_eq!(ask_as("2", "").0, 401);
    // What was identified is closed by then, and not kept for whoever comes back.
    assert_eq!(ask_as("1", "").0, 401);
}
