use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned, SupportedProtocolVersion,
};

use super::source;
use crate::support::{Daemon, PATIENCE};

/// A connection on which hands were shaken.
pub(crate) type Stream = StreamOwned<ClientConnection, TcpStream>;

/// A response, as far as these tests look at it.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
}

impl Told {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// A client that trusts the authority of the tests, and speaks these versions.
pub(crate) fn config(versions: &[&'static SupportedProtocolVersion]) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    let authority = CertificateDer::from_pem_file(source("ca.pem")).unwrap();
    roots.add(authority).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    Arc::new(config)
}

pub(crate) fn any_version() -> Arc<ClientConfig> {
    config(rustls::ALL_VERSIONS)
}

/// Shakes hands, asking for `name`.
pub(crate) fn connect(
    daemon: &Daemon,
    name: &str,
    config: &Arc<ClientConfig>,
) -> Result<Stream, String> {
    begin(TcpStream::connect(daemon.https()).unwrap(), name, config)
}

/// The same on a connection on which something may have been said before.
pub(crate) fn begin(
    mut socket: TcpStream,
    name: &str,
    config: &Arc<ClientConfig>,
) -> Result<Stream, String> {
    socket.set_nodelay(true).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.set_write_timeout(Some(PATIENCE)).unwrap();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut session = ClientConnection::new(Arc::clone(config), name).unwrap();
    while session.is_handshaking() {
        session
            .complete_io(&mut socket)
            .map_err(|error| error.to_string())?;
    }
    Ok(StreamOwned::new(session, socket))
}

/// A GET over a connection of its own.
pub(crate) fn get(daemon: &Daemon, path: &str) -> Told {
    ask(daemon, path, "")
}

/// A GET with more lines in its head.
pub(crate) fn ask(daemon: &Daemon, path: &str, lines: &str) -> Told {
    let mut stream = connect(daemon, "localhost", &any_version()).unwrap();
    let head = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n{lines}\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    read_response(&mut stream)
}

/// Reads a response by its framing.
pub(crate) fn read_response(stream: &mut impl Read) -> Told {
    let head = read_until(stream, b"\r\n\r\n");
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let mut body = Vec::new();
    let field = |name: &str| {
        let mut lines = head.lines();
        lines.find_map(|line| Some(line.to_ascii_lowercase().strip_prefix(name)?.to_owned()))
    };
    if let Some(length) = field("content-length: ") {
        body.resize(length.parse().unwrap(), 0);
        stream.read_exact(&mut body).unwrap();
    } else if field("transfer-encoding: chunked").is_some() {
        loop {
            let line = read_until(stream, b"\r\n");
            let size = usize::from_str_radix(line.trim_end(), 16).unwrap();
            let mut chunk = vec![0; size + 2];
            stream.read_exact(&mut chunk).unwrap();
            if size == 0 {
                break;
            }
            body.extend_from_slice(&chunk[..size]);
        }
    }
    Told { status, body }
}

fn read_until(stream: &mut impl Read, end: &[u8]) -> String {
    let mut bytes = Vec::new();
    let mut byte = [0];
    while !bytes.ends_with(end) {
        let shown = String::from_utf8_lossy(&bytes).into_owned();
        let read = stream.read_exact(&mut byte);
        read.unwrap_or_else(|error| panic!("{error} behind {shown:?}"));
        bytes.push(byte[0]);
    }
    String::from_utf8(bytes).unwrap()
}
