//! Reads an HTTP/1.1 response: as much of the protocol as the measured servers use.

use std::borrow::Cow;

use anyhow::{Context, Result, bail, ensure};

/// A whole response.
#[derive(Debug)]
pub(crate) struct Response<'a> {
    /// Its length on the wire, head included.
    pub(crate) bytes: usize,
    /// The lines of its head behind the status line.
    head: &'a str,
    /// Its body, without the framing.
    pub(crate) body: Cow<'a, [u8]>,
}

impl<'a> Response<'a> {
    /// The value of the header field `name`.
    pub(crate) fn field(&self, name: &str) -> Option<&'a str> {
        let fields = self
            .head
            .split("\r\n")
            .filter_map(|line| line.split_once(':'));
        fields
            .filter(|(found, _)| found.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim())
            .next()
    }
}

/// Reads the response at the start of `received`; `None` when it is not all there yet. Anything
/// but a 200 whose end is marked by its length or by chunks is an error.
pub(crate) fn parse(received: &[u8]) -> Result<Option<Response<'_>>> {
    let Some(end) = find(received, b"\r\n\r\n") else {
        ensure!(
            received.len() < 16 << 10,
            "the response's head is longer than 16 KiB"
        );
        return Ok(None);
    };
    let text = std::str::from_utf8(&received[..end]).context("the response's head is not text")?;
    let (status, head) = text.split_once("\r\n").unwrap_or((text, ""));
    let start = end + 4;
    let rest = &received[start..];
    ensure!(
        status.starts_with("HTTP/1.1 200"),
        "the server responds with {status:?}, not with 200: {:?}",
        String::from_utf8_lossy(&rest[..rest.len().min(200)])
    );
    let whole = |length, body| Response {
        bytes: start + length,
        head,
        body,
    };
    for line in head.split("\r\n") {
        let Some((name, value)) = line.split_once(':') else {
            bail!("the response's head has a line without a colon: {line:?}");
        };
        if name.eq_ignore_ascii_case("content-length") {
            let length: usize = value.trim().parse().context("the response's length")?;
            return Ok(rest
                .get(..length)
                .map(|body| whole(length, Cow::Borrowed(body))));
        }
        if name.eq_ignore_ascii_case("transfer-encoding") {
            ensure!(
                value.trim().eq_ignore_ascii_case("chunked"),
                "the response's coding is {value:?}"
            );
            return Ok(chunked(rest)?.map(|(length, body)| whole(length, Cow::Owned(body))));
        }
    }
    bail!("the response ends with the connection, so connections cannot be kept")
}

/// A chunked body's length on the wire, and what it holds.
fn chunked(bytes: &[u8]) -> Result<Option<(usize, Vec<u8>)>> {
    let mut body = Vec::new();
    let mut at = 0;
    loop {
        let Some(line) = find(&bytes[at..], b"\r\n") else {
            return Ok(None);
        };
        let digits = std::str::from_utf8(&bytes[at..at + line]).context("a chunk's size")?;
        let size = usize::from_str_radix(digits.trim(), 16).context("a chunk's size")?;
        at += line + 2;
        let Some(data) = bytes[at..].get(..size.saturating_add(2)) else {
            return Ok(None);
        };
        ensure!(
            data.ends_with(b"\r\n"),
            "a chunk does not end where its size says"
        );
        at += size + 2;
        if size == 0 {
            return Ok(Some((at, body)));
        }
        body.extend_from_slice(&data[..size]);
    }
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}
