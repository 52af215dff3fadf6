//! Why a request got no response from its plugin, and what the client is told about it.

use std::fmt;
use std::time::Duration;

use wasmtime::Trap;

use crate::redact;
use crate::stats::Outcome;

/// How many bytes are kept of a reason that a plugin gives in its own words.
pub const REASON_BYTES: usize = 2048;

/// Why a request failed. The log gets the whole reason, the client a status and the request's id.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Failure {
    /// The plugin trapped.
    Trap(String),
    /// The plugin trapped after it was refused memory.
    OutOfMemory(String),
    /// The plugin returned without having set a response.
    NoResponse,
    /// The plugin did not begin its response in time.
    Deadline,
    /// The same, and it waits for an upstream of this name that it has sent a request to itself.
    WaitedForUpstream(String),
    /// The call took longer than its plugin's calls may.
    CallDeadline {
        /// How long they may take.
        time: Duration,
        /// The name of the upstream that the plugin waits for, if it has sent a request itself.
        upstream: Option<String>,
    },
    /// The response had begun, then nothing of it moved for too long.
    Stalled,
    /// The plugin said that it failed.
    PluginError(String),
    /// The plugin's response is not valid HTTP.
    BadResponse(String),
    /// Every handler passed the request through, or there is none for its path.
    PassThrough,
    /// The daemon serves no deployment at the moment, for this reason.
    NothingServed(String),
    /// The plugin's `init` failed.
    InitFailed(String),
    /// Memory or instances are used up at the moment; a later request may succeed.
    Busy(String),
    /// The request's body is longer than this limit in bytes, which holds for typed plugins.
    BodyTooLarge(usize),
    /// A response's body is one that a transformer was to see and cannot be shown.
    Unshowable(String),
    /// The request's body has this content coding, and a transformer was to see it.
    EncodedBody(String),
    /// The client's body broke off or is malformed.
    BadBody(String),
    /// The client stopped sending its body.
    SlowBody,
    /// The client has more than its share of the connections, instances or memory, and another one
    /// needed some of it.
    Displaced,
    /// The deployment that the request has begun in makes way for another, and waits for it no longer.
    Ended,
    /// The contract has no case for this method.
    Method(String),
    /// The request has passed through this daemon that many times already: it goes in a loop.
    Loop(usize),
    /// A stage before or after the handler failed, and the request could not go on without it.
    Stage {
        /// The stage's name, as the status shows it.
        step: &'static str,
        /// The plugin's name.
        plugin: String,
        /// How the stage failed.
        cause: Box<Failure>,
        /// It is the fault of the stage's plugin, and counted as that. Otherwise it is that of whoever made what the
        /// stage was to see.
        is_counted: bool,
    },
    /// An upstream cannot be reached, or its response is not valid HTTP or broke off.
    BadGateway(String),
    /// There are no connections or no memory left for upstreams.
    UpstreamBusy(String),
    /// An upstream did not accept the connection or did not respond in time.
    GatewayTimeout(String),
}

/// The engine's words for an error, without its description of the frames on the stack.
pub fn engine_words(error: &wasmtime::Error) -> String {
    /// How that description begins.
    const FRAMES: &str = "error while executing at wasm backtrace:";
    let chain = error.chain().map(ToString::to_string);
    let words: Vec<_> = chain.filter(|words| !words.starts_with(FRAMES)).collect();
    words.join(": ")
}

impl Failure {
    /// Makes a failure of a trap, described by its root cause.
    pub fn trap(error: wasmtime::Error) -> Failure {
        match error.downcast_ref::<Trap>() {
            Some(trap) => Failure::Trap(trap.to_string()),
            None => Failure::Trap(engine_words(&error)),
        }
    }

    /// Makes a failure of the reason that a plugin gave, cut to what a log record should hold.
    pub fn plugin_error(reason: &str) -> Failure {
        Failure::PluginError(redact::cut(reason, REASON_BYTES).into_owned())
    }

    /// The same of an error code, whose texts may be long and grow when they are escaped.
    pub fn plugin_code(code: &impl fmt::Debug) -> Failure {
        struct Beginning(String);
        impl fmt::Write for Beginning {
            fn write_str(&mut self, text: &str) -> fmt::Result {
                let room = (2 * REASON_BYTES).saturating_sub(self.0.len());
                self.0.push_str(&text[..text.floor_char_boundary(room)]);
                // An error ends the formatting.
                (text.len() <= room).then_some(()).ok_or(fmt::Error)
            }
        }
        let mut shown = Beginning(String::new());
        let written = fmt::Write::write_fmt(&mut shown, format_args!("{code:?}"));
        let Beginning(mut shown) = shown;
        if written.is_err() {
            // What may be half of a secret would not be recognised as one.
            let half = redact::unfinished(shown.as_bytes());
            shown.truncate(shown.floor_char_boundary(shown.len() - half));
        }
        Failure::plugin_error(&shown)
    }

    /// The memory that is set aside for whole bodies is used up.
    pub fn no_memory_for_body() -> Failure {
        let reason = "there is no memory for the body (--memory-max, of which bodies have a part)";
        Failure::Busy(reason.to_owned())
    }

    /// A response whose body broke off, or is not as long as its head announced.
    pub fn broken_body() -> Failure {
        Failure::BadResponse("its body broke off or has another length than announced".to_owned())
    }

    /// A plugin's response has a body of more than `limit` bytes.
    pub fn response_body_too_long(limit: usize) -> Failure {
        Failure::BadResponse(format!("a body of more than {limit} bytes (--max-body)"))
    }

    /// A plugin returned so much data that the engine refused to copy it out of the plugin's
    /// memory.
    pub fn handed_over_too_much(body_max: usize, most: usize) -> Failure {
        Failure::BadResponse(format!(
            "a body of more than {body_max} bytes (--max-body), or more than {most} bytes with all else"
        ))
    }

    /// The upstream `name` did not begin its response within the time of a request.
    pub fn late_upstream(name: &str, time: Duration) -> Failure {
        Failure::GatewayTimeout(format!(
            "upstream {name}: it did not answer within {time:?} (--timeout request)"
        ))
    }

    /// Puts the blame on the upstream `name` where a response that is not valid HTTP came from
    /// there and not from a plugin.
    pub fn of_upstream(self, name: &str) -> Failure {
        match self {
            Failure::BadResponse(reason) => Failure::BadGateway(format!(
                "upstream {name}: its answer is not valid HTTP: {reason}"
            )),
            other => other,
        }
    }

    /// The status code of the response that tells the client of this failure.
    pub fn status(&self) -> u16 {
        match self {
            Failure::Trap(_) | Failure::OutOfMemory(_) | Failure::NoResponse => 500,
            Failure::Deadline
            | Failure::WaitedForUpstream(_)
            | Failure::CallDeadline { .. }
            | Failure::Stalled
            | Failure::GatewayTimeout(_) => 504,
            Failure::PluginError(_) | Failure::BadResponse(_) | Failure::BadGateway(_) => 502,
            Failure::PassThrough => 404,
            Failure::InitFailed(_)
            | Failure::Busy(_)
            | Failure::Displaced
            | Failure::Ended
            | Failure::NothingServed(_)
            | Failure::UpstreamBusy(_) => 503,
            Failure::Unshowable(_) => 502,
            Failure::EncodedBody(_) => 415,
            Failure::BodyTooLarge(_) => 413,
            Failure::BadBody(_) => 400,
            Failure::SlowBody => 408,
            Failure::Method(_) => 501,
            // RFC 5842 section 7.2.
            Failure::Loop(_) => 508,
            // A response that is not HTTP is the plugin's mistake; after any other failure the
            // stage is out of service.
            Failure::Stage { cause, .. } => match &**cause {
                Failure::BadResponse(_) | Failure::Unshowable(_) => 502,
                _ => 503,
            },
        }
    }

    /// The outcome under which the failed request is counted.
    pub fn outcome(&self) -> Outcome {
        match self {
            Failure::Trap(_) => Outcome::Trap,
            Failure::OutOfMemory(_) => Outcome::OutOfMemory,
            Failure::Deadline
            | Failure::WaitedForUpstream(_)
            | Failure::CallDeadline { .. }
            | Failure::Stalled => Outcome::Deadline,
            Failure::PluginError(_) => Outcome::PluginError,
            Failure::NoResponse | Failure::BadResponse(_) | Failure::Unshowable(_) => {
                Outcome::BadResponse
            }
            Failure::PassThrough | Failure::NothingServed(_) => Outcome::NotHandled,
            Failure::InitFailed(_) => Outcome::InitFailed,
            Failure::Busy(_) | Failure::Displaced | Failure::Ended => Outcome::Busy,
            Failure::BadGateway(_) | Failure::UpstreamBusy(_) | Failure::GatewayTimeout(_) => {
                Outcome::Upstream
            }
            Failure::BodyTooLarge(_)
            | Failure::EncodedBody(_)
            | Failure::BadBody(_)
            | Failure::SlowBody
            | Failure::Loop(_)
            | Failure::Method(_) => Outcome::Client,
            Failure::Stage { cause, .. } => cause.outcome(),
        }
    }

    /// Whether a plugin was late by itself: it waits for no upstream, and the client has not left an answer lying.
    pub fn is_own_delay(&self) -> bool {
        match self {
            Failure::Deadline | Failure::CallDeadline { upstream: None, .. } => true,
            Failure::Stage { cause, .. } => cause.is_own_delay(),
            _ => false,
        }
    }

    /// Whether it is counted already, as the fault of a stage's plugin.
    pub fn is_counted(&self) -> bool {
        matches!(
            self,
            Failure::Stage {
                is_counted: true,
                ..
            }
        )
    }

    /// Whether the client is at fault, and neither a plugin nor the device.
    pub fn is_clients(&self) -> bool {
        (400..500).contains(&self.status())
            || matches!(self, Failure::Method(_) | Failure::Displaced)
    }

    /// The text for the client: the request's id, and the reason where the client can mend it, or where
    /// nobody else may look.
    pub fn public_text(&self, id: &str) -> String {
        match self.is_clients() || matches!(self, Failure::NothingServed(_) | Failure::Ended) {
            true => format!("{self}\nrequest {id}"),
            false => format!("request {id}"),
        }
    }

    /// The value of Accept-Encoding, where the client can try again with another coding (RFC 9110
    /// section 15.5.16).
    pub fn accepted_codings(&self) -> Option<&'static str> {
        (self.status() == 415).then_some("identity")
    }

    /// The value of Retry-After in seconds, where trying again may help.
    pub fn retry_after(&self) -> Option<&'static str> {
        (self.status() == 503).then_some("1")
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Trap(reason) => write!(f, "trap: {reason}"),
            Failure::OutOfMemory(reason) => write!(f, "out of memory: {reason}"),
            Failure::NoResponse => f.write_str("the plugin returned without an answer"),
            Failure::Deadline => {
                f.write_str("the plugin did not answer in time (--timeout request)")
            }
            Failure::WaitedForUpstream(name) => write!(
                f,
                "the plugin did not answer in time (--timeout request): it waits for the upstream {name}"
            ),
            Failure::CallDeadline { time, upstream } => {
                write!(
                    f,
                    "the plugin did not answer within {time:?} (request_timeout)"
                )?;
                match upstream {
                    Some(name) => write!(f, ": it waits for the upstream {name}"),
                    None => Ok(()),
                }
            }
            Failure::Displaced => f.write_str(
                "others needed what this client has more of than its share; try again later",
            ),
            Failure::Ended => {
                f.write_str("the deployment that this request began in has ended; try again")
            }
            Failure::SlowBody => f.write_str("the body did not come in time"),
            Failure::Stalled => {
                f.write_str("nothing of the response moved for too long (--timeout stall)")
            }
            Failure::PluginError(reason) => write!(f, "the plugin returned an error: {reason}"),
            Failure::BadResponse(reason) => {
                write!(f, "the plugin's answer is not valid HTTP: {reason}")
            }
            Failure::PassThrough => f.write_str("no plugin handles this request"),
            Failure::NothingServed(why) => write!(f, "this device serves nothing: {why}"),
            Failure::InitFailed(reason) => write!(f, "init failed: {reason}"),
            Failure::Busy(reason) => write!(f, "busy: {reason}"),
            Failure::BadGateway(reason)
            | Failure::UpstreamBusy(reason)
            | Failure::GatewayTimeout(reason) => f.write_str(reason),
            Failure::Unshowable(reason) => f.write_str(reason),
            Failure::EncodedBody(coding) => write!(
                f,
                "the body is encoded ({coding}); send it without Content-Encoding"
            ),
            Failure::BodyTooLarge(limit) => write!(f, "the body is longer than {limit} bytes"),
            Failure::BadBody(reason) => write!(f, "the body cannot be read: {reason}"),
            Failure::Loop(times) => write!(
                f,
                "the request came by this daemon {times} times before; an upstream or a plugin's request leads back here"
            ),
            Failure::Method(method) => {
                write!(f, "the method {method} is not known to typed plugins")
            }
            Failure::Stage {
                step,
                plugin,
                cause,
                ..
            } => write!(f, "{step} by plugin {plugin}: {cause}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_code_only_the_beginning_is_written_down() {
        let long = Failure::plugin_code(&("Code", "\u{1}".repeat(4 << 20)));
        let Failure::PluginError(told) = &long else {
            panic!("{long}");
        };
        assert!(told.starts_with(r#"("Code", "\u{1}\u{1}"#), "{told}");
        assert_eq!(told.len(), REASON_BYTES);
        let short = Failure::plugin_code(&Some(7));
        assert!(matches!(short, Failure::PluginError(told) if told == "Some(7)"));
    }
}
