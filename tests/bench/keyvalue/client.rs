//! A client with one connection that it keeps, and one request at a time.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::answer;

/// Longer than any request of the benchmark takes, the loops inside the plugin among them.
pub(crate) const PATIENCE: Duration = Duration::from_secs(300);

/// A connection.
pub(crate) struct Client {
    stream: TcpStream,
    received: Vec<u8>,
}

impl Client {
    /// Connects to the loopback address.
    pub(crate) fn connect(port: u16) -> Result<Client> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).context("connecting")?;
        stream.set_nodelay(true).context("no delay")?;
        stream
            .set_read_timeout(Some(PATIENCE))
            .context("time-out")?;
        Ok(Client {
            stream,
            received: Vec::with_capacity(4096),
        })
    }

    /// The body of the answer to a GET of `path`; anything but a 200 is an error.
    pub(crate) fn get(&mut self, path: &str) -> Result<Vec<u8>> {
        self.exchange(path)
            .with_context(|| format!("asking for {path}"))
    }

    fn exchange(&mut self, path: &str) -> Result<Vec<u8>> {
        self.received.clear();
        self.stream.write_all(request(path).as_bytes())?;
        loop {
            if let Some(answer) = answer::parse(&self.received)? {
                ensure!(
                    answer.bytes == self.received.len(),
                    "more than one answer to one request"
                );
                return Ok(answer.body);
            }
            let mut piece = [0; 4096];
            match self.stream.read(&mut piece)? {
                0 => bail!("the daemon closed the connection before its answer was whole"),
                count => self.received.extend_from_slice(&piece[..count]),
            }
        }
    }
}

/// A GET of `path`.
pub(crate) fn request(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
}
