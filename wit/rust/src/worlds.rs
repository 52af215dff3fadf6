//! What each world puts at the root of a plugin's crate. [`world!`](crate::world) chooses from here.

/// One world: its module in [`bindings`](crate::bindings), the types and interfaces that it imports,
/// and the name under which the interface that it exports is implemented.
macro_rules! world {
    ($world:ident, exports: $($export:ident)::+, { $($import:ident)* }) => {
        pub mod $world {
            pub mod root {
                $(pub use $crate::worlds::imports::$import;)*
            }
            pub mod exports {
                pub use $crate::bindings::$world::exports::$($export)::+;
            }
        }
    };
}

/// All of them, to be chosen from by one name each.
#[doc(hidden)]
pub mod imports {
    pub use crate::bindings::wasi;
    pub use crate::types::{common, http_types, plugin_metadata, request_types};
    pub use crate::{clock, config, keyvalue, logging, metrics, random, secrets};
}

world!(handler, exports: zlayer::plugin::handler, {
    wasi clock random common plugin_metadata request_types config keyvalue logging secrets metrics
});
world!(http_handler, exports: wasi, {
    wasi clock random common config keyvalue logging
});
world!(transformer, exports: zlayer::plugin::transformer, {
    wasi clock random common logging
});
world!(authenticator, exports: zlayer::plugin::authenticator, {
    wasi clock random common request_types config keyvalue logging secrets
});
world!(rate_limiter, exports: zlayer::plugin::rate_limiter, {
    wasi clock random common request_types config keyvalue logging metrics
});
world!(middleware, exports: zlayer::plugin::middleware, {
    wasi clock random common http_types config logging
});
world!(router, exports: zlayer::plugin::router, {
    wasi clock random common request_types http_types config keyvalue logging
});
world!(cache, exports: zlayer::plugin::caching, {
    common config keyvalue logging metrics
});
world!(websocket, exports: zlayer::plugin::websocket, {
    common config keyvalue logging secrets metrics
});
