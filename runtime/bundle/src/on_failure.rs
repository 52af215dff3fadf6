//! What becomes of requests when a stage fails.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What becomes of a request whose stage trapped, took too long or had no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnFailure {
    /// It goes on as if the stage were not there.
    Open,
    /// It is answered with 503.
    Closed,
}

impl FromStr for OnFailure {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "open" => Ok(OnFailure::Open),
            "closed" => Ok(OnFailure::Closed),
            _ => Err(format!(
                "'{}' is not one of open, closed",
                name.escape_debug()
            )),
        }
    }
}

impl fmt::Display for OnFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            OnFailure::Open => "open",
            OnFailure::Closed => "closed",
        })
    }
}
