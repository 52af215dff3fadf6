//! Reads an HTTP/1.1 answer: as much of the protocol as the measured servers use.

use anyhow::{Context, Result, bail, ensure};

/// A whole answer.
#[derive(Debug)]
pub(crate) struct Answer {
    /// Its length on the wire, head included.
    pub(crate) bytes: usize,
    /// Its body, without the framing.
    pub(crate) body: Vec<u8>,
}

/// Reads the answer at the start of `received`; `None` when it is not all there yet. Anything
/// but a 200 whose end is marked by its length or by chunks is an error.
pub(crate) fn parse(received: &[u8]) -> Result<Option<Answer>> {
    let Some(head) = find(received, b"\r\n\r\n") else {
        ensure!(
            received.len() < 16 << 10,
            "the answer's head is longer than 16 KiB"
        );
        return Ok(None);
    };
    let text = std::str::from_utf8(&received[..head]).context("the answer's head is not text")?;
    let mut lines = text.split("\r\n");
    let status = lines.next().unwrap_or_default();
    let rest = &received[head + 4..];
    ensure!(
        status.starts_with("HTTP/1.1 200"),
        "the server answers {status:?}, not 200: {:?}",
        String::from_utf8_lossy(&rest[..rest.len().min(200)])
    );
    for line in lines {
        let Some((name, value)) = line.split_once(':') else {
            bail!("the answer's head has a line without a colon: {line:?}");
        };
        if name.eq_ignore_ascii_case("content-length") {
            let length: usize = value.trim().parse().context("the answer's length")?;
            return Ok(rest.get(..length).map(|body| Answer {
                bytes: head + 4 + length,
                body: body.to_vec(),
            }));
        }
        if name.eq_ignore_ascii_case("transfer-encoding") {
            ensure!(
                value.trim().eq_ignore_ascii_case("chunked"),
                "the answer's coding is {value:?}"
            );
            return Ok(chunked(rest)?.map(|(length, body)| Answer {
                bytes: head + 4 + length,
                body,
            }));
        }
    }
    bail!("the answer ends with the connection, so connections cannot be kept")
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
