//! Chunked bodies that are none. Those sent to `echo` are read by the plugin, those sent to `hello`
//! are not.

use super::{SMUGGLED, refusal};
use crate::support::{Client, Daemon, get};

/// Chunked bodies that are none, all wanting an end of the connection.
const BAD_CHUNKS: &[&str] = &[
    "\r\n",
    "x\r\n",
    "-1\r\n",
    "+5\r\nhello\r\n0\r\n\r\n",
    " 5\r\nhello\r\n0\r\n\r\n",
    "0x5\r\nhello\r\n0\r\n\r\n",
    "5 \r\nhello\r\n0\r\n\r\n",
    "5_\r\nhello\r\n0\r\n\r\n",
    "5,5\r\nhello\r\n0\r\n\r\n",
    "ffffffffffffffff1\r\nhello\r\n0\r\n\r\n",
    "10000000000000000\r\n",
    "5\nhello\n0\n\n",
    "5\rhello\r\n0\r\n\r\n",
    "5\r\nhello0\r\n\r\n",
    "5\r\nhello\n0\r\n\r\n",
    "5\r\nhello\r0\r\n\r\n",
    "4\r\nhello\r\n0\r\n\r\n",
    "5\r\nhello\r\n\r\n0\r\n\r\n",
    "5;a\nb\r\nhello\r\n0\r\n\r\n",
    "5;a\u{0}b\r\nhello\r\n0\r\n\r\n",
    "5;a\rb\r\nhello\r\n0\r\n\r\n",
    "5\r\nhello\r\n0\r\nNo colon\r\n\r\n",
    "5\r\nhello\r\n0\r\nX : y\r\n\r\n",
    "5\r\nhello\r\n0\r\n folded\r\n\r\n",
    "5\r\nhello\r\n0\r\nX: y\n\r\n",
    "5\r\nhello\r\n0\r\nX: a\u{0}b\r\n\r\n",
];

#[test]
fn a_malformed_chunk_is_an_error_to_the_plugin_and_the_end_of_the_connection() {
    let daemon = Daemon::start("echo");
    for body in BAD_CHUNKS {
        let wire = format!(
            "POST /count HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n{body}{}",
            SMUGGLED.replace("/smuggled", "/download?bytes=1")
        );
        let response = refusal(&daemon, wire.as_bytes());
        let status = response.as_ref().map(|response| response.status);
        assert_eq!(status, Some(400), "{body:?}: {response:?}");
        assert_eq!(
            get(&daemon, "/download?bytes=1").body,
            [0],
            "after {body:?}"
        );
    }
}

#[test]
fn a_malformed_chunk_that_the_plugin_does_not_read_ends_the_connection() {
    let daemon = Daemon::start("hello");
    for body in BAD_CHUNKS {
        let wire = format!(
            "POST /first HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n{body}{SMUGGLED}"
        );
        let mut client = Client::connect(&daemon);
        client.send(&wire);
        let response = client.read_response();
        assert_eq!(response.status, 200, "{body:?}: {response:?}");
        assert!(response.text().contains("/first"), "{response:?}");
        let rest = client.read_to_end();
        assert!(
            rest.is_empty(),
            "{body:?}: {:?}",
            String::from_utf8_lossy(&rest)
        );
    }
    assert_eq!(get(&daemon, "/good").status, 200);
}

#[test]
fn chunk_extensions_and_trailers_have_an_end() {
    let daemon = Daemon::start("echo");
    let long_extension = format!("5;{}\r\nhello\r\n0\r\n\r\n", "e".repeat(300));
    // Each short, together more than all extensions of a body may take.
    let many_extensions = format!("1;{}\r\nx\r\n", "e".repeat(200)).repeat(100) + "0\r\n\r\n";
    let long_trailer = format!("0\r\nX: {}\r\n\r\n", "t".repeat(5000));
    let many_trailers = format!("0\r\n{}\r\n", "X: y\r\n".repeat(97));
    for body in [long_extension, many_extensions, long_trailer, many_trailers] {
        let wire =
            format!("POST /count HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n{body}");
        let response = refusal(&daemon, wire.as_bytes());
        let status = response.as_ref().map(|response| response.status);
        // By the plugin, which is told that the body is broken.
        assert_eq!(status, Some(400), "{response:?}");
        assert_eq!(get(&daemon, "/download?bytes=1").body, [0]);
    }
}
