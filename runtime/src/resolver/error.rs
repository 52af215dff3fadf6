//! Why a name was not found.

use std::fmt;
use std::sync::Arc;

use domain::base::iana::Rcode;

/// Bytes of the text of an error: two of the longest names, and who was asked.
const DETAIL_BYTES: usize = 800;

/// What kept a look-up from finding an address. Its text says what was asked of whom, and what
/// would mend it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolveError {
    /// What it comes down to.
    pub reason: ResolveFailure,
    /// What the name servers answered, if one did (RFC 1035 section 4.1.1).
    pub code: Option<Rcode>,
    detail: Arc<str>,
}

/// What a look-up without an address comes down to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ResolveFailure {
    /// This is no name at all (RFC 1035 section 2.3.4).
    NotAName,
    /// There is no such name, or it has no address.
    NotFound,
    /// The name servers answer that they cannot tell, or cannot be reached.
    ServersFail,
    /// The name servers did not answer in time.
    Timeout,
    /// Too many look-ups are under way.
    Busy,
}

impl ResolveError {
    /// A text that is longer than [`DETAIL_BYTES`] is cut: failures are kept.
    pub(super) fn new(reason: ResolveFailure, mut detail: String) -> ResolveError {
        if detail.len() > DETAIL_BYTES {
            detail.truncate(detail.floor_char_boundary(DETAIL_BYTES));
            detail.push_str(" …");
        }
        ResolveError {
            reason,
            code: None,
            detail: detail.into(),
        }
    }

    /// There is no such name.
    pub(super) fn no_such_name(detail: String) -> ResolveError {
        ResolveError::new(ResolveFailure::NotFound, detail).with_code(Some(Rcode::NXDOMAIN))
    }

    /// The same, with what the name servers answered.
    pub(super) fn with_code(self, code: Option<Rcode>) -> ResolveError {
        ResolveError { code, ..self }
    }
}

impl fmt::Display for ResolveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)
    }
}

impl std::error::Error for ResolveError {}
