//! What the client's library says of an answer, as this tool tells it.

use std::error::Error as StdError;

use oci_client::errors::{DigestError, OciDistributionError, OciErrorCode};

use crate::proxy::went_nowhere;
use crate::registry::Asker;
use crate::{Error, Reference};

/// Characters of a registry's own words that are shown.
const MESSAGE_MAX: usize = 300;

/// What went wrong with a request about this reference.
pub(crate) fn explain(error: OciDistributionError, reference: &Reference, asker: &Asker) -> Error {
    let registry = reference.registry().to_owned();
    match error {
        OciDistributionError::UnauthorizedError { .. }
        | OciDistributionError::AuthenticationFailure(_) => unauthorized(registry, asker),
        OciDistributionError::ServerError { code, message, .. } => {
            of_status(code, &message, reference, asker)
        }
        OciDistributionError::RegistryError { envelope, .. } => {
            let said = envelope.to_string();
            let code = envelope.errors.first().map(|error| &error.code);
            match code {
                Some(OciErrorCode::Unauthorized) => unauthorized(registry, asker),
                Some(
                    OciErrorCode::ManifestUnknown
                    | OciErrorCode::NameUnknown
                    | OciErrorCode::BlobUnknown
                    | OciErrorCode::NotFound,
                ) => Error::NotFound(reference.to_string()),
                Some(OciErrorCode::Denied) => Error::Forbidden {
                    reference: reference.to_string(),
                    message: shown(&said),
                },
                _ => Error::Answer {
                    registry,
                    message: shown(&said),
                },
            }
        }
        OciDistributionError::DigestError(DigestError::VerificationError { expected, actual }) => {
            Error::Altered {
                reference: reference.to_string(),
                what: format!(
                    "what comes is {}, and should be {}",
                    shown(&actual),
                    shown(&expected)
                ),
            }
        }
        // An answer's status that came without its words.
        OciDistributionError::RequestError(error) if went_nowhere(&error) => {
            Error::WithoutTls(registry)
        }
        OciDistributionError::RequestError(error) => match error.status() {
            Some(status) => of_status(status.as_u16(), "", reference, asker),
            None => Error::Unreachable {
                registry,
                message: match asker.is_tls_on_loopback {
                    true => format!(
                        "{}; --plain-http lets registries on this machine do without TLS",
                        causes(&error)
                    ),
                    false => causes(&error),
                },
            },
        },
        OciDistributionError::IoError(source) => Error::File {
            what: "cannot read what is pushed".to_owned(),
            source,
        },
        other => Error::Answer {
            registry,
            message: shown(&causes(&other)),
        },
    }
}

fn of_status(code: u16, message: &str, reference: &Reference, asker: &Asker) -> Error {
    let message = shown(message);
    match code {
        401 => unauthorized(reference.registry().to_owned(), asker),
        403 => Error::Forbidden {
            reference: reference.to_string(),
            message,
        },
        404 => Error::NotFound(reference.to_string()),
        _ => Error::Answer {
            registry: reference.registry().to_owned(),
            message: match message.is_empty() {
                true => code.to_string(),
                false => format!("{code}, {message}"),
            },
        },
    }
}

fn unauthorized(registry: String, asker: &Asker) -> Error {
    Error::Unauthorized {
        registry,
        username: asker.username.clone(),
        note: asker.note.clone(),
    }
}

/// A registry's words, short and fit for a terminal. However many there are, only those that are shown are looked at.
pub(crate) fn shown(said: &str) -> String {
    let mut text = String::new();
    for word in said.split_whitespace() {
        if !text.is_empty() {
            text.push(' ');
        }
        text.extend(word.chars().take(MESSAGE_MAX + 1));
        if let Some((end, _)) = text.char_indices().nth(MESSAGE_MAX) {
            text.truncate(end);
            text += "..";
            break;
        }
    }
    text.escape_debug()
        .to_string()
        .replace("\\\"", "\"")
        .replace("\\'", "'")
}

/// An error with what caused it: the library's own words often end before the reason. Without addresses, which
/// may hold what opens them.
pub(crate) fn causes(error: &(dyn StdError + 'static)) -> String {
    let mut text = error.to_string();
    if let Some((before, rest)) = text.split_once(" for url (") {
        let after = rest.split_once(')').map_or("", |(_, after)| after);
        text = format!("{before}{after}");
    }
    let mut next = error.source();
    while let Some(cause) = next {
        let said = cause.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        next = cause.source();
    }
    text
}
