//! Every role in one component: handler, authenticator, rate limiter,
//! middleware, router, transformer, caching and WebSocket. What a role does is
//! asked for by header fields, see [`stage::asked`] and each role's file. The
//! guests `stage-…` are one of these files each.

wit_bindgen::generate!({
    path: "../../../wit",
    inline: "
        package zlayer-tests:stages;

        /// Every host interface, and every role but wasi:http.
        world stages {
            include zlayer:plugin/zlayer-plugin@0.1.0;
            export zlayer:plugin/authenticator@0.1.0;
            export zlayer:plugin/rate-limiter@0.1.0;
            export zlayer:plugin/middleware@0.1.0;
            export zlayer:plugin/router@0.1.0;
            export zlayer:plugin/transformer@0.1.0;
            export zlayer:plugin/caching@0.1.0;
            export zlayer:plugin/websocket@0.1.0;
        }
    ",
    world: "zlayer-tests:stages/stages",
    generate_all,
});

mod authenticate;
mod cache;
pub mod describe;
mod handle;
mod limit;
mod middleware;
mod route;
pub mod stage;
pub mod steps;
mod transform;
mod websocket;

use stage::Stage;

export!(Stage);
