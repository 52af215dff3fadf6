//! Plugins that export `wasi:http/incoming-handler`: bodies stream both ways.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::oneshot;
use wasmtime_wasi_http::WasiHttpView;
use wasmtime_wasi_http::p2::bindings::http::types::Scheme;

use super::{Body, Request};
use crate::failure::Failure;
use crate::plugin::Plugin;

/// Runs the plugin until it returns; its answer goes through `send` as soon as it is set.
pub(super) async fn handle(
    plugin: &Plugin,
    request: Request,
    send: oneshot::Sender<http::Response<Body>>,
) -> Result<(), Failure> {
    let mut running = plugin.http_instance().await?;
    let instance = &mut running.instance;
    let store = &mut instance.store;
    store.data_mut().work_on(&request.id);
    let incoming = http::Request::from_parts(request.head, request.body);
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
                *told
                    .refused
                    .lock()
                    .unwrap_or_else(std::sync::PoisonError::into_inner) = Some(failure);
            }
        })?;
        let guest = instance.proxy.wasi_http_incoming_handler();
        guest.call_handle(&mut *store, incoming, outparam).await
    };
    match called.await {
        Err(error) => Err(Failure::from_call(error, &running.instance.store)),
        Ok(()) if outcome.answered.load(Ordering::Relaxed) => {
            plugin.keep_http(running);
            Ok(())
        }
        // The instance is not kept: the handle for its answer may still be in its table.
        Ok(()) => {
            let refused = outcome
                .refused
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner)
                .take();
            Err(refused.unwrap_or(Failure::NoAnswer))
        }
    }
}

/// What the plugin did with its one chance to answer.
#[derive(Default)]
struct Outcome {
    answered: AtomicBool,
    refused: std::sync::Mutex<Option<Failure>>,
}
