//! Connections on which a client has identified itself.

use super::*;
use crate::upstream::Owner;

fn ask(
    client: &Upstreams,
    to: &Target,
    owner: Option<&Owner>,
    fields: &[(&'static str, &str)],
) -> String {
    let mut to = to.clone();
    to.client.owner = owner.cloned();
    let mut all = vec![("host", "h")];
    all.extend_from_slice(fields);
    smol::block_on(fetch(client, request("GET", &all, empty()), &to)).1
}

/// An upstream that answers each request with the number of its connection and of the request on
/// it, and that asks for NTLM where the path says so.
fn counting(connections: usize) -> (Target, JoinHandle<()>) {
    upstream(move |listener| {
        let peers = (0..connections).map(|number| {
            let mut peer = Peer::accept(&listener);
            std::thread::spawn(move || {
                for count in 0.. {
                    let mut byte = [0];
                    if !matches!(peer.0.peek(&mut byte), Ok(1)) {
                        return;
                    }
                    let asks = peer.read_head().to_lowercase().contains("x-ask: ntlm");
                    let more = if asks {
                        "WWW-Authenticate: Basic\r\nWWW-Authenticate: NTLM\r\n"
                    } else {
                        ""
                    };
                    peer.send(&format!(
                        "HTTP/1.1 200 OK\r\n{more}Content-Length: 3\r\n\r\n{number}.{count}"
                    ));
                }
            })
        });
        let threads: Vec<_> = peers.collect();
        threads
            .into_iter()
            .for_each(|thread| thread.join().unwrap());
    })
}

#[test]
fn a_connection_that_knows_its_user_is_that_clients_alone() {
    let (to, _served) = counting(3);
    let (client, _) = client(Settings::default());
    let (a, b) = (Owner::default(), Owner::default());
    // The three steps of the handshake, and what comes after it without credentials.
    assert_eq!(ask(&client, &to, Some(&a), &[("x-ask", "ntlm")]), "0.0");
    assert_eq!(
        ask(&client, &to, Some(&a), &[("authorization", "NTLM AAA")]),
        "0.1"
    );
    assert_eq!(
        ask(&client, &to, Some(&a), &[("authorization", "NTLM BBB")]),
        "0.2"
    );
    assert_eq!(ask(&client, &to, Some(&a), &[]), "0.3");
    // Others get others.
    assert_eq!(ask(&client, &to, Some(&b), &[]), "1.0");
    assert_eq!(ask(&client, &to, None, &[]), "1.1");
    assert_eq!(ask(&client, &to, Some(&a), &[]), "0.4");
    assert_eq!(client.counts(), (2, 2));
    // It goes with the client's connection.
    drop(a);
    assert_eq!(client.counts(), (1, 1));
    let a = Owner::default();
    assert_eq!(ask(&client, &to, Some(&a), &[]), "1.2");
    // One that everybody used before becomes the client's own.
    assert_eq!(
        ask(
            &client,
            &to,
            Some(&a),
            &[("authorization", "Negotiate YII=")]
        ),
        "1.3"
    );
    assert_eq!(ask(&client, &to, Some(&b), &[]), "2.0");
    drop((a, b));
    assert_eq!(client.counts(), (1, 1));
}

#[test]
fn without_a_client_it_is_closed() {
    let (to, _served) = counting(3);
    let (client, _) = client(Settings::default());
    assert_eq!(
        ask(&client, &to, None, &[("authorization", "ntlm AAA")]),
        "0.0"
    );
    assert_eq!(client.counts(), (0, 0));
    assert_eq!(ask(&client, &to, None, &[("x-ask", "ntlm")]), "1.0");
    assert_eq!(client.counts(), (0, 0));
    // Credentials that count for the request alone change nothing.
    assert_eq!(
        ask(&client, &to, None, &[("authorization", "Basic YTpi")]),
        "2.0"
    );
    assert_eq!(ask(&client, &to, None, &[]), "2.1");
}

#[test]
fn a_client_that_leaves_during_the_response_leaves_nothing_behind() {
    let (to, served) = upstream(|listener| {
        let mut peer = Peer::accept(&listener);
        peer.answer("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n");
        peer.send("abcd");
        assert_eq!(peer.0.read(&mut [0]).unwrap(), 0);
    });
    let (client, _) = client(Settings::default());
    let owner = Owner::default();
    let mut for_owner = to.clone();
    for_owner.client.owner = Some(owner.clone());
    let fields = [("host", "h"), ("authorization", "NTLM AAA")];
    let sent = client.send(request("GET", &fields, empty()), &for_owner, "id");
    let response = smol::block_on(sent).unwrap();
    drop((owner, for_owner));
    assert_eq!(smol::block_on(text(response)), "abcd");
    assert_eq!(client.counts(), (0, 0));
    served.join().unwrap();
}

#[test]
fn its_responses_are_marked() {
    for (fields, marked) in [
        (&[("host", "h"), ("authorization", "NTLM AAA")][..], true),
        (&[("host", "h")], false),
    ] {
        let (to, _served) = upstream(|listener| Peer::accept(&listener).answer(OK));
        let (client, _) = client(Settings::default());
        let sent = client.send(request("GET", fields, empty()), &to, "id");
        let response = smol::block_on(sent).unwrap();
        let mark = response.extensions().get::<crate::upstream::Personal>();
        assert_eq!(mark.is_some(), marked);
    }
}
