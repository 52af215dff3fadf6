//! Asks a daemon's admin interface.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;

use serde_json::Value;

use super::{PATIENCE, Response, TempDir, eventually};

/// GET at the Unix socket in `folder`.
pub(crate) fn ask(folder: &TempDir, path: &str) -> Response {
    let head = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n");
    ask_raw(folder.path(), head.as_bytes())
}

/// Waits until every plugin is ready and none is at work. The daemon makes first instances by itself, and a
/// request that comes meanwhile has another one made: from here on, those that come one after the other
/// find the same one.
pub(crate) fn at_rest(folder: &TempDir) {
    eventually("plugins at rest", || {
        let status: Value = serde_json::from_str(&ask(folder, "/status").text()).unwrap();
        let mut plugins = status["plugins"].as_array().unwrap().iter();
        plugins.all(|plugin| plugin["state"] == "ready" && plugin["instances"]["running"] == 0)
    });
}

/// Sends these bytes to the Unix socket in `folder` and reads one answer.
pub(crate) fn ask_raw(folder: &Path, request: &[u8]) -> Response {
    let stream = UnixStream::connect(folder.join("admin.sock")).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    exchange(stream, request)
}

/// Sends these bytes over TCP and reads one answer.
pub(crate) fn ask_tcp(address: SocketAddr, request: &[u8]) -> Response {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    exchange(stream, request)
}

/// The interface closes after each answer, and says how long that is.
fn exchange(mut stream: impl Read + Write, request: &[u8]) -> Response {
    stream.write_all(request).unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n");
    let end = end.unwrap_or_else(|| panic!("no answer: {:?}", String::from_utf8_lossy(&bytes)));
    let head = std::str::from_utf8(&bytes[..end]).unwrap();
    let (line, fields) = head.split_once("\r\n").unwrap();
    let response = Response {
        status: line.strip_prefix("HTTP/1.1 ").unwrap()[..3]
            .parse()
            .unwrap(),
        headers: fields
            .split("\r\n")
            .map(|field| field.split_once(": ").unwrap())
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect(),
        body: bytes[end + 4..].to_vec(),
        ..Response::default()
    };
    if !request.starts_with(b"HEAD ") {
        let length = response.body.len().to_string();
        assert_eq!(response.header("content-length"), Some(&*length));
    }
    response
}
