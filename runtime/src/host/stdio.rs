//! A plugin's standard output and standard error, as records of its log: lines, of which one that is
//! too long is cut into several records.

use std::sync::{Arc, Mutex, Weak};

use bytes::Bytes;
use wasmtime::format_err;
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamError};

use super::held::Charge;
use super::{CurrentRequest, PluginHost};
use crate::redact;
use crate::sync;

/// How many bytes of a line are kept while its end has not come, plus as many as the longest secret
/// has.
const LINE_BYTES: usize = 1024;

/// Bytes that a stream takes beside its place among the resources: the line that it gathers, which
/// doubles as it grows.
pub(super) fn line_bytes() -> usize {
    2 * (LINE_BYTES + redact::longest())
}

/// One of the two streams as records of the log. A Rust plugin's panic message comes this way.
pub(super) struct LogStream {
    plugin: Arc<PluginHost>,
    request: CurrentRequest,
    level: log::Level,
    line: Arc<Mutex<Vec<u8>>>,
    _held: Charge,
}

/// The lines of an instance's streams that have not ended yet.
#[derive(Default)]
pub(super) struct OpenLines(Vec<(log::Level, Weak<Mutex<Vec<u8>>>)>);

impl OpenLines {
    fn add(&mut self, level: log::Level, line: &Arc<Mutex<Vec<u8>>>) {
        // As many stay as the instance has streams, which its resources bound.
        self.0.retain(|(_, line)| line.strong_count() > 0);
        self.0.push((level, Arc::downgrade(line)));
    }

    /// Writes what has no end of its line: the request that it belongs to has ended.
    pub(super) fn write_out(&self, plugin: &PluginHost, request: Option<&str>) {
        for (level, line) in &self.0 {
            if let Some(line) = line.upgrade() {
                write_line(&mut sync::lock(&line), false, plugin, request, *level);
            }
        }
    }
}

impl LogStream {
    /// A stream whose line is charged to `held`.
    pub(super) fn new(
        plugin: &Arc<PluginHost>,
        request: &CurrentRequest,
        level: log::Level,
        held: Charge,
    ) -> LogStream {
        let line = Arc::default();
        sync::lock(&request.lines).add(level, &line);
        LogStream {
            plugin: Arc::clone(plugin),
            request: request.clone(),
            level,
            line,
            _held: held,
        }
    }
}

/// What Rust's panics say behind their message. Nobody can set that variable for a plugin.
const TIP: &str = "note: run with `RUST_BACKTRACE=1`";

/// Writes what is there as a record. Where the line goes `on`, the bytes at its end that may be the
/// beginning of a secret are kept for the next record, and so is a character that is not complete.
fn write_line(
    kept_line: &mut Vec<u8>,
    on: bool,
    plugin: &PluginHost,
    request: Option<&str>,
    level: log::Level,
) {
    if kept_line.is_empty() {
        return;
    }
    let mut line = std::mem::take(kept_line);
    // Half a character would be replaced by U+FFFD, and a secret that contains it would not be
    // recognised.
    let half = if on { unfinished_character(&line) } else { 0 };
    let half = line.split_off(line.len() - half);
    let text = String::from_utf8_lossy(&line);
    let mut text = redact::scrub(&text).into_owned();
    if on {
        let kept = text.len() - redact::unfinished(text.as_bytes());
        kept_line.extend_from_slice(&text.as_bytes()[kept..]);
        kept_line.extend(half);
        text.truncate(text.floor_char_boundary(kept));
    }
    if !text.starts_with(TIP) {
        plugin.log.write(level, request, &text, &[]);
    }
}

impl OutputStream for LogStream {
    fn write(&mut self, bytes: Bytes) -> Result<(), StreamError> {
        // So much is permitted, and each line of it is looked through for secrets.
        if bytes.len() > LINE_BYTES {
            return Err(StreamError::Trap(format_err!("write exceeded budget")));
        }
        let longest = LINE_BYTES + redact::longest();
        let request = self.request.id();
        let mut line = sync::lock(&self.line);
        let write = |line: &mut Vec<u8>, on| {
            write_line(line, on, &self.plugin, request.as_deref(), self.level);
        };
        for &byte in &bytes {
            if byte == b'\n' {
                write(&mut line, false);
                continue;
            }
            if line.len() == longest {
                write(&mut line, true);
            }
            line.push(byte);
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), StreamError> {
        Ok(())
    }

    fn check_write(&mut self) -> Result<usize, StreamError> {
        Ok(LINE_BYTES)
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for LogStream {
    async fn ready(&mut self) {}
}

impl Drop for LogStream {
    fn drop(&mut self) {
        let request = self.request.id();
        let mut line = sync::lock(&self.line);
        write_line(
            &mut line,
            false,
            &self.plugin,
            request.as_deref(),
            self.level,
        );
    }
}

/// How many bytes at the end of `bytes` are a character whose rest may follow: at most 3.
fn unfinished_character(bytes: &[u8]) -> usize {
    bytes
        .utf8_chunks()
        .last()
        .map_or(0, |chunk| chunk.invalid().len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_a_character_at_the_end_is_found() {
        let text = "aé日𝄞";
        for (end, half) in [
            (0, 0),
            (1, 0),
            (2, 1),
            (3, 0),
            (4, 1),
            (5, 2),
            (6, 0),
            (7, 1),
            (8, 2),
            (9, 3),
            (10, 0),
        ] {
            assert_eq!(unfinished_character(&text.as_bytes()[..end]), half, "{end}");
        }
        assert!(unfinished_character(b"a\xff\xff\x80\x80\x80\x80") <= 3);
    }
}
