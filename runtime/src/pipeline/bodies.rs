//! Bodies that are held whole in memory, for the roles that take them so.

mod share;

use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http::header::CONTENT_ENCODING;
use http_body::Body as HttpBody;
use http_body_util::BodyExt;

use crate::failure::Failure;
use crate::memory::Reservation;
use crate::message::{Body, BodyError, whole};
use crate::plugin::SHOWN_BYTES;
use crate::redact::cut;
use crate::timeout;
use share::Share;

/// The bytes of a body that its connection's own share of memory covers, so that small bodies get
/// through even when large ones use the rest up.
pub const SMALL_BODY: usize = 16 << 10;

/// How much memory whole bodies may take: each one, and all together. It is set aside, so that
/// uploads, responses and instances cannot lock each other out.
pub struct WholeBodies {
    limit: usize,
    requests: Share,
    responses: Share,
    share: Reservation,
}

impl WholeBodies {
    /// Has `share`, which is set aside, for bodies of at most `limit` bytes.
    pub fn new(share: Reservation, limit: usize) -> WholeBodies {
        WholeBodies {
            limit,
            requests: Share::new(share.bytes() / 2),
            responses: Share::new(share.bytes() / 2),
            share,
        }
    }

    /// The length of the longest body that is taken, in bytes.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// How many bytes of the memory budget are set aside.
    pub fn share(&self) -> usize {
        self.share.bytes()
    }

    /// Reads a request's body to its end.
    ///
    /// # Errors
    ///
    /// The client sent too much or broke off, or the memory for bodies is spent.
    pub async fn read_request(
        &self,
        body: &mut (dyn HttpBody<Data = Bytes, Error = BodyError> + Send + Unpin),
    ) -> Result<(Vec<u8>, Option<Reservation>), Failure> {
        let read = read(body, self.limit, &self.requests).await;
        read.map_err(|unread| match unread {
            Unread::TooLong => Failure::BodyTooLarge(self.limit),
            Unread::NoMemory => Failure::no_memory_for_body(),
            Unread::Broken(error) => error.of_request(),
        })
    }

    /// Reads a response's body to its end, within `time`.
    ///
    /// # Errors
    ///
    /// It is too long or too slow, or breaks off, or the memory for bodies is spent.
    pub async fn read_response(
        &self,
        body: &mut (dyn HttpBody<Data = Bytes, Error = BodyError> + Send + Unpin),
        time: Duration,
    ) -> Result<(Vec<u8>, Option<Reservation>), Failure> {
        let reading = read(body, self.limit, &self.responses);
        let Some(read) = timeout::within(time, reading).await else {
            let reason = "does not come to its end in time".to_owned();
            return Err(Failure::Unshowable(reason));
        };
        read.map_err(|unread| match unread {
            Unread::TooLong => {
                Failure::Unshowable(format!("is longer than {} bytes (--max-body)", self.limit))
            }
            Unread::NoMemory => Failure::no_memory_for_body(),
            Unread::Broken(_) => Failure::broken_body(),
        })
    }

    /// Charges a request's body that a plugin has made to the reservation `held` of the body that
    /// it replaces. If that fails, the reservation is as it was.
    ///
    /// # Errors
    ///
    /// It is too long, or the memory for bodies is spent.
    pub fn recharge_request(
        &self,
        held: &mut Option<Reservation>,
        bytes: usize,
    ) -> Result<(), Failure> {
        self.recharge(&self.requests, held, bytes)
    }

    /// The same for a response's body.
    ///
    /// # Errors
    ///
    /// Those of [`WholeBodies::recharge_request`].
    pub fn recharge_response(
        &self,
        held: &mut Option<Reservation>,
        bytes: usize,
    ) -> Result<(), Failure> {
        self.recharge(&self.responses, held, bytes)
    }

    fn recharge(
        &self,
        share: &Share,
        held: &mut Option<Reservation>,
        bytes: usize,
    ) -> Result<(), Failure> {
        if bytes > self.limit {
            return Err(self.too_long());
        }
        let wanted = bytes.saturating_sub(SMALL_BODY);
        let has = held.as_ref().map_or(0, Reservation::bytes);
        let grown = share.try_grow(held, wanted.saturating_sub(has));
        grown.then_some(()).ok_or_else(Failure::no_memory_for_body)
    }

    /// Makes a response's body of data that a plugin returned. It is charged until it is written.
    ///
    /// # Errors
    ///
    /// It is too long, or the memory for bodies is spent.
    pub async fn response_body(&self, data: Vec<u8>) -> Result<Body, Failure> {
        if data.len() > self.limit {
            return Err(self.too_long());
        }
        let mut held = None;
        let more = data.len().saturating_sub(SMALL_BODY);
        if self.responses.try_grow(&mut held, more) {
            return Ok(whole(data, held));
        }
        // It is here already, so it is charged to what is left for everybody while it waits.
        let waiting = self.share.reserve_another(more);
        let grown = waiting.is_some() && self.responses.grow(&mut held, more).await;
        drop(waiting);
        match grown {
            true => Ok(whole(data, held)),
            false => Err(Failure::no_memory_for_body()),
        }
    }

    fn too_long(&self) -> Failure {
        Failure::response_body_too_long(self.limit)
    }
}

/// The first content coding that changes the bytes of a body (RFC 9110 section 8.4).
pub fn content_coding(headers: &HeaderMap) -> Option<String> {
    let values = headers.get_all(CONTENT_ENCODING).into_iter();
    let mut codings = values
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .map(<[u8]>::trim_ascii)
        .filter(|coding| !coding.is_empty() && !coding.eq_ignore_ascii_case(b"identity"));
    let coding = String::from_utf8_lossy(codings.next()?);
    Some(cut(&coding, SHOWN_BYTES).escape_debug().to_string())
}

/// Why a body could not be read to its end.
enum Unread {
    TooLong,
    NoMemory,
    Broken(BodyError),
}

async fn read(
    body: &mut (dyn HttpBody<Data = Bytes, Error = BodyError> + Send + Unpin),
    limit: usize,
    share: &Share,
) -> Result<(Vec<u8>, Option<Reservation>), Unread> {
    if body.size_hint().lower() > limit as u64 {
        return Err(Unread::TooLong);
    }
    // No more room is taken than was announced, so that a small body costs nothing, whatever pieces
    // it comes in.
    let announced = body.size_hint().upper();
    let most = announced.map_or(limit, |bytes| bytes.min(limit as u64) as usize);
    let mut held = None;
    let mut data = Vec::new();
    while let Some(frame) = body.frame().await {
        // Trailers have no place in the contract.
        let Ok(piece) = frame.map_err(Unread::Broken)?.into_data() else {
            continue;
        };
        let length = data.len() + piece.len();
        if length > limit {
            return Err(Unread::TooLong);
        }
        if length > data.capacity() {
            // Memory is reserved for bytes that have come, not for those that are announced.
            let capacity = length.max((2 * data.capacity()).min(most));
            let more = capacity.saturating_sub(SMALL_BODY.max(data.capacity()));
            if !share.grow(&mut held, more).await {
                return Err(Unread::NoMemory);
            }
            data.reserve_exact(capacity - data.len());
        }
        data.extend_from_slice(&piece);
    }
    Ok((data, held))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use futures_lite::future::poll_once;
    use http_body::{Frame, SizeHint};

    use super::*;
    use crate::clients::{Claim, Phase, on_behalf};
    use crate::memory::Budget;

    /// Bodies of 100 KiB at most, in so much of a budget.
    fn of(budget: &std::sync::Arc<Budget>, share: usize) -> WholeBodies {
        WholeBodies::new(budget.reserve(share).unwrap(), 100 << 10)
    }

    fn bodies() -> WholeBodies {
        of(&Budget::new(1 << 20), 256 << 10)
    }

    #[test]
    fn bodies_are_bounded_each_and_together() {
        let bodies = bodies();
        smol::block_on(async {
            let mut long = whole(vec![0; (100 << 10) + 1], None);
            let read = bodies.read_request(&mut long).await;
            assert!(matches!(read, Err(Failure::BodyTooLarge(_))));
            let mut first = whole(vec![1; 100 << 10], None);
            let first = bodies.read_request(&mut first).await;
            assert!(first.is_ok());
            let mut second = whole(vec![1; 100 << 10], None);
            assert!(matches!(
                bodies.read_request(&mut second).await,
                Err(Failure::Busy(_))
            ));
            let mut small = whole(vec![1; SMALL_BODY], None);
            assert!(bodies.read_request(&mut small).await.is_ok());
            // Responses have a share of their own.
            assert!(bodies.response_body(vec![0; 100 << 10]).await.is_ok());
            drop(first);
            let mut third = whole(vec![1; 100 << 10], None);
            assert!(bodies.read_request(&mut third).await.is_ok());
        });
    }

    #[test]
    fn a_small_body_in_pieces_costs_nothing_of_what_is_shared() {
        let bodies = of(&Budget::new(0), 0);
        let pieces = [SMALL_BODY - 1000, 1000].map(|bytes| vec![0; bytes].into());
        let mut body = Pieces(pieces.to_vec());
        let read = smol::block_on(bodies.read_request(&mut body));
        assert_eq!(read.unwrap().0.len(), SMALL_BODY);
        let mut body = Pieces(vec![vec![0; SMALL_BODY + 1].into()]);
        let read = smol::block_on(bodies.read_request(&mut body));
        assert!(matches!(read, Err(Failure::Busy(_))));
    }

    /// A body in pieces whose length is known.
    struct Pieces(Vec<Bytes>);

    impl HttpBody for Pieces {
        type Data = Bytes;
        type Error = BodyError;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
            let has_more = !self.0.is_empty();
            Poll::Ready(has_more.then(|| Ok(Frame::data(self.0.remove(0)))))
        }

        fn size_hint(&self) -> SizeHint {
            SizeHint::with_exact(self.0.iter().map(|piece| piece.len() as u64).sum())
        }
    }

    #[test]
    fn a_body_of_the_full_length_can_take_the_place_of_another() {
        let bodies = bodies();
        let mut held = None;
        assert!(bodies.recharge_request(&mut held, 100 << 10).is_ok());
        assert!(bodies.recharge_request(&mut held, 100 << 10).is_ok());
        assert!(bodies.recharge_request(&mut held, 10).is_ok());
        assert!(matches!(
            bodies.recharge_request(&mut held, (100 << 10) + 1),
            Err(Failure::BadResponse(_))
        ));
        let mut other = None;
        assert!(bodies.recharge_request(&mut other, 100 << 10).is_err());
        // Responses have a share of their own.
        assert!(bodies.recharge_response(&mut None, 100 << 10).is_ok());
    }

    #[test]
    fn an_answer_is_charged_as_long_as_its_body_lives() {
        let bodies = bodies();
        let response = |kib: usize| smol::block_on(bodies.response_body(vec![0; kib << 10]));
        let first = response(100);
        assert!(first.is_ok() && response(100).is_err());
        drop(first);
        assert!(response(100).is_ok());
        assert!(matches!(response(101), Err(Failure::BadResponse(_))));
    }

    #[test]
    fn an_answer_that_waits_for_memory_is_charged_meanwhile() {
        let budget = Budget::new(512 << 10);
        let bodies = of(&budget, 256 << 10);
        let data = |kib: usize| vec![0; kib << 10];
        smol::block_on(async {
            let [many, few] =
                ["192.0.2.1", "192.0.2.2"].map(|text| Claim::new(text.parse().unwrap()));
            many.enter(Phase::Exchange);
            let first = on_behalf(&many, bodies.response_body(data(100))).await;
            let second = on_behalf(&many, bodies.response_body(data(50))).await;
            assert!(first.is_ok() && second.is_ok());
            let waiting = on_behalf(&few, bodies.response_body(data(50)));
            let mut waiting = Box::pin(waiting);
            assert!(poll_once(&mut waiting).await.is_none(), "it waits");
            assert_eq!(budget.used(), (256 << 10) + (34 << 10));
            // Where there is none left to wait with, nobody waits.
            let others = budget.reserve(budget.limit() - budget.used());
            assert!(others.is_some());
            let refused = on_behalf(&few, bodies.response_body(data(50))).await;
            assert!(matches!(refused, Err(Failure::Busy(_))));
            drop((first, second));
            assert!(waiting.await.is_ok());
            drop(others);
            assert_eq!(budget.used(), 256 << 10);
        });
    }
}
