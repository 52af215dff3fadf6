//! Carries messages in one direction of a conversation.

use std::sync::Arc;

use futures_lite::future::or;
use zlayer_http1::websocket::{Kind, Message};

use super::end::End;
use super::reader::{Incoming, Reader};
use super::writer::Writer;
use super::{MessageHandler, Side, StopSignals};
use crate::failure::Failure;
use crate::memory::{Budget, Reservation};

/// Takes messages from one side, through the plugin, to where they go.
pub(super) struct Relay<'a> {
    pub(super) handler: Option<&'a dyn MessageHandler>,
    pub(super) leave: &'a StopSignals,
    pub(super) budget: &'a Arc<Budget>,
    /// The most bytes that a message from the plugin may have.
    pub(super) limit: usize,
    pub(super) has_upstream: bool,
}

impl Relay<'_> {
    /// Carries messages from `reader` to `onward` until the conversation ends; `back` writes to the
    /// side that is read.
    pub(super) async fn run(&self, reader: &mut Reader, back: &Writer, onward: &Writer) -> End {
        loop {
            match self.step(reader, back, onward).await {
                Ok(()) => {}
                Err(end) => return end,
            }
        }
    }

    async fn step(&self, reader: &mut Reader, back: &Writer, onward: &Writer) -> Result<(), End> {
        let Incoming { message, held } = reader.next(back, self.leave).await?;
        let (kind, side) = (message.kind, reader.side());
        // A control message is small enough to keep a copy until it is known whether the plugin or
        // the session responds to it.
        let payload = kind.is_control().then(|| message.data.clone());
        // If the client goes away, the plugin's work is dropped.
        let left = async { Err(reader.wait_until_gone().await) };
        let (verdict, _held) = or(self.call_handler(side, message, held), left).await?;
        match (kind, verdict, payload) {
            (Kind::Ping, Some(verdict), _) if verdict.kind == Kind::Pong => {
                back.pong(verdict.data).await
            }
            (Kind::Ping, Some(verdict), _) if verdict.kind == Kind::Ping && self.has_upstream => {
                onward.send(verdict).await
            }
            (Kind::Ping, verdict, Some(payload)) => {
                back.pong(payload).await?;
                self.send_on(verdict, onward).await
            }
            (Kind::Close, Some(verdict), _) if verdict.kind == Kind::Close => {
                Err(End::Closed(side, verdict.data))
            }
            (Kind::Close, verdict, Some(payload)) => {
                // If this cannot be sent any more, the conversation still ends with that close.
                let _ = self.send_on(verdict, onward).await;
                Err(End::Closed(side, payload))
            }
            (_, verdict, _) => self.send_on(verdict, onward).await,
        }
    }

    /// Sends the message that the plugin returned.
    async fn send_on(&self, verdict: Option<Message>, onward: &Writer) -> Result<(), End> {
        match verdict {
            Some(verdict) if verdict.kind == Kind::Close => Err(End::ClosedByPlugin(verdict.data)),
            Some(verdict) => onward.send(verdict).await,
            None => Ok(()),
        }
    }

    /// Calls the plugin, and checks the message that it returns.
    async fn call_handler(
        &self,
        side: Side,
        message: Message,
        held: Option<Reservation>,
    ) -> Result<(Option<Message>, Option<Reservation>), End> {
        let Some(handler) = self.handler else {
            return Ok((Some(message), held));
        };
        let asked = match side {
            Side::Client => handler.client_message(message),
            Side::Upstream => handler.upstream_message(message),
        };
        let Some(verdict) = asked.await.map_err(End::Failed)? else {
            return Ok((None, None));
        };
        let bytes = verdict.data.len();
        let invalid = |what: String| End::Failed(Failure::BadResponse(what));
        if bytes > self.limit {
            let limit = self.limit;
            let what = format!("a WebSocket message of {bytes} bytes; at most {limit}");
            return Err(invalid(what));
        }
        if let Err(error) = verdict.check() {
            return Err(invalid(format!("a WebSocket message: {error}")));
        }
        // The new message takes the place of the one that came, so only the bytes that it is longer
        // by are charged.
        let mut held = held;
        let room = match &mut held {
            Some(held) => held.grow(bytes.saturating_sub(held.bytes())),
            None => {
                held = self.budget.reserve(bytes);
                held.is_some()
            }
        };
        match room {
            true => Ok((Some(verdict), held)),
            false => Err(End::NoMemory),
        }
    }
}
