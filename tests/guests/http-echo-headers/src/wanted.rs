//! What the query asks for. No host here: it is tested natively.

use support::percent_decoded;

/// `status=N`, `delay_ms=N` before the head, `pause_ms=N` in the middle of the
/// body, `bytes=N` instead of the text, `count=NAME` for a counter of its own,
/// `chunked` for no `content-length`, `revalidate` for 304 when `if-none-match`
/// is the `etag` that is asked for, and `h.NAME=VALUE` for any field of the
/// answer, as often as wanted, with `%XX` in its value.
pub(crate) struct Wanted {
    pub(crate) status: u16,
    pub(crate) delay_ms: u64,
    pub(crate) pause_ms: u64,
    pub(crate) bytes: Option<u64>,
    pub(crate) counter: String,
    pub(crate) chunked: bool,
    pub(crate) revalidate: bool,
    pub(crate) fields: Vec<(String, String)>,
}

impl Wanted {
    /// What is left out or is no number is as if it was not asked for.
    pub(crate) fn of(query: &str) -> Self {
        let text = |name: &str| support::field(query, name);
        let number = |name: &str| text(name).and_then(|digits| digits.parse().ok());
        let fields = query.split('&').filter_map(|pair| {
            let (name, value) = pair.strip_prefix("h.")?.split_once('=')?;
            Some((percent_decoded(name), percent_decoded(value)))
        });
        Self {
            status: text("status")
                .and_then(|digits| digits.parse().ok())
                .unwrap_or(200),
            delay_ms: number("delay_ms").unwrap_or(0),
            pause_ms: number("pause_ms").unwrap_or(0),
            bytes: number("bytes"),
            counter: text("count").unwrap_or("all").to_owned(),
            chunked: text("chunked").is_some(),
            revalidate: text("revalidate").is_some(),
            fields: fields.collect(),
        }
    }

    /// The validator that the answer is to carry.
    pub(crate) fn etag(&self) -> Option<&str> {
        let field = self.fields.iter().find(|(name, _)| name == "etag");
        field.map(|(_, value)| value.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_an_ordinary_answer() {
        let wanted = Wanted::of("");
        assert_eq!(
            (wanted.status, wanted.bytes, wanted.delay_ms),
            (200, None, 0)
        );
        assert_eq!(wanted.counter, "all");
        assert!(wanted.fields.is_empty() && !wanted.chunked && !wanted.revalidate);
    }

    #[test]
    fn fields_may_come_more_than_once() {
        let wanted =
            Wanted::of("h.etag=%22v1%22&revalidate&h.set-cookie=a=1&h.set-cookie=b&bytes=7");
        assert_eq!(wanted.etag(), Some("\"v1\""));
        assert_eq!((wanted.revalidate, wanted.bytes), (true, Some(7)));
        let cookies = wanted
            .fields
            .iter()
            .filter(|(name, _)| name == "set-cookie");
        let cookies: Vec<_> = cookies.map(|(_, value)| value.as_str()).collect();
        assert_eq!(cookies, ["a=1", "b"]);
    }
}
