//! An upstream whose socket holds back what is written, as TLS does with what the kernel does not
//! take at once.

use std::task::{Context, Poll, ready};

use smol::io::{AsyncRead, AsyncWrite};

use super::*;

/// Sends nothing until it is flushed.
struct Held {
    socket: Box<dyn Socket>,
    written: Vec<u8>,
}

impl AsyncRead for Held {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_read(cx, buf)
    }
}

impl AsyncWrite for Held {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.written.extend_from_slice(buf);
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Held { socket, written } = &mut *self;
        while !written.is_empty() {
            let count = ready!(Pin::new(&mut *socket).poll_write(cx, written))?;
            written.drain(..count);
        }
        Pin::new(socket).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.as_mut().poll_flush(cx))?;
        Pin::new(&mut self.socket).poll_close(cx)
    }
}

#[test]
fn a_message_goes_out_to_its_end() {
    let late = async {
        Timer::after(Duration::from_secs(60)).await;
        panic!("nobody flushes it");
    };
    let told = async {
        let (mut upstream, endpoint) = Peer::pair(Side::Upstream).await;
        let held = Endpoint {
            socket: Box::new(Held {
                socket: endpoint.socket,
                written: Vec::new(),
            }),
            received: endpoint.received,
        };
        let client = Peer::pair(Side::Client).await;
        let mut session = start(client, Some(held), None, limits());
        let long = vec![b'x'; 100_000];
        for data in [&b"hello"[..], &long] {
            session.client.send(Kind::Binary, data).await;
            upstream.expect(Kind::Binary, data).await;
        }
        drop((session.client, upstream));
        session.task.await;
    };
    smol::block_on(or(told, late));
}
