//! Plugins that export `wasi:http/incoming-handler`: bodies stream both ways.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Poll, ready};

use smol::Timer;
use wasmtime_wasi_http::WasiHttpView;
use wasmtime_wasi_http::p2::bindings::http::types::Scheme;

use crate::failure::Failure;
use crate::host::{has_exited_well, plugin_body};
use crate::message::{self, IncomingBody, Response};
use crate::pipeline::Request;
use crate::pipeline::reply::{Reply, Tail};
use crate::plugin::{Plugin, Running};
use crate::sync;

/// Runs the plugin until it sets its response; the rest of the call is the tail.
pub(in crate::pipeline) async fn handle(
    plugin: &Arc<Plugin>,
    request: &mut Request,
) -> Result<Reply, Failure> {
    // What an instance takes to be free or made is not the call's time.
    let running = plugin.streaming_instance(&request.id).await?;
    let body = request.stream();
    let demand = body.demand();
    let is_for_client = || demand.as_ref().is_some_and(|demand| demand.is_waiting());
    let mut due = plugin.call_time().map(Timer::after);
    let incoming = http::Request::from_parts(request.head.clone(), body);
    let outparam = Arc::new(Outparam::default());
    let mut call = Box::pin(call(
        Arc::clone(plugin),
        running,
        Arc::clone(&request.id),
        match request.client.scheme {
            message::Scheme::Http => Scheme::Http,
            message::Scheme::Https => Scheme::Https,
        },
        incoming,
        Arc::clone(&outparam),
    ));
    // The plugin can set its response only while it is polled, so no waker is needed for that.
    let (response, polled) = poll_fn(|cx| {
        let polled = call.as_mut().poll(cx);
        match (outparam.take_response(), polled) {
            (Some(response), polled) => Poll::Ready(Ok((response, polled))),
            // A call that ends well without a response is a failure all the same.
            (None, Poll::Ready(ended)) => {
                Poll::Ready(Err(ended.err().unwrap_or(Failure::NoResponse)))
            }
            (None, Poll::Pending) => {
                while let (Some(timer), Some(time)) = (&mut due, plugin.call_time()) {
                    ready!(Pin::new(&mut *timer).poll(cx));
                    if !is_for_client() {
                        return Poll::Ready(Err(plugin.host().late_call(&request.id, time)));
                    }
                    // What the client takes to send the body is not its time.
                    timer.set_after(time);
                }
                Poll::Pending
            }
        }
    })
    .await?;
    let tail = match polled {
        Poll::Ready(ended) => Tail::ended(ended),
        Poll::Pending => Tail::boxed(call),
    };
    Ok(Reply {
        tail,
        ..Reply::from(response)
    })
}

/// Runs the plugin until it returns.
async fn call(
    plugin: Arc<Plugin>,
    mut running: Running,
    id: Arc<str>,
    scheme: Scheme,
    incoming: http::Request<IncomingBody>,
    outparam: Arc<Outparam>,
) -> Result<(), Failure> {
    let before = running.served_before();
    let (store, guests) = running.parts();
    let Some(guest) = &guests.http else {
        return Err(Failure::PassThrough);
    };
    let guest = guest.wasi_http_incoming_handler();
    let set = Arc::clone(&outparam);
    let called = async {
        let incoming = store.data_mut().new_incoming_request(scheme, incoming)?;
        let outparam = store
            .data_mut()
            .http()
            .new_response_outparam_from_callback(move |result| {
                set.set(match result {
                    Ok(response) => Ok(response.map(plugin_body)),
                    Err(code) => Err(Failure::plugin_code(&code)),
                });
            })?;
        guest.call_handle(&mut *store, incoming, outparam).await
    };
    let called = called.await;
    let ended = end(&plugin, running, called, &outparam);
    if ended.is_err() && before > 0 {
        plugin.tell_of_reuse(&id, before);
    }
    ended
}

/// What a call that has returned comes to.
fn end(
    plugin: &Plugin,
    running: Running,
    called: wasmtime::Result<()>,
    outparam: &Outparam,
) -> Result<(), Failure> {
    if called.is_ok() {
        // Where this fails the instance is not kept, because the handle for its response may still
        // be in its table.
        outparam.check()?;
    }
    if called.as_ref().is_err_and(has_exited_well) && outparam.is_set() {
        // It has ended itself when its work was done. There is no instance to be kept.
        return outparam.check();
    }
    plugin.finish(running, called)
}

/// The `response-outparam`, which a plugin can set once, and what the plugin did with it.
#[derive(Default)]
struct Outparam(Mutex<OutparamState>);

#[derive(Default)]
enum OutparamState {
    #[default]
    Nothing,
    Response(Response),
    /// A response was set, and has been taken out since.
    Taken,
    /// The plugin set an error instead.
    Refused(Failure),
}

impl Outparam {
    fn set(&self, result: Result<Response, Failure>) {
        *self.lock() = match result {
            Ok(response) => OutparamState::Response(response),
            Err(failure) => OutparamState::Refused(failure),
        };
    }

    /// Takes the response out, if there is one.
    fn take_response(&self) -> Option<Response> {
        let mut set = self.lock();
        match std::mem::replace(&mut *set, OutparamState::Taken) {
            OutparamState::Response(response) => Some(response),
            other => {
                *set = other;
                None
            }
        }
    }

    /// Whether the plugin has set a response, or an error in its place.
    fn is_set(&self) -> bool {
        !matches!(&*self.lock(), OutparamState::Nothing)
    }

    /// Fails unless a response was set.
    fn check(&self) -> Result<(), Failure> {
        match &*self.lock() {
            OutparamState::Response(_) | OutparamState::Taken => Ok(()),
            OutparamState::Refused(failure) => Err(failure.clone()),
            OutparamState::Nothing => Err(Failure::NoResponse),
        }
    }

    fn lock(&self) -> MutexGuard<'_, OutparamState> {
        sync::lock(&self.0)
    }
}
