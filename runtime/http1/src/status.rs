//! Status codes.

/// The usual words for a status code; empty for one that IANA's registry does not know.
#[must_use]
pub fn reason_phrase(status: u16) -> &'static str {
    match status {
        100 => "Continue",
        101 => "Switching Protocols",
        102 => "Processing",
        103 => "Early Hints",
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        203 => "Non-Authoritative Information",
        204 => "No Content",
        205 => "Reset Content",
        206 => "Partial Content",
        207 => "Multi-Status",
        208 => "Already Reported",
        226 => "IM Used",
        300 => "Multiple Choices",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        305 => "Use Proxy",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        402 => "Payment Required",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        407 => "Proxy Authentication Required",
        408 => "Request Timeout",
        409 => "Conflict",
        410 => "Gone",
        411 => "Length Required",
        412 => "Precondition Failed",
        413 => "Content Too Large",
        414 => "URI Too Long",
        415 => "Unsupported Media Type",
        416 => "Range Not Satisfiable",
        417 => "Expectation Failed",
        421 => "Misdirected Request",
        422 => "Unprocessable Content",
        423 => "Locked",
        424 => "Failed Dependency",
        425 => "Too Early",
        426 => "Upgrade Required",
        428 => "Precondition Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        451 => "Unavailable For Legal Reasons",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        506 => "Variant Also Negotiates",
        507 => "Insufficient Storage",
        508 => "Loop Detected",
        511 => "Network Authentication Required",
        _ => "",
    }
}

/// Whether a response with this status never has a body, whatever the request
/// (RFC 9110, 6.4.1): 1xx, 204 and 304.
#[must_use]
pub fn forbids_body(status: u16) -> bool {
    matches!(status, 100..=199 | 204 | 304)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_phrase_can_stand_in_a_status_line() {
        let known = (0..=u16::MAX).filter(|status| !reason_phrase(*status).is_empty());
        assert_eq!(known.clone().count(), 60);
        for status in known {
            assert!((100..600).contains(&status), "{status}");
            let phrase = reason_phrase(status);
            assert!(
                phrase
                    .bytes()
                    .all(|byte| byte.is_ascii_alphabetic() || b" -".contains(&byte)),
                "{phrase}"
            );
        }
        assert_eq!(reason_phrase(404), "Not Found");
    }

    #[test]
    fn interim_and_empty_responses_have_no_body() {
        let forbidding: Vec<_> = (0..=u16::MAX)
            .filter(|status| forbids_body(*status))
            .collect();
        let expected: Vec<_> = (100..200).chain([204, 304]).collect();
        assert_eq!(forbidding, expected);
    }
}
