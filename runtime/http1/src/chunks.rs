//! The chunked coding of response bodies (RFC 9112, 7.1).

use crate::HeaderError;
use crate::headers::{is_forbidden_trailer, write_field};

/// Appends `data` to `out` as one chunk (RFC 9112, 7.1). Empty data appends nothing, since an empty
/// chunk would end the body.
pub fn encode_chunk(out: &mut Vec<u8>, data: &[u8]) {
    if data.is_empty() {
        return;
    }
    // The size line takes 18 bytes at most.
    out.reserve(data.len() + 20);
    write_hexadecimal(out, data.len() as u64);
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(data);
    out.extend_from_slice(b"\r\n");
}

/// Appends the end of a chunked body to `out`. Trailer fields that may not be trailers are left out
/// (RFC 9110, 6.5.1).
///
/// # Errors
///
/// A name or value that HTTP does not allow. `out` is then as it was.
pub fn encode_last_chunk(out: &mut Vec<u8>, trailers: &[(&str, &[u8])]) -> Result<(), HeaderError> {
    let start = out.len();
    out.extend_from_slice(b"0\r\n");
    for (name, value) in trailers {
        if is_forbidden_trailer(name) {
            continue;
        }
        if let Err(error) = write_field(out, name, value) {
            out.truncate(start);
            return Err(error);
        }
    }
    out.extend_from_slice(b"\r\n");
    Ok(())
}

fn write_hexadecimal(out: &mut Vec<u8>, number: u64) {
    let digits = (u64::BITS - number.leading_zeros()).div_ceil(4).max(1);
    for digit in (0..digits).rev() {
        let value = (number >> (4 * digit)) & 0xf;
        out.push(b"0123456789abcdef"[value as usize]);
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use super::*;
    use crate::{BodyDecoder, BodyLength, Decoded, Limits};

    #[test]
    fn chunks_carry_their_size_in_hexadecimal() {
        let mut out = Vec::new();
        encode_chunk(&mut out, b"");
        assert_eq!(out, b"");
        encode_chunk(&mut out, b"abc");
        assert_eq!(out, b"3\r\nabc\r\n");
        for (length, size) in [
            (15, "f"),
            (16, "10"),
            (255, "ff"),
            (4096, "1000"),
            (65_535, "ffff"),
        ] {
            let mut out = Vec::new();
            encode_chunk(&mut out, &vec![b'x'; length]);
            assert!(
                out.starts_with(format!("{size}\r\nx").as_bytes()),
                "{length}"
            );
            assert_eq!(out.len(), size.len() + length + 4);
        }
    }

    #[test]
    fn the_last_chunk_carries_allowed_trailers() {
        let mut out = Vec::new();
        encode_last_chunk(&mut out, &[]).unwrap();
        assert_eq!(out, b"0\r\n\r\n");
        out.clear();
        encode_last_chunk(
            &mut out,
            &[("x-sum", b"1"), ("Content-Length", b"5"), ("y", b"")],
        )
        .unwrap();
        assert_eq!(out, b"0\r\nx-sum: 1\r\ny: \r\n\r\n");
        let error = encode_last_chunk(&mut out, &[("x", b"1"), ("y", b"a\r\nb")]).unwrap_err();
        assert_eq!(error, HeaderError::InvalidValue { name: "y".into() });
        assert_eq!(out, b"0\r\nx-sum: 1\r\ny: \r\n\r\n", "out must not change");
    }

    #[test]
    fn sizes_are_written_as_the_standard_library_does() {
        for number in [
            0,
            1,
            9,
            10,
            15,
            16,
            255,
            256,
            u64::from(u32::MAX),
            u64::MAX - 1,
            u64::MAX,
        ] {
            let mut out = Vec::new();
            write_hexadecimal(&mut out, number);
            assert_eq!(out, format!("{number:x}").as_bytes());
        }
    }

    #[test]
    fn what_is_encoded_decodes_to_itself() {
        let body: Vec<u8> = (0..70_000_u32)
            .map(|index| (index * 31 % 251) as u8)
            .collect();
        for size in [1, 2, 15, 16, 17, 255, 256, 4095, 65_536, 70_000] {
            let mut wire = Vec::new();
            for data in body.chunks(size) {
                encode_chunk(&mut wire, data);
            }
            encode_last_chunk(&mut wire, &[("x-sum", b"a b"), ("x-end", b"")]).unwrap();
            let sent = wire.len();
            wire.extend_from_slice(b"GET / HTTP/1.1");

            let mut decoder = BodyDecoder::new(BodyLength::Chunked, &Limits::default());
            let (mut offset, mut received) = (0, Vec::new());
            let trailers = loop {
                // A buffer that is never quite full, as from a socket.
                let end = wire.len().min(offset + 1000);
                match decoder.decode(&wire[offset..end]).unwrap() {
                    Decoded::NeedMore { consumed } => offset += consumed,
                    Decoded::Data { consumed, data } => {
                        received.extend_from_slice(data);
                        offset += consumed;
                    }
                    Decoded::End { consumed, trailers } => {
                        offset += consumed;
                        break trailers;
                    }
                }
            };
            assert_eq!(offset, sent);
            assert!(received == body, "chunks of {size}");
            assert_eq!(
                trailers,
                [
                    ("x-sum".into(), b"a b".to_vec()),
                    ("x-end".into(), Vec::new())
                ]
            );
        }
    }
}
