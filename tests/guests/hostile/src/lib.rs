//! An HTTP handler that misbehaves in a way for each path. README.md beside
//! the guests lists them; anything that is not listed is 200 `ok`.

wit_bindgen::generate!({
    path: "../../../wit",
    inline: "
        package zlayer-tests:hostile;

        /// All that such a handler may import, and all of WASI.
        world hostile {
            include zlayer:plugin/zlayer-http-handler@0.1.0;
            include wasi:cli/imports@0.2.12;
        }
    ",
    world: "zlayer-tests:hostile/hostile",
    generate_all,
});

mod answers;
mod hoards;
mod keeps;

use std::hint::black_box;

use answers::{begin, send, text};
use exports::wasi::http::incoming_handler::Guest;
use support::{field, split_target};
use wasi::clocks::monotonic_clock;
use wasi::http::outgoing_handler;
use wasi::http::types::{
    ErrorCode, Fields, IncomingRequest, OutgoingBody, OutgoingRequest, ResponseOutparam, Scheme,
};
use wasi::random::random::get_random_bytes;
use zlayer::plugin::logging;

/// Ten years in nanoseconds: for ever, to a test.
const FOR_EVER: u64 = 10 * 365 * 86_400 * 1_000_000_000;

struct Hostile;

impl Guest for Hostile {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let target = request.path_with_query().unwrap_or_default();
        let (path, query) = split_target(&target);
        match path {
            // Never comes to an answer.
            "/spin" => spin(),
            "/trap" => trap(),
            "/beyond" => text(out, &beyond().to_string()),
            "/stack" => text(out, &format!("came back from {} calls", recurse(0))),
            "/never" => pause(FOR_EVER),
            "/return" => drop(out),

            // Takes more than it should.
            "/grow" => {
                hoards::memory();
                trap()
            }
            "/grow-report" => text(out, &hoards::memory().to_string()),
            "/grow-hold" => {
                let held = hoards::block(number(query, "kib", 0) << 10);
                let body = answers::partial(out, "held\n");
                wait_for_body(&request);
                drop(black_box(held));
                let _ = OutgoingBody::finish(body, None);
            }
            "/table-flood" => text(out, &format!("made {} resources", hoards::resources())),
            "/random-huge" => text(
                out,
                &format!("got {} bytes", get_random_bytes(1 << 30).len()),
            ),
            "/log-flood" => log_flood(query, out),

            "/handles" => text(
                out,
                &hoards::pollables(number(query, "count", 5_000)).to_string(),
            ),

            // Writes before anybody can read.
            "/early" => answers::early(out, number(query, "kib", 24) << 10, false),
            "/early-in-pieces" => answers::early(out, number(query, "kib", 24) << 10, true),

            // Ends itself.
            "/exit" => {
                text(out, "answered");
                std::process::exit(0)
            }
            "/exit-badly" => {
                text(out, "answered");
                wait_for_body(&request);
                std::process::exit(1)
            }
            "/exit-with-error" => {
                ResponseOutparam::set(out, Err(ErrorCode::ConfigurationError));
                std::process::exit(0)
            }
            "/exit-at-once" => {
                drop(out);
                std::process::exit(0)
            }

            // Breaks the rules of an answer. A part of it is out by then if the client sends the end of its
            // own body only when it has that part.
            "/twice" => answers::twice(out, || wait_for_body(&request)),
            "/headers-huge" => answers::with_headers(out, 1, number(query, "size", 256 << 10)),
            "/headers-many" => answers::with_headers(out, number(query, "count", 10_000), 8),
            "/short-body" => answers::with_length(out, 100, 10, || wait_for_body(&request)),
            "/long-body" => answers::with_length(out, 10, 100, || wait_for_body(&request)),
            "/forgotten" => std::mem::forget(answers::partial(out, "forgotten\n")),
            "/no-finish" => answers::without_finish(out, || wait_for_body(&request)),
            // All that is wrong is known before the head can go out.
            "/short-body-at-once" => answers::at_once(out, Some(100)),
            "/no-finish-at-once" => answers::at_once(out, None),

            // Stops in the middle of one.
            "/spin-after-head" => {
                let _body = begin(out, &[]);
                spin()
            }
            "/hold" => {
                let _body = answers::partial(out, "held\n");
                pause(FOR_EVER)
            }
            "/trap-after-head" => {
                let _body = answers::partial(out, "the first part\n");
                wait_for_body(&request);
                trap()
            }

            // Goes on after one.
            "/work-after" => {
                text(out, "answered");
                pause(300_000_000);
                logging::info("hostile: worked on after the answer");
            }

            // Calls home.
            "/out" => call(field(query, "to").unwrap_or("127.0.0.1:1"), out),

            "/keep" => text(out, &keeps::ALL.join(" ")),
            path => match path.strip_prefix("/keep/").and_then(keeps::keep) {
                Some(count) => text(out, &count.to_string()),
                None => text(out, "ok"),
            },
        }
    }
}

/// The number in the query's field `name`, or `otherwise`.
fn number(query: &str, name: &str, otherwise: usize) -> usize {
    field(query, name)
        .and_then(|text| text.parse().ok())
        .unwrap_or(otherwise)
}

fn spin() -> ! {
    let mut turns = 0u64;
    loop {
        turns = black_box(turns.wrapping_add(1));
    }
}

fn trap() -> ! {
    core::arch::wasm32::unreachable()
}

/// Reads where no memory of a plugin reaches.
fn beyond() -> u32 {
    let address = std::ptr::with_exposed_provenance::<u32>(0xffff_fff0);
    // SAFETY: there is none that Rust knows of. The instruction traps.
    unsafe { address.read_volatile() }
}

fn pause(nanoseconds: u64) {
    monotonic_clock::subscribe_duration(nanoseconds).block();
}

/// Waits until the client has sent all of its body, or has gone.
fn wait_for_body(request: &IncomingRequest) {
    let Ok(body) = request.consume() else { return };
    let Ok(stream) = body.stream() else { return };
    while stream.blocking_read(4096).is_ok() {}
}

/// Calls itself until the stack ends: the engine's, for a frame takes next to
/// nothing of the module's own stack in memory.
#[inline(never)]
#[expect(
    unconditional_recursion,
    reason = "the end of the stack is what is wanted"
)]
fn recurse(depth: u64) -> u64 {
    recurse(black_box(depth) + 1) ^ depth
}

fn log_flood(query: &str, out: ResponseOutparam) {
    let lines = number(query, "lines", 100_000);
    for line in 0..lines {
        logging::info(&format!(
            "hostile: line {line} of {lines}, with some words to make it longer"
        ));
    }
    text(out, &format!("logged {lines} lines"));
}

/// Sends a request to `authority` and answers the status or the error that came of it.
fn call(authority: &str, out: ResponseOutparam) {
    let result = status(authority);
    let body = begin(out, &[]);
    let line = match result {
        Ok(status) => format!("status {status}"),
        Err(error) => format!("error {error:?}"),
    };
    send(&body, line.as_bytes());
    let _ = OutgoingBody::finish(body, None);
}

fn status(authority: &str) -> Result<u16, ErrorCode> {
    let request = OutgoingRequest::new(Fields::new());
    let set = request
        .set_scheme(Some(&Scheme::Http))
        .and_then(|()| request.set_authority(Some(authority)))
        .and_then(|()| request.set_path_with_query(Some("/")));
    if set.is_err() {
        return Err(ErrorCode::HttpRequestUriInvalid);
    }
    let future = outgoing_handler::handle(request, None)?;
    loop {
        match future.get() {
            None => future.subscribe().block(),
            Some(Ok(result)) => return result.map(|response| response.status()),
            Some(Err(())) => return Err(ErrorCode::InternalError(None)),
        }
    }
}

export!(Hostile);
