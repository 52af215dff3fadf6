//! What is agreed on about compression (RFC 7692, 7.1).

use super::handshake::all;
use crate::headers::{list_elements, trim_blanks};

/// Compression of messages as a client offered it and a server took it: permessage-deflate.
///
/// Neither side takes over from one message to the next, so that a connection holds the memory for
/// compressing and inflating only while a message goes through it, and an idle one holds none;
/// RFC 7692, 7.1.1 lets the server say both unasked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deflate {
    /// None: the client did not ask for less than 15.
    server_bits: Option<u8>,
}

impl Deflate {
    /// Takes the first offer in a request's header fields that can be met; `None` if there is none,
    /// and then nothing is agreed on and nothing compressed.
    #[must_use]
    pub fn negotiate(headers: &[(&str, &[u8])]) -> Option<Self> {
        all(headers, "sec-websocket-extensions")
            .flat_map(list_elements)
            .find_map(read_offer)
    }

    /// The value of Sec-WebSocket-Extensions for the response.
    #[must_use]
    pub fn accepted(&self) -> String {
        const NO_TAKEOVER: &str =
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
        match self.server_bits {
            None => NO_TAKEOVER.to_owned(),
            Some(bits) => format!("{NO_TAKEOVER}; server_max_window_bits={bits}"),
        }
    }

    /// How far back the server's messages may refer: 2 to the power of this, 8 to 15.
    #[must_use]
    pub fn server_window_bits(&self) -> u8 {
        self.server_bits.unwrap_or(15)
    }
}

/// RFC 7692, 7.1: an offer with a parameter that is unknown, wrong or repeated is declined.
fn read_offer(offer: &[u8]) -> Option<Deflate> {
    let mut parts = offer.split(|byte| *byte == b';').map(trim_blanks);
    if !parts.next()?.eq_ignore_ascii_case(b"permessage-deflate") {
        return None;
    }
    let mut agreed = Deflate { server_bits: None };
    // Each at most once. What the first two ask for holds in any case.
    let (mut of_server, mut of_client, mut client_bits) = (false, false, false);
    for part in parts {
        let mut halves = part.splitn(2, |byte| *byte == b'=').map(trim_blanks);
        let name = halves.next()?.to_ascii_lowercase();
        let fresh = match (name.as_slice(), halves.next()) {
            (b"server_no_context_takeover", None) => !std::mem::replace(&mut of_server, true),
            (b"client_no_context_takeover", None) => !std::mem::replace(&mut of_client, true),
            (b"server_max_window_bits", Some(bits)) => {
                agreed.server_bits.replace(read_bits(bits)?).is_none()
            }
            // Both kinds are a leave to ask the client for less. Nothing is asked for.
            (b"client_max_window_bits", bits) => {
                if let Some(bits) = bits {
                    read_bits(bits)?;
                }
                !std::mem::replace(&mut client_bits, true)
            }
            _ => return None,
        };
        if !fresh {
            return None;
        }
    }
    Some(agreed)
}

/// 8 to 15 without a leading zero (RFC 7692, 7.1.2.1), maybe quoted (RFC 6455, 9.1).
fn read_bits(text: &[u8]) -> Option<u8> {
    let text = match text {
        [b'"', inner @ .., b'"'] => inner,
        text => text,
    };
    match text {
        [digit @ (b'8' | b'9')] => Some(digit - b'0'),
        [b'1', digit @ b'0'..=b'5'] => Some(10 + digit - b'0'),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepted(offers: &[&str]) -> Option<String> {
        let headers: Vec<_> = offers
            .iter()
            .map(|offer| ("Sec-WebSocket-Extensions", offer.as_bytes()))
            .collect();
        Deflate::negotiate(&headers).map(|agreed| agreed.accepted())
    }

    #[test]
    fn offers_that_can_be_met_are_accepted() {
        for (offer, more) in [
            ("permessage-deflate", ""),
            ("permessage-deflate; client_max_window_bits", ""),
            ("Permessage-Deflate ; client_max_window_bits=10", ""),
            ("permessage-deflate; server_no_context_takeover", ""),
            ("permessage-deflate;client_no_context_takeover", ""),
            (
                "permessage-deflate; server_max_window_bits=9",
                "; server_max_window_bits=9",
            ),
            (
                "permessage-deflate; server_max_window_bits=\"15\"",
                "; server_max_window_bits=15",
            ),
        ] {
            let expected = format!(
                "permessage-deflate; server_no_context_takeover; client_no_context_takeover{more}"
            );
            assert_eq!(accepted(&[offer]), Some(expected), "{offer}");
        }
    }

    #[test]
    fn other_offers_are_declined_and_the_next_is_taken() {
        let wrong = [
            "x-webkit-deflate-frame",
            "permessage-deflate; unknown",
            "permessage-deflate; server_no_context_takeover=1",
            "permessage-deflate; server_no_context_takeover; server_no_context_takeover",
            "permessage-deflate; client_no_context_takeover; client_no_context_takeover",
            "permessage-deflate; server_max_window_bits",
            "permessage-deflate; server_max_window_bits=7",
            "permessage-deflate; server_max_window_bits=08",
            "permessage-deflate; server_max_window_bits=16",
            "permessage-deflate; server_max_window_bits=9; server_max_window_bits=9",
            "permessage-deflate; client_max_window_bits=99",
            "permessage-deflate; client_max_window_bits; client_max_window_bits=10",
            "permessage-deflate;",
            "",
        ];
        for offer in wrong {
            assert_eq!(accepted(&[offer]), None, "{offer}");
        }
        let good = "permessage-deflate; server_max_window_bits=10";
        let both = format!("{}, {good}, permessage-deflate", wrong[1]);
        assert_eq!(accepted(&[&both]), accepted(&[good]));
        assert_eq!(accepted(&wrong), None);
        assert_eq!(accepted(&[wrong[0], good]), accepted(&[good]));
    }
}
