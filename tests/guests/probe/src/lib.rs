//! What the probes share: one component with both roles, one answer for either.
//!
//! A probe asserts from inside what the contract says of one host interface. The
//! same code answers as a typed handler and, below `/http/`, as a plain
//! `wasi:http` handler: the typed role passes those paths through. A probe that
//! does not call an interface does not import it.

wit_bindgen::generate!({
    path: "../../../wit",
    inline: "
        package zlayer-tests:probe;

        /// Every host interface, and both roles that answer requests.
        world probe {
            include zlayer:plugin/zlayer-plugin@0.1.0;
            export wasi:http/incoming-handler@0.2.12;
        }
    ",
    world: "zlayer-tests:probe/probe",
    generate_all,
    pub_export_macro: true,
    default_bindings_module: "probe",
});

mod checks;
mod http_role;
mod typed_role;

pub use checks::Checks;
pub use exports::zlayer::plugin::handler::Capabilities;
pub use support::field;

/// A plugin that checks one interface.
pub trait Probe {
    /// The name of its package.
    const NAME: &'static str;
    /// What its `init` asks for.
    const CAPABILITIES: Capabilities;

    /// Answers a request, or fails as a handler can.
    fn answer(ask: &Ask) -> Result<Answer, String>;
}

/// A request, whichever role it came to.
pub struct Ask {
    /// Without the `/http` of the second role.
    pub path: String,
    /// Empty when there is none.
    pub query: String,
    /// The request's id; the second role is not told it.
    pub request_id: Option<String>,
}

impl Ask {
    /// What a probe says that has nothing at this path.
    pub fn unknown(&self) -> Result<Answer, String> {
        Err(format!("nothing at {}", self.path))
    }

    /// The number in the query's field `name`, or `default`.
    pub fn number(&self, name: &str, default: u64) -> u64 {
        field(&self.query, name)
            .and_then(|text| text.parse().ok())
            .unwrap_or(default)
    }
}

/// An answer, whichever role gives it.
pub struct Answer {
    pub status: u16,
    pub body: String,
}

impl Answer {
    /// 200 with this text.
    pub fn text(body: impl Into<String>) -> Result<Self, String> {
        Ok(Self {
            status: 200,
            body: body.into(),
        })
    }
}

/// Key and value pairs as the contract's record.
pub fn fields(pairs: &[(&str, &str)]) -> Vec<zlayer::plugin::common::KeyValue> {
    pairs
        .iter()
        .map(|(key, value)| zlayer::plugin::common::KeyValue {
            key: key.to_string(),
            value: value.to_string(),
        })
        .collect()
}

/// Blocks for a length of time in nanoseconds.
pub fn pause(nanoseconds: u64) {
    wasi::clocks::monotonic_clock::subscribe_duration(nanoseconds).block();
}

/// Nanoseconds on a clock that only goes forward.
pub fn now() -> u64 {
    wasi::clocks::monotonic_clock::now()
}
