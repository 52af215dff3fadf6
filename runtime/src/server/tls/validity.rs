//! From when until when a certificate holds.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A day in seconds.
const DAY: i64 = 24 * 3600;
/// When it is time to speak of a certificate's end, in days before it. Only what is at most a third of the
/// time for which it holds: those that are renewed by themselves are renewed about then.
const NOTICES: [i64; 3] = [1, 7, 30];
/// The last second of the year 9999, beyond which no date of a certificate lies.
pub(super) const LAST: u64 = 253_402_300_799;

/// The two dates of a certificate (RFC 5280 section 4.1.2.5), in seconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Validity {
    pub(super) not_before: i64,
    pub(super) not_after: i64,
}

/// What is to be said about a certificate's dates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// It holds now.
    Holds,
    /// It begins later.
    Early,
    /// It holds, but not for more than so many days.
    Ends(i64),
    /// It has ended.
    Expired,
}

impl Standing {
    /// Its name in the status.
    pub(super) fn name(self) -> &'static str {
        match self {
            Standing::Holds => "holds",
            Standing::Early => "does not hold yet",
            Standing::Ends(_) => "expires soon",
            Standing::Expired => "has expired",
        }
    }
}

impl Validity {
    /// Finds the dates in a certificate; `None` where it is not built like one.
    pub(super) fn of(certificate: &[u8]) -> Option<Validity> {
        const SEQUENCE: u8 = 0x30;
        const VERSION: u8 = 0xa0;
        let (_, content, _) = element(certificate, Some(SEQUENCE))?;
        let (_, mut fields, _) = element(content, Some(SEQUENCE))?;
        if fields.first() == Some(&VERSION) {
            fields = element(fields, None)?.2;
        }
        // The serial number, the algorithm, the issuer.
        for _ in 0..3 {
            fields = element(fields, None)?.2;
        }
        let (_, dates, _) = element(fields, Some(SEQUENCE))?;
        let (kind, first, rest) = element(dates, None)?;
        let not_before = seconds(kind, first)?;
        let (kind, second, _) = element(rest, None)?;
        Some(Validity {
            not_before,
            not_after: seconds(kind, second)?,
        })
    }

    /// How it stands at the time `now`.
    pub(super) fn at(self, now: SystemTime) -> Standing {
        let now = match now.duration_since(UNIX_EPOCH) {
            Ok(since) => i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
            Err(_) => i64::MIN,
        };
        if now < self.not_before {
            return Standing::Early;
        } else if now > self.not_after {
            return Standing::Expired;
        }
        let length = self.not_after.saturating_sub(self.not_before);
        let due = NOTICES.into_iter().find(|days| {
            now > self.not_after.saturating_sub(days * DAY) && 3 * days * DAY <= length
        });
        due.map_or(Standing::Holds, Standing::Ends)
    }
}

/// A date for people.
pub(super) fn shown(seconds: i64) -> String {
    match u64::try_from(seconds) {
        Ok(since) => httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(since.min(LAST))),
        Err(_) => "before 1970".to_owned(),
    }
}

/// Splits the first element off: its tag, its content, and what follows it. Where a tag is given, it
/// has to be that one.
fn element(bytes: &[u8], tag: Option<u8>) -> Option<(u8, &[u8], &[u8])> {
    let (&[found, length], rest) = bytes.split_first_chunk()?;
    if tag.is_some_and(|tag| tag != found) {
        return None;
    }
    let (length, rest) = match length {
        short @ 0..=0x7f => (usize::from(short), rest),
        // So many bytes of a length follow. Four are enough for a file that is read at all.
        long @ 0x81..=0x84 => {
            let (digits, rest) = rest.split_at_checked(usize::from(long - 0x80))?;
            let length = digits
                .iter()
                .fold(0u64, |sum, &digit| sum << 8 | u64::from(digit));
            (usize::try_from(length).ok()?, rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((found, content, rest))
}

/// A UTCTime `YYMMDDHHMMSSZ`, or a GeneralizedTime `YYYYMMDDHHMMSSZ`.
fn seconds(kind: u8, text: &[u8]) -> Option<i64> {
    const UTC_TIME: u8 = 0x17;
    const GENERALIZED_TIME: u8 = 0x18;
    let digits = text.strip_suffix(b"Z")?;
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = |part: &[u8]| {
        part.iter()
            .fold(0, |sum, &digit| sum * 10 + i64::from(digit - b'0'))
    };
    let (year, rest) = match (kind, digits.len()) {
        (UTC_TIME, 12) => {
            let (year, rest) = digits.split_at(2);
            let year = number(year);
            // RFC 5280 section 4.1.2.5.1.
            (if year >= 50 { 1900 + year } else { 2000 + year }, rest)
        }
        (GENERALIZED_TIME, 14) => {
            let (year, rest) = digits.split_at(4);
            (number(year), rest)
        }
        _ => return None,
    };
    let mut parts = rest.chunks(2).map(number);
    let mut next = || parts.next();
    let (month, day, hour, minute, second) = (next()?, next()?, next()?, next()?, next()?);
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    // Days since 1970 of a date in the Gregorian calendar, with years that begin in March.
    let (year, month) = if month <= 2 {
        (year - 1, month + 9)
    } else {
        (year, month - 3)
    };
    let days = 365 * year + year.div_euclid(4) - year.div_euclid(100)
        + year.div_euclid(400)
        + (153 * month + 2) / 5
        + day
        - 1
        - 719_468;
    Some(((days * 24 + hour) * 60 + minute) * 60 + second)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use std::path::Path;

    use futures_rustls::rustls::pki_types::CertificateDer;
    use futures_rustls::rustls::pki_types::pem::PemObject;

    use super::*;

    #[test]
    fn dates_are_counted_as_the_calendar_has_them() {
        for (kind, text, since) in [
            (0x17, "700101000000Z", 0),
            (0x17, "000229000000Z", 951_782_400),
            (0x17, "491231235959Z", 2_524_607_999),
            (0x17, "500101000000Z", -631_152_000),
            (0x18, "20380119031408Z", 2_147_483_648),
            (0x18, "21200301000000Z", 4_738_694_400),
            (0x18, "99991231235959Z", 253_402_300_799),
        ] {
            assert_eq!(seconds(kind, text.as_bytes()), Some(since), "{text}");
        }
        for text in [
            "",
            "Z",
            "700101000000",
            "70010100000Z",
            "7001010000000Z",
            "701301000000Z",
            "70010100000xZ",
        ] {
            assert_eq!(seconds(0x17, text.as_bytes()), None, "{text}");
        }
        assert_eq!(shown(951_782_400), "Tue, 29 Feb 2000 00:00:00 GMT");
        assert_eq!(shown(-1), "before 1970");
    }

    fn certificate(name: &str) -> CertificateDer<'static> {
        let file = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("src/upstream/tests/tls")
            .join(name);
        CertificateDer::from_pem_file(file).unwrap()
    }

    #[test]
    fn a_certificate_says_when_it_holds() {
        let expired = Validity::of(&certificate("expired.pem")).unwrap();
        let server = Validity::of(&certificate("server.pem")).unwrap();
        let now = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        assert_eq!(
            (expired.at(now), server.at(now)),
            (Standing::Expired, Standing::Holds)
        );
        let ended = UNIX_EPOCH + Duration::from_secs(expired.not_after as u64);
        let before = |days: f64| expired.at(ended - Duration::from_secs_f64(days * 86_400.0));
        for (days, standing) in [
            (0.5, Standing::Ends(1)),
            (6.5, Standing::Ends(7)),
            (29.5, Standing::Ends(30)),
            (30.5, Standing::Holds),
        ] {
            assert_eq!(before(days), standing, "{days} days before");
        }
        // One that holds for a week was renewed a day ago, perhaps.
        let short = Validity {
            not_before: 0,
            not_after: 7 * DAY,
        };
        let at = |days: i64| short.at(UNIX_EPOCH + Duration::from_secs((days * DAY) as u64));
        assert_eq!([at(1), at(5)], [Standing::Holds; 2]);
        assert_eq!(
            short.at(UNIX_EPOCH + Duration::from_secs((6 * DAY + 1) as u64)),
            Standing::Ends(1)
        );
        assert_eq!(server.at(UNIX_EPOCH), Standing::Early);
        assert_eq!(
            server.at(UNIX_EPOCH - Duration::from_secs(1)),
            Standing::Early
        );
    }

    #[test]
    fn what_is_cut_off_or_changed_is_no_certificate_or_another_one() {
        let whole = certificate("server.pem");
        for end in 0..whole.len() {
            let _ = Validity::of(&whole[..end]);
        }
        for at in 0..whole.len().min(300) {
            let mut changed = whole.to_vec();
            for byte in [0, 0x7f, 0x80, 0x84, 0x85, 0xff] {
                changed[at] = byte;
                let _ = Validity::of(&changed);
            }
        }
        assert_eq!(Validity::of(b"0"), None);
        assert_eq!(Validity::of(&[0x30, 0x84, 0xff, 0xff, 0xff, 0xff]), None);
    }
}
