//! What has gone out to a client.

use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering};

/// Counts what is written to a client, and knows what of it belongs to the last response. Only the
/// connection's own task writes it.
#[derive(Debug, Default)]
pub(super) struct Sent {
    /// Bytes in all, of responses and of WebSocket frames, before TLS.
    bytes: AtomicU64,
    /// The last response's status; 0 if there is none since the last request.
    status: AtomicU16,
    /// What `bytes` was before its first byte.
    begins: AtomicU64,
    /// What `bytes` is behind its head.
    body: AtomicU64,
    /// Whether the daemon ends, and the connection with it.
    is_cut_off: AtomicBool,
}

impl Sent {
    pub(super) fn add(&self, count: usize) {
        let bytes = self.bytes.load(Ordering::Relaxed) + count as u64;
        self.bytes.store(bytes, Ordering::Relaxed);
    }

    /// A request has begun, and nothing of its response is there.
    pub(super) fn begin_request(&self) {
        self.status.store(0, Ordering::Relaxed);
    }

    /// A response with a head of so many bytes is about to go out. One that has not gone out takes
    /// its place.
    pub(super) fn begin_response(&self, status: u16, head: usize) {
        let bytes = self.bytes.load(Ordering::Relaxed);
        self.status.store(status, Ordering::Relaxed);
        self.begins.store(bytes, Ordering::Relaxed);
        self.body.store(bytes + head as u64, Ordering::Relaxed);
    }

    /// Records that the connection ends though its request has not.
    pub(super) fn cut_off(&self) {
        self.is_cut_off.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_cut_off(&self) -> bool {
        self.is_cut_off.load(Ordering::Relaxed)
    }

    /// The status of the response, and how many bytes have gone out behind its head; `None` if
    /// nothing of a response has gone out since the request began.
    pub(super) fn response(&self) -> Option<(u16, u64)> {
        let bytes = self.bytes.load(Ordering::Relaxed);
        let status = self.status.load(Ordering::Relaxed);
        let is_begun = status != 0 && bytes > self.begins.load(Ordering::Relaxed);
        is_begun.then(|| {
            (
                status,
                bytes.saturating_sub(self.body.load(Ordering::Relaxed)),
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_has_gone_out_counts_and_heads_are_no_bodies() {
        let sent = Sent::default();
        assert_eq!(sent.response(), None);
        // An interim response.
        sent.add(25);
        sent.begin_response(200, 100);
        assert_eq!(sent.response(), None);
        // It came to nothing, and another one takes its place.
        sent.begin_response(502, 90);
        sent.add(80);
        assert_eq!(sent.response(), Some((502, 0)));
        sent.add(17);
        assert_eq!(sent.response(), Some((502, 7)));
        sent.begin_request();
        assert_eq!(sent.response(), None);
    }
}
