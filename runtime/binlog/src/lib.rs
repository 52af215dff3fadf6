//! The device's binary log: small to write, hard to tear.
//!
//! The daemon writes [`Record`]s through an [`Encoder`] into the segment files of a ring. Both
//! `zlayer logs` and `zlayer-precompile logs` read them back with [`read`]. This crate holds the
//! format and its reader; the ring itself (buffers, rotation, when flash is written to) belongs to
//! the daemon. It has no threads and no global state.
//!
//! # The format
//!
//! A segment is a sequence of frames. Each is a postcard value followed by a CRC-16, encoded with
//! COBS and ended by a zero byte, which occurs nowhere else. So a reader that meets damage goes on
//! after the next zero.
//!
//! A segment can be read alone. It begins with a start frame (format version, segment number,
//! time), which is repeated every [`REPEAT_BYTES`] in case the first one is lost. Strings that
//! occur again (targets, keys, messages, values) are defined once by a separate frame and then
//! referred to by number. Times and the numbers of requests are counted from the segment's first.
//!
//! A record whose definitions were lost is shown with `?N` in their place.
//!
//! # Example
//!
//! ```
//! use zlayer_binlog::{Decoder, Encoder, Event, Level, Record};
//!
//! # fn main() -> std::io::Result<()> {
//! let record = Record::new(1_700_000_000_000_000, Level::Info, "plugin hello", "started");
//! let (mut encoder, mut frames) = (Encoder::default(), Vec::new());
//! encoder.record(&record, &mut frames);
//! let mut segment = encoder.start(1);
//! segment.extend(frames);
//!
//! let mut lines = String::new();
//! Decoder::default().push(&segment, &mut |event| {
//!     if let Event::Record(record) = event {
//!         lines += &record.to_string();
//!     }
//!     Ok(())
//! })?;
//! assert_eq!(lines, "Tue, 14 Nov 2023 22:13:20 GMT INFO  plugin hello: started\n");
//! # Ok(())
//! # }
//! ```

mod access;
mod decoder;
mod encoder;
mod filter;
mod frame;
mod read;
mod record;
mod segment;

pub use access::ACCESS_TARGET;
pub use decoder::{Decoder, Event, Gap};
pub use encoder::{Encoder, REPEAT_BYTES, STRING_BYTES, STRINGS};
pub use filter::{Filter, level};
pub use frame::{FORMAT, FRAME_BYTES, Start};
pub use log::Level;
pub use read::{POLL, ReadError, read};
pub use record::{
    ABOUT_PLUGIN, FIELDS_BYTES, MESSAGE_BYTES, PLUGIN_TARGET, Record, UNKNOWN_TIME, lines,
    one_line, steers,
};
pub use segment::{Segment, segment_name, segments};
