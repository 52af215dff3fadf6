//! How a failure ends the program: exit code, text and JSON.

use std::any::Any;
use std::fmt;

use serde_json::{Value, json};
use zlayer_bundle::{
    ArtifactError, BundleError, TrustListError, UnknownProfile, UnknownTarget, UnsupportedProfile,
};
use zlayer_precompile::Refused;

use crate::verbs::Outcome;

/// Arguments that make no sense together.
#[derive(Debug)]
pub(crate) struct Usage(pub(crate) String);

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}

/// What is wrong with a file that could be read, and what it says for all that.
#[derive(Debug)]
pub(crate) struct Amiss {
    pub(crate) shown: Outcome,
    pub(crate) error: anyhow::Error,
}

impl fmt::Display for Amiss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.error, f)
    }
}

impl std::error::Error for Amiss {}

/// A failure that is ready to be shown.
#[derive(Debug)]
pub(crate) struct Failure {
    /// What there is to show in front of it.
    shown: Option<Box<Outcome>>,
    code: u8,
    kind: &'static str,
    message: String,
    problems: Value,
}

impl Failure {
    /// Wrong usage.
    pub(crate) fn usage(message: &str) -> Failure {
        Failure {
            shown: None,
            code: 2,
            kind: "usage",
            message: message.to_owned(),
            problems: Value::Null,
        }
    }

    /// A panic, which is a fault in this program.
    pub(crate) fn internal(panic: &(dyn Any + Send)) -> Failure {
        let text = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| panic.downcast_ref::<&str>().copied())
            .unwrap_or("no message");
        let message = format!("a fault in this program or its compiler: {text}; please report it");
        Failure {
            shown: None,
            code: 3,
            kind: "internal",
            message,
            problems: Value::Null,
        }
    }

    /// The exit code.
    pub(crate) fn code(&self) -> u8 {
        self.code
    }

    /// The one object that `--json` prints.
    pub(crate) fn json(&self) -> Value {
        let mut error = json!({
            "code": self.code,
            "kind": self.kind,
            "message": self.message,
        });
        if !self.problems.is_null() {
            error["problems"] = self.problems.clone();
        }
        match self.shown.as_ref().map(|shown| &shown.json) {
            Some(Value::Object(shown)) => {
                let mut shown = shown.clone();
                shown.insert("error".to_owned(), error);
                Value::Object(shown)
            }
            _ => json!({ "error": error }),
        }
    }

    /// What there is to show in front of it, for people.
    pub(crate) fn shown(&self) -> &str {
        self.shown.as_ref().map_or("", |shown| &shown.text)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "zlayer-precompile: {}", self.message)
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Failure {
        let error = match error.downcast::<Amiss>() {
            Ok(Amiss { shown, error }) => {
                let failure = Failure::from(error);
                let shown = Some(Box::new(shown));
                return Failure { shown, ..failure };
            }
            Err(error) => error,
        };
        let message = format!("{error:#}");
        let causes = || error.chain();
        if let Some(refused) = causes().find_map(|cause| cause.downcast_ref::<Refused>()) {
            let problems = json!(refused.problems);
            return Failure {
                shown: None,
                code: 1,
                kind: "refused",
                message,
                problems,
            };
        }
        if let Some(artifact) = causes().find_map(|cause| cause.downcast_ref::<ArtifactError>()) {
            let code = artifact.exit_code();
            return Failure {
                shown: None,
                code,
                kind: "artifact",
                message,
                problems: Value::Null,
            };
        }
        if let Some(bundle) = causes().find_map(|cause| cause.downcast_ref::<BundleError>()) {
            let code = bundle.exit_code();
            return Failure {
                shown: None,
                code,
                kind: "bundle",
                message,
                problems: Value::Null,
            };
        }
        if let Some(list) = causes().find_map(|cause| cause.downcast_ref::<TrustListError>()) {
            return Failure {
                shown: None,
                code: list.exit_code(),
                kind: "trust list",
                message,
                problems: Value::Null,
            };
        }
        let is_usage = causes().any(|cause| {
            cause.is::<Usage>()
                || cause.is::<UnknownTarget>()
                || cause.is::<UnknownProfile>()
                || cause.is::<UnsupportedProfile>()
        });
        if is_usage {
            return Failure::usage(&message);
        }
        Failure {
            shown: None,
            code: 3,
            kind: "host",
            message,
            problems: Value::Null,
        }
    }
}
