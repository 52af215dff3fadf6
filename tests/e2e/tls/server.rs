use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::file;
use crate::support::PATIENCE;

pub(super) const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// A connection on which hands were shaken.
pub(super) type Stream = StreamOwned<ServerConnection, TcpStream>;

/// An upstream for as long as the tests run.
pub(super) struct Server {
    pub(super) port: u16,
    shaken: Arc<AtomicUsize>,
}

impl Server {
    /// Proves itself with this certificate, and runs `script` for each client that is content with it, in
    /// a thread of its own.
    pub(super) fn start(
        certificate: &str,
        script: impl Fn(Stream) + Send + Sync + 'static,
    ) -> Server {
        let config = Arc::new(config(certificate));
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let shaken = Arc::new(AtomicUsize::new(0));
        let (script, counted) = (Arc::new(script), Arc::clone(&shaken));
        thread::spawn(move || {
            for socket in listener.incoming() {
                let mut socket = socket.unwrap();
                socket.set_read_timeout(Some(PATIENCE)).unwrap();
                socket.set_nodelay(true).unwrap();
                let (script, counted) = (Arc::clone(&script), Arc::clone(&counted));
                let mut session = ServerConnection::new(Arc::clone(&config)).unwrap();
                thread::spawn(move || {
                    while session.is_handshaking() {
                        if session.complete_io(&mut socket).is_err() {
                            return;
                        }
                    }
                    counted.fetch_add(1, Ordering::SeqCst);
                    script(StreamOwned::new(session, socket));
                });
            }
        });
        Server { port, shaken }
    }

    /// Clients that were content so far.
    pub(super) fn shaken(&self) -> usize {
        self.shaken.load(Ordering::SeqCst)
    }
}

/// An upstream that answers all requests of a connection with the bodies that came with them.
pub(super) fn echo() -> Server {
    Server::start("server.pem", |mut stream| {
        while let Some(head) = read_head(&mut stream) {
            let head = head.to_ascii_lowercase();
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length: "));
            let length: usize = length.map_or(0, |digits| digits.parse().unwrap());
            let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n");
            let mut body = vec![0; length];
            if stream.read_exact(&mut body).is_err()
                || stream.write_all(answer.as_bytes()).is_err()
                || stream.write_all(&body).is_err()
                || stream.flush().is_err()
            {
                return;
            }
        }
    })
}

/// Reads a head; none when the connection ends first.
pub(super) fn read_head(stream: &mut impl Read) -> Option<String> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    Some(String::from_utf8(head).unwrap())
}

fn config(certificate: &str) -> ServerConfig {
    let certificate = CertificateDer::from_pem_file(file(certificate)).unwrap();
    let key = PrivateKeyDer::from_pem_file(file("server.key")).unwrap();
    ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap()
}
