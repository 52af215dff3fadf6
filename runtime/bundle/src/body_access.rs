//! Whether the stages before a handler see bodies.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Whether the stages before the handler see a request's body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BodyAccess {
    /// If its length is announced and at most 16 KiB, which costs nothing of the memory that
    /// requests share: the client may be a stranger yet. Else it streams past them, and they see an
    /// empty one and `body` = `streamed` in the context.
    #[default]
    Auto,
    /// Always: those beyond the bound for bodies are refused with 413.
    Whole,
    /// Never.
    None,
}

impl FromStr for BodyAccess {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "auto" => Ok(BodyAccess::Auto),
            "whole" => Ok(BodyAccess::Whole),
            "none" => Ok(BodyAccess::None),
            _ => Err(format!(
                "'{}' is not one of auto, whole, none",
                name.escape_debug()
            )),
        }
    }
}

impl fmt::Display for BodyAccess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            BodyAccess::Auto => "auto",
            BodyAccess::Whole => "whole",
            BodyAccess::None => "none",
        })
    }
}
