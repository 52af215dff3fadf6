//! Calls a plugin with each message of a WebSocket conversation.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use super::super::stage::Stage;
use crate::failure::Failure;
use crate::host::websocket;
use crate::plugin::Plugin;
use crate::reactor;
use crate::stats::Outcome;
use crate::websocket::{HandlerFuture, Kind, Message, MessageHandler};

/// A plugin as the handler of a conversation's messages. It calls `on-client-message` and
/// `on-upstream-message` on any of the plugin's instances.
pub(super) struct PluginHandler {
    plugin: Arc<Plugin>,
    /// The id of the request that began the conversation.
    id: Arc<str>,
    /// How long one call may take.
    time: Duration,
}

impl PluginHandler {
    pub(super) fn new(stage: &Stage, id: &Arc<str>, time: Duration) -> PluginHandler {
        PluginHandler {
            plugin: Arc::clone(&stage.plugin),
            id: Arc::clone(id),
            time,
        }
    }

    /// The plugin's name.
    pub(super) fn name(&self) -> &str {
        self.plugin.name()
    }

    async fn call(&self, message: Message, is_clients: bool) -> Result<Option<Message>, Failure> {
        let plugin = &self.plugin;
        let _working = plugin.working();
        let calling = async {
            let mut running = plugin.instance(&self.id).await?;
            let (store, guests) = running.parts();
            let Some(guest) = &guests.websocket else {
                return Err(Failure::PassThrough);
            };
            let message = to_guest(message);
            let called = match is_clients {
                true => guest.call_on_client_message(store, &message).await,
                false => guest.call_on_upstream_message(store, &message).await,
            };
            plugin.finish(running, called)
        };
        let calling = pin!(calling);
        let ended = plugin.in_time(&self.id, Some(self.time), calling).await;
        let stats = &plugin.host().stats;
        let outcome = ended.as_ref().err().map(Failure::outcome);
        stats.count_request(outcome.unwrap_or(Outcome::Answered));
        if let Err(failure) = &ended
            && failure.outcome() == Outcome::Deadline
        {
            let id = Some(Arc::clone(&self.id));
            stats.add_late(id, failure.is_own_delay(), &failure.to_string());
        }
        Ok(ended?.map(from_guest))
    }
}

impl MessageHandler for PluginHandler {
    fn client_message(&self, message: Message) -> HandlerFuture<'_> {
        Box::pin(reactor::enter(self.call(message, true)))
    }

    fn upstream_message(&self, message: Message) -> HandlerFuture<'_> {
        Box::pin(reactor::enter(self.call(message, false)))
    }
}

fn to_guest(message: Message) -> websocket::Message {
    use websocket::MessageType;
    websocket::Message {
        msg_type: match message.kind {
            Kind::Text => MessageType::Text,
            Kind::Binary => MessageType::Binary,
            Kind::Ping => MessageType::Ping,
            Kind::Pong => MessageType::Pong,
            Kind::Close => MessageType::Close,
        },
        data: message.data,
    }
}

fn from_guest(message: websocket::Message) -> Message {
    use websocket::MessageType;
    Message {
        kind: match message.msg_type {
            MessageType::Text => Kind::Text,
            MessageType::Binary => Kind::Binary,
            MessageType::Ping => Kind::Ping,
            MessageType::Pong => Kind::Pong,
            MessageType::Close => Kind::Close,
        },
        data: message.data,
    }
}
