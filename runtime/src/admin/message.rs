//! What is asked for and answered, as far as the admin interface looks at it.

use super::json::Json;

/// What is asked for.
pub(super) struct Request {
    pub(super) path: String,
    pub(super) query: Option<String>,
    /// What came with a POST.
    pub(super) body: Vec<u8>,
    pub(super) is_post: bool,
    pub(super) is_head: bool,
}

/// What to answer.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) content_type: &'static str,
    pub(super) body: String,
    /// Whether the daemon is well, for answers that tell of it.
    pub(super) healthy: Option<bool>,
    pub(super) is_head: bool,
    /// The methods that there are, for answers that refuse one.
    pub(super) allow: Option<&'static str>,
}

impl Answer {
    pub(super) fn new(status: u16, content_type: &'static str, body: String) -> Answer {
        Answer {
            status,
            content_type,
            body,
            healthy: None,
            is_head: false,
            allow: None,
        }
    }

    pub(super) fn text(status: u16, text: &str) -> Answer {
        Answer::new(status, TEXT, format!("{text}\n"))
    }

    pub(super) fn json(json: Json) -> Answer {
        Answer::new(200, JSON, json.finish())
    }
}

pub(super) const TEXT: &str = "text/plain; charset=utf-8";
pub(super) const JSON: &str = "application/json";
