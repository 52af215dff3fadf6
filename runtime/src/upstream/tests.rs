//! The client against upstreams that speak raw bytes, over loopback sockets.

#![expect(clippy::unwrap_used, reason = "a failed test should panic")]

mod bodies;
mod failures;
mod grants;
mod heads;
mod interim;
mod names;
mod personal;
mod pooling;
mod sloppy;
mod timeouts;
mod tls;
mod upgrades;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use futures_lite::Stream;
use http_body::Frame;
use http_body_util::{BodyExt, Empty, Full};
use smol::Executor;
use smol::channel::Receiver;

use super::{ForClient, Sender, Settings, Target, Upstreams};
use crate::config::Grants;
use crate::memory::Budget;
use crate::message::{Body, BodyError};

static EXECUTOR: Executor<'static> = Executor::new();

/// Longer than anything takes that does not hang.
const PATIENCE: Duration = Duration::from_secs(60);
/// Short, for times that are meant to pass.
const BRIEF: Duration = Duration::from_millis(50);

/// An upstream that does as `script` says, and where it listens.
fn upstream<T: Send + 'static>(
    script: impl FnOnce(TcpListener) -> T + Send + 'static,
) -> (Target, JoinHandle<T>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    (
        at("127.0.0.1", port),
        std::thread::spawn(|| script(listener)),
    )
}

/// A target that waits for as long as a slow machine needs.
fn at(host: &str, port: u16) -> Target {
    Target {
        host: host.to_owned(),
        port,
        tls: false,
        connect_timeout: PATIENCE,
        request_timeout: PATIENCE,
        stall_timeout: PATIENCE,
        sender: sender(&["*", "localhost"]),
        share: None,
        client: ForClient::default(),
    }
}

/// A plugin that may send to these hosts.
fn sender(hosts: &[&str]) -> Arc<Sender> {
    let grants = Grants {
        allowed_hosts: hosts.iter().map(|host| host.parse().unwrap()).collect(),
        ..Grants::default()
    };
    Arc::new(Sender::new("p", &Arc::new(grants)))
}

/// A client with these settings and 1 MiB for its connections.
fn client(settings: Settings) -> (Upstreams, Arc<Budget>) {
    let budget = Budget::new(1 << 20);
    (
        Upstreams::new(settings, Arc::clone(&budget), &EXECUTOR),
        budget,
    )
}

/// An upstream's end of a connection.
struct Peer(TcpStream);

impl Peer {
    fn accept(listener: &TcpListener) -> Peer {
        let stream = listener.accept().unwrap().0;
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Peer(stream)
    }

    /// Reads up to and with `end`.
    fn read_until(&mut self, end: &str) -> String {
        let mut read = Vec::new();
        while !read.ends_with(end.as_bytes()) {
            let mut byte = [0];
            let count = self.0.read(&mut byte).unwrap();
            let so_far = String::from_utf8_lossy(&read);
            assert_eq!(count, 1, "the connection ended behind {so_far:?}");
            read.push(byte[0]);
        }
        String::from_utf8(read).unwrap()
    }

    fn read_head(&mut self) -> String {
        self.read_until("\r\n\r\n")
    }

    fn send(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).unwrap();
    }

    /// Reads one head, and answers it.
    fn answer(&mut self, text: &str) -> String {
        let head = self.read_head();
        self.send(text);
        head
    }
}

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

fn request(method: &str, fields: &[(&'static str, &str)], body: Body) -> http::Request<Body> {
    let mut request = http::Request::new(body);
    *request.method_mut() = method.parse().unwrap();
    *request.uri_mut() = "/p?q".parse().unwrap();
    for (name, value) in fields {
        request.headers_mut().append(*name, value.parse().unwrap());
    }
    request
}

fn get() -> http::Request<Body> {
    request("GET", &[("host", "h")], empty())
}

fn empty() -> Body {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}

fn full(text: &'static str) -> Body {
    let body = Full::new(Bytes::from_static(text.as_bytes()));
    body.map_err(|never| match never {}).boxed_unsync()
}

/// A body of unknown length whose frames come through a channel; it ends with the channel.
fn channel(frames: Receiver<Frame<Bytes>>) -> Body {
    struct Frames(Pin<Box<Receiver<Frame<Bytes>>>>);
    impl http_body::Body for Frames {
        type Data = Bytes;
        type Error = BodyError;
        fn poll_frame(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
            self.0.as_mut().poll_next(cx).map(|frame| frame.map(Ok))
        }
    }
    Frames(Box::pin(frames)).boxed_unsync()
}

async fn text(response: http::Response<Body>) -> String {
    let whole = response.into_body().collect().await.unwrap();
    String::from_utf8(whole.to_bytes().to_vec()).unwrap()
}

/// Sends a request and reads the whole answer.
async fn fetch(client: &Upstreams, request: http::Request<Body>, to: &Target) -> (u16, String) {
    let response = client.send(request, to, "id").await.unwrap();
    (response.status().as_u16(), text(response).await)
}
