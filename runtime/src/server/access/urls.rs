//! URLs in what a client says, without the names and passwords that stand in front of their hosts.

use crate::redact::MASK;

/// Masks what stands in front of the host in each URL of `text`: one may be a parameter of another.
pub(super) fn without_passwords(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut kept = 0;
    // Where a host begins, with whatever stands in front of its name, and how often the slash before it
    // is encoded; and where the last `@` is.
    let (mut host, mut at): (Option<(usize, usize)>, _) = (None, None);
    let mut before = [b' '; 2];
    let end = Sign {
        start: text.len(),
        byte: b' ',
        times: 0,
        end: text.len(),
    };
    for sign in signs(text.as_bytes()).chain([end]) {
        match sign.byte {
            b'@' => at = Some(sign.start),
            // One that is encoded more often than the URL itself is a part of a name or a password.
            b'/' | b'?' | b'#' | b' ' if host.is_none_or(|(_, times)| sign.times <= times) => {
                if let (Some((host, _)), Some(at)) = (host, at) {
                    shown.extend([&text[kept..host], MASK]);
                    kept = at;
                }
                let begins = sign.byte == b'/' && before == *b":/";
                host = begins.then_some((sign.end, sign.times));
                at = None;
            }
            _ => {}
        }
        before = [before[1], sign.byte];
    }
    shown.push_str(&text[kept..]);
    shown
}

/// A sign of a text.
struct Sign {
    start: usize,
    /// What it stands for.
    byte: u8,
    /// How often it is percent-encoded.
    times: usize,
    end: usize,
}

/// The signs of `text`. One that is percent-encoded is what it stands for, however often it was encoded,
/// since a URL within another is.
fn signs(text: &[u8]) -> impl Iterator<Item = Sign> {
    let mut place = 0;
    std::iter::from_fn(move || {
        let start = place;
        let plain = *text.get(start)?;
        let (byte, times, length) = match plain {
            b'%' => decoded(&text[start..]).unwrap_or((plain, 0, 1)),
            _ => (plain, 0, 1),
        };
        place += length;
        Some(Sign {
            start,
            byte,
            times,
            end: place,
        })
    })
}

/// The byte that `text` begins with, which is percent-encoded, how often it is, and how long that is.
fn decoded(text: &[u8]) -> Option<(u8, usize, usize)> {
    let mut place = 1;
    // Each is a percent sign that was encoded once more.
    while text.get(place..)?.starts_with(b"25") {
        place += 2;
    }
    let digit = |place: usize| char::from(*text.get(place)?).to_digit(16);
    let byte = digit(place)? << 4 | digit(place + 1)?;
    Some((u8::try_from(byte).ok()?, place.div_ceil(2), place + 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_front_of_a_host_is_shown_however_many_urls_there_are() {
        for (text, shown) in [
            ("https://u:p@h/a@b", "https://***@h/a@b"),
            ("http://u:p@h/http://u:p@i", "http://***@h/http://***@i"),
            (
                "http://h/?a=http://u:p@i&b=c",
                "http://h/?a=http://***@i&b=c",
            ),
            (
                "GET http://u:p@h http://u:p@i?a#b",
                "GET http://***@h http://***@i?a#b",
            ),
            ("http://http://u:p@h", "http://http://***@h"),
            ("http://u:p@q@h", "http://***@h"),
            ("http://u:p%2Fq@h/", "http://***@h/"),
            ("http://u:p%3Fq@h?a", "http://***@h?a"),
            ("http://u:p%23q@h#a", "http://***@h#a"),
            ("http://u:p%20q%2540@h a", "http://***@h a"),
            (
                "/?a=http%3A%2F%2Fu:p%252Fq@h%2Fb",
                "/?a=http%3A%2F%2F***@h%2Fb",
            ),
            (
                "/?a=http%3A%2F%2Fu%3Ap%40h%2Fb",
                "/?a=http%3A%2F%2F***%40h%2Fb",
            ),
            ("/?a=http%3a//u:p%40h/b", "/?a=http%3a//***%40h/b"),
            (
                "/?a=http%253A%252F%252Fu%253Ap%2540h",
                "/?a=http%253A%252F%252F***%2540h",
            ),
        ] {
            assert_eq!(without_passwords(text), shown);
        }
    }

    #[test]
    fn what_names_no_user_stays_as_it_is() {
        for text in [
            "",
            "/a@b?c=d",
            "mail:a@b",
            "//a@b",
            "http://h/@",
            "http://h?a@b",
            "http://h#a@b",
            "http://h a@b",
            "http:/\u{e9}/u@h",
            "100%, 50%4, %zz, %25, %2525, %",
        ] {
            assert_eq!(without_passwords(text), text);
        }
    }
}
