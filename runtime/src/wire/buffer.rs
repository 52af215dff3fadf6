//! A connection's read buffer.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use smol::io::AsyncRead;

/// The buffer's first capacity in bytes. Most heads fit into it.
const FIRST: usize = 4 << 10;
/// The most bytes that one read takes while a body streams.
const READ: usize = 16 << 10;

/// Bytes that were read from a connection and not used yet.
#[derive(Default)]
pub(crate) struct ReadBuffer {
    data: Vec<u8>,
    /// `data[start..end]` is unused.
    start: usize,
    end: usize,
}

impl From<Vec<u8>> for ReadBuffer {
    fn from(data: Vec<u8>) -> Self {
        ReadBuffer {
            start: 0,
            end: data.len(),
            data,
        }
    }
}

impl ReadBuffer {
    /// The bytes that were read and not used yet.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.data[self.start..self.end]
    }

    /// The same bytes, so that they can be unmasked in place.
    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.data[self.start..self.end]
    }

    /// Drops the first `count` unused bytes.
    pub(crate) fn consume(&mut self, count: usize) {
        self.start = (self.start + count).min(self.end);
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        }
    }

    /// Reads once, making room for at most `limit` unused bytes. 0 is the end of the stream.
    pub(crate) async fn fill(
        &mut self,
        mut from: impl AsyncRead + Unpin,
        limit: usize,
    ) -> io::Result<usize> {
        poll_fn(|cx| self.poll_fill(cx, Pin::new(&mut from), limit)).await
    }

    /// Polls the read that [`ReadBuffer::fill`] waits for.
    pub(crate) fn poll_fill(
        &mut self,
        cx: &mut Context<'_>,
        from: Pin<&mut (impl AsyncRead + ?Sized)>,
        limit: usize,
    ) -> Poll<io::Result<usize>> {
        if self.start > 0 {
            self.data.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        if self.end == self.data.len() {
            let capacity = (self.data.len() * 2).clamp(FIRST, limit.max(READ));
            self.data.resize(capacity, 0);
        }
        let room = self.data.len().min(self.end + READ);
        let read = from.poll_read(cx, &mut self.data[self.end..room]);
        read.map_ok(|count| {
            self.end += count;
            count
        })
    }

    /// Gives the memory back when the buffer is empty, so that an idle connection costs little.
    pub(crate) fn release_if_empty(&mut self) {
        if self.start == self.end && self.data.len() > FIRST {
            *self = ReadBuffer::default();
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_out_as_they_went_in_and_the_buffer_stays_bounded() {
        smol::block_on(async {
            let sent: Vec<u8> = (0..100_000u32).map(|n| n as u8).collect();
            let mut source = &sent[..];
            let (mut buffer, mut seen) = (ReadBuffer::default(), Vec::new());
            while buffer.fill(&mut source, 16 << 10).await.unwrap() > 0 {
                let take = buffer.bytes().len().div_ceil(2);
                seen.extend_from_slice(&buffer.bytes()[..take]);
                buffer.consume(take);
                assert!(buffer.data.len() <= 16 << 10);
            }
            seen.extend_from_slice(buffer.bytes());
            assert_eq!(seen, sent);
        });
    }
}
