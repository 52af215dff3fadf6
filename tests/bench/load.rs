//! The load generator of its own: one thread, connections that are kept, one request at a time
//! on each. Unlike wrk it looks at every response.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::event::{Timespec, epoll};

use crate::client::connect;
use crate::process::PATIENCE;
use crate::response;
use crate::stats::Latency;

/// Connections under load.
pub(crate) const CONNECTIONS: usize = 16;

/// Load before the load that counts: caches fill, pools reach their size.
pub(crate) const WARM_UP: Duration = Duration::from_millis(300);

/// What came of a load.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    /// Responses.
    pub(crate) requests: u64,
    /// Responses per second.
    pub(crate) rate: f64,
    /// From sending a request to having its whole response.
    pub(crate) latency: Latency,
}

/// One client.
struct Connection {
    stream: TcpStream,
    received: Vec<u8>,
    sent: Instant,
}

/// Keeps `connections` busy with `request` for `duration`. Every response must be a good one, with this
/// `body` if one is given.
pub(crate) fn run(
    port: u16,
    connections: usize,
    duration: Duration,
    request: &[u8],
    body: Option<&[u8]>,
) -> Result<Load> {
    let poll = epoll::create(epoll::CreateFlags::CLOEXEC).context("epoll")?;
    let start = Instant::now();
    let mut clients = Vec::with_capacity(connections);
    for index in 0..connections as u64 {
        let mut stream = connect(port)?;
        stream.set_nonblocking(true).context("non-blocking")?;
        epoll::add(
            &poll,
            &stream,
            epoll::EventData::new_u64(index),
            epoll::EventFlags::IN,
        )
        .context("epoll")?;
        send(&mut stream, request)?;
        clients.push(Connection {
            stream,
            received: Vec::with_capacity(4096),
            sent: Instant::now(),
        });
    }
    let patience = Timespec::try_from(PATIENCE).context("time-out")?;
    let mut events = Vec::with_capacity(connections);
    let mut took = Vec::with_capacity(1 << 20);
    loop {
        events.clear();
        let ready = epoll::wait(
            &poll,
            rustix::buffer::spare_capacity(&mut events),
            Some(&patience),
        );
        ensure!(
            ready.context("epoll")? > 0,
            "the server was silent for {PATIENCE:?}"
        );
        for event in &events {
            let client = &mut clients[event.data.u64() as usize];
            if client.receive(body)? {
                let now = Instant::now();
                took.push((now - client.sent).as_nanos() as u64);
                client.sent = now;
                send(&mut client.stream, request)?;
            }
        }
        let elapsed = start.elapsed();
        if elapsed >= duration && !took.is_empty() {
            return Ok(Load {
                requests: took.len() as u64,
                rate: took.len() as f64 / elapsed.as_secs_f64(),
                latency: Latency::of(took).context("the server sent no response")?,
            });
        }
    }
}

impl Connection {
    /// Takes in what has come; says whether that completes a response.
    fn receive(&mut self, body: Option<&[u8]>) -> Result<bool> {
        let mut piece = [0; 4096];
        match self.stream.read(&mut piece) {
            Ok(0) => bail!("the server closed a connection that was to be kept"),
            Ok(count) => self.received.extend_from_slice(&piece[..count]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
            Err(error) => return Err(error).context("reading a response"),
        }
        let Some(response) = response::parse(&self.received)? else {
            return Ok(false);
        };
        ensure!(
            response.bytes == self.received.len(),
            "the server sent more than one response to one request"
        );
        if let Some(body) = body {
            ensure!(
                response.body == body,
                "the server responds with {:?} instead of {:?}",
                String::from_utf8_lossy(&response.body),
                String::from_utf8_lossy(body)
            );
        }
        self.received.clear();
        Ok(true)
    }
}

fn send(stream: &mut TcpStream, request: &[u8]) -> Result<()> {
    // So short that an empty send buffer always takes it whole.
    stream.write_all(request).context("sending a request")
}
