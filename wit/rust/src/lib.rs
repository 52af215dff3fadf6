//! For authors of ZLayer plugins: the contract of `wit/` as Rust, and a host for unit tests.
//!
//! [`world!`] at the top of a plugin names the world that it is built for. From there on the host is
//! at `crate::config`, `crate::keyvalue`, `crate::logging`, `crate::secrets` and `crate::metrics`, as
//! far as the world has them, the types are at `crate::common`, `crate::request_types` and the like,
//! and what the plugin implements is at `crate::exports::ROLE`:
//!
//! ```
//! zlayer_plugin::world!("zlayer-middleware");
//!
//! use crate::common::KeyValue;
//! use crate::exports::middleware::{Guest, MiddlewareAction};
//! use crate::http_types::RequestMetadata;
//!
//! struct Branded;
//!
//! impl Guest for Branded {
//!     fn on_request(
//!         _method: String,
//!         _path: String,
//!         headers: Vec<KeyValue>,
//!         _metadata: RequestMetadata,
//!     ) -> MiddlewareAction {
//!         MiddlewareAction::ContinueWith(headers)
//!     }
//!
//!     fn on_response(_status: u16, mut headers: Vec<KeyValue>) -> MiddlewareAction {
//!         if let Some(value) = crate::config::get("brand") {
//!             headers.push(KeyValue { key: "x-brand".to_owned(), value });
//!         }
//!         MiddlewareAction::ContinueWith(headers)
//!     }
//! }
//!
//! export!(Branded);
//!
//! # fn main() {
//! // In a unit test, which runs on the build machine, a double answers in the host's place.
//! let _host = zlayer_plugin::double::Host::new().config("brand", "acme");
//! let MiddlewareAction::ContinueWith(headers) = Branded::on_response(200, Vec::new()) else {
//!     panic!("the response was not let through");
//! };
//! assert_eq!(headers[0].value, "acme");
//! # }
//! ```
//!
//! The functions of the host take whatever can be lent as text or as bytes. Built for WebAssembly they
//! are the component's imports and nothing else; built for any other target they ask the double of the
//! thread that calls.
//!
//! The folder around this crate, `wit/`, is the contract: the crate reads it while it is built, so a
//! copy of the whole folder is all that a plugin outside of this repository needs.

#[doc(hidden)]
pub mod bindings;
pub mod clock;
pub mod config;
#[cfg(not(target_family = "wasm"))]
pub mod double;
pub mod keyvalue;
pub mod logging;
pub mod metrics;
pub mod random;
pub mod secrets;
pub mod types;
mod world;
#[doc(hidden)]
pub mod worlds;

/// Asks the host: the component's import, or in a build for other targets the double of this thread.
macro_rules! ask {
    ($interface:ident . $function:ident ( $($argument:expr),* $(,)? )) => {{
        #[cfg(target_family = "wasm")]
        {
            $crate::bindings::zlayer::plugin::$interface::$function($($argument),*)
        }
        #[cfg(not(target_family = "wasm"))]
        {
            $crate::double::state(|state| state.$interface.$function($($argument),*))
        }
    }};
}
pub(crate) use ask;
