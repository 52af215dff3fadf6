//! Plugins that export `wasi:http/incoming-handler`: bodies stream both ways.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use wasmtime_wasi_http::WasiHttpView;
use wasmtime_wasi_http::p2::bindings::http::types::Scheme;

use crate::failure::Failure;
use crate::pipeline::{Answer, Request};
use crate::plugin::Plugin;
use crate::sync;

/// Runs the plugin until it returns; its answer goes through `send` as soon as it is set.
pub(in crate::pipeline) async fn handle(
    plugin: &Plugin,
    request: &mut Request,
    send: Answer,
) -> Result<(), Failure> {
    let mut running = plugin.streaming_instance(&request.id).await?;
    let (store, guests) = running.parts();
    let Some(guest) = &guests.http else {
        return Err(Failure::PassThrough);
    };
    let guest = guest.wasi_http_incoming_handler();
    let incoming = http::Request::from_parts(request.head.clone(), request.stream());
    let outcome = Arc::new(Outcome::default());
    let told = Arc::clone(&outcome);
    let called = async {
        let mut view = store.data_mut().http();
        let incoming = view.new_incoming_request(Scheme::Http, incoming)?;
        let outparam = view.new_response_outparam_from_callback(move |result| match result {
            Ok(response) => {
                told.answered.store(true, Ordering::Relaxed);
                let _ = send.send(response);
            }
            Err(code) => {
                let failure = Failure::error_code(&code);
                *sync::lock(&told.refused) = Some(failure);
            }
        })?;
        guest.call_handle(&mut *store, incoming, outparam).await
    };
    let called = called.await;
    if called.is_ok() && !outcome.answered.load(Ordering::Relaxed) {
        // The instance is not kept: the handle for its answer may still be in its table.
        let refused = sync::lock(&outcome.refused).take();
        return Err(refused.unwrap_or(Failure::NoAnswer));
    }
    plugin.finish(running, called)
}

/// What the plugin did with its one chance to answer.
#[derive(Default)]
struct Outcome {
    answered: AtomicBool,
    refused: std::sync::Mutex<Option<Failure>>,
}
