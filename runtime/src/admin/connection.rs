//! One connection to the admin interface. It carries one request and one response.

use std::io;
use std::time::Duration;

use futures_lite::future::or;
use smol::channel::bounded;
use smol::io::{AsyncReadExt, AsyncWriteExt};
use zlayer_http1::{ResponseHead, ResponseLength, Version};

use super::message::{Request, Response};
use super::places::Place;
use super::reading::{self, REQUEST_BYTES};
use super::upload::{self, UPLOAD_BYTES};
use super::{AdminShared, changes, pages};
use crate::timeout::within;
use crate::wire::{Socket, with_date};

/// How long a head may take to come, and then the response to be sent.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a head may take over TCP, where clients are always on this device.
const TCP_HEAD_PATIENCE: Duration = Duration::from_secs(2);
/// How long a closing connection is read from, and how many bytes, so that the response is not lost
/// to a reset.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: usize = 64 << 10;

pub(super) struct Connection {
    stream: Box<dyn Socket>,
    /// Whether it came over TCP, which other users' programs and web pages in a browser can reach.
    is_tcp: bool,
}

impl Connection {
    pub(super) fn new(stream: Box<dyn Socket>, is_tcp: bool) -> Connection {
        Connection { stream, is_tcp }
    }

    /// Reads one request, sends the response, and closes. It leaves early where it waits for its
    /// client and the place is wanted.
    pub(super) async fn serve(mut self, shared: &AdminShared, place: &Place) {
        let leaving = async {
            place.wait_until_asked().await;
            None
        };
        // A client that goes away or stays silent gets no response.
        let patience = match self.is_tcp {
            true => TCP_HEAD_PATIENCE,
            false => PATIENCE,
        };
        let read = or(within(patience, self.read()), leaving).await;
        if let Some(Ok(Some(request))) = read {
            place.set_served(true);
            let done = match request {
                // It takes as long as it takes.
                Ok(request) if reading::is_change(&request.path) => {
                    Some(self.change(request, shared).await)
                }
                request => within(PATIENCE, self.respond(request, shared)).await,
            };
            place.set_served(false);
            if matches!(done, Some(Ok(()))) {
                let leaving = async {
                    place.wait_until_asked().await;
                    None
                };
                or(within(LINGER, self.linger()), leaving).await;
            }
        }
    }

    /// Reads a request. Returns `None` if the client leaves before its end.
    async fn read(&mut self) -> io::Result<Option<Result<Request, Response>>> {
        let mut buffer = Vec::new();
        loop {
            let held = buffer.len();
            buffer.resize(REQUEST_BYTES.min(held + 1024), 0);
            let count = self.stream.read(&mut buffer[held..]).await?;
            if count == 0 {
                return Ok(None);
            }
            buffer.truncate(held + count);
            if let Some(read) = reading::read(&buffer, self.is_tcp).transpose() {
                return Ok(Some(read));
            }
        }
    }

    async fn respond(
        &mut self,
        request: Result<Request, Response>,
        shared: &AdminShared,
    ) -> io::Result<()> {
        let request = match request {
            Ok(request) => request,
            Err(refused) => return self.write(&refused).await,
        };
        // Memory is reserved before the response is made, and for as long as it is on its way.
        let wanted = pages::room(&request, &shared.view);
        let mut room = shared.reserve(wanted);
        let mut response = None;
        if let Some(room) = &mut room {
            let mut written = pages::respond(&request, &shared.view, wanted).await;
            written.body.shrink_to_fit();
            let length = written.body.len();
            // Series can be added meanwhile, and a status can have long paths in it.
            if length <= wanted || room.grow(length - wanted) {
                room.shrink(wanted.saturating_sub(length));
                response = Some(written);
            }
        }
        let response = response.unwrap_or_else(|| Response {
            is_head: request.is_head,
            ..Response::text(503, "the memory budget has no room for the answer")
        });
        self.write(&response).await
    }

    /// Changes which deployment is served. What has begun is done to its end, whether or not the client waits.
    async fn change(&mut self, request: Request, shared: &AdminShared) -> io::Result<()> {
        // Until what came of it is told.
        let _under_way = shared.changes.read().await;
        let Some(_room) = shared.reserve(UPLOAD_BYTES) else {
            let full = Response::text(503, "the memory budget has no room for the upload");
            return self.write(&full).await;
        };
        let (to, pieces) = upload::channel();
        let changing = changes::begin(&shared.view, &request, pieces);
        let (done, response) = bounded(1);
        let running = async move {
            // The client may be gone.
            let _ = done.send(changing.await).await;
        };
        shared.executor.spawn(running).detach();
        if let Some(upload) = request.upload {
            // Whoever reads it is told as well, and what it answers is for the client.
            let (stream, stop) = (&mut self.stream, &shared.view.stop);
            if let Err(error) = upload::receive(stream, upload, request.body, to, stop).await {
                log::debug!("admin interface: an upload broke off: {error}");
            }
        }
        match response.recv().await {
            Ok(response) => within(PATIENCE, self.write(&response))
                .await
                .unwrap_or(Ok(())),
            Err(_) => Ok(()),
        }
    }

    async fn write(&mut self, response: &Response) -> io::Result<()> {
        let mut headers: Vec<(&str, &[u8])> = vec![
            ("content-type", response.content_type.as_bytes()),
            ("cache-control", b"no-store"),
            ("x-content-type-options", b"nosniff"),
        ];
        match response.healthy {
            Some(true) => headers.push(("zlayer-health", b"ok")),
            Some(false) => headers.push(("zlayer-health", b"not-ok")),
            None => {}
        }
        let code = response.exit_code.map(|code| code.to_string());
        if let Some(code) = &code {
            headers.push(("zlayer-exit-code", code.as_bytes()));
        }
        if let Some(methods) = response.allow {
            headers.push(("allow", methods.as_bytes()));
        }
        if response.status == 503 {
            headers.push(("retry-after", b"1"));
        }
        let length = response.body.len() as u64;
        let mut out = Vec::new();
        let encoded = with_date(|date| {
            let head = ResponseHead {
                version: Version::Http11,
                status: response.status,
                headers: &headers,
                length: match response.is_head {
                    true => ResponseLength::HeadOf(Some(length)),
                    false => ResponseLength::Fixed(length),
                },
                keep_alive: false,
                date,
            };
            head.encode(&mut out)
        });
        encoded.map_err(io::Error::other)?;
        self.stream.write_all(&out).await?;
        if !response.is_head {
            self.stream.write_all(response.body.as_bytes()).await?;
        }
        self.stream.flush().await
    }

    /// Lets the client read the response before the socket is closed (RFC 9112 section 9.6).
    async fn linger(&mut self) {
        if self.stream.close().await.is_err() {
            return;
        }
        let (mut read, mut piece) = (0, [0; 1024]);
        while read < LINGER_BYTES {
            match self.stream.read(&mut piece).await {
                Ok(count) if count > 0 => read += count,
                _ => return,
            }
        }
    }
}
