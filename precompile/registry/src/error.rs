//! What can be wrong with a registry, or with what it holds.

use std::fmt;

/// What can be wrong with a registry, or with what it holds.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// A text that is no reference.
    NotAReference {
        /// The text, fit for a terminal.
        text: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Plain HTTP was asked for, to another machine.
    PlainHttp(String),
    /// The registry leads to an address without TLS.
    WithoutTls(String),
    /// The registry wants to know who asks, or does not believe it.
    Unauthorized {
        /// The registry.
        registry: String,
        /// Whose password was shown.
        username: Option<String>,
        /// Why no password was found, where there is more to say.
        note: Option<String>,
    },
    /// It knows who asks, and says no.
    Forbidden {
        /// What was asked for.
        reference: String,
        /// What it says.
        message: String,
    },
    /// There is nothing of that name.
    NotFound(String),
    /// Credentials that were named and cannot be used.
    Credentials(String),
    /// What came is not what its digest says.
    Altered {
        /// What was asked for.
        reference: String,
        /// What is wrong.
        what: String,
    },
    /// It is something, and nothing for this tool.
    Foreign {
        /// What was asked for.
        reference: String,
        /// What it is.
        what: String,
    },
    /// There is nothing for this platform.
    NoPlatform {
        /// What was asked for.
        reference: String,
        /// The platform.
        wanted: String,
        /// What there is.
        found: Vec<String>,
    },
    /// The registry answers with an error, or not as a registry does.
    Answer {
        /// The registry.
        registry: String,
        /// What it says.
        message: String,
    },
    /// It answers without end.
    TooLarge {
        /// The registry, or whom it named.
        registry: String,
        /// The most memory that an answer may take, in bytes.
        most: u64,
    },
    /// Nobody answers, or the connection ends early.
    Unreachable {
        /// The registry.
        registry: String,
        /// Why.
        message: String,
    },
    /// A file on this side.
    File {
        /// What was done, and to which file.
        what: String,
        /// Why it failed.
        source: std::io::Error,
    },
}

impl Error {
    /// Whether trying again is of no use: what was asked for, or who asked, is refused.
    pub fn is_refusal(&self) -> bool {
        !matches!(
            self,
            Error::Answer { .. } | Error::Unreachable { .. } | Error::File { .. }
        )
    }

    /// What would mend it; empty where the message says so itself.
    pub fn mend(&self) -> &'static str {
        match self {
            Error::NotAReference { .. } => {
                "write REGISTRY/NAME:TAG, such as ghcr.io/myorg/handler:v1, or docker.io/myorg/handler:v1 for \
                 Docker Hub; a file begins with ./ or ends in .wasm"
            }
            Error::PlainHttp(_) => {
                "--plain-http is for registries on this machine (localhost, 127.0.0.1); give the registry a \
                 certificate"
            }
            Error::WithoutTls(_) => {
                "whoever runs the registry has to give these an address with https://"
            }
            Error::Unauthorized { username: None, .. } => {
                "say who you are: --username NAME --password-file FILE, the variables ZLAYER_REGISTRY, \
                 ZLAYER_REGISTRY_USERNAME and ZLAYER_REGISTRY_PASSWORD, or `auths` in docker's config.json"
            }
            Error::Unauthorized { .. } => "check the name and the password",
            Error::NotFound(_) => "check the name and the tag",
            Error::Altered { .. } => {
                "nothing was kept; pull it again, and if it stays so, have it pushed again"
            }
            Error::NoPlatform { .. } => {
                "say which one with --target x86_64 (linux/amd64), aarch64 (linux/arm64) or armv7 \
                 (linux/arm/v7), or push that one, too"
            }
            _ => "",
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::NotAReference { text, reason } => {
                write!(f, "'{text}' is no reference to a registry: {reason}")
            }
            Error::PlainHttp(registry) => {
                write!(
                    f,
                    "{registry} is another machine, and plain HTTP is for this one alone"
                )
            }
            Error::WithoutTls(registry) => write!(
                f,
                "{registry} names a token service, or a place for files, without TLS (http://); nothing was sent \
                 there"
            ),
            Error::Unauthorized {
                registry,
                username,
                note,
            } => {
                match username {
                    Some(name) => write!(f, "{registry} refuses the password of '{name}' (401)")?,
                    None => write!(f, "{registry} wants a password (401)")?,
                }
                match note {
                    Some(note) => write!(f, "; {note}"),
                    None => Ok(()),
                }
            }
            Error::Forbidden { reference, message } => {
                write!(f, "{reference} is not for this account (403): {message}")
            }
            Error::NotFound(what) => write!(f, "{what} is not there (404)"),
            Error::Credentials(what) => f.write_str(what),
            Error::Altered { reference, what } => write!(f, "{reference}: {what}"),
            Error::Foreign { reference, what } => write!(f, "{reference} is {what}"),
            Error::NoPlatform {
                reference,
                wanted,
                found,
            } => {
                let found = match found.is_empty() {
                    true => "nothing for any platform".to_owned(),
                    false => found.join(", "),
                };
                write!(f, "{reference} has nothing for {wanted}; there is {found}")
            }
            Error::Answer { registry, message } => write!(f, "{registry} answers: {message}"),
            Error::TooLarge { registry, most } => write!(
                f,
                "{registry}, or where it leads to, answers with more than {} MiB where no file was asked for: \
                 that is the most, and the rest was not read",
                most >> 20
            ),
            Error::Unreachable { registry, message } => {
                write!(f, "cannot speak with {registry}: {message}")
            }
            Error::File { what, source } => write!(f, "{what}: {source}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            // Its text is told already.
            Error::File { source, .. } => source.source(),
            _ => None,
        }
    }
}
