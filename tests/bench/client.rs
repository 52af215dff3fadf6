//! A client with one connection that it keeps, and one request at a time.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::process::PATIENCE;
use crate::response::{self, Response};

/// A connection.
pub(crate) struct Client {
    stream: TcpStream,
    received: Vec<u8>,
}

impl Client {
    /// Connects to the loopback address; a server that is silent for ten seconds has hung.
    pub(crate) fn connect(port: u16) -> Result<Client> {
        Ok(Client {
            stream: connect(port)?,
            received: Vec::with_capacity(4096),
        })
    }

    /// The same over a connection that is there, where a response may take as long as `patience`.
    pub(crate) fn over(stream: TcpStream, patience: Duration) -> Result<Client> {
        stream
            .set_read_timeout(Some(patience))
            .context("time-out")?;
        Ok(Client {
            stream,
            received: Vec::with_capacity(4096),
        })
    }

    /// The same where a response may take as long as `patience`.
    pub(crate) fn connect_with(port: u16, patience: Duration) -> Result<Client> {
        let client = Client::connect(port)?;
        client
            .stream
            .set_read_timeout(Some(patience))
            .context("time-out")?;
        Ok(client)
    }

    /// The response to `request`; anything but a 200 is an error.
    pub(crate) fn send(&mut self, request: &[u8]) -> Result<Response<'_>> {
        self.received.clear();
        self.stream
            .write_all(request)
            .context("sending a request")?;
        while response::parse(&self.received)?.is_none() {
            let mut piece = [0; 4096];
            match self.stream.read(&mut piece).context("reading a response")? {
                0 => bail!("the server closed the connection in the middle of a response"),
                count => self.received.extend_from_slice(&piece[..count]),
            }
        }
        let response = response::parse(&self.received)?.context("no response")?;
        ensure!(
            response.bytes == self.received.len(),
            "more than one response to one request"
        );
        Ok(response)
    }
}

/// A connection that is given up when the server is silent for too long.
pub(crate) fn connect(port: u16) -> Result<TcpStream> {
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).context("connecting")?;
    stream.set_nodelay(true).context("no delay")?;
    stream
        .set_read_timeout(Some(PATIENCE))
        .context("time-out")?;
    Ok(stream)
}

/// A GET of `path` without anything special.
pub(crate) fn get(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n").into_bytes()
}
