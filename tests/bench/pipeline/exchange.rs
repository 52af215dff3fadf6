//! A client that sends a body and takes the response's at the same time: who only sends, while the
//! server waits for its response to be taken, waits for ever.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;

use anyhow::{Context, Result, bail, ensure};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::client::connect;
use crate::process::{GOOD, PATIENCE};
use crate::response;

/// A connection that is kept.
pub(crate) struct Exchange {
    stream: TcpStream,
    received: Vec<u8>,
}

impl Exchange {
    /// Connects.
    pub(crate) fn connect(port: u16) -> Result<Exchange> {
        let stream = connect(port)?;
        stream.set_nonblocking(true).context("non-blocking")?;
        Ok(Exchange {
            stream,
            received: Vec::new(),
        })
    }

    /// Sends `request`, which ends with `body`, and takes a response with the same body.
    pub(crate) fn echo(&mut self, request: &[u8], body: &[u8]) -> Result<()> {
        self.received.clear();
        let mut sent = 0;
        loop {
            if sent < request.len() {
                sent += ready(self.stream.write(&request[sent..]))?.unwrap_or(0);
            }
            let mut piece = [0; 64 << 10];
            match ready(self.stream.read(&mut piece))? {
                Some(0) => bail!("the server closed the connection"),
                Some(count) => self.received.extend_from_slice(&piece[..count]),
                None => self.wait(sent < request.len())?,
            }
            // It comes in many pieces, and is not looked at before all may be there.
            let is_good = self.received.starts_with(GOOD) || self.received.len() < GOOD.len();
            if (self.received.len() > body.len() || !is_good)
                && let Some(response) = response::parse(&self.received)?
            {
                ensure!(*response.body == *body, "the server sent another body");
                ensure!(sent == request.len(), "it responded before it had it all");
                return Ok(());
            }
        }
    }

    fn wait(&self, to_send: bool) -> Result<()> {
        let out = if to_send {
            PollFlags::OUT
        } else {
            PollFlags::empty()
        };
        let mut wanted = [PollFd::new(&self.stream, PollFlags::IN | out)];
        let patience = Timespec::try_from(PATIENCE).context("time-out")?;
        let count = poll(&mut wanted, Some(&patience)).context("poll")?;
        ensure!(count > 0, "the server was silent for {PATIENCE:?}");
        Ok(())
    }
}

/// What was transferred; `None` when it has to wait.
fn ready(result: std::io::Result<usize>) -> Result<Option<usize>> {
    match result {
        Ok(count) => Ok(Some(count)),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error).context("the connection"),
    }
}
