//! What others may take a path for.
//!
//! A stage that guards `/admin/*` has to be asked about every path that whoever handles the request
//! may read as one below `/admin/`, and nobody here knows how that one reads paths: Tomcat drops
//! `;parameters`, PHP and C stop at a NUL, Express does not mind a slash at the end, Windows knows
//! backslashes, some take `//h/admin` for a path on a host, and where two servers stand behind each other, percent signs are decoded twice. So
//! all that servers are known to do to a path is done to it, in any order, and the stage is asked if
//! any of the readings is covered. To ask it in vain does no harm.

use percent_encoding::percent_decode;

/// The most bytes of all readings of one path together. A path that has more is made to confuse,
/// and the stage is asked about it. Paths of honest clients have one to four readings.
const READING_BYTES: usize = 64 << 10;
/// The most readings, likewise.
const READINGS: usize = 64;

/// Whether `covers` holds for any reading of a path as it came, in its normal form: without empty
/// segments and `.`, with `/` between segments.
pub(super) fn any(path: &str, covers: impl Fn(&str) -> bool) -> bool {
    if is_plain(path) {
        return covers(path);
    }
    let mut readings = vec![path.as_bytes().to_vec()];
    let mut bytes = path.len();
    let mut next = 0;
    while let Some(reading) = readings.get(next).cloned() {
        next += 1;
        for normal in [normal::<true>(&reading), normal::<false>(&reading)] {
            // Many do not mind a slash at the end.
            let without_slash = normal.strip_suffix('/').unwrap_or_default();
            if covers(&normal) || !without_slash.is_empty() && covers(without_slash) {
                return true;
            }
        }
        for change in CHANGES {
            let changed = change(&reading);
            if !readings.contains(&changed) {
                bytes += changed.len();
                readings.push(changed);
            }
        }
        if readings.len() > READINGS || bytes > READING_BYTES {
            return true;
        }
    }
    false
}

/// Whether a path has but one reading.
fn is_plain(path: &str) -> bool {
    let is_odd = path.contains(['%', '\\', ';'])
        || ["//", "/.", "./"].iter().any(|odd| path.contains(odd))
        || path.ends_with('.')
        || path.ends_with('/') && path.len() > 1;
    !is_odd && path.bytes().all(|byte| byte.is_ascii_graphic())
}

/// One thing that a server does to a path.
type Change = fn(&[u8]) -> Vec<u8>;

/// What servers do to a path. None makes it longer.
const CHANGES: [Change; 17] = [
    decoded,
    with_short_sequences,
    decoded_code_units,
    narrowed,
    without_parameters::<true>,
    without_parameters::<false>,
    resolved::<true>,
    resolved::<false>,
    up_to_its_end,
    without_controls::<true>,
    without_controls::<false>,
    without_trailing_dots::<true>,
    without_trailing_dots::<false>,
    without_authority::<true>,
    without_authority::<false>,
    folded::<true>,
    folded::<false>,
];

/// Percent signs decoded, once.
fn decoded(path: &[u8]) -> Vec<u8> {
    percent_decode(path).collect()
}

/// UTF-8 sequences of more bytes than one where one would do (RFC 3629 section 10), which some decoders
/// take for the ASCII character that they are not.
fn with_short_sequences(path: &[u8]) -> Vec<u8> {
    shortened(path, |bytes| {
        let (length, high, low) = match *bytes {
            [lead @ (0xc0 | 0xc1), low, ..] => (2, lead, low),
            [0xe0, high @ (0x80 | 0x81), low, ..] => (3, high, low),
            [0xf0, 0x80, high @ (0x80 | 0x81), low, ..] => (4, high, low),
            _ => return None,
        };
        let is_continued = low & 0xc0 == 0x80;
        is_continued.then(|| (length, vec![(high & 1) << 6 | low & 0x3f]))
    })
}

/// `%u002f` decoded, which no standard has: JavaScript's `escape` writes it, and IIS reads it.
fn decoded_code_units(path: &[u8]) -> Vec<u8> {
    shortened(path, |bytes| {
        let [b'%', b'u' | b'U', digits @ ..] = bytes else {
            return None;
        };
        let digits = std::str::from_utf8(digits.get(..4)?).ok()?;
        let is_hexadecimal = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        let code = u32::from_str_radix(digits, 16).ok()?;
        let character = char::from_u32(code).filter(|_| is_hexadecimal)?;
        Some((6, character.to_string().into_bytes()))
    })
}

/// Full-width forms (U+FF01 to U+FF5E) as the ASCII characters that they stand for: Windows makes
/// these of them where it fits a name into a smaller character set, and so does Unicode's NFKC.
fn narrowed(path: &[u8]) -> Vec<u8> {
    shortened(path, |bytes| {
        let ascii = match *bytes {
            [0xef, 0xbc, low @ 0x81..=0xbf, ..] => low - 0x60,
            [0xef, 0xbd, low @ 0x80..=0x9e, ..] => low - 0x20,
            _ => return None,
        };
        Some((3, vec![ascii]))
    })
}

/// Has what `replace` finds at the front of the rest replaced: so many bytes, by these.
fn shortened(path: &[u8], replace: impl Fn(&[u8]) -> Option<(usize, Vec<u8>)>) -> Vec<u8> {
    let mut changed = Vec::with_capacity(path.len());
    let mut rest = path;
    while let Some((&first, behind)) = rest.split_first() {
        match replace(rest) {
            Some((length, bytes)) => {
                changed.extend(bytes);
                rest = &rest[length..];
            }
            None => {
                changed.push(first);
                rest = behind;
            }
        }
    }
    changed
}

/// Without `;parameters` at the ends of segments (RFC 3986 section 3.3).
fn without_parameters<const BACKSLASHES: bool>(path: &[u8]) -> Vec<u8> {
    each_segment::<BACKSLASHES>(path, |segment| {
        segment
            .split(|&byte| byte == b';')
            .next()
            .unwrap_or_default()
    })
}

/// With `.` and `..` resolved (RFC 3986 section 5.2.4), and without empty segments.
fn resolved<const BACKSLASHES: bool>(path: &[u8]) -> Vec<u8> {
    let mut kept: Vec<&[u8]> = Vec::new();
    let mut is_folder = false;
    for segment in segments::<BACKSLASHES>(path) {
        is_folder = matches!(segment, b"" | b"." | b"..");
        match segment {
            b"" | b"." => {}
            b".." => drop(kept.pop()),
            _ => kept.push(segment),
        }
    }
    joined(&kept, is_folder)
}

/// Up to a NUL, where C's strings end, or to what ends a path in a URL.
fn up_to_its_end(path: &[u8]) -> Vec<u8> {
    let mut parts = path.split(|byte| matches!(byte, 0 | b'?' | b'#'));
    parts.next().unwrap_or_default().to_vec()
}

/// Without control characters, which some drop, and blanks at the ends of segments.
fn without_controls<const BACKSLASHES: bool>(path: &[u8]) -> Vec<u8> {
    let printed: Vec<u8> = path
        .iter()
        .copied()
        .filter(|byte| !byte.is_ascii_control())
        .collect();
    each_segment::<BACKSLASHES>(&printed, <[u8]>::trim_ascii)
}

/// Without dots at the ends of names, as Windows has it.
fn without_trailing_dots<const BACKSLASHES: bool>(path: &[u8]) -> Vec<u8> {
    each_segment::<BACKSLASHES>(path, |segment| {
        let end = segment.iter().rposition(|&byte| byte != b'.');
        // `.` and `..` are no names.
        end.map_or(segment, |end| &segment[..=end])
    })
}

/// Without a host in front, which `//host/path` has for whoever resolves it as a reference (RFC 3986
/// section 4.2): JavaScript's `new URL(path, base)` does.
fn without_authority<const BACKSLASHES: bool>(path: &[u8]) -> Vec<u8> {
    let is_separator = |byte: &u8| *byte == b'/' || BACKSLASHES && *byte == b'\\';
    let lead = path.iter().take_while(|byte| is_separator(byte)).count();
    if lead < 2 {
        return path.to_vec();
    }
    let rest = &path[lead..];
    let host = rest.iter().take_while(|byte| !is_separator(byte)).count();
    rest[host..].to_vec()
}

/// With the letters that are ASCII ones in the other case (U+017F, U+212A, U+0130, U+0131), and without
/// the blanks of Unicode at the ends of segments, which many a `trim` takes off.
fn folded<const BACKSLASHES: bool>(path: &[u8]) -> Vec<u8> {
    let letters = shortened(path, |bytes| match *bytes {
        [0xc5, 0xbf, ..] => Some((2, vec![b's'])),
        [0xe2, 0x84, 0xaa, ..] => Some((3, vec![b'k'])),
        [0xc4, 0xb0 | 0xb1, ..] => Some((2, vec![b'i'])),
        _ => None,
    });
    each_segment::<BACKSLASHES>(&letters, |segment| {
        let is_blank = |c: char| {
            c.is_whitespace() || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2060}' | '\u{feff}')
        };
        match std::str::from_utf8(segment) {
            Ok(text) => text.trim_matches(is_blank).as_bytes(),
            Err(_) => segment,
        }
    })
}

/// The segments of a path. Some servers take backslashes for slashes, to others they are letters.
fn segments<const BACKSLASHES: bool>(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|byte| *byte == b'/' || BACKSLASHES && *byte == b'\\')
}

/// Changes each segment. The separators become slashes.
fn each_segment<const BACKSLASHES: bool>(path: &[u8], change: impl Fn(&[u8]) -> &[u8]) -> Vec<u8> {
    let changed: Vec<_> = segments::<BACKSLASHES>(path).map(change).collect();
    changed.join(&b'/')
}

/// The form that patterns are written in. Bytes that are not Unicode become U+FFFD.
fn normal<const BACKSLASHES: bool>(path: &[u8]) -> String {
    let kept: Vec<_> = segments::<BACKSLASHES>(path)
        .filter(|segment| !matches!(*segment, b"" | b"."))
        .collect();
    let last = segments::<BACKSLASHES>(path).last().unwrap_or_default();
    let is_folder = matches!(last, b"" | b"." | b"..");
    String::from_utf8_lossy(&joined(&kept, is_folder)).into_owned()
}

fn joined(segments: &[&[u8]], is_folder: bool) -> Vec<u8> {
    let mut path = vec![b'/'];
    path.extend_from_slice(&segments.join(&b'/'));
    if is_folder && !segments.is_empty() {
        path.push(b'/');
    }
    path
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use super::*;
    use crate::config::PathPattern;

    fn is_guarded(path: &str, patterns: &[&str]) -> bool {
        let patterns: Vec<PathPattern> = patterns.iter().map(|one| one.parse().unwrap()).collect();
        any(path, |reading| {
            patterns.iter().any(|pattern| pattern.guards(reading))
        })
    }

    const GUARD: [&str; 2] = ["/admin/*", "/status"];

    #[test]
    fn every_reading_of_a_path_counts() {
        for path in [
            "/admin",
            "/admin/",
            "/admin/x",
            "/status",
            "/status/",
            "/status/.",
            "/status//",
            "/%61dmin/x",
            "/%2561dmin/x",
            "/%252561dmin/x",
            "/admin%2fx",
            "/admin%252fx",
            "/admin%25252fx",
            "/admin;a=b/x",
            "/admin%3ba/x",
            "/;/admin/x",
            "/;a/admin/x",
            "/x/..;/admin/x",
            "/x/..;a=b/admin/x",
            "/x/%2e%2e;/admin/x",
            "/x/%2e%2e%3b/admin/x",
            "/status;jsessionid=1",
            "/%73tatus;%2f..%2fx",
            "/status%00",
            "/status%00.html",
            "/status%2500",
            "/sta%00tus",
            "/admin%00/x",
            "/status%3fx",
            "/status%23x",
            "/status%20",
            "/status%0a",
            "/admin%20/x",
            "/status.",
            "/admin./x",
            "/admin\\x",
            "/admin%5cx",
            "\\admin\\x",
            "/x\\..\\admin\\x",
            // Where a backslash is a letter like any other.
            "/x\\y/../admin/x",
            "/x%5cy/%2e%2e/admin/x",
            "/x%5cy/..;/admin/x",
            "/x\\y./../admin/x",
            "/status;a\\b",
            "/status;a%5cb",
            "//admin//x",
            "/./admin/x",
            "/x/../admin/x",
            "/../admin/x",
            "/admin/../public",
            "/admin/%2e%2e/users",
            "/a%252fb/../%2573tatus",
            "/x%c0%af..%c0%afadmin/x",
            // A segment to whoever does not take these two bytes for a slash.
            "/x%c0%afy/../admin/x",
            "/%c1%a1dmin/x",
            "/admin%e0%80%afx",
            "/admin%f0%80%80%afx",
            "/%e0%81%a1dmin/x",
            "/admin%25e0%2580%25afx",
            "/admin%u002fx",
            "/admin%U002Fx",
            "/%u0061dmin/x",
            "/%25u0061dmin/x",
            "/admin%ef%bc%8fx",
            "/%ef%bd%81dmin/x",
            "/admin%uff0fx",
            "/x%ef%bc%8f..%ef%bc%8fadmin/x",
            "/%2e/status",
            "/ADMIN/x",
            "/Admin",
            "/sTaTuS",
            "/%41dmin/x",
            "//h/admin/x",
            "///h/status",
            "/\\h/admin/x",
            "/%c5%bftatus",
            "/adm%c4%b1n/x",
            "/adm%C4%B0n/x",
            "/status%c2%a0",
            "/status%E2%80%8B",
            "/%e3%80%80admin/x",
        ] {
            assert!(is_guarded(path, &GUARD), "{path}");
        }
    }

    #[test]
    fn what_is_read_as_nothing_guarded_is_not() {
        for path in [
            "/",
            "*",
            "/adminx",
            "/x/admin/y",
            "/status/x",
            "/statusx",
            "/h/admin/x",
            "/x/../public",
            "/public;admin/x",
            "/public;/x",
            "/public/%61dmin",
            "/a%20b/c.d",
            "/caf%C3%A9",
            "/%c3%a1dmin/x",
            "/admin%e2%80%afx",
            "/admin%u00e1x",
            "/admin%u002",
            "/admin%u+02f",
            "/%ef%bd%82dmin/x",
            "/%ef%bd%a1dmin/x",
            "/100%",
            "/.well-known/acme",
            "/x/./y/",
            "/x%2fadmin",
            "/x%252fadmin/y",
            "/..%2fpublic",
            "/style.css",
        ] {
            assert!(!is_guarded(path, &GUARD), "{path}");
        }
    }

    #[test]
    fn a_path_of_too_many_readings_is_guarded() {
        // Nobody decodes that often.
        let nested = format!("/%{}61", "25".repeat(READINGS));
        assert!(is_guarded(&nested, &GUARD));
        let long = |part: &str| format!("/public/{}", part.repeat(8000 / part.len()));
        for honest in ["a", "a%20b/", "caf%C3%A9/", "v;a=1/", "a.b/"] {
            assert!(!is_guarded(&long(honest), &GUARD), "{honest}");
        }
    }

    /// A generator of numbers that is the same each time (Marsaglia's xorshift).
    struct Numbers(u64);

    impl Numbers {
        fn below(&mut self, end: usize) -> usize {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            (self.0 % end as u64) as usize
        }
    }

    /// Writes a path in another way that some server reads as the same.
    fn disguised(path: &str, numbers: &mut Numbers) -> String {
        let places: Vec<usize> = path.match_indices('/').map(|(at, _)| at).collect();
        let at = places[numbers.below(places.len())];
        let (left, right) = path.split_at(at);
        match numbers.below(8) {
            0 => format!("{left}/{right}"),
            1 => format!("{left}/.{right}"),
            2 => format!("{left}/x/..{right}"),
            3 if at > 0 => format!("{left};a=b{right}"),
            4 => format!("{left}/y/..;{right}"),
            5 if at > 0 => format!("{left}%2f{}", &right[1..]),
            6 => path.replacen('%', "%25", 1),
            _ => {
                let is_escaped = |at: usize| {
                    let before = &path.as_bytes()[at.saturating_sub(2)..at];
                    before.contains(&b'%')
                };
                let letters = path.match_indices(|c: char| c.is_ascii_lowercase());
                let letters: Vec<usize> = letters
                    .map(|(at, _)| at)
                    .filter(|&at| !is_escaped(at))
                    .collect();
                match letters.is_empty() {
                    true => path.to_owned(),
                    false => {
                        let at = letters[numbers.below(letters.len())];
                        let byte = path.as_bytes()[at];
                        format!("{}%{byte:02x}{}", &path[..at], &path[at + 1..])
                    }
                }
            }
        }
    }

    #[test]
    fn no_disguise_passes_a_guard() {
        let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15);
        for round in 0..5000 {
            let mut path = ["/admin/x", "/status"][round % 2].to_owned();
            for _ in 0..1 + numbers.below(4) {
                path = disguised(&path, &mut numbers);
            }
            assert!(is_guarded(&path, &GUARD), "{path}");
        }
    }
}
