//! What stands in for TLS in a build without the feature `tls`.

use std::net::TcpStream;
use std::path::PathBuf;

use smol::Async;

use super::io::Io;
use super::{UpstreamError, Upstreams};

pub(super) const AVAILABLE: bool = false;

/// Nothing.
pub(super) struct Tls;

impl Tls {
    pub(super) fn new(_roots: Option<PathBuf>) -> Tls {
        Tls
    }

    pub(super) async fn connect(
        &self,
        _upstreams: &Upstreams,
        _host: &str,
        _stream: Async<TcpStream>,
    ) -> Result<Box<dyn Io>, UpstreamError> {
        Err(UpstreamError::NoTls)
    }
}
