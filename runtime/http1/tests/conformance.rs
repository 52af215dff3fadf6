//! What both sides make of messages that RFC 9110 and RFC 9112 speak of, held against a table.
//!
//! The cases stand in `conformance/cases.txt`, and `docs/conformance.md` shows them.
//! `ZLAYER_WRITE_DOCS=1` writes that page anew.
#![allow(clippy::unwrap_used, reason = "a failed test should panic")]

use std::path::Path;

use zlayer_http1::*;

const CASES: &str = include_str!("conformance/cases.txt");
/// What the page says before its tables, with the place for each of them.
const FRAME: &str = include_str!("conformance/page.md");

struct Case {
    kind: &'static str,
    section: &'static str,
    what: &'static str,
    shown: &'static str,
    ours: &'static str,
    nginx: &'static str,
}

fn cases() -> Vec<Case> {
    let lines = CASES.lines().filter(|line| !line.starts_with('#'));
    let cases = lines.map(|line| {
        let parts: Vec<_> = line.split(" | ").collect();
        let [kind, section, what, shown, ours, nginx] = parts[..] else {
            panic!("not six columns: {line}");
        };
        Case {
            kind,
            section,
            what,
            shown,
            ours,
            nginx,
        }
    });
    cases.collect()
}

fn unescape(shown: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut chars = shown.chars();
    while let Some(char) = chars.next() {
        let byte = match (char == '\\').then(|| chars.next().unwrap()) {
            None => u8::try_from(char).unwrap(),
            Some('r') => b'\r',
            Some('n') => b'\n',
            Some('t') => b'\t',
            Some('0') => 0,
            Some('\\') => b'\\',
            Some('x') => {
                let digits: String = chars.by_ref().take(2).collect();
                u8::from_str_radix(&digits, 16).unwrap()
            }
            Some(other) => panic!("\\{other} in {shown}"),
        };
        out.push(byte);
    }
    out
}

fn request(bytes: &[u8]) -> String {
    let mut slots = HeaderSlots::new();
    let (head, length) = match RequestHead::parse(bytes, &mut slots, &Limits::default()) {
        Ok(parsed) => parsed.expect("the head is complete"),
        Err(error) => return error.status().to_string(),
    };
    assert_eq!(length, bytes.len());
    let body = match head.body {
        BodyLength::Empty => "no body".to_owned(),
        BodyLength::Fixed(length) => format!("{length} bytes"),
        BodyLength::Chunked => "chunks".to_owned(),
    };
    format!("{body}, {}", if head.keep_alive { "open" } else { "close" })
}

fn response(bytes: &[u8]) -> String {
    let mut slots = ResponseSlots::new();
    let parsed = IncomingResponse::parse(bytes, &mut slots, "GET", &Limits::default());
    let Ok(parsed) = parsed else {
        return "502".to_owned();
    };
    let (head, length) = parsed.expect("the head is complete");
    assert_eq!(length, bytes.len());
    let body = match head.body {
        ResponseBody::None => "no body".to_owned(),
        ResponseBody::Fixed(length) => format!("{length} bytes"),
        ResponseBody::Chunked => "chunks".to_owned(),
        ResponseBody::UntilClose => "until the end".to_owned(),
    };
    format!("{body}, {}", kept(head.keep_alive))
}

fn kept(kept: bool) -> &'static str {
    if kept { "used again" } else { "closed" }
}

/// Reads a body; `None` if it is refused or does not end.
fn content(decoder: &mut BodyDecoder, bytes: &[u8]) -> Option<String> {
    let (mut rest, mut content) = (bytes, Vec::new());
    loop {
        match decoder.decode(rest).ok()? {
            Decoded::Data { consumed, data } => {
                content.extend_from_slice(data);
                rest = &rest[consumed..];
            }
            Decoded::NeedMore { .. } if decoder.end_of_input() => rest = &[],
            Decoded::NeedMore { .. } => return None,
            Decoded::End { .. } => return String::from_utf8(content).ok(),
        }
    }
}

fn upload(bytes: &[u8]) -> String {
    let mut decoder = BodyDecoder::new(BodyLength::Chunked, &Limits::default());
    content(&mut decoder, bytes).unwrap_or_else(|| "400".to_owned())
}

fn download(bytes: &[u8]) -> String {
    let decoder = ResponseBody::Chunked.decoder(&Limits::default());
    let mut decoder = decoder.unwrap();
    match content(&mut decoder, bytes) {
        Some(content) => format!("{content}, {}", kept(!decoder.is_sloppy())),
        None => "cut off".to_owned(),
    }
}

#[test]
fn every_case_comes_out_as_the_table_says() {
    let cases = cases();
    assert!(cases.len() > 100, "{}", cases.len());
    for case in &cases {
        let bytes = unescape(case.shown);
        let ours = match case.kind {
            "request" => request(&bytes),
            "response" => response(&bytes),
            "upload" => upload(&bytes),
            "download" => download(&bytes),
            kind => panic!("there is no kind {kind}"),
        };
        assert_eq!(ours, case.ours, "{}: {}", case.kind, case.what);
    }
}

#[test]
fn the_page_shows_the_table() {
    let mut page = FRAME.to_owned();
    for kind in ["request", "upload", "response", "download"] {
        let mut table =
            String::from("| RFC | what | bytes | ours | nginx |\n|---|---|---|---|---|\n");
        for case in cases().iter().filter(|case| case.kind == kind) {
            let Case {
                section,
                what,
                shown,
                ours,
                nginx,
                ..
            } = case;
            table += &format!("| {section} | {what} | `{shown}` | {ours} | {nginx} |\n");
        }
        let place = format!("<!-- {kind} -->\n");
        assert!(page.contains(&place), "{place}");
        page = page.replace(&place, &table);
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/conformance.md");
    if std::env::var_os("ZLAYER_WRITE_DOCS").is_some() {
        std::fs::write(&path, &page).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap();
    assert!(
        written == page,
        "docs/conformance.md is not what the cases say: ZLAYER_WRITE_DOCS=1 writes it anew"
    );
}
