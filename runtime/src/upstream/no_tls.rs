//! What stands in for TLS in a build without the feature `tls`.

use std::net::TcpStream;
use std::path::PathBuf;

use smol::Async;

use super::UpstreamError;
use super::connection::Io;

pub(super) const AVAILABLE: bool = false;

/// Nothing.
pub(super) struct Tls;

impl Tls {
    pub(super) fn new(_roots: PathBuf) -> Tls {
        Tls
    }

    pub(super) async fn connect(
        &self,
        _host: &str,
        _stream: Async<TcpStream>,
    ) -> Result<Box<dyn Io>, UpstreamError> {
        Err(UpstreamError::NoTls)
    }
}
