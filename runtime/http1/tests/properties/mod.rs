//! What must hold for any input. The mutation test and the fuzz targets both check it.
#![allow(
    unreachable_pub,
    reason = "the fuzz targets reach them from another crate"
)]

pub mod handshake;
pub mod outgoing;
pub mod proxies;
pub mod websocket;

use zlayer_http1::*;

/// Limits small enough that short inputs reach them.
pub const LIMITS: Limits = Limits {
    head_bytes: 512,
    target_bytes: 128,
    headers: 12,
    chunk_line_bytes: 24,
    extension_bytes: 40,
    trailer_bytes: 64,
};

/// Checks one head, whole and in parts. True if it was accepted.
///
/// # Panics
///
/// If a rule is broken.
pub fn check_head(input: &[u8], limits: &Limits) -> bool {
    let mut slots = HeaderSlots::new();
    let whole = RequestHead::parse(input, &mut slots, limits);
    // Parts: an error is final, and what is accepted does not depend on what follows.
    for end in cuts(input.len()) {
        let mut slots = HeaderSlots::new();
        match (
            RequestHead::parse(&input[..end], &mut slots, limits),
            &whole,
        ) {
            (Ok(None), _) => assert!(end < limits.head_bytes, "over the limit and no error"),
            (Ok(Some((_, length))), Ok(Some((_, whole)))) => assert_eq!(length, *whole),
            (Err(error), Err(whole)) => {
                assert!(
                    (400..600).contains(&error.status()) && (400..600).contains(&whole.status())
                );
            }
            (part, whole) => panic!("{end} bytes: {part:?}; all: {whole:?}"),
        }
    }
    let Ok(Some((head, length))) = whole else {
        return false;
    };
    check_accepted(&head, &input[..length], limits);
    true
}

/// The rules that an accepted head keeps.
fn check_accepted(head: &RequestHead<'_, '_>, raw: &[u8], limits: &Limits) {
    assert!(raw.len() <= limits.head_bytes && raw.ends_with(b"\r\n\r\n"));
    for (index, byte) in raw.iter().enumerate() {
        match byte {
            b'\n' => assert!(index > 0 && raw[index - 1] == b'\r', "bare LF"),
            b'\r' => assert_eq!(raw[index + 1], b'\n', "bare CR"),
            b'\t' => {}
            byte => assert!(*byte >= b' ' && *byte != 0x7f, "control byte"),
        }
    }
    assert!(is_valid_header_name(head.method.as_bytes()) && head.method.len() <= MAX_METHOD_BYTES);
    let target = head.origin_form();
    assert!(head.target.len() <= limits.target_bytes && target.len() <= limits.target_bytes);
    assert!(
        !head
            .target
            .iter()
            .any(|byte| *byte <= b' ' || *byte == b'#')
    );
    assert!(
        target
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && !b"#\"<>\\^`{|}".contains(&byte))
    );
    match head.path() {
        "" => assert_eq!(head.method, "CONNECT"),
        "*" => assert_eq!(head.method, "OPTIONS"),
        path => assert!(path.starts_with('/') && !path.contains('?')),
    }
    if let Some(authority) = head.authority() {
        assert!(!authority.is_empty());
        assert!(
            authority
                .bytes()
                .all(|byte| byte.is_ascii_graphic() && !b"@/?#\\".contains(&byte))
        );
    }
    assert!(head.headers.len() <= limits.headers.min(MAX_HEADERS));
    let mut rebuilt = Vec::new();
    for header in head.headers {
        assert!(is_valid_header_name(header.name.as_bytes()));
        assert!(is_valid_header_value(header.value));
        let blank = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
        assert!(!blank(header.value.first()) && !blank(header.value.last()));
        rebuilt.push((header.name, header.value));
    }
    // Nothing but blanks was lost on the way: the field lines are all there.
    let lines = raw.windows(2).filter(|pair| pair == b"\r\n").count();
    let leading = raw.chunks(2).take_while(|pair| pair == b"\r\n").count();
    assert_eq!(lines, leading + 1 + rebuilt.len() + 1);

    let all = |name: &str| -> Vec<&[u8]> {
        let found = head
            .headers
            .iter()
            .filter(|header| header.name.eq_ignore_ascii_case(name));
        found.map(|header| header.value).collect()
    };
    let (hosts, lengths, codings) = (all("host"), all("content-length"), all("transfer-encoding"));
    assert!(hosts.len() <= 1 && (hosts.len() == 1 || head.version == Version::Http10));
    match head.body {
        BodyLength::Empty => assert!(lengths.is_empty() && codings.is_empty()),
        BodyLength::Fixed(length) => {
            assert!(codings.is_empty() && lengths.len() == 1);
            let digits = std::str::from_utf8(lengths[0]).unwrap_or_default();
            assert!(digits.bytes().all(|byte| byte.is_ascii_digit()));
            assert_eq!(digits.parse(), Ok(length));
        }
        BodyLength::Chunked => {
            assert!(lengths.is_empty() && head.version == Version::Http11);
            assert!(codings.len() == 1 && codings[0].eq_ignore_ascii_case(b"chunked"));
        }
    }
    if head.expect_continue {
        assert!(head.version == Version::Http11 && head.body != BodyLength::Empty);
    }
    let closes = head
        .connection_options()
        .any(|option| option.eq_ignore_ascii_case(b"close"));
    assert!(!(closes && head.keep_alive));
}

/// Checks one response head, whole and in parts. True if it was accepted.
///
/// # Panics
///
/// If a rule is broken.
pub fn check_response(input: &[u8], method: &str, limits: &Limits) -> bool {
    let mut slots = ResponseSlots::new();
    let whole = IncomingResponse::parse(input, &mut slots, method, limits);
    for end in cuts(input.len()) {
        let mut slots = ResponseSlots::new();
        let part = IncomingResponse::parse(&input[..end], &mut slots, method, limits);
        match (part, &whole) {
            (Ok(None), _) => assert!(end < limits.head_bytes, "over the limit and no error"),
            (Ok(Some((_, length))), Ok(Some((_, whole)))) => assert_eq!(length, *whole),
            (Err(_), Err(_)) => {}
            (part, whole) => panic!("{end} bytes: {part:?}; all: {whole:?}"),
        }
    }
    let Ok(Some((head, length))) = whole else {
        return false;
    };
    let raw = &input[..length];
    assert!(raw.len() <= limits.head_bytes && raw.ends_with(b"\n"));
    assert!((100..=999).contains(&head.status));
    assert!(head.headers.len() <= limits.headers.min(MAX_RESPONSE_HEADERS));
    let all = |name: &str| -> Vec<&[u8]> {
        let found = head
            .headers
            .iter()
            .filter(|header| header.name.eq_ignore_ascii_case(name));
        found.map(|header| header.value).collect()
    };
    for header in head.headers {
        assert!(is_valid_header_name(header.name.as_bytes()));
        assert!(is_valid_header_value(&clean_value(header.value)));
        assert!(head.sloppy || is_valid_header_value(header.value));
    }
    // What the strict side takes from a client in the way of lines and fields is not sloppy, and
    // what it does not take is.
    let lines = raw.split_inclusive(|byte| *byte == b'\n');
    let clean = lines.clone().all(|line| line.ends_with(b"\r\n"));
    assert!(head.sloppy || clean);
    assert!(!(head.sloppy && head.keep_alive));
    let (lengths, codings) = (all("content-length"), all("transfer-encoding"));
    let told = lengths.iter().any(|value| !value.is_empty());
    let mut elements = codings
        .iter()
        .flat_map(|value| value.split(|byte| *byte == b','))
        .map(<[u8]>::trim_ascii);
    let coded = elements.any(|one| !one.is_empty() && !one.eq_ignore_ascii_case(b"identity"));
    assert!(!told || !coded);
    assert!(head.sloppy || lengths.len() <= 1 && codings.len() <= 1);
    assert_eq!(head.content_length.is_some(), told);
    assert!(head.sloppy || codings.is_empty() || head.version == Version::Http11);
    let none = method == "HEAD" || forbids_body(head.status);
    match head.body {
        ResponseBody::None => assert!(none),
        ResponseBody::Fixed(length) => {
            assert!(!none);
            assert_eq!(head.content_length, Some(length));
            for value in lengths
                .iter()
                .flat_map(|value| value.split(|byte| *byte == b','))
            {
                let digits = std::str::from_utf8(value).unwrap_or_default().trim();
                assert!(digits.is_empty() || digits.parse() == Ok(length));
            }
        }
        ResponseBody::Chunked => assert!(!none && coded),
        ResponseBody::UntilClose => {
            assert!(!none && !head.keep_alive && !told && !coded)
        }
    }
    let closes = all("connection")
        .iter()
        .flat_map(|value| value.split(|byte| *byte == b','))
        .any(|option| option.trim_ascii().eq_ignore_ascii_case(b"close"));
    assert!(!(closes && head.keep_alive));
    true
}

/// Checks a body of a response, in one go, byte by byte, and in pieces: a lenient decoder reads
/// whatever a strict one does, to the same end. True if it ended well.
///
/// # Panics
///
/// If a rule is broken.
pub fn check_lenient(input: &[u8], length: BodyLength, step: usize, limits: &Limits) -> bool {
    let lenient = || BodyDecoder::lenient(length, limits);
    let whole = decode_with(lenient(), input, input.len().max(1));
    assert_eq!(decode_with(lenient(), input, 1), whole, "byte by byte");
    assert_eq!(
        decode_with(lenient(), input, step.max(1)),
        whole,
        "in steps of {step}"
    );
    let strict = decode(input, length, input.len().max(1), limits);
    if strict.is_ok() {
        assert_eq!(whole, strict, "lenient and strict");
    }
    if let Ok(Some((_, trailers, _))) = &whole {
        for (name, value) in trailers {
            assert!(is_valid_header_name(name.as_bytes()) && is_valid_header_value(value));
        }
    }
    matches!(whole, Ok(Some(_)))
}

/// How a body ended: its data and trailers, and the bytes it took; or that it did not end.
type Outcome = Result<Option<(Vec<u8>, Vec<(String, Vec<u8>)>, usize)>, BodyError>;

/// Checks one body, in one go, byte by byte, and in pieces of `step` bytes. True if it ended well.
///
/// # Panics
///
/// If a rule is broken.
pub fn check_body(input: &[u8], length: BodyLength, step: usize, limits: &Limits) -> bool {
    let whole = decode(input, length, input.len().max(1), limits);
    assert_eq!(decode(input, length, 1, limits), whole, "byte by byte");
    assert_eq!(
        decode(input, length, step.max(1), limits),
        whole,
        "in steps of {step}"
    );
    let Ok(Some((data, trailers, taken))) = whole else {
        return false;
    };
    assert!(taken <= input.len() && data.len() <= taken);
    let text: usize = trailers
        .iter()
        .map(|(name, value)| name.len() + value.len() + 3)
        .sum();
    assert!(text <= limits.trailer_bytes && trailers.len() <= limits.headers.min(MAX_HEADERS));
    for (name, value) in &trailers {
        assert!(is_valid_header_name(name.as_bytes()) && is_valid_header_value(value));
        for forbidden in [
            "content-length",
            "transfer-encoding",
            "host",
            "authorization",
            "cookie",
        ] {
            assert!(!name.eq_ignore_ascii_case(forbidden));
        }
    }
    match length {
        BodyLength::Empty => assert_eq!(taken, 0),
        BodyLength::Fixed(length) => assert_eq!((taken as u64, data.len()), (length, taken)),
        BodyLength::Chunked => {
            // A second trip over the wire gives the same body.
            let mut wire = Vec::new();
            data.chunks(step.max(1))
                .for_each(|piece| encode_chunk(&mut wire, piece));
            let borrowed: Vec<_> = trailers
                .iter()
                .map(|(name, value)| (name.as_str(), &value[..]))
                .collect();
            assert_eq!(encode_last_chunk(&mut wire, &borrowed), Ok(()));
            // The encoder writes a blank behind the colon, so the section may have grown.
            let roomy = Limits {
                trailer_bytes: usize::MAX,
                ..*limits
            };
            let again = decode(&wire, length, step.max(1), &roomy);
            assert_eq!(again, Ok(Some((data, trailers, wire.len()))));
        }
    }
    true
}

/// Feeds `input` as if it came in pieces of `step` bytes.
fn decode(input: &[u8], length: BodyLength, step: usize, limits: &Limits) -> Outcome {
    decode_with(BodyDecoder::new(length, limits), input, step)
}

fn decode_with(mut decoder: BodyDecoder, input: &[u8], step: usize) -> Outcome {
    let (mut offset, mut available, mut data) = (0, 0, Vec::new());
    loop {
        let before = offset;
        match decoder.decode(&input[offset..available]) {
            Ok(Decoded::NeedMore { consumed }) => {
                offset += consumed;
                assert_eq!(offset, available, "bytes left behind");
                assert!(!decoder.is_done());
                if available == input.len() {
                    return Ok(None);
                }
                available = input.len().min(available + step);
            }
            Ok(Decoded::Data {
                consumed,
                data: piece,
            }) => {
                offset += consumed;
                assert!(!piece.is_empty() && piece.len() <= consumed && offset > before);
                assert_eq!(piece, &input[offset - piece.len()..offset]);
                data.extend_from_slice(piece);
            }
            Ok(Decoded::End { consumed, trailers }) => {
                assert!(decoder.is_done());
                return Ok(Some((data, trailers, offset + consumed)));
            }
            Err(error) => {
                assert_eq!(
                    decoder.decode(b"0\r\n\r\n"),
                    Err(error),
                    "an error must stay"
                );
                return Err(error);
            }
        }
    }
}

/// Where to cut an input of `length` bytes: everywhere if it is tiny, else at a dozen places or so.
fn cuts(length: usize) -> impl Iterator<Item = usize> {
    (0..length).step_by(length / 12 + 1)
}
