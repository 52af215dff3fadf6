//! Reads what a daemon answers to `zlayer status` and `zlayer purge`.

use std::io;

/// An answer that is good.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) body: String,
    /// Whether the daemon is well, if it says so.
    pub(super) healthy: Option<bool>,
}

/// What came of a change of what a daemon serves: its words, or the exit code and the words of its refusal.
pub(super) type Outcome = Result<String, (u8, String)>;

/// Reads the response to a change: see [`read`].
///
/// # Errors
///
/// It is no whole response of a daemon's.
pub(super) fn read_change(response: &str) -> io::Result<Outcome> {
    let head = response.split_once("\r\n\r\n").map_or("", |(head, _)| head);
    let mut lines = head.split("\r\n").filter_map(|line| line.split_once(": "));
    let code = lines.find(|(name, _)| name.eq_ignore_ascii_case("zlayer-exit-code"));
    match code.and_then(|(_, code)| code.parse().ok()) {
        None => Ok(Ok(read(response)?.body)),
        Some(code) => {
            let body = response[head.len()..].trim();
            Ok(Err((code, zlayer_binlog::lines(body).into_owned())))
        }
    }
}

/// Reads a response of this program's own server, which announces its length and sends no chunks.
/// Who knows what answered there: the words of a refusal are cleaned here, and those of a page by
/// whoever shows them.
///
/// # Errors
///
/// It is a refusal, or no whole response.
pub(super) fn read(response: &str) -> io::Result<Answer> {
    let wrong = || io::Error::other("what answers there is no zlayer, or it broke off");
    let (head, body) = response.split_once("\r\n\r\n").ok_or_else(wrong)?;
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap_or_default();
    let (mut health, mut length) = (None, None);
    for (name, value) in lines.filter_map(|line| line.split_once(": ")) {
        match name.to_ascii_lowercase().as_str() {
            "zlayer-health" => health = Some(value == "ok"),
            "content-length" => length = value.parse().ok(),
            _ => {}
        }
    }
    match status.strip_prefix("HTTP/1.1 ") {
        Some(status) if status.starts_with("200 ") => match length == Some(body.len()) {
            true => Ok(Answer {
                body: body.to_owned(),
                healthy: health,
            }),
            false => Err(wrong()),
        },
        // A refusal, such as when the daemon's memory is spent.
        Some(status) => {
            let body = zlayer_binlog::one_line(body.trim_end());
            Err(io::Error::other(format!(
                "it answers {}: {body}",
                zlayer_binlog::one_line(status)
            )))
        }
        None => Err(wrong()),
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_only_as_a_whole() {
        let head = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nzlayer-health: ok\r\n\r\n";
        let answer = read(&format!("{head}ok\n")).unwrap();
        assert_eq!((answer.body.as_str(), answer.healthy), ("ok\n", Some(true)));
        let answer = read(&format!("{head}ok\n").replace(": ok", ": not-ok")).unwrap();
        assert_eq!(answer.healthy, Some(false));
        for broken in [
            "",
            "HTTP/1.1 200 OK\r\n",
            &format!("{head}ok"),
            "220 smtp\r\n\r\n",
        ] {
            assert!(read(broken).is_err(), "{broken:?}");
        }
        let refused = read("HTTP/1.1 503 Service Unavailable\r\n\r\nno room\n").unwrap_err();
        assert_eq!(
            refused.to_string(),
            "it answers 503 Service Unavailable: no room"
        );
    }
}
