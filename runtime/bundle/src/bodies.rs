//! Which bodies a transformer takes.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Which bodies a transformer is called for. Those it is called for are held whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bodies {
    /// Of requests.
    pub request: bool,
    /// Of responses.
    pub response: bool,
}

impl Default for Bodies {
    fn default() -> Self {
        Bodies {
            request: true,
            response: true,
        }
    }
}

impl Bodies {
    /// How it is written in flags.
    pub fn name(self) -> &'static str {
        match (self.request, self.response) {
            (true, true) => "both",
            (true, false) => "request",
            (false, true) => "response",
            (false, false) => "none",
        }
    }
}

impl FromStr for Bodies {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let (request, response) = match name {
            "both" => (true, true),
            "request" => (true, false),
            "response" => (false, true),
            "none" => (false, false),
            other => {
                let other = other.escape_debug();
                return Err(format!(
                    "there is no '{other}' for bodies; write both, request, response or none"
                ));
            }
        };
        Ok(Bodies { request, response })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_go_both_ways() {
        for name in ["both", "request", "response", "none"] {
            assert_eq!(name.parse().map(Bodies::name), Ok(name));
        }
        let error = "\u{1b}all".parse::<Bodies>();
        assert!(error.is_err_and(|error| error.contains("none") && !error.contains('\u{1b}')));
    }
}
