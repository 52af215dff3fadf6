//! The interfaces of WASI.

use probe::wasi::cli::{environment, stdout};
use probe::wasi::clocks::monotonic_clock::subscribe_duration;
use probe::wasi::filesystem::preopens::get_directories;
use probe::wasi::http::types::{Fields, Method, OutgoingBody, OutgoingRequest, OutgoingResponse};
use probe::wasi::io::poll::{self, Pollable};
use probe::wasi::random::insecure::get_insecure_random_bytes;
use probe::wasi::random::random::get_random_bytes;

use crate::{Call, Case, LARGE, MANY, large};

/// Pollables that one call may wait for.
const POLLED: usize = 4096;
/// Bytes that a body takes before anybody reads it.
const BODY: usize = 1 << 20;

pub const CASES: [Case; 16] = [
    ("fields-from-list", || from_list(700)),
    ("fields-from-long-list", || from_list(MANY / 2)),
    ("fields-set", || {
        let values = vec![Vec::new(); MANY];
        Box::new(move || ignore(Fields::new().set("x", &values)))
    }),
    ("fields-entries", || {
        let fields = most_fields();
        Box::new(move || drop(fields.entries()))
    }),
    ("fields-clone", || {
        let fields = most_fields();
        Box::new(move || drop(fields.clone()))
    }),
    ("fields-delete", || {
        let name = large();
        Box::new(move || ignore(Fields::new().delete(&name)))
    }),
    ("request-path", || {
        let path = "/".repeat(LARGE);
        Box::new(move || {
            ignore(OutgoingRequest::new(Fields::new()).set_path_with_query(Some(&path)))
        })
    }),
    ("request-method", || {
        let method = Method::Other(large());
        Box::new(move || ignore(OutgoingRequest::new(Fields::new()).set_method(&method)))
    }),
    ("body-write", || {
        let bytes = vec![b'b'; BODY];
        Box::new(move || write(&bytes))
    }),
    ("body-in-pieces", || Box::new(|| write(&[]))),
    ("poll", || {
        let all: Vec<Pollable> = (0..POLLED - 1)
            .map(|_| subscribe_duration(u64::MAX / 2))
            .collect();
        Box::new(move || {
            let soon = subscribe_duration(1_000);
            let all: Vec<&Pollable> = all.iter().chain([&soon]).collect();
            drop(poll::poll(&all));
        })
    }),
    ("poll-too-many", || {
        let soon = subscribe_duration(1_000);
        Box::new(move || drop(poll::poll(&vec![&soon; 2 * MANY])))
    }),
    ("random", || Box::new(|| drop(get_random_bytes(64 << 10)))),
    ("random-insecure", || {
        Box::new(|| drop(get_insecure_random_bytes(64 << 10)))
    }),
    ("stdout", || {
        let line = "x\n".repeat(512);
        Box::new(move || {
            let out = stdout::get_stdout();
            let _ = out.check_write();
            let _ = out.write(line.as_bytes());
        })
    }),
    ("directories", || {
        Box::new(|| {
            drop(get_directories());
            drop(environment::get_environment());
        })
    }),
];

/// Whether a call was refused does not matter.
fn ignore<T, E>(_: Result<T, E>) {}

fn from_list(count: usize) -> Call {
    let entries: Vec<_> = (0..count).map(|n| (format!("x{n}"), Vec::new())).collect();
    Box::new(move || drop(Fields::from_list(&entries)))
}

/// As many fields as there may be.
fn most_fields() -> Fields {
    let fields = Fields::new();
    let mut n = 0;
    while n < 400 && fields.append(&format!("x{n}"), b"").is_ok() {
        n += 1;
    }
    fields
}

/// Writes a body that nobody reads: these bytes, or small pieces until there is no room.
fn write(bytes: &[u8]) {
    let response = OutgoingResponse::new(Fields::new());
    let Ok(body) = response.body() else { return };
    let Ok(stream) = body.write() else { return };
    if bytes.is_empty() {
        while stream.check_write().is_ok_and(|room| room >= 64) && stream.write(&[b'b'; 64]).is_ok()
        {
        }
    } else {
        let _ = stream.check_write();
        let _ = stream.write(bytes);
    }
    drop(stream);
    let _ = OutgoingBody::finish(body, None);
}
