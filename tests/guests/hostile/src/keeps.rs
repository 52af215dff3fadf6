//! Makes the host keep as much as it will, one kind of thing for each name: `/keep/NAME`.
//!
//! Each goes on until the host ends the plugin, or refuses by an error of the interface, or there are
//! [`ENOUGH`] of them, and answers how many there were.

use crate::wasi::cli::{stderr, stdout, terminal_stdin};
use crate::wasi::clocks::monotonic_clock::subscribe_duration;
use crate::wasi::filesystem::preopens::get_directories;
use crate::wasi::http::outgoing_handler;
use crate::wasi::http::types::{
    Fields, Method, OutgoingBody, OutgoingRequest, OutgoingResponse, RequestOptions, Scheme,
};
use crate::wasi::io::poll::{self, Pollable};
use crate::wasi::random::insecure::get_insecure_random_bytes;
use crate::wasi::sockets::instance_network::instance_network;
use crate::wasi::sockets::ip_name_lookup::resolve_addresses;
use crate::wasi::sockets::network::IpAddressFamily;
use crate::wasi::sockets::{tcp_create_socket, udp_create_socket};
use crate::zlayer::plugin::{config, keyvalue, logging};

/// No host should let a plugin have so many.
const ENOUGH: usize = 2_000_000;
/// How often calls are made that keep nothing.
const CALLS: usize = 20;

/// Every kind there is.
pub const ALL: [&str; 27] = [
    "methods",
    "schemes",
    "authorities",
    "paths",
    "urls",
    "requests",
    "options",
    "fields",
    "fields-at-once",
    "long-fields",
    "roomy-fields",
    "copies",
    "own-fields",
    "responses",
    "response-bodies",
    "request-bodies",
    "trailers",
    "sent",
    "pollables",
    "polls",
    "lines",
    "look-ups",
    "sockets",
    "lists",
    "keys",
    "records",
    "random",
];

/// Keeps things of the kind `name`, and answers how many.
pub fn keep(name: &str) -> Option<usize> {
    Some(match name {
        "methods" => texts(|request, n| {
            request.set_method(&Method::Other(repeat(
                'M',
                [32, 4_000_000][usize::from(n % 100 == 1)],
            )))
        }),
        "schemes" => texts(|request, n| {
            request.set_scheme(Some(&Scheme::Other(repeat(
                's',
                [33, 4_000_000][usize::from(n % 100 == 1)],
            ))))
        }),
        "authorities" => texts(|request, n| {
            request.set_authority(Some(&repeat('a', [255, 1024, 60_000][n % 3])))
        }),
        "paths" => texts(|request, n| {
            request.set_path_with_query(Some(&format!("/{}", repeat('p', [32_000, 60_000][n % 2]))))
        }),
        "urls" => texts(|request, _| {
            request.set_path_with_query(Some(&format!(
                "http://{}/{}",
                repeat('h', 250),
                repeat('p', 30_000)
            )))
        }),
        "requests" => hoard(|_| Some(OutgoingRequest::new(tiny_fields()))),
        "options" => hoard(|_| Some(RequestOptions::new())),
        "fields" => hoard(|_| Some(tiny_fields())),
        "fields-at-once" => {
            let list: Vec<_> = (0..500).map(|n| (format!("x{n}"), Vec::new())).collect();
            hoard(|_| Fields::from_list(&list).ok())
        }
        "long-fields" => hoard(|_| {
            let fields = Fields::new();
            fields.set("x", &[vec![b'v'; 30_000]]).ok()?;
            Some(fields)
        }),
        // What is not there is not deleted, but a place for it may have been made.
        "roomy-fields" => hoard(|_| {
            let fields = Fields::new();
            fields.delete("x").ok()?;
            Some(fields)
        }),
        "copies" => {
            let first = tiny_fields();
            hoard(|_| {
                let copy = first.clone();
                copy.append("y", b"1").ok()?;
                Some(copy)
            })
        }
        "own-fields" => {
            let request = OutgoingRequest::new(tiny_fields());
            hoard(|_| Some(request.headers()))
        }
        "responses" => hoard(|_| Some(OutgoingResponse::new(tiny_fields()))),
        "response-bodies" => hoard(|n| {
            let response = OutgoingResponse::new(Fields::new());
            let body = response.body().ok()?;
            fill(&body, n);
            Some((response, body))
        }),
        "request-bodies" => hoard(|n| {
            let request = OutgoingRequest::new(Fields::new());
            let body = request.body().ok()?;
            fill(&body, n);
            Some((request, body))
        }),
        "trailers" => hoard(|_| {
            let response = OutgoingResponse::new(Fields::new());
            OutgoingBody::finish(response.body().ok()?, Some(tiny_fields())).ok()?;
            Some(response)
        }),
        "sent" => hoard(|_| {
            let request = OutgoingRequest::new(tiny_fields());
            request.set_authority(Some("127.0.0.1:1")).ok()?;
            outgoing_handler::handle(request, None).ok()
        }),
        "pollables" => hoard(|_| Some(subscribe_duration(u64::MAX))),
        "polls" => polls(),
        "lines" => hoard(|n| {
            let stream = if n % 2 == 0 {
                stdout::get_stdout()
            } else {
                stderr::get_stderr()
            };
            stream.check_write().ok()?;
            stream.write(&[b'x'; 1000]).ok()?;
            Some(stream)
        }),
        "look-ups" => {
            let network = instance_network();
            hoard(|_| resolve_addresses(&network, "127.0.0.1").ok())
        }
        "sockets" => hoard(|_| {
            let tcp = tcp_create_socket::create_tcp_socket(IpAddressFamily::Ipv4).ok();
            let udp = udp_create_socket::create_udp_socket(IpAddressFamily::Ipv4).ok();
            (tcp.is_some()
                || udp.is_some()
                || terminal_stdin::get_terminal_stdin().is_some()
                || !get_directories().is_empty())
            .then_some((tcp, udp))
        }),
        "lists" => lists(),
        "keys" => calls(|| {
            let key = repeat('k', 4_000_000);
            let _ = keyvalue::get(&key);
            let _ = keyvalue::set(&key, key.as_bytes());
            let _ = keyvalue::compare_and_swap("k", Some(key.as_bytes()), b"");
            let _ = keyvalue::list_keys(&key);
        }),
        "records" => calls(|| logging::info(&repeat('r', 4_000_000))),
        "random" => calls(|| drop(get_insecure_random_bytes(64 << 10))),
        _ => return None,
    })
}

fn repeat(letter: char, count: usize) -> String {
    letter.to_string().repeat(count)
}

/// Makes things and drops none until there are no more.
fn hoard<T>(mut make: impl FnMut(usize) -> Option<T>) -> usize {
    let mut kept = Vec::new();
    while kept.len() < ENOUGH
        && let Some(thing) = make(kept.len())
    {
        kept.push(thing);
    }
    kept.len()
}

fn calls(mut call: impl FnMut()) -> usize {
    (0..CALLS).for_each(|_| call());
    CALLS
}

/// Makes requests that are never sent, and has `set` give each a text. Answers how many took it.
fn texts(set: impl Fn(&OutgoingRequest, usize) -> Result<(), ()>) -> usize {
    let (mut kept, mut taken) = (Vec::new(), 0);
    for n in 0..300 {
        let request = OutgoingRequest::new(Fields::new());
        taken += usize::from(set(&request, n).is_ok());
        kept.push(request);
    }
    taken
}

/// As many header fields as there may be, each as small as can be.
fn tiny_fields() -> Fields {
    let fields = Fields::new();
    for n in 0..400 {
        if fields.append(&format!("x{n}"), b"").is_err() {
            break;
        }
    }
    fields
}

/// Writes a body for a message that is not handed over: pieces of all sizes, until the host has no
/// room for more.
fn fill(body: &OutgoingBody, n: usize) {
    let Ok(stream) = body.write() else { return };
    let piece = vec![b'b'; [100, 2_047, 4_096, 65_536][n % 4]];
    while stream
        .check_write()
        .is_ok_and(|room| room as usize >= piece.len())
    {
        if stream.write(&piece).is_err() {
            return;
        }
    }
}

/// Waits for the same thing as many times at once as a call may, again and again.
fn polls() -> usize {
    let (soon, never) = (subscribe_duration(1_000_000), subscribe_duration(u64::MAX));
    let mut all: Vec<&Pollable> = vec![&never; 4_000];
    all.push(&soon);
    (0..500).map(|_| poll::poll(&all).len()).sum()
}

/// Asks for many keys of the configuration at once.
fn lists() -> usize {
    let keys: Vec<String> = vec!["k".to_owned(); 100_000];
    (0..10)
        .map(|_| config::get_many(&keys).len() + config::get_prefix("").len())
        .sum()
}
