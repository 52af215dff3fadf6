//! The ceilings of the codec.

/// How many header fields a [`HeaderSlots`](crate::HeaderSlots) has room for.
///
/// A slot is two string slices: 32 bytes on a 64-bit machine, 16 on a 32-bit one. All of them take
/// 3 KiB at most, on the stack of the caller for the length of one parse. Browsers send fewer than
/// 30 fields. A request with more is answered 431.
pub const MAX_HEADERS: usize = 96;

/// The longest method that is looked at, in bytes. A longer one is answered 501 (RFC 9112, 3).
///
/// The longest method in IANA's registry, `UPDATEREDIRECTREF`, has 17.
pub const MAX_METHOD_BYTES: usize = 32;

/// How many empty lines may stand before the request line.
///
/// RFC 9112, 2.2 asks a server to skip at least one, for old clients that sent a stray CRLF behind
/// a body. One more is courtesy. Without an end to it, a client could send empty lines for ever.
pub const MAX_EMPTY_LINES: usize = 2;

/// What a client may make the codec read or hold, all in bytes but `headers`.
///
/// Every limit is the largest size that still passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Request line and header section together, empty lines before them and the one behind them
    /// included. Default 16 KiB. Over it the answer is 431, or 414 if the request line alone is as
    /// long.
    pub head_bytes: usize,
    /// The request target. Default 8 KiB; RFC 9110, 4.1 asks for 8000 bytes at least. Over it the
    /// answer is 414.
    pub target_bytes: usize,
    /// Header fields in a head, and fields in a trailer section. Default [`MAX_HEADERS`], which is
    /// also the most: a larger number counts as that one.
    pub headers: usize,
    /// One chunk's size line with its extensions and its CRLF. Default 256.
    pub chunk_line_bytes: usize,
    /// Chunk extensions of one body, all chunks together. Default 16 KiB. They carry nothing that
    /// is kept, so a client must not be able to send them for ever (RFC 9112, 7.1.1).
    pub extension_bytes: usize,
    /// The trailer section, its closing empty line not counted. Default 4 KiB.
    pub trailer_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            head_bytes: 16 * 1024,
            target_bytes: 8 * 1024,
            headers: MAX_HEADERS,
            chunk_line_bytes: 256,
            extension_bytes: 16 * 1024,
            trailer_bytes: 4 * 1024,
        }
    }
}
