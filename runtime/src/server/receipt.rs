//! How much of a request's body has come, while its response is written.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use zlayer_http1::{BodyDecoder, BodyLength, Decoded};

use crate::failure::Failure;
use crate::message::Demand;

/// How many bytes of a body that nobody wants are taken in without a word, so that the connection
/// can stay open. They are on their way anyhow by the time the response reaches the client.
const SMALL_REST: u64 = 64 << 10;

/// What has come of a request's body, and who wants the rest.
pub(super) struct Receipt {
    length: BodyLength,
    /// Bytes that have come, with what frames them.
    brought: AtomicU64,
    /// Bytes that have come and wait in the connection's buffer.
    buffered: AtomicUsize,
    /// All of it has come, so that nothing of it has to be waited for.
    is_whole: AtomicBool,
    /// It broke off or is malformed, so that what is made of it breaks off as well.
    is_broken: AtomicBool,
    /// Whether the plugin has asked for the body, and whether it waits for it. None without a body.
    demand: Option<Arc<Demand>>,
}

impl Receipt {
    pub(super) fn new(length: BodyLength, demand: Option<Arc<Demand>>) -> Receipt {
        Receipt {
            length,
            brought: AtomicU64::new(0),
            buffered: AtomicUsize::new(0),
            is_whole: AtomicBool::new(demand.is_none()),
            is_broken: AtomicBool::new(false),
            demand,
        }
    }

    /// Looks whether the end of a chunked body has come already, `buffered` being what was read
    /// behind the head. Only its end tells how long such a body is.
    pub(super) fn look_ahead(&self, decoder: &BodyDecoder, mut buffered: &[u8]) {
        if self.length != BodyLength::Chunked {
            return;
        }
        let mut decoder = decoder.clone();
        loop {
            let consumed = match decoder.decode(buffered) {
                Ok(Decoded::Data { consumed, .. }) => consumed,
                Ok(Decoded::End { .. }) => return self.complete(),
                Ok(Decoded::NeedMore { .. }) | Err(_) => return,
            };
            buffered = buffered.get(consumed..).unwrap_or_default();
        }
    }

    /// Records bytes that have come, and how many more wait in the connection's buffer.
    pub(super) fn add(&self, bytes: usize, buffered: usize) {
        self.brought.fetch_add(bytes as u64, Ordering::Relaxed);
        self.buffered.store(buffered, Ordering::Relaxed);
    }

    /// Whether the body cannot come to its end any more, where the client sends nothing more than
    /// `unread` bytes. None where only its end tells how long it is.
    pub(super) fn is_hopeless(&self, unread: u64) -> Option<bool> {
        if self.is_whole.load(Ordering::Relaxed) {
            return Some(false);
        }
        let BodyLength::Fixed(length) = self.length else {
            return None;
        };
        let brought = self.brought.load(Ordering::Relaxed);
        let buffered = self.buffered.load(Ordering::Relaxed) as u64;
        Some(brought.saturating_add(buffered).saturating_add(unread) < length)
    }

    /// Records that the body has come to its end, whether or not it was read.
    pub(super) fn complete(&self) {
        self.is_whole.store(true, Ordering::Relaxed);
    }

    /// Records that the body will not come to its end.
    pub(super) fn break_off(&self) {
        self.is_broken.store(true, Ordering::Relaxed);
    }

    /// The failure that it means when the body of the response breaks off: the client's, if that of
    /// its request did so before.
    pub(super) fn broken_response(&self) -> Failure {
        match self.is_broken.load(Ordering::Relaxed) {
            true => Failure::BadBody("it broke off, or is malformed".to_owned()),
            false => Failure::broken_body(),
        }
    }

    /// What the plugin asks for. None without a body.
    pub(super) fn demand(&self) -> Option<&Demand> {
        self.demand.as_deref()
    }

    /// Whether much of the body is left that nobody will read, as far as that is known when the
    /// response's head is written. Then the response has to say that the connection closes: the
    /// client may stop sending, and whatever it still sends can be dropped without waiting for its
    /// end. `is_complete`: the plugins have nothing more to add to the response.
    pub(super) fn is_refused(&self, is_complete: bool) -> bool {
        let Some(demand) = &self.demand else {
            return false;
        };
        if self.is_whole.load(Ordering::Relaxed) {
            return false;
        }
        let left = match self.length {
            BodyLength::Empty => 0,
            BodyLength::Fixed(length) => {
                length.saturating_sub(self.brought.load(Ordering::Relaxed))
            }
            BodyLength::Chunked => u64::MAX,
        };
        left > SMALL_REST && (is_complete || !demand.is_asked() || demand.is_dropped())
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use http_body::Body as _;

    use super::*;
    use crate::message::IncomingBody;

    #[test]
    fn much_of_a_body_that_nobody_reads_closes_the_connection() {
        let (sender, body) = IncomingBody::stream(Some(1 << 20));
        let receipt = Receipt::new(BodyLength::Fixed(1 << 20), Some(sender.unwrap().demand()));
        assert!(receipt.is_refused(false), "nobody has asked for it");
        let mut body = Box::pin(body);
        smol::block_on(futures_lite::future::poll_once(std::future::poll_fn(
            |cx| body.as_mut().poll_frame(cx),
        )));
        assert!(!receipt.is_refused(false), "it is being read");
        assert!(receipt.is_refused(true), "the response is there");
        receipt.add((1 << 20) - (64 << 10), 0);
        assert!(!receipt.is_refused(true), "the rest is small");
    }

    #[test]
    fn a_body_whose_client_has_left_is_hopeless_unless_all_of_it_has_come() {
        let (sender, _body) = IncomingBody::stream(Some(100));
        let demand = Some(sender.unwrap().demand());
        let receipt = Receipt::new(BodyLength::Fixed(100), demand.clone());
        receipt.add(40, 30);
        assert_eq!(receipt.is_hopeless(29), Some(true));
        assert_eq!(receipt.is_hopeless(30), Some(false));
        assert_eq!(
            Receipt::new(BodyLength::Chunked, demand).is_hopeless(0),
            None
        );
        assert_eq!(
            Receipt::new(BodyLength::Empty, None).is_hopeless(0),
            Some(false)
        );
    }

    #[test]
    fn a_body_without_an_end_in_sight_is_large_and_one_that_ended_is_not() {
        let (sender, body) = IncomingBody::stream(None);
        let receipt = Receipt::new(BodyLength::Chunked, Some(sender.unwrap().demand()));
        drop(body);
        assert!(receipt.is_refused(false));
        receipt.complete();
        assert!(!receipt.is_refused(true));
        assert!(!Receipt::new(BodyLength::Empty, None).is_refused(true));
    }
}
