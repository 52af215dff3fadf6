//! Several plugins on the way of a request: what each stage does to it, in which order, and what becomes
//! of requests whose stages fail. The guest `stages` and its parts do as header fields ask them to.

/// Who is asking.
mod authenticate;
/// All stages together: the order, the instances that they share, the time and the memory.
mod chain;
/// Pages of another origin.
mod cors;
/// Stages that trap, spin and lie: what the client gets, and that nobody else notices.
mod failures;
/// Whatever looks at heads, both ways.
mod middleware;
/// Which requests a stage takes part in, and what it gets to see.
mod narrowing;
/// Programs that others wrote, as clients.
mod peers;
/// Whether a client asks too often.
mod rate_limit;
/// Where a request goes.
mod route;
/// What the handler gets to see, and what comes back from it.
mod transform;

use crate::support::{Client, Daemon, Response, request};

/// Header fields of a request.
type Fields<'a> = &'a [(&'a str, &'a str)];

/// GET `/` with these fields.
fn ask(daemon: &Daemon, fields: Fields<'_>) -> Response {
    request(daemon, "GET", "/", fields, b"")
}

/// The rest of all lines of an answer that begin with `word`.
fn lines(answer: &Response, word: &str) -> Vec<String> {
    let text = answer.text();
    let found = text.lines().filter_map(|line| line.strip_prefix(word));
    found.map(str::to_owned).collect()
}

/// What the guest `stages` was told as context under `key`, as often as it was.
fn context(answer: &Response, key: &str) -> Vec<String> {
    lines(answer, &format!("context {key}: "))
}

/// All values of a field of an answer, in the order in which they came.
fn values(answer: &Response, name: &str) -> Vec<String> {
    let same = |(other, _): &&(String, String)| other.eq_ignore_ascii_case(name);
    let found = answer.headers.iter().filter(same);
    found.map(|(_, value)| value.clone()).collect()
}

/// Sends bytes and reads all that comes until the daemon closes.
fn wire(daemon: &Daemon, bytes: impl AsRef<[u8]>) -> String {
    let mut client = Client::connect(daemon);
    client.send(bytes);
    String::from_utf8_lossy(&client.read_to_end()).into_owned()
}

/// A body as the guests tell of it: its length and 64-bit FNV-1a.
fn described(body: &[u8]) -> String {
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
    let hash = body.iter().fold(0xcbf2_9ce4_8422_2325, step);
    format!("{} {hash:016x}", body.len())
}

/// A body in chunks of this size, and the end of it.
fn chunked(body: &[u8], size: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    for piece in body.chunks(size) {
        bytes.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
        bytes.extend_from_slice(piece);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b"0\r\n\r\n");
    bytes
}

/// POST with a body in chunks.
fn post_chunked(daemon: &Daemon, fields: Fields<'_>, body: &[u8]) -> Response {
    let mut fields = fields.to_vec();
    fields.push(("transfer-encoding", "chunked"));
    request(daemon, "POST", "/", &fields, &chunked(body, 1000))
}
