//! Translates errors of HTTP into those of `wasi:http`, which plugins know.

use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;
use wasmtime_wasi_http::Error;
use zlayer_http1::ResponseError;

use crate::message::{Body, BodyError};
use crate::resolver::ResolveFailure;
use crate::upstream::UpstreamError;

/// Converts a body that a plugin writes into one for the layers that know nothing of plugins.
pub fn plugin_body(body: UnsyncBoxBody<bytes::Bytes, Error>) -> Body {
    // Such a body fails only if the plugin dropped it before its end.
    body.map_err(|error| BodyError::PluginGaveUp(error.to_string()))
        .boxed_unsync()
}

/// The error for a plugin that reads the body.
impl From<BodyError> for Error {
    fn from(error: BodyError) -> Error {
        match error {
            BodyError::ClientBrokeOff | BodyError::ClientTooLong | BodyError::UpstreamLost => {
                Error::ConnectionTerminated
            }
            BodyError::ClientMalformed(reason) | BodyError::BadTrailers(reason) => {
                Error::InternalError(Some(reason))
            }
            BodyError::UpstreamClosed => Error::HttpResponseIncomplete,
            BodyError::UpstreamMalformed | BodyError::PluginGaveUp(_) => Error::HttpProtocolError,
            BodyError::UpstreamStalled => Error::ConnectionReadTimeout,
            BodyError::OtherLength => Error::HttpRequestBodySize(None),
        }
    }
}

/// The error for a plugin that has sent a request.
impl From<UpstreamError> for Error {
    fn from(error: UpstreamError) -> Error {
        match error {
            UpstreamError::Denied(_) => Error::HttpRequestDenied,
            UpstreamError::Target(_) => Error::HttpRequestUriInvalid,
            // What was asked of whom is for the log alone: it names this device's name servers.
            UpstreamError::Name(error) if error.reason == ResolveFailure::NotAName => {
                Error::HttpRequestUriInvalid
            }
            UpstreamError::Name(error) => Error::DnsError {
                rcode: error.code.map(|code| code.to_string()),
                info_code: None,
            },
            UpstreamError::Refused(_) => Error::ConnectionRefused,
            UpstreamError::Unreachable(_) => Error::DestinationUnavailable,
            UpstreamError::Tls(_) => Error::TlsProtocolError,
            UpstreamError::Certificate(_) => Error::TlsCertificateError,
            UpstreamError::Request(_) => Error::HttpRequestUriInvalid,
            UpstreamError::RequestBody(error) => error.into(),
            UpstreamError::Malformed(
                ResponseError::HeadTooLong { .. } | ResponseError::TooManyHeaders { .. },
            ) => Error::HttpResponseHeaderSectionSize(None),
            UpstreamError::Malformed(_) | UpstreamError::Switched | UpstreamError::Expectation => {
                Error::HttpProtocolError
            }
            UpstreamError::BrokeOff(_) => Error::ConnectionTerminated,
            UpstreamError::Full(_)
            | UpstreamError::Share(_)
            | UpstreamError::NoMemory
            | UpstreamError::NamesBusy(_) => Error::ConnectionLimitReached,
            UpstreamError::NameTimeout(_) => Error::DnsTimeout,
            UpstreamError::ConnectTimeout => Error::ConnectionTimeout,
            UpstreamError::ResponseTimeout => Error::HttpResponseTimeout,
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_lite::future::block_on;
    use http_body::Frame;
    use http_body_util::StreamBody;

    use super::*;

    #[test]
    fn a_body_that_a_plugin_gives_up_is_known_as_that_and_told_as_that() {
        let frames: [Result<Frame<bytes::Bytes>, Error>; 1] = [Err(Error::HttpProtocolError)];
        let frames = futures_lite::stream::iter(frames);
        let mut body = plugin_body(StreamBody::new(frames).boxed_unsync());
        let Some(Err(error)) = block_on(body.frame()) else {
            panic!("it has not failed");
        };
        assert!(matches!(error, BodyError::PluginGaveUp(_)), "{error:?}");
        assert!(matches!(Error::from(error), Error::HttpProtocolError));
    }
}
