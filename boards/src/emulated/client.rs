//! Asks a daemon in a machine over HTTP, through the port that the emulator forwards.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

/// How long an answer may take: an emulated processor is a slow one.
const PATIENCE: Duration = Duration::from_secs(60);

/// Answers are shorter than this many bytes, and their lines than this.
const MAX_BODY: usize = 16 << 20;
const MAX_LINE: u64 = 64 << 10;

/// A connection, which is used for one request after the other.
pub(crate) struct Client {
    stream: BufReader<TcpStream>,
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
}

impl Response {
    /// The body of an answer that has to be a 200.
    pub(crate) fn text(&self) -> Result<String> {
        let text = String::from_utf8_lossy(&self.body).into_owned();
        ensure!(
            self.status == 200,
            "status {}: {}",
            self.status,
            text.trim()
        );
        Ok(text)
    }
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> Result<Client> {
        let stream = TcpStream::connect_timeout(&address, PATIENCE)
            .context("cannot connect to the daemon in the machine")?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        Ok(Client {
            stream: BufReader::new(stream),
        })
    }

    /// One request, on a connection of its own.
    pub(crate) fn once(address: SocketAddr, path: &str) -> Result<Response> {
        Client::connect(address)?.get(path)
    }

    /// Asks and waits for the whole answer.
    pub(crate) fn get(&mut self, path: &str) -> Result<Response> {
        self.send(path)?;
        self.receive().with_context(|| format!("GET {path}"))
    }

    /// Asks, and leaves the answer for later or for nobody.
    pub(crate) fn send(&mut self, path: &str) -> Result<()> {
        let head = format!("GET {path} HTTP/1.1\r\nhost: machine\r\n\r\n");
        let sent = self.stream.get_mut().write_all(head.as_bytes());
        sent.with_context(|| format!("cannot send GET {path}"))
    }

    fn receive(&mut self) -> Result<Response> {
        let status = self.line()?;
        let status = status
            .strip_prefix("HTTP/1.1 ")
            .and_then(|rest| rest.get(..3));
        let status = status.and_then(|digits| digits.parse().ok());
        let status = status.context("the answer does not begin as HTTP does")?;
        let (mut length, mut is_chunked) = (None, false);
        loop {
            let line = self.line()?.to_ascii_lowercase();
            if line.is_empty() {
                break;
            }
            match line.split_once(':') {
                Some(("content-length", value)) => {
                    length = Some(value.trim().parse().context("content-length")?);
                }
                Some(("transfer-encoding", value)) => is_chunked = value.trim() == "chunked",
                _ => {}
            }
        }
        let mut body = Vec::new();
        match (length, is_chunked) {
            (_, true) => self.chunks(&mut body)?,
            (Some(length), false) => self.part(length, &mut body)?,
            (None, false) => bail!("the answer does not say how long it is"),
        }
        Ok(Response { status, body })
    }

    fn chunks(&mut self, body: &mut Vec<u8>) -> Result<()> {
        loop {
            let line = self.line()?;
            let digits = line.split(';').next().unwrap_or_default().trim();
            let length = usize::from_str_radix(digits, 16)
                .with_context(|| format!("'{digits}' is no length of a chunk"))?;
            self.part(length, body)?;
            ensure!(
                self.line()?.is_empty(),
                "a chunk does not end where it should"
            );
            if length == 0 {
                return Ok(());
            }
        }
    }

    fn part(&mut self, length: usize, body: &mut Vec<u8>) -> Result<()> {
        let start = body.len();
        ensure!(
            length <= MAX_BODY.saturating_sub(start),
            "the answer is over {MAX_BODY} bytes long"
        );
        body.resize(start + length, 0);
        self.stream
            .read_exact(&mut body[start..])
            .context("the answer breaks off")
    }

    fn line(&mut self) -> Result<String> {
        let mut bytes = Vec::new();
        let mut limited = (&mut self.stream).take(MAX_LINE);
        limited
            .read_until(b'\n', &mut bytes)
            .context("no answer came")?;
        ensure!(bytes.ends_with(b"\n"), "the answer breaks off");
        Ok(String::from_utf8_lossy(&bytes).trim_end().to_owned())
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use std::net::{Ipv4Addr, TcpListener};

    use super::*;

    /// What a client makes of these bytes, which come as its answer.
    fn answer(bytes: &'static str) -> Result<Response> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let server = std::thread::spawn(move || {
            let mut stream = listener.accept().unwrap().0;
            let length = stream.read(&mut [0; 512]).unwrap();
            stream.write_all(bytes.as_bytes()).unwrap();
            length
        });
        let result = Client::once(address, "/a");
        assert!(server.join().unwrap() > 0);
        result
    }

    #[test]
    fn both_ways_to_frame_a_body_are_read() {
        let fixed = answer("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokmore").unwrap();
        assert_eq!(fixed.text().unwrap(), "ok");
        let chunked =
            "HTTP/1.1 503 Busy\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n";
        let chunked = answer(chunked).unwrap();
        assert_eq!(
            (chunked.status, chunked.body.as_slice()),
            (503, &b"abc"[..])
        );
        assert!(chunked.text().is_err());
    }

    #[test]
    fn an_answer_that_is_not_whole_is_none() {
        for bytes in [
            "",
            "HTTP/1.1 200 OK\r\n",
            "HTTP/1.1 200 OK\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nab",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n",
            "SSH-2.0-x\r\n\r\n",
        ] {
            assert!(answer(bytes).is_err(), "{bytes:?}");
        }
    }
}
