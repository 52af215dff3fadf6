//! Writing what came of a request: interim responses, the response, and what reports a failure.

use std::sync::OnceLock;
use std::sync::atomic::Ordering;

use smol::io::AsyncWriteExt;
use smol::lock::Mutex;
use zlayer_http1::{ResponseHead, ResponseLength};

use super::{Exchange, Handled, LEAVING, Written};
use crate::clients::asked;
use crate::failure::Failure;
use crate::message::{Interims, Spelled};
use crate::reactor;
use crate::server::response::{Responded, ResponseWriter, WriteError};

impl Exchange<'_> {
    /// Writes interim responses as they come, until the response begins. Ends when the client takes
    /// no more.
    pub(super) async fn pass_on(&self, interims: &Interims, out: &Mutex<&mut Vec<u8>>) {
        loop {
            let head = interims.next().await;
            // A response holds this lock from before its first byte to its end.
            let Some(mut out) = out.try_lock() else {
                continue;
            };
            let spelled = Spelled::new(&head.headers, &head.extensions);
            out.clear();
            let encoded = ResponseHead {
                version: self.version,
                status: head.status.as_u16(),
                headers: &spelled.pairs(),
                length: ResponseLength::None,
                keep_alive: true,
                date: None,
            }
            .encode(&mut out);
            if encoded.is_err() {
                continue;
            }
            // If only half of it got out, whatever is written next would be unreadable.
            self.begun.store(true, Ordering::Relaxed);
            let mut stream = self.stream;
            // Over TLS what is written may wait for more, and this is to be there early.
            let written = async {
                stream.write_all(&out).await?;
                stream.flush().await
            };
            let written = written.await;
            out.clear();
            if written.is_err() {
                return;
            }
            self.begun.store(false, Ordering::Relaxed);
        }
    }

    /// Writes the response that the plugins' work resulted in.
    pub(super) async fn respond(&self, handled: Handled, out: &Mutex<&mut Vec<u8>>) -> Written {
        let (mut response, marks) = handled.map_err(WriteError::Failed)?;
        // Neither can have been set before, because there is one response.
        if let Some(upstream) = marks.upstream {
            let _ = self.origin.set(upstream);
        }
        if let Some(failure) = marks.failure {
            let _ = self.reported.set(failure);
        }
        let mut out = out.lock().await;
        let mut writer = self.writer(&mut out);
        if let Some(upgrade) = marks.upgrade {
            let accept = upgrade.accept(response.headers_mut());
            let (head, _) = response.into_parts();
            let upgrading = writer.write_upgrade(accept, &head.headers, &head.extensions);
            let responded = upgrading.await?;
            return Ok((responded, Some(upgrade)));
        }
        // What was made elsewhere, or earlier, says itself when that was (RFC 9110 section 6.6.1).
        writer.keep_date = marks.is_stored || self.origin.get().is_some();
        let responded = writer.write_response(response, &self.outcome).await?;
        Ok((responded, None))
    }

    /// Responds to the client with a failure, by a response that passes those who have to see it. If
    /// they take too long, or make something of it that cannot be written, the client is told of the
    /// failure all the same.
    pub(super) async fn report_through_stages(
        &self,
        failure: &Failure,
        out: &mut Vec<u8>,
    ) -> Option<Responded> {
        self.deadline.set(LEAVING);
        let reporting = self
            .pipeline
            .report(failure.clone(), &self.id, &self.passage);
        if let Ok(reply) = self.deadline.within(reactor::enter(reporting)).await {
            self.deadline.set(self.shared.timeouts.stall);
            let nothing_goes_on = OnceLock::from(Ok(()));
            let writing = self
                .writer(out)
                .write_response(reply.response, &nothing_goes_on);
            match self.deadline.within(writing).await {
                Ok(Ok(responded)) => return Some(responded),
                _ if self.begun.load(Ordering::Relaxed) => return None,
                _ => {}
            }
        }
        self.respond_with_failure(failure, out).await
    }

    /// Responds to the client with a failure: a status and the request's id, and the reason only
    /// where the client can mend it.
    pub(super) async fn respond_with_failure(
        &self,
        failure: &Failure,
        out: &mut Vec<u8>,
    ) -> Option<Responded> {
        let text = failure.public_text(&self.id);
        let mut extra = vec![("X-Request-Id", self.id.as_bytes())];
        if let Some(codings) = failure.accepted_codings() {
            extra.push(("Accept-Encoding", codings.as_bytes()));
        }
        if let Some(seconds) = failure.retry_after() {
            extra.push(("Retry-After", seconds.as_bytes()));
        }
        self.deadline.set(self.shared.timeouts.stall);
        let telling = self.writer(out).write_text(failure.status(), &text, &extra);
        self.deadline.within(telling).await.ok()?.ok()
    }

    pub(super) fn writer<'w>(&'w self, out: &'w mut Vec<u8>) -> ResponseWriter<'w> {
        ResponseWriter {
            stream: self.stream,
            out,
            deadline: self.deadline,
            stall: self.shared.timeouts.stall,
            patience: self.shared.timeouts.stall,
            head_limit: self.shared.limits.response_head,
            version: self.version,
            is_head: self.method == http::Method::HEAD,
            keep_alive: self.keep_alive
                && self.in_step.load(Ordering::Relaxed)
                && !self.shared.stop.is_closed()
                && !self.claim.is_asked(asked::LEAVE | asked::LEAVE_IDLE),
            begun: &self.begun,
            receipt: Some(&self.receipt),
            claim: self.claim,
            keep_date: false,
        }
    }
}
