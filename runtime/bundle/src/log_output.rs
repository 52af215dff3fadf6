//! Where the daemon's logs go.

use std::fmt;
use std::str::FromStr;

use crate::as_text::as_text;

/// Where the log goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogOutput {
    /// To standard error, as text; the default without a data folder.
    Text,
    /// To the ring in the data folder.
    Binary,
    /// To both; the default with a data folder.
    Both,
}

impl FromStr for LogOutput {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "text" => Ok(LogOutput::Text),
            "binary" => Ok(LogOutput::Binary),
            "both" => Ok(LogOutput::Both),
            _ => Err(format!("'{text}' is not one of text, binary, both")),
        }
    }
}

impl fmt::Display for LogOutput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            LogOutput::Text => "text",
            LogOutput::Binary => "binary",
            LogOutput::Both => "both",
        })
    }
}

as_text!(LogOutput);

/// Where the access log goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccessOutput {
    /// To standard output.
    Stdout,
    /// To the ring in the data folder.
    Ring,
    /// To both.
    Both,
}

impl FromStr for AccessOutput {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "stdout" => Ok(AccessOutput::Stdout),
            "ring" => Ok(AccessOutput::Ring),
            "both" => Ok(AccessOutput::Both),
            _ => Err(format!("'{text}' is not one of stdout, ring, both")),
        }
    }
}

impl fmt::Display for AccessOutput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            AccessOutput::Stdout => "stdout",
            AccessOutput::Ring => "ring",
            AccessOutput::Both => "both",
        })
    }
}

as_text!(AccessOutput);
